//! What is noted at a partition that is made: what it was made of, for whoever makes policy later. The hypervisor keeps it as long as the
//! partition, and knows nothing of it.

use shikiri_abi::PartitionRef;

use super::{Calls, Door, NOTE_READ, NOTE_SET, text};
use crate::refusal::Refusal;
use crate::words::MOST_NOTE;

/// The bytes of a piece.
const PIECE: usize = 16;
/// How many there are.
const PIECES: usize = MOST_NOTE / PIECE;

impl<C: Calls> Door<C> {
    /// Notes a text, of [`MOST_NOTE`] bytes at most, at a partition that was just created.
    pub(super) fn set_note(&self, it: PartitionRef, note: &str) -> Result<(), Refusal> {
        for (piece, bytes) in (0..).zip(note.as_bytes().chunks(PIECE)) {
            let mut words = [0; 2];
            for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
                let mut whole = [0; 8];
                whole.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                *word = u64::from_le_bytes(whole);
            }
            let [first, second] = words;
            let x = [it.encode(), piece, first, second, 0, 0];
            self.call(("note", Some(it)), NOTE_SET, x)?;
        }
        Ok(())
    }

    /// What is noted at a partition that was made; empty if nothing is.
    pub(super) fn note(&self, it: PartitionRef) -> Result<String, Refusal> {
        let mut note = Vec::new();
        for piece in (0..).take(PIECES) {
            let x = [it.encode(), piece, 0, 0, 0, 0];
            let [first, second, _] = self.call(("note", Some(it)), NOTE_READ, x)?;
            let words = [first, second];
            note.extend(words);
            if words.iter().any(|word| word.to_le_bytes().contains(&0)) {
                break;
            }
        }
        Ok(text(&note))
    }
}
