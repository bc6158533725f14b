//! The end of the line: an exception or a panic of the hypervisor itself.
//!
//! Either is our bug. The core says what it knows on the UART and stops with the machine as it is, so that
//! a debugger finds the evidence.
#![expect(unsafe_code, reason = "reads the faulting stack")]

use core::panic::PanicInfo;

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

/// An exception taken from EL2.
#[unsafe(no_mangle)]
extern "C" fn own_fault(vector: u64, stack: u64) -> ! {
    let name = usize::try_from(vector).ok().and_then(|index| VECTORS.get(index)).unwrap_or(&"?");
    direct!("\nshikiri: EL2 FAULT: {name} exception in the hypervisor; please report this");
    direct!(
        "shikiri:   ESR {:#x} ELR {:#x} (image + {:#x}) FAR {:#x} HPFAR {:#x} SPSR {:#x}",
        regs::esr_el2(),
        regs::elr_el2(),
        regs::elr_el2().wrapping_sub(crate::boot::image_base()),
        regs::far_el2(),
        regs::hpfar_el2(),
        regs::spsr_el2(),
    );
    direct!("shikiri:   core MPIDR {:#x} SP {stack:#x}", regs::mpidr_el1());
    stop()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    direct!("\nshikiri: EL2 PANIC: {info}");
    stop()
}

/// Stops this core for ever.
pub(crate) fn stop() -> ! {
    loop {
        regs::wfi();
    }
}
