//! The end of the line: an exception or a panic of the hypervisor itself.
//!
//! Either is our bug. The core says what it knows on the UART and stops with the machine as it is, so that
//! a debugger finds the evidence. The other cores are not stopped: their partitions have done nothing wrong,
//! and what they go on doing destroys less than a hurried stop of everything would. A lock that this core
//! holds stays held.
#![expect(unsafe_code, reason = "reads the registers that the vectors have stored")]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use shikiri_abi::MAX_CORES;

use crate::boot::{self, log};
use crate::hw::device;
use crate::hw::uart::direct;
use crate::regs;

const VECTORS: [&str; 8] = [
    "synchronous (SP0)",
    "IRQ (SP0)",
    "FIQ (SP0)",
    "SError (SP0)",
    "synchronous",
    "IRQ",
    "FIQ",
    "SError",
];

/// What `own_fault_entry` in `vectors.s` stores on the fault stack.
#[repr(C)]
pub(crate) struct Frame {
    x: [u64; 31],
    sp: u64,
}

const _: () = assert!(size_of::<Frame>() == 256);

/// Which cores have begun to report. Plain loads and stores: each core has its own place.
static HAS_FAILED: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

/// The vector of a synchronous exception from EL2 with its own stack pointer.
const SYNCHRONOUS: u64 = 4;

/// An exception taken from EL2: our bug, unless a bus has refused an access that was made for a guest.
#[unsafe(no_mangle)]
extern "C" fn own_fault(vector: u64, frame: *const Frame) -> ! {
    if vector == SYNCHRONOUS {
        device::resume_if_aborted(frame);
    }
    stop_if_failed_before();
    let name = usize::try_from(vector).ok().and_then(|index| VECTORS.get(index)).unwrap_or(&"?");
    direct!("\nshikiri: EL2 FAULT: {name} exception in the hypervisor; please report this");
    direct!(
        "shikiri:   ESR {:#x} ELR {:#x} (image + {:#x}) FAR {:#x} HPFAR {:#x} SPSR {:#x}",
        regs::esr_el2(),
        regs::elr_el2(),
        regs::elr_el2().wrapping_sub(boot::image_base()),
        regs::far_el2(),
        regs::hpfar_el2(),
        regs::spsr_el2(),
    );
    // SAFETY: the vectors have stored it just now.
    let Frame { x, sp } = unsafe { &*frame };
    for (row, values) in (0_u32..).zip(x.chunks(4)) {
        let first = row.wrapping_mul(4);
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| values.get(column).copied().unwrap_or(*sp));
        // x31 is the stack pointer's number.
        direct!("shikiri:   x{first:<2} {a:016x} {b:016x} {c:016x} {d:016x}");
    }
    say_where();
    stop()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    stop_if_failed_before();
    direct!("\nshikiri: EL2 PANIC: {info}");
    say_where();
    stop()
}

/// A failure while a failure is being reported: silence is better than a report without end.
fn stop_if_failed_before() {
    // Aff0 is below 16 on every board that we know; cores that share a place cost a report, not more.
    let mpidr = regs::mpidr_el1();
    let place = (mpidr & 15) | ((mpidr >> 8) & 7).wrapping_mul(16);
    let Some(has_failed) = usize::try_from(place).ok().and_then(|place| HAS_FAILED.get(place))
    else {
        stop()
    };
    if has_failed.load(Ordering::Relaxed) {
        stop()
    }
    has_failed.store(true, Ordering::Relaxed);
}

fn say_where() {
    direct!(
        "shikiri:   core MPIDR {:#x}; last boot checkpoint [{:02}]; this core stops, the others go on",
        regs::mpidr_el1() & 0xff_00ff_ffff,
        log::last()
    );
}

/// Stops this core for ever.
pub(crate) fn stop() -> ! {
    loop {
        regs::wfi();
    }
}
