//! Where SPIs go: GICD_IROUTER (GICv3) and GICD_ITARGETSR (GICv2).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{bit, high_u32, intid_at, low_u8, low_u32, vcpu_with_affinity};
use crate::distributor::{ANY_VCPU, NO_VCPU};
use crate::mmio::BYTE;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Vgic, spi_index};

/// GICD_IROUTER.Interrupt_Routing_Mode.
const IRM: u32 = 1 << 31;

impl Vgic<'_> {
    /// GICD_IROUTER of the SPI whose number is `offset / 8`.
    pub(crate) fn read_router(&self, offset: u32) -> u64 {
        let intid = IntId(crate::bits::low_u16(offset >> 3));
        let (word, position) = place(intid);
        if self.dist.valid(word) & bit(position) == 0 {
            return 0;
        }
        let affinity = self.dist.routes.get(spi_index(intid)).map_or(0, |route| route.affinity);
        let irm = if self.is_any_of(word, position) { IRM } else { 0 };
        let [aff0, aff1, aff2, aff3] = affinity.to_le_bytes();
        let low = u32::from_le_bytes([aff0, aff1, aff2, 0]) | irm;
        (u64::from(aff3) << 32) | u64::from(low)
    }

    pub(crate) fn read_router_half(&self, offset: u32) -> u32 {
        let value = self.read_router(offset);
        if offset & 4 == 0 { low_u32(value) } else { high_u32(value) }
    }

    pub(crate) fn write_router_half<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        offset: u32,
        half: u32,
    ) {
        let old = self.read_router(offset);
        let value = if offset & 4 == 0 {
            (old & !0xffff_ffff) | u64::from(half)
        } else {
            (old & 0xffff_ffff) | (u64::from(half) << 32)
        };
        self.write_router(here, offset, value);
    }

    pub(crate) fn write_router<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        offset: u32,
        value: u64,
    ) {
        let intid = IntId(crate::bits::low_u16(offset >> 3));
        let (word, position) = place(intid);
        if self.dist.valid(word) & bit(position) == 0 {
            return;
        }
        let [aff0, aff1, aff2, ..] = low_u32(value).to_le_bytes();
        let affinity = u32::from_le_bytes([aff0, aff1, aff2, low_u8(high_u32(value))]);
        let is_any = low_u32(value) & IRM != 0;
        let target = if is_any {
            ANY_VCPU
        } else {
            vcpu_with_affinity(affinity, self.all()).map_or(NO_VCPU, |vcpu| vcpu.0)
        };
        self.set_route(here, word, position, affinity, target);
    }

    /// GICD_ITARGETSR; `offset` is the first INTID. A uniprocessor has none.
    pub(crate) fn read_targets(&self, vcpu: VcpuIndex, offset: u32, size: u8) -> u32 {
        let count = if size == BYTE { 1 } else { 4 };
        let mut bytes = [0_u8; 4];
        for (byte, index) in bytes.iter_mut().zip(0..count) {
            *byte = self.target_byte(vcpu, intid_at(low_u8(offset >> 5), offset | index));
        }
        u32::from_le_bytes(bytes)
    }

    fn target_byte(&self, vcpu: VcpuIndex, intid: IntId) -> u8 {
        let (word, position) = place(intid);
        if self.cpus.len() == 1 {
            0
        } else if word == 0 {
            1_u8.wrapping_shl(u32::from(vcpu.0))
        } else if self.dist.valid(word) & bit(position) == 0 {
            0
        } else {
            self.dist.routes.get(spi_index(intid)).map_or(0, |route| low_u8(route.affinity))
        }
    }

    pub(crate) fn write_targets<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        offset: u32,
        size: u8,
        value: u32,
    ) {
        let count = if size == BYTE { 1 } else { 4 };
        if self.cpus.len() == 1 {
            return;
        }
        for (byte, index) in value.to_le_bytes().into_iter().zip(0..count) {
            let (word, position) = place(intid_at(low_u8(offset >> 5), offset | index));
            if self.dist.valid(word) & bit(position) != 0 {
                let targets = VcpuSet(u64::from(byte)).intersection(self.all());
                let target = match targets.0.count_ones() {
                    0 => NO_VCPU,
                    1 => targets.lowest().map_or(NO_VCPU, |vcpu| vcpu.0),
                    _ => ANY_VCPU,
                };
                let kept = low_u8(low_u32(targets.0));
                self.set_route(here, word, position, u32::from(kept), target);
            }
        }
    }

    pub(crate) fn set_route<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        word: u8,
        position: u32,
        affinity: u32,
        target: u8,
    ) {
        let mask = bit(position);
        let index = spi_index(intid_at(word, position));
        let Some(route) = self.dist.routes.get_mut(index) else { return };
        let is_moved = route.target != target || target == ANY_VCPU;
        route.affinity = affinity;
        route.target = target;
        self.set_any_of(word, mask, target == ANY_VCPU);
        if !is_moved {
            return;
        }
        self.change(here, At::Shared(word), mask, |_, _| {});
        let is_linked = self.bank(At::Shared(word)).is_some_and(|bank| bank.linked & mask != 0);
        if is_linked && let Some(vcpu) = self.target(word, position) {
            here.hw.route(self.physical(intid_at(word, position)), vcpu);
        }
    }

    fn is_any_of(&self, word: u8, position: u32) -> bool {
        let index = usize::from(word.wrapping_sub(1));
        self.dist.any_of.get(index).is_some_and(|any| any & bit(position) != 0)
    }

    fn set_any_of(&mut self, word: u8, mask: u32, is_any: bool) {
        if let Some(any) = self.dist.any_of.get_mut(usize::from(word.wrapping_sub(1))) {
            *any = if is_any { *any | mask } else { *any & !mask };
        }
    }
}

/// An interrupt's word and bit position.
const fn place(intid: IntId) -> (u8, u32) {
    let [low, _] = intid.0.to_le_bytes();
    (crate::bits::word_of(intid), u32::from_le_bytes([low & 31, 0, 0, 0]))
}
