//! Where a lazily filled pool gets a buffer's memory from, at its first use.

use crate::facade::atomic::{AtomicU64, Ordering};

/// Gives out memory of the shared area.
pub trait Source: Sync {
    /// The byte offset, a multiple of 8, of `bytes` bytes that nobody uses; `None` if there are none left. Called once
    /// for each buffer, at its first use. An offset outside the area, or in its table, is refused by the pool.
    fn obtain(&self, bytes: usize) -> Option<u32>;
}

/// A source that goes through a range of the area, from one end to the other.
///
/// The cursor may be a word of one's own, if one side alone fills the pool, or a shared word, if both do. A peer that
/// spoils a shared cursor spoils its own connection: what is given out is inside the range in any case.
pub struct Carve<'a> {
    cursor: &'a AtomicU64,
    start: u32,
    end: u32,
}

impl<'a> Carve<'a> {
    /// Gives out the bytes from offset `start` up to `end`; the cursor says how many are gone and starts at zero.
    #[must_use]
    pub const fn new(cursor: &'a AtomicU64, start: u32, end: u32) -> Self {
        Self { cursor, start, end }
    }
}

impl Source for Carve<'_> {
    fn obtain(&self, bytes: usize) -> Option<u32> {
        let bytes = u64::try_from(bytes).ok()?.checked_next_multiple_of(8)?;
        let room = u64::from(self.end).checked_sub(u64::from(self.start))?;
        let fits = |gone: u64| gone.checked_add(bytes).is_some_and(|end| end <= room);
        // A look first: refusals must not move the cursor on and on.
        if !fits(self.cursor.load(Ordering::Relaxed)) {
            return None;
        }
        let gone = self.cursor.fetch_add(bytes, Ordering::Relaxed);
        if !fits(gone) {
            return None;
        }
        u32::try_from(gone.checked_add(u64::from(self.start))?).ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_gives_out_its_range_and_no_more() {
        let cursor = AtomicU64::new(0);
        let source = Carve::new(&cursor, 64, 128);
        assert_eq!(source.obtain(20), Some(64));
        assert_eq!(source.obtain(40), Some(88));
        assert_eq!(source.obtain(1), None);
    }

    #[test]
    fn a_spoilt_cursor_leads_nowhere() {
        for spoilt in [65, 1 << 40, u64::MAX, u64::MAX - 7] {
            let cursor = AtomicU64::new(spoilt);
            assert_eq!(Carve::new(&cursor, 64, 128).obtain(8), None);
        }
        let cursor = AtomicU64::new(0);
        assert_eq!(Carve::new(&cursor, 128, 64).obtain(8), None);
    }
}
