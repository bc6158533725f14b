//! Ranges of physical frames, and what is left of them without reserved ones.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

/// A run of whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameRange {
    /// The first frame's address, a multiple of 4 KiB.
    pub base: Pa,
    /// The number of frames.
    pub pages: PageCount,
}

impl FrameRange {
    /// The frames that lie *entirely* inside the bytes from `start` to `end`: for RAM.
    #[must_use]
    pub const fn inside(start: Pa, end: Pa) -> Self {
        let base = round_up(start.0);
        let end = end.0 & !(PAGE_BYTES - 1);
        Self { base: Pa(base), pages: PageCount(end.saturating_sub(base) / PAGE_BYTES) }
    }

    /// The frames that *touch* the bytes from `start` to `end`: for what must be left alone.
    #[must_use]
    pub const fn covering(start: Pa, end: Pa) -> Self {
        let base = start.page_base();
        let bytes = round_up(end.0).saturating_sub(base.0);
        let is_empty = end.0 <= start.0;
        Self { base, pages: PageCount(if is_empty { 0 } else { bytes / PAGE_BYTES }) }
    }

    /// One past the last byte. Saturates at 2^64 − 1, which no frame reaches.
    #[must_use]
    pub const fn end(self) -> Pa {
        Pa(self.base.0.saturating_add(self.pages.0.saturating_mul(PAGE_BYTES)))
    }

    /// Whether the range holds no frame.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.pages.0 == 0
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.base.0 <= other.base.0 && other.end().0 <= self.end().0
    }

    /// Whether the ranges share a frame.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.base.0 < other.end().0
            && other.base.0 < self.end().0
    }
}

impl fmt::Display for FrameRange {
    /// Writes `pa:0x40000000-0x401fffff`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:#x}", self.base, self.end().0.saturating_sub(1))
    }
}

/// The first run of frames at or after `from` and before `end` that no reserved range touches.
///
/// The reserved ranges may overlap and stand in any order; the work is their number squared at most.
pub(crate) fn next_free(
    from: Pa,
    end: Pa,
    reserved: impl Iterator<Item = FrameRange> + Clone,
) -> Option<FrameRange> {
    let mut start = from;
    // Each round moves past a reserved range for good, so the rounds are at most their number.
    while let Some(taken) = reserved
        .clone()
        .find(|taken| !taken.is_empty() && taken.base.0 <= start.0 && start.0 < taken.end().0)
    {
        start = taken.end();
    }
    let stop = reserved
        .filter(|taken| !taken.is_empty() && taken.base.0 > start.0)
        .map(|taken| taken.base.0)
        .fold(end.0, u64::min);
    let free = FrameRange::inside(start, Pa(stop));
    (!free.is_empty()).then_some(free)
}

const fn round_up(address: u64) -> u64 {
    address.saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests compute with small numbers")]
mod tests {
    use shikiri_abi::{Pa, PageCount};
    use std::format;
    use std::vec::Vec;

    use super::{FrameRange, next_free};

    fn pages(base: u64, pages: u64) -> FrameRange {
        FrameRange { base: Pa(base * 0x1000), pages: PageCount(pages) }
    }

    #[test]
    fn ram_shrinks_and_reservations_grow_to_whole_frames() {
        assert_eq!(FrameRange::inside(Pa(1), Pa(0x2fff)), pages(1, 1));
        assert!(FrameRange::inside(Pa(1), Pa(0xfff)).is_empty());
        assert_eq!(FrameRange::covering(Pa(0x1fff), Pa(0x2001)), pages(1, 2));
        assert!(FrameRange::covering(Pa(0x1800), Pa(0x1800)).is_empty());
        assert_eq!(format!("{}", pages(1, 2)), "pa:0x1000-0x2fff");
    }

    #[test]
    fn free_runs_are_what_overlapping_reservations_leave() {
        let reserved = [pages(4, 2), pages(0, 1), pages(5, 3), pages(12, 0), pages(20, 9)];
        let mut free = Vec::new();
        let mut from = Pa(0);
        while let Some(run) = next_free(from, Pa(0x16_000), reserved.into_iter()) {
            from = run.end();
            free.push(run);
        }
        assert_eq!(free, [pages(1, 3), pages(8, 12)]);
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        assert!(!pages(1, 2).overlaps(pages(3, 1)) && pages(1, 3).overlaps(pages(3, 1)));
        assert!(!pages(1, 3).overlaps(pages(2, 0)));
        assert!(pages(1, 3).contains(pages(2, 2)) && !pages(1, 3).contains(pages(2, 3)));
    }
}
