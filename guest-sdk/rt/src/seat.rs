//! Waiting for an interrupt on the vCPU that it goes to, or on another one, which looks again and again.

use crate::sleep::Ticks;
use crate::{reg, sleep, smp};

/// Where an interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(usize);

impl Seat {
    /// This vCPU.
    #[must_use]
    pub fn here() -> Self {
        Self(smp::index())
    }

    /// The vCPU, if it is another one.
    #[must_use]
    pub fn elsewhere(self) -> Option<usize> {
        (!self.is_here()).then_some(self.0)
    }

    /// Its number in calls.
    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    fn is_here(self) -> bool {
        self == Self::here()
    }

    /// Tries until there is something, asleep in WFI after each try in vain.
    #[inline]
    pub fn until_there<T>(self, attempt: impl FnMut() -> Option<T>) -> T {
        self.until_there_by(reg::wfi, attempt)
    }

    /// The same, until the deadline.
    pub fn until<T>(self, deadline: Ticks, attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.until_by(deadline, reg::wfi, attempt)
    }

    /// Tries until there is something; where the interrupt goes, it dozes after each try in vain.
    #[inline]
    pub fn until_there_by<T>(
        self,
        doze: impl FnMut(),
        mut attempt: impl FnMut() -> Option<T>,
    ) -> T {
        if self.is_here() {
            return sleep::until_there_by(doze, attempt);
        }
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            reg::yield_now();
        }
    }

    /// The same, until the deadline.
    pub fn until_by<T>(
        self,
        deadline: Ticks,
        doze: impl FnMut(),
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if self.is_here() {
            return sleep::until_by(deadline, doze, attempt);
        }
        loop {
            let found = attempt();
            if found.is_some() || deadline.is_over() {
                return found;
            }
            reg::yield_now();
        }
    }
}
