//! vCPUs: the cores where they run, and how much of their time they get.

use shikiri_abi::{CoreId, CoreSet};

/// The most vCPUs that have their home on one core (a seat there is a bit of a word).
pub const MAX_VCPUS_AT_HOME: usize = 32;
/// The shortest period of a reservation, in microseconds.
pub const MIN_PERIOD_US: u32 = 100;
/// The longest period of a reservation, in microseconds.
pub const MAX_PERIOD_US: u32 = 1_000_000;
/// The smallest budget of a reservation, in microseconds.
pub const MIN_BUDGET_US: u32 = 50;

/// How a vCPU gets core time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreTime {
    /// The core is its own: nothing else ever runs there.
    Owned,
    /// A hard budget in each period, admitted at the home core.
    Reservation {
        /// Microseconds of core time per period.
        budget_us: u32,
        /// The period in microseconds.
        period_us: u32,
    },
}

impl CoreTime {
    /// The share of one core, in parts per million, rounded up.
    #[must_use]
    pub fn ppm(self) -> u64 {
        match self {
            Self::Owned => 1_000_000,
            Self::Reservation { period_us: 0, .. } => u64::MAX,
            Self::Reservation { budget_us, period_us } => {
                // Cannot wrap: 2^32 * 10^6 < 2^52.
                u64::from(budget_us).wrapping_mul(1_000_000).div_ceil(u64::from(period_us))
            }
        }
    }
}

/// A vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// The cores where it may run; exactly the home core if it owns it.
    pub cores: CoreSet,
    /// Where it is admitted; one of `cores`.
    pub home: CoreId,
    /// Owned core or reservation.
    pub time: CoreTime,
    /// Higher runs first among reservations.
    pub priority: u8,
}
