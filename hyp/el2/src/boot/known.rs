//! The consoles of the boards that are known, for a boot whose device tree tells none: silence is the one answer that
//! helps nobody.

use shikiri_abi::Pa;
use shikiri_arch::board::UartKind;
use shikiri_boards::{BOARDS, Board};

use crate::hw::device;

/// The first board that has a PL011 where it should be, by its identification registers, and its console: the mini UART if the
/// firmware has turned that on, else the PL011. On the boot core, at EL2 with its vectors set and the MMU off: a read where nothing is
/// comes back as an abort, which is no harm.
pub(crate) fn console() -> Option<(&'static str, UartKind, u64)> {
    let is_here = |board: &&Board| board.console.is_some_and(is_pl011);
    let board = BOARDS.iter().find(is_here)?;
    if let Some(mini) = board.mini_uart.filter(|base| is_on(*base)) {
        return Some((board.name, UartKind::Mini, mini));
    }
    Some((board.name, UartKind::Pl011, board.console?))
}

/// Whether the mini UART's registers answer (BCM2711 ARM Peripherals, 2.2: AUX_ENABLES, which comes before them).
fn is_on(mini_uart: u64) -> bool {
    const ENABLES_BEFORE: u64 = 0x3c;
    device::probe(Pa(mini_uart.wrapping_sub(ENABLES_BEFORE))).is_some_and(|bits| bits & 1 != 0)
}

/// Whether the page's last registers say PL011 (DDI 0183, 3.3: UARTPeriphID0, 1 and the four UARTPCellIDs).
fn is_pl011(base: u64) -> bool {
    const ID: [(u64, u32); 6] =
        [(0xfe0, 0x11), (0xfe4, 0x10), (0xff0, 0x0d), (0xff4, 0xf0), (0xff8, 0x05), (0xffc, 0xb1)];
    ID.iter().all(|(offset, wanted)| {
        device::probe(Pa(base.wrapping_add(*offset))).is_some_and(|found| found & 0xff == *wanted)
    })
}
