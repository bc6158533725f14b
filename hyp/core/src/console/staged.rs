//! Bytes that are decided but that the board's UART has not yet taken.

/// Room for a line break, a coloured prefix with the longest name, and a character.
const STAGED_BYTES: usize = 64;

/// A short queue that is filled only when it is empty, and emptied from its front.
#[derive(Debug)]
pub(super) struct Staged {
    bytes: [u8; STAGED_BYTES],
    next: usize,
    end: usize,
}

impl Staged {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; STAGED_BYTES], next: 0, end: 0 }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.next == self.end
    }

    /// Writes `byte` at once if nothing is before it and the sink has room, else remembers it.
    #[inline]
    pub(super) fn emit(&mut self, byte: u8, sink: &mut (impl FnMut(u8) -> bool + ?Sized)) {
        if self.is_empty() && sink(byte) {
            return;
        }
        // The queue is empty when a step begins, and no step stages more than it holds.
        if let Some(slot) = self.bytes.get_mut(self.end) {
            *slot = byte;
            self.end = self.end.saturating_add(1);
        }
    }

    /// Writes what is remembered; returns whether all of it went.
    #[inline]
    pub(super) fn flush(&mut self, sink: &mut (impl FnMut(u8) -> bool + ?Sized)) -> bool {
        while self.next < self.end {
            let byte = self.bytes.get(self.next).copied().unwrap_or(b'?');
            if !sink(byte) {
                return false;
            }
            self.next = self.next.saturating_add(1);
        }
        self.next = 0;
        self.end = 0;
        true
    }
}
