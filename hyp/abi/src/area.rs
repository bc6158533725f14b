//! Message areas as a guest sees them: their sizes, and where they lie in its IPA space (C3).
//!
//! A partition that may have areas has one *window region* above everything else. It consists of *slots* of
//! three sizes; an area is mapped at exactly one slot of exactly one partition. Both sides compute addresses from this page.

use crate::{Ipa, PAGE_SHIFT, PageCount};

/// Where the window region starts: 512 GiB, so that it needs a 40-bit IPA space and ends with it.
pub const WINDOWS: Ipa = Ipa(0x80_0000_0000);

const GIB: u64 = 1 << 30;

/// The size of a slot: the smallest one that holds an area is the area's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AreaClass {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Block,
    /// 1 GiB.
    Giant,
}

impl AreaClass {
    /// All of them, by size.
    pub const ALL: [Self; 3] = [Self::Page, Self::Block, Self::Giant];

    /// The number in calls: 0, 1 or 2.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Page => 0,
            Self::Block => 1,
            Self::Giant => 2,
        }
    }

    /// The class with this number.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Page),
            1 => Some(Self::Block),
            2 => Some(Self::Giant),
            _ => None,
        }
    }

    /// log2 of a slot's bytes.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::Page => 12,
            Self::Block => 21,
            Self::Giant => 30,
        }
    }

    /// The pages of a slot: the most that an area of this class has.
    #[must_use]
    pub const fn pages(self) -> PageCount {
        PageCount(1_u64.wrapping_shl(self.shift().wrapping_sub(PAGE_SHIFT)))
    }

    /// The class of an area of so many pages; `None` for none, and above 1 GiB.
    #[must_use]
    pub const fn holding(pages: PageCount) -> Option<Self> {
        match pages.0 {
            1 => Some(Self::Page),
            2..=512 => Some(Self::Block),
            513..=0x4_0000 => Some(Self::Giant),
            _ => None,
        }
    }

    /// The most translation tables that an area of this class needs, if its frames are scattered.
    #[must_use]
    pub const fn most_tables(self) -> u64 {
        match self {
            Self::Page => 0,
            Self::Block => 1,
            Self::Giant => 513,
        }
    }

    /// The most translation tables that an area of this class and so many pages needs.
    #[must_use]
    pub const fn tables_of(self, pages: PageCount) -> u64 {
        match self {
            Self::Page => 0,
            Self::Block => 1,
            Self::Giant => pages.0.div_ceil(512).saturating_add(1),
        }
    }

    /// The most slots that a partition can have.
    #[must_use]
    pub const fn most_slots(self) -> u16 {
        match self {
            Self::Page => 4096,
            Self::Block => 512,
            Self::Giant => 510,
        }
    }

    /// Where the first slot lies.
    const fn start(self) -> Ipa {
        match self {
            Self::Page => WINDOWS,
            Self::Block => Ipa(WINDOWS.0 + GIB),
            Self::Giant => Ipa(WINDOWS.0 + 2 * GIB),
        }
    }
}

/// A place in the window region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowSlot {
    /// The size.
    pub class: AreaClass,
    /// Which one, below [`AreaClass::most_slots`].
    pub index: u16,
}

impl WindowSlot {
    /// Its address.
    #[must_use]
    pub fn ipa(self) -> Ipa {
        self.class.start().wrapping_add(u64::from(self.index) << self.class.shift())
    }

    /// The slot that an address lies in; `None` outside the region.
    #[must_use]
    pub fn at(ipa: Ipa) -> Option<Self> {
        AreaClass::ALL.into_iter().rev().find_map(|class| {
            let offset = ipa.offset_from(class.start())?;
            let index = u16::try_from(offset >> class.shift())
                .ok()
                .filter(|index| *index < class.most_slots())?;
            Some(Self { class, index })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{AreaClass, WINDOWS, WindowSlot};
    use crate::{Ipa, PageCount};

    #[test]
    fn every_size_up_to_a_gibibyte_has_a_class() {
        let class = |pages| AreaClass::holding(PageCount(pages));
        assert_eq!([class(0), class(0x4_0001), class(u64::MAX)], [None; 3]);
        for (pages, expected) in [
            (1, AreaClass::Page),
            (2, AreaClass::Block),
            (512, AreaClass::Block),
            (513, AreaClass::Giant),
            (0x4_0000, AreaClass::Giant),
        ] {
            assert_eq!(class(pages), Some(expected), "{pages}");
        }
        for class in AreaClass::ALL {
            assert_eq!(AreaClass::from_code(u64::from(class.code())), Some(class));
            assert_eq!(AreaClass::holding(class.pages()), Some(class));
            assert_eq!(class.tables_of(class.pages()), class.most_tables());
        }
        assert_eq!(AreaClass::from_code(3), None);
    }

    #[test]
    fn slots_have_addresses_of_their_own_inside_40_bits() {
        let mut before = WINDOWS.0;
        for class in AreaClass::ALL {
            for index in 0..class.most_slots() {
                let slot = WindowSlot { class, index };
                let (ipa, bytes) = (slot.ipa(), class.pages().0 << 12);
                assert!(ipa.0 >= before && ipa.is_aligned(bytes));
                before = ipa.0 + bytes;
                assert!(before <= 1 << 40);
                assert_eq!(WindowSlot::at(ipa), Some(slot));
                assert_eq!(WindowSlot::at(Ipa(before - 1)), Some(slot));
            }
        }
        let end = WindowSlot { class: AreaClass::Page, index: 4095 }.ipa().0 + 0x1000;
        for outside in [0, WINDOWS.0 - 1, end, 1 << 40, u64::MAX] {
            assert_eq!(WindowSlot::at(Ipa(outside)), None, "{outside:#x}");
        }
    }
}
