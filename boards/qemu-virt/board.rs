//! QEMU's `virt`.

use super::Board;

/// QEMU, `hw/arm/virt.c`: VIRT_UART0.
pub(super) const BOARD: Board = Board {
    folder: "qemu-virt",
    compatible: "linux,dummy-virt",
    name: "QEMU virt",
    console: Some(0x0900_0000),
    mini_uart: None,
};
