//! A vCPU as the scheduler knows it: its name, its seat, and its right to time.

use shikiri_abi::{CoreSet, PartitionSlot, VcpuIndex};

use super::Reservation;
use super::book::WHOLE_CORE_PPM;

/// Which vCPU of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuKey {
    /// Its partition.
    pub partition: PartitionSlot,
    /// Its index there.
    pub vcpu: VcpuIndex,
}

/// A vCPU's place in its home core's queue, 0 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(u8);

impl Seat {
    /// The seat with this number; `None` from 32 up.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 32 { Some(Self(number)) } else { None }
    }

    /// Its number, 0 to 31.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn bit(self) -> u32 {
        1 << (self.0 & 31)
    }

    /// The seats of a set, from the lowest up.
    pub fn of(set: u32) -> impl Iterator<Item = Self> {
        let mut left = set;
        core::iter::from_fn(move || {
            let number = u8::try_from(left.trailing_zeros()).ok()?;
            left &= left.wrapping_sub(1);
            Self::new(number)
        })
    }
}

/// A vCPU's right to time on its home core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The whole core, alone.
    Owned,
    /// A budget in every period.
    Reserved(Reservation),
}

impl Share {
    /// In parts per million of a core, rounded up: what [`shikiri_abi::Resource::CoreTime`] is charged.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        match self {
            Self::Owned => WHOLE_CORE_PPM,
            Self::Reserved(reservation) => reservation.ppm(),
        }
    }
}

/// What a vCPU does when its budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// Waits for the next period.
    #[default]
    Stop,
    /// May use time that nobody with budget wants.
    Slack,
}

/// How a vCPU is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which vCPU.
    pub key: VcpuKey,
    /// Its right to time.
    pub share: Share,
    /// Higher runs first.
    pub priority: u8,
    /// What it does beyond its budget.
    pub excess: Excess,
    /// Where it may run; its home is one of them.
    pub cores: CoreSet,
}
