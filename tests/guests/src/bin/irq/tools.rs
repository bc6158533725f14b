//! What the cases share: a clean start, and patient acknowledging.

use shikiri_rt::gic::{self, Acknowledged, Version};
use shikiri_rt::platform::UART_INTID;
use shikiri_rt::{reg, smp, timer};
use shikiri_test_guests::Failure;
use shikiri_test_guests::report::Outcome;

/// The SPIs that the cases use.
pub(crate) const SPIS: core::ops::Range<u32> = 64..128;
/// PPIs that no timer or PMU of the platform uses.
pub(crate) const PPIS: [u32; 5] = [18, 19, 20, 21, 22];

/// Runs a case between clean states.
pub(crate) fn case(name: &str, test: impl FnOnce() -> Outcome) {
    shikiri_test_guests::case(name, || {
        clean();
        let outcome = test();
        clean();
        outcome
    });
}

/// Everything off, not pending, not active, and all priorities let through.
pub(crate) fn clean() {
    gic::joined_end();
    gic::set_priority_mask(0xff);
    drop_priority();
    for intid in (0..16).chain(PPIS).chain(SPIS) {
        gic::disable(intid);
        if gic::version() == Version::V3 || intid >= 16 {
            gic::clear_pending(intid);
        }
        gic::clear_active(intid);
    }
    while let Some(acknowledged) = take() {
        gic::end(acknowledged);
    }
}

/// Ends what a failed case left acknowledged, so that the running priority goes back to idle.
fn drop_priority() {
    for intid in (0..16).chain(PPIS).chain(SPIS).chain([UART_INTID]) {
        let is_idle = match gic::version() {
            Version::V2 => false,
            Version::V3 => reg::icc_rpr() & 0xff == 0xff,
        };
        if !is_idle && gic::is_active(intid) {
            gic::end(Acknowledged::of(intid));
        }
    }
}

/// Enables an interrupt with a priority.
pub(crate) fn arm(intid: u32, priority: u8) {
    gic::enable(intid);
    gic::set_priority(intid, priority);
    if intid >= 32 {
        gic::route(intid, smp::index());
    }
}

/// Makes an interrupt pending for this vCPU.
pub(crate) fn pend(intid: u32) {
    if intid < 16 {
        gic::send_sgi(intid, smp::index());
    } else {
        gic::set_pending(intid);
    }
}

/// Acknowledges at once.
pub(crate) fn take() -> Option<Acknowledged> {
    let acknowledged = gic::acknowledge();
    acknowledged.intid().map(|_| acknowledged)
}

/// Acknowledges; gives what may be on its way some time. For what must come there is [`take_at_last`].
pub(crate) fn take_soon() -> Option<Acknowledged> {
    (0..50).find_map(|round| {
        if round > 0 {
            pause();
        }
        take()
    })
}

/// Acknowledges what must come, at most a minute from now: another vCPU may have to do its part first, and its core
/// may be a thread that the host lets wait.
pub(crate) fn take_at_last() -> Option<Acknowledged> {
    let end = reg::now() + timer::ticks(60_000_000);
    loop {
        if let Some(acknowledged) = take() {
            return Some(acknowledged);
        }
        if reg::now() >= end {
            return None;
        }
        reg::yield_now();
    }
}

/// Some instructions of nothing.
pub(crate) fn pause() {
    for _ in 0..200 {
        reg::yield_now();
    }
}

/// Acknowledges and wants `intid` before anything else, as soon as anything comes.
pub(crate) fn expect(intid: u32) -> Result<Acknowledged, Failure> {
    let wrong = |got| Failure { what: "acknowledged", got, want: u64::from(intid) };
    let acknowledged = take_at_last().ok_or(wrong(1023))?;
    let got = acknowledged.intid().unwrap_or(1023);
    if got == intid { Ok(acknowledged) } else { Err(wrong(u64::from(got))) }
}

/// Wants nothing to be signalled.
pub(crate) fn expect_nothing() -> Outcome {
    for _ in 0..5 {
        if let Some(acknowledged) = take() {
            let got = u64::from(acknowledged.intid().unwrap_or(1023));
            return Err(Failure { what: "acknowledged", got, want: 1023 });
        }
        pause();
    }
    Ok(())
}
