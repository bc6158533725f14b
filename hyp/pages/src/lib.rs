//! Typed storage in charged pages: EL2 has no heap.
//!
//! Key types: [`Frames`] (the linear right to a run of free frames), [`FramePool`] (where they come from and
//! return to), [`PageBox`] and [`PageSlice`] (a value, or several, living in frames), [`DirectMap`] (how
//! physical addresses become pointers). The pool knows nothing of partitions: who pays is the account's
//! affair, who owns a frame the ledger's (`shikiri_core`). One core changes the pool at a time, under the lock
//! of rank `Pool`.
#![no_std]

#[cfg(test)]
extern crate std;

mod block;
mod direct_map;
mod extents;
mod frames;
mod page_box;
mod pool;
mod range;
mod setup;
mod table;

#[cfg(test)]
mod testing;

pub use direct_map::DirectMap;
pub use frames::Frames;
pub use page_box::{PageBox, PageSlice};
pub use pool::FramePool;
pub use range::FrameRange;
pub use setup::{MAX_FIXED, MAX_RANGES, PoolError};
