//! The consoles of the boards that are known, for a boot whose device tree tells none: silence is the one answer that
//! helps nobody.

use shikiri_abi::Pa;
use shikiri_boards::BOARDS;

use crate::hw::device;

/// The first board that has a PL011 where it should be, by its identification registers, and where. On the boot core, at
/// EL2 with its vectors set and the MMU off: a read where nothing is comes back as an abort, which is no harm.
pub(crate) fn console() -> Option<(&'static str, u64)> {
    let known = BOARDS.iter().filter_map(|board| Some((board.name, board.console?)));
    known.into_iter().find(|(_, base)| is_pl011(*base))
}

/// Whether the page's last registers say PL011 (DDI 0183, 3.3: UARTPeriphID0, 1 and the four UARTPCellIDs).
fn is_pl011(base: u64) -> bool {
    const ID: [(u64, u32); 6] =
        [(0xfe0, 0x11), (0xfe4, 0x10), (0xff0, 0x0d), (0xff4, 0xf0), (0xff8, 0x05), (0xffc, 0xb1)];
    ID.iter().all(|(offset, wanted)| {
        device::probe(Pa(base.wrapping_add(*offset))).is_some_and(|found| found & 0xff == *wanted)
    })
}
