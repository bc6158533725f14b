//! Between memory and list registers: load, unload, sync; folding and placing.
//!
//! *Fold* reads a list register back into memory and empties it; *place* puts an interrupt into an empty
//! one. An interrupt waits if it can be signalled or is active, and is not resident; after every operation
//! nothing waits for the vCPU that is loaded here, unless all its list registers are in use by what is more
//! urgent (`overflow`).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ActivePriorities, ListRegisters, PhysIrq};

use crate::bank::Bank;
use crate::bits::{Positions, bit, intid_at, low_u8, low_u16};
use crate::interface::Slot;
use crate::lr::{self, ACTIVE, Ending, HCR_EN, HCR_LRENPIE, HCR_TDIR, Image, PENDING};
use crate::quick::Armed;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Vgic};

/// HCR as it is never written: the next settling writes it.
const CONTROL_UNKNOWN: u32 = u32::MAX;

impl Vgic<'_> {
    /// Makes a vCPU the one that is loaded on this core: its masks, its running priorities and as many of
    /// its interrupts as fit go to hardware. The list registers must be empty (as [`Vgic::unload`] or
    /// [`clear_hardware`] leaves them). Answers who else must be kicked.
    #[must_use = "a vCPU that is not kicked may sleep on what it got"]
    pub fn load<H: ListRegisters + PhysIrq>(&mut self, hw: &H, vcpu: VcpuIndex) -> VcpuSet {
        self.dist.online = self.dist.online.union(VcpuSet::one(vcpu));
        let Some(cpu) = self.cpu_mut(vcpu) else { return VcpuSet::EMPTY };
        cpu.is_loaded = true;
        cpu.all_slots = !u32::MAX.wrapping_shl(u32::from(hw.count().clamp(1, 16)));
        cpu.used = 0;
        cpu.control = CONTROL_UNKNOWN;
        hw.set_vmcr(cpu.vmcr);
        hw.set_active_priorities(&cpu.priorities);
        self.take_mail(vcpu);
        self.settle(Here { hw, vcpu: Some(vcpu) });
        self.take_kick()
    }

    /// Takes the loaded vCPU's interrupts, masks and running priorities back into memory and leaves the
    /// list registers empty and the virtual interface off. Answers who else must be kicked.
    pub fn unload<H: ListRegisters + PhysIrq>(&mut self, hw: &H, vcpu: VcpuIndex) -> VcpuSet {
        self.fold_all(Here { hw, vcpu: Some(vcpu) }, vcpu);
        hw.set_control(0);
        if let Some(cpu) = self.cpu_mut(vcpu) {
            cpu.vmcr = hw.vmcr();
            cpu.priorities = hw.active_priorities();
            cpu.is_loaded = false;
        }
        self.take_kick()
    }

    /// Folds, carries out what other cores left, and fills the list registers anew: after a kick, and on
    /// the maintenance interrupt. Answers who else must be kicked. [`crate::Quick`] has short ways for both.
    pub fn sync<H: ListRegisters + PhysIrq>(&mut self, hw: &H, vcpu: VcpuIndex) -> VcpuSet {
        let here = Here { hw, vcpu: Some(vcpu) };
        self.fold_all(here, vcpu);
        self.take_mail(vcpu);
        self.settle(here);
        self.take_kick()
    }

    /// Fills free list registers of the vCPU that is loaded here.
    #[inline]
    pub(crate) fn settle<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>) {
        let Some(vcpu) = here.vcpu else { return };
        let base = self.base_control();
        if self.cpu(vcpu).is_some_and(|cpu| cpu.control & HCR_LRENPIE != 0) {
            // The end of an evicted interrupt may have been counted just now: that one must not go back.
            self.take_ends(here, vcpu);
        }
        loop {
            let Some(cpu) = self.cpus.get(usize::from(vcpu.0)) else { return };
            let Some((word, position)) = cpu.next_waiting() else {
                if cpu.control != base {
                    // Writing HCR forgets what it has counted.
                    self.take_ends(here, vcpu);
                    self.set_control(here, vcpu, base);
                }
                return;
            };
            let free = cpu.all_slots & !cpu.used;
            if free == 0 {
                if self.reap(here, vcpu) {
                    continue;
                }
                return self.overflow(here, vcpu, base);
            }
            let (slot, intid) = (low_u8(free.trailing_zeros()), intid_at(word, position));
            if self.place(here, vcpu, slot, intid) == Armed::Edge {
                self.arm_spi(vcpu, slot, intid);
            }
        }
    }

    /// HCR when everything fits.
    #[inline]
    pub(crate) const fn base_control(&self) -> u32 {
        if self.dist.is_v2 { HCR_EN } else { HCR_EN | HCR_TDIR }
    }

    /// Writes HCR.
    pub(crate) fn set_control<H: ListRegisters>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        control: u32,
    ) {
        here.hw.set_control(control);
        if let Some(cpu) = self.cpu_mut(vcpu) {
            cpu.control = control;
        }
    }

    /// Takes back those list registers whose interrupts are finished: the cheap part of a fold. Returns
    /// whether there were any.
    #[inline]
    fn reap<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, vcpu: VcpuIndex) -> bool {
        let used = self.cpu(vcpu).map_or(0, |cpu| cpu.used);
        // What was placed in this visit must not be taken for finished: it would be lost.
        here.hw.synchronize();
        let finished = used & here.hw.empty();
        for index in Positions(finished) {
            self.fold(here, vcpu, index, Found { state: 0, is_released: true, sender: 0 });
        }
        finished != 0
    }

    /// Folds every list register, and carries out what other cores left.
    pub(crate) fn fold_all<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
    ) {
        self.take_ends(here, vcpu);
        let now = self.dist.tick();
        let settled = VcpuSet::one(vcpu);
        self.dist.unsettled = self.dist.unsettled.without(settled);
        self.dist.unsettled_private = self.dist.unsettled_private.without(settled);
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        cpu.synced_at = now;
        let release = cpu.release;
        cpu.release = 0;
        for index in Positions(cpu.used) {
            let slot = low_u8(index);
            let value = here.hw.read(slot);
            here.hw.write(slot, 0);
            let found = Found {
                state: lr::state(self.dist.model(), value),
                is_released: !self.dist.is_v2 || !lr::is_ended_v2(value),
                sender: lr::sender_v2(value),
            };
            self.fold(here, vcpu, index, found);
        }
        for position in Positions(release) {
            here.hw.deactivate(IntId(low_u16(position)));
        }
    }

    /// Takes the state of one list register, just read, into memory.
    fn fold<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        index: u32,
        found: Found,
    ) {
        let Some(cpu) = self.cpus.get_mut(usize::from(vcpu.0)) else { return };
        cpu.used &= !bit(index);
        let Some(&slot) = cpu.slots.get(usize::from(low_u8(index & 15))) else { return };
        let at = At::of(IntId(slot.intid), vcpu);
        let bit = bit(u32::from(slot.intid));
        if self.dist.is_v2 && slot.intid < 16 {
            self.fold_source(vcpu, slot, found.state, found.sender);
        }
        let Some(bank) = self.bank_mut(at) else { return };
        fold_bits(bank, bit, slot, found);
        if bank.left.any & bit != 0 {
            let handled = bank.left.clear_active & bank.active & bank.acknowledged & bit;
            bank.apply_commands(bit);
            if handled != 0 {
                self.note_early_ends(here, at, handled);
            }
        }
        if self.dist.is_v2 && slot.intid < 16 {
            self.latch_senders(vcpu, slot.intid);
        }
        self.disarm(at, bit);
        self.release(here, at, bit);
        self.refresh(here, at, bit);
    }

    /// Puts a waiting interrupt into an empty list register. Returns how it is armed there.
    pub(crate) fn place<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        slot: u8,
        intid: IntId,
    ) -> Armed {
        let at = At::of(intid, vcpu);
        let position = u32::from(intid.0 & 31);
        let bit = bit(position);
        let link = self.link_ending(intid);
        let source = self.source(vcpu, intid);
        let groups = self.dist.groups;
        let Some(bank) = self.bank(at) else { return Armed::No };
        let (priority, is_split) = if bank.active & bit == 0 {
            (bank.priority_at(position), false)
        } else {
            self.active_priority(vcpu, at, position)
        };
        let is_split = is_split || self.has_more_sources(vcpu, intid);
        let Some(bank) = self.bank_mut(at) else { return Armed::No };
        let (state, ending) =
            choose_state(bank, bit, bank.ready(groups) & bit != 0, is_split, link);
        let image = Image {
            intid: intid.0,
            priority,
            is_group1: bank.group1 & bit != 0,
            state,
            ending,
            source,
        };
        let is_linked = bank.owed & bit != 0 && ending.is_physical();
        bank.resident |= bit;
        let armed = Armed::from_placing(state, ending);
        let image_bits = image.encode(self.dist.model());
        here.hw.write(slot, image_bits);
        self.arm(vcpu, at, bit, armed);
        self.note_resident(vcpu, at, bit, intid, slot);
        if let Some(quick) = self.quick(vcpu) {
            quick.set_image(slot, image_bits);
        }
        let Some(cpu) = self.cpus.get_mut(usize::from(vcpu.0)) else { return Armed::No };
        cpu.used |= crate::bits::bit(u32::from(slot));
        if let Some(place) = cpu.slots.get_mut(usize::from(slot & 15)) {
            *place = Slot {
                intid: intid.0,
                was_pending: state & PENDING != 0,
                is_linked,
                source,
                priority: image.priority,
            };
        }
        armed
    }
}

impl Vgic<'_> {
    /// How the end of an interrupt for which a physical one is held active ends that.
    ///
    /// On GICv3 the hardware does it. On GICv2 it could (GICH_LR.HW), but QEMU's does not look at a level again when
    /// a virtual end of interrupt deactivates the physical one, so that a line that is high by then never fires
    /// again: there EL2 does it, on the maintenance interrupt (decision page 0013).
    #[inline]
    fn link_ending(&self, intid: IntId) -> Ending {
        if self.dist.is_v2 {
            Ending::ReportedPhysical
        } else {
            Ending::Physical(self.physical(intid).0)
        }
    }

    #[inline]
    fn arm(&mut self, vcpu: VcpuIndex, at: At, bit: u32, how: Armed) {
        match at {
            At::Private(_) => {
                if let Some(quick) = self.quick(vcpu) {
                    quick.arm(bit, how);
                }
            }
            At::Shared(_) => {
                if let Some(bank) = self.bank_mut(at) {
                    bank.arm(bit, how);
                }
            }
        }
    }

    /// The priority of an active interrupt's image, and whether it is another's when it is pending: with another priority, or of
    /// an SPI for another vCPU.
    ///
    /// What was acknowledged keeps the priority with which it was taken: GICv3 ends only what has the priority that the end
    /// drops (IHI 0069, the pseudocode of ICV_EOIR1_EL1).
    #[inline(never)]
    fn active_priority(&self, vcpu: VcpuIndex, at: At, position: u32) -> (u8, bool) {
        let Some(bank) = self.bank(at) else { return (0, false) };
        let priority = bank.priority_at(position);
        let is_taken = bank.acknowledged & bit(position) != 0;
        let shown = if is_taken { bank.taken_at(position) } else { priority };
        let is_away = matches!(at, At::Shared(word) if self.target(word, position) != Some(vcpu));
        (shown, shown != priority || is_away)
    }
}

/// Leaves the list registers of a core empty and its virtual interface off: once, when the core starts.
pub fn clear_hardware(hw: &impl ListRegisters) {
    hw.set_control(0);
    for index in 0..hw.count().min(16) {
        hw.write(index, 0);
    }
    hw.set_active_priorities(&ActivePriorities::NONE);
}

/// What a list register held when it was folded.
#[derive(Clone, Copy, Debug)]
struct Found {
    state: u8,
    /// If nothing: a physical interrupt behind it is deactivated, by the hardware or by [`crate::Quick::end_linked`].
    is_released: bool,
    /// The sender of an SGI of GICv2.
    sender: u8,
}

/// A list register's state into the interrupt's bits.
#[inline]
fn fold_bits(bank: &mut Bank, bit: u32, slot: Slot, found: Found) {
    let state = found.state;
    let is_consumed = slot.was_pending && state & PENDING == 0;
    if is_consumed {
        bank.latch &= !bit;
    }
    if state & ACTIVE != 0 {
        bank.active |= bit;
        if is_consumed {
            bank.acknowledge(slot.intid, bit, slot.priority);
        }
    } else {
        bank.active &= !bit;
        bank.acknowledged &= !bit;
        if slot.is_linked && state == 0 && found.is_released {
            bank.owed &= !bit;
        }
    }
    bank.resident &= !bit;
}

/// How an interrupt goes into a list register.
///
/// A hardware link cannot be pending and active at once (IHI 0069, ICH_LR.HW), and a level must be looked at
/// again when its handler is done: such interrupts go in as active only, and report their end. So do those
/// whose active and pending parts do not belong together (`is_split`): an SGI of GICv2 that another vCPU has
/// sent too, since a list register holds one sender, an SPI that was routed away while it is active, and what was given
/// another priority.
#[inline]
fn choose_state(
    bank: &Bank,
    bit: u32,
    is_ready: bool,
    is_split: bool,
    link: Ending,
) -> (u8, Ending) {
    let is_owed = bank.owed & bit != 0;
    let is_level = bank.edge & bit == 0;
    if bank.active & bit == 0 {
        let ending = if is_owed {
            link
        } else if is_level || is_split {
            Ending::Reported
        } else {
            Ending::Silent
        };
        return (PENDING, ending);
    }
    if is_owed && bank.latch & bit == 0 {
        return (ACTIVE, link);
    }
    if is_level || is_owed || is_split {
        (ACTIVE, Ending::Reported)
    } else if is_ready {
        (PENDING | ACTIVE, Ending::Silent)
    } else {
        (ACTIVE, Ending::Silent)
    }
}
