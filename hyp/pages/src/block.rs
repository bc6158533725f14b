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
    /// Free as a whole, alone or in a larger extent.
    Free = 1,
    /// Taken as a whole, alone or in a larger extent.
    Extent = 2,
    /// Given out in frames; the bitmap says which.
    Small = 3,
}

/// The record of one block. All zero is a valid record: [`Kind::Absent`].
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct Block {
    /// Of a block of frames: one bit for each frame that cannot be taken: taken already, or not the pool's. Of the
    /// first block of a free extent: the numbers of those before and behind it in its list.
    used: [u64; WORDS],
    /// One bit for each frame whose token is in the pool's keeping.
    parked: [u64; WORDS],
    free: u32,
    kind: Kind,
    /// log2 of the blocks of the free extent that begins here.
    class: u8,
}

impl Block {
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many of its frames are free, if it is given out in frames.
    pub(crate) const fn free(&self) -> u32 {
        self.free
    }

    /// The class of the free extent that begins here. Only right for a block at whose address one can begin that is
    /// as large as the one asked about.
    pub(crate) fn extent_class(&self) -> Option<u32> {
        (self.kind == Kind::Free).then_some(u32::from(self.class))
    }

    /// Makes this the first block of a free extent: its class, and who stands before and behind it in the list.
    pub(crate) fn enter(&mut self, class: u32, (previous, next): (usize, usize)) {
        self.class = u8::try_from(class).unwrap_or(u8::MAX);
        self.set_previous(previous);
        self.set_next(next);
    }

    /// Who stands before and behind this extent in the list.
    pub(crate) fn links(&self) -> (usize, usize) {
        let [previous, next, ..] = self.used;
        (from_word(previous), from_word(next))
    }

    pub(crate) fn set_previous(&mut self, index: usize) {
        let [previous, ..] = &mut self.used;
        *previous = to_word(index);
    }

    pub(crate) fn set_next(&mut self, index: usize) {
        let [_, next, ..] = &mut self.used;
        *next = to_word(index);
    }

    /// Moves a whole block between a free and a taken extent.
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

    /// The first free run of `pages` frames (1 to 511) whose number is a multiple of `align` (a power of two up to
    /// 512), and how many frames it has. If no run is that long: the first of the largest power of two, wherever it begins.
    ///
    /// At most nine rounds over the bitmap: the work does not grow with the number of runs.
    pub(crate) fn find(&self, pages: u32, align: u32) -> Option<(u32, u32)> {
        // As a rule it is there where the first free frame is.
        if let Some(frame) = first(self.used.iter().map(|word| !word), align)
            && self.is_free(frame, pages)
        {
            return Some((frame, pages));
        }
        // One bit for each frame with which `long` free ones begin.
        let (mut starts, mut long) = (self.used.map(|word| !word), 1u32);
        while long < pages {
            let by = long.min(pages.saturating_sub(long));
            let longer = with_later(&starts, by);
            if longer.iter().all(|word| *word == 0) {
                return first(starts, 1).map(|frame| (frame, long));
            }
            (starts, long) = (longer, long.saturating_add(by));
        }
        first(starts, align).map(|frame| (frame, long))
    }

    /// Whether all of these frames are there and can be taken.
    fn is_free(&self, frame: u32, pages: u32) -> bool {
        frame.saturating_add(pages) <= BLOCK_PAGES
            && words(&mut self.used.clone(), frame, pages).all(|(word, mask)| *word & mask == 0)
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
}

/// The bits of which the one `by` frames further is set as well.
fn with_later(bits: &[u64; WORDS], by: u32) -> [u64; WORDS] {
    let word = |number: usize| bits.get(number).copied().unwrap_or(0);
    let (skip, shift) = (word_of(by), by & 63);
    core::array::from_fn(|number| {
        let later = number.saturating_add(skip);
        let (low, high) = (word(later), word(later.saturating_add(1)));
        // Two shifts: one by all 64 bits does not exist.
        word(number) & (low >> shift | high << 1 << (63 & !shift))
    })
}

/// The first set bit whose number is a multiple of `align`, a power of two.
fn first(bits: impl IntoIterator<Item = u64>, align: u32) -> Option<u32> {
    // Those of a word: 2^64 - 1 divided by 2^align - 1 has each `align`th bit.
    let spread = 1u64.checked_shl(align).map(|next| next.saturating_sub(1));
    let aligned = spread.and_then(|spread| u64::MAX.checked_div(spread)).unwrap_or(1);
    let mut base = 0u32;
    for word in bits {
        let word = word & aligned;
        if word != 0 && base & align.saturating_sub(1) & !63 == 0 {
            return Some(base | word.trailing_zeros());
        }
        base = base.saturating_add(64);
    }
    None
}

fn to_word(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

fn from_word(word: u64) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}

/// Sets the bits of `pages` frames; answers `false`, and changes nothing, if one is set.
fn set(bits: &mut [u64; WORDS], first: u32, pages: u32) -> bool {
    turn(bits, first, pages, 0)
}

/// Clears the bits of `pages` frames; answers `false`, and changes nothing, if one is clear.
fn clear(bits: &mut [u64; WORDS], first: u32, pages: u32) -> bool {
    turn(bits, first, pages, u64::MAX)
}

/// Turns the bits of `pages` frames over if they are as in `from`.
fn turn(bits: &mut [u64; WORDS], first: u32, pages: u32, from: u64) -> bool {
    let are_so = words(bits, first, pages).all(|(word, mask)| (*word ^ from) & mask == 0);
    if are_so {
        words(bits, first, pages).for_each(|(word, mask)| *word ^= mask);
    }
    are_so
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
        assert_eq!(block.find(64, 1), Some((130, 64)));
        assert_eq!(block.find(63, 1), Some((0, 63)));
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
            let found = block.find(pages, 1 << align_shift);
            prop_assert_eq!(found.filter(|(_, long)| *long == pages).map(|(frame, _)| frame), expected);
            let longest = used.split(|used| *used).map(<[bool]>::len).max().unwrap_or(0);
            if longest >= usize::try_from(pages).unwrap() {
                return Ok(());
            }
            let rounded = longest.checked_ilog2().map(|shift| 1usize << shift);
            let first = rounded.and_then(|long| used.windows(long).position(|run| run.iter().all(|used| !used)));
            let found = found.map(|(frame, long)| (usize::try_from(frame).unwrap(), usize::try_from(long).unwrap()));
            prop_assert_eq!(found, first.zip(rounded), "the longest run has {}", longest);
        }
    }
}
