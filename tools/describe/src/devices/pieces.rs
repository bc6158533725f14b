//! Register regions, cut at page borders.

use shikiri_abi::PAGE_BYTES;

use crate::board::Range;

/// A part of a register region: whole pages, or a part of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Guest address.
    pub(crate) ipa: u64,
    /// Physical address.
    pub(crate) pa: u64,
    /// Size.
    pub(crate) bytes: u64,
    /// It shares its page.
    pub(crate) moderated: bool,
}

/// Cuts a region at page borders: a partial page at its start or end is moderated, the rest is mapped.
pub(super) fn cut(range: Range, ipa: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut at, end) = (range.start, range.end());
    while at < end {
        let page = at & !(PAGE_BYTES - 1);
        let whole_end = end & !(PAGE_BYTES - 1);
        let (next, moderated) = if at != page || whole_end <= at {
            (end.min(page.saturating_add(PAGE_BYTES)), true)
        } else {
            (whole_end, false)
        };
        pieces.push(Piece {
            ipa: ipa.saturating_add(at - range.start),
            pa: at,
            bytes: next - at,
            moderated,
        });
        at = next;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Piece, cut};
    use crate::board::Range;

    #[test]
    fn a_region_is_cut_into_whole_pages_and_moderated_ends() {
        let pieces = cut(Range { start: 0x1e00, bytes: 0x2400 }, 0x5_0e00);
        let expected = [
            Piece { ipa: 0x5_0e00, pa: 0x1e00, bytes: 0x200, moderated: true },
            Piece { ipa: 0x5_1000, pa: 0x2000, bytes: 0x2000, moderated: false },
            Piece { ipa: 0x5_3000, pa: 0x4000, bytes: 0x200, moderated: true },
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn whole_pages_stay_whole() {
        let pieces = cut(Range { start: 0x1000, bytes: 0x1000 }, 0x1000);
        assert_eq!(pieces, [Piece { ipa: 0x1000, pa: 0x1000, bytes: 0x1000, moderated: false }]);
    }

    #[test]
    fn a_slot_within_a_page_is_moderated() {
        let pieces = cut(Range { start: 0x1200, bytes: 0x200 }, 0x1200);
        assert_eq!(pieces, [Piece { ipa: 0x1200, pa: 0x1200, bytes: 0x200, moderated: true }]);
    }
}
