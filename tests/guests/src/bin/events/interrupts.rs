//! How often each interrupt came, and where.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, reg, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

/// INTIDs up to the last SPI.
pub(crate) const INTIDS: usize = 1020;

/// By vCPU, then by INTID.
static COUNTS: [[AtomicU64; INTIDS]; 2] = [const { [const { AtomicU64::new(0) }; INTIDS] }; 2];
static LISTENS: AtomicU64 = AtomicU64::new(0);

/// The handler of all vCPUs.
pub(crate) fn count(intid: u32) {
    if let Some(count) = COUNTS[smp::index()].get(intid as usize) {
        count.fetch_add(1, Ordering::Release);
    }
}

/// Lets interrupts in on this vCPU.
pub(crate) fn begin() {
    irq::unmask();
}

/// What the second vCPU does.
pub(crate) fn listen() {
    irq::unmask();
    LISTENS.store(1, Ordering::Release);
    irq::mask();
    irq::wait_until(|| false);
}

/// Whether a second vCPU listens.
pub(crate) fn has_second() -> bool {
    if smp::count() < 2 {
        return false;
    }
    while LISTENS.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    true
}

/// How often it came to a vCPU.
pub(crate) fn came(vcpu: usize, intid: u32) -> u64 {
    COUNTS[vcpu][intid as usize].load(Ordering::Acquire)
}

/// Waits until it has come so often to a vCPU.
pub(crate) fn wait(vcpu: usize, intid: u32, want: u64) -> Outcome {
    let end = reg::now() + timer::ticks(60_000_000);
    while came(vcpu, intid) < want {
        if reg::now() > end {
            return Err(Failure { what: "interrupts", got: came(vcpu, intid), want });
        }
        reg::yield_now();
    }
    equal("interrupts", came(vcpu, intid), want)
}

/// Wants none beyond `want`.
pub(crate) fn no_more(vcpu: usize, intid: u32, want: u64) -> Outcome {
    let end = Timer::Virtual.now() + timer::ticks(2_000);
    while Timer::Virtual.now() < end {
        reg::yield_now();
    }
    equal("interrupts", came(vcpu, intid), want)
}

/// Whether the interrupt is pending in the virtual GIC.
pub(crate) fn is_pending(intid: u32) -> bool {
    gic::is_pending(intid)
}

/// The condition, or a failure with its name.
pub(crate) fn must(what: &'static str, condition: bool) -> Outcome {
    ensure(what, condition)
}
