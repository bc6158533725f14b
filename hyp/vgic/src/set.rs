//! Sets of vCPUs of one partition.

use shikiri_abi::VcpuIndex;
use zerocopy::FromZeros;

use crate::bits::low_u8;

/// A set of vCPUs: bit n is the vCPU with index n. Indices from 64 up are in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(transparent)]
pub struct VcpuSet(pub u64);

impl VcpuSet {
    /// No vCPU.
    pub const EMPTY: Self = Self(0);

    /// The set of one vCPU.
    #[must_use]
    #[inline]
    pub const fn one(vcpu: VcpuIndex) -> Self {
        if vcpu.0 < 64 { Self(1 << vcpu.0) } else { Self::EMPTY }
    }

    /// The vCPUs with indices below `count`.
    #[must_use]
    #[inline]
    pub const fn first(count: usize) -> Self {
        if count >= 64 { Self(u64::MAX) } else { Self(!(u64::MAX << count)) }
    }

    /// Whether the vCPU is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, vcpu: VcpuIndex) -> bool {
        self.0 & Self::one(vcpu).0 != 0
    }

    /// This set and `other`.
    #[must_use]
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets hold.
    #[must_use]
    #[inline]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no vCPU is in the set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The vCPU with the lowest index.
    #[must_use]
    #[inline]
    pub fn lowest(self) -> Option<VcpuIndex> {
        if self.is_empty() { None } else { Some(VcpuIndex(low_u8(self.0.trailing_zeros()))) }
    }
}

/// The vCPUs in ascending order.
impl Iterator for VcpuSet {
    type Item = VcpuIndex;

    #[inline]
    fn next(&mut self) -> Option<VcpuIndex> {
        let vcpu = self.lowest()?;
        self.0 &= self.0.wrapping_sub(1);
        Some(vcpu)
    }
}

#[cfg(test)]
mod tests {
    use super::VcpuSet;
    use shikiri_abi::VcpuIndex;
    use std::vec::Vec;

    #[test]
    fn sets_hold_64_vcpus_and_nothing_above() {
        assert!(VcpuSet::one(VcpuIndex(63)).contains(VcpuIndex(63)));
        assert!(VcpuSet::one(VcpuIndex(64)).is_empty());
        assert!(!VcpuSet::first(64).contains(VcpuIndex(64)));
        assert_eq!(VcpuSet::first(3), VcpuSet(0b111));
        assert_eq!(VcpuSet::first(64), VcpuSet(u64::MAX));
    }

    #[test]
    fn members_come_in_ascending_order() {
        let members: Vec<_> = VcpuSet(1 << 63 | 0b1010).collect();
        assert_eq!(members, [VcpuIndex(1), VcpuIndex(3), VcpuIndex(63)]);
    }
}
