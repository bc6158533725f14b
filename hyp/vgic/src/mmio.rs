//! Guest accesses to the GIC's frames: decoding, and the distributor's registers (IHI 0069, 12.9;
//! IHI 0048, 4.3).
//!
//! What a frame does not have reads as zero and ignores writes, as does an access that is not aligned or
//! of a size that the register does not take.

use shikiri_abi::VcpuIndex;
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::Groups;
use crate::bits::{gather_odd, low_u8, low_u32, spread_to_odd};
use crate::change::BitRegister;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, SGIS, Vgic};

/// A frame of the guest's GIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// GICD: 0x1_0000 bytes on GICv3, 0x1000 on GICv2.
    Distributor,
    /// GICv3: a vCPU's RD_base and SGI_base frames, 0x2_0000 bytes together.
    Redistributor(VcpuIndex),
    /// GICv2: the second page of GICC, which holds GICC_DIR and nothing else; the first one is GICV's.
    Deactivate,
}

/// What the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store of this value, truncated to the access size.
    Write(u64),
}

/// What is to be done after an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct MmioOutcome {
    /// What a load reads.
    pub value: u64,
    /// Who must be kicked.
    pub kick: VcpuSet,
    /// The access is not done: kick, return to the guest *without* moving its PC on, so that it repeats
    /// the instruction. This ends as soon as the kicked vCPUs have been folded or unloaded once.
    pub is_retry: bool,
}

/// Size of an access: log2 of its bytes.
pub(crate) const BYTE: u8 = 0;
pub(crate) const WORD: u8 = 2;
pub(crate) const DOUBLE: u8 = 3;

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
    /// Carries out an access to one of the frames by the vCPU that is loaded here. `offset` counts from the
    /// frame's start; `size_log2` is 0 to 3.
    #[inline]
    pub fn mmio<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        frame: Frame,
        offset: u32,
        size_log2: u8,
        access: Access,
    ) -> MmioOutcome {
        let aligned = u32::from(1_u8.wrapping_shl(u32::from(size_log2)).wrapping_sub(1));
        let Some(vcpu) = here.vcpu.filter(|_| offset & aligned == 0) else {
            return MmioOutcome { value: 0, kick: VcpuSet::EMPTY, is_retry: false };
        };
        let answer = match access {
            Access::Read => self.read(here, vcpu, frame, offset, size_log2),
            Access::Write(value) => {
                self.write(here, vcpu, frame, offset, size_log2, value);
                Some(0)
            }
        };
        MmioOutcome {
            value: answer.unwrap_or(0),
            kick: self.take_kick(),
            is_retry: answer.is_none(),
        }
    }

    #[inline]
    fn read<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        frame: Frame,
        offset: u32,
        size: u8,
    ) -> Option<u64> {
        match frame {
            Frame::Distributor if size == WORD => self.read_word(here, vcpu, offset).map(u64::from),
            Frame::Distributor => Some(self.read_odd_size(vcpu, offset, size)),
            Frame::Redistributor(owner) => self.read_redistributor(here, owner, offset, size),
            Frame::Deactivate => Some(0),
        }
    }

    fn write<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        frame: Frame,
        offset: u32,
        size: u8,
        value: u64,
    ) {
        match frame {
            Frame::Distributor if size == WORD => {
                self.write_word(here, vcpu, offset, low_u32(value));
            }
            Frame::Distributor => self.write_odd_size(here, vcpu, offset, size, value),
            Frame::Redistributor(owner) => {
                self.write_redistributor(here, owner, offset, size, low_u32(value));
            }
            Frame::Deactivate => {
                if offset == 0 && size == WORD && self.dist.is_v2 {
                    let kick = self.deactivate(here, value);
                    self.kick = self.kick.union(kick);
                }
            }
        }
    }

    #[inline]
    fn read_word<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        offset: u32,
    ) -> Option<u32> {
        let block = offset >> 7;
        if block == 0 {
            return Some(self.read_identity(offset));
        }
        if let Some(register) = BitRegister::at(block) {
            let Some(at) = self.distributor_at(vcpu, (offset & 0x7f) >> 2) else { return Some(0) };
            return self.read_bits(here, at, register);
        }
        Some(match block {
            8..=15 => self.read_priority(vcpu, offset & 0x3ff, WORD),
            16..=23 if self.dist.is_v2 => self.read_targets(vcpu, offset & 0x3ff, WORD),
            24 | 25 => {
                let half = (offset & 0xff) >> 2;
                self.distributor_at(vcpu, half >> 1).map_or(0, |at| self.read_config(at, half & 1))
            }
            30 if self.dist.is_v2 => self.read_sgi_pending(vcpu, offset & 0x7f, WORD),
            31 if self.dist.is_v2 => peripheral_id(offset & 0x7f, 0x2b),
            192..=255 if !self.dist.is_v2 => self.read_router_half(offset & 0x1fff),
            511 if !self.dist.is_v2 => peripheral_id(offset & 0x7f, 0x3b),
            _ => 0,
        })
    }

    fn write_word<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        offset: u32,
        value: u32,
    ) {
        let block = offset >> 7;
        if let Some(register) = BitRegister::at(block) {
            if let Some(at) = self.distributor_at(vcpu, (offset & 0x7f) >> 2) {
                self.write_bits(here, at, register, value);
            }
            return;
        }
        match block {
            0 if offset == 0 => self.write_control(here, value),
            8..=15 => self.write_priority(here, vcpu, offset & 0x3ff, WORD, value),
            16..=23 if self.dist.is_v2 => {
                self.write_targets(here, offset & 0x3ff, WORD, value);
            }
            24 | 25 => {
                let half = (offset & 0xff) >> 2;
                if let Some(at) = self.distributor_at(vcpu, half >> 1) {
                    self.write_config(here, at, half & 1, value);
                }
            }
            30 if self.dist.is_v2 => self.write_sgi_block(here, vcpu, offset & 0x7f, WORD, value),
            192..=255 if !self.dist.is_v2 => self.write_router_half(here, offset & 0x1fff, value),
            _ => {}
        }
    }

    /// Loads of a byte or a double word.
    fn read_odd_size(&self, vcpu: VcpuIndex, offset: u32, size: u8) -> u64 {
        let block = offset >> 7;
        match (size, block) {
            (BYTE, 8..=15) => u64::from(self.read_priority(vcpu, offset & 0x3ff, BYTE)),
            (BYTE, 16..=23) if self.dist.is_v2 => {
                u64::from(self.read_targets(vcpu, offset & 0x3ff, BYTE))
            }
            (BYTE, 30) if self.dist.is_v2 => {
                u64::from(self.read_sgi_pending(vcpu, offset & 0x7f, BYTE))
            }
            (DOUBLE, 192..=255) if !self.dist.is_v2 => self.read_router(offset & 0x1fff),
            _ => 0,
        }
    }

    /// Stores of a byte or a double word.
    fn write_odd_size<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        offset: u32,
        size: u8,
        value: u64,
    ) {
        let word = low_u32(value);
        match (size, offset >> 7) {
            (BYTE, 8..=15) => self.write_priority(here, vcpu, offset & 0x3ff, BYTE, word),
            (BYTE, 16..=23) if self.dist.is_v2 => {
                self.write_targets(here, offset & 0x3ff, BYTE, word);
            }
            (BYTE, 30) if self.dist.is_v2 => {
                self.write_sgi_block(here, vcpu, offset & 0x7f, BYTE, word);
            }
            (DOUBLE, 192..=255) if !self.dist.is_v2 => {
                self.write_router(here, offset & 0x1fff, value);
            }
            _ => {}
        }
    }

    /// A word of the distributor's: word 0 is the vCPU's own on GICv2, and not there on GICv3, which has it
    /// in the redistributor.
    #[inline]
    pub(crate) fn distributor_at(&self, vcpu: VcpuIndex, word: u32) -> Option<At> {
        let word = low_u8(word);
        if word == 0 {
            self.dist.is_v2.then_some(At::Private(vcpu))
        } else {
            (word <= self.dist.words).then_some(At::Shared(word))
        }
    }

    /// GICD_CTLR, GICD_TYPER, GICD_IIDR.
    #[inline]
    fn read_identity(&self, offset: u32) -> u32 {
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

    fn write_control<H: ListRegisters + PhysIrq>(&mut self, here: Here<'_, H>, value: u32) {
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
        let changed = self.bank(at).map_or(0, |bank| (bank.edge ^ edge) & mask);
        self.change(here, at, changed, |bank, _| bank.edge ^= changed);
    }

    /// GICD_IPRIORITYR; `offset` is the first INTID.
    fn read_priority(&self, vcpu: VcpuIndex, offset: u32, size: u8) -> u32 {
        self.distributor_at(vcpu, offset >> 5)
            .map_or(0, |at| self.read_priority_at(at, offset & 31, size))
    }

    fn write_priority<H: ListRegisters + PhysIrq>(
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
        let (count, bits) = if size == BYTE { (1, 1_u32) } else { (4, 0xf) };
        let mask = bits.wrapping_shl(first) & self.valid(at);
        self.change(here, at, mask, |bank, _| {
            let places = bank.priority.iter_mut().skip(usize::from(low_u8(first))).take(count);
            for (place, byte) in places.zip((value & 0xf8f8_f8f8).to_le_bytes()) {
                *place = byte;
            }
        });
        self.kick_waiting(here, at, mask);
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
