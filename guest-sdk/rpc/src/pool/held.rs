//! Which entries of a pool this side has as values: its own memory, whatever the flags in the shared one say.

use super::MAX_BUFFERS;
use crate::facade::atomic::{AtomicU64, Ordering};

const WORDS: usize = MAX_BUFFERS / 64;

/// A bit for each entry.
pub(super) struct Held([AtomicU64; WORDS]);

impl Held {
    /// None.
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Notes that this side has an entry; false, and nothing has changed, if it had it already.
    pub(super) fn enter(&self, index: usize) -> bool {
        let (word, bit) = self.place(index);
        word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// Notes that it has it no more. What it did with the entry goes to the next one by the flag.
    pub(super) fn leave(&self, index: usize) {
        let (word, bit) = self.place(index);
        if let Some(word) = word {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether it has it.
    pub(super) fn has(&self, index: usize) -> bool {
        let (word, bit) = self.place(index);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn place(&self, index: usize) -> (Option<&AtomicU64>, u64) {
        let bit = u32::try_from(index % 64).map_or(0, |shift| 1_u64.unbounded_shl(shift));
        (self.0.get(index / 64), bit)
    }
}
