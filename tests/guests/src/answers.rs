//! What calls answer, and waiting for what they bring about, as outcomes of a case.

use shikiri_abi::{AreaClass, RESOURCE_COUNT, Resource, Status};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::partition::{self, Refusal};
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::{reg, timer};

use crate::report::Outcome;
use crate::{Failure, ensure, equal, taken};

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

/// What an account says of each resource: what is used, and the most that ever was.
///
/// # Errors
/// It cannot be read.
pub fn lines() -> Result<[(u64, u64); RESOURCE_COUNT], Failure> {
    let mut lines = [(0, 0); RESOURCE_COUNT];
    for (place, resource) in lines.iter_mut().zip(Resource::ALL) {
        let line = made(partition::account(resource))?;
        *place = (line.used, line.high);
    }
    Ok(lines)
}

/// A call that must be refused because the account's limit of a resource is reached, and changes no line of the account.
///
/// # Errors
/// It is not refused, or otherwise, or something has changed.
pub fn over_limit<T>(
    what: &'static str,
    call: impl FnOnce() -> Result<T, Refusal>,
    resource: Resource,
) -> Outcome {
    let before = lines()?;
    refused_for(what, call(), (Status::OverLimit, u64::from(resource.number())))?;
    ensure("nothing has changed", lines()? == before)
}

/// Makes one area that takes all that the account's limit of memory leaves, which is less than 2 MiB.
///
/// # Errors
/// There is no limit, or the area is refused.
pub fn take_memory() -> Result<Area, Failure> {
    let line = made(partition::account(Resource::Memory))?;
    let left = line.limit.unwrap_or(0).saturating_sub(line.used);
    made(message::alloc(left << 12, AreaClass::Block))
}

/// Areas of two pages, each of which takes a table.
#[derive(Debug)]
pub struct Tables {
    areas: [Option<Area>; Self::MOST],
}

impl Tables {
    const MOST: usize = 96;

    /// Makes so many that the account's limit of management memory leaves none.
    ///
    /// # Errors
    /// One is refused for another reason, or none was made.
    pub fn take_all() -> Result<Self, Failure> {
        let mut areas = [None; Self::MOST];
        let over = u64::from(Resource::ManagementMemory.number());
        for place in &mut areas {
            match message::alloc(8192, AreaClass::Block) {
                Ok(area) => *place = Some(area),
                refusal => {
                    refused_for("a table", refusal, (Status::OverLimit, over))?;
                    break;
                }
            }
        }
        ensure("as many as there may be", areas[1].is_some() && areas[Self::MOST - 1].is_none())?;
        Ok(Self { areas })
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Handle {
        self.areas[0].map_or(Handle(0), |area| area.handle)
    }

    /// Frees the last one that is left.
    ///
    /// # Errors
    /// It is refused, or none is left.
    pub fn free_one(&mut self) -> Outcome {
        let last = self.areas.iter_mut().rev().find_map(Option::take);
        let last = last.ok_or(Failure { what: "none is left", got: 0, want: 1 })?;
        made(taken::free(last.handle))
    }

    /// Frees all.
    ///
    /// # Errors
    /// One is refused.
    pub fn free(self) -> Outcome {
        self.areas.into_iter().flatten().try_for_each(|area| made(taken::free(area.handle)))
    }
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
