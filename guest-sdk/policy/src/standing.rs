//! How a partition stands, and its end.

use core::fmt;

use shikiri_abi::EndCause;
pub use shikiri_abi::PartitionState as State;
use shikiri_hvc::policy as calls;

use crate::Partition;

/// Why a partition has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It turned itself off.
    Off,
    /// It asked for a reset.
    Reset,
    /// It ended itself with this code.
    Code(u32),
    /// An exit that could not be served.
    Fault,
    /// The operator stopped it.
    Operator,
    /// The operator restarted it.
    OperatorRestart,
    /// It could not be built.
    NotBuilt,
    /// [`Partition::stop`].
    Stopped,
    /// [`Partition::restart`].
    Restarted,
    /// Something that this version does not know.
    Unknown(u8),
}

impl Cause {
    pub(crate) const fn of(number: u8, code: u32) -> Self {
        match EndCause::decode(number, code) {
            Some(EndCause::Off) => Self::Off,
            Some(EndCause::Reset) => Self::Reset,
            Some(EndCause::Code(code)) => Self::Code(code),
            Some(EndCause::Fault) => Self::Fault,
            Some(EndCause::Operator) => Self::Operator,
            Some(EndCause::OperatorRestart) => Self::OperatorRestart,
            Some(EndCause::NotBuilt) => Self::NotBuilt,
            Some(EndCause::Policy) => Self::Stopped,
            Some(EndCause::PolicyRestart) => Self::Restarted,
            None => Self::Unknown(number),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Reset => f.write_str("reset"),
            Self::Code(code) => write!(f, "code {code}"),
            Self::Fault => f.write_str("fault"),
            Self::Operator => f.write_str("stopped by the operator"),
            Self::OperatorRestart => f.write_str("restarted by the operator"),
            Self::NotBuilt => f.write_str("could not be built"),
            Self::Stopped => f.write_str("stopped"),
            Self::Restarted => f.write_str("restarted"),
            Self::Unknown(number) => write!(f, "cause {number}"),
        }
    }
}

/// What can be known of a partition at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: State,
    /// Why its last life ended; none while it lives, and before its first.
    pub cause: Option<Cause>,
    /// It will start again by itself.
    pub restarts: bool,
    /// How often it was started.
    pub starts: u32,
    /// How many vCPUs it has.
    pub vcpus: u8,
    /// It was made at run time.
    pub is_made: bool,
    /// It is the partition that asks.
    pub is_caller: bool,
}

/// A partition's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The life that has ended.
    pub partition: Partition,
    /// Why.
    pub cause: Cause,
    /// It will start again by itself.
    pub restarts: bool,
    /// Ends of the same partition before this one that were not told.
    pub missed: u64,
}

impl End {
    /// Out of line: who looks for a notice mostly finds none.
    #[inline(never)]
    pub(crate) fn of(notice: &calls::Notice) -> Self {
        let calls::Notice { who, cause, code, restarts, missed } = *notice;
        Self { partition: Partition(who), cause: Cause::of(cause, code), restarts, missed }
    }
}
