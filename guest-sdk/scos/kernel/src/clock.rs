//! Time: the virtual counter in nanoseconds.

use shikiri_scos_files::Now;

use crate::arch;

/// The time of day at the start, in seconds since 1970: nobody tells the partition, so it is 2026-01-01.
const EPOCH_SECONDS: u64 = 1_767_225_600;
/// Nanoseconds of a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The clock.
#[derive(Debug)]
pub(crate) struct Clock {
    frequency: u64,
    start: u64,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { frequency: arch::frequency(), start: arch::clock() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        Self::scaled(arch::clock().wrapping_sub(self.start), SECOND_NS, self.frequency)
    }

    /// What the counter says at a time.
    pub(crate) fn counter_at(&self, ns: u64) -> u64 {
        self.start.saturating_add(Self::scaled(ns, self.frequency, SECOND_NS)).saturating_add(1)
    }

    /// Both clocks.
    pub(crate) fn both(&self) -> Now {
        let monotonic_ns = self.now();
        Now { monotonic_ns, realtime_ns: monotonic_ns.saturating_add(Self::epoch_ns()) }
    }

    /// The time of day at the start.
    pub(crate) const fn epoch_ns() -> u64 {
        EPOCH_SECONDS * SECOND_NS
    }

    fn scaled(value: u64, by: u64, of: u64) -> u64 {
        let product = u128::from(value) * u128::from(by) / u128::from(of.max(1));
        u64::try_from(product).unwrap_or(u64::MAX)
    }
}
