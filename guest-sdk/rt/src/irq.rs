//! Interrupts by number: one function gets each INTID that is acknowledged.
#![expect(unsafe_code, reason = "keeps a function in an atomic pointer")]

use core::sync::atomic::{AtomicPtr, Ordering};

use crate::timer::{Timer, control};
use crate::{gic, println, reg};

/// What handles an interrupt; it runs masked, between acknowledge and end.
pub type Handler = fn(intid: u32);

/// What a library sees of each interrupt before the guest's own handler does: true if the interrupt is its own.
pub type Hook = fn(intid: u32) -> bool;

static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static HOOKS: [AtomicPtr<()>; 4] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 4];

/// Makes `handler` what every interrupt on every vCPU goes to.
#[expect(clippy::as_conversions, reason = "a function's address has no other spelling")]
pub fn set_handler(handler: Handler) {
    HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Shows every interrupt on every vCPU to `hook` before the handler: a library that has interrupts of its own works beside
/// whatever handler the guest sets. It is asked in the order of these calls, once even if it is added again. False if there is
/// no room: there are four.
#[expect(clippy::as_conversions, reason = "a function's address has no other spelling")]
pub fn add_hook(hook: Hook) -> bool {
    let new = hook as *mut ();
    HOOKS.iter().any(|place| {
        let null = core::ptr::null_mut();
        match place.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(there) => there == new,
        }
    })
}

/// Whether a hook took the interrupt.
fn is_hooked(intid: u32) -> bool {
    HOOKS.iter().any(|place| {
        let hook = place.load(Ordering::Acquire);
        if hook.is_null() {
            return false;
        }
        // SAFETY: only `add_hook` stores a pointer that is not null, and it stores a `Hook`.
        let hook = unsafe { core::mem::transmute::<*mut (), Hook>(hook) };
        hook(intid)
    })
}

/// Lets interrupts in on this vCPU.
pub fn unmask() {
    reg::unmask_irq();
}

/// The bit of ISR_EL1 for IRQ.
pub(crate) const PENDING: u32 = 7;

/// Whether an interrupt waits to be let in on this vCPU.
#[inline]
pub(crate) fn is_pending() -> bool {
    reg::isr() >> PENDING & 1 != 0
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

/// Whether this is the virtual timer's, which was stopped since (by a sleep that is over).
fn is_stale(intid: u32) -> bool {
    intid == Timer::Virtual.intid() && Timer::Virtual.control() & control::ENABLE == 0
}

/// Has an interrupt come no more that nobody handles. The virtual timer is masked in place of its interrupt, which whoever sleeps
/// until a deadline relies on.
fn silence(intid: u32) {
    if intid == Timer::Virtual.intid() {
        println!("the virtual timer has no handler: masked");
        Timer::Virtual.set_control(Timer::Virtual.control() | control::IMASK);
        return;
    }
    println!("interrupt {intid} has no handler: disabled");
    gic::disable(intid);
    // Another vCPU may have begun to wait for it meanwhile, and have enabled it before.
    if is_hooked(intid) {
        gic::enable(intid);
    }
}

/// Acknowledges one interrupt, hands it to the hooks, then to the handler, and ends it. Without a handler it comes no more, which is told.
pub(crate) fn dispatch() {
    let acknowledged = gic::acknowledge();
    let Some(intid) = acknowledged.intid() else { return };
    let handler = HANDLER.load(Ordering::Acquire);
    if is_hooked(intid) {
        // The library has seen to it.
    } else if handler.is_null() && !is_stale(intid) {
        silence(intid);
    } else if !handler.is_null() {
        // SAFETY: only `set_handler` stores a pointer that is not null, and it stores a `Handler`.
        let handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
        handler(intid);
    }
    gic::end(acknowledged);
}
