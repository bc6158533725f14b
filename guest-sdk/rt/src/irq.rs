//! Interrupts by number: one function gets each INTID that is acknowledged.
#![expect(unsafe_code, reason = "keeps a function in an atomic pointer")]

use core::sync::atomic::{AtomicPtr, Ordering};

use crate::{gic, println, reg};

/// What handles an interrupt; it runs masked, between acknowledge and end.
pub type Handler = fn(intid: u32);

static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Makes `handler` what every interrupt on every vCPU goes to.
#[expect(clippy::as_conversions, reason = "a function's address has no other spelling")]
pub fn set_handler(handler: Handler) {
    HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Lets interrupts in on this vCPU.
pub fn unmask() {
    reg::unmask_irq();
}

/// Keeps interrupts out on this vCPU.
pub fn mask() {
    reg::mask_irq();
}

/// Runs `action` with interrupts masked and restores the mask.
pub fn masked<R>(action: impl FnOnce() -> R) -> R {
    let daif = reg::daif();
    reg::mask_irq();
    let result = action();
    reg::set_daif(daif);
    result
}

/// Waits until `condition` holds, asleep between interrupts; they are unmasked meanwhile. It is looked at with
/// interrupts masked, so that one that comes just before the wait ends the wait.
pub fn wait_until(condition: impl Fn() -> bool) {
    let daif = reg::daif();
    reg::mask_irq();
    while !condition() {
        reg::wfi();
        reg::unmask_irq();
        reg::isb();
        reg::mask_irq();
    }
    reg::set_daif(daif);
}

/// Acknowledges one interrupt, hands it to the handler and ends it. Without a handler it is disabled and told.
pub(crate) fn dispatch() {
    let acknowledged = gic::acknowledge();
    let Some(intid) = acknowledged.intid() else { return };
    let handler = HANDLER.load(Ordering::Acquire);
    if handler.is_null() {
        println!("interrupt {intid} has no handler: disabled");
        gic::disable(intid);
    } else {
        // SAFETY: only `set_handler` stores a pointer that is not null, and it stores a `Handler`.
        let handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
        handler(intid);
    }
    gic::end(acknowledged);
}
