//! Sleeping until something can be had, or until a deadline.
//!
//! What is waited for comes with an interrupt of this vCPU's, or is there already: who sleeps tries again after each interrupt.

use crate::timer::{self, Timer, control};
use crate::{gic, irq, reg, trap};

/// A moment of the virtual counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u64);

impl Ticks {
    /// So many microseconds from now.
    #[must_use]
    pub fn from_now_us(microseconds: u64) -> Self {
        Self(Timer::Virtual.now().saturating_add(timer::ticks(microseconds)))
    }

    /// Whether it has come.
    #[must_use]
    pub fn is_over(self) -> bool {
        Timer::Virtual.now() >= self.0
    }
}

/// Tries until there is something, asleep in WFI after each try in vain.
#[inline]
pub fn until_there<T>(attempt: impl FnMut() -> Option<T>) -> T {
    until_there_by(reg::wfi, attempt)
}

/// The same, until the virtual counter reaches `deadline`; see [`until_by`].
pub fn until<T>(deadline: Ticks, attempt: impl FnMut() -> Option<T>) -> Option<T> {
    until_by(deadline, reg::wfi, attempt)
}

/// Tries until there is something, and dozes after each try in vain: [`reg::wfi`], [`Watch::doze`](crate::watch::Watch::doze), or one of
/// them as the case may be. Both are done with interrupts masked, so that one that follows a try in vain ends the sleep that follows it.
#[inline]
pub fn until_there_by<T>(mut doze: impl FnMut(), mut attempt: impl FnMut() -> Option<T>) -> T {
    let daif = reg::daif();
    irq::mask();
    let found = loop {
        if let Some(found) = attempt() {
            break found;
        }
        doze();
        let_in();
    };
    reg::set_daif(daif);
    found
}

/// The same, until the virtual counter reaches `deadline`. The vCPU's virtual timer is used while it sleeps; handlers find it as they or the
/// guest have set it, and its interrupt comes at that deadline, too. It may come to the handler without cause, which must leave it enabled.
pub fn until_by<T>(
    deadline: Ticks,
    mut doze: impl FnMut(),
    mut attempt: impl FnMut() -> Option<T>,
) -> Option<T> {
    gic::enable(Timer::Virtual.intid());
    let daif = reg::daif();
    irq::mask();
    let found = loop {
        let found = attempt();
        if found.is_some() || deadline.is_over() {
            break found;
        }
        by_timer(deadline, &mut doze);
        let_in();
    };
    reg::set_daif(daif);
    found
}

/// Dozes until `deadline` at most, or until the guest's own deadline, if that is earlier.
fn by_timer(deadline: Ticks, doze: &mut impl FnMut()) {
    let timer = Timer::Virtual;
    let (own, state) = (timer.deadline(), timer.control());
    let is_armed = state & (control::ENABLE | control::IMASK) == control::ENABLE;
    timer.set_deadline(if is_armed { own.min(deadline.0) } else { deadline.0 });
    doze();
    timer.stop();
    timer.move_deadline(own);
    timer.set_control(state);
}

/// The most interrupts that are let in between two tries: as many as can be pending at the core at once (GICv3: 16 list registers).
const MOST: usize = 16;

/// Lets the interrupts in that have ended a sleep, if any have. They are handled as calls, which spares the exception's entry and
/// end; a guest with a handler for the exception itself gets that. One that an end reveals later than the look here ends the next sleep.
#[inline]
fn let_in() {
    for _ in 0..MOST {
        if !irq::is_pending() {
            return;
        }
        if trap::has_handler(trap::Kind::Irq) {
            irq::unmask();
            reg::isb();
            irq::mask();
        } else {
            irq::dispatch();
        }
    }
}
