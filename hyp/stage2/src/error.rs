//! Why a change of the tables is refused.

use core::fmt;
use shikiri_abi::Ipa;

/// Why no table page could be had ([`crate::TablePages::take`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTable {
    /// The partition's account has reached its limit.
    OverLimit,
    /// The machine has no free frame.
    NoMemory,
}

/// Why a change was refused. A refusal leaves no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// An address is not a multiple of the page size (of the root's size for a root).
    Alignment,
    /// The range is empty, or passes the end of the IPA or PA space.
    Range,
    /// Something is mapped there.
    Overlap {
        /// The first address that is taken.
        at: Ipa,
    },
    /// Nothing is mapped there.
    NotMapped {
        /// The first address with nothing behind it.
        at: Ipa,
    },
    /// Access to device memory cannot be changed: unmap and map it instead.
    DeviceMemory {
        /// The first such address.
        at: Ipa,
    },
    /// No page for a table.
    NoTable(NoTable),
}

impl From<NoTable> for MapError {
    fn from(reason: NoTable) -> Self {
        Self::NoTable(reason)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alignment => f.write_str("not aligned"),
            Self::Range => f.write_str("outside the address space"),
            Self::Overlap { at } => write!(f, "{at} is mapped already"),
            Self::NotMapped { at } => write!(f, "nothing is mapped at {at}"),
            Self::DeviceMemory { at } => write!(f, "{at} is device memory"),
            Self::NoTable(NoTable::OverLimit) => f.write_str("no table page: over the limit"),
            Self::NoTable(NoTable::NoMemory) => f.write_str("no table page: no memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MapError, NoTable};
    use shikiri_abi::Ipa;
    use std::string::ToString;

    #[test]
    fn every_refusal_says_what_and_where() {
        let at = Ipa(0x4000);
        let said = [
            (MapError::Alignment, "not aligned"),
            (MapError::Range, "outside the address space"),
            (MapError::Overlap { at }, "ipa:0x4000 is mapped already"),
            (MapError::NotMapped { at }, "nothing is mapped at ipa:0x4000"),
            (MapError::DeviceMemory { at }, "ipa:0x4000 is device memory"),
            (NoTable::OverLimit.into(), "no table page: over the limit"),
            (NoTable::NoMemory.into(), "no table page: no memory"),
        ];
        for (refusal, text) in said {
            assert_eq!(refusal.to_string(), text);
        }
    }
}
