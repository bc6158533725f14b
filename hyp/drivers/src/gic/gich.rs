//! The GICv2's virtual interface control block, GICH (IHI 0048, 5.3): list registers and what goes with them.
//!
//! Banked: each core sees its own at the same address. Values have the registers' own layout; what they mean is
//! `shikiri_vgic`'s affair. (The GICv3's are system registers, ICH_*, which EL2 reads and writes itself.)
#![expect(unsafe_code, reason = "the constructor takes a device's address")]

use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The register block.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(4))]
pub struct GichRegisters {
    hcr: ReadPureWrite<u32>,
    vtr: ReadPure<u32>,
    vmcr: ReadPureWrite<u32>,
    reserved_0c: u32,
    misr: ReadPure<u32>,
    reserved_14: [u32; 3],
    eisr: [ReadPure<u32>; 2],
    reserved_28: [u32; 2],
    elrsr: [ReadPure<u32>; 2],
    reserved_38: [u32; 46],
    apr: ReadPureWrite<u32>,
    reserved_f4: [u32; 3],
    lr: [ReadPureWrite<u32>; 64],
}

const _: () = assert!(size_of::<GichRegisters>() == 0x200);
const _: () = assert!(core::mem::offset_of!(GichRegisters, apr) == 0xf0);
const _: () = assert!(core::mem::offset_of!(GichRegisters, elrsr) == 0x30);

/// This core's virtual interface control.
pub struct Gich {
    registers: NonNull<GichRegisters>,
}

// SAFETY: device registers have no thread; each core sees its own bank at this address.
unsafe impl Send for Gich {}
// SAFETY: as above: each access through `&self` is one volatile load or store of the core's own bank.
unsafe impl Sync for Gich {}

impl Gich {
    /// Takes the block at `base`.
    ///
    /// # Safety
    /// `base` is the address of the GICH block as this core sees it (the third `reg` of the GIC's node), mapped
    /// as device memory for as long as the machine runs, and only values of this type use it.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Self { registers: base.cast() }
    }

    /// GICH_HCR.
    #[inline]
    #[must_use]
    pub fn hcr(&self) -> u32 {
        let block = self.block();
        field_shared!(block, hcr).read()
    }

    /// Writes GICH_HCR.
    #[inline]
    pub fn set_hcr(&self, value: u32) {
        let mut block = self.block();
        field!(block, hcr).write(value);
    }

    /// GICH_VTR.
    #[inline]
    #[must_use]
    pub fn vtr(&self) -> u32 {
        let block = self.block();
        field_shared!(block, vtr).read()
    }

    /// How many list registers there are, 1 to 64.
    #[must_use]
    pub fn list_registers(&self) -> u8 {
        u8::try_from(self.vtr() & 63).map_or(1, |last| last.saturating_add(1))
    }

    /// GICH_VMCR.
    #[inline]
    #[must_use]
    pub fn vmcr(&self) -> u32 {
        let block = self.block();
        field_shared!(block, vmcr).read()
    }

    /// Writes GICH_VMCR.
    #[inline]
    pub fn set_vmcr(&self, value: u32) {
        let mut block = self.block();
        field!(block, vmcr).write(value);
    }

    /// GICH_MISR: why the maintenance interrupt is asserted.
    #[inline]
    #[must_use]
    pub fn misr(&self) -> u32 {
        let block = self.block();
        field_shared!(block, misr).read()
    }

    /// GICH_EISR: list registers with an end of interrupt to report, 0 to 31. (More than 32 are not used.)
    #[inline]
    #[must_use]
    pub fn eisr(&self) -> u32 {
        let block = self.block();
        let [low, _] = field_shared!(block, eisr).split();
        low.read()
    }

    /// GICH_ELRSR: empty list registers, 0 to 31. (More than 32 are not used.)
    #[inline]
    #[must_use]
    pub fn elrsr(&self) -> u32 {
        let block = self.block();
        let [low, _] = field_shared!(block, elrsr).split();
        low.read()
    }

    /// GICH_APR: the active priorities.
    #[inline]
    #[must_use]
    pub fn apr(&self) -> u32 {
        let block = self.block();
        field_shared!(block, apr).read()
    }

    /// Writes GICH_APR.
    #[inline]
    pub fn set_apr(&self, value: u32) {
        let mut block = self.block();
        field!(block, apr).write(value);
    }

    /// GICH_LR\<index\>; zero (nothing) if there is no such register.
    #[inline]
    #[must_use]
    pub fn lr(&self, index: u8) -> u32 {
        let mut block = self.block();
        let mut registers = field!(block, lr);
        registers.get(usize::from(index)).map_or(0, |register| register.read())
    }

    /// Writes GICH_LR\<index\>; no effect if there is no such register.
    #[inline]
    pub fn set_lr(&self, index: u8, value: u32) {
        let mut block = self.block();
        if let Some(mut register) = field!(block, lr).get(usize::from(index)) {
            register.write(value);
        }
    }

    #[inline]
    fn block(&self) -> UniqueMmioPointer<'_, GichRegisters> {
        // SAFETY: `new`'s caller promised a mapped block that only this type uses; all accesses are single loads and
        // stores, made by the core whose bank it is.
        unsafe { UniqueMmioPointer::new(self.registers) }
    }
}

#[cfg(test)]
mod tests {
    use super::Gich;
    use crate::testing::FakeBlock;

    #[test]
    fn every_register_is_at_its_offset() {
        let block = FakeBlock::new(0x200);
        // SAFETY: a block of the test's own, used through raw pointers only.
        let gich = unsafe { Gich::new(block.base()) };
        (0..0x200)
            .step_by(4)
            .zip(0..)
            .for_each(|(offset, value)| block.write(offset, 0x100 + value));
        assert_eq!(
            (gich.hcr(), gich.vtr(), gich.vmcr(), gich.misr()),
            (0x100, 0x101, 0x102, 0x104)
        );
        assert_eq!((gich.eisr(), gich.elrsr(), gich.apr()), (0x108, 0x10c, 0x13c));
        assert_eq!((gich.lr(0), gich.lr(3), gich.lr(63)), (0x140, 0x143, 0x17f));
        gich.set_hcr(1);
        gich.set_vmcr(2);
        gich.set_apr(3);
        gich.set_lr(5, 4);
        assert_eq!([0x00, 0x08, 0xf0, 0x114].map(|at| block.read(at)), [1, 2, 3, 4]);
    }

    #[test]
    fn the_number_of_list_registers_is_the_hardwares() {
        let block = FakeBlock::new(0x200);
        // SAFETY: a block of the test's own, used through raw pointers only.
        let gich = unsafe { Gich::new(block.base()) };
        block.write(4, 0x9000_0003);
        assert_eq!(gich.list_registers(), 4);
        block.write(4, 63);
        assert_eq!(gich.list_registers(), 64);
        gich.set_lr(64, 1);
        assert_eq!(gich.lr(64), 0);
    }
}
