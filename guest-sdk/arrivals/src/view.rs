//! Where the window region stands in the guest's own addresses.

use shikiri_abi::{Ipa, PAGE_BYTES, PageCount, WINDOWS};

/// A run of virtual addresses where the window region is mapped, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it begins.
    pub base: u64,
    /// How much of the region it shows, in bytes.
    pub bytes: u64,
}

impl View {
    /// The virtual address of so many pages from an address of the region on; `None` if the view does not show them all.
    #[inline]
    #[must_use]
    pub fn locate(self, address: Ipa, pages: PageCount) -> Option<u64> {
        let offset = address.offset_from(WINDOWS)?;
        let end = offset.checked_add(pages.bytes()?)?;
        let is_whole = offset.is_multiple_of(PAGE_BYTES) && end <= self.bytes;
        if is_whole { self.base.checked_add(offset) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::View;
    use shikiri_abi::{AreaClass, Ipa, PageCount, WINDOWS, WindowSlot};

    const VIEW: View = View { base: 0x60_0000_0000, bytes: 4 << 30 };

    #[test]
    fn a_slot_is_where_the_view_shows_it() {
        let at = |class, index: u16, pages| {
            VIEW.locate(WindowSlot { class, index }.ipa(), PageCount(pages))
        };
        assert_eq!(at(AreaClass::Page, 3, 1), Some(VIEW.base + 0x3000));
        assert_eq!(at(AreaClass::Block, 1, 512), Some(VIEW.base + (1 << 30) + (2 << 20)));
        assert_eq!(at(AreaClass::Giant, 1, 0x4_0000), Some(VIEW.base + (3 << 30)));
        assert_eq!(at(AreaClass::Giant, 2, 1), None, "behind the view");
    }

    #[test]
    fn no_number_is_a_place_outside() {
        for address in
            [0, 1, WINDOWS.0 - 4096, WINDOWS.0 + 8, WINDOWS.0 + VIEW.bytes + 4096, u64::MAX]
        {
            for pages in [0, 1, 1 << 51, u64::MAX] {
                assert_eq!(VIEW.locate(Ipa(address), PageCount(pages)), None, "{address:#x}");
            }
        }
        let slot = WindowSlot { class: AreaClass::Giant, index: 0 }.ipa();
        for pages in [0xc_0001, 1 << 51, 1 << 52, u64::MAX] {
            assert_eq!(VIEW.locate(slot, PageCount(pages)), None, "{pages}");
        }
    }
}
