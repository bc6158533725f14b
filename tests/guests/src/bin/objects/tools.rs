//! What the roles share.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::Status;
use shikiri_object::{Object, Waiting};
use shikiri_rt::event::{Bound, ReceivePort, Sharing};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::{gic, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, equal};

/// The first interrupt for objects.
pub(crate) const FIRST: u32 = 64;

static COUNTS: [AtomicU64; 128] = [const { AtomicU64::new(0) }; 128];

/// The interrupt handler.
pub(crate) fn count(intid: u32) {
    if let Some(count) = COUNTS.get(intid as usize) {
        count.fetch_add(1, Ordering::Release);
    }
}

/// How often an interrupt came.
pub(crate) fn came(intid: u32) -> u64 {
    COUNTS[intid as usize].load(Ordering::Acquire)
}

/// Waits for a condition.
pub(crate) fn wait(what: &'static str, condition: impl Fn() -> bool) -> Outcome {
    let end = reg::now() + timer::ticks(60_000_000);
    while !condition() {
        if reg::now() > end {
            return Err(Failure { what, got: 0, want: 1 });
        }
        reg::yield_now();
    }
    Ok(())
}

/// What must not be refused.
pub(crate) fn made<T>(result: Result<T, Refusal>) -> Result<T, Failure> {
    result.map_err(|refusal| Failure { what: "refused", got: refusal.code as u64, want: 0 })
}

/// What must be refused, with this in `x1`.
pub(crate) fn refused<T>(
    what: &'static str,
    result: Result<T, Refusal>,
    (want, which): (Status, u64),
) -> Outcome {
    let refusal = result.err().unwrap_or(Refusal { code: 0, which: 0 });
    equal(what, refusal.code as u64, want.code() as u64)?;
    equal(what, refusal.which, which)
}

/// A port with an interrupt of its own, which is enabled.
pub(crate) fn port(intid: u32) -> Result<Bound, Failure> {
    let bound = made(ReceivePort::new())?.bind(intid, Sharing::Alone);
    let bound = made(bound.map_err(|(_, refusal)| refusal))?;
    gic::enable(intid);
    Ok(bound)
}

/// An object and a port for it.
pub(crate) fn waiting<T: Object>(
    object: Result<T, Refusal>,
    intid: u32,
) -> Result<Waiting<T>, Failure> {
    let waiting = Waiting::new(made(object)?, port(intid)?);
    made(waiting.map_err(|(_, _, refusal)| refusal))
}
