//! A vCPU's redistributor: RD_base and SGI_base (IHI 0069, 12.11). No LPIs.

use shikiri_abi::VcpuIndex;
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{affinity_of, high_u32, low_u32};
use crate::change::BitRegister;
use crate::mmio::{BYTE, DOUBLE, WORD};
use crate::settings::{IIDR, peripheral_id};
use crate::vgic::{At, Here, Vgic};

/// GICR_TYPER.Last: the last redistributor of the contiguous region.
const TYPER_LAST: u64 = 1 << 4;
/// GICR_WAKER.ProcessorSleep.
const WAKER_SLEEP: u32 = 1 << 1;
/// GICR_WAKER.ChildrenAsleep: follows ProcessorSleep at once.
const WAKER_CHILDREN: u32 = 1 << 2;
/// GICR_CTLR.RWP.
const CTLR_RWP: u32 = 1 << 3;
/// Where SGI_base begins.
const SGI_BASE: u32 = 0x1_0000;

impl Vgic<'_> {
    #[inline]
    pub(crate) fn read_redistributor<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        owner: VcpuIndex,
        offset: u32,
        size: u8,
    ) -> Option<u64> {
        if self.dist.is_v2 || !self.all().contains(owner) {
            return Some(0);
        }
        if offset < SGI_BASE {
            return Some(self.read_rd_base(owner, offset, size));
        }
        let offset = offset & 0xffff;
        let at = At::Private(owner);
        match (size, offset) {
            (BYTE | WORD, 0x400..=0x41f) => {
                Some(u64::from(self.read_priority_at(at, offset & 31, size)))
            }
            (WORD, 0xc00 | 0xc04) => Some(u64::from(self.read_config(at, (offset >> 2) & 1))),
            (WORD, _) if offset & 0x7c == 0 => match BitRegister::at(offset >> 7) {
                Some(register) => self.read_bits(here, at, register).map(u64::from),
                None => Some(0),
            },
            _ => Some(0),
        }
    }

    pub(crate) fn write_redistributor<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        owner: VcpuIndex,
        offset: u32,
        size: u8,
        value: u32,
    ) {
        if self.dist.is_v2 || !self.all().contains(owner) {
            return;
        }
        if offset < SGI_BASE {
            if offset == 0x14
                && size == WORD
                && let Some(cpu) = self.cpu_mut(owner)
            {
                cpu.is_awake = value & WAKER_SLEEP == 0;
            }
            return;
        }
        let offset = offset & 0xffff;
        let at = At::Private(owner);
        match (size, offset) {
            (BYTE | WORD, 0x400..=0x41f) => {
                self.write_priority_at(here, at, offset & 31, size, value);
            }
            (WORD, 0xc00 | 0xc04) => self.write_config(here, at, (offset >> 2) & 1, value),
            (WORD, _) if offset & 0x7c == 0 => {
                if let Some(register) = BitRegister::at(offset >> 7) {
                    self.write_bits(here, at, register, value);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn read_rd_base(&self, owner: VcpuIndex, offset: u32, size: u8) -> u64 {
        match (size, offset) {
            (DOUBLE, 0x08) => self.redistributor_type(owner),
            (WORD, 0x00) => {
                let is_unsettled = self.dist.unsettled_private.contains(owner);
                u64::from(if is_unsettled { CTLR_RWP } else { 0 })
            }
            (WORD, 0x04) => u64::from(IIDR),
            (WORD, 0x08) => u64::from(low_u32(self.redistributor_type(owner))),
            (WORD, 0x0c) => u64::from(high_u32(self.redistributor_type(owner))),
            (WORD, 0x14) => {
                let is_awake = self.cpu(owner).is_some_and(|cpu| cpu.is_awake);
                u64::from(if is_awake { 0 } else { WAKER_SLEEP | WAKER_CHILDREN })
            }
            (WORD, 0xffd0..=0xffff) => u64::from(peripheral_id(offset & 0x7f, 0x3b)),
            _ => 0,
        }
    }

    /// GICR_TYPER: affinity, number, whether it is the last; no LPIs.
    #[inline]
    pub(crate) fn redistributor_type(&self, owner: VcpuIndex) -> u64 {
        let is_last = usize::from(owner.0).wrapping_add(1) == self.cpus.len().min(64);
        (u64::from(affinity_of(owner)) << 32)
            | (u64::from(owner.0) << 8)
            | if is_last { TYPER_LAST } else { 0 }
    }
}
