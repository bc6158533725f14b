//! Ids of the things that the hypervisor manages.

use core::fmt;

/// A partition's id: unique within one run of the machine, never reused (P2). 0 is no partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PartitionId(pub u32);

/// A partition's place in the hypervisor's table: it belongs to a name of the description, and is the same
/// again after a restart (the [`PartitionId`] is not). Frames and run queues name partitions by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PartitionSlot(pub u8);

/// A vCPU's index inside its partition; its guest's MPIDR is made from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VcpuIndex(pub u8);

impl VcpuIndex {
    /// The affinity fields of the vCPU's MPIDR_EL1, as device tree, virtual GIC and PSCI name it: 16 vCPUs
    /// to a group, Aff0 = index mod 16, Aff1 = index / 16, Aff2 = Aff3 = 0 (an SGI's target list has 16 bits).
    #[must_use]
    pub const fn affinity(self) -> u64 {
        let Self(index) = self;
        u64::from_le_bytes([index & 15, index >> 4, 0, 0, 0, 0, 0, 0])
    }

    /// The vCPU with these affinity fields; `None` if no index has them, or other bits are set. Whether the
    /// partition has such a vCPU is not known here.
    #[must_use]
    pub const fn from_affinity(affinity: u64) -> Option<Self> {
        let [aff0, aff1, ..] = affinity.to_le_bytes();
        let index = Self((aff1 << 4) | (aff0 & 15));
        if aff1 < 16 && index.affinity() == affinity { Some(index) } else { None }
    }
}

/// A physical core's number in the order of the board's device tree; *not* its MPIDR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CoreId(pub u8);

/// A virtual machine identifier: the tag of a partition's TLB entries (VTTBR_EL2.VMID, 8 bits used). 0 is never given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vmid(pub u8);

/// An interrupt id: 0–15 SGI, 16–31 PPI, 32–1019 SPI (GIC architecture, INTID ranges).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct IntId(pub u16);

impl IntId {
    /// The first PPI.
    pub const FIRST_PPI: Self = Self(16);
    /// The first SPI; a device tree's `<0 n …>` is INTID 32 + n.
    pub const FIRST_SPI: Self = Self(32);
    /// One past the last SPI.
    pub const END_SPI: Self = Self(1020);
    /// What an acknowledge reads when nothing is pending.
    pub const SPURIOUS: Self = Self(1023);

    /// Whether each core has its own of this id (SGI or PPI).
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 < Self::FIRST_SPI.0
    }

    /// Whether this is a software-generated interrupt.
    #[must_use]
    pub const fn is_sgi(self) -> bool {
        self.0 < Self::FIRST_PPI.0
    }

    /// Whether this is a shared peripheral interrupt.
    #[must_use]
    pub const fn is_spi(self) -> bool {
        self.0 >= Self::FIRST_SPI.0 && self.0 < Self::END_SPI.0
    }
}

/// The most cores that one image serves.
pub const MAX_CORES: usize = 128;

/// A set of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CoreSet(pub u128);

impl CoreSet {
    /// No core.
    pub const EMPTY: Self = Self(0);

    /// The set of one core; the empty set if the number is out of range.
    #[must_use]
    pub fn one(core: CoreId) -> Self {
        match 1u128.checked_shl(u32::from(core.0)) {
            Some(bit) => Self(bit),
            None => Self::EMPTY,
        }
    }

    /// Whether `core` is in the set.
    #[must_use]
    pub fn contains(self, core: CoreId) -> bool {
        self.0 & Self::one(core).0 != 0
    }

    /// This set and `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no core is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many cores are in the set.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The cores in ascending order.
    pub fn iter(self) -> impl Iterator<Item = CoreId> {
        (0..u8::MAX).map(CoreId).take(MAX_CORES).filter(move |core| self.contains(*core))
    }

    /// The lowest core of the set.
    #[must_use]
    pub fn first(self) -> Option<CoreId> {
        if self.is_empty() { None } else { u8::try_from(self.0.trailing_zeros()).ok().map(CoreId) }
    }
}

impl fmt::Display for CoreSet {
    /// Writes `0,2,3`, or `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (position, core) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", core.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CoreId, CoreSet, IntId, VcpuIndex};
    use std::format;

    #[test]
    fn a_vcpu_is_found_by_its_affinity_and_by_no_other_value() {
        for index in 0..=u8::MAX {
            let vcpu = VcpuIndex(index);
            assert_eq!(VcpuIndex::from_affinity(vcpu.affinity()), Some(vcpu));
        }
        assert_eq!(VcpuIndex(17).affinity(), 0x101);
        for affinity in [16, 0x1000, 0x1_0000, 0x8000_0000, 1 << 32, u64::MAX] {
            assert_eq!(VcpuIndex::from_affinity(affinity), None, "{affinity:#x}");
        }
    }

    #[test]
    fn core_sets_hold_all_128_cores_and_nothing_above() {
        assert!(CoreSet::one(CoreId(127)).contains(CoreId(127)));
        assert!(CoreSet::one(CoreId(128)).is_empty());
        let set = CoreSet::one(CoreId(3)).union(CoreSet::one(CoreId(0)));
        assert_eq!(format!("{set} {}", CoreSet::EMPTY), "0,3 -");
        assert_eq!(set.first(), Some(CoreId(0)));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn interrupt_ranges_meet_without_gap() {
        assert!(IntId(15).is_sgi() && !IntId(16).is_sgi());
        assert!(IntId(31).is_private() && IntId(32).is_spi());
        assert!(!IntId(1020).is_spi());
    }
}
