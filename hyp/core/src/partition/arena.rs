//! The frames of a partition's stage-2 tables: a few runs, charged when they were taken.

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_pages::Frames;
use shikiri_stage2::{NoTable, ROOT_PAGES, TablePages};

/// Frames of one run at most: the bits of its set.
pub(super) const RUN_PAGES: u64 = 64;
/// Runs at most.
const RUNS: usize = 16;
/// The most tables that a partition can have, its root included.
pub(super) const MAX_TABLES: u64 = RUN_PAGES * 16;

/// A run of frames given out one by one.
#[derive(Debug)]
struct Run {
    frames: Frames,
    /// A bit per frame: given out, or not there.
    used: u64,
}

impl Run {
    fn new(frames: Frames) -> Self {
        let there = u32::try_from(frames.pages().0).unwrap_or(u32::MAX);
        let beyond = u64::MAX.checked_shl(there).unwrap_or(0);
        Self { frames, used: beyond }
    }

    /// The set when nothing is out.
    fn unused(&self) -> u64 {
        u64::MAX.checked_shl(u32::try_from(self.frames.pages().0).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    fn take(&mut self) -> Option<Pa> {
        let frame = self.used.trailing_ones();
        self.used |= 1_u64.checked_shl(frame)?;
        Some(self.frames.base().wrapping_add(u64::from(frame).wrapping_mul(PAGE_BYTES)))
    }

    /// The bit of a page of this run.
    fn bit_of(&self, page: Pa) -> Option<u64> {
        let frame = page.offset_from(self.frames.base())? / PAGE_BYTES;
        (PageCount(frame) < self.frames.pages())
            .then(|| u32::try_from(frame).ok().and_then(|frame| 1_u64.checked_shl(frame)))?
    }
}

/// The frames for a partition's tables.
#[derive(Debug, Default)]
pub struct TableArena {
    runs: [Option<Run>; RUNS],
}

impl TableArena {
    /// Holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: [const { None }; RUNS] }
    }

    /// Adds a run of at most 64 frames.
    ///
    /// # Errors
    /// The frames again, if there are 16 runs already.
    pub fn add(&mut self, frames: Frames) -> Result<(), Frames> {
        match self.runs.iter_mut().find(|run| run.is_none()) {
            Some(place) => {
                *place = Some(Run::new(frames));
                Ok(())
            }
            None => Err(frames),
        }
    }

    /// Takes the root: the first frames of the first run, whose address has the root's alignment.
    #[must_use]
    pub fn take_root(&mut self) -> Option<Pa> {
        let first = self.runs.first_mut()?.as_mut()?;
        let is_whole = first.used == first.unused() && first.frames.pages() >= ROOT_PAGES;
        let root = is_whole.then(|| first.take())?;
        first.take()?;
        root
    }

    /// Gives the root back.
    pub fn give_root(&mut self, root: Pa) {
        self.give(root);
        self.give(root.wrapping_add(PAGE_BYTES));
    }

    /// Gives one run back; `None` if there is none left.
    ///
    /// # Panics
    /// If a table is still out: our bug, and going on would free a table that a core may walk.
    pub fn pop(&mut self) -> Option<Frames> {
        let run = self.runs.iter_mut().rev().find_map(Option::take)?;
        assert!(run.used == run.unused(), "a stage-2 table outlives its partition");
        Some(run.frames)
    }
}

impl TablePages for TableArena {
    fn take(&mut self) -> Result<Pa, NoTable> {
        self.runs.iter_mut().flatten().find_map(Run::take).ok_or(NoTable::NoMemory)
    }

    fn give(&mut self, page: Pa) {
        let found =
            self.runs.iter_mut().flatten().find_map(|run| run.bit_of(page).map(|bit| (run, bit)));
        match found {
            Some((run, bit)) if run.used & bit != 0 => run.used &= !bit,
            _ => unreachable!("{page} is no table of this partition"),
        }
    }
}
