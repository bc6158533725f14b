//! Exceptions that the guest takes because of what it did, as the hardware would give them.
//!
//! What they look like is `shikiri_arch::inject`'s business; here the loaded vCPU's EL1 registers are changed.
#![expect(unsafe_code, reason = "reads and writes EL1's exception registers")]

use core::arch::asm;

use shikiri_arch::exit::Abort;
use shikiri_arch::inject::{Entry, Injected, Interrupted};

use crate::regs;

/// The instruction at the guest's PC is undefined. False as for [`abort`].
#[must_use]
pub(crate) fn undefined() -> bool {
    enter(Injected::Undefined)
}

/// An access to an address where the partition has nothing: a synchronous external abort, which is what
/// an empty address gives on a bus.
///
/// False, and nothing is done, if it was the first instruction of the vector to which the abort leads: the
/// guest would come back here for ever, each time with the same registers.
#[must_use]
pub(crate) fn abort(abort: &Abort) -> bool {
    enter(Injected::Abort { abort: *abort, far: regs::far_el2() })
}

/// The mode of a processor state: exception level and stack.
const MODE: u64 = 0x1f;

/// False if the exception leads to where the guest is already.
fn enter(injected: Injected) -> bool {
    let from = Interrupted {
        pc: regs::elr_el2(),
        pstate: regs::spsr_el2(),
        vbar: regs::vbar_el1(),
        sctlr: regs::sctlr_el1(),
        has_pan: (regs::id_aa64mmfr1_el1() >> 20) & 15 != 0,
    };
    let entry = Entry::new(&from, injected);
    if entry.pc == from.pc && entry.pstate & MODE == from.pstate & MODE {
        return false;
    }
    // SAFETY: EL1's registers; EL2 does not use them.
    unsafe { asm!("msr elr_el1, {}", in(reg) entry.elr, options(nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { asm!("msr spsr_el1, {}", in(reg) entry.spsr, options(nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { asm!("msr esr_el1, {}", in(reg) entry.esr, options(nostack, preserves_flags)) };
    if let Some(far) = entry.far {
        // SAFETY: as above.
        unsafe { asm!("msr far_el1, {}", in(reg) far, options(nostack, preserves_flags)) };
    }
    regs::set_elr_el2(entry.pc);
    regs::set_spsr_el2(entry.pstate);
    true
}
