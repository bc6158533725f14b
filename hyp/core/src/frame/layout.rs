//! Where a frame's entry is: ranges of RAM, cut into 2 MiB blocks.

use core::fmt;
use core::ops::Range;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

use super::FrameRun;

/// How many ranges of RAM one machine may have.
pub const MAX_RANGES: usize = 16;
/// Frames in a block.
pub(super) const BLOCK_FRAMES: u64 = 512;
const BLOCK_BYTES: u64 = BLOCK_FRAMES * PAGE_BYTES;

/// How many entries a ledger needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// One 4-byte entry per 2 MiB block that holds RAM.
    pub blocks: usize,
    /// One 4-byte entry per frame of those blocks.
    pub frames: usize,
}

/// Why there is no ledger of these ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLayout {
    /// More than [`MAX_RANGES`].
    TooManyRanges,
    /// A range is empty, not page-aligned, or ends above 2^64; its place in the list.
    BadRange(usize),
    /// A range shares a frame or a 2 MiB block with an earlier one; its place in the list.
    Overlap(usize),
    /// The entries do not fit into the storage, or the machine's address width.
    StorageTooSmall,
}

impl fmt::Display for BadLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRanges => f.write_str("too many ranges"),
            Self::BadRange(place) => write!(f, "range {place} is none of whole frames"),
            Self::Overlap(place) => write!(f, "range {place} overlaps with another"),
            Self::StorageTooSmall => f.write_str("its entries do not fit"),
        }
    }
}

/// A part of a run: inside one block of one range, or outside all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) block: usize,
    /// The first frame's address.
    pub(super) base: Pa,
    /// The first frame's number in its block.
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) is_ram: bool,
}

impl Segment {
    pub(super) const fn is_whole_block(&self) -> bool {
        self.count == BLOCK_FRAMES
    }

    /// Where its frames' entries are.
    pub(super) fn entries(&self) -> Option<Range<usize>> {
        let start = self.block.checked_mul(512)?.checked_add(usize::try_from(self.first).ok()?)?;
        Some(start..start.checked_add(usize::try_from(self.count).ok()?)?)
    }
}

/// The ranges, and the number of each one's first block.
#[derive(Debug)]
pub(super) struct Layout {
    ranges: [FrameRun; MAX_RANGES],
    first_blocks: [usize; MAX_RANGES],
    used: usize,
    blocks: usize,
}

impl Layout {
    pub(super) fn new(ram: &[FrameRun]) -> Result<Self, BadLayout> {
        if ram.len() > MAX_RANGES {
            return Err(BadLayout::TooManyRanges);
        }
        let nothing = FrameRun { base: Pa(0), pages: PageCount(0) };
        let mut layout = Self {
            ranges: [nothing; MAX_RANGES],
            first_blocks: [0; MAX_RANGES],
            used: 0,
            blocks: 0,
        };
        for (place, range) in ram.iter().enumerate() {
            layout.add(place, *range)?;
        }
        Ok(layout)
    }

    fn add(&mut self, place: usize, range: FrameRun) -> Result<(), BadLayout> {
        let (first, last) = block_numbers(range).ok_or(BadLayout::BadRange(place))?;
        let meets = |earlier: &FrameRun| {
            block_numbers(*earlier).is_some_and(|(from, to)| first <= to && from <= last)
        };
        if self.ranges().iter().any(meets) {
            return Err(BadLayout::Overlap(place));
        }
        let blocks = usize::try_from(last.saturating_sub(first).saturating_add(1))
            .map_err(|_| BadLayout::StorageTooSmall)?;
        let slot = self.ranges.iter_mut().zip(&mut self.first_blocks).nth(place);
        let (slot, first_block) = slot.ok_or(BadLayout::TooManyRanges)?;
        (*slot, *first_block) = (range, self.blocks);
        self.used = place.saturating_add(1);
        self.blocks = self.blocks.checked_add(blocks).ok_or(BadLayout::StorageTooSmall)?;
        Ok(())
    }

    pub(super) fn ranges(&self) -> &[FrameRun] {
        self.ranges.get(..self.used).unwrap_or(&[])
    }

    pub(super) const fn storage(&self) -> Storage {
        Storage { blocks: self.blocks, frames: self.blocks.saturating_mul(512) }
    }

    /// Cuts a page-aligned run at block boundaries and where RAM ends; behind the first piece that is not RAM
    /// nothing follows.
    pub(super) fn segments(&self, run: FrameRun) -> impl Iterator<Item = Segment> {
        let mut left = Some(run);
        core::iter::from_fn(move || {
            let run = left.take().filter(|run| run.pages.0 > 0)?;
            let segment = self.first_segment(run);
            if segment.is_ram {
                left = Some(run.after(PageCount(segment.count)));
            }
            Some(segment)
        })
    }

    /// The run's first piece.
    pub(super) fn first_segment(&self, run: FrameRun) -> Segment {
        let FrameRun { base, pages: PageCount(pages) } = run;
        let found =
            self.ranges().iter().zip(&self.first_blocks).find_map(|(range, first_block)| {
                let offset = base.offset_from(range.base)? / PAGE_BYTES;
                let room = range.pages.0.checked_sub(offset).filter(|room| *room > 0)?;
                let block = block_of(base).checked_sub(block_of(range.base))?;
                Some((first_block.saturating_add(usize::try_from(block).ok()?), room))
            });
        let Some((block, room)) = found else {
            return Segment { block: 0, base, first: 0, count: pages, is_ram: false };
        };
        let first = (base.0 / PAGE_BYTES) & BLOCK_FRAMES.wrapping_sub(1);
        let count = pages.min(room).min(BLOCK_FRAMES.saturating_sub(first));
        Segment { block, base, first, count, is_ram: true }
    }
}

const fn block_of(at: Pa) -> u64 {
    at.0 / BLOCK_BYTES
}

/// The numbers of a range's first and last block; `None` for what is no range.
fn block_numbers(range: FrameRun) -> Option<(u64, u64)> {
    let bytes = range.pages.bytes().filter(|bytes| *bytes > 0)?;
    let last = range.base.checked_add(bytes.checked_sub(1)?)?;
    (range.base.page_offset() == 0).then(|| (block_of(range.base), block_of(last)))
}
