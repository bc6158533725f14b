//! The board's UART for lines that must not wait: boot checkpoints, refusals and our own faults.
//!
//! Polled and lock-free. Once the cores run, everything else goes through the console multiplexer, which
//! drives the same UART by interrupt.
#![expect(unsafe_code, reason = "UART registers during boot and in a fault")]

use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_arch::board::UartKind;

/// The data register's address, which is even, plus 1 if it is a mini UART's and not a PL011's; 0 while no UART is known.
static BASE: AtomicU64 = AtomicU64::new(0);
/// What a mini UART adds to its address.
const IS_MINI: u64 = 1;

/// PL011 flag register.
const FR: u64 = 0x18;
/// PL011 control register, and UARTEN, TXE, RXE.
const CR: u64 = 0x30;
const CR_ON: u32 = 0x301;
/// Mini UART, from its data register: line status.
const LSR: u64 = 0x14;
/// Mini UART: both directions on.
const CNTL: u64 = 0x20;
const CNTL_ON: u32 = 3;
/// Mini UART, before its data register: the bit that makes its registers answer.
const ENABLES_BEFORE: u64 = 0x3c;
/// In FR: the transmit FIFO is full. In LSR: it has room.
const ROOM: u32 = 1 << 5;

/// A polled writer to the UART.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct;

impl Direct {
    /// Names the UART's registers and turns transmission on.
    ///
    /// # Safety
    /// `base` must be the first register of a UART of this kind, mapped as device memory or with the MMU off.
    pub(crate) unsafe fn found(kind: UartKind, base: u64) {
        let on = match kind {
            UartKind::Pl011 => {
                BASE.store(base, Ordering::Relaxed);
                (CR, CR_ON)
            }
            UartKind::Mini => {
                BASE.store(base | IS_MINI, Ordering::Relaxed);
                let enables = base.wrapping_sub(ENABLES_BEFORE);
                // SAFETY: the caller's promise: the block that a mini UART is in.
                let others = unsafe { read32(enables) };
                // SAFETY: as above.
                unsafe { write32(enables, others | 1) };
                (CNTL, CNTL_ON)
            }
        };
        // SAFETY: the caller's promise.
        unsafe { write32(base.wrapping_add(on.0), on.1) };
    }

    /// Whether a UART is known.
    pub(crate) fn is_found() -> bool {
        BASE.load(Ordering::Relaxed) != 0
    }

    fn put(byte: u8) {
        let base = BASE.load(Ordering::Relaxed);
        if base == 0 {
            return;
        }
        if base & IS_MINI != 0 {
            return Self::put_to_mini(base & !IS_MINI, byte);
        }
        // SAFETY: `found` was promised a PL011 here; reading FR has no effect.
        while unsafe { read32(base.wrapping_add(FR)) } & ROOM != 0 {
            core::hint::spin_loop();
        }
        // SAFETY: as above; DR sends one byte.
        unsafe { write32(base, u32::from(byte)) };
    }

    #[cold]
    fn put_to_mini(base: u64, byte: u8) {
        // SAFETY: `found` was promised a mini UART here; reading LSR loses at most the note of an overrun.
        while unsafe { read32(base.wrapping_add(LSR)) } & ROOM == 0 {
            core::hint::spin_loop();
        }
        // SAFETY: as above; AUX_MU_IO sends one byte.
        unsafe { write32(base, u32::from(byte)) };
    }
}

impl fmt::Write for Direct {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                Self::put(b'\r');
            }
            Self::put(byte);
        }
        Ok(())
    }
}

/// Prints a line to the UART at once.
macro_rules! direct {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        // Nothing is lost that could be reported elsewhere: `Direct` does not fail.
        writeln!($crate::hw::uart::Direct, $($argument)*).unwrap_or_default();
    }};
}
pub(crate) use direct;

/// # Safety
/// `at` must be a device register.
unsafe fn write32(at: u64, value: u32) {
    // SAFETY: the caller's promise; one plain store, without write-back addressing.
    unsafe { asm!("str {:w}, [{}]", in(reg) value, in(reg) at, options(nostack, preserves_flags)) };
}

/// # Safety
/// `at` must be a device register whose reading has no unwanted effect.
unsafe fn read32(at: u64) -> u32 {
    let value: u32;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("ldr {:w}, [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags))
    };
    value
}
