//! The board's PL011 UART (Arm DDI 0183).
//!
//! Two ways of sending: polled with a limit, for boot and for the last words of a panic; and one byte if there
//! is room, for the console multiplexer, which then waits for the transmit interrupt.
#![expect(unsafe_code, reason = "the constructor takes a device's address")]

use core::fmt;
use core::ptr::NonNull;

use arm_pl011_uart::{
    DataBits, FifoLevel, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart,
};
use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;

/// Polls of a full FIFO before a byte is given up: over a second on any board, so that a line that stands
/// still delays the boot but cannot stop it.
pub(crate) const POLLS: u32 = 10_000_000;
const BAUD: u32 = 115_200;
/// UARTIBRD, the integer part of the divisor; 0 after reset.
const IBRD: usize = 0x24;

/// Which of the two kinds of interrupts are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineInterrupts {
    /// Bytes have come in, or have waited for a while.
    pub receive: bool,
    /// The transmit FIFO has fallen to half or below.
    pub transmit: bool,
}

impl LineInterrupts {
    fn to_bits(self) -> Interrupts {
        let mut bits = Interrupts::empty();
        bits.set(Interrupts::RXI | Interrupts::RTI, self.receive);
        bits.set(Interrupts::TXI, self.transmit);
        bits
    }
}

/// A PL011.
pub struct Pl011 {
    uart: Uart<'static>,
    /// The firmware has set a speed.
    has_speed: bool,
    lost: u32,
}

impl Pl011 {
    /// Takes the device at `base`, in whatever state the firmware left it.
    ///
    /// # Safety
    /// `base` is the address of a PL011's register block, 4 KiB, mapped as device memory for as long as the
    /// machine runs (or not mapped at all while the MMU is off), and nothing else uses it.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>) -> Self {
        let divisor = NonNull::new(base.as_ptr().wrapping_add(IBRD)).unwrap_or(base);
        // SAFETY: a register of the block, aligned; the pointer is gone before the block's is made.
        let divisor = unsafe { UniqueMmioPointer::new(divisor.cast::<ReadPureWrite<u32>>()) };
        let has_speed = divisor.read() != 0;
        // SAFETY: the caller's promise, word for word.
        let registers = unsafe { UniqueMmioPointer::new(base.cast::<PL011Registers>()) };
        Self { uart: Uart::new(registers), has_speed, lost: 0 }
    }

    /// Sets 115,200 baud, 8 data bits, no parity, one stop bit, FIFOs on, interrupts masked. Where the firmware has set
    /// a speed, the line stays as it is: device trees do not always tell the UART's clock.
    ///
    /// Answers `false`, and leaves the line alone, if no divisor exists for `clock_hz`, the UART's input clock.
    pub fn start(&mut self, clock_hz: u32) -> bool {
        let line = LineConfig {
            data_bits: DataBits::Bits8,
            parity: Parity::None,
            stop_bits: StopBits::One,
        };
        self.uart.set_interrupt_masks(Interrupts::empty());
        let is_set = self.has_speed || self.uart.enable(line, BAUD, clock_hz).is_ok();
        self.uart.set_interrupt_fifo_levels(FifoLevel::Bytes4, FifoLevel::Bytes16);
        self.uart.clear_interrupts(Interrupts::all());
        is_set
    }

    /// Sends a byte if the FIFO has room; `false` if it is full.
    #[inline]
    #[must_use = "the byte was not sent if this is false"]
    pub fn try_put(&mut self, byte: u8) -> bool {
        let has_room = !self.uart.is_tx_fifo_full();
        if has_room {
            self.uart.write_word(byte);
        }
        has_room
    }

    /// Sends a byte, waiting for room. After a limit the byte is lost: the line does not move.
    pub fn put(&mut self, byte: u8) {
        for _ in 0..POLLS {
            if self.try_put(byte) {
                return;
            }
            shikiri_sync::relax();
        }
        self.lost = self.lost.saturating_add(1);
    }

    /// Takes a received byte. Bytes with a line error (break, parity, framing, overrun) are counted as lost
    /// and skipped; at most a FIFO's worth of them for each call.
    #[inline]
    pub fn try_get(&mut self) -> Option<u8> {
        for _ in 0..32 {
            match self.uart.read_word() {
                Ok(byte) => return byte,
                Err(_) => self.lost = self.lost.saturating_add(1),
            }
        }
        None
    }

    /// Bytes that were lost, in either direction, since the start.
    #[must_use]
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// Chooses the interrupts that reach the interrupt controller; the others are masked.
    pub fn set_interrupts(&mut self, wanted: LineInterrupts) {
        self.uart.set_interrupt_masks(wanted.to_bits());
    }

    /// Which of the chosen interrupts are asserted now.
    #[must_use]
    pub fn interrupts(&self) -> LineInterrupts {
        let status = self.uart.masked_interrupt_status();
        LineInterrupts {
            receive: status.intersects(Interrupts::RXI | Interrupts::RTI),
            transmit: status.contains(Interrupts::TXI),
        }
    }

    /// Ends the assertion of interrupts. Before the FIFOs are served: what comes in between asserts again.
    pub fn clear_interrupts(&mut self, which: LineInterrupts) {
        self.uart.clear_interrupts(which.to_bits());
    }
}

impl fmt::Write for Pl011 {
    /// Sends the text, waiting for room, with a carriage return before each line feed.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::{LineInterrupts, Pl011};
    use crate::testing::FakeBlock;

    const DR: usize = 0x00;
    const FR: usize = 0x18;
    const IBRD: usize = 0x24;
    const FBRD: usize = 0x28;
    const LCRH: usize = 0x2c;
    const CR: usize = 0x30;
    const IFLS: usize = 0x34;
    const IMSC: usize = 0x38;
    const MIS: usize = 0x40;
    const ICR: usize = 0x44;

    fn fake() -> (FakeBlock, Pl011) {
        let block = FakeBlock::new(0x1000);
        // SAFETY: a block of the test's own, used through raw pointers only.
        (block, unsafe { Pl011::new(block.base()) })
    }

    #[test]
    fn start_sets_the_line_and_masks_all_interrupts() {
        let (block, mut uart) = fake();
        block.write(IMSC, 0x7ff);
        assert!(uart.start(24_000_000));
        // 24 MHz / (16 × 115,200) = 13.02: 13 + 1/64.
        assert_eq!((block.read(IBRD), block.read(FBRD)), (13, 1));
        assert_eq!((block.read(LCRH), block.read(CR)), (0x70, 0x301));
        assert_eq!((block.read(IMSC), block.read(ICR)), (0, 0x7ff));
        assert_eq!(block.read(IFLS), 0b00_0010, "receive at 1/8, transmit at 1/2");
    }

    #[test]
    fn the_firmwares_speed_is_kept() {
        let block = FakeBlock::new(0x1000);
        block.write(IBRD, 26);
        block.write(LCRH, 0x70);
        // SAFETY: a block of the test's own, used through raw pointers only.
        let mut uart = unsafe { Pl011::new(block.base()) };
        assert!(uart.start(24_000_000));
        assert_eq!((block.read(IBRD), block.read(LCRH)), (26, 0x70));
        assert_eq!((block.read(IMSC), block.read(ICR)), (0, 0x7ff));
    }

    #[test]
    fn a_clock_that_is_too_slow_leaves_the_line_alone() {
        let (block, mut uart) = fake();
        block.write(LCRH, 0x60);
        assert!(!uart.start(100));
        assert_eq!((block.read(IBRD), block.read(LCRH)), (0, 0x60));
    }

    #[test]
    fn a_full_fifo_is_an_answer() {
        let (block, mut uart) = fake();
        block.write(FR, 1 << 5);
        assert!(!uart.try_put(b'x'));
        assert_eq!(block.read(DR), 0);
        block.write(FR, 0);
        assert!(uart.try_put(b'x'));
        assert_eq!(block.read(DR), u32::from(b'x'));
    }

    #[test]
    fn received_bytes_come_out_and_errors_are_counted() {
        let (block, mut uart) = fake();
        block.write(FR, 1 << 4);
        assert_eq!(uart.try_get(), None);
        block.write(FR, 0);
        block.write(DR, u32::from(b'a'));
        assert_eq!(uart.try_get(), Some(b'a'));
        block.write(DR, 1 << 10);
        assert_eq!(uart.try_get(), None, "a line held in break must not hold the caller");
        assert_eq!(uart.lost(), 32);
    }

    #[test]
    fn interrupts_are_chosen_shown_and_cleared_by_kind() {
        let (block, mut uart) = fake();
        let receive = LineInterrupts { receive: true, transmit: false };
        uart.set_interrupts(receive);
        assert_eq!(block.read(IMSC), 0x50);
        uart.set_interrupts(LineInterrupts { transmit: true, ..receive });
        assert_eq!(block.read(IMSC), 0x70);
        block.write(MIS, 0x40);
        assert_eq!(uart.interrupts(), receive);
        uart.clear_interrupts(LineInterrupts { receive: false, transmit: true });
        assert_eq!(block.read(ICR), 0x20);
    }

    #[test]
    fn text_ends_its_lines_for_a_terminal() {
        let (block, mut uart) = fake();
        assert_eq!(uart.write_str("a\n"), Ok(()));
        assert_eq!(block.read(DR), u32::from(b'\n'));
    }
}
