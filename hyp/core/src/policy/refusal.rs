//! Why a call of the policy program is refused.

use shikiri_abi::{Resource, Status};

use super::TooMuch;
use crate::lifecycle::WrongPhase;

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
}

impl Refusal {
    /// The answer to the call: `x0` to `x3`.
    #[must_use]
    pub fn registers(&self) -> [u64; 4] {
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
        };
        [status.code().cast_unsigned(), which, 0, 0]
    }
}

/// In `x1`, beside the resource: the hand-out account, not the partition's own.
const HAND_OUT: u64 = 1 << 8;

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
        ] {
            let code = status.code().cast_unsigned();
            assert_eq!(refusal.registers(), [code, which, 0, 0]);
        }
    }
}
