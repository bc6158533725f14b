//! The pool of free frames.
//!
//! Two stores under one roof: extents of 2 MiB and more, powers of two, in lists ([`crate::extents`]); single frames
//! and short runs in 2 MiB blocks with a bitmap each ([`crate::block`]).
//! A block goes from the lists to the bitmaps when frames are wanted and back when all of its frames are free.
//! The table of blocks says for every block where it is, so that a frame given back twice, or never taken, stops
//! the machine with the frame's address instead of corrupting a list.
//!
//! What an operation costs depends on the pieces that it is about, and on the size of RAM (one word for each 128 MiB
//! of it), not on what else is free or how scattered that is:
//! the pool's lock is everybody's, and memory is scattered by whoever wants to.
//!
//! Taken frames are not cleared: who takes them for a partition clears them, in steps.
#![expect(unsafe_code, reason = "makes `Frames`")]

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

use crate::block::{BLOCK_PAGES, BLOCK_SHIFT, Block, Kind};
use crate::direct_map::DirectMap;
use crate::extents::{Extents, LARGEST};
use crate::frames::Frames;
use crate::range::{FrameRange, next_free};
use crate::setup::{Fixed, MAX_FIXED, PoolError, check_fixed, make_table};
use crate::table::{Regions, Table, around, parts, whole_blocks};

/// Open blocks that a request for a run looks at before it opens a new block.
const TRIES: usize = 16;
/// Open blocks that it looks at if there is no new block, and a shorter run will not do.
const LAST_TRIES: usize = 256;
/// Frames of the smallest extent.
const EXTENT_PAGES: u64 = 512;
/// Frames of the largest extent.
const LARGEST_PAGES: u64 = EXTENT_PAGES << LARGEST;

/// All free frames of the machine.
pub struct FramePool<M: DirectMap> {
    map: M,
    extents: Extents,
    table: Table,
    fixed: [Fixed; MAX_FIXED],
    /// The one block of frames that is kept although all of its frames are free.
    spare: Option<usize>,
    free: u64,
    total: u64,
    /// Where the table is.
    own: FrameRange,
}

impl<M: DirectMap> FramePool<M> {
    /// Makes the pool of the RAM in `ranges` without what `reserved` and `fixed` cover. The pool's own table
    /// (about 140 bytes for 2 MiB of RAM) comes out of the first free run that can hold it.
    ///
    /// `reserved` is the hypervisor itself, the bundle, the device tree: never given out. `fixed` is what the
    /// description places by address: to be had once each with [`FramePool::adopt`].
    ///
    /// # Errors
    /// [`PoolError`]: what is wrong with which range.
    ///
    /// # Safety
    /// `map` covers the ranges as [`DirectMap`] demands, and nobody but the pool uses the memory in `ranges` that
    /// is neither reserved nor fixed, and nobody but who adopts it that in `fixed`. No pointer leads to the frame at
    /// address 0: where that is RAM, it is reserved.
    pub unsafe fn new(
        map: M,
        ranges: &[FrameRange],
        reserved: &[FrameRange],
        fixed: &[FrameRange],
    ) -> Result<Self, PoolError> {
        let regions = Regions::new(ranges)?;
        let fixed_ranges = check_fixed(&regions, reserved, fixed)?;
        let kept = reserved.iter().chain(fixed).copied();
        // SAFETY: this function's caller promised the same.
        let (own, table) = unsafe { make_table(&map, regions, kept.clone()) }?;
        let mut pool = Self {
            map,
            extents: Extents::new(),
            table,
            fixed: fixed_ranges,
            spare: None,
            free: 0,
            total: 0,
            own,
        };
        let kept = kept.chain(core::iter::once(own));
        for region in regions.iter() {
            let mut from = region.range.base;
            while let Some(run) = next_free(from, region.range.end(), kept.clone()) {
                pool.add(run);
                from = run.end();
            }
        }
        pool.total = pool.free;
        Ok(pool)
    }

    /// Takes `pages` contiguous frames whose address is a multiple of `align_bytes` (a power of two).
    ///
    /// Two shapes exist: 1 to 511 frames aligned to at most 2 MiB, and a power of two from 512 frames up to
    /// 262,144 (1 GiB), which is always aligned to its size. Larger or odder requests are made of several
    /// ([`FramePool::take_up_to`]). A frame costs a few hundred instructions; for a run, at most 272 blocks are looked
    /// at, each of which costs about as much.
    ///
    /// `None`: no such extent is free, or no such run in the blocks that were looked at, or the shape does not exist.
    /// A single frame is always found. The contents are whatever was there.
    pub fn take(&mut self, pages: PageCount, align_bytes: u64) -> Option<Frames> {
        if !align_bytes.is_power_of_two() || pages.0 == 0 {
            return None;
        }
        if pages.0 < EXTENT_PAGES {
            let align = u32::try_from(align_bytes.div_ceil(PAGE_BYTES)).ok()?;
            let align = align.le(&BLOCK_PAGES).then_some(align)?;
            return self.take_exactly(u32::try_from(pages.0).ok()?, align);
        }
        let is_extent = pages.0.is_power_of_two() && pages.0 <= LARGEST_PAGES;
        let is_aligned = pages.bytes().is_some_and(|bytes| align_bytes <= bytes);
        (is_extent && is_aligned).then(|| self.take_extent(pages))?
    }

    /// Takes the largest extent that is free and not larger than `pages`, or a run if no extent is wanted or free: how
    /// memory of any size is put together, piece by piece. Pieces are aligned to their size, or to 4 KiB if smaller
    /// than 2 MiB. Of runs it takes the longest of the few open blocks that it looks at.
    ///
    /// `None`: not even one frame is free, or `pages` is zero.
    pub fn take_up_to(&mut self, pages: PageCount) -> Option<Frames> {
        let mut want = piece(pages);
        while want.0 >= EXTENT_PAGES {
            if let Some(frames) = self.take_extent(want) {
                return Some(frames);
            }
            want = PageCount(want.0 / 2);
        }
        let want = u32::try_from(want.0).ok().filter(|want| *want > 0)?;
        let run = self.find(want, 1)?;
        Some(self.claim(run))
    }

    /// Takes a fixed range, as a whole, from wherever its frames rest.
    ///
    /// `None`: `range` is not one of the fixed ranges, or frames of it are still out.
    pub fn adopt(&mut self, range: FrameRange) -> Option<Frames> {
        let fixed =
            self.fixed.iter_mut().find(|fixed| fixed.range == range && !fixed.range.is_empty())?;
        if fixed.out != 0 {
            return None;
        }
        fixed.out = range.pages.0;
        // SAFETY: `new`'s caller promised that nobody uses a fixed range but who adopts it; `out` was zero, so all
        // its frames are here.
        Some(unsafe { self.mint(range) })
    }

    /// Takes frames back, whole or in the parts into which they were split.
    ///
    /// # Panics
    /// If a frame of the run is not out: a token was forged or the table is damaged, and going on would give a
    /// frame to two owners.
    pub fn give(&mut self, frames: Frames) {
        let range = frames.range();
        if let Some(fixed) = self.fixed.iter_mut().find(|fixed| fixed.range.overlaps(range)) {
            let out = fixed.out.checked_sub(range.pages.0);
            assert!(
                fixed.range.contains(range) && out.is_some(),
                "frame pool: {range} comes back into {}, which is not out",
                fixed.range
            );
            fixed.out = out.unwrap_or(0);
            return;
        }
        let whole = whole_blocks(range);
        if whole.is_empty() || !self.is_extent(whole) {
            return self.give_parts(range);
        }
        around(range, whole).into_iter().for_each(|part| self.give_parts(part));
        self.give_extents(whole, Kind::Extent);
    }

    /// Takes a token in keeping. Its frames stay out, and [`FramePool::unpark`] makes a token of them again, whole or
    /// in parts: for frames that only translation tables remember.
    ///
    /// # Panics
    /// If one of the frames is in keeping already: a token was forged.
    pub fn park(&mut self, frames: Frames) {
        for (at, first, pages) in parts(frames.range()) {
            let index = self.table.index(at);
            assert!(self.table.block(index).park(first, pages), "frame pool: {at} is parked twice");
        }
    }

    /// Makes the token of frames that are in keeping.
    ///
    /// # Panics
    /// If one of them is not: going on would give a frame to two owners.
    pub fn unpark(&mut self, range: FrameRange) -> Frames {
        for (at, first, pages) in parts(range) {
            let index = self.table.index(at);
            assert!(self.table.block(index).unpark(first, pages), "frame pool: {at} is not parked");
        }
        // SAFETY: the frames are out, their tokens were taken in keeping, and from now on they have this one.
        unsafe { self.mint(range) }
    }

    /// Frames that are free now.
    #[must_use]
    pub const fn free_pages(&self) -> PageCount {
        PageCount(self.free)
    }

    /// Frames that the pool was made with, without its own table and without fixed ranges.
    #[must_use]
    pub const fn total_pages(&self) -> PageCount {
        PageCount(self.total)
    }

    /// The frames of the pool's own table: the hypervisor's, for ever.
    #[must_use]
    pub const fn own_range(&self) -> FrameRange {
        self.own
    }

    /// Frames of fixed ranges that are not out.
    #[must_use]
    pub fn resting_pages(&self) -> PageCount {
        let rest = |fixed: &Fixed| fixed.range.pages.0.saturating_sub(fixed.out);
        PageCount(self.fixed.iter().map(rest).fold(0, u64::saturating_add))
    }

    /// The direct map that the pool was made with.
    #[must_use]
    pub const fn map(&self) -> &M {
        &self.map
    }

    /// Takes a run that no shorter one can stand for.
    fn take_exactly(&mut self, pages: u32, align: u32) -> Option<Frames> {
        let is_whole = |run: &Run| run.pages == pages;
        let run = match self.find(pages, align).filter(is_whole) {
            Some(run) => run,
            None => self.search(pages, align, LAST_TRIES).filter(is_whole)?,
        };
        Some(self.claim(run))
    }

    /// Finds a free run in the open blocks, or in a new one; without either, a shorter one.
    fn find(&mut self, pages: u32, align: u32) -> Option<Run> {
        let seen = self.search(pages, align, TRIES);
        if seen.is_some_and(|run| run.pages == pages) {
            return seen;
        }
        let Some(block) = self.take_extent(PageCount(EXTENT_PAGES)) else { return seen };
        let index = self.table.index(block.base());
        self.table.block(index).set_small();
        self.give_run(block.base(), index, 0, BLOCK_PAGES);
        Some(Run { index, frame: 0, pages })
    }

    /// Looks at `tries` open blocks at most, lowest address first, for a free run; answers the longest that it saw.
    fn search(&mut self, pages: u32, align: u32, tries: usize) -> Option<Run> {
        let mut best: Option<Run> = None;
        let mut from = 0;
        for _ in 0..tries {
            let Some(index) = self.table.next_open(from) else { break };
            if let Some((frame, long)) = self.table.block(index).find(pages, align) {
                let run = Run { index, frame, pages: long };
                if long == pages {
                    return Some(run);
                }
                best = best.filter(|best| best.pages >= long).or(Some(run));
            }
            from = index.saturating_add(1);
        }
        best
    }

    fn claim(&mut self, Run { index, frame, pages }: Run) -> Frames {
        let range = FrameRange {
            base: self.table.address(index, frame),
            pages: PageCount(u64::from(pages)),
        };
        assert!(self.table.block(index).claim(frame, pages), "frame pool: {range} is not free");
        self.table.note_open(index);
        if self.spare == Some(index) {
            self.spare = None;
        }
        self.free = self.free.saturating_sub(range.pages.0);
        // SAFETY: the bits of these frames were clear: the pool owned them, and they are now out.
        unsafe { self.mint(range) }
    }

    /// Takes back a run block by block.
    fn give_parts(&mut self, range: FrameRange) {
        for (at, first, pages) in parts(range) {
            let index = self.table.index(at);
            self.give_run(at, index, first, pages);
        }
    }

    /// Takes back frames of one block.
    fn give_run(&mut self, at: Pa, index: usize, first: u32, pages: u32) {
        let range = FrameRange { base: at, pages: PageCount(u64::from(pages)) };
        let block = self.table.block(index);
        if block.kind() == Kind::Extent {
            // A part of an extent that was split: from now on its block is one of frames.
            block.set_small();
        }
        let is_out = block.kind() == Kind::Small && block.release(first, pages);
        assert!(is_out, "frame pool: {range} comes back but is not out");
        let is_whole = block.free() == BLOCK_PAGES;
        self.table.note_open(index);
        self.free = self.free.saturating_add(range.pages.0);
        if is_whole && let Some(before) = self.spare.replace(index) {
            self.close(before);
        }
    }

    /// Returns a block whose frames are all free to the extents.
    fn close(&mut self, index: usize) {
        let base = self.table.address(index, 0);
        self.table.block(index).set_whole(Kind::Extent);
        self.table.note_open(index);
        self.free = self.free.saturating_sub(EXTENT_PAGES);
        self.give_extents(FrameRange { base, pages: PageCount(EXTENT_PAGES) }, Kind::Extent);
    }

    /// Takes an extent; `pages` is a power of two, 512 at least.
    fn take_extent(&mut self, pages: PageCount) -> Option<Frames> {
        let class = (pages.0 / EXTENT_PAGES).checked_ilog2()?;
        let index = match self.extents.take(&mut self.table, class) {
            Some(index) => index,
            None => {
                let spare = self.spare.take()?;
                self.close(spare);
                self.extents.take(&mut self.table, class)?
            }
        };
        let range = FrameRange { base: self.table.address(index, 0), pages };
        self.mark(range, Kind::Free, Kind::Extent);
        self.free = self.free.saturating_sub(pages.0);
        // SAFETY: these frames were a free extent's, and are out from now on.
        Some(unsafe { self.mint(range) })
    }

    /// Makes whole blocks, which were of this kind, free extents, as large as their addresses allow.
    fn give_extents(&mut self, range: FrameRange, from: Kind) {
        self.free = self.free.saturating_add(range.pages.0);
        let mut rest = range;
        while !rest.is_empty() {
            let alignment = (rest.base.0 >> BLOCK_SHIFT).trailing_zeros();
            let fits = (rest.pages.0 / EXTENT_PAGES).checked_ilog2().unwrap_or(0);
            let class = alignment.min(fits).min(LARGEST);
            let extent = FrameRange { base: rest.base, pages: PageCount(EXTENT_PAGES << class) };
            // Not before: the one before it must not find a buddy that is in no list yet.
            let index = self.mark(extent, from, Kind::Free);
            self.extents.give(&mut self.table, index, class);
            rest = FrameRange::inside(extent.end(), rest.end());
        }
    }

    /// Whether all of these whole blocks are taken as extents.
    fn is_extent(&mut self, whole: FrameRange) -> bool {
        self.records(whole).1.iter().all(|block| block.kind() == Kind::Extent)
    }

    /// Moves whole blocks from one kind to another; answers the number of the first.
    fn mark(&mut self, whole: FrameRange, from: Kind, to: Kind) -> usize {
        let (first, blocks) = self.records(whole);
        for block in blocks {
            assert!(block.kind() == from, "frame pool: {whole} holds a block of another kind");
            block.set_whole(to);
        }
        first
    }

    /// The records of whole blocks, and the number of the first.
    fn records(&mut self, whole: FrameRange) -> (usize, &mut [Block]) {
        let first = self.table.index(whole.base);
        let count = usize::try_from(whole.pages.0 / EXTENT_PAGES).unwrap_or(usize::MAX);
        let records = self.table.run(first, count);
        assert!(records.len() == count, "frame pool: {whole} is not RAM");
        (first, records)
    }

    /// Adds a free run when the pool is made: whole blocks as extents, the rest frame by frame.
    fn add(&mut self, run: FrameRange) {
        let whole = whole_blocks(run);
        for (at, first, pages) in around(run, whole).into_iter().flat_map(parts) {
            let index = self.table.index(at);
            let block = self.table.block(index);
            if block.kind() == Kind::Absent {
                block.set_small();
            }
            self.give_run(at, index, first, pages);
        }
        self.give_extents(whole, Kind::Absent);
    }

    /// Makes the token of frames that leave the pool.
    ///
    /// # Safety
    /// The frames belong to the pool, and its records say from now on that they are out.
    unsafe fn mint(&self, range: FrameRange) -> Frames {
        let start = self.map.pointer(range.base);
        // SAFETY: the map covers the pool's frames; the caller says that they are the pool's to give.
        unsafe { Frames::new(range, start) }
    }
}

/// A free run in a block.
#[derive(Clone, Copy)]
struct Run {
    index: usize,
    frame: u32,
    pages: u32,
}

/// The largest shape that [`FramePool::take`] knows with at most `pages` frames; zero for zero.
fn piece(pages: PageCount) -> PageCount {
    if pages.0 < EXTENT_PAGES {
        return pages;
    }
    PageCount(1u64 << pages.0.min(LARGEST_PAGES).ilog2())
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests compute with small numbers")]
mod tests;
