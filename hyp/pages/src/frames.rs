//! The right to a run of free frames.
#![expect(unsafe_code, reason = "the token stands for memory that nobody else reaches")]

use core::fmt;
use core::ptr::NonNull;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

use crate::direct_map::DirectMap;
use crate::range::FrameRange;

/// A run of frames that belongs to whoever holds this value, and to nobody else.
///
/// Made by a [`crate::FramePool`] only, moved from hand to hand, and given back to it. Never empty. A value
/// that is dropped is memory lost until the machine restarts: safe, and found by the tests that compare
/// [`crate::FramePool::free_pages`] before and after.
#[must_use = "frames that are dropped are lost: give them back to their pool"]
#[derive(PartialEq, Eq)]
pub struct Frames {
    base: Pa,
    pages: PageCount,
    start: NonNull<u8>,
}

// SAFETY: the value is the only way to its memory; which thread holds it does not matter.
unsafe impl Send for Frames {}
// SAFETY: `&Frames` gives no access to the memory, only its address.
unsafe impl Sync for Frames {}

impl Frames {
    /// Makes the token.
    ///
    /// # Safety
    /// The memory of the frames at `start` is mapped as [`DirectMap`] says, and nobody else has any of it.
    pub(crate) unsafe fn new(range: FrameRange, start: NonNull<u8>) -> Self {
        assert!(!range.is_empty(), "frames: an empty run at {}", range.base);
        Self { base: range.base, pages: range.pages, start }
    }

    /// The first frame's physical address.
    #[must_use]
    pub const fn base(&self) -> Pa {
        self.base
    }

    /// The number of frames.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        self.pages
    }

    /// The frames as a range.
    #[must_use]
    pub const fn range(&self) -> FrameRange {
        FrameRange { base: self.base, pages: self.pages }
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // The memory is in the address space, so its size is a `usize`.
        usize::try_from(self.pages.0.saturating_mul(PAGE_BYTES)).unwrap_or(usize::MAX)
    }

    /// The first byte in the direct map. Using it follows the rules of raw pointers.
    #[must_use]
    pub const fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Fills the frames with zero.
    ///
    /// The time is proportional to the size: large runs that a guest waits for are cleared in steps instead
    /// (`PhysMem::zero`).
    pub fn zero<M: DirectMap>(&mut self, _map: &M) {
        // SAFETY: the frames are mapped and ours alone, as this value says.
        unsafe { M::zero(self.start, self.bytes()) };
    }

    /// Splits the run into its first `pages` frames and the rest.
    ///
    /// # Errors
    /// The whole run again, if one part would be empty.
    pub fn split_at(self, pages: PageCount) -> Result<(Self, Self), Self> {
        let rest = match self.pages.0.checked_sub(pages.0) {
            None | Some(0) => return Err(self),
            Some(_) if pages.0 == 0 => return Err(self),
            Some(rest) => PageCount(rest),
        };
        let offset = pages.0.saturating_mul(PAGE_BYTES);
        let offset_bytes = usize::try_from(offset).unwrap_or(usize::MAX);
        let first = Self { base: self.base, pages, start: self.start };
        // SAFETY: `offset_bytes` is less than the run's size, so the result is inside its memory.
        let start = unsafe { self.start.add(offset_bytes) };
        Ok((first, Self { base: self.base.wrapping_add(offset), pages: rest, start }))
    }

    /// Joins this run with the one that directly follows it.
    ///
    /// # Errors
    /// Both runs again, if `next` does not start where this one ends.
    pub fn join(self, next: Self) -> Result<Self, (Self, Self)> {
        let follows = next.base == self.range().end()
            && self.start.addr().checked_add(self.bytes()) == Some(next.start.addr());
        match self.pages.0.checked_add(next.pages.0) {
            Some(pages) if follows => Ok(Self { pages: PageCount(pages), ..self }),
            _ => Err((self, next)),
        }
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frames({})", self.range())
    }
}
