//! Waiting for a port, on the vCPU that its interrupt goes to or on another one.

use shikiri_rt::sleep::Ticks;
use shikiri_rt::{reg, sleep, smp};

/// Where an interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat(usize);

impl Seat {
    /// This vCPU.
    pub(crate) fn here() -> Self {
        Self(smp::index())
    }

    /// The vCPU, if it is another one.
    pub(crate) fn elsewhere(self) -> Option<usize> {
        (!self.is_here()).then_some(self.0)
    }

    fn is_here(self) -> bool {
        self == Self::here()
    }

    /// Tries until there is something.
    pub(crate) fn until_there<T>(self, mut attempt: impl FnMut() -> Option<T>) -> T {
        if self.is_here() {
            return sleep::until_there(attempt);
        }
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            reg::yield_now();
        }
    }

    /// Tries until there is something, or the deadline.
    pub(crate) fn until<T>(
        self,
        deadline: Ticks,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if self.is_here() {
            return sleep::until(deadline, attempt);
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
