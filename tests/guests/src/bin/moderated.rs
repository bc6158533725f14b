//! Owns a device whose page it shares with others (QEMU's fw_cfg), so that the hypervisor makes each access for it, and
//! one whose selector cannot be read: the bus answers with an abort, which is this program's to take.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "touches a device's registers, one of which aborts")]

use shikiri_rt::hvc::partition;
use shikiri_rt::reg;
use shikiri_test_guests::fault::{self, attempt};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

/// The data register; the selector (write-only, big-endian) is 8 bytes behind it.
const DATA: u64 = 0x0902_0000;
const SELECTOR: u64 = DATA + 8;

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    case("its_registers_answer", signature);
    for _ in 0..3 {
        case("an_abort_of_the_bus_comes_back_to_who_caused_it", aborts);
    }
    case("its_registers_still_answer", signature);
    case("what_lies_beside_it_does_not", beside);
    done()
}

/// Key 0 is the device's signature.
fn signature() -> Outcome {
    // SAFETY: selects what is read next.
    ensure("the selector", unsafe { attempt(fault::fault_store16, SELECTOR, 0) }.is_ok())?;
    for letter in *b"QEMU" {
        // SAFETY: reads the next byte.
        let byte = unsafe { attempt(fault::fault_load8, DATA, 0) };
        equal("a letter", byte.unwrap_or(0), u64::from(letter))?;
    }
    Ok(())
}

fn aborts() -> Outcome {
    let mpidr = reg::mpidr();
    // SAFETY: the selector is write-only; if it answers, that is a failure.
    let Err(fault) = (unsafe { attempt(fault::fault_load16, SELECTOR, 0) }) else {
        return ensure("an abort", false);
    };
    equal("exception class", fault.class(), 0x25)?;
    equal("fault status", fault.status(), 0x10)?;
    equal("fault address", fault.far, SELECTOR)?;
    let piece: fault::Piece = fault::fault_load16;
    let near = fault.elr.wrapping_sub(piece as usize as u64);
    ensure("where it happened", near < 16)?;
    equal("its own MPIDR", reg::mpidr(), mpidr)?;
    ensure("calls are answered", partition::null().is_ok())
}

fn beside() -> Outcome {
    // SAFETY: nobody's.
    let tried = unsafe { attempt(fault::fault_load32, DATA + 0x20, 0) };
    equal("exception class", tried.err().map_or(0, |fault| fault.class()), 0x25)
}
