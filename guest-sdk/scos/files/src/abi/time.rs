//! `struct timespec` and `struct itimerspec`.

use super::record::{get, put};
use crate::Errno;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// The system's clock for the time of day.
pub const CLOCK_REALTIME: u32 = 0;
/// The clock that is never set.
pub const CLOCK_MONOTONIC: u32 = 1;
/// As [`CLOCK_MONOTONIC`] here.
pub const CLOCK_BOOTTIME: u32 = 7;
/// `timerfd_settime`: the first time is a point of the clock.
pub const TFD_TIMER_ABSTIME: u32 = 1;
/// `timerfd_settime`: tell when the clock was set. Accepted; the clock is not set here.
pub const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// A point or span of time in nanoseconds from `struct timespec`: what is beyond 584 years is 584 years.
///
/// # Errors
/// EINVAL for negative seconds, or nanoseconds that are no fraction of a second.
pub fn timespec_from(bytes: &[u8; 16]) -> Result<u64, Errno> {
    let seconds = i64::from_le_bytes(get(bytes, 0));
    let fraction = i64::from_le_bytes(get(bytes, 8));
    let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let fraction = u64::try_from(fraction).map_err(|_| Errno::EINVAL)?;
    if fraction >= SECOND_NS {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(fraction))
}

/// `struct timespec` of so many nanoseconds.
#[must_use]
pub fn timespec_of(ns: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, &ns.checked_div(SECOND_NS).unwrap_or(0).to_le_bytes());
    put(&mut bytes, 8, &ns.checked_rem(SECOND_NS).unwrap_or(0).to_le_bytes());
    bytes
}

/// When a timer expires, and how long after that again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Itimerspec {
    /// Nanoseconds between two times; 0 for once.
    pub interval_ns: u64,
    /// Nanoseconds until the first; 0 disarms.
    pub value_ns: u64,
}

impl Itimerspec {
    /// As a program gives it.
    ///
    /// # Errors
    /// EINVAL as [`timespec_from`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Errno> {
        let interval_ns = timespec_from(&get(bytes, 0))?;
        Ok(Self { interval_ns, value_ns: timespec_from(&get(bytes, 16))? })
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        put(&mut bytes, 0, &timespec_of(self.interval_ns));
        put(&mut bytes, 16, &timespec_of(self.value_ns));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Itimerspec, timespec_from, timespec_of};
    use crate::Errno;

    #[test]
    fn a_timespec_is_seconds_and_a_fraction() {
        let bytes = timespec_of(3_000_000_007);
        assert_eq!(bytes, [3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(timespec_from(&bytes), Ok(3_000_000_007));
    }

    #[test]
    fn what_is_no_time_is_einval_and_what_is_far_is_the_end() {
        let with = |seconds: i64, fraction: i64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&seconds.to_le_bytes());
            bytes[8..].copy_from_slice(&fraction.to_le_bytes());
            timespec_from(&bytes)
        };
        assert_eq!(with(-1, 0), Err(Errno::EINVAL));
        assert_eq!(with(0, -1), Err(Errno::EINVAL));
        assert_eq!(with(0, 1_000_000_000), Err(Errno::EINVAL));
        assert_eq!(with(i64::MAX, 0), Ok(u64::MAX));
    }

    #[test]
    fn an_itimerspec_is_the_interval_then_the_value() {
        let timer = Itimerspec { interval_ns: 5, value_ns: 1_000_000_000 };
        let bytes = timer.to_bytes();
        assert_eq!((bytes[8], bytes[16]), (5, 1));
        assert_eq!(Itimerspec::from_bytes(&bytes), Ok(timer));
    }
}
