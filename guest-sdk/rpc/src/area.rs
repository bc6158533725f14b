//! Memory that both sides map, as atomic words.
//!
//! Another partition may write it at any time, so it is never a plain slice or reference: an atomic access is defined
//! whatever the other side does. Who maps the memory makes the slice of words, which is the only unsafe step and not
//! in this crate.

use crate::facade::atomic::{AtomicU64, Ordering};

/// The bytes in a word.
pub(crate) const WORD_BYTES: usize = 8;

/// A run of shared 64-bit words, in the byte order of the processor.
#[derive(Clone, Copy)]
pub struct Area<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Area<'a> {
    /// The area of these words. Both sides have to mean the same memory by it: references are offsets from its start.
    #[must_use]
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.len().saturating_mul(WORD_BYTES)
    }

    /// The word with this number.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<&'a AtomicU64> {
        self.words.get(index)
    }

    /// The part of `words` words from word number `first`, if it is inside.
    #[must_use]
    pub fn part(&self, first: usize, words: usize) -> Option<Self> {
        let end = first.checked_add(words)?;
        Some(Self { words: self.words.get(first..end)? })
    }

    /// Copies bytes to the start of the area; the rest of the last word becomes zero. Nothing is written if there is
    /// not enough room.
    pub(crate) fn write(&self, bytes: &[u8]) -> Option<()> {
        let words = self.words.get(..bytes.len().div_ceil(WORD_BYTES))?;
        for (word, chunk) in words.iter().zip(bytes.chunks(WORD_BYTES)) {
            word.store(join(chunk), Ordering::Relaxed);
        }
        Some(())
    }

    /// Copies bytes from the start of the area, each word read once. Nothing is copied if there are not so many.
    pub(crate) fn read(&self, into: &mut [u8]) -> Option<()> {
        let words = self.words.get(..into.len().div_ceil(WORD_BYTES))?;
        for (word, chunk) in words.iter().zip(into.chunks_mut(WORD_BYTES)) {
            split(word.load(Ordering::Relaxed), chunk);
        }
        Some(())
    }
}

/// The word whose first bytes in memory are these (eight at most); the others are zero.
pub(crate) fn join(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_ne_bytes(word)
}

/// The first bytes of a word as it is in memory.
pub(crate) fn split(word: u64, into: &mut [u8]) {
    for (to, from) in into.iter_mut().zip(word.to_ne_bytes()) {
        *to = from;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words<const N: usize>() -> [AtomicU64; N] {
        core::array::from_fn(|_| AtomicU64::new(u64::MAX))
    }

    #[test]
    fn bytes_come_back_and_the_rest_of_the_last_word_is_zero() {
        let words = words::<3>();
        let area = Area::new(&words);
        assert_eq!(area.write(b"eleven bits"), Some(()));
        let mut back = [1; 16];
        assert_eq!(area.read(&mut back), Some(()));
        assert_eq!(&back, b"eleven bits\0\0\0\0\0");
        assert_eq!(words[2].load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let words = words::<2>();
        let area = Area::new(&words);
        assert_eq!(area.write(&[0; 17]), None);
        assert_eq!(area.read(&mut [0; 17]), None);
        assert_eq!(words[0].load(Ordering::Relaxed), u64::MAX);
        assert!(area.part(1, 1).is_some() && area.part(1, 2).is_none());
        assert!(area.part(usize::MAX, 2).is_none() && area.word(2).is_none());
    }
}
