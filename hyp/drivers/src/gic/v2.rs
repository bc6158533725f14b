//! GICv2's distributor and CPU interface (IHI 0048).
//!
//! IGROUPR is never written, and only bit 0 of the control registers is: where there is one security state all
//! interrupts are in group 0 and bit 0 enables it; where there are two, the firmware has put all in group 1 and bit
//! 0 is the non-secure view's enable of it. The layouts are `arm-gic`'s, whose own set-up does write IGROUPR.
#![expect(unsafe_code, reason = "devices' addresses, and registers that the layout leaves untyped")]

use core::ptr::NonNull;

use arm_gic::gicv2::registers::{Gicc, Gicd, GicdCtlr};
use safe_mmio::fields::WriteOnly;
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use shikiri_abi::IntId;

use super::bank::{Bytes, InterruptBank};
use super::{CoreTarget, PRIORITY};

/// GICC_CTLR: interrupts of our group are signalled.
const ENABLE: u32 = 1;
/// GICC_CTLR.EOImode (the non-secure view's EOImodeNS is the same bit): EOIR drops the priority only.
const EOI_MODE: u32 = 1 << 9;

/// The distributor.
pub struct GicV2 {
    bank: InterruptBank,
    interface: NonNull<Gicc>,
}

// SAFETY: device registers have no thread, and the controller orders the accesses of several cores.
unsafe impl Send for GicV2 {}
// SAFETY: as above.
unsafe impl Sync for GicV2 {}

impl GicV2 {
    /// Takes the distributor and the CPU interface.
    ///
    /// # Safety
    /// The addresses are those of a GICv2's blocks (GICD 4 KiB, GICC 8 KiB), mapped as device memory for as long as
    /// the machine runs, and only the drivers of this crate use them.
    #[must_use]
    pub const unsafe fn new(distributor: NonNull<u8>, interface: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise covers the distributor.
        let bank = unsafe { InterruptBank::new(distributor) };
        Self { bank, interface: interface.cast() }
    }

    /// Puts the distributor into a known state ([`super::Gic::start`]).
    pub fn start(&self) {
        let mut block = self.block();
        field!(block, ctlr).write(GicdCtlr::empty());
        self.bank.reset_states(IntId::FIRST_SPI, self.spi_end());
        self.bank.reset_priorities(IntId::FIRST_SPI, self.spi_end(), PRIORITY);
        field!(block, ctlr).write(GicdCtlr::EnableGrp0);
    }

    /// One past the last SPI that is implemented.
    #[must_use]
    pub fn spi_end(&self) -> IntId {
        let block = self.block();
        let lines = field_shared!(block, typer).read().num_irqs();
        super::spi_end((lines >> 5).saturating_sub(1))
    }

    /// The registers of all interrupts; those of SGIs and PPIs are the reading core's own.
    #[inline]
    #[must_use]
    pub const fn bank(&self) -> &InterruptBank {
        &self.bank
    }

    /// Sends an SPI to the CPU interfaces in `targets` (GICD_ITARGETSR, one byte store).
    #[inline]
    pub fn route(&self, intid: IntId, targets: u8) {
        let mut block = self.block();
        let mut words = field!(block, itargetsr);
        let start = words.ptr_nonnull().cast::<Bytes>();
        // SAFETY: ITARGETSR can be accessed by byte (IHI 0048, 4.1.4), and this is all of it.
        let mut bytes = unsafe { words.child(start) };
        if let Some(mut byte) = bytes.get(usize::from(intid.0)) {
            byte.write(targets);
        }
    }

    /// Sends an SGI (0 to 15) to the CPU interfaces in `targets` (GICD_SGIR).
    #[inline]
    pub fn send_sgi(&self, sgi: IntId, targets: u8) {
        let value = u32::from(targets) << 16 | u32::from(sgi.0 & 15);
        let mut block = self.block();
        field!(block, sgir).write(value);
    }

    /// Brings up this core's part: its SGIs and PPIs disabled, not pending, not active, with one priority; its CPU
    /// interface open for every priority, with EOImode = 1. On each core, once each time it comes up.
    pub fn start_core(&self) -> (CoreGicV2, CoreTarget) {
        self.bank.reset_states(IntId(0), IntId::FIRST_SPI);
        self.bank.reset_priorities(IntId(0), IntId::FIRST_SPI, PRIORITY);
        let target = CoreTarget { interface: self.own_interface(), ..CoreTarget::default() };
        // SAFETY: the same blocks as this value's, under the same promise.
        let bank = unsafe { InterruptBank::new(self.bank.block().ptr_nonnull().cast()) };
        let core = CoreGicV2 { bank, interface: self.interface };
        core.start();
        (core, target)
    }

    /// This core's bit: what ITARGETSR of its own SGIs reads (IHI 0048, 4.3.12). With one core the register is
    /// zero, and the bit is the first.
    fn own_interface(&self) -> u8 {
        let mut block = self.block();
        let mut words = field!(block, itargetsr);
        let first = words.get(0).map_or(0, |mut word| {
            // SAFETY: reading ITARGETSR has no effect.
            unsafe { word.read_unsafe() }
        });
        let [mask, ..] = first.to_le_bytes();
        if mask == 0 { 1 } else { mask }
    }

    fn block(&self) -> UniqueMmioPointer<'_, Gicd> {
        self.bank.block()
    }
}

/// This core's CPU interface, SGIs and PPIs.
pub struct CoreGicV2 {
    bank: InterruptBank,
    interface: NonNull<Gicc>,
}

// SAFETY: device registers have no thread; each core sees its own bank at this address.
unsafe impl Send for CoreGicV2 {}
// SAFETY: as above: each access is one load or store of the core's own bank.
unsafe impl Sync for CoreGicV2 {}

impl CoreGicV2 {
    fn start(&self) {
        let mut block = self.block();
        field!(block, ctlr).write(0);
        field!(block, pmr).write(0xff);
        // SAFETY: BPR is a plain register; 0 asks for the finest grouping.
        unsafe { field!(block, bpr).write_unsafe(0) };
        field!(block, ctlr).write(ENABLE | EOI_MODE);
    }

    /// The registers of this core's SGIs and PPIs. Others must not be asked for here.
    #[inline]
    #[must_use]
    pub const fn bank(&self) -> &InterruptBank {
        &self.bank
    }

    /// Takes the first pending interrupt (GICC_IAR): INTID, and for an SGI its sender in bits 12:10.
    #[inline]
    #[must_use = "an interrupt that was acknowledged must be ended"]
    pub fn acknowledge(&self) -> u32 {
        let mut block = self.block();
        field!(block, iar).read()
    }

    /// Drops the running priority (GICC_EOIR).
    #[inline]
    pub fn end(&self, acknowledged: u32) {
        let mut block = self.block();
        field!(block, eoir).write(acknowledged);
    }

    /// Ends the active state (GICC_DIR).
    #[inline]
    pub fn deactivate(&self, acknowledged: u32) {
        let mut block = self.block();
        let mut untyped = field!(block, dir);
        let start = untyped.ptr_nonnull().cast::<WriteOnly<u32>>();
        // SAFETY: DIR is a write-only register of the CPU interface, and this is all of it.
        unsafe { untyped.child(start) }.write(acknowledged);
    }

    #[inline]
    fn block(&self) -> UniqueMmioPointer<'_, Gicc> {
        // SAFETY: `GicV2::new`'s caller promised the mapping; each core reaches its own bank, by single accesses.
        unsafe { UniqueMmioPointer::new(self.interface) }
    }
}

#[cfg(test)]
mod tests {
    use shikiri_abi::IntId;

    use super::GicV2;
    use crate::testing::FakeBlock;

    /// A GICv2 with 64 INTIDs, on whose registers a firmware has been.
    fn fake() -> (FakeBlock, FakeBlock, GicV2) {
        let (gicd, gicc) = (FakeBlock::new(0x1000), FakeBlock::new(0x2000));
        gicd.write(0x000, 3);
        gicd.write(0x004, 1);
        gicd.write(0x800, 0x0404_0404);
        // SAFETY: blocks of the test's own, used through raw pointers only.
        let gic = unsafe { GicV2::new(gicd.base(), gicc.base()) };
        (gicd, gicc, gic)
    }

    #[test]
    fn start_leaves_groups_alone_and_enables_by_bit_0() {
        let (gicd, _, gic) = fake();
        gicd.write(0x084, 0x1234_5678);
        gic.start();
        assert_eq!(gic.spi_end(), IntId(64));
        assert_eq!(gicd.read(0x000), 1);
        assert_eq!((gicd.read(0x080), gicd.read(0x084)), (0, 0x1234_5678), "IGROUPR");
        assert_eq!((gicd.read(0x180), gicd.read(0x184), gicd.read(0x188)), (0, u32::MAX, 0));
        assert_eq!(
            (gicd.read(0x420), gicd.read(0x43c), gicd.read(0x440)),
            (0x8080_8080, 0x8080_8080, 0)
        );
    }

    #[test]
    fn a_core_opens_its_interface_in_eoi_mode_1() {
        let (gicd, gicc, gic) = fake();
        let (_, target) = gic.start_core();
        assert_eq!(target.interface, 4);
        assert_eq!((gicc.read(0x000), gicc.read(0x004), gicc.read(0x008)), (0x201, 0xff, 0));
        assert_eq!((gicd.read(0x180), gicd.read(0x184)), (u32::MAX, 0));
        assert_eq!(
            (gicd.read(0x400), gicd.read(0x41c), gicd.read(0x420)),
            (0x8080_8080, 0x8080_8080, 0)
        );
        gicd.write(0x800, 0);
        assert_eq!(gic.start_core().1.interface, 1, "one core: ITARGETSR reads as zero");
    }

    #[test]
    fn an_interrupt_is_acknowledged_ended_and_deactivated_by_the_same_value() {
        let (_, gicc, gic) = fake();
        let (core, _) = gic.start_core();
        gicc.write(0x00c, 2 << 10 | 5);
        let taken = core.acknowledge();
        core.end(taken);
        core.deactivate(taken);
        assert_eq!((taken, gicc.read(0x010), gicc.read(0x1000)), (0x805, 0x805, 0x805));
    }

    #[test]
    fn routes_and_sgis_name_interfaces() {
        let (gicd, _, gic) = fake();
        gicd.write(0x820, 0x0101_0101);
        gic.route(IntId(33), 0x08);
        assert_eq!(gicd.read(0x820), 0x0101_0801);
        gic.send_sgi(IntId(7), 0x12);
        assert_eq!(gicd.read(0xf00), 0x0012_0007);
    }
}
