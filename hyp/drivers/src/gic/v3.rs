//! GICv3's memory-mapped part: distributor and redistributors (IHI 0069).
//!
//! Initialisation is `arm-gic`'s; what it lacks is here: several redistributor regions, states left over from
//! earlier software, and per-interrupt operations on pending and active states ([`InterruptBank`]).
//!
//! EL2 takes interrupts as non-secure group 1. Where the GIC has one security state (GICD_CTLR.DS = 1, QEMU's
//! `virt` without EL3) all interrupts are put in group 1; where it has two, the non-secure side can write only
//! what the firmware gave it, and the same writes do no harm.
#![expect(unsafe_code, reason = "devices' addresses, and a device that several cores use")]

use core::ptr::NonNull;

use arm_gic::gicv3::registers::{Gicd, GicdCtlr, GicrCtlr, GicrSgi};
use arm_gic::gicv3::{GicDistributor, GicError as ArmGicError, GicRedistributor};
use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use shikiri_abi::IntId;

use super::bank::InterruptBank;
use super::{CoreTarget, GicError, PRIORITY, RedistributorRegion};

const MAX_REGIONS: usize = 8;
const MAX_ITS: usize = 4;
/// GITS_CTLR.Enabled and ImDe (IHI 0069, 12.19).
const ITS_ON: u32 = 3;
/// GITS_CTLR.Quiescent.
const ITS_IS_QUIET: u32 = 1 << 31;
/// RD_base and SGI_base, 64 KiB each.
const FRAME_BYTES: usize = 0x2_0000;
/// The same with GICv4's VLPI frames (GICR_TYPER.VLPIS).
const FRAME_BYTES_WITH_VLPIS: usize = 0x4_0000;
/// How often a register write that takes its time is looked after.
const PATIENCE_READS: u32 = 1_000_000;
/// Offset of SGI_base in a redistributor.
const SGI_BASE: usize = 0x1_0000;

/// The distributor, and where the redistributors are.
pub struct GicV3 {
    distributor: NonNull<Gicd>,
    bank: InterruptBank,
    regions: [Option<RedistributorRegion>; MAX_REGIONS],
    its: [Option<NonNull<u8>>; MAX_ITS],
}

// SAFETY: device registers have no thread, and the controller orders the accesses of several cores.
unsafe impl Send for GicV3 {}
// SAFETY: as above; the functions that read, change and write are for one core's start-up, and say so.
unsafe impl Sync for GicV3 {}

impl GicV3 {
    /// Takes the distributor at `distributor`, the redistributors in `regions`, and up to four ITSs, of which only GITS_CTLR is used.
    ///
    /// # Errors
    /// [`GicError::TooManyRegions`].
    ///
    /// # Safety
    /// The addresses are those of a GICv3's blocks (distributor 64 KiB, regions as given, an ITS's first page), mapped as device memory
    /// for as long as the machine runs, and only the drivers of this crate use them.
    pub unsafe fn new(
        distributor: NonNull<u8>,
        regions: &[RedistributorRegion],
        its: impl Iterator<Item = NonNull<u8>>,
    ) -> Result<Self, GicError> {
        let mut all = [None; MAX_REGIONS];
        if regions.len() > all.len() {
            return Err(GicError::TooManyRegions);
        }
        all.iter_mut().zip(regions).for_each(|(slot, region)| *slot = Some(*region));
        // SAFETY: the caller's promise covers the distributor.
        let bank = unsafe { InterruptBank::new(distributor) };
        let mut all_its = [None; MAX_ITS];
        all_its.iter_mut().zip(its).for_each(|(slot, its)| *slot = Some(its));
        Ok(Self { distributor: distributor.cast(), bank, regions: all, its: all_its })
    }

    /// Puts the distributor into a known state, and turns the ITSs and then every core's LPIs off ([`super::Gic::start`]).
    ///
    /// # Errors
    /// [`GicError::LpisStayOn`].
    pub fn start(&self) -> Result<(), GicError> {
        let mut distributor = GicDistributor::new(self.block());
        // The groups are off while affinity routing goes on (IHI 0069, 12.9.4, ARE_NS). Seen from the non-secure
        // side of a GIC with two security states, bits 0 and 1 are its two enables of group 1.
        let groups = GicdCtlr::EnableGrp0 | GicdCtlr::EnableGrp1NS | GicdCtlr::EnableGrp1S;
        distributor.modify_control(groups, false);
        distributor.enable_all_interrupts(false);
        self.bank.reset_states(IntId::FIRST_SPI, self.spi_end());
        distributor.configure_default_settings();
        let is_quiet = self.its.iter().flatten().all(|its| {
            // SAFETY: `new`'s caller promised the mapping, and nothing else uses the register.
            stop_its(unsafe { UniqueMmioPointer::new(its.cast()) })
        });
        match self.find(&mut |frame| frame.stop_lpis().is_err()) {
            None if is_quiet => Ok(()),
            _ => Err(GicError::LpisStayOn),
        }
    }

    /// One past the last SPI that is implemented.
    #[must_use]
    pub fn spi_end(&self) -> IntId {
        let block = self.block();
        let spis = field_shared!(block, typer).read().num_spis();
        super::spi_end(spis >> 5)
    }

    /// The registers of SPIs.
    #[inline]
    #[must_use]
    pub const fn bank(&self) -> &InterruptBank {
        &self.bank
    }

    /// Sends an SPI to the core with these affinities (GICD_IROUTER, one 64-bit store).
    #[inline]
    pub fn route(&self, intid: IntId, affinity: u64) {
        let index = intid.0.checked_sub(IntId::FIRST_SPI.0).map(usize::from);
        let mut block = self.block();
        let mut routers = field!(block, irouter);
        if let Some(mut router) = index.and_then(|index| routers.get(index)) {
            router.write(affinity);
        }
    }

    /// Finds the redistributor of the core with this MPIDR. Reads one register for each redistributor before it.
    ///
    /// # Errors
    /// [`GicError::NoRedistributor`].
    pub fn redistributor(&self, mpidr: u64) -> Result<Redistributor, GicError> {
        let wanted = CoreTarget::from_mpidr(mpidr).affinity;
        let found = self.find(&mut |frame| frame.affinity() == wanted);
        found.ok_or(GicError::NoRedistributor(mpidr))
    }

    /// The first redistributor of which this is true: of a region's, until its end or the one that is marked the last.
    #[inline(never)]
    fn find(&self, is_it: &mut dyn FnMut(&Redistributor) -> bool) -> Option<Redistributor> {
        for region in self.regions.iter().flatten() {
            let (mut base, mut bytes_left) = (region.base, region.bytes);
            while bytes_left >= FRAME_BYTES {
                // SAFETY: SGI_base lies inside the region: at least one whole frame is left.
                let sgi_base = unsafe { base.add(SGI_BASE) };
                // SAFETY: a frame of a region that `new`'s caller promised.
                let bank = unsafe { InterruptBank::new(sgi_base) };
                let frame = Redistributor { frame: base.cast(), bank };
                if is_it(&frame) {
                    return Some(frame);
                }
                if frame.is_last() {
                    break;
                }
                let stride = frame.stride();
                bytes_left = bytes_left.saturating_sub(stride);
                // Behind the region's end nothing is looked at.
                base = base.map_addr(|at| at.saturating_add(stride));
            }
        }
        None
    }

    fn block(&self) -> UniqueMmioPointer<'_, Gicd> {
        // SAFETY: `new`'s caller promised the mapping. Other cores may hold such a pointer at the same time, for
        // single loads and stores that the controller arbitrates; `start`, which does more, runs before them.
        unsafe { UniqueMmioPointer::new(self.distributor) }
    }
}

/// Turns an ITS off, which has its tables and commands in memory that will be others'. Whether it has become quiescent: until then it
/// may still write (IHI 0069, 12.19, GITS_CTLR).
fn stop_its(mut control: UniqueMmioPointer<'_, ReadPureWrite<u32>>) -> bool {
    let found = control.read();
    control.write(found & !ITS_ON);
    (0..PATIENCE_READS).any(|_| control.read() & ITS_IS_QUIET != 0)
}

/// Whether a core's virtual interface is what `shikiri_vgic` takes it for, by its ICH_VTR_EL2 (IHI 0069, 12.4).
///
/// With more than five preemption bits there are active priorities that are not switched, and one vCPU would run with
/// another's. Where ICH_HCR_EL2.TDIR does not exist (TDS = 0, as older cores have it), a guest
/// with EOImode 1 would deactivate an interrupt that has left its list register, and nobody would know. The other way, to trap
/// all registers common to both groups (ICH_HCR_EL2.TC), is not taken.
///
/// # Errors
/// [`GicError::PreemptionBits`], [`GicError::NoDirTrap`].
pub fn check_virtual_interface(vtr: u64) -> Result<(), GicError> {
    // PREbits is 28:26, one less than there are.
    let [_, _, _, high, ..] = vtr.to_le_bytes();
    let bits = (high >> 2 & 7).saturating_add(1);
    if bits > 5 {
        return Err(GicError::PreemptionBits(bits));
    }
    if vtr & VTR_TDS == 0 { Err(GicError::NoDirTrap) } else { Ok(()) }
}

/// ICH_VTR_EL2.TDS.
const VTR_TDS: u64 = 1 << 19;

/// One core's redistributor: its SGIs and PPIs.
pub struct Redistributor {
    frame: NonNull<GicrSgi>,
    bank: InterruptBank,
}

// SAFETY: device registers have no thread.
unsafe impl Send for Redistributor {}
// SAFETY: the bank's accesses are single; `start` is its core's own, and says so.
unsafe impl Sync for Redistributor {}

impl Redistributor {
    /// Wakes the redistributor and puts its SGIs and PPIs into a known state: disabled, not pending, not active,
    /// group 1, one priority, level. On its own core, once each time the core comes up.
    pub fn start(&self) {
        let mut redistributor = GicRedistributor::new(self.block());
        match redistributor.mark_core_awake() {
            // `AlreadyAwake` is what a core finds that was handed over running; there is no other error here.
            Ok(()) | Err(ArmGicError::AlreadyAwake) => {}
            Err(_) => {}
        }
        self.bank.reset_states(IntId(0), IntId::FIRST_SPI);
        redistributor.configure_default_settings();
    }

    /// Turns LPIs off, which firmware or a kernel before us may have had: their pending table lies in memory that will be others'. Any
    /// core may do this for any other (the register is memory-mapped). It fails where GICR_CTLR.EnableLPIs cannot be cleared once it is
    /// set (IHI 0069, 12.11, GICR_CTLR).
    fn stop_lpis(&self) -> Result<(), GicError> {
        let mut block = self.block();
        let mut frame = field!(block, gicr);
        let mut control = field!(frame, ctlr);
        let found = control.read();
        if found.contains(GicrCtlr::EnableLPIs) {
            control.write(found.difference(GicrCtlr::EnableLPIs));
        }
        // What is pending goes to memory first (RWP), also if who was here before has just turned them off.
        let is_off = || !control.read().intersects(GicrCtlr::EnableLPIs | GicrCtlr::RWP);
        if (0..PATIENCE_READS).any(|_| is_off()) { Ok(()) } else { Err(GicError::LpisStayOn) }
    }

    /// The registers of this core's SGIs and PPIs. Others must not be asked for here.
    #[inline]
    #[must_use]
    pub const fn bank(&self) -> &InterruptBank {
        &self.bank
    }

    /// The affinities of the core to which it belongs.
    fn affinity(&self) -> u64 {
        let block = self.block();
        field_shared!(field_shared!(block, gicr), typer).read().core_mpidr()
    }

    fn is_last(&self) -> bool {
        let block = self.block();
        field_shared!(field_shared!(block, gicr), typer).read().last_redistributor()
    }

    fn stride(&self) -> usize {
        let block = self.block();
        let typer = field_shared!(field_shared!(block, gicr), typer).read();
        if typer.virtual_lpis_supported() { FRAME_BYTES_WITH_VLPIS } else { FRAME_BYTES }
    }

    fn block(&self) -> UniqueMmioPointer<'_, GicrSgi> {
        // SAFETY: `GicV3::new`'s caller promised the mapping; accesses by several cores are single loads, and the
        // rest is its own core's start-up.
        unsafe { UniqueMmioPointer::new(self.frame) }
    }
}

const _: () = assert!(PRIORITY == arm_gic::gicv3::HIGHEST_NS_PRIORITY);

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests compute with small numbers")]
mod tests {
    use shikiri_abi::IntId;

    use super::{FRAME_BYTES, GicV3, check_virtual_interface};
    use crate::gic::{GicError, RedistributorRegion};
    use crate::testing::FakeBlock;

    const TYPER: usize = 0x08;
    const TYPER_HIGH: usize = 0x0c;
    const LAST: u32 = 1 << 4;
    const VLPIS: u32 = 1 << 1;
    /// GICR_CTLR.EnableLPIs.
    const LPIS: u32 = 1;

    fn region(block: FakeBlock, bytes: usize) -> RedistributorRegion {
        RedistributorRegion { base: block.base(), bytes }
    }

    /// Redistributors with these affinities and TYPER bits, `stride` apart.
    fn redistributors(stride: usize, cores: &[(u32, u32)]) -> FakeBlock {
        let block = FakeBlock::new(stride * cores.len());
        for (start, (affinity, bits)) in (0..).step_by(stride).zip(cores) {
            block.write(start + TYPER, *bits);
            block.write(start + TYPER_HIGH, *affinity);
        }
        block
    }

    fn gic(regions: &[RedistributorRegion]) -> (FakeBlock, GicV3) {
        gic_with(regions, &[])
    }

    fn gic_with(regions: &[RedistributorRegion], its: &[FakeBlock]) -> (FakeBlock, GicV3) {
        let gicd = FakeBlock::new(0x1_0000);
        gicd.write(0x004, 1);
        let its = its.iter().map(|its| its.base());
        // SAFETY: blocks of the tests' own, used through raw pointers only.
        (gicd, unsafe { GicV3::new(gicd.base(), regions, its) }.unwrap())
    }

    #[test]
    fn its_are_off_from_the_start() {
        let all = [0, 1].map(|_| FakeBlock::new(0x1000));
        let (_, gic) = gic_with(&[], &all);
        // Quiescent and enabled: what holds still shows what was written.
        all.iter().for_each(|its| its.write(0, 0x8000_0013));
        assert_eq!(gic.start(), Ok(()));
        assert_eq!(all.map(|its| its.read(0)), [0x8000_0010; 2]);
        all[1].write(0, 1);
        assert_eq!(gic.start(), Err(GicError::LpisStayOn), "one that does not come to rest");
        assert_eq!(all[1].read(0), 0);
    }

    #[test]
    fn start_puts_all_spis_in_group_1_disabled() {
        let (gicd, gic) = gic(&[]);
        gicd.write(0x000, 7);
        gicd.write(0x104, 5);
        gic.start().unwrap();
        assert_eq!(gic.spi_end(), IntId(64));
        // ARE and group 1; group 0 is off.
        assert_eq!(gicd.read(0x000), 0x12);
        for offset in [0x084, 0x184, 0x284, 0x384] {
            assert_eq!((gicd.read(offset), gicd.read(offset + 4)), (u32::MAX, 0), "{offset:#x}");
        }
        assert_eq!(
            (gicd.read(0x41c), gicd.read(0x420), gicd.read(0x43c)),
            (0, 0x8080_8080, 0x8080_8080)
        );
        assert_eq!(gicd.read(0x440), 0);
    }

    #[test]
    fn a_core_finds_its_redistributor_in_any_region() {
        let first = redistributors(FRAME_BYTES, &[(0, 0), (1, 0)]);
        let second = redistributors(FRAME_BYTES, &[(0x100, 0), (0x0200_0001, LAST), (9, 0)]);
        let regions = [region(first, 2 * FRAME_BYTES), region(second, 3 * FRAME_BYTES)];
        let (_, gic) = gic(&regions);
        let found = |mpidr| gic.redistributor(mpidr).map(|found| found.frame.cast::<u8>());
        let at = |block: FakeBlock, n| {
            Ok(block.base().map_addr(|base| base.saturating_add(n * FRAME_BYTES)))
        };
        assert_eq!(found(0x8000_0000), at(first, 0));
        assert_eq!(found(0x8000_0001), at(first, 1));
        assert_eq!(found(0x8000_0100), at(second, 0));
        assert_eq!(found(0x02_8000_0001), at(second, 1));
        assert_eq!(found(9), Err(GicError::NoRedistributor(9)), "behind the last one");
        assert_eq!(found(2), Err(GicError::NoRedistributor(2)));
    }

    #[test]
    fn a_region_ends_where_the_device_tree_says() {
        let block = redistributors(FRAME_BYTES, &[(0, 0), (1, 0), (2, 0)]);
        let (_, short) = gic(&[region(block, 2 * FRAME_BYTES + 0x1_0000)]);
        assert!(short.redistributor(1).is_ok() && short.redistributor(2).is_err());
    }

    #[test]
    fn frames_with_virtual_lpis_are_twice_as_large() {
        let block = redistributors(2 * FRAME_BYTES, &[(0, VLPIS), (1, VLPIS | LAST)]);
        let (_, gic) = gic(&[region(block, 4 * FRAME_BYTES)]);
        let found = gic.redistributor(1).map(|found| found.frame.cast::<u8>().addr());
        assert_eq!(found, Ok(block.base().addr().saturating_add(2 * FRAME_BYTES)));
    }

    #[test]
    fn a_core_starts_its_own_interrupts() {
        let block = redistributors(FRAME_BYTES, &[(0, 0), (1, LAST)]);
        let (_, gic) = gic(&[region(block, 2 * FRAME_BYTES)]);
        let core = gic.redistributor(1).unwrap();
        core.start();
        core.bank().enable(IntId(27));
        let sgi = |offset| block.read(FRAME_BYTES + 0x1_0000 + offset);
        assert_eq!([0x080, 0x180, 0x280, 0x380].map(sgi), [u32::MAX; 4]);
        assert_eq!((sgi(0x400), sgi(0x41c), sgi(0x420)), (0x8080_8080, 0x8080_8080, 0));
        assert_eq!(sgi(0x100), 1 << 27);
        assert_eq!(block.read(0x1_0080), 0, "another core's");
    }

    /// The cores of the others come later, and what their redistributors write meanwhile would be memory that was given out.
    #[test]
    fn the_lpis_of_all_cores_are_off_from_the_start() {
        let first = redistributors(FRAME_BYTES, &[(0, 0), (1, 0)]);
        let second = redistributors(2 * FRAME_BYTES, &[(2, VLPIS), (3, VLPIS | LAST)]);
        let (_, gic) = gic(&[region(first, 2 * FRAME_BYTES), region(second, 4 * FRAME_BYTES)]);
        let places = [(first, 0), (first, FRAME_BYTES), (second, 0), (second, 2 * FRAME_BYTES)];
        for (block, at) in places {
            block.write(at, 0x0700_0000 | LPIS);
        }
        gic.start().unwrap();
        assert_eq!(places.map(|(block, at)| block.read(at)), [0x0700_0000; 4]);
        // One that still writes its table (RWP) is not waited for without end.
        for still_writes in [1 << 3 | LPIS, 1 << 3] {
            first.write(FRAME_BYTES, still_writes);
            assert_eq!(gic.start(), Err(GicError::LpisStayOn), "{still_writes:#x}");
        }
    }

    #[test]
    fn a_virtual_interface_that_cannot_be_switched_or_trapped_is_refused() {
        let vtr = |preemption_bits: u64, tds: u64| ((preemption_bits - 1) << 26) | (tds << 19) | 3;
        assert_eq!(check_virtual_interface(vtr(5, 1) | (4 << 29)), Ok(()));
        for bits in [6, 7] {
            let refused = Err(GicError::PreemptionBits(bits));
            assert_eq!(check_virtual_interface(vtr(bits.into(), 1)), refused);
        }
        assert_eq!(check_virtual_interface(vtr(5, 0)), Err(GicError::NoDirTrap));
    }

    #[test]
    fn an_spi_is_routed_by_one_register() {
        let (gicd, gic) = gic(&[]);
        gic.route(IntId(33), 0x12_0034_5678);
        assert_eq!((gicd.read(0x6108), gicd.read(0x610c)), (0x0034_5678, 0x12));
        gic.route(IntId(31), u64::MAX);
        gic.route(IntId(1020), u64::MAX);
        assert_eq!((gicd.read(0x60f8), gicd.read(0x7fe0)), (0, 0));
    }

    #[test]
    fn too_many_regions_are_refused() {
        let block = redistributors(FRAME_BYTES, &[(0, LAST)]);
        let regions = [region(block, FRAME_BYTES); 9];
        // SAFETY: never used.
        let refused = unsafe { GicV3::new(block.base(), &regions, [].into_iter()) };
        assert!(matches!(refused, Err(GicError::TooManyRegions)));
    }
}
