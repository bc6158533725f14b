//! Making a pool: what is checked, and where the pool's own table lives.
#![expect(unsafe_code, reason = "makes the `Frames` of the pool's own table")]

use core::fmt;

use shikiri_abi::{Pa, PageCount};

use crate::block::Block;
use crate::direct_map::DirectMap;
use crate::frames::Frames;
use crate::page_box::PageSlice;
use crate::range::{FrameRange, next_free};
use crate::table::{Regions, Table};

/// The most separate ranges of RAM.
pub const MAX_RANGES: usize = 8;
/// The most ranges that are kept for descriptions which place memory by address.
pub const MAX_FIXED: usize = 32;

/// Why a pool cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// A range does not consist of whole frames below 2^52.
    NotFrames(FrameRange),
    /// Two ranges share frames.
    Overlap(FrameRange, FrameRange),
    /// A fixed range is not inside one range of RAM.
    NotRam(FrameRange),
    /// More of something than the pool has room for ([`MAX_RANGES`], [`MAX_FIXED`]).
    TooMany(&'static str),
    /// No free run is large enough for the pool's own table.
    NoRoom(PageCount),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFrames(range) => write!(f, "{range} is not made of whole frames below 2^52"),
            Self::Overlap(one, other) => write!(f, "{one} and {other} overlap"),
            Self::NotRam(range) => write!(f, "{range} is not in RAM"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::NoRoom(pages) => {
                write!(f, "no {} free frames in a row for the pool's table", pages.0)
            }
        }
    }
}

/// A range that was kept out of the pool, to be adopted by the one whom the description gives it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fixed {
    pub(crate) range: FrameRange,
    /// Frames that are out; the range can be adopted again when it is zero.
    pub(crate) out: u64,
}

/// Checks the fixed ranges and copies them.
pub(crate) fn check_fixed(
    regions: &Regions,
    reserved: &[FrameRange],
    fixed: &[FrameRange],
) -> Result<[Fixed; MAX_FIXED], PoolError> {
    let mut all = [Fixed::default(); MAX_FIXED];
    if fixed.len() > all.len() {
        return Err(PoolError::TooMany("fixed ranges of memory"));
    }
    for (number, (slot, range)) in all.iter_mut().zip(fixed).enumerate() {
        if range.base.page_offset() != 0 {
            return Err(PoolError::NotFrames(*range));
        }
        if regions.holding(*range).is_none() {
            return Err(PoolError::NotRam(*range));
        }
        let mut others = reserved.iter().chain(fixed.iter().take(number));
        if let Some(other) = others.find(|other| other.overlaps(*range)) {
            return Err(PoolError::Overlap(*other, *range));
        }
        *slot = Fixed { range: *range, out: 0 };
    }
    Ok(all)
}

/// Finds room for the table of blocks and clears it.
///
/// # Safety
/// That of [`crate::FramePool::new`].
pub(crate) unsafe fn make_table<M: DirectMap>(
    map: &M,
    regions: Regions,
    kept: impl Iterator<Item = FrameRange> + Clone,
) -> Result<(FrameRange, Table), PoolError> {
    let blocks = regions.blocks();
    let words = blocks.div_ceil(64);
    let (for_blocks, for_open) =
        (PageSlice::<Block>::pages(blocks), PageSlice::<u64>::pages(words));
    let pages = PageCount(for_blocks.0.saturating_add(for_open.0));
    let base = regions.iter().find_map(|region| room(region.range, pages, kept.clone()));
    let own = FrameRange { base: base.ok_or(PoolError::NoRoom(pages))?, pages };
    // SAFETY: `FramePool::new`'s caller gave this memory to the pool, and `own` is kept out of its free frames.
    let frames = unsafe { Frames::new(own, map.pointer(own.base)) };
    let (first, second) = frames.split_at(for_blocks).map_err(|_| PoolError::NoRoom(pages))?;
    let blocks = PageSlice::zeroed(first, blocks, map);
    Ok((own, Table::new(regions, blocks, PageSlice::zeroed(second, words, map))))
}

/// The first free run of at least `pages` frames in `range`.
fn room(
    range: FrameRange,
    pages: PageCount,
    kept: impl Iterator<Item = FrameRange> + Clone,
) -> Option<Pa> {
    let mut from = range.base;
    while let Some(run) = next_free(from, range.end(), kept.clone()) {
        if run.pages >= pages {
            return Some(run.base);
        }
        from = run.end();
    }
    None
}
