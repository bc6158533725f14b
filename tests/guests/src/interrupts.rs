//! Counts interrupts by number.

use core::sync::atomic::{AtomicU64, Ordering};

static COUNTS: [AtomicU64; 128] = [const { AtomicU64::new(0) }; 128];

/// The interrupt handler.
pub fn count(intid: u32) {
    if let Some(count) = COUNTS.get(intid as usize) {
        count.fetch_add(1, Ordering::Release);
    }
}

/// How often an interrupt below 128 came.
#[must_use]
pub fn came(intid: u32) -> u64 {
    COUNTS.get(intid as usize).map_or(0, |count| count.load(Ordering::Acquire))
}
