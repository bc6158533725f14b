//! More interrupts than list registers.
//!
//! The most urgent pending interrupt always gets a register, active ones come next (so that their end is the
//! hardware's business), then pending ones by priority. What stays outside is announced by maintenance
//! interrupts: *no pending* (HCR.NPIE) rather than *underflow* (UIE), because registers full of active
//! interrupts never underflow while less urgent ones wait outside; *entry not present* (LRENPIE) for the
//! end of an active one that has no register; and, since registers may hold interrupts of a group that the
//! guest's CPU interface has disabled, a change of the group enables.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{Positions, bit, bit_of, intid_at, low_u8, low_u16};
use crate::interface::MAX_SLOTS;
use crate::lr::{
    HCR_EOI_COUNT_SHIFT, HCR_LRENPIE, HCR_NPIE, HCR_VGRP0D, HCR_VGRP0E, HCR_VGRP1D, HCR_VGRP1E,
    VMCR_EOI_MODE, VMCR_GROUP0, VMCR_GROUP1,
};
use crate::vgic::{At, Here, Vgic};

/// The lowest keys seen, in ascending order, at most as many as there are list registers.
struct Best {
    keys: [u32; MAX_SLOTS],
    kept: usize,
    seen: usize,
    limit: usize,
}

impl Best {
    const fn new(limit: usize) -> Self {
        Self { keys: [u32::MAX; MAX_SLOTS], kept: 0, seen: 0, limit }
    }

    /// Takes a key in, if it is among the lowest.
    fn offer(&mut self, key: u32) {
        self.seen = self.seen.saturating_add(1);
        let mut carried = key;
        for place in self.keys.iter_mut().take(self.limit) {
            if carried < *place {
                core::mem::swap(place, &mut carried);
            }
        }
        self.kept = self.seen.min(self.limit);
    }

    fn intids(&self) -> impl Iterator<Item = IntId> {
        self.keys.iter().take(self.kept).map(|key| IntId(low_u16(*key)))
    }
}

impl Vgic<'_> {
    /// Chooses what goes into the list registers when not everything fits, and asks for the maintenance
    /// interrupts that bring the rest in.
    #[cold]
    pub(crate) fn overflow<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        base: u32,
    ) {
        self.fold_all(here, vcpu);
        let vmcr = here.hw.vmcr();
        let slots = self.cpu(vcpu).map_or(0, |cpu| cpu.all_slots).count_ones();
        let limit = usize::from(low_u8(slots));
        let mut pending = Best::new(limit);
        let mut active = Best::new(limit);
        self.rank(vcpu, vmcr, &mut pending, &mut active);
        let first = usize::from(pending.kept != 0);
        let active_kept = active.kept.min(limit.saturating_sub(first));
        let rest = limit.saturating_sub(first).saturating_sub(active_kept);
        let chosen = pending
            .intids()
            .take(first)
            .chain(active.intids().take(active_kept))
            .chain(pending.intids().skip(first).take(rest));
        let mut slot = 0_u8;
        for intid in chosen {
            // Not armed for others: see below.
            let _armed = self.place(here, vcpu, slot, intid);
            slot = slot.saturating_add(1);
        }
        // What is more urgent may wait outside: nothing is put back in a short way.
        self.disarm(At::Private(vcpu), u32::MAX);
        let placed = first.saturating_add(rest.min(pending.kept.saturating_sub(first)));
        let mut control = base;
        if pending.seen > placed {
            control |= HCR_NPIE | group_changes(vmcr);
        }
        if active.seen > active_kept {
            control |= HCR_LRENPIE;
        }
        self.set_control(here, vcpu, control);
    }

    /// Ranks all that waits. Pending interrupts of a group that the guest has disabled come last.
    fn rank(&self, vcpu: VcpuIndex, vmcr: u32, pending: &mut Best, active: &mut Best) {
        let Some(cpu) = self.cpu(vcpu) else { return };
        let off0 = if vmcr & VMCR_GROUP0 == 0 { u32::MAX } else { 0 };
        let off1 = if vmcr & VMCR_GROUP1 == 0 { u32::MAX } else { 0 };
        for word in Positions(cpu.waiting_words) {
            let word = low_u8(word);
            let at = if word == 0 { At::Private(vcpu) } else { At::Shared(word) };
            let Some(bank) = self.bank(at) else { continue };
            let off = (bank.group1 & off1) | (!bank.group1 & off0);
            for position in Positions(cpu.waiting_in(word)) {
                let key = (u32::from(bank.priority_at(position)) << 16)
                    | u32::from(intid_at(word, position).0);
                if bank.active & bit(position) != 0 {
                    active.offer(key);
                } else {
                    pending.offer(key | (u32::from(off & bit(position) != 0) << 24));
                }
            }
        }
    }

    /// Carries out ends of interrupt that found no list register (HCR.EOIcount).
    #[inline]
    pub(crate) fn take_ends<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
    ) {
        let control = here.hw.control();
        if control >> HCR_EOI_COUNT_SHIFT != 0 {
            self.end_evicted(here, vcpu, control);
        }
    }

    /// With EOImode 0 the guest ends what it acknowledged last, which is what it took with the most urgent
    /// priority, since only a more urgent interrupt preempts. Each end is counted once: the next fold must not see it again.
    #[cold]
    fn end_evicted<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        control: u32,
    ) {
        self.set_control(here, vcpu, control & !(u32::MAX << HCR_EOI_COUNT_SHIFT));
        // With EOImode 1 an end drops the priority and no more, and GICC_DIR and ICC_DIR_EL1 trap: what is counted then
        // (the field's text can be read so, and QEMU does it) deactivates nothing.
        if here.hw.vmcr() & VMCR_EOI_MODE != 0 {
            if let Some(cpu) = self.cpu_mut(vcpu) {
                cpu.ended_early = 0;
            }
            return;
        }
        for _ in 0..control >> HCR_EOI_COUNT_SHIFT {
            let evicted = self.most_urgent_evicted(vcpu);
            if self.take_early_end(vcpu, evicted.map_or(u8::MAX, |(taken, _)| taken)) {
                continue;
            }
            let Some((_, intid)) = evicted else { break };
            self.end(here, At::of(intid, vcpu), bit_of(intid));
        }
    }

    /// Notes that a register has made interrupts inactive that their vCPU handles: their ends find no list register, and
    /// must not be taken for another's. With EOImode 1 such ends are not counted.
    #[cold]
    pub(crate) fn note_early_ends<H: ListRegisters>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        handled: u32,
    ) {
        for position in Positions(handled) {
            let taken = self.bank(at).map_or(0, |bank| bank.taken_at(position));
            let holder = self.holder(at, position);
            let Some(cpu) = self.cpu_mut(holder) else { continue };
            let vmcr = if here.is(holder) { here.hw.vmcr() } else { cpu.vmcr };
            if vmcr & VMCR_EOI_MODE == 0 {
                cpu.ended_early |= bit(u32::from(taken >> 3));
            }
        }
    }

    /// Takes an end for that of the most urgent one that was made inactive before, unless what was taken with the priority
    /// `taken` is more urgent: the guest ends its innermost first. Returns whether it was so.
    fn take_early_end(&mut self, vcpu: VcpuIndex, taken: u8) -> bool {
        let Some(cpu) = self.cpu_mut(vcpu) else { return false };
        let is_early = cpu.ended_early.trailing_zeros() <= u32::from(taken >> 3);
        if is_early {
            cpu.ended_early &= cpu.ended_early.wrapping_sub(1);
        }
        is_early
    }

    /// Makes interrupts that are not resident inactive.
    pub(crate) fn end<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        if let Some(bank) = self.bank_mut(at) {
            bank.active &= !mask;
            bank.acknowledged &= !mask;
        }
        self.release(here, at, mask);
        self.refresh(here, at, mask);
    }

    /// The active interrupt without a list register that was taken with the most urgent priority, and that priority. What
    /// software made active comes last, at 255.
    fn most_urgent_evicted(&self, vcpu: VcpuIndex) -> Option<(u8, IntId)> {
        let cpu = self.cpu(vcpu)?;
        let mut best = Best::new(1);
        for word in Positions(cpu.waiting_words) {
            let word = low_u8(word);
            let at = if word == 0 { At::Private(vcpu) } else { At::Shared(word) };
            let bank = self.bank(at)?;
            for position in Positions(cpu.waiting_in(word) & bank.active) {
                let is_taken = bank.acknowledged & bit(position) != 0;
                let taken = if is_taken { bank.taken_at(position) } else { u8::MAX };
                best.offer((u32::from(taken) << 16) | u32::from(intid_at(word, position).0));
            }
        }
        let [key, ..] = best.keys;
        (best.kept != 0).then_some((low_u8(key >> 16), IntId(low_u16(key))))
    }
}

/// Maintenance interrupts for those changes of the groups that make another choice better: a group is enabled, or one of
/// both is disabled. When the only one is disabled nothing can be delivered, and whichever is enabled next is announced. QEMU
/// takes group 1's switch for both when it looks for disabled ones, and would interrupt for ever if group 0 alone is
/// enabled.
fn group_changes(vmcr: u32) -> u32 {
    let is_on = |group| vmcr & group != 0;
    match (is_on(VMCR_GROUP0), is_on(VMCR_GROUP1)) {
        (false, false) => HCR_VGRP0E | HCR_VGRP1E,
        (true, false) => HCR_VGRP1E,
        (false, true) => HCR_VGRP0E,
        (true, true) => HCR_VGRP0D | HCR_VGRP1D,
    }
}
