//! Small bit operations that the register files share.

use crate::set::VcpuSet;
use shikiri_abi::{IntId, VcpuIndex};

/// The low byte.
#[inline]
pub(crate) const fn low_u8(value: u32) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

/// The low half-word.
#[inline]
pub(crate) const fn low_u16(value: u32) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The low word.
#[inline]
pub(crate) const fn low_u32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The high word.
#[inline]
pub(crate) const fn high_u32(value: u64) -> u32 {
    low_u32(value >> 32)
}

/// Bit `index & 31`.
#[inline]
pub(crate) const fn bit(index: u32) -> u32 {
    1_u32.wrapping_shl(index)
}

/// The word that holds an interrupt's bit: 0 for SGIs and PPIs.
#[inline]
pub(crate) const fn word_of(intid: IntId) -> u8 {
    let [low, _] = (intid.0 >> 5).to_le_bytes();
    low
}

/// An interrupt's bit in its word.
#[inline]
pub(crate) fn bit_of(intid: IntId) -> u32 {
    bit(u32::from(intid.0))
}

/// The interrupt at a bit position of a word.
#[inline]
pub(crate) fn intid_at(word: u8, position: u32) -> IntId {
    IntId((u16::from(word) << 5) | u16::from(low_u8(position & 31)))
}

/// Set bits of a word, as positions in ascending order.
pub(crate) struct Positions(pub(crate) u32);

impl Iterator for Positions {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let position = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        Some(position)
    }
}

/// Spreads 16 bits to the odd bits of a word: how GICD_ICFGR shows *edge*.
pub(crate) const fn spread_to_odd(half: u32) -> u32 {
    let mut x = half & 0xffff;
    x = (x | (x << 8)) & 0x00ff_00ff;
    x = (x | (x << 4)) & 0x0f0f_0f0f;
    x = (x | (x << 2)) & 0x3333_3333;
    x = (x | (x << 1)) & 0x5555_5555;
    x << 1
}

/// Gathers the odd bits of a word into 16 bits.
pub(crate) const fn gather_odd(word: u32) -> u32 {
    let mut x = (word >> 1) & 0x5555_5555;
    x = (x | (x >> 1)) & 0x3333_3333;
    x = (x | (x >> 2)) & 0x0f0f_0f0f;
    x = (x | (x >> 4)) & 0x00ff_00ff;
    (x | (x >> 8)) & 0xffff
}

/// The affinity of a vCPU on GICv3: 16 in each Aff0, as the guest's MPIDR has it.
pub(crate) fn affinity_of(vcpu: VcpuIndex) -> u32 {
    (u32::from(vcpu.0 >> 4) << 8) | u32::from(vcpu.0 & 15)
}

/// The vCPU with this affinity (Aff3 to Aff0, one byte each), if the partition has it.
pub(crate) fn vcpu_with_affinity(affinity: u32, all: VcpuSet) -> Option<VcpuIndex> {
    let [aff0, aff1, aff2, aff3] = affinity.to_le_bytes();
    if aff0 > 15 || aff1 > 3 || aff2 != 0 || aff3 != 0 {
        return None;
    }
    let vcpu = VcpuIndex((aff1 << 4) | aff0);
    all.contains(vcpu).then_some(vcpu)
}

#[cfg(test)]
mod tests {
    use super::{Positions, affinity_of, gather_odd, spread_to_odd, vcpu_with_affinity};
    use crate::set::VcpuSet;
    use shikiri_abi::VcpuIndex;
    use std::vec::Vec;

    #[test]
    fn spreading_and_gathering_are_inverse() {
        for half in 0..=0xffff {
            let word = spread_to_odd(half);
            assert_eq!(word & 0x5555_5555, 0);
            assert_eq!(gather_odd(word), half);
            assert_eq!(gather_odd(word | 0x5555_5555), half);
        }
        assert_eq!(spread_to_odd(0x8001), 0x8000_0002);
    }

    #[test]
    fn positions_ascend() {
        assert_eq!(Positions(0x8000_0005).collect::<Vec<_>>(), [0, 2, 31]);
    }

    #[test]
    fn affinity_and_index_are_one_to_one() {
        let all = VcpuSet::first(64);
        for index in 0..64 {
            let vcpu = VcpuIndex(index);
            assert_eq!(vcpu_with_affinity(affinity_of(vcpu), all), Some(vcpu));
        }
        for bad in [0x10, 0x400, 0x1_0000, 0x0100_0000] {
            assert_eq!(vcpu_with_affinity(bad, all), None, "{bad:#x}");
        }
        assert_eq!(vcpu_with_affinity(3, VcpuSet::first(3)), None);
    }
}
