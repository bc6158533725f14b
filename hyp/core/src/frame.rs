//! The frame ledger: who owns each physical frame of RAM, and in what state.
//!
//! It is kept apart from all translation tables: tables are made from it, never the other way round, and
//! [`Ledger::audit`] compares the two. Every frame has exactly one [`FrameState`] at any moment, which changes
//! only through [`Ledger::claim`], [`Ledger::release`] and [`Ledger::transfer`]: each names the state that
//! the frames must be in, checks all of them before it changes the first, and takes only the steps of
//! [`FrameState::may_become`].
//!
//! A frame has one 4-byte entry. The entries of a 2 MiB block (512 frames) are read only while the block is
//! *mixed*; as long as all its frames are in one state, that state stands in the block's own entry. So the
//! storage of the frames needs no preparation at boot, and a large partition is marked block by block.
//!
//! One per machine, under the ledger's lock.

mod areas;
mod audit;
mod layout;
mod state;

use core::fmt;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount, PartitionSlot};

pub use areas::{AreaNumber, AreaRegistry};
pub use audit::{Charged, Finding, Tally};
pub use layout::{BadLayout, MAX_RANGES, Storage};
pub use state::FrameState;

use areas::FreeNumbers;
use layout::{BLOCK_FRAMES, Layout, Segment};

/// Frames whose block's own entry does not speak for them.
const MIXED: u32 = 0xffff_ffff;
/// Slots that an entry can name.
const SLOTS: usize = 1 << u8::BITS;
/// The most entries that one call checks, and that it writes.
const STEP_ENTRIES: u64 = 4096;

/// Some frames in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRun {
    /// The first frame's address, page-aligned.
    pub base: Pa,
    /// How many.
    pub pages: PageCount,
}

impl FrameRun {
    /// The run without its first `done` frames: what a bounded step has left over.
    #[must_use]
    pub const fn after(self, done: PageCount) -> Self {
        let PageCount(count) = done;
        Self {
            base: self.base.wrapping_add(count.saturating_mul(PAGE_BYTES)),
            pages: PageCount(self.pages.0.saturating_sub(count)),
        }
    }
}

impl fmt::Display for FrameRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, pages: PageCount(pages) } = self;
        write!(f, "{base} + {pages} pages")
    }
}

/// Why a step was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The base is not page-aligned, or the run is empty.
    NotARun {
        /// The base.
        base: Pa,
    },
    /// A frame that the machine's RAM does not have.
    NotRam {
        /// The first such frame.
        frame: Pa,
    },
    /// A frame in another state than the caller took it for.
    WrongState {
        /// The first such frame.
        frame: Pa,
        /// Its state and owner.
        found: FrameState,
        /// What the caller said.
        wanted: FrameState,
    },
    /// No frame ever takes this step.
    NoSuchStep {
        /// The state before.
        from: FrameState,
        /// The state after.
        to: FrameState,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARun { base } => write!(f, "{base} is not the base of a run of frames"),
            Self::NotRam { frame } => write!(f, "{frame} is not RAM"),
            Self::WrongState { frame, found, wanted } => {
                write!(f, "frame {frame} is {found}, not {wanted}")
            }
            Self::NoSuchStep { from, to } => write!(f, "no frame goes from {from} to {to}"),
        }
    }
}

/// The ledger, in storage that its caller provides.
#[derive(Debug)]
pub struct Ledger<'a> {
    layout: Layout,
    entries: Entries<'a>,
    /// By slot: the frames that a partition has, without those in quarantine and those of areas.
    held: [u64; SLOTS],
    /// The message areas, and who has them.
    areas: &'a AreaRegistry<'a>,
    free_areas: FreeNumbers,
}

/// The storage: an entry per block, and 512 behind each that count while it is [`MIXED`].
#[derive(Debug)]
struct Entries<'a> {
    blocks: &'a mut [u32],
    frames: &'a mut [u32],
}

impl<'a> Ledger<'a> {
    /// How much storage these ranges of RAM need.
    ///
    /// # Errors
    /// [`BadLayout`] if a range is empty, misaligned, overlaps another's 2 MiB blocks, or there are too many.
    pub fn storage_for(ram: &[FrameRun]) -> Result<Storage, BadLayout> {
        Layout::new(ram).map(|layout| layout.storage())
    }

    /// A ledger of this RAM, all frames free, and of message areas that `areas` has rows for. `blocks` is overwritten;
    /// what `frames` holds does not matter.
    ///
    /// # Errors
    /// [`BadLayout`] as [`Ledger::storage_for`], or if the storage is too small.
    pub fn new(
        ram: &[FrameRun],
        blocks: &'a mut [u32],
        frames: &'a mut [u32],
        areas: &'a AreaRegistry<'a>,
    ) -> Result<Self, BadLayout> {
        let layout = Layout::new(ram)?;
        let Storage { blocks: needed_blocks, frames: needed_frames } = layout.storage();
        if blocks.len() < needed_blocks || frames.len() < needed_frames {
            return Err(BadLayout::StorageTooSmall);
        }
        blocks.fill(FrameState::Free.encode());
        let (entries, free_areas) = (Entries { blocks, frames }, FreeNumbers::default());
        Ok(Self { layout, entries, held: [0; SLOTS], areas, free_areas })
    }

    /// Gives the hypervisor whatever of these bytes' frames is RAM, at boot, before anything is claimed: what
    /// the loader placed may overlap, and lie outside RAM.
    pub fn reserve(&mut self, run: FrameRun) {
        let end = run.after(run.pages).base;
        for range in self.layout.ranges() {
            let base = run.base.max(range.base);
            let stop = end.min(range.after(range.pages).base);
            let pages = PageCount(stop.0.saturating_sub(base.0) / PAGE_BYTES);
            for segment in self.layout.segments(FrameRun { base, pages }) {
                self.entries.mark(segment, FrameState::Hypervisor.encode());
            }
        }
    }

    /// How many frames a partition has, in any state but quarantine: zero once it has ended.
    #[must_use]
    pub fn held(&self, slot: PartitionSlot) -> PageCount {
        let own = self.held.get(usize::from(slot.0)).copied().unwrap_or(0);
        PageCount(own.saturating_add(self.areas.held(slot).0))
    }

    /// Who owns a frame in this state, be it in an area.
    #[must_use]
    pub fn owner(&self, state: FrameState) -> Option<PartitionSlot> {
        state.owner().or_else(|| self.areas.owner(state.area()?))
    }

    /// The message areas.
    #[must_use]
    pub const fn areas(&self) -> &'a AreaRegistry<'a> {
        self.areas
    }

    /// Makes a message area of `owner`'s without frames; `None` if the registry is full.
    pub fn begin_area(&mut self, owner: PartitionSlot) -> Option<AreaNumber> {
        self.free_areas.take(self.areas, owner)
    }

    /// Ends a message area that has no frames any more.
    ///
    /// # Panics
    /// If it has one, or does not exist: our bug.
    pub fn end_area(&mut self, area: AreaNumber) {
        self.free_areas.give(self.areas, area);
    }

    /// Whether any frame of the run is RAM.
    #[must_use]
    pub fn touches_ram(&self, run: FrameRun) -> bool {
        let end = run.after(run.pages).base;
        self.layout
            .ranges()
            .iter()
            .any(|range| run.base < range.after(range.pages).base && range.base < end)
    }

    /// Takes free frames. Returns how many were marked, from the run's start: all, or as many as one bounded
    /// step does; the caller goes on with [`FrameRun::after`].
    ///
    /// # Errors
    /// [`Refusal`]; what earlier steps of the run marked stays so, and [`Ledger::release`] undoes it.
    pub fn claim(&mut self, run: FrameRun, to: FrameState) -> Result<PageCount, Refusal> {
        self.transfer(run, FrameState::Free, to)
    }

    /// Frees frames that are in state `from`. Bounded as [`Ledger::claim`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing was changed by this call.
    pub fn release(&mut self, run: FrameRun, from: FrameState) -> Result<PageCount, Refusal> {
        self.transfer(run, from, FrameState::Free)
    }

    /// Moves frames from one state to another. Bounded as [`Ledger::claim`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing was changed by this call.
    pub fn transfer(
        &mut self,
        run: FrameRun,
        from: FrameState,
        to: FrameState,
    ) -> Result<PageCount, Refusal> {
        let is_of_areas = from.area().is_some() && to.area().is_some();
        if !from.may_become(to) || (is_of_areas && self.owner(from) != self.owner(to)) {
            return Err(Refusal::NoSuchStep { from, to });
        }
        let step = self.check(run, from)?;
        for segment in self.layout.segments(step) {
            self.entries.mark(segment, to.encode());
        }
        match (from.area(), self.count_of(from)) {
            (Some(area), _) => self.areas.subtract(area, step.pages),
            (None, Some(count)) => *count = count.saturating_sub(step.pages.0),
            (None, None) => {}
        }
        match (to.area(), self.count_of(to)) {
            (Some(area), _) => self.areas.add(area, step.pages),
            (None, Some(count)) => *count = count.saturating_add(step.pages.0),
            (None, None) => {}
        }
        Ok(step.pages)
    }

    /// The counter of whoever has frames in this state.
    fn count_of(&mut self, state: FrameState) -> Option<&mut u64> {
        let PartitionSlot(slot) = state.holder()?;
        self.held.get_mut(usize::from(slot))
    }

    /// The state of the frame that holds this address; `None` if it is not RAM.
    #[must_use]
    pub fn state(&self, at: Pa) -> Option<FrameState> {
        let segment =
            self.layout.first_segment(FrameRun { base: at.page_base(), pages: PageCount(1) });
        if !segment.is_ram {
            return None;
        }
        let entry = match self.entries.block(segment.block) {
            MIXED => self.entries.of(segment).first().copied().unwrap_or(MIXED),
            uniform => uniform,
        };
        Some(FrameState::decode(entry))
    }

    /// The first frames of a run that are in one state, at most to the end of their 2 MiB; `None` if the first is not RAM.
    pub(crate) fn first_of(&self, run: FrameRun) -> Option<(FrameRun, FrameState)> {
        let segment = self.layout.first_segment(run);
        if !segment.is_ram {
            return None;
        }
        let (entry, pages) = match self.entries.block(segment.block) {
            MIXED => {
                let same = self.entries.of(segment).chunk_by(|one, next| one == next).next();
                let same = same.unwrap_or_default();
                (same.first().copied().unwrap_or(MIXED), len_u64(same).max(1))
            }
            uniform => (uniform, segment.count),
        };
        let pages = PageCount(pages);
        Some((FrameRun { base: segment.base, pages }, FrameState::decode(entry)))
    }

    /// Whether all frames of a run are in this state.
    pub(crate) fn are_all(&self, run: FrameRun, state: FrameState) -> bool {
        let mut left = run;
        while left.pages.0 > 0 {
            let Some((frames, found)) = self.first_of(left) else { return false };
            if found != state {
                return false;
            }
            left = left.after(frames.pages);
        }
        true
    }

    /// Calls `see` for every run of frames in one state, in ascending order within each range; a run never
    /// crosses a 2 MiB boundary.
    pub fn for_each_run(&self, see: &mut dyn FnMut(FrameRun, FrameState)) {
        for range in self.layout.ranges() {
            for segment in self.layout.segments(*range) {
                let mut left = FrameRun { base: segment.base, pages: PageCount(segment.count) };
                let uniform = self.entries.block(segment.block);
                if uniform != MIXED {
                    see(left, FrameState::decode(uniform));
                    continue;
                }
                for same in self.entries.of(segment).chunk_by(|one, next| one == next) {
                    let pages = PageCount(len_u64(same));
                    let state = same.first().copied().unwrap_or(MIXED);
                    see(FrameRun { base: left.base, pages }, FrameState::decode(state));
                    left = left.after(pages);
                }
            }
        }
    }

    /// How many frames are in exactly this state.
    #[must_use]
    pub fn pages_in(&self, state: FrameState) -> PageCount {
        let mut sum = 0_u64;
        self.for_each_run(&mut |run, found| {
            if found == state {
                sum = sum.saturating_add(run.pages.0);
            }
        });
        PageCount(sum)
    }

    /// Checks as much of the run as one step does, and returns that part.
    fn check(&self, run: FrameRun, from: FrameState) -> Result<FrameRun, Refusal> {
        let FrameRun { base, pages: PageCount(pages) } = run;
        if base.page_offset() != 0 || pages == 0 {
            return Err(Refusal::NotARun { base });
        }
        let (mut done, mut work) = (0_u64, 0_u64);
        for segment in self.layout.segments(run) {
            let cost = if segment.is_whole_block() && self.entries.block(segment.block) != MIXED {
                1
            } else {
                BLOCK_FRAMES
            };
            if work.saturating_add(cost) > STEP_ENTRIES {
                break;
            }
            self.entries.check(segment, from)?;
            work = work.saturating_add(cost);
            done = done.saturating_add(segment.count);
        }
        Ok(FrameRun { base, pages: PageCount(done) })
    }
}

impl Entries<'_> {
    fn check(&self, segment: Segment, from: FrameState) -> Result<(), Refusal> {
        if !segment.is_ram {
            return Err(Refusal::NotRam { frame: segment.base });
        }
        let wanted = from.encode();
        let (found, position) = match self.block(segment.block) {
            MIXED => {
                let entries = self.of(segment);
                if are_all(entries, wanted) {
                    return Ok(());
                }
                let mut numbered = entries.iter().copied().zip(0_u64..);
                numbered.find(|(entry, _)| *entry != wanted).unwrap_or((MIXED, 0))
            }
            uniform if uniform == wanted => return Ok(()),
            uniform => (uniform, 0),
        };
        let frame = segment.base.wrapping_add(position.saturating_mul(PAGE_BYTES));
        Err(Refusal::WrongState { frame, found: FrameState::decode(found), wanted: from })
    }

    fn mark(&mut self, segment: Segment, entry: u32) {
        if segment.is_whole_block() {
            self.set_block(segment.block, entry);
            return;
        }
        let uniform = self.block(segment.block);
        if uniform != MIXED {
            let whole = Segment { first: 0, count: BLOCK_FRAMES, ..segment };
            self.of_mut(whole).fill(uniform);
            self.set_block(segment.block, MIXED);
        }
        self.of_mut(segment).fill(entry);
    }

    fn block(&self, block: usize) -> u32 {
        self.blocks.get(block).copied().unwrap_or(MIXED)
    }

    fn set_block(&mut self, block: usize, entry: u32) {
        if let Some(place) = self.blocks.get_mut(block) {
            *place = entry;
        }
    }

    fn of(&self, segment: Segment) -> &[u32] {
        segment.entries().and_then(|range| self.frames.get(range)).unwrap_or(&[])
    }

    fn of_mut(&mut self, segment: Segment) -> &mut [u32] {
        segment.entries().and_then(|range| self.frames.get_mut(range)).unwrap_or(&mut [])
    }
}

/// Whether all entries are `wanted`: eight at a time without a branch between them.
fn are_all(entries: &[u32], wanted: u32) -> bool {
    let (eights, rest) = entries.as_chunks::<8>();
    eights.iter().all(|eight| eight.iter().fold(0, |sum, entry| sum | (entry ^ wanted)) == 0)
        && rest.iter().all(|entry| *entry == wanted)
}

fn len_u64(entries: &[u32]) -> u64 {
    u64::try_from(entries.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
