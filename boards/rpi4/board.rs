//! The Raspberry Pi 4.

use super::Board;

/// Its PL011 is on no pin unless the firmware is told so (`dtoverlay=disable-bt`); with `enable_uart=1` the firmware turns on the mini
/// UART, which is. BCM2711 ARM Peripherals, 1.2, 2 and 11: low peripheral mode.
pub(super) const BOARD: Board = Board {
    folder: "rpi4",
    compatible: "raspberrypi,4-model-b",
    name: "the Raspberry Pi 4",
    console: Some(0xfe20_1000),
    mini_uart: Some(0xfe21_5040),
};
