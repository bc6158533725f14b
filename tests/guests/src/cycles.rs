//! Cycles instead of ticks, on a real board: for a partition with performance monitors, and `cycles` on its command line.
#![expect(unsafe_code, reason = "reads and writes the performance monitors' registers")]

use core::arch::asm;

use shikiri_rt::platform;
use shikiri_rt::timer::Timer;

/// What rows are in.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Ticks of the counter, which are instructions under `-icount`.
    Ticks,
    /// Cycles of this vCPU's core. What more than one core does, or what is asleep in between, is measured by the counter,
    /// and these are the cycles of 1,024 ticks.
    Cycles {
        /// Cycles in 1,024 ticks.
        per_1024_ticks: u64,
    },
}

impl Unit {
    /// What the command line says; starts the cycle counter, at EL2 too, and compares it with the other one.
    #[must_use]
    pub fn start() -> Self {
        if !platform::has_word("cycles") {
            return Self::Ticks;
        }
        // PMCCFILTR_EL0.NSH, PMCNTENSET_EL0.C, PMCR_EL0.E and LC: 64 bits.
        // SAFETY: the partition's own performance monitors.
        unsafe {
            asm!("msr pmccfiltr_el0, {}", "msr pmcntenset_el0, {}", "msr pmcr_el0, {}", "isb",
                in(reg) 1_u64 << 27, in(reg) 1_u64 << 31, in(reg) 0x41_u64, options(nostack));
        }
        let (ticks, cycles) = (Timer::Virtual.now(), now());
        shikiri_rt::timer::spin(20_000);
        let (ticks, cycles) = (Timer::Virtual.now() - ticks, now() - cycles);
        Self::Cycles { per_1024_ticks: cycles.saturating_mul(1024) / ticks.max(1) }
    }

    /// Ticks in this unit.
    #[must_use]
    pub fn of_ticks(self, ticks: u64) -> u64 {
        match self {
            Self::Ticks => ticks,
            Self::Cycles { per_1024_ticks } => ticks.saturating_mul(per_1024_ticks) / 1024,
        }
    }
}

/// The time on this core alone. A type and not a value, so that asking what it is in is no part of what is measured.
pub trait Clock {
    /// Now.
    fn now() -> u64;
}

/// In ticks of the counter.
#[derive(Debug)]
pub enum Ticks {}

/// In cycles.
#[derive(Debug)]
pub enum Cycles {}

impl Clock for Ticks {
    fn now() -> u64 {
        Timer::Virtual.now()
    }
}

impl Clock for Cycles {
    fn now() -> u64 {
        now()
    }
}

/// The cycle counter.
fn now() -> u64 {
    let value: u64;
    // SAFETY: reading the counter changes nothing.
    unsafe { asm!("isb", "mrs {}, pmccntr_el0", out(reg) value, options(nostack)) };
    value
}
