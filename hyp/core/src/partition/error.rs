//! Why a partition could not be put together.

use core::fmt;

use shikiri_abi::{Ipa, Pa, PageCount};
use shikiri_config::ImageKind;
use shikiri_stage2::MapError;

use super::arena::MAX_TABLES;
use crate::account::OverLimit;
use crate::frame::Refusal;

/// Why a partition could not be put together. What was taken so far is given back by the tear-down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The description's own limit stands against it.
    OverLimit(OverLimit),
    /// The machine has no such run of frames.
    NoMemory(PageCount),
    /// The frames that the description names are not free: the partition that had them has not ended, or
    /// they are quarantined.
    NotFree(Pa),
    /// The ledger gives a frame that the description names to somebody else.
    NotItsOwn(Refusal),
    /// A device of the description lies in RAM.
    DeviceIsRam(Pa),
    /// So many tables would be needed, because its guest and physical addresses differ within 2 MiB.
    TooManyTables(u64),
    /// The virtual machine identifiers are used up.
    NoVmid,
    /// Stage 2 refused an address of the description.
    Map(Ipa, MapError),
    /// What is loaded has another checksum than the bundle says.
    Damaged(ImageKind),
    /// What is loaded does not lie in the partition's memory.
    Outside(ImageKind),
}

impl From<OverLimit> for BuildError {
    fn from(error: OverLimit) -> Self {
        Self::OverLimit(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverLimit(error) => write!(f, "over its limit: {error}"),
            Self::NoMemory(pages) => write!(f, "no {} free pages are left in the machine", pages.0),
            Self::NotFree(pa) => write!(f, "its memory at {pa} is not free"),
            Self::NotItsOwn(refusal) => write!(f, "its memory: {refusal}"),
            Self::DeviceIsRam(pa) => write!(f, "its device at {pa} is RAM"),
            Self::TooManyTables(tables) => write!(
                f,
                "its memory needs {tables} translation tables, and {MAX_TABLES} is the most: make guest and physical \
                 addresses alike within 2 MiB"
            ),
            Self::NoVmid => f.write_str("all 255 VMIDs are in use"),
            Self::Map(ipa, error) => write!(f, "cannot map {ipa}: {error}"),
            Self::Damaged(kind) => write!(f, "its {} is damaged", kind.words()),
            Self::Outside(kind) => write!(f, "its {} does not lie in its memory", kind.words()),
        }
    }
}
