//! The boards that are known by name. All that the hypervisor needs to know of a board comes from its device tree; here is what the
//! description compiler calls it, and where it may say that there is no tree.
#![no_std]
#![forbid(unsafe_code)]

#[path = "../qemu-virt/board.rs"]
mod qemu_virt;
#[path = "../rpi4/board.rs"]
mod rpi4;

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its folder, and what descriptions call it.
    pub folder: &'static str,
    /// The first `compatible` of its device tree's root.
    pub compatible: &'static str,
    /// What messages call it.
    pub name: &'static str,
    /// The page of a PL011, for a boot whose tree names no console.
    pub console: Option<u64>,
    /// The first register of a BCM2835 mini UART, which is better if the firmware has turned it on.
    pub mini_uart: Option<u64>,
}

/// Every board. A new one is a line here and one above.
pub const BOARDS: &[Board] = &[qemu_virt::BOARD, rpi4::BOARD];
