//! The physical interrupt controller: GICv2 or GICv3, as the board's device tree says (it is never probed: on
//! `virt` a read at the other version's ID register is an external abort).
//!
//! [`Gic`] is what all cores share, [`CoreGic`] what each core has. All interrupts are taken to EL2 with
//! EOImode = 1: ending an interrupt drops its priority, and the active state stays until it is deactivated, by
//! EL2 or, through a hardware-linked list register, by the guest that owns the device.

pub(crate) mod bank;
#[cfg(target_arch = "aarch64")]
mod core_gic;
pub(crate) mod gich;
pub(crate) mod v2;
pub(crate) mod v3;

use core::fmt;
use core::ptr::NonNull;

use shikiri_abi::IntId;

use bank::InterruptBank;
#[cfg(target_arch = "aarch64")]
pub use core_gic::{Acknowledged, CoreGic, CpuInterface, SystemInterface};
use v2::GicV2;
use v3::GicV3;

/// The priority of every interrupt: the first that exists in the non-secure half (IHI 0069, 4.8).
pub(crate) const PRIORITY: u8 = 0x80;

/// Why the interrupt controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicError {
    /// The device tree names more redistributor regions than there is room for (8).
    TooManyRegions,
    /// No redistributor in the regions belongs to the core with this MPIDR.
    NoRedistributor(u64),
    /// A redistributor's LPIs, or an ITS, are on and stay on: they write into memory that is now others'.
    LpisStayOn,
    /// The virtual interface has so many preemption bits, and so more than one register of active priorities for a group.
    PreemptionBits(u8),
    /// The virtual interface cannot trap writes to ICC_DIR_EL1.
    NoDirTrap,
}

impl fmt::Display for GicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRegions => f.write_str("more than 8 redistributor regions"),
            Self::NoRedistributor(mpidr) => write!(f, "no redistributor for MPIDR {mpidr:#x}"),
            Self::LpisStayOn => f.write_str("LPIs or an ITS are on and cannot be turned off"),
            Self::PreemptionBits(bits) => {
                write!(f, "ICH_VTR_EL2.PREbits: {bits} preemption bits, and 5 can be switched")
            }
            Self::NoDirTrap => f.write_str("ICH_VTR_EL2.TDS: writes to ICC_DIR_EL1 do not trap"),
        }
    }
}

/// A run of GICv3 redistributors.
#[derive(Clone, Copy, Debug)]
pub struct RedistributorRegion {
    /// The first frame.
    pub base: NonNull<u8>,
    /// The region's size.
    pub bytes: usize,
}

/// How the controller addresses a core: what routing and SGIs need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTarget {
    /// The affinity fields of the core's MPIDR: GICD_IROUTER's form.
    pub affinity: u64,
    /// The core in ICC_SGI1R_EL1: affinities 3 to 1, range selector and target list.
    pub sgi1r: u64,
    /// The core's bit among the GICv2's CPU interfaces; 0 on GICv3.
    pub interface: u8,
}

impl CoreTarget {
    /// The address of the core with this MPIDR on a GICv3 (IHI 0069, 12.2.20 for the SGI's form).
    #[must_use]
    pub const fn from_mpidr(mpidr: u64) -> Self {
        let affinity = mpidr & 0xff_00ff_ffff;
        let (aff3, aff2) = (mpidr >> 32 & 0xff, mpidr >> 16 & 0xff);
        let (aff1, aff0) = (mpidr >> 8 & 0xff, mpidr & 0xff);
        let sgi1r = aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | aff1 << 16 | 1 << (aff0 & 15);
        Self { affinity, sgi1r, interface: 0 }
    }
}

/// What all cores share of the interrupt controller.
pub enum Gic {
    /// GICv2: GIC-400, QEMU's `gic-version=2`.
    V2(GicV2),
    /// GICv3 and later.
    V3(GicV3),
}

impl Gic {
    /// Puts the distributor into a known state: all SPIs disabled, not pending, not active, in the group that EL2
    /// takes, with one priority; no ITS, and no LPIs on any core; then lets interrupts through. Once, on the boot core, before the others, and
    /// before memory is given out.
    ///
    /// Takes two to three register accesses for 32 SPIs and one for 4, and three for each core.
    ///
    /// # Errors
    /// [`GicError::LpisStayOn`].
    pub fn start(&self) -> Result<(), GicError> {
        match self {
            Self::V2(gic) => {
                gic.start();
                Ok(())
            }
            Self::V3(gic) => gic.start(),
        }
    }

    /// One past the last SPI that the controller implements.
    #[must_use]
    pub fn spi_end(&self) -> IntId {
        match self {
            Self::V2(gic) => gic.spi_end(),
            Self::V3(gic) => gic.spi_end(),
        }
    }

    /// The registers of SPIs. Others than SPIs must not be asked for here.
    #[inline]
    #[must_use]
    pub const fn spis(&self) -> &InterruptBank {
        match self {
            Self::V2(gic) => gic.bank(),
            Self::V3(gic) => gic.bank(),
        }
    }

    /// Sends an SPI to one core from now on. What is pending on another core moves with it.
    #[inline]
    pub fn route(&self, intid: IntId, target: &CoreTarget) {
        match self {
            Self::V2(gic) => gic.route(intid, target.interface),
            Self::V3(gic) => gic.route(intid, target.affinity),
        }
    }
}

/// INTIDs 32 to the end that GICD_TYPER.ITLinesNumber gives (IHI 0069, 12.9.38), at most 1020.
pub(crate) fn spi_end(lines: u32) -> IntId {
    let end = (lines & 31).saturating_add(1) << 5;
    u16::try_from(end).map_or(IntId::END_SPI, |end| IntId(end).min(IntId::END_SPI))
}

#[cfg(test)]
mod tests {
    use super::{CoreTarget, spi_end};
    use shikiri_abi::IntId;

    #[test]
    fn a_core_is_addressed_by_its_affinities() {
        let target = CoreTarget::from_mpidr(0x12_8134_5678);
        assert_eq!(target.affinity, 0x12_0034_5678);
        assert_eq!(target.sgi1r, 0x0012_7034_0056_0100);
        assert_eq!(CoreTarget::from_mpidr(0x8000_0000).sgi1r, 1);
        assert_eq!(CoreTarget::from_mpidr(0x10f).sgi1r, 0x1_8000);
    }

    #[test]
    fn interrupt_lines_end_before_the_special_ids() {
        assert_eq!(spi_end(0), IntId(32));
        assert_eq!(spi_end(8), IntId(288));
        assert_eq!(spi_end(31), IntId(1020));
    }
}
