//! What client and server share.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::event::{self, Bound, ReceivePort, Sharing};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::{gic, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, equal};

use shikiri_abi::Status;

/// The interrupt for requests and answers.
pub(crate) const NOTICE: u32 = 64;
/// The first interrupt for events.
pub(crate) const EVENT: u32 = 65;

/// What the client may ask for: the service says what the server does.
pub(crate) mod service {
    /// Accept, and answer each event with one, by a connection that the server asks for.
    pub(crate) const ECHO: u32 = 1;
    /// The connection that the server asks for.
    pub(crate) const BACK: u32 = 2;
    /// Refuse.
    pub(crate) const REFUSE: u32 = 3;
    /// Take, and never answer.
    pub(crate) const KEEP: u32 = 4;
    /// Accept, and close the port at the first event.
    pub(crate) const CLOSE: u32 = 5;
    /// End the partition as soon as it is taken.
    pub(crate) const END: u32 = 6;
    /// Refuse, and then take nothing more, until the event of an earlier connection with `CLOSE`.
    pub(crate) const SLEEP: u32 = 7;
}

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

/// The same of an operation that gives its port back.
pub(crate) fn joined<T, P>(result: Result<T, (P, Refusal)>) -> Result<T, Failure> {
    made(result.map_err(|(_, refusal)| refusal))
}

/// What must be refused.
pub(crate) fn refused<T>(what: &'static str, result: Result<T, Refusal>, want: Status) -> Outcome {
    equal(what, result.err().map_or(0, |refusal| refusal.code as u64), want.code() as u64)
}

/// A port with an interrupt of its own, which is enabled.
pub(crate) fn port(intid: u32) -> Result<Bound, Failure> {
    let bound = joined(made(ReceivePort::new())?.bind(intid, Sharing::Alone))?;
    gic::enable(intid);
    Ok(bound)
}

/// The port for requests and answers.
pub(crate) fn notice() -> Result<Bound, Failure> {
    let port = port(NOTICE)?;
    made(event::notify(&port))?;
    Ok(port)
}
