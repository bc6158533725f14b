//! Physical and intermediate physical addresses, and sizes in pages.
//!
//! `Pa` and `Ipa` never convert into each other except through a stage-2 table or a description that says
//! so: mixing them up is the classic hole of a hypervisor.

use core::fmt;

/// log2 of the translation granule: 4 KiB (Arm ARM D8.1, TG0 = 4 KiB).
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a page: the granule of ownership, of stage 2 and of every charge in memory.
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $tag:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Adds a byte offset; `None` if the result passes 2^64.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Adds a byte offset, wrapping at 2^64: for offsets that were checked before.
            #[must_use]
            pub const fn wrapping_add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The distance in bytes from `base` to this address; `None` if this lies below.
            #[must_use]
            pub const fn offset_from(self, base: Self) -> Option<u64> {
                self.0.checked_sub(base.0)
            }

            /// The start of the page that holds this address.
            #[must_use]
            pub const fn page_base(self) -> Self {
                Self(self.0 & !(PAGE_BYTES - 1))
            }

            /// The address's offset inside its page, 0 to 4095.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_BYTES - 1)
            }

            /// Whether the address is a multiple of `bytes`, a power of two.
            #[must_use]
            pub const fn is_aligned(self, bytes: u64) -> bool {
                self.0 & bytes.wrapping_sub(1) == 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($tag, "{:#x}"), self.0)
            }
        }
    };
}

address!(
    /// A physical address, as the interconnect sees it.
    Pa,
    "pa:"
);
address!(
    /// An intermediate physical address: what a partition takes for physical (stage 2's input).
    Ipa,
    "ipa:"
);

/// A number of 4 KiB pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PageCount(pub u64);

impl PageCount {
    /// The pages that `bytes` need, rounded up.
    #[must_use]
    pub const fn for_bytes(bytes: u64) -> Self {
        Self(bytes.div_ceil(PAGE_BYTES))
    }

    /// The size in bytes; `None` if that passes 2^64.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        self.0.checked_mul(PAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ipa, Pa, PageCount};

    #[test]
    fn addresses_do_not_wrap_unless_told() {
        assert_eq!(Pa(u64::MAX).checked_add(1), None);
        assert_eq!(Pa(u64::MAX).wrapping_add(1), Pa(0));
        assert_eq!(Ipa(0x1000).offset_from(Ipa(0x2000)), None);
        assert_eq!(Ipa(0x1fff).page_base(), Ipa(0x1000));
    }

    #[test]
    fn pages_round_up() {
        assert_eq!(PageCount::for_bytes(0), PageCount(0));
        assert_eq!(PageCount::for_bytes(4097), PageCount(2));
        assert_eq!(PageCount(u64::MAX).bytes(), None);
    }
}
