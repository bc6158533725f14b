//! QEMU's `virt`: what EL2 knows of the board without its device tree. All else comes from the tree.
#![no_std]
#![forbid(unsafe_code)]

/// The board, as messages name it.
pub const NAME: &str = "QEMU virt";

/// The page of its PL011, for a boot whose tree names no console (QEMU, `hw/arm/virt.c`, VIRT_UART0).
pub const CONSOLE: u64 = 0x0900_0000;
