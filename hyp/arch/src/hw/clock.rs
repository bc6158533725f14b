//! Time.

/// The system counter (CNTPCT_EL0), the same on all cores.
pub trait Clock {
    /// The counter's value, in ticks since the machine's start.
    fn now(&self) -> u64;

    /// Ticks per second (CNTFRQ_EL0).
    fn frequency_hz(&self) -> u64;
}
