//! Registers of the distributor that are more than a bit for each interrupt: control, identification,
//! trigger, priority (IHI 0069, 12.9; IHI 0048, 4.3). The redistributor shares trigger and priority.

use shikiri_abi::VcpuIndex;
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::{Bank, Groups};
use crate::bits::{gather_odd, low_u8, spread_to_odd};
use crate::mmio::BYTE;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, SGIS, Vgic};

/// GICD_CTLR: group enables.
const CTLR_GROUPS: u32 = 0b11;
/// GICD_CTLR on GICv3: affinity routing and one security state, both fixed.
const CTLR_ARE_DS: u32 = (1 << 4) | (1 << 6);
/// GICD_CTLR.RWP.
const CTLR_RWP: u32 = 1 << 31;
/// GICD_TYPER.A3V: affinity 3 may be written.
const TYPER_A3V: u32 = 1 << 24;
/// GICD_TYPER.IDbits: 10 bits of INTID, as a field value.
const TYPER_IDBITS: u32 = 9 << 19;
/// GICD_IIDR and GICR_IIDR: implementer Arm, as QEMU's GIC has it.
pub(crate) const IIDR: u32 = 0x43b;

impl Vgic<'_> {
    /// GICD_CTLR, GICD_TYPER, GICD_IIDR.
    #[inline]
    pub(crate) fn read_identity(&self, offset: u32) -> u32 {
        match offset {
            0 => self.read_control(),
            4 => self.read_type(),
            8 => IIDR,
            _ => 0,
        }
    }

    #[inline]
    fn read_control(&self) -> u32 {
        let groups = (self.dist.groups.group0 & 1) | (self.dist.groups.group1 & 2);
        if self.dist.is_v2 {
            return groups;
        }
        let rwp = if self.dist.unsettled.is_empty() { 0 } else { CTLR_RWP };
        groups | CTLR_ARE_DS | rwp
    }

    #[inline]
    fn read_type(&self) -> u32 {
        let lines = u32::from(self.dist.words);
        if self.dist.is_v2 {
            let cpus = low_u8(self.all().0.count_ones().wrapping_sub(1) & 7);
            lines | (u32::from(cpus) << 5)
        } else {
            lines | TYPER_A3V | TYPER_IDBITS
        }
    }

    pub(crate) fn write_control<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        value: u32,
    ) {
        let enables = value & CTLR_GROUPS;
        let groups = Groups {
            group0: if enables & 1 == 0 { 0 } else { u32::MAX },
            group1: if enables & 2 == 0 { 0 } else { u32::MAX },
        };
        let old = self.dist.groups;
        if groups == old {
            return;
        }
        if let Some(own) = here.vcpu {
            self.fold_all(here, own);
        }
        let is_disabling = old.group0 & !groups.group0 != 0 || old.group1 & !groups.group1 != 0;
        for vcpu in self.all() {
            let is_elsewhere = self.cpu(vcpu).is_some_and(|cpu| cpu.used != 0) && !here.is(vcpu);
            if is_elsewhere {
                self.add_kick(vcpu);
                if is_disabling {
                    self.dist.unsettled = self.dist.unsettled.union(VcpuSet::one(vcpu));
                }
            }
        }
        self.dist.groups = groups;
        for word in 1..=self.dist.words {
            self.disarm(At::Shared(word), u32::MAX);
        }
        for quick in self.quicks {
            quick.disarm(u32::MAX);
        }
        for vcpu in self.all() {
            self.refresh(here, At::Private(vcpu), u32::MAX);
        }
        for word in 1..=self.dist.words {
            self.refresh(here, At::Shared(word), u32::MAX);
        }
        self.settle(here);
    }

    /// GICD_ICFGR, GICR_ICFGR: half 0 has the lower 16 interrupts of the word.
    pub(crate) fn read_config(&self, at: At, half: u32) -> u32 {
        let edge = self.bank(at).map_or(0, |bank| bank.edge);
        spread_to_odd(if half == 0 { edge } else { edge >> 16 })
    }

    pub(crate) fn write_config<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        half: u32,
        value: u32,
    ) {
        let fixed = if at.word() == 0 { SGIS } else { 0 };
        let (mask, edge) = if half == 0 {
            (0xffff & !fixed, gather_odd(value))
        } else {
            (0xffff_0000, gather_odd(value) << 16)
        };
        let mask = mask & self.valid(at);
        let changed = self.bank(at).map_or(0, |bank| (bank.edge ^ edge) & mask & !bank.fixed);
        self.change(here, at, changed, |bank, _| bank.edge ^= changed);
    }

    /// GICD_IPRIORITYR; `offset` is the first INTID.
    pub(crate) fn read_priority(&self, vcpu: VcpuIndex, offset: u32, size: u8) -> u32 {
        self.distributor_at(vcpu, offset >> 5)
            .map_or(0, |at| self.read_priority_at(at, offset & 31, size))
    }

    pub(crate) fn write_priority<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        offset: u32,
        size: u8,
        value: u32,
    ) {
        if let Some(at) = self.distributor_at(vcpu, offset >> 5) {
            self.write_priority_at(here, at, offset & 31, size, value);
        }
    }

    pub(crate) fn read_priority_at(&self, at: At, first: u32, size: u8) -> u32 {
        let Some(bank) = self.bank(at) else { return 0 };
        if size == BYTE {
            return u32::from(bank.priority_at(first));
        }
        u32::from_le_bytes([
            bank.priority_at(first),
            bank.priority_at(first | 1),
            bank.priority_at(first | 2),
            bank.priority_at(first | 3),
        ])
    }

    pub(crate) fn write_priority_at<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        first: u32,
        size: u8,
        value: u32,
    ) {
        let bits = if size == BYTE { 1_u32 } else { 0xf };
        let mask = bits.wrapping_shl(first) & self.valid(at);
        let first = usize::from(low_u8(first));
        let bytes = (value & 0xf8f8_f8f8).to_le_bytes();
        let write = |bank: &mut Bank| {
            if size != BYTE
                && let Some(places) = bank.priority.get_mut(first..first.wrapping_add(4))
            {
                places.copy_from_slice(&bytes);
            } else if let Some(place) = bank.priority.get_mut(first) {
                [*place, ..] = bytes;
            }
        };
        if mask == 0 {
            return;
        }
        let busy = self.busy(at);
        let Some(bank) = self.bank_mut(at) else { return };
        if busy & mask == 0 {
            return write(bank);
        }
        self.change(here, at, mask, |bank, _| write(bank));
        self.kick_waiting(here, at, mask);
    }

    /// Sets the priority of an SPI, if it exists and is not on its way to a vCPU.
    #[inline]
    pub(crate) fn write_idle_priority(&mut self, intid: u32, priority: u8) -> bool {
        let word = low_u8(intid >> 5);
        let bit = crate::bits::bit(intid);
        if self.dist.valid(word) & bit == 0 {
            return false;
        }
        let Some(bank) = self.bank_mut(At::Shared(word)) else { return false };
        let is_idle = (bank.resident | bank.queued) & bit == 0;
        if let Some(place) = bank.priority.get_mut(usize::from(low_u8(intid & 31)))
            && is_idle
        {
            *place = priority & 0xf8;
        }
        is_idle
    }

    /// The interrupts that are in list registers or wait for one.
    #[inline]
    fn busy(&self, at: At) -> u32 {
        match at {
            At::Private(vcpu) => {
                self.cpu(vcpu).map_or(0, |cpu| cpu.private.resident | cpu.waiting_in(0))
            }
            At::Shared(_) => self.bank(at).map_or(0, |bank| bank.resident | bank.queued),
        }
    }
}

/// The identification registers: PIDR4–7, PIDR0–3 and CIDR0–3 at 0x50 of the last 128 bytes. PIDR2 holds the
/// architecture's revision.
pub(crate) const fn peripheral_id(offset: u32, pidr2: u32) -> u32 {
    match offset {
        0x50 => 0x44,
        0x60 => 0x92,
        0x64 => 0xb4,
        0x68 => pidr2,
        0x70 => 0x0d,
        0x74 => 0xf0,
        0x78 => 0x05,
        0x7c => 0xb1,
        _ => 0,
    }
}
