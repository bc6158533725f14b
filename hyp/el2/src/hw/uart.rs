//! The board's UART for lines that must not wait: boot checkpoints, refusals and our own faults.
//!
//! Polled and lock-free. Once the cores run, everything else goes through the console multiplexer, which
//! drives the same UART by interrupt.
#![expect(unsafe_code, reason = "UART registers during boot and in a fault")]

use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// The data register's address; 0 while no UART is known.
static BASE: AtomicU64 = AtomicU64::new(0);

/// PL011 flag register.
const FR: u64 = 0x18;
/// FR.TXFF: the transmit FIFO is full.
const TXFF: u32 = 1 << 5;
/// PL011 control register, and UARTEN, TXE, RXE.
const CR: u64 = 0x30;
const CR_ON: u32 = 0x301;

/// A polled writer to the UART.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct;

impl Direct {
    /// Names the UART's registers and turns transmission on.
    ///
    /// # Safety
    /// `base` must be a PL011's register page, mapped as device memory or with the MMU off.
    pub(crate) unsafe fn found(base: u64) {
        BASE.store(base, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { write32(base.wrapping_add(CR), CR_ON) };
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
        // SAFETY: `found` was promised a PL011 here; reading FR has no effect.
        while unsafe { read32(base.wrapping_add(FR)) } & TXFF != 0 {
            core::hint::spin_loop();
        }
        // SAFETY: as above; DR sends one byte.
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
