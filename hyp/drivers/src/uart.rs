//! The console's UART, of whichever kind the board has.
#![expect(unsafe_code, reason = "the constructor takes a device's address")]

use core::ptr::NonNull;

use shikiri_arch::board::UartKind;

use crate::{LineInterrupts, MiniUart, Pl011};

/// A UART that EL2 has a driver for.
pub enum Uart {
    /// Arm's PL011.
    Pl011(Pl011),
    /// The mini UART of the BCM2835.
    Mini(MiniUart),
}

impl Uart {
    /// Takes the device at `base`.
    ///
    /// # Safety
    /// As [`Pl011::new`] or [`MiniUart::new`], as `kind` says.
    #[must_use]
    pub unsafe fn new(kind: UartKind, base: NonNull<u8>) -> Self {
        match kind {
            // SAFETY: the caller's promise.
            UartKind::Pl011 => Self::Pl011(unsafe { Pl011::new(base) }),
            // SAFETY: the caller's promise.
            UartKind::Mini => Self::Mini(unsafe { MiniUart::new(base) }),
        }
    }

    /// 8 data bits, interrupts masked; the speed is the firmware's, or 115,200 baud where it has set none and the UART's
    /// clock is `clock_hz`.
    pub fn start(&mut self, clock_hz: u32) {
        match self {
            Self::Pl011(uart) => {
                // Without a divisor the line is as the firmware left it; nothing better is known.
                let _is_set = uart.start(clock_hz);
            }
            Self::Mini(uart) => uart.start(),
        }
    }

    /// Sends a byte if the FIFO has room; `false` if it is full.
    #[inline]
    #[must_use = "the byte was not sent if this is false"]
    pub fn try_put(&mut self, byte: u8) -> bool {
        match self {
            Self::Pl011(uart) => uart.try_put(byte),
            Self::Mini(uart) => uart.try_put(byte),
        }
    }

    /// Sends a byte, waiting for room. After a limit the byte is lost: the line does not move.
    #[inline]
    pub fn put(&mut self, byte: u8) {
        match self {
            Self::Pl011(uart) => uart.put(byte),
            Self::Mini(uart) => uart.put(byte),
        }
    }

    /// Takes a received byte.
    #[inline]
    pub fn try_get(&mut self) -> Option<u8> {
        match self {
            Self::Pl011(uart) => uart.try_get(),
            Self::Mini(uart) => uart.try_get(),
        }
    }

    /// Chooses the interrupts that reach the interrupt controller; the others are masked.
    pub fn set_interrupts(&mut self, wanted: LineInterrupts) {
        match self {
            Self::Pl011(uart) => uart.set_interrupts(wanted),
            Self::Mini(uart) => uart.set_interrupts(wanted),
        }
    }

    /// Ends the assertion of the interrupts that are asserted now, where that is not the FIFOs' doing. Before they are
    /// served: what comes in between asserts again.
    pub fn acknowledge(&mut self) {
        match self {
            Self::Pl011(uart) => {
                let which = uart.interrupts();
                uart.clear_interrupts(which);
            }
            Self::Mini(_) => {}
        }
    }
}
