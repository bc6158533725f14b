//! What calls answer, and waiting for what they bring about, as outcomes of a case.

use shikiri_abi::Status;
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::{reg, timer};

use crate::report::Outcome;
use crate::{Failure, equal};

/// What must not be refused.
///
/// # Errors
/// It is.
pub fn made<T>(result: Result<T, Refusal>) -> Result<T, Failure> {
    result.map_err(|refusal| Failure { what: "refused", got: refusal.code as u64, want: 0 })
}

/// The same of an operation that gives its port back.
///
/// # Errors
/// It is refused.
pub fn joined<T, P>(result: Result<T, (P, Refusal)>) -> Result<T, Failure> {
    made(result.map_err(|(_, refusal)| refusal))
}

/// What must be refused.
///
/// # Errors
/// It is not, or otherwise.
pub fn refused<T>(what: &'static str, result: Result<T, Refusal>, want: Status) -> Outcome {
    equal(what, result.err().map_or(0, |refusal| refusal.code as u64), want.code() as u64)
}

/// What must be refused, with this in `x1`: which argument, or which resource.
///
/// # Errors
/// It is not, or otherwise.
pub fn refused_for<T>(
    what: &'static str,
    result: Result<T, Refusal>,
    (want, which): (Status, u64),
) -> Outcome {
    let refusal = result.err().unwrap_or(Refusal { code: 0, which: 0 });
    equal(what, refusal.code as u64, want.code() as u64)?;
    equal(what, refusal.which, which)
}

/// The longest that a case waits for what another has to do, in microseconds: the host may let others wait.
pub const MINUTE_US: u64 = 60_000_000;

/// Waits for a condition that can be asked for at any time, a minute at most.
///
/// # Errors
/// The time is over.
pub fn soon(what: &'static str, mut condition: impl FnMut() -> bool) -> Outcome {
    wait(what, || Ok(condition()))
}

/// Waits for a condition, a minute at most.
///
/// # Errors
/// The condition's own, or the time is over.
pub fn wait(what: &'static str, mut condition: impl FnMut() -> Result<bool, Failure>) -> Outcome {
    let end = reg::now() + timer::ticks(MINUTE_US);
    while !condition()? {
        if reg::now() > end {
            return Err(Failure { what, got: 0, want: 1 });
        }
        reg::yield_now();
    }
    Ok(())
}
