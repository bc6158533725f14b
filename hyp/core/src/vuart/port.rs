//! The seam between a virtual PL011 and the console multiplexer.

use super::ring::Ring;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that a partition's output may be ahead of the board's UART, its transmit FIFO included.
pub const OUTPUT_BYTES: usize = 1024;
/// Depth of the virtual PL011's FIFOs: 16, as its peripheral id (revision 1) says.
pub const FIFO_DEPTH: usize = 16;

/// One partition's two byte streams and what passes between their ends.
///
/// The virtual PL011 (under the partition's lock) pushes `output` and pops `input`; the multiplexer
/// (under the console's lock) pops `output` and pushes `input`. Neither waits for the other's lock.
/// Zeroed memory is a valid, empty port.
#[derive(Debug, Default)]
pub struct ConsolePort {
    /// From the guest to the multiplexer. Its last [`FIFO_DEPTH`] places are the guest's transmit FIFO;
    /// the others are wire that the guest does not see.
    pub output: Ring<OUTPUT_BYTES>,
    /// From the multiplexer to the guest: the guest's receive FIFO itself.
    pub input: Ring<FIFO_DEPTH>,
    /// Set by the multiplexer while it holds more input than the FIFO took.
    input_waits: AtomicBool,
    /// What was written before this position is not the partition's: the one at its place before it wrote it.
    begins: AtomicUsize,
}

impl ConsolePort {
    /// An empty port.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            output: Ring::new(),
            input: Ring::new(),
            input_waits: AtomicBool::new(false),
            begins: AtomicUsize::new(0),
        }
    }

    /// Another partition has the port from now on: what was written so far cannot be read back any more.
    pub fn begin(&self) {
        self.begins.store(self.output.pushed(), Ordering::SeqCst);
    }

    /// Copies what was written from a position on; see [`Ring::read_back`].
    pub fn read_back(&self, from: usize, into: &mut [u8]) -> (usize, usize) {
        self.output.read_back(from.max(self.begins.load(Ordering::SeqCst)), into)
    }

    /// Whether the multiplexer holds input for which the FIFO had no room.
    #[must_use]
    #[inline]
    pub fn input_waits(&self) -> bool {
        self.input_waits.load(Ordering::SeqCst)
    }

    /// Multiplexer: says whether it holds input for which the FIFO had no room.
    ///
    /// After saying so it must try once more: the guest may have emptied the FIFO before it could see this.
    pub fn set_input_waits(&self, waits: bool) {
        self.input_waits.store(waits, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::ConsolePort;

    #[test]
    fn a_partition_at_the_same_place_does_not_have_its_predecessors_log() {
        let port = ConsolePort::new();
        assert!(b"old".iter().all(|byte| port.output.push(*byte)));
        let mut bytes = [0; 8];
        assert_eq!(port.read_back(1, &mut bytes), (1, 2));
        port.begin();
        assert_eq!(port.read_back(0, &mut bytes), (3, 0));
        assert!(port.output.push(b'n'));
        assert_eq!((port.read_back(0, &mut bytes), bytes[0]), ((3, 1), b'n'));
    }
}
