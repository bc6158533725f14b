//! What the topics share.

use shikiri_policy::{Cause, End, Partition, State, take_notice};
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::platform;
use shikiri_test_guests::Failure;
pub(crate) use shikiri_test_guests::answers::{made, refused, refused_for, wait};
use shikiri_test_guests::report::Outcome;

/// The partition of this name.
pub(crate) fn named(name: &str) -> Result<Partition, Failure> {
    Partition::named(name).ok_or(Failure { what: "no such partition", got: 0, want: 1 })
}

/// A port that the description has made for an event of this name.
pub(crate) fn event(name: &str) -> Result<Handle, Failure> {
    let handle = platform::described(name, "shikiri,handle");
    handle.map(Handle).ok_or(Failure { what: "no such event", got: 0, want: 1 })
}

/// Waits until a partition stands so.
pub(crate) fn wait_for(partition: Partition, state: State) -> Outcome {
    wait("its state", || Ok(made(partition.status())?.state == state))
}

/// The next notice, which comes within a minute.
pub(crate) fn notice() -> Result<End, Failure> {
    let mut found = None;
    wait("a notice", || {
        found = made(take_notice())?;
        Ok(found.is_some())
    })?;
    found.ok_or(Failure { what: "no notice", got: 0, want: 1 })
}

/// Fails unless the next notice says this.
pub(crate) fn ended(partition: Partition, cause: Cause) -> Outcome {
    let end = notice()?;
    if end.partition != partition {
        let (got, want) = (end.partition.who().encode(), partition.who().encode());
        return Err(Failure { what: "whose notice", got, want });
    }
    if end.cause != cause {
        shikiri_rt::println!("{} in place of {cause}", end.cause);
        return Err(Failure { what: "why", got: 0, want: 1 });
    }
    Ok(())
}
