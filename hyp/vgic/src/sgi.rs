//! Software-generated interrupts: ICC_SGI*R_EL1 (GICv3) and GICD_SGIR, GICD_SPENDSGIR, GICD_CPENDSGIR
//! (GICv2, where each SGI is pending once per sender).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{bit, bit_of, low_u8, low_u16, low_u32};
use crate::interface::Slot;
use crate::lr::{ACTIVE, PENDING};
use crate::mmio::BYTE;
use crate::quick::Quick;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Vgic};

/// The offset of GICD_SGIR in the distributor's frame (GICv2).
pub(crate) const GICD_SGIR: u32 = 0xf00;

/// Which register a vCPU wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgiRegister {
    /// ICC_SGI0R_EL1: reaches SGIs that are in group 0.
    Group0,
    /// ICC_SGI1R_EL1: reaches SGIs of both groups, as the partition has one security state.
    Group1,
    /// ICC_ASGI1R_EL1: as ICC_SGI0R_EL1, with one security state.
    OtherGroup1,
}

impl Vgic<'_> {
    /// A trapped write to ICC_SGI0R_EL1, ICC_SGI1R_EL1 or ICC_ASGI1R_EL1 by the vCPU that is loaded here
    /// (IHI 0069, 12.2.38 and 8.1.10). Answers who must be kicked.
    #[inline]
    pub fn send_sgi<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        register: SgiRegister,
        value: u64,
    ) -> VcpuSet {
        let Some(sender) = here.vcpu else { return VcpuSet::EMPTY };
        let intid = intid(value);
        let is_group1_allowed = register == SgiRegister::Group1;
        for target in targets(value, self.cpus.len(), sender) {
            let is_group1 =
                self.cpu(target).is_some_and(|cpu| cpu.private.group1 & bit_of(intid) != 0);
            if !is_group1_allowed && is_group1 {
                continue;
            }
            if target == sender {
                self.pend(here, intid, target, false);
            } else {
                self.post(target, |quick| quick.post(intid));
            }
        }
        self.take_kick()
    }

    /// Leaves an SGI for another vCPU.
    fn post(&mut self, target: VcpuIndex, post: impl FnOnce(&Quick) -> bool) {
        if self.quick(target).is_some_and(post) {
            self.kick = self.kick.union(VcpuSet::one(target));
        }
    }

    /// Takes the SGIs that other vCPUs have left into memory. For a vCPU that is loaded here and just folded, or
    /// loaded nowhere.
    pub(crate) fn take_mail(&mut self, vcpu: VcpuIndex) {
        let Some(quick) = self.quick(vcpu) else { return };
        let posted = quick.take_posted();
        if posted == 0 {
            return;
        }
        let (is_v2, groups) = (self.dist.is_v2, self.dist.groups);
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        if is_v2 {
            for (sgi, place) in (0..).zip(cpu.sources.iter_mut()) {
                if posted & bit(u32::from(sgi)) != 0 {
                    *place |= quick.take_senders(sgi);
                    let has_sender = if *place == 0 { 0 } else { bit(u32::from(sgi)) };
                    cpu.private.latch |= has_sender;
                }
            }
        } else {
            cpu.private.latch |= posted;
        }
        let waiting = cpu.private.waiting(groups);
        cpu.set_waiting(0, waiting);
    }

    /// SGIs that other vCPUs have left and that are not in memory yet.
    #[inline]
    pub(crate) fn posted(&self, at: At) -> u32 {
        match at {
            At::Private(vcpu) => self.quick(vcpu).map_or(0, Quick::posted),
            At::Shared(_) => 0,
        }
    }

    /// GICD_SGIR (0x00) and GICD_CPENDSGIR (0x10–0x1f), GICD_SPENDSGIR (0x20–0x2f), from 0xf00.
    pub(crate) fn write_sgi_block<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        offset: u32,
        size: u8,
        value: u32,
    ) {
        let is_set = match offset {
            0 if size != BYTE => return self.send_sgi_v2(here, vcpu, value),
            0x10..=0x1f => false,
            0x20..=0x2f => true,
            _ => return,
        };
        let count = if size == BYTE { 1 } else { 4 };
        let existing = low_u8(low_u32(self.all().0));
        if self.quick(vcpu).is_some_and(Quick::has_mail) {
            self.fold_all(here, vcpu);
            self.take_mail(vcpu);
        }
        for (senders, index) in value.to_le_bytes().into_iter().zip(0_u32..count) {
            let intid = IntId(low_u16((offset & 15) | index));
            self.change_senders(here, vcpu, intid, senders & existing, is_set);
        }
        // Also if nothing was to be changed: what was folded must not stay out, for the kick behind the mail finds none.
        self.settle(here);
    }

    /// GICD_CPENDSGIR and GICD_SPENDSGIR as read: the senders of each pending SGI.
    pub(crate) fn read_sgi_pending(&self, vcpu: VcpuIndex, offset: u32, size: u8) -> u32 {
        let Some(cpu) = self.cpu(vcpu).filter(|_| (0x10..=0x2f).contains(&offset)) else {
            return 0;
        };
        let count = if size == BYTE { 1 } else { 4 };
        let mut bytes = [0_u8; 4];
        let first = usize::from(low_u8(offset & 15));
        let quick = self.quick(vcpu);
        for ((byte, senders), sgi) in bytes
            .iter_mut()
            .zip(cpu.sources.iter().skip(first).take(count))
            .zip(low_u16(offset & 15)..)
        {
            *byte = *senders | quick.map_or(0, |quick| quick.posted_by(sgi));
        }
        u32::from_le_bytes(bytes)
    }

    /// GICD_SGIR (IHI 0048, 4.3.15).
    fn send_sgi_v2<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        sender: VcpuIndex,
        value: u32,
    ) {
        let targets = targets_v2(value, self.cpus.len(), sender);
        let intid = IntId(low_u16(value & 15));
        let senders = low_u8(bit(u32::from(sender.0 & 7)));
        for target in targets {
            if target == sender {
                self.change_senders(here, target, intid, senders, true);
            } else {
                self.post(target, |quick| quick.post_from(intid, sender));
            }
        }
    }

    /// Adds or removes senders of a pending SGI of the vCPU that is loaded here.
    fn change_senders<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        intid: IntId,
        senders: u8,
        is_set: bool,
    ) {
        if senders == 0 || !here.is(vcpu) {
            return;
        }
        let at = At::Private(vcpu);
        let mask = bit_of(intid);
        self.touch(here, at, mask);
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        let Some(place) = cpu.sources.get_mut(usize::from(intid.0 & 15)) else { return };
        *place = if is_set { *place | senders } else { *place & !senders };
        self.latch_senders(vcpu, intid.0);
        self.refresh(here, at, mask);
        self.settle(here);
    }

    /// The sender that a list register shows: of the active SGI, or else the first of the pending ones.
    #[inline]
    pub(crate) fn source(&self, vcpu: VcpuIndex, intid: IntId) -> u8 {
        if !self.dist.is_v2 || !intid.is_sgi() {
            return 0;
        }
        let index = usize::from(intid.0);
        let Some(cpu) = self.cpu(vcpu) else { return 0 };
        if cpu.private.active & bit_of(intid) != 0 {
            return cpu.active_source.get(index).copied().unwrap_or(0);
        }
        let senders = cpu.sources.get(index).copied().unwrap_or(0);
        if senders == 0 { 0 } else { low_u8(senders.trailing_zeros()) }
    }

    /// Whether an SGI of GICv2 stays pending when the sender that a list register shows is served.
    #[inline]
    pub(crate) fn has_more_sources(&self, vcpu: VcpuIndex, intid: IntId) -> bool {
        if !self.dist.is_v2 || !intid.is_sgi() {
            return false;
        }
        let Some(cpu) = self.cpu(vcpu) else { return false };
        let senders = cpu.sources.get(usize::from(intid.0)).copied().unwrap_or(0);
        let is_active = cpu.private.active & bit_of(intid) != 0;
        senders.count_ones() > u32::from(!is_active)
    }

    /// Folds the sender of an SGI: served if its pending state is gone, and then perhaps active. If the list register
    /// shows another sender than the one that was placed, that one is served, and the SGI came again in a short way
    /// (`quick`).
    pub(crate) fn fold_source(&mut self, vcpu: VcpuIndex, slot: Slot, state: u8, sender: u8) {
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        let index = usize::from(slot.intid);
        let is_pending = state & PENDING != 0;
        if let Some(senders) = cpu.sources.get_mut(index) {
            if slot.was_pending && (!is_pending || sender != slot.source) {
                *senders &= !low_u8(bit(u32::from(slot.source & 7)));
            }
            if is_pending {
                *senders |= low_u8(bit(u32::from(sender & 7)));
            }
        }
        if let Some(place) = cpu.active_source.get_mut(index)
            && state & ACTIVE != 0
        {
            *place = sender;
        }
    }

    /// Makes the pending state of an SGI of GICv2 mean *has a sender*.
    pub(crate) fn latch_senders(&mut self, vcpu: VcpuIndex, intid: u16) {
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        let mask = bit(u32::from(intid));
        if cpu.sources.get(usize::from(intid)).is_none_or(|senders| *senders == 0) {
            cpu.private.latch &= !mask;
        } else {
            cpu.private.latch |= mask;
        }
    }
}

/// The SGI in an ICC_SGI*R value.
#[inline]
pub(crate) fn intid(value: u64) -> IntId {
    IntId(u16::from(low_u8(low_u32(value >> 24)) & 15))
}

/// The vCPUs that an ICC_SGI*R value names: those that it lists, some of which may not exist, or all but the sender
/// (IRM). `count` vCPUs exist.
#[inline]
pub(crate) fn targets(value: u64, count: usize, sender: VcpuIndex) -> VcpuSet {
    if value & (1 << 40) == 0 {
        return listed(value);
    }
    VcpuSet::first(count).without(VcpuSet::one(sender))
}

/// The vCPUs that a GICD_SGIR value names (TargetListFilter): some that it lists may not exist. `count` vCPUs exist.
#[inline]
pub(crate) fn targets_v2(value: u32, count: usize, sender: VcpuIndex) -> VcpuSet {
    let own = VcpuSet::one(sender);
    match (value >> 24) & 3 {
        0 => VcpuSet(u64::from(low_u8(value >> 16))),
        1 => VcpuSet::first(count).without(own),
        2 => own,
        _ => VcpuSet::EMPTY,
    }
}

/// The vCPUs that an ICC_SGI*R value lists: a bit each for Aff0 0 to 15 under one Aff3.Aff2.Aff1. The range
/// selector is not supported (GICD_TYPER.RSS is 0), so a value other than 0 reaches nobody.
#[inline]
fn listed(value: u64) -> VcpuSet {
    let aff1 = (value >> 16) & 0xff;
    let higher = value & ((0xff << 32) | (0xff << 48) | (0xf << 44));
    if higher != 0 || aff1 > 3 {
        return VcpuSet::EMPTY;
    }
    VcpuSet((value & 0xffff).wrapping_shl(low_u32(aff1 << 4)))
}
