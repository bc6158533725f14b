//! The table of all blocks of RAM, and the set of those that have single frames to give.

use shikiri_abi::{PAGE_SHIFT, Pa, PageCount};

use crate::block::{BLOCK_BYTES, BLOCK_PAGES, BLOCK_SHIFT, Block};
use crate::page_box::PageSlice;
use crate::range::FrameRange;
use crate::setup::{MAX_RANGES, PoolError};

/// A run of RAM and where its blocks stand in the table.
#[derive(Clone, Copy, Default)]
pub(crate) struct Region {
    pub(crate) range: FrameRange,
    first_block: usize,
    blocks: usize,
}

/// The RAM of the machine: sorted, disjoint, neighbours merged.
#[derive(Clone, Copy)]
pub(crate) struct Regions {
    all: [Region; MAX_RANGES],
    count: usize,
}

impl Regions {
    /// Sorts and merges the ranges.
    pub(crate) fn new(ranges: &[FrameRange]) -> Result<Self, PoolError> {
        let mut regions = Self { all: [Region::default(); MAX_RANGES], count: 0 };
        let mut last: Option<FrameRange> = None;
        let mut from = Pa(0);
        // Selection in ascending order: at most MAX_RANGES rounds over as many ranges.
        while let Some(next) = lowest(ranges, from) {
            check(next)?;
            from = Pa(next.base.0.saturating_add(1));
            last = Some(match last {
                Some(before) if before.overlaps(next) => {
                    return Err(PoolError::Overlap(before, next));
                }
                Some(before) if before.end() == next.base => FrameRange {
                    base: before.base,
                    pages: PageCount(before.pages.0.saturating_add(next.pages.0)),
                },
                Some(before) => {
                    regions.push(before)?;
                    next
                }
                None => next,
            });
        }
        last.map_or(Ok(()), |range| regions.push(range))?;
        Ok(regions)
    }

    fn push(&mut self, range: FrameRange) -> Result<(), PoolError> {
        let first_block = self.blocks();
        let first = range.base.0 >> BLOCK_SHIFT;
        let end = range.end().0.div_ceil(BLOCK_BYTES);
        let blocks = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        let slot = self.all.get_mut(self.count).ok_or(PoolError::TooMany("ranges of RAM"))?;
        *slot = Region { range, first_block, blocks };
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Region> {
        self.all.iter().take(self.count)
    }

    /// The number of blocks that the regions touch.
    pub(crate) fn blocks(&self) -> usize {
        self.iter().map(|region| region.blocks).fold(0, usize::saturating_add)
    }

    /// The region that holds all of `range`.
    pub(crate) fn holding(&self, range: FrameRange) -> Option<&Region> {
        self.iter().find(|region| region.range.contains(range))
    }
}

/// The table.
pub(crate) struct Table {
    regions: Regions,
    blocks: PageSlice<Block>,
    /// One bit for each block that is given out in frames and has a free one.
    open: PageSlice<u64>,
    /// No open block stands in a word before this one.
    first_open: usize,
    /// How many records were looked at: what an operation costs, for tests.
    #[cfg(test)]
    pub(crate) looks: u64,
}

impl Table {
    pub(crate) fn new(regions: Regions, blocks: PageSlice<Block>, open: PageSlice<u64>) -> Self {
        Self {
            regions,
            blocks,
            open,
            first_open: 0,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// The number of the block that holds an address of RAM.
    ///
    /// # Panics
    /// If the address is not RAM: frames are made from RAM only.
    pub(crate) fn index(&self, at: Pa) -> usize {
        let frame = FrameRange { base: at.page_base(), pages: PageCount(1) };
        let region = self.regions.holding(frame);
        assert!(region.is_some(), "frame pool: {at} is not RAM");
        region.map_or(0, |region| {
            let offset = (at.0 >> BLOCK_SHIFT).saturating_sub(region.range.base.0 >> BLOCK_SHIFT);
            region.first_block.saturating_add(usize::try_from(offset).unwrap_or(usize::MAX))
        })
    }

    /// The address of frame `frame` of block `index`.
    pub(crate) fn address(&self, index: usize, frame: u32) -> Pa {
        let place = self.place(index);
        assert!(place.is_some(), "frame pool: there is no block {index}");
        place
            .map_or(Pa(0), |(_, number)| Pa(number << BLOCK_SHIFT | u64::from(frame) << PAGE_SHIFT))
    }

    /// The block that makes a larger extent with 2^`class` blocks from `index` on, if both lie in one region.
    pub(crate) fn buddy(&self, index: usize, class: u32) -> Option<usize> {
        let (region, number) = self.place(index)?;
        let offset = (number ^ 1 << class).checked_sub(region.range.base.0 >> BLOCK_SHIFT)?;
        let offset = usize::try_from(offset).ok().filter(|offset| *offset < region.blocks)?;
        Some(region.first_block.saturating_add(offset))
    }

    /// The region of block `index`, and which one of the whole address space it is.
    fn place(&self, index: usize) -> Option<(&Region, u64)> {
        self.regions.iter().find_map(|region| {
            let offset = index.checked_sub(region.first_block).filter(|i| *i < region.blocks)?;
            let offset = u64::try_from(offset).unwrap_or(0);
            Some((region, (region.range.base.0 >> BLOCK_SHIFT).saturating_add(offset)))
        })
    }

    /// The record of block `index`.
    ///
    /// # Panics
    /// If there is no such block: indices come from this table only.
    pub(crate) fn block(&mut self, index: usize) -> &mut Block {
        #[cfg(test)]
        {
            self.looks = self.looks.wrapping_add(1);
        }
        match self.blocks.get_mut(index) {
            Some(block) => block,
            None => unreachable!("frame pool: there is no block {index}"),
        }
    }

    /// The records of `count` blocks from `first` on; none if they are not all there.
    pub(crate) fn run(&mut self, first: usize, count: usize) -> &mut [Block] {
        self.blocks.get_mut(first..first.saturating_add(count)).unwrap_or_default()
    }

    /// Enters a block into the open set, or takes it out, as its free frames say.
    pub(crate) fn note_open(&mut self, index: usize) {
        let is_open = self.block(index).free() > 0;
        let (word, bit) = (index >> 6, 1u64 << (index & 63));
        if let Some(word) = self.open.get_mut(word) {
            if is_open {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
        if is_open {
            self.first_open = self.first_open.min(word);
        }
    }

    /// The first open block with number `from` or above.
    pub(crate) fn next_open(&mut self, from: usize) -> Option<usize> {
        let start = (from >> 6).max(self.first_open);
        for (number, word) in self.open.iter().enumerate().skip(start) {
            let above = if number == from >> 6 { u64::MAX << (from & 63) } else { u64::MAX };
            let candidates = word & above;
            if candidates != 0 {
                let bit = usize::try_from(candidates.trailing_zeros()).unwrap_or(0);
                return Some((number << 6) | bit);
            }
            if *word == 0 && number == self.first_open {
                self.first_open = number.saturating_add(1);
            }
        }
        None
    }
}

/// The whole blocks inside a range; empty, at the range's end, if there is none.
pub(crate) fn whole_blocks(range: FrameRange) -> FrameRange {
    let start = range.base.0.div_ceil(BLOCK_BYTES) << BLOCK_SHIFT;
    let end = range.end().0 & !(BLOCK_BYTES - 1);
    if start >= end {
        return FrameRange { base: range.end(), pages: PageCount(0) };
    }
    FrameRange { base: Pa(start), pages: PageCount(end.saturating_sub(start) >> PAGE_SHIFT) }
}

/// What of `range` lies before `inner` and after it.
pub(crate) fn around(range: FrameRange, inner: FrameRange) -> [FrameRange; 2] {
    [FrameRange::inside(range.base, inner.base), FrameRange::inside(inner.end(), range.end())]
}

/// The parts of a range that lie in different blocks: (address, first frame in the block, frames).
pub(crate) fn parts(range: FrameRange) -> impl Iterator<Item = (Pa, u32, u32)> {
    let mut rest = range;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest.base;
        let first = u32::try_from((at.0 >> PAGE_SHIFT) & u64::from(BLOCK_PAGES - 1)).unwrap_or(0);
        let room = u64::from(BLOCK_PAGES.saturating_sub(first));
        let pages = rest.pages.0.min(room);
        rest = FrameRange {
            base: at.wrapping_add(pages << PAGE_SHIFT),
            pages: PageCount(rest.pages.0.saturating_sub(pages)),
        };
        Some((at, first, u32::try_from(pages).unwrap_or(0)))
    })
}

fn lowest(ranges: &[FrameRange], from: Pa) -> Option<FrameRange> {
    let rest = ranges.iter().filter(|range| !range.is_empty() && range.base >= from);
    rest.min_by_key(|range| range.base).copied()
}

fn check(range: FrameRange) -> Result<(), PoolError> {
    // A physical address has at most 52 bits (Arm ARM D8.1.6), so sums below cannot reach 2^64.
    if range.base.page_offset() != 0 || range.end().0 > 1 << 52 {
        return Err(PoolError::NotFrames(range));
    }
    Ok(())
}
