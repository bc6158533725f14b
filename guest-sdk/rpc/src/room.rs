//! Those of one side who wait for a buffer, for room in the transport, or for a call slot.

use crate::facade::atomic::{AtomicU32, Ordering, fence};

/// How many threads and tasks wait. Whoever enters does so before its last look; whoever frees something does that before it looks here.
pub(crate) struct Waiters(AtomicU32);

impl Waiters {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Waits from here on, until the result is dropped.
    pub(crate) fn enter(&self) -> Waiting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiting { waiters: self }
    }

    /// Whether there may be some to be woken.
    pub(crate) fn are_there(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// The fact that somebody waits.
pub(crate) struct Waiting<'w> {
    waiters: &'w Waiters,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.0.fetch_sub(1, Ordering::Relaxed);
    }
}
