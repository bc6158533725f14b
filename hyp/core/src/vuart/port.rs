//! The seam between a virtual PL011 and the console multiplexer.

use super::ring::Ring;
use core::sync::atomic::{AtomicBool, Ordering};

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
}

impl ConsolePort {
    /// An empty port.
    #[must_use]
    pub const fn new() -> Self {
        Self { output: Ring::new(), input: Ring::new(), input_waits: AtomicBool::new(false) }
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
