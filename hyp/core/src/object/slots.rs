//! Sets of partitions.

use core::ops::{BitAnd, BitOr, Not};

use shikiri_abi::PartitionSlot;

/// A set of partitions by their slots, of which there are 64 at most (`config::MAX_PARTITIONS`). Others are in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(pub(super) u64);

impl Slots {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(!0);

    pub(super) fn only(PartitionSlot(slot): PartitionSlot) -> Self {
        Self(1_u64.checked_shl(u32::from(slot)).unwrap_or(0))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, slot: PartitionSlot) -> bool {
        !(self & Self::only(slot)).is_empty()
    }

    pub(super) fn add(&mut self, slot: PartitionSlot) {
        *self = *self | Self::only(slot);
    }

    pub(super) fn remove(&mut self, slot: PartitionSlot) {
        *self = *self & !Self::only(slot);
    }

    /// Takes the one with the smallest number out.
    pub(super) fn pop(&mut self) -> Option<PartitionSlot> {
        let slot = u8::try_from(self.0.trailing_zeros()).ok().filter(|slot| *slot < 64)?;
        self.remove(PartitionSlot(slot));
        Some(PartitionSlot(slot))
    }
}

impl BitAnd for Slots {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Slots {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for Slots {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}
