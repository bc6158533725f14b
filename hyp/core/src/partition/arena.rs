//! The frames of a partition's stage-2 tables: one run, charged when it was taken.

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_pages::Frames;
use shikiri_stage2::{NoTable, TablePages};

/// The most tables that one arena holds.
pub(super) const MAX_TABLES: u64 = 511;

/// A run of frames given out one by one.
#[derive(Debug)]
pub struct TableArena {
    frames: Frames,
    /// A bit per frame: given out.
    used: [u64; 8],
}

impl TableArena {
    /// Takes over the run; frames behind the first 512 are never used.
    #[must_use]
    pub const fn new(frames: Frames) -> Self {
        Self { frames, used: [0; 8] }
    }

    /// Gives the run back.
    ///
    /// # Panics
    /// If a table is still out: our bug, and going on would free a table that a core may walk.
    pub fn into_frames(self) -> Frames {
        assert!(self.used.iter().all(|word| *word == 0), "a stage-2 table outlives its partition");
        self.frames
    }

    fn place(&self, index: u64) -> Option<Pa> {
        let offset = index.checked_mul(PAGE_BYTES)?;
        (index < self.frames.pages().0).then(|| self.frames.base().wrapping_add(offset))
    }
}

impl TablePages for TableArena {
    fn take(&mut self) -> Result<Pa, NoTable> {
        for (position, word) in self.used.iter_mut().enumerate() {
            let bit = word.trailing_ones();
            if bit == u64::BITS {
                continue;
            }
            let base = u64::try_from(position).unwrap_or(u64::MAX).saturating_mul(64);
            let index = base.saturating_add(u64::from(bit));
            *word |= 1_u64.checked_shl(bit).unwrap_or(0);
            let place = self.place(index);
            if place.is_none() {
                self.clear(index);
            }
            return place.ok_or(NoTable::NoMemory);
        }
        Err(NoTable::NoMemory)
    }

    fn give(&mut self, page: Pa) {
        let offset = page.offset_from(self.frames.base()).unwrap_or(u64::MAX);
        let index = offset / PAGE_BYTES;
        assert!(PageCount(index) < self.frames.pages(), "{page} is no table of this partition");
        self.clear(index);
    }
}

impl TableArena {
    fn clear(&mut self, index: u64) {
        let bit = 1_u64.checked_shl(u32::try_from(index & 63).unwrap_or(0)).unwrap_or(0);
        let word = usize::try_from(index >> 6).ok().and_then(|word| self.used.get_mut(word));
        if let Some(word) = word {
            *word &= !bit;
        }
    }
}
