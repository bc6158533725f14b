//! The memory that the image leaves free: handed out in pages, never taken back.
//!
//! It lies between the image's end and the device tree or the RAM disk, whichever comes first (or the end of RAM). Start-up takes translation tables
//! and the other vCPUs' stacks from it; a guest takes what it wants, or gives all of it to the heap.

use crate::lock::Lock;

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;

static FREE: Lock<FreeMemory> = Lock::new(FreeMemory { next: 0, end: 0 });

/// A run of free bytes, from `next` up to `end`.
#[derive(Debug)]
pub(crate) struct FreeMemory {
    next: u64,
    end: u64,
}

impl FreeMemory {
    /// The pages inside `start..end`.
    pub(crate) const fn new(start: u64, end: u64) -> Self {
        let next = start.next_multiple_of(PAGE_BYTES);
        Self { next, end: end & !(PAGE_BYTES.wrapping_sub(1)) }
    }

    /// Takes `pages` pages; their address, or `None` if so many are not left.
    pub(crate) fn take(&mut self, pages: u64) -> Option<u64> {
        let start = self.next;
        let end = start.checked_add(pages.checked_mul(PAGE_BYTES)?)?;
        if end > self.end {
            return None;
        }
        self.next = end;
        Some(start)
    }

    /// Where the next page will come from.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// How many pages are left.
    pub(crate) fn pages(&self) -> u64 {
        self.end.saturating_sub(self.next) / PAGE_BYTES
    }
}

/// Takes `pages` pages of RAM, contiguous and mapped read-write; their address, or `None` if so many are not left.
/// They hold whatever they held.
#[must_use]
pub fn take(pages: u64) -> Option<u64> {
    FREE.lock().take(pages)
}

/// How many pages are left.
#[must_use]
pub fn free_pages() -> u64 {
    FREE.lock().pages()
}

/// Takes all that is left: address and pages.
#[must_use]
pub fn take_rest() -> (u64, u64) {
    let mut free = FREE.lock();
    let pages = free.pages();
    (free.take(pages).unwrap_or(0), pages)
}

/// Makes `memory` what [`take`] takes from.
pub(crate) fn publish(memory: FreeMemory) {
    *FREE.lock() = memory;
}

/// Lends the free memory to `action`.
pub(crate) fn with_free<R>(action: impl FnOnce(&mut FreeMemory) -> R) -> R {
    action(&mut FREE.lock())
}
