//! The console: a PL011, written and read by polling.
//!
//! [`print!`](crate::print) and [`println!`](crate::println) take a lock for the whole text, so that lines of
//! several vCPUs stay whole.
#![expect(unsafe_code, reason = "names the address of the UART's registers")]

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::lock::Lock;
use crate::mmio::Registers;
use crate::platform::UART;
use crate::reg;

// SAFETY: the platform has its PL011 there; it does no DMA unless asked to.
const REGISTERS: Registers = unsafe { Registers::new(UART, 0x1000) };

const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const LINE_CONTROL: u64 = 0x2c;
const CONTROL: u64 = 0x30;
const INTERRUPT_MASK: u64 = 0x38;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;

static CONSOLE: Lock<Console> = Lock::new(Console);

/// Bytes that had to wait.
static WAITS: AtomicU64 = AtomicU64::new(0);

/// How often a panicking vCPU looks for the lock before it prints without.
const PATIENCE: u32 = 100_000;

/// The UART as a text sink.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                write_byte(b'\r');
            }
            write_byte(byte);
        }
        Ok(())
    }
}

/// Sets the UART up: 8 bits, FIFOs on, no interrupts.
pub fn init() {
    REGISTERS.write32(INTERRUPT_MASK, 0);
    REGISTERS.write32(CONTROL, 0);
    REGISTERS.write32(LINE_CONTROL, (3 << 5) | (1 << 4));
    REGISTERS.write32(CONTROL, (1 << 9) | (1 << 8) | 1);
}

/// Takes a received byte, if there is one.
#[must_use]
pub fn read_byte() -> Option<u8> {
    if REGISTERS.read32(FLAGS) & RECEIVE_EMPTY != 0 {
        return None;
    }
    let [byte, ..] = REGISTERS.read32(DATA).to_le_bytes();
    Some(byte)
}

/// How many bytes have waited until now because the transmit FIFO was full: what was written outran the line.
#[must_use]
pub fn waits() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

fn write_byte(byte: u8) {
    if REGISTERS.read32(FLAGS) & TRANSMIT_FULL == 0 {
        return REGISTERS.write32(DATA, u32::from(byte));
    }
    WAITS.fetch_add(1, Ordering::Relaxed);
    while REGISTERS.read32(FLAGS) & TRANSMIT_FULL != 0 {
        reg::yield_now();
    }
    REGISTERS.write32(DATA, u32::from(byte));
}

/// What `print!` becomes.
#[doc(hidden)]
pub fn write(text: fmt::Arguments<'_>) {
    // The sink never fails; a Display that does has written what it could.
    CONSOLE.lock().write_fmt(text).unwrap_or(());
}

/// Writes although the lock may be held by whoever panicked.
pub(crate) fn write_in_panic(text: fmt::Arguments<'_>) {
    for _ in 0..PATIENCE {
        if let Some(mut console) = CONSOLE.try_lock() {
            return console.write_fmt(text).unwrap_or(());
        }
        reg::yield_now();
    }
    Console.write_fmt(text).unwrap_or(());
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::write(::core::format_args!($($argument)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($rest:tt)*) => {
        $crate::console::write(::core::format_args!(
            "{}\n", ::core::format_args!($format $($rest)*)
        ))
    };
}
