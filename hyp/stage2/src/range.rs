//! Ranges of IPAs, and how far a bounded step came.

use crate::{Format, MapError};
use shikiri_abi::{Ipa, PAGE_BYTES, PageCount};

/// A page-aligned, non-empty range of IPAs inside the address space; checked when made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpaRange {
    start: u64,
    end: u64,
}

impl IpaRange {
    /// Checks a range of pages.
    ///
    /// # Errors
    /// [`MapError::Alignment`] if the start is no page's, [`MapError::Range`] if it is empty or passes the
    /// end of the address space.
    pub fn new(format: Format, start: Ipa, pages: PageCount) -> Result<Self, MapError> {
        if !start.is_aligned(PAGE_BYTES) {
            return Err(MapError::Alignment);
        }
        let end = pages.bytes().and_then(|bytes| start.0.checked_add(bytes));
        match end {
            Some(end) if end > start.0 && end <= format.ipa_end() => {
                Ok(Self { start: start.0, end })
            }
            Some(_) | None => Err(MapError::Range),
        }
    }

    /// The whole address space.
    #[must_use]
    pub(crate) const fn whole(format: Format) -> Self {
        Self { start: 0, end: format.ipa_end() }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> Ipa {
        Ipa(self.start)
    }

    /// One past the last address.
    #[must_use]
    pub const fn end(self) -> Ipa {
        Ipa(self.end)
    }

    /// The part from `at` on; `None` if nothing is left. `at` comes from [`Progress::StoppedAt`].
    #[must_use]
    pub const fn from(self, at: Ipa) -> Option<Self> {
        if at.0 >= self.end {
            return None;
        }
        let start = if at.0 > self.start { at.0 } else { self.start };
        Some(Self { start, end: self.end })
    }

    /// The part below `at`, which lies inside the range.
    pub(crate) const fn up_to(self, at: Ipa) -> Self {
        Self { start: self.start, end: at.0 }
    }
}

/// How far a bounded step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// The whole range is done.
    Done,
    /// The budget is used up: everything below this address is done. Go on with [`IpaRange::from`].
    StoppedAt(Ipa),
}
