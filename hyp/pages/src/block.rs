//! One 2 MiB block of RAM: who has its 512 frames.

use shikiri_abi::PAGE_SHIFT;
use zerocopy::FromZeros;

/// log2 of a block's bytes: what one level-2 descriptor maps (4 KiB granule).
pub(crate) const BLOCK_SHIFT: u32 = 21;
/// Bytes of a block.
pub(crate) const BLOCK_BYTES: u64 = 1 << BLOCK_SHIFT;
/// Frames of a block.
pub(crate) const BLOCK_PAGES: u32 = 1 << (BLOCK_SHIFT - PAGE_SHIFT);

const WORDS: usize = 8;

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub(crate) enum Kind {
    /// No frame of it belongs to the pool.
    Absent = 0,
    /// Free as a whole, in the buddy heap.
    Heap = 1,
    /// Taken as a whole, alone or in a larger extent.
    Extent = 2,
    /// Given out in frames; the bitmap says which.
    Small = 3,
}

/// The record of one block. All zero is a valid record: [`Kind::Absent`].
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct Block {
    /// One bit for each frame that cannot be taken: taken already, or not the pool's.
    used: [u64; WORDS],
    /// One bit for each frame whose token is in the pool's keeping.
    parked: [u64; WORDS],
    free: u32,
    kind: Kind,
}

impl Block {
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many of its frames are free, if it is given out in frames.
    pub(crate) const fn free(&self) -> u32 {
        self.free
    }

    /// Moves a whole block between the heap and a taken extent.
    pub(crate) const fn set_whole(&mut self, kind: Kind) {
        self.kind = kind;
        self.free = 0;
    }

    /// Makes this a block of single frames, all of them used.
    pub(crate) const fn set_small(&mut self) {
        self.used = [u64::MAX; WORDS];
        self.free = 0;
        self.kind = Kind::Small;
    }

    /// The first free run of `pages` frames (1 to 511) whose number is a multiple of `align` (a power of two
    /// up to 512). At most 512 steps; for one frame at most 8.
    pub(crate) fn find(&self, pages: u32, align: u32) -> Option<u32> {
        if pages > self.free {
            return None;
        }
        let mut at = 0;
        while at < BLOCK_PAGES {
            let start = round_up(self.next_free(at), align);
            let end = start.saturating_add(pages);
            if end > BLOCK_PAGES {
                return None;
            }
            let stop = self.next_used(start, end);
            if stop >= end {
                return Some(start);
            }
            at = stop.max(start.saturating_add(1));
        }
        None
    }

    /// Takes free frames; answers `false`, and changes nothing, if one of them is used.
    #[must_use]
    pub(crate) fn claim(&mut self, first: u32, pages: u32) -> bool {
        let is_free = set(&mut self.used, first, pages);
        if is_free {
            self.free = self.free.saturating_sub(pages);
        }
        is_free
    }

    /// Frees used frames; answers `false`, and changes nothing, if one of them is free.
    #[must_use]
    pub(crate) fn release(&mut self, first: u32, pages: u32) -> bool {
        let is_used = clear(&mut self.used, first, pages);
        if is_used {
            self.free = self.free.saturating_add(pages);
        }
        is_used
    }

    /// Notes that the frames' token is in the pool's keeping; answers `false`, and changes nothing, if one's is already.
    #[must_use]
    pub(crate) fn park(&mut self, first: u32, pages: u32) -> bool {
        set(&mut self.parked, first, pages)
    }

    /// Notes that the frames have a token again; answers `false`, and changes nothing, if one has already.
    #[must_use]
    pub(crate) fn unpark(&mut self, first: u32, pages: u32) -> bool {
        clear(&mut self.parked, first, pages)
    }

    /// The first free frame from `at` on; 512 if there is none.
    fn next_free(&self, at: u32) -> u32 {
        self.next(at, BLOCK_PAGES, |word| !word)
    }

    /// The first used frame from `at` on and before `end`; some number from `end` up if there is none.
    fn next_used(&self, at: u32, end: u32) -> u32 {
        self.next(at, end, |word| word)
    }

    /// The first frame from `at` on whose bit is set in what `of` makes of its word.
    fn next(&self, at: u32, end: u32, of: impl Fn(u64) -> u64) -> u32 {
        let mut base = at & !63;
        let mut from = u64::MAX << (at & 63);
        for word in self.used.iter().skip(word_of(at)) {
            let candidates = of(*word) & from;
            if candidates != 0 {
                return base | candidates.trailing_zeros();
            }
            from = u64::MAX;
            base = base.saturating_add(64);
            if base >= end {
                break;
            }
        }
        base
    }
}

/// Sets the bits of `pages` frames; answers `false`, and changes nothing, if one is set.
fn set(bits: &mut [u64; WORDS], first: u32, pages: u32) -> bool {
    let are_clear = words(bits, first, pages).all(|(word, mask)| *word & mask == 0);
    if are_clear {
        words(bits, first, pages).for_each(|(word, mask)| *word |= mask);
    }
    are_clear
}

/// Clears the bits of `pages` frames; answers `false`, and changes nothing, if one is clear.
fn clear(bits: &mut [u64; WORDS], first: u32, pages: u32) -> bool {
    let are_set = words(bits, first, pages).all(|(word, mask)| *word & mask == mask);
    if are_set {
        words(bits, first, pages).for_each(|(word, mask)| *word &= !mask);
    }
    are_set
}

/// The words of a bitmap that hold `pages` frames (at least one) from `first` on, each with their bits.
fn words(bits: &mut [u64; WORDS], first: u32, pages: u32) -> impl Iterator<Item = (&mut u64, u64)> {
    let last = first.saturating_add(pages.saturating_sub(1));
    let (start, end) = (word_of(first), word_of(last));
    let words = bits.iter_mut().enumerate().take(end.saturating_add(1)).skip(start);
    words.map(move |(number, word)| {
        let low = if number == start { u64::MAX << (first & 63) } else { u64::MAX };
        let high = if number == end { u64::MAX >> (63 & !last) } else { u64::MAX };
        (word, low & high)
    })
}

/// The word of the bitmap that holds a frame's bit.
fn word_of(frame: u32) -> usize {
    usize::try_from(frame >> 6).unwrap_or(WORDS)
}

fn round_up(value: u32, align: u32) -> u32 {
    value.saturating_add(align.saturating_sub(1)) & !align.saturating_sub(1)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests compute with small numbers")]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::{BLOCK_PAGES, Block, Kind};
    use zerocopy::FromZeros;

    fn with_used(used: &[bool]) -> Block {
        let mut block = Block::new_zeroed();
        assert_eq!(block.kind(), Kind::Absent);
        block.set_small();
        for (frame, used) in (0..).zip(used) {
            assert!(*used || block.release(frame, 1));
        }
        block
    }

    #[test]
    fn runs_cross_word_ends() {
        let mut block = with_used(&[false; 512]);
        assert!(block.claim(63, 66) && !block.claim(128, 1) && block.claim(129, 1));
        assert_eq!(block.find(64, 1), Some(130));
        assert_eq!(block.find(63, 1), Some(0));
        assert!(!block.release(62, 2), "frame 62 is free");
        assert!(block.release(63, 66));
        assert_eq!(block.free(), 511);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn find_answers_the_first_aligned_free_run(
            runs in prop::collection::vec((1usize..80, any::<bool>()), 1..60),
            pages in 1u32..512,
            align_shift in 0u32..10,
        ) {
            let used: Vec<bool> = runs.iter().flat_map(|(n, used)| std::iter::repeat_n(*used, *n))
                .chain(std::iter::repeat(true)).take(512).collect();
            let block = with_used(&used);
            let expected = (0..=BLOCK_PAGES - pages).step_by(1 << align_shift).find(|start| {
                (*start..*start + pages).all(|frame| !used[usize::try_from(frame).unwrap()])
            });
            prop_assert_eq!(block.find(pages, 1 << align_shift), expected);
        }
    }
}
