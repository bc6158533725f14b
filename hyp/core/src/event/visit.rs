//! How a core looks into another partition's memory without a lock while that partition may end.
//!
//! A core that is going to look says so first ([`Visitor::enter`]), and then makes sure that its connection still
//! stands. Whoever takes the partition's memory away cuts its connections first, and then waits until
//! [`nobody_visits`]. Both have a full fence between the two (Dekker's pattern): the visitor sees the cut, or
//! the other side sees the visitor. EL2 runs masked, so that a visit lasts some tens of instructions, and once
//! the connections are cut there are no new ones.

use shikiri_abi::PartitionSlot;
use shikiri_sync::atomic::{AtomicU16, Ordering, fence};

/// Where one core looks: slot + 1, or 0. One per core, on a cache line of its own if cores are not to disturb each other.
#[derive(Debug, Default)]
pub struct Visitor(AtomicU16);

/// A visit; its end is the end of the value.
#[derive(Debug)]
#[must_use = "the visit ends when this is dropped"]
pub struct Visit<'v>(&'v Visitor);

impl Visitor {
    /// Nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a visit, on the visitor's own core, which makes one at a time.
    #[inline]
    pub fn enter(&self, slot: PartitionSlot) -> Visit<'_> {
        self.0.store(u16::from(slot.0).wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Visit(self)
    }
}

impl Drop for Visit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Release);
    }
}

/// Whether none of these cores looks into the partition's memory. If its connections were cut before, none will.
#[must_use]
pub fn nobody_visits<'v>(
    visitors: impl IntoIterator<Item = &'v Visitor>,
    slot: PartitionSlot,
) -> bool {
    fence(Ordering::SeqCst);
    let here = u16::from(slot.0).wrapping_add(1);
    visitors.into_iter().all(|visitor| visitor.0.load(Ordering::Acquire) != here)
}
