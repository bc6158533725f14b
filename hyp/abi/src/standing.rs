//! How a partition stands, and why it ended: the numbers of `PARTITION_LIST` and `NOTICE_TAKE`, which EL2 writes and all others
//! read (P2, P7).

use core::fmt;

/// Where a partition stands: bits 0 to 7 of what `PARTITION_LIST` answers in x2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// It is being described, and owns nothing.
    Created,
    /// It is being built.
    Building,
    /// It is built, and waits for another start.
    Held,
    /// It runs.
    Active,
    /// Its vCPUs are kept off their cores.
    Paused,
    /// It is being stopped and taken apart.
    Ending,
    /// It has ended, or was never started, and owns nothing.
    Ended,
    /// It is being destroyed.
    Leaving,
}

impl PartitionState {
    /// All of them, by number, from 1.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Building,
        Self::Held,
        Self::Active,
        Self::Paused,
        Self::Ending,
        Self::Ended,
        Self::Leaving,
    ];

    /// The number: 1 to 8.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Created => 1,
            Self::Building => 2,
            Self::Held => 3,
            Self::Active => 4,
            Self::Paused => 5,
            Self::Ending => 6,
            Self::Ended => 7,
            Self::Leaving => 8,
        }
    }

    /// The state with this number; none if it has come later than this.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Created,
            2 => Self::Building,
            3 => Self::Held,
            4 => Self::Active,
            5 => Self::Paused,
            6 => Self::Ending,
            7 => Self::Ended,
            8 => Self::Leaving,
            _ => return None,
        })
    }
}

impl fmt::Display for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Building => "being built",
            Self::Held => "held",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Leaving => "being destroyed",
        })
    }
}

/// Why a partition ended: bits 0 to 7 of what `NOTICE_TAKE` answers in x2, and the code above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// PSCI SYSTEM_OFF, or the last vCPU turned itself off.
    Off,
    /// PSCI SYSTEM_RESET: it wants to start again, whatever the policy.
    Reset,
    /// The PARTITION_END call, with the guest's code.
    Code(u32),
    /// An exit that cannot be served; the report says which.
    Fault,
    /// The operator's `stop`.
    Operator,
    /// The operator's `restart`.
    OperatorRestart,
    /// It could not be built.
    NotBuilt,
    /// PARTITION_STOP.
    Policy,
    /// PARTITION_RESTART.
    PolicyRestart,
}

impl EndCause {
    /// The number, 1 to 9, and the code, which only [`EndCause::Code`] has; both are 0 of a partition that has not ended.
    #[must_use]
    pub const fn encode(self) -> (u8, u32) {
        match self {
            Self::Off => (1, 0),
            Self::Reset => (2, 0),
            Self::Code(code) => (3, code),
            Self::Fault => (4, 0),
            Self::Operator => (5, 0),
            Self::OperatorRestart => (6, 0),
            Self::NotBuilt => (7, 0),
            Self::Policy => (8, 0),
            Self::PolicyRestart => (9, 0),
        }
    }

    /// The cause with this number and code; none for 0, and if it has come later than this.
    #[must_use]
    pub const fn decode(number: u8, code: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Off,
            2 => Self::Reset,
            3 => Self::Code(code),
            4 => Self::Fault,
            5 => Self::Operator,
            6 => Self::OperatorRestart,
            7 => Self::NotBuilt,
            8 => Self::Policy,
            9 => Self::PolicyRestart,
            _ => return None,
        })
    }

    /// In a word, for tables: those of the system control OS's shell. Behind `code` comes the code.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Reset => "reset",
            Self::Code(_) => "code",
            Self::Fault => "fault",
            Self::NotBuilt => "not built",
            Self::Operator | Self::OperatorRestart | Self::Policy | Self::PolicyRestart => {
                "stopped"
            }
        }
    }

    /// Whether the policy program did it: it knows, and nobody else has to be told.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::Policy | Self::PolicyRestart)
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("powered itself off"),
            Self::Reset => f.write_str("asked for a reset"),
            Self::Code(code) => write!(f, "ended itself with code {code}"),
            Self::Fault => f.write_str("faulted"),
            Self::Operator => f.write_str("was stopped by the operator"),
            Self::OperatorRestart => f.write_str("was restarted by the operator"),
            Self::NotBuilt => f.write_str("could not be started"),
            Self::Policy => f.write_str("was stopped by the policy program"),
            Self::PolicyRestart => f.write_str("was restarted by the policy program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::{EndCause, PartitionState};
    use crate::CALLS;

    /// What the call table says of a result.
    fn told(call: &str, result: &str) -> &'static str {
        let row = CALLS.iter().find(|row| row.name == call).unwrap();
        row.results.iter().find(|it| it.name == result).unwrap().meaning
    }

    #[test]
    fn the_states_are_those_that_the_call_table_tells_and_no_others() {
        let states: Vec<_> =
            PartitionState::ALL.iter().map(|state| format!("{} {state}", state.code())).collect();
        let row = told("PARTITION_LIST", "state");
        assert!(row.starts_with(&format!("bits 0 to 7: {};", states.join(", "))), "{states:?}");
        for code in 0..=u8::MAX {
            let state = code.checked_sub(1).and_then(|at| PartitionState::ALL.get(usize::from(at)));
            assert_eq!(PartitionState::from_code(code), state.copied());
            assert_eq!(state.map_or(code, |state| state.code()), code);
        }
    }

    #[test]
    fn the_causes_of_ends_are_those_that_the_call_table_tells_and_no_others() {
        let (row, _) = told("NOTICE_TAKE", "why").split_once(';').unwrap();
        let numbers = row.trim_start_matches("bits 0 to 7: ").split(", ");
        let numbers: Vec<u8> =
            numbers.map(|item| item.split(' ').next().unwrap().parse().unwrap()).collect();
        let known: Vec<u8> =
            (0..=u8::MAX).filter(|number| EndCause::decode(*number, 7).is_some()).collect();
        assert_eq!(known, numbers);
        for number in known {
            let cause = EndCause::decode(number, 7).unwrap();
            let code = if cause == EndCause::Code(7) { 7 } else { 0 };
            assert_eq!(cause.encode(), (number, code), "only a code has one");
        }
        let words = ["1 off", "2 reset", "3 with a code", "4 fault", "5 stopped by the operator"];
        assert!(row.contains(&words.join(", ")), "{row}");
        assert_eq!(EndCause::decode(5, 0), Some(EndCause::Operator));
        assert_eq!(EndCause::decode(9, 0), Some(EndCause::PolicyRestart));
    }
}
