//! Time: the virtual counter in nanoseconds.

use core::num::NonZeroU64;

use shikiri_scos_core::Scale;
use shikiri_scos_files::Now;

use crate::arch;

/// The time of day at the start, in seconds since 1970: nobody tells the partition, so it is 2026-01-01.
const EPOCH_SECONDS: u64 = 1_767_225_600;
/// Nanoseconds of a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// The frequency of nanoseconds, in hertz.
const NS_HZ: NonZeroU64 = NonZeroU64::MIN.saturating_add(SECOND_NS - 1);

/// The clock.
#[derive(Debug)]
pub(crate) struct Clock {
    to_ns: Scale,
    to_ticks: Scale,
    start: u64,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let frequency = NonZeroU64::new(arch::frequency()).unwrap_or(NonZeroU64::MIN);
        Self {
            to_ns: Scale::new(frequency, NS_HZ),
            to_ticks: Scale::new(NS_HZ, frequency),
            start: arch::clock(),
        }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.to_ns.apply(arch::clock().wrapping_sub(self.start))
    }

    /// What the counter says at a time.
    pub(crate) fn counter_at(&self, ns: u64) -> u64 {
        self.start.saturating_add(self.to_ticks.apply(ns)).saturating_add(1)
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
}
