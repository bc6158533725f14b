//! The Raspberry Pi 4: what EL2 knows of the board without its device tree. All else comes from the tree.
#![no_std]
#![forbid(unsafe_code)]

/// The board, as messages name it.
pub const NAME: &str = "the Raspberry Pi 4";

/// The page of its PL011, for a boot whose tree names no console (BCM2711 ARM Peripherals, 1.2 and 11: low peripheral mode).
pub const CONSOLE: u64 = 0xfe20_1000;
