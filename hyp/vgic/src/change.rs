//! Changes that registers make to interrupts, and exact reads of their state.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::Bank;
use crate::bits::{Positions, bit, bit_of, intid_at};
use crate::interface::Request;
use crate::lr::VMCR_EOI_MODE;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, SGIS, Vgic};

/// The registers of one bit for each interrupt, in the order of their offsets (0x080 apart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BitRegister {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
}

impl BitRegister {
    /// The register at `offset >> 7`, if that is one.
    #[inline]
    pub(crate) const fn at(offset_7: u32) -> Option<Self> {
        match offset_7 {
            1 => Some(Self::Group),
            2 => Some(Self::SetEnable),
            3 => Some(Self::ClearEnable),
            4 => Some(Self::SetPending),
            5 => Some(Self::ClearPending),
            6 => Some(Self::SetActive),
            7 => Some(Self::ClearActive),
            _ => None,
        }
    }
}

impl Vgic<'_> {
    /// Reads 32 interrupts' bits. `None`: their truth is on other cores, which have been asked for it.
    #[inline]
    pub(crate) fn read_bits<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        register: BitRegister,
    ) -> Option<u32> {
        match register {
            BitRegister::Group => Some(self.bank(at).map_or(0, |bank| bank.group1)),
            BitRegister::SetEnable | BitRegister::ClearEnable => {
                Some(self.bank(at).map_or(0, |bank| bank.enabled))
            }
            BitRegister::SetPending | BitRegister::ClearPending => {
                self.be_exact(here, at)?;
                self.sample(here, at, u32::MAX);
                Some(self.bank(at).map_or(0, Bank::pending) | self.posted(at))
            }
            BitRegister::SetActive | BitRegister::ClearActive => {
                self.be_exact(here, at)?;
                Some(self.bank(at).map_or(0, Bank::active_seen))
            }
        }
    }

    /// Writes 32 interrupts' bits.
    #[inline]
    pub(crate) fn write_bits<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        register: BitRegister,
        value: u32,
    ) {
        let mask = value & self.valid(at);
        match register {
            BitRegister::Group => self.write_group(here, at, mask),
            BitRegister::SetEnable => self.enable(here, at, mask),
            BitRegister::ClearEnable => self.disable(here, at, mask),
            BitRegister::SetPending => self.set_pending(here, at, mask),
            BitRegister::ClearPending => self.clear_pending(here, at, mask),
            BitRegister::SetActive => self.set_active(here, at, mask),
            BitRegister::ClearActive => self.clear_active(here, at, mask),
        }
    }

    /// Changes interrupts: what is resident here is folded before, what then waits is placed after. `make`
    /// gets the bank and the mask of those that are resident on other cores.
    pub(crate) fn change<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
        make: impl FnOnce(&mut Bank, u32),
    ) {
        if mask == 0 {
            return;
        }
        let elsewhere = self.touch(here, at, mask);
        if let Some(bank) = self.bank_mut(at) {
            make(bank, elsewhere);
            bank.left.any |= elsewhere;
        }
        self.release(here, at, mask);
        self.refresh(here, at, mask);
        self.settle(here);
    }

    fn write_group<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, value: u32) {
        let changed = self.bank(at).map_or(0, |bank| bank.group1 ^ value);
        self.change(here, at, changed, |bank, _| bank.group1 = value);
        self.kick_waiting(here, at, changed);
    }

    fn enable<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        let Some(bank) = self.bank(at) else { return };
        let changed = mask & !bank.enabled;
        let linked = changed & bank.linked;
        self.sample(here, at, changed);
        self.change(here, at, changed, |bank, _| bank.enabled |= changed);
        self.set_physical_enables(here, at, linked, true);
    }

    /// Looks again at the lines of interrupts that have fired and wait to be taken: a level is pending for no longer than its
    /// line is asserted (IHI 0069, GICD_ISPENDR\<n\>; IHI 0048, 4.3.7).
    #[inline]
    fn sample<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        let fired = self.bank(at).map_or(0, Bank::fired_levels) & mask;
        if fired != 0 {
            self.sample_fired(here, at, fired);
        }
    }

    /// Takes back those of them whose lines have fallen. What else is pending about one of them, by a write to GICD_ISPENDR,
    /// is not told apart and goes with it. A PPI's line is seen on its vCPU's core only.
    #[cold]
    fn sample_fired<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, fired: u32) {
        if matches!(at, At::Private(vcpu) if !here.is(vcpu)) {
            return;
        }
        let fallen = Positions(fired)
            .filter(|position| !here.hw.is_pending(self.physical(intid_at(at.word(), *position))))
            .fold(0, |set, position| set | bit(position));
        self.clear_pending(here, at, fallen);
    }

    fn disable<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        let always_on = if self.dist.is_v2 && at.word() == 0 { SGIS } else { 0 };
        let Some(bank) = self.bank(at) else { return };
        let changed = mask & bank.enabled & !always_on;
        let linked = changed & bank.linked;
        self.change(here, at, changed, |bank, _| bank.enabled &= !changed);
        self.set_physical_enables(here, at, linked, false);
        let elsewhere = self.bank(at).map_or(0, |bank| bank.resident & changed);
        for position in Positions(elsewhere) {
            let holder = self.holder(at, position);
            if !here.is(holder) {
                self.note_unsettled(at, holder);
            }
        }
    }

    fn note_unsettled(&mut self, at: At, holder: VcpuIndex) {
        let set = match at {
            At::Private(_) => &mut self.dist.unsettled_private,
            At::Shared(_) => &mut self.dist.unsettled,
        };
        *set = set.union(VcpuSet::one(holder));
    }

    fn set_physical_enables<H: PhysIrq>(
        &self,
        here: Here<'_, H>,
        at: At,
        linked: u32,
        is_enabled: bool,
    ) {
        for position in Positions(linked) {
            here.hw.set_enabled(self.physical(intid_at(at.word(), position)), is_enabled);
        }
    }

    pub(crate) fn set_pending<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) {
        // GICv2: SGIs are made pending by GICD_SPENDSGIR, which knows the sender.
        let mask = if self.dist.is_v2 && at.word() == 0 { mask & !SGIS } else { mask };
        self.change(here, at, mask, |bank, elsewhere| {
            bank.left.set_pending |= mask & elsewhere;
            bank.left.clear_pending &= !(mask & elsewhere);
            bank.latch |= mask & !elsewhere;
        });
    }

    pub(crate) fn clear_pending<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) {
        let mask = if self.dist.is_v2 && at.word() == 0 { mask & !SGIS } else { mask };
        if let At::Private(vcpu) = at
            && let Some(quick) = self.quick(vcpu)
        {
            quick.forget(mask);
        }
        self.change(here, at, mask, |bank, elsewhere| {
            bank.left.clear_pending |= mask & elsewhere;
            bank.left.set_pending &= !(mask & elsewhere);
            bank.latch &= !(mask & !elsewhere);
        });
    }

    fn set_active<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        // An SPI that software makes active belongs to whoever held it last: for an interrupt that nobody
        // will end, it does not matter whom.
        self.change(here, at, mask, |bank, elsewhere| {
            bank.left.set_active |= mask & elsewhere;
            bank.left.clear_active &= !(mask & elsewhere);
            bank.active |= mask & !elsewhere;
        });
    }

    fn clear_active<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, at: At, mask: u32) {
        // An end of interrupt that found no list register must not be counted for another interrupt.
        self.fold_if_evicted(here, at, mask);
        let mut handled = 0;
        self.change(here, at, mask, |bank, elsewhere| {
            bank.left.clear_active |= mask & elsewhere;
            bank.left.set_active &= !(mask & elsewhere);
            handled = bank.active & bank.acknowledged & mask & !elsewhere;
            bank.active &= !(mask & !elsewhere);
            bank.acknowledged &= !(mask & !elsewhere);
        });
        if handled != 0 {
            self.note_early_ends(here, at, handled);
        }
        // What waited as active may wait as pending now.
        self.kick_waiting(here, at, mask);
    }

    fn fold_if_evicted<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) {
        let evicted = self.bank(at).map_or(0, |bank| bank.active & !bank.resident & mask);
        if evicted != 0
            && let Some(vcpu) = here.vcpu
        {
            self.fold_all(here, vcpu);
        }
    }

    /// A trapped write to ICC_DIR_EL1 (GICv3) or to GICC_DIR (GICv2) by the vCPU that is loaded here.
    /// Ignored unless the guest's EOImode is 1 (IHI 0069, ICC_DIR_EL1).
    pub fn deactivate<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        value: u64,
    ) -> VcpuSet {
        let Some(vcpu) = here.vcpu else { return VcpuSet::EMPTY };
        if here.hw.vmcr() & VMCR_EOI_MODE == 0 {
            return VcpuSet::EMPTY;
        }
        // GICv2 has the sender of an SGI in bits 12:10; the list register knows it.
        let number = if self.dist.is_v2 { value & 0x3ff } else { value & 0xff_ffff };
        if let Ok(number) = u16::try_from(number) {
            let intid = IntId(number);
            let at = At::of(intid, vcpu);
            let mask = bit_of(intid) & self.valid(at);
            if number < IntId::END_SPI.0 {
                self.clear_active(here, at, mask);
            }
        }
        self.take_kick()
    }

    /// Makes memory's pending and active bits of 32 interrupts exact. `None`: some of them are in list
    /// registers of other cores, which must fold first; the access is to be repeated.
    ///
    /// The request stays with the reader until it is answered, and any later fold answers it: repeating the
    /// access makes progress even if the interrupts go back into list registers at once. What is read then was
    /// true at some moment after the request.
    pub(crate) fn be_exact<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
    ) -> Option<()> {
        self.be_exact_for(here, at, u32::MAX)
    }

    /// The same for some of the 32.
    pub(crate) fn be_exact_for<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) -> Option<()> {
        let reader = here.vcpu?;
        let doubtful = self.bank(at).map_or(0, |bank| bank.resident | bank.active) & mask;
        let mut others = VcpuSet::EMPTY;
        let mut is_here = false;
        for position in Positions(doubtful) {
            let holder = self.holder(at, position);
            if here.is(holder) {
                is_here = true;
            } else if self.is_loaded(holder) {
                others = others.union(VcpuSet::one(holder));
            }
        }
        if is_here {
            self.fold_all(here, reader);
            self.settle(here);
        }
        if !others.is_empty() {
            return self.ask(reader, at, others);
        }
        // Answered without them: a fold since an earlier request must not answer a later read.
        self.cpu_mut(reader)?.request = None;
        Some(())
    }

    /// Asks other vCPUs to fold, or finds that all have done so since this was asked first.
    #[cold]
    fn ask(&mut self, reader: VcpuIndex, at: At, others: VcpuSet) -> Option<()> {
        let vcpu = match at {
            At::Private(vcpu) => vcpu.0,
            At::Shared(_) => 0,
        };
        let word = at.word();
        let open = self.cpu(reader)?.request.filter(|r| r.word == word && r.vcpu == vcpu);
        let late = match open {
            None => others,
            Some(request) => {
                let is_late = |vcpu: &VcpuIndex| {
                    self.cpu(*vcpu).is_some_and(|cpu| cpu.synced_at <= request.since)
                };
                others
                    .filter(is_late)
                    .fold(VcpuSet::EMPTY, |set, vcpu| set.union(VcpuSet::one(vcpu)))
            }
        };
        let now = self.dist.tick();
        let cpu = self.cpu_mut(reader)?;
        if late.is_empty() {
            cpu.request = None;
            return Some(());
        }
        if open.is_none() {
            cpu.request = Some(Request { word, vcpu, since: now });
        }
        for vcpu in late {
            self.add_kick(vcpu);
        }
        None
    }
}
