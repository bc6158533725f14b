//! The mini UART of the BCM2835 and its successors (BCM2711 ARM Peripherals, 2.2), in the auxiliary block that it
//! shares with two SPI masters.
//!
//! Its clock follows the VideoCore's, so the divisor is the firmware's business (`enable_uart=1` fixes the clock and sets
//! 115,200 baud), and nothing here changes it.
#![expect(unsafe_code, reason = "the constructor takes a device's address")]

use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite, ReadWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::LineInterrupts;
use crate::pl011::POLLS;

/// The auxiliary block as far as the mini UART needs it.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(4))]
struct AuxRegisters {
    irq: ReadPure<u32>,
    enables: ReadPureWrite<u32>,
    reserved_08: [u32; 14],
    /// Reading takes a byte, writing sends one.
    io: ReadWrite<u32>,
    ier: ReadPureWrite<u32>,
    iir: ReadPureWrite<u32>,
    lcr: ReadPureWrite<u32>,
    mcr: ReadPureWrite<u32>,
    /// Reading clears the overrun bit.
    lsr: ReadWrite<u32>,
    reserved_58: [u32; 2],
    cntl: ReadPureWrite<u32>,
}

const _: () = assert!(core::mem::offset_of!(AuxRegisters, io) == 0x40);
const _: () = assert!(core::mem::offset_of!(AuxRegisters, cntl) == 0x60);

/// AUX_ENABLES: the mini UART's registers answer.
const ENABLE_MINI_UART: u32 = 1;
/// AUX_MU_IER: bytes have come in. The manual has the two the wrong way round (its errata list, and QEMU).
const IER_RECEIVE: u32 = 1;
/// AUX_MU_IER: the transmit FIFO is empty.
const IER_TRANSMIT: u32 = 2;
/// AUX_MU_IER: bits 3:2, without which nothing comes (errata list).
const IER_ALWAYS: u32 = 0xc;
/// AUX_MU_LCR: 8 bits; one bit alone would be 7 (errata list).
const LCR_8_BITS: u32 = 3;
/// AUX_MU_LSR: a byte is there.
const LSR_READY: u32 = 1;
/// AUX_MU_LSR: bytes were lost.
const LSR_OVERRUN: u32 = 2;
/// AUX_MU_LSR: the transmit FIFO takes a byte.
const LSR_ROOM: u32 = 1 << 5;
/// AUX_MU_CNTL: receiver and transmitter on, no flow control.
const CNTL_ON: u32 = 3;

/// Where the mini UART's own registers begin in the block.
const IO: usize = 0x40;

/// A mini UART.
pub struct MiniUart {
    registers: UniqueMmioPointer<'static, AuxRegisters>,
    lost: u32,
}

impl MiniUart {
    /// Takes the device at `base`, its first own register as device trees name it, in whatever state the firmware
    /// left it.
    ///
    /// # Safety
    /// `base` is the address of a mini UART's AUX_MU_IO, mapped as device memory with the auxiliary block's registers
    /// before it for as long as the machine runs; nothing else uses the UART, and nothing else writes AUX_ENABLES
    /// before [`MiniUart::start`] has returned.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>) -> Self {
        let block = base.as_ptr().wrapping_sub(IO);
        let block = NonNull::new(block).unwrap_or(base);
        // SAFETY: the caller's promise, word for word; the block is aligned to 4 bytes as its register is.
        Self { registers: unsafe { UniqueMmioPointer::new(block.cast::<AuxRegisters>()) }, lost: 0 }
    }

    /// 8 data bits, both directions on, interrupts masked; the speed stays as it is.
    pub fn start(&mut self) {
        let enables = field_shared!(self.registers, enables).read();
        field!(self.registers, enables).write(enables | ENABLE_MINI_UART);
        field!(self.registers, ier).write(0);
        field!(self.registers, lcr).write(LCR_8_BITS);
        field!(self.registers, cntl).write(CNTL_ON);
    }

    /// Sends a byte if the FIFO has room; `false` if it is full.
    #[must_use = "the byte was not sent if this is false"]
    pub fn try_put(&mut self, byte: u8) -> bool {
        let has_room = self.status() & LSR_ROOM != 0;
        if has_room {
            field!(self.registers, io).write(u32::from(byte));
        }
        has_room
    }

    /// Takes a received byte. That bytes were lost before it is counted, once however many they were.
    pub fn try_get(&mut self) -> Option<u8> {
        if self.status() & LSR_READY == 0 {
            return None;
        }
        let [byte, ..] = field!(self.registers, io).read().to_le_bytes();
        Some(byte)
    }

    /// LSR; an overrun, which reading it clears, is counted.
    fn status(&mut self) -> u32 {
        let status = field!(self.registers, lsr).read();
        self.lost = self.lost.saturating_add(u32::from(status & LSR_OVERRUN != 0));
        status
    }

    /// How often bytes were lost since the start.
    #[must_use]
    pub const fn lost(&self) -> u32 {
        self.lost
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

    /// Chooses the interrupts that reach the interrupt controller; the others are masked. They end when their reason
    /// does: there is nothing to clear.
    pub fn set_interrupts(&mut self, wanted: LineInterrupts) {
        let receive = if wanted.receive { IER_RECEIVE } else { 0 };
        let transmit = if wanted.transmit { IER_TRANSMIT } else { 0 };
        let bits = receive | transmit;
        field!(self.registers, ier).write(if bits == 0 { 0 } else { bits | IER_ALWAYS });
    }
}

#[cfg(test)]
mod tests {
    use super::MiniUart;
    use crate::LineInterrupts;
    use crate::testing::FakeBlock;

    const ENABLES: usize = 0x04;
    const IO: usize = 0x40;
    const IER: usize = 0x44;
    const LCR: usize = 0x4c;
    const LSR: usize = 0x54;
    const CNTL: usize = 0x60;
    const BAUD: usize = 0x68;

    fn fake() -> (FakeBlock, MiniUart) {
        let block = FakeBlock::new(0x1000);
        let base = core::ptr::NonNull::new(block.base().as_ptr().wrapping_add(IO)).unwrap();
        // SAFETY: a block of the test's own, used through raw pointers only.
        (block, unsafe { MiniUart::new(base) })
    }

    #[test]
    fn start_leaves_the_speed_and_the_neighbours_alone() {
        let (block, mut uart) = fake();
        block.write(ENABLES, 0b110);
        block.write(BAUD, 541);
        block.write(IER, 0xf);
        uart.start();
        assert_eq!((block.read(ENABLES), block.read(BAUD)), (0b111, 541));
        assert_eq!((block.read(IER), block.read(LCR), block.read(CNTL)), (0, 3, 3));
    }

    #[test]
    fn a_full_fifo_is_an_answer() {
        let (block, mut uart) = fake();
        assert!(!uart.try_put(b'x'));
        assert_eq!(block.read(IO), 0);
        block.write(LSR, 1 << 5);
        assert!(uart.try_put(b'x'));
        assert_eq!(block.read(IO), u32::from(b'x'));
    }

    #[test]
    fn received_bytes_come_out_and_overruns_are_counted() {
        let (block, mut uart) = fake();
        block.write(IO, u32::from(b'a'));
        assert_eq!(uart.try_get(), None);
        block.write(LSR, 0b11);
        assert_eq!(uart.try_get(), Some(b'a'));
        assert_eq!(uart.lost(), 1);
    }

    #[test]
    fn interrupts_need_the_bits_that_the_manual_forgets() {
        let (block, mut uart) = fake();
        uart.set_interrupts(LineInterrupts { receive: true, transmit: false });
        assert_eq!(block.read(IER), 0xd);
        uart.set_interrupts(LineInterrupts { receive: false, transmit: true });
        assert_eq!(block.read(IER), 0xe);
        uart.set_interrupts(LineInterrupts::default());
        assert_eq!(block.read(IER), 0);
    }
}
