//! What the console says when a partition has ended.

use super::{After, EndCause};
use core::fmt;
use shikiri_abi::PartitionId;

/// A partition's end, in a line: who, why, and what follows.
#[derive(Clone, Copy, Debug)]
pub struct Farewell<'a> {
    /// Its name.
    pub name: &'a str,
    /// The life that is over.
    pub id: PartitionId,
    /// Why.
    pub cause: EndCause,
    /// What follows.
    pub after: After,
    /// It holds the policy capability: while it does not live, only the operator starts anybody.
    pub makes_policy: bool,
}

impl Farewell<'_> {
    /// Whether it is said. What the policy program does to others it knows, and nobody else has to be told; its own end it does not see.
    #[must_use]
    pub const fn is_said(&self) -> bool {
        !self.cause.is_policy() || (self.makes_policy && !self.restarts())
    }

    const fn restarts(&self) -> bool {
        matches!(self.after, After::StartAt(_))
    }
}

impl fmt::Display for Farewell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, cause, after, makes_policy } = self;
        write!(f, "partition {name} (id {}) has ended: it {cause}", id.0)?;
        f.write_str(match after {
            After::Stay => "",
            After::GivenUp => "; restarted too often, it stays ended",
            After::StartAt(_) => return f.write_str("; it will restart"),
        })?;
        if *makes_policy || matches!(cause, EndCause::Operator) {
            write!(f, "; Ctrl-A c, then 'start {name}' starts it")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{After, EndCause, Farewell, PartitionId};
    use std::string::ToString;

    const ALL: [EndCause; 9] = [
        EndCause::Off,
        EndCause::Reset,
        EndCause::Code(3),
        EndCause::Fault,
        EndCause::Operator,
        EndCause::OperatorRestart,
        EndCause::NotBuilt,
        EndCause::Policy,
        EndCause::PolicyRestart,
    ];

    fn of(cause: EndCause, after: After, makes_policy: bool) -> Farewell<'static> {
        Farewell { name: "scos", id: PartitionId(7), cause, after, makes_policy }
    }

    #[test]
    fn what_the_policy_program_does_is_said_of_its_own_partition_alone() {
        for cause in ALL {
            for after in [After::Stay, After::GivenUp, After::StartAt(9)] {
                assert_eq!(of(cause, after, false).is_said(), !cause.is_policy());
                let is_over = !matches!(after, After::StartAt(_));
                assert_eq!(of(cause, after, true).is_said(), is_over || !cause.is_policy());
            }
        }
    }

    #[test]
    fn who_needs_the_operator_is_told_how() {
        for (cause, after, makes_policy, text) in [
            (EndCause::Off, After::Stay, false, "powered itself off"),
            (EndCause::Fault, After::StartAt(9), true, "faulted; it will restart"),
            (
                EndCause::Code(3),
                After::GivenUp,
                false,
                "ended itself with code 3; restarted too often, it stays ended",
            ),
            (
                EndCause::Operator,
                After::Stay,
                false,
                "was stopped by the operator; Ctrl-A c, then 'start scos' starts it",
            ),
            (
                EndCause::Policy,
                After::Stay,
                true,
                "was stopped by the policy program; Ctrl-A c, then 'start scos' starts it",
            ),
            (
                EndCause::Fault,
                After::GivenUp,
                true,
                "faulted; restarted too often, it stays ended; Ctrl-A c, then 'start scos' starts it",
            ),
        ] {
            let said = of(cause, after, makes_policy).to_string();
            assert_eq!(said, std::format!("partition scos (id 7) has ended: it {text}"));
        }
    }
}
