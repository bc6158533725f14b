//! The end, and waiting for something to do.

use shikiri_hvc::{Conduit, partition, psci};

use crate::reg;

/// The code that a panic ends the partition with.
pub const CODE_PANIC: u32 = 101;
/// The code that an exception without handler ends the partition with.
pub const CODE_EXCEPTION: u32 = 102;

/// Turns the partition off: all is done.
pub fn off() -> ! {
    psci::system_off(Conduit::Hvc);
    hang()
}

/// Ends the partition with `code` in the report; the description says whether it is started again. On a bare
/// machine, which does not know this call, turns the machine off.
pub fn end(code: u32) -> ! {
    // A refusal leaves only the other way.
    let _refusal: partition::Refusal = partition::end(code);
    off()
}

/// Waits for interrupts, for ever; what they need is done by their handlers.
pub fn idle() -> ! {
    reg::unmask_irq();
    hang()
}

/// Waits for ever.
pub(crate) fn hang() -> ! {
    loop {
        reg::wfi();
    }
}
