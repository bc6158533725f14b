//! Descriptors: levels, attributes, and their bits (Arm ARM D8.3, VMSAv8-64 stage-2 descriptors).

use crate::Format;
use shikiri_abi::Pa;

/// A level of the walk, and with it the size of its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Level 1, the root: leaves of 1 GiB.
    One,
    /// Level 2: leaves of 2 MiB.
    Two,
    /// Level 3: leaves of 4 KiB.
    Three,
}

impl Level {
    /// log2 of the bytes that one descriptor covers.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::One => 30,
            Self::Two => 21,
            Self::Three => 12,
        }
    }

    /// The bytes that one descriptor covers.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1_u64.wrapping_shl(self.shift())
    }

    /// The level below, if a descriptor of this level can be a table.
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }

    /// The level's number in the architecture, 1 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// How far `address` lies inside its descriptor's span.
    #[must_use]
    pub(crate) const fn offset(self, address: u64) -> u64 {
        address & self.bytes().wrapping_sub(1)
    }

    /// The address of the descriptor for `ipa` in `table`. The IPA was checked against the format, so the
    /// root's index stays inside its two pages.
    #[inline]
    pub(crate) const fn slot(self, table: Pa, ipa: u64) -> Pa {
        let index = ipa >> self.shift();
        let index = match self {
            Self::One => index & 0x3ff,
            Self::Two | Self::Three => index & 0x1ff,
        };
        Pa(table.0 | (index << 3))
    }
}

/// What kind of memory a leaf gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Normal, Write-Back, inner shareable. The guest's stage 1 may weaken it, except with FEAT_S2FWB.
    Normal,
    /// Device-nGnRE.
    Device,
}

/// What a guest may do with a leaf's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Loads only.
    ReadOnly,
    /// Loads and stores.
    ReadWrite,
}

/// Whether a guest may fetch instructions from a leaf, at EL1 and EL0 alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Execute {
    /// XN is set.
    Never,
    /// XN is clear.
    Allowed,
}

/// The attributes of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// The kind of memory.
    pub memory: Memory,
    /// Data access.
    pub access: Access,
    /// Instruction fetch.
    pub execute: Execute,
}

impl Attributes {
    /// A partition's own memory: read, write, execute.
    pub const RAM: Self =
        Self { memory: Memory::Normal, access: Access::ReadWrite, execute: Execute::Allowed };
    /// Memory that is only data: read, write.
    pub const RAM_NO_EXECUTE: Self = Self { execute: Execute::Never, ..Self::RAM };
    /// Memory that is only read.
    pub const RAM_READ_ONLY: Self = Self { access: Access::ReadOnly, ..Self::RAM_NO_EXECUTE };
    /// A passed-through device.
    pub const DEVICE: Self =
        Self { memory: Memory::Device, access: Access::ReadWrite, execute: Execute::Never };

    /// The attribute bits of a leaf descriptor, without its type and address.
    #[must_use]
    pub(crate) const fn bits(self, format: Format) -> u64 {
        let memory = match (self.memory, format.has_fwb()) {
            (Memory::Normal, false) => NORMAL_WB,
            (Memory::Normal, true) => FWB_NORMAL_WB,
            (Memory::Device, _) => DEVICE_NGNRE,
        };
        // Device memory is always treated as outer shareable: SH is ignored, and kept 0.
        let shareability = match self.memory {
            Memory::Normal => SH_INNER,
            Memory::Device => 0,
        };
        let access = match self.access {
            Access::ReadOnly => S2AP_READ,
            Access::ReadWrite => S2AP_READ | S2AP_WRITE,
        };
        let execute = match self.execute {
            Execute::Never => XN,
            Execute::Allowed => 0,
        };
        memory | shareability | access | execute | AF
    }

    /// The attributes of a leaf descriptor that [`Attributes::bits`] made.
    #[must_use]
    pub(crate) const fn from_bits(raw: u64) -> Self {
        let memory = if raw & MEMATTR == DEVICE_NGNRE { Memory::Device } else { Memory::Normal };
        let access = if raw & S2AP_WRITE == 0 { Access::ReadOnly } else { Access::ReadWrite };
        let execute = if raw & XN == 0 { Execute::Allowed } else { Execute::Never };
        Self { memory, access, execute }
    }
}

/// An invalid descriptor. All of ours are zero.
pub(crate) const INVALID: u64 = 0;
const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const MEMATTR: u64 = 0xf << 2;
/// MemAttr without FEAT_S2FWB: outer and inner Write-Back.
const NORMAL_WB: u64 = 0b1111 << 2;
/// MemAttr with HCR_EL2.FWB: Write-Back whatever stage 1 says.
const FWB_NORMAL_WB: u64 = 0b0110 << 2;
/// MemAttr Device-nGnRE, the same with and without FWB.
const DEVICE_NGNRE: u64 = 0b0001 << 2;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_INNER: u64 = 0b11 << 8;
const AF: u64 = 1 << 10;
/// XN\[1\]: with FEAT_XNX and XN\[0\] = 0 it still means never, at EL1 and EL0.
const XN: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// Makes a leaf descriptor of attribute bits and an address.
#[inline]
pub(crate) const fn leaf(level: Level, to: u64, bits: u64) -> u64 {
    let kind = match level {
        Level::Three => TABLE_OR_PAGE | VALID,
        Level::One | Level::Two => VALID,
    };
    (to & ADDRESS) | bits | kind
}

/// Makes a table descriptor.
#[inline]
pub(crate) const fn table(to: Pa) -> u64 {
    (to.0 & ADDRESS) | TABLE_OR_PAGE | VALID
}

/// The address in a leaf or table descriptor.
#[inline]
pub(crate) const fn address(raw: u64) -> Pa {
    Pa(raw & ADDRESS)
}

/// The attribute bits of a leaf, without type and address.
#[inline]
pub(crate) const fn attribute_bits(raw: u64) -> u64 {
    raw & !(ADDRESS | TABLE_OR_PAGE | VALID)
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    Table,
    Leaf,
}

/// Classifies a descriptor as the walker does.
#[inline]
pub(crate) const fn kind(level: Level, raw: u64) -> Kind {
    match (level, raw & (TABLE_OR_PAGE | VALID)) {
        (Level::Three, 0b11) | (Level::One | Level::Two, 0b01) => Kind::Leaf,
        (Level::One | Level::Two, 0b11) => Kind::Table,
        _ => Kind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Attributes, Execute, Kind, Level, Memory, kind, leaf, table};
    use crate::Format;
    use shikiri_abi::Pa;

    const PLAIN: u64 = 4;
    const FWB: u64 = 1 << 40;

    #[test]
    fn descriptors_have_the_manuals_bits() {
        let plain = Format::new(PLAIN, 0).unwrap();
        let forced = Format::new(PLAIN, FWB).unwrap();
        let raw = |format, level, attributes: Attributes| {
            leaf(level, 0x4_8020_0000, attributes.bits(format))
        };
        // Block: AF, inner shareable, read-write, MemAttr 0xf, type 01.
        assert_eq!(raw(plain, Level::Two, Attributes::RAM), 0x4_8020_07fd);
        assert_eq!(raw(plain, Level::Three, Attributes::RAM), 0x4_8020_07ff);
        assert_eq!(raw(plain, Level::Two, Attributes::RAM_READ_ONLY), 0x0040_0004_8020_077d);
        assert_eq!(raw(plain, Level::Three, Attributes::DEVICE), 0x0040_0004_8020_04c7);
        assert_eq!(raw(forced, Level::One, Attributes::RAM_NO_EXECUTE), 0x0040_0004_8020_07d9);
        assert_eq!(raw(forced, Level::Three, Attributes::DEVICE), 0x0040_0004_8020_04c7);
        assert_eq!(table(Pa(0x4000_1000)), 0x4000_1003);
    }

    #[test]
    fn attributes_survive_encoding() {
        for fwb in [0, FWB] {
            let format = Format::new(PLAIN, fwb).unwrap();
            for memory in [Memory::Normal, Memory::Device] {
                for access in [Access::ReadOnly, Access::ReadWrite] {
                    for execute in [Execute::Never, Execute::Allowed] {
                        let attributes = Attributes { memory, access, execute };
                        assert_eq!(Attributes::from_bits(attributes.bits(format)), attributes);
                    }
                }
            }
        }
    }

    #[test]
    fn descriptors_classify_as_the_walker_does() {
        for level in [Level::One, Level::Two] {
            assert_eq!([0, 1, 2, 3].map(|bits| kind(level, bits)), {
                [Kind::Invalid, Kind::Leaf, Kind::Invalid, Kind::Table]
            });
        }
        let page = [0, 1, 2, 3].map(|bits| kind(Level::Three, bits));
        assert_eq!(page, [Kind::Invalid, Kind::Invalid, Kind::Invalid, Kind::Leaf]);
    }

    #[test]
    fn slots_cover_both_root_pages() {
        let root = Pa(0x8000);
        assert_eq!(Level::One.slot(root, 0), Pa(0x8000));
        assert_eq!(Level::One.slot(root, (1 << 40) - 1), Pa(0x9ff8));
        assert_eq!(Level::Two.slot(root, 0x7fe0_0000), Pa(0x8ff8));
        assert_eq!(Level::Three.slot(root, 0x3000), Pa(0x8018));
    }
}
