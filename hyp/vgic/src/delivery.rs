//! Interrupts on their way to a list register: raise, lines, targets, and the waiting sets.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{Positions, bit, bit_of, intid_at};
use crate::distributor::{ANY_VCPU, NO_VCPU};
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Raised, Vgic, spi_index};

impl Vgic<'_> {
    /// Makes an interrupt pending as an edge does: event ports, control signals. `vcpu` counts for SGIs and
    /// PPIs only. Nothing happens if the partition has no such interrupt. [`crate::raise_without_lock`] is the short way.
    #[inline]
    pub fn raise<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
    ) -> Raised {
        let was_pending = self.pend(here, intid, vcpu, false);
        Raised { was_pending, kick: self.take_kick() }
    }

    /// Makes an interrupt pending because its physical one was taken: its priority is dropped and it stays
    /// active until the guest's end of interrupt deactivates it, or [`PhysIrq::deactivate`] is called. A PPI
    /// belongs to the vCPU that is loaded here.
    #[inline]
    pub fn fire<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
    ) -> VcpuSet {
        self.pend(here, intid, vcpu, true);
        self.take_kick()
    }

    /// Drives the line of a level-triggered interrupt of the hypervisor's own device models. `vcpu` counts
    /// for PPIs only.
    pub fn set_line<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
        level: Line,
    ) -> VcpuSet {
        let at = At::of(intid, vcpu);
        let mask = bit_of(intid) & self.valid(at);
        let is_high = level == Line::High;
        let Some(bank) = self.bank(at) else { return VcpuSet::EMPTY };
        if mask == 0 || (bank.line & mask != 0) == is_high {
            return VcpuSet::EMPTY;
        }
        let is_rising_edge = is_high && bank.edge & mask != 0;
        self.touch(here, at, mask);
        if let Some(bank) = self.bank_mut(at) {
            bank.line = if is_high { bank.line | mask } else { bank.line & !mask };
        }
        if is_rising_edge {
            self.pend(here, intid, vcpu, false);
        }
        self.refresh(here, at, mask);
        self.settle(here);
        self.take_kick()
    }

    /// Whether the physical interrupt behind `intid` is held active for this vCPU. EL2 asks for the timers'
    /// PPIs when a vCPU leaves its core (it then clears the physical active state), before it sleeps, and when it comes
    /// back (it then sets it again, before the vCPU runs): another vCPU may have ended it meanwhile, and has kicked it.
    #[must_use]
    pub fn holds_physical(&self, vcpu: VcpuIndex, intid: IntId) -> bool {
        self.bank(At::of(intid, vcpu)).is_some_and(|bank| bank.owed & bit_of(intid) != 0)
    }

    /// Tells that a vCPU went off (PSCI CPU_OFF): interrupts for one of several vCPUs go to others. The
    /// vCPU must not be loaded. Loading it makes it online again.
    pub fn set_offline<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
    ) -> VcpuSet {
        self.dist.online = self.dist.online.without(VcpuSet::one(vcpu));
        for word in 1..=self.dist.words {
            let waiting = self.cpu(vcpu).map_or(0, |cpu| cpu.waiting_in(word));
            self.refresh(here, At::Shared(word), waiting);
        }
        self.settle(here);
        self.take_kick()
    }

    /// The interrupts of a word that exist.
    #[inline]
    pub(crate) fn valid(&self, at: At) -> u32 {
        match at {
            At::Private(_) => u32::MAX,
            At::Shared(word) => self.dist.valid(word),
        }
    }

    /// Makes an interrupt pending; `is_fired` says that a physical one is held active for it. Returns
    /// whether it was pending.
    #[inline]
    pub(crate) fn pend<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
        is_fired: bool,
    ) -> bool {
        if self.pend_again(here, intid, vcpu, is_fired) {
            return false;
        }
        self.pend_slowly(here, intid, vcpu, is_fired)
    }

    fn pend_slowly<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
        is_fired: bool,
    ) -> bool {
        let at = At::of(intid, vcpu);
        let bit = bit_of(intid) & self.valid(at);
        let Some(bank) = self.bank(at) else { return false };
        if bank.resident & bit != 0 {
            return self.pend_resident(here, intid, at, is_fired);
        }
        let was_pending = bank.pending() & bit != 0;
        if let Some(bank) = self.bank_mut(at) {
            bank.latch |= bit;
            if is_fired {
                bank.owed |= bit;
            }
        }
        self.refresh(here, at, bit);
        self.settle(here);
        was_pending
    }

    /// The same for an interrupt that is in a list register.
    #[cold]
    fn pend_resident<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        at: At,
        is_fired: bool,
    ) -> bool {
        let bit = bit_of(intid);
        // What is in a list register is loaded: pending to whoever raises it, on this core or another, is what has come since.
        let was_pending = self.bank(at).is_some_and(|bank| bank.left.set_pending & bit != 0);
        self.touch(here, at, bit);
        let Some(bank) = self.bank_mut(at) else { return false };
        bank.latch_or_leave(bit);
        match (is_fired, bank.resident & bit != 0) {
            (true, true) => bank.left.fired |= bit,
            (true, false) => bank.owed |= bit,
            (false, _) => {}
        }
        self.refresh(here, at, bit);
        self.settle(here);
        was_pending
    }

    /// Prepares a change to interrupts: those in list registers of this core come back into memory, and
    /// the holders of the others will be kicked to look at what changes. Returns those others.
    #[inline]
    pub(crate) fn touch<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) -> u32 {
        let resident = self.bank(at).map_or(0, |bank| bank.resident) & mask;
        if resident == 0 { 0 } else { self.touch_resident(here, at, mask) }
    }

    #[cold]
    fn touch_resident<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) -> u32 {
        let resident = self.bank(at).map_or(0, |bank| bank.resident) & mask;
        let mut is_folded = false;
        for position in Positions(resident) {
            let holder = self.holder(at, position);
            if !here.is(holder) {
                self.add_kick(holder);
            } else if !is_folded {
                is_folded = true;
                self.fold_all(here, holder);
            }
        }
        self.disarm(at, mask);
        self.bank(at).map_or(0, |bank| bank.resident) & mask
    }

    /// Recomputes where these interrupts wait; vCPUs for which something new waits will be kicked.
    #[inline]
    pub(crate) fn refresh<H>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        match at {
            At::Private(vcpu) => self.refresh_private(here, vcpu),
            At::Shared(word) => {
                let groups = self.dist.groups;
                let Some(bank) = self.bank(at) else { return };
                let waiting = bank.waiting(groups);
                for position in Positions(mask & (waiting | bank.queued)) {
                    self.refresh_shared(here, word, position, waiting & bit(position) != 0);
                }
            }
        }
    }

    #[inline]
    fn refresh_private<H>(&mut self, here: Here<'_, H>, vcpu: VcpuIndex) {
        let groups = self.dist.groups;
        let Some(cpu) = self.cpu_mut(vcpu) else { return };
        let waiting = cpu.private.waiting(groups);
        let is_new = waiting & !cpu.waiting_in(0) != 0;
        cpu.set_waiting(0, waiting);
        if is_new && !here.is(vcpu) {
            self.add_kick(vcpu);
        }
    }

    fn refresh_shared<H>(&mut self, here: Here<'_, H>, word: u8, position: u32, is_waiting: bool) {
        let bit = bit(position);
        let index = spi_index(intid_at(word, position));
        let Some(&route) = self.dist.routes.get(index) else { return };
        let Some(bank) = self.bank(At::Shared(word)) else { return };
        let is_active = bank.active & bit != 0;
        let is_queued = bank.queued & bit != 0;
        let goal = match (is_waiting, is_active) {
            (false, _) => None,
            (true, true) => Some(VcpuIndex(route.holder)),
            (true, false) => self.target(word, position),
        };
        let goal = goal.filter(|vcpu| usize::from(vcpu.0) < self.cpus.len());
        if is_queued {
            if goal == Some(VcpuIndex(route.queue)) {
                return;
            }
            self.dequeue(VcpuIndex(route.queue), word, bit);
        }
        if let Some(vcpu) = goal {
            self.enqueue(here, vcpu, word, position);
        }
    }

    /// Kicks the vCPUs for which these interrupts wait: how urgent they are has changed.
    pub(crate) fn kick_waiting<H>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        let waiting = match at {
            At::Private(vcpu) => self.cpu(vcpu).map_or(0, |cpu| cpu.waiting_in(0)),
            At::Shared(_) => self.bank(at).map_or(0, |bank| bank.queued),
        };
        for position in Positions(waiting & mask) {
            let vcpu = match at {
                At::Private(vcpu) => vcpu,
                At::Shared(word) => {
                    let index = spi_index(intid_at(word, position));
                    VcpuIndex(self.dist.routes.get(index).map_or(0, |route| route.queue))
                }
            };
            if !here.is(vcpu) {
                self.add_kick(vcpu);
            }
        }
    }

    fn enqueue<H>(&mut self, here: Here<'_, H>, vcpu: VcpuIndex, word: u8, position: u32) {
        let bit = bit(position);
        if let Some(cpu) = self.cpu_mut(vcpu) {
            cpu.set_waiting(word, cpu.waiting_in(word) | bit);
        }
        if let Some(route) = self.dist.routes.get_mut(spi_index(intid_at(word, position))) {
            route.queue = vcpu.0;
        }
        if let Some(bank) = self.bank_mut(At::Shared(word)) {
            bank.queued |= bit;
        }
        if !here.is(vcpu) {
            self.add_kick(vcpu);
        }
    }

    fn dequeue(&mut self, vcpu: VcpuIndex, word: u8, bit: u32) {
        if let Some(cpu) = self.cpu_mut(vcpu) {
            cpu.set_waiting(word, cpu.waiting_in(word) & !bit);
        }
        if let Some(bank) = self.bank_mut(At::Shared(word)) {
            bank.queued &= !bit;
        }
    }

    /// Takes an interrupt out of the waiting set: it has just been placed.
    #[inline]
    pub(crate) fn note_resident(
        &mut self,
        vcpu: VcpuIndex,
        at: At,
        bit: u32,
        intid: IntId,
        slot: u8,
    ) {
        match at {
            At::Private(_) => {
                if let Some(cpu) = self.cpu_mut(vcpu) {
                    cpu.set_waiting(0, cpu.waiting_in(0) & !bit);
                }
                if let Some(quick) = self.quick(vcpu) {
                    quick.set_home(intid.0, slot);
                }
            }
            At::Shared(word) => {
                self.dequeue(vcpu, word, bit);
                if let Some(route) = self.dist.routes.get_mut(spi_index(intid)) {
                    route.holder = vcpu.0;
                    route.home = slot;
                }
            }
        }
    }

    /// The vCPU to which a pending SPI goes now. Of several, the lowest that is online, or else the lowest.
    pub(crate) fn target(&self, word: u8, position: u32) -> Option<VcpuIndex> {
        let route = self.dist.routes.get(spi_index(intid_at(word, position)))?;
        if route.target == NO_VCPU {
            return None;
        }
        if route.target != ANY_VCPU {
            return Some(VcpuIndex(route.target));
        }
        let all = self.all();
        let several = if self.dist.is_v2 {
            VcpuSet(u64::from(route.affinity)).intersection(all)
        } else {
            all
        };
        several.intersection(self.dist.online).lowest().or_else(|| several.lowest())
    }
}

/// The level of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Not asserted.
    Low,
    /// Asserted.
    High,
}
