//! The generic timer: the virtual and the physical one, each with its counter, deadline and interrupt.
//!
//! Each vCPU's event stream is on from the start, as slow as it goes: it ends each WFE within 2^16 ticks of the virtual counter, 1.2 ms at
//! 54 MHz, so that a wake-up that is lost is late, and not missing.

use crate::reg;

/// One of the two timers that a guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Counts time as the guest sees it; PPI 27.
    Virtual,
    /// Counts the machine's time; PPI 30. A hypervisor may emulate it.
    Physical,
}

/// Bits of a timer's control register.
pub mod control {
    /// The timer runs.
    pub const ENABLE: u64 = 1;
    /// Its interrupt is masked.
    pub const IMASK: u64 = 2;
    /// The deadline has passed (read only).
    pub const ISTATUS: u64 = 4;
}

/// CNTKCTL_EL1: EVNTEN, and EVNTI 15, the highest bit of the counter that can make events (Arm ARM, event streams). EL0 gets no access.
const EVENT_STREAM: u64 = (1 << 2) | (15 << 4);

/// Turns this vCPU's event stream on.
pub(crate) fn init_core() {
    reg::set_cntkctl(EVENT_STREAM);
}

/// Ticks in a second, of either counter.
#[must_use]
pub fn frequency() -> u64 {
    reg::cntfrq()
}

/// How many ticks `microseconds` are.
#[must_use]
pub fn ticks(microseconds: u64) -> u64 {
    microseconds.saturating_mul(frequency()) / 1_000_000
}

impl Timer {
    /// The timer's INTID.
    #[must_use]
    pub const fn intid(self) -> u32 {
        match self {
            Self::Virtual => 27,
            Self::Physical => 30,
        }
    }

    /// The counter, read in program order.
    #[must_use]
    pub fn now(self) -> u64 {
        reg::isb();
        match self {
            Self::Virtual => reg::cntvct(),
            Self::Physical => reg::cntpct(),
        }
    }

    /// Arms the timer: its interrupt is raised once the counter reaches `deadline`.
    pub fn set_deadline(self, deadline: u64) {
        self.move_deadline(deadline);
        self.set_control(control::ENABLE);
    }

    /// Changes the deadline and leaves the control register as it is.
    pub fn move_deadline(self, deadline: u64) {
        match self {
            Self::Virtual => reg::set_cntv_cval(deadline),
            Self::Physical => reg::set_cntp_cval(deadline),
        }
        reg::isb();
    }

    /// The deadline.
    #[must_use]
    pub fn deadline(self) -> u64 {
        match self {
            Self::Virtual => reg::cntv_cval(),
            Self::Physical => reg::cntp_cval(),
        }
    }

    /// The control register; see [`control`].
    #[must_use]
    pub fn control(self) -> u64 {
        match self {
            Self::Virtual => reg::cntv_ctl(),
            Self::Physical => reg::cntp_ctl(),
        }
    }

    /// Sets the control register.
    pub fn set_control(self, value: u64) {
        match self {
            Self::Virtual => reg::set_cntv_ctl(value),
            Self::Physical => reg::set_cntp_ctl(value),
        }
        reg::isb();
    }

    /// Stops the timer and takes its interrupt away.
    pub fn stop(self) {
        self.set_control(0);
    }
}

/// Waits `microseconds` without interrupts, on the virtual counter.
pub fn spin(microseconds: u64) {
    let start = Timer::Virtual.now();
    let wait = ticks(microseconds);
    while Timer::Virtual.now().wrapping_sub(start) < wait {
        reg::yield_now();
    }
}
