//! Guest accesses to the GIC's frames: decoding, and the distributor's map (IHI 0069, 12.9; IHI 0048, 4.3).
//!
//! What a frame does not have reads as zero and ignores writes, as does an access that is not aligned or
//! of a size that the register does not take.

use shikiri_abi::VcpuIndex;
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{low_u8, low_u32};
use crate::change::BitRegister;
use crate::set::VcpuSet;
use crate::settings::peripheral_id;
use crate::vgic::{At, Here, Vgic};

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

impl Vgic<'_> {
    /// Carries out an access to one of the frames by the vCPU that is loaded here. `offset` counts from the
    /// frame's start; `size_log2` is 0 to 3. What is frequent has shorter ways: [`Vgic::read_plain`],
    /// [`Vgic::write_plain`], [`crate::write_without_lock`].
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

    /// Reads, for a vCPU, what needs nothing but memory and is read often: identification, group and enable bits.
    /// `None`: it is something else, [`Vgic::mmio`] answers it.
    #[inline(always)]
    #[must_use]
    pub fn read_plain(&self, vcpu: VcpuIndex, frame: Frame, offset: u32, size: u8) -> Option<u64> {
        match frame {
            Frame::Distributor if size == WORD && offset & 3 == 0 && offset < 0x200 => {
                if offset < 0x80 {
                    return Some(u64::from(self.read_identity(offset)));
                }
                let Some(at) = self.distributor_at(vcpu, (offset & 0x7f) >> 2) else {
                    return Some(0);
                };
                let bank = self.bank(at)?;
                Some(u64::from(if offset < 0x100 { bank.group1 } else { bank.enabled }))
            }
            Frame::Redistributor(owner) if offset == 8 && size == DOUBLE && !self.dist.is_v2 => {
                self.cpu(owner).map(|_| self.redistributor_type(owner))
            }
            Frame::Distributor | Frame::Redistributor(_) | Frame::Deactivate => None,
        }
    }

    /// Writes what changes nothing but memory, and is written often: the priority of an SPI that is not on its way to a
    /// vCPU. `false`: it is something else, [`Vgic::mmio`] does it.
    #[inline(always)]
    #[must_use]
    pub fn write_plain(&mut self, frame: Frame, offset: u32, size: u8, value: u64) -> bool {
        // A byte of GICD_IPRIORITYR, from the first SPI on.
        let [priority, ..] = value.to_le_bytes();
        frame == Frame::Distributor
            && size == BYTE
            && (0x420..0x800).contains(&offset)
            && self.write_idle_priority(offset & 0x3ff, priority)
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
        let is_sgi_pending = self.dist.is_v2 && frame == Frame::Distributor && offset >> 7 == 30;
        if is_sgi_pending {
            self.be_exact(here, At::Private(vcpu))?;
        }
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
}
