//! The console's device, a PL011 where QEMU's `virt` has it.
#![expect(unsafe_code, reason = "names the address of the device")]

use shikiri_scos_core::{Receiver, take_typed};

use super::device::Registers;

/// The block of 2 MiB that it is mapped with.
pub(super) const BLOCK: u64 = 0x0900_0000;
/// Its interrupt: SPI 1.
pub(super) const INTID: u32 = 33;

// SAFETY: the platform has the PL011 there; it does no DMA.
const UART: Registers = unsafe { Registers::new(BLOCK) };

const DR: u64 = 0x00;
const FR: u64 = 0x18;
const LCR_H: u64 = 0x2c;
const CR: u64 = 0x30;
const IMSC: u64 = 0x38;
const ICR: u64 = 0x44;
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;

/// Turns it on, with its FIFOs and its receive interrupts.
pub(super) fn init() {
    UART.write(ICR, 0x7ff);
    UART.write(LCR_H, 0x70);
    UART.write(IMSC, (1 << 4) | (1 << 6));
    UART.write(CR, 0x301);
}

/// Sends bytes, waiting for room.
pub(crate) fn write_bytes(bytes: &[u8]) {
    for byte in bytes {
        while UART.read(FR) & TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        UART.write(DR, u32::from(*byte));
    }
}

/// Takes what was typed: see [`take_typed`].
pub(crate) fn read_bytes(bytes: &mut [u8]) -> (usize, bool) {
    take_typed(&mut Typed, bytes)
}

/// The receive FIFO.
struct Typed;

impl Receiver for Typed {
    fn is_empty(&mut self) -> bool {
        UART.read(FR) & RECEIVE_EMPTY != 0
    }

    fn clear(&mut self) {
        UART.write(ICR, (1 << 4) | (1 << 6));
    }

    fn take(&mut self) -> u8 {
        (UART.read(DR) & 0xff) as u8
    }
}
