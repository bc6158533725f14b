//! Why a call of the policy program is refused.

use shikiri_abi::{Resource, Status};

use shikiri_config::DraftFault;

use super::TooMuch;
use crate::lifecycle::WrongPhase;
use crate::sched::NotAdmitted;

/// Why a call is refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller does not hold the capability.
    NotPermitted,
    /// The argument with this number is out of range.
    Argument(u8),
    /// No receive port.
    BadHandle,
    /// There is no such place, nor any behind it.
    Range,
    /// Nobody is at that place.
    NotFound,
    /// Another incarnation is there by now.
    PeerGone,
    /// The partition is in another phase.
    WrongState,
    /// So much cannot be handed out.
    HandOut(Resource),
    /// There is none.
    Empty,
    /// To be called again.
    Again,
    /// No room is left.
    Full,
    /// It is there already.
    Exists,
    /// Not aligned.
    Alignment,
    /// More than the partition's own limit.
    OverLimit(Resource),
    /// The policy, or its default, does not grant it.
    Denied,
    /// No core has so much left; the most that one has, in parts per million.
    NoCore(u32),
    /// So many vCPUs are not kept back.
    NoVcpu,
    /// The machine could not keep such a device apart.
    NotSupported,
}

impl Refusal {
    /// The answer to the call: `x0` to `x3`.
    #[must_use]
    pub fn registers(&self) -> [u64; 4] {
        let mut more = 0;
        let (status, which) = match *self {
            Self::NotPermitted => (Status::NotPermitted, 0),
            Self::Argument(number) => (Status::InvalidParameter, u64::from(number)),
            Self::BadHandle => (Status::BadHandle, 0),
            Self::Range => (Status::Range, 0),
            Self::NotFound => (Status::NotFound, 0),
            Self::PeerGone => (Status::PeerGone, 0),
            Self::WrongState => (Status::WrongState, 0),
            Self::HandOut(resource) => (Status::OverLimit, u64::from(resource.number()) | HAND_OUT),
            Self::Empty => (Status::Empty, 0),
            Self::Again => (Status::Again, 0),
            Self::Full => (Status::Full, 0),
            Self::Exists => (Status::Exists, 0),
            Self::Alignment => (Status::Alignment, 0),
            Self::Denied => (Status::DeniedByPolicy, 0),
            Self::OverLimit(resource) => (Status::OverLimit, u64::from(resource.number())),
            Self::NotSupported => (Status::NotSupported, 0),
            Self::NoVcpu => (Status::OverLimit, VCPUS),
            Self::NoCore(left) => {
                more = u64::from(left);
                (Status::OverLimit, CORES)
            }
        };
        [status.code().cast_unsigned(), which, more, 0]
    }
}

/// In `x1`, beside the resource: the hand-out account, not the partition's own.
const HAND_OUT: u64 = 1 << 8;

/// In `x1`: what the machine's cores have.
const CORES: u64 = 1 << 9;

/// In `x1`: the vCPUs that are kept back for the partition.
const VCPUS: u64 = 17;

impl From<DraftFault> for Refusal {
    fn from(fault: DraftFault) -> Self {
        match fault {
            DraftFault::Full => Self::Full,
            DraftFault::Value => Self::Range,
            DraftFault::Clash => Self::Exists,
            DraftFault::NoDevice => Self::NotFound,
            DraftFault::Masters => Self::NotSupported,
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(NotAdmitted { most_left_ppm, .. }: NotAdmitted) -> Self {
        Self::NoCore(most_left_ppm)
    }
}

impl From<WrongPhase> for Refusal {
    fn from(WrongPhase(_): WrongPhase) -> Self {
        Self::WrongState
    }
}

impl From<TooMuch> for Refusal {
    fn from(TooMuch(resource): TooMuch) -> Self {
        Self::HandOut(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use shikiri_abi::{Resource, Status};

    #[test]
    fn each_refusal_is_its_own_status() {
        for (refusal, status, which) in [
            (Refusal::NotPermitted, Status::NotPermitted, 0),
            (Refusal::Argument(3), Status::InvalidParameter, 3),
            (Refusal::BadHandle, Status::BadHandle, 0),
            (Refusal::Range, Status::Range, 0),
            (Refusal::NotFound, Status::NotFound, 0),
            (Refusal::PeerGone, Status::PeerGone, 0),
            (Refusal::WrongState, Status::WrongState, 0),
            (Refusal::HandOut(Resource::Memory), Status::OverLimit, 0x102),
            (Refusal::Empty, Status::Empty, 0),
            (Refusal::Again, Status::Again, 0),
            (Refusal::Full, Status::Full, 0),
            (Refusal::Exists, Status::Exists, 0),
            (Refusal::Alignment, Status::Alignment, 0),
            (Refusal::OverLimit(Resource::CoreTime), Status::OverLimit, 0),
            (Refusal::Denied, Status::DeniedByPolicy, 0),
            (Refusal::NoCore(0), Status::OverLimit, 0x200),
            (Refusal::NoVcpu, Status::OverLimit, 17),
            (Refusal::NotSupported, Status::NotSupported, 0),
        ] {
            let code = status.code().cast_unsigned();
            assert_eq!(refusal.registers(), [code, which, 0, 0]);
        }
        assert_eq!(Refusal::NoCore(7).registers()[2], 7);
    }
}
