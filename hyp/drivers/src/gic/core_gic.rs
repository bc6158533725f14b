//! What each core has of the interrupt controller: its SGIs and PPIs, and the CPU interface.
//!
//! GICv3's CPU interface is system registers, so this file exists on AArch64 only.

use aarch64_cpu::asm::barrier;
use arm_gic::gicv3::GicCpuInterface;
use arm_sysregs::el1::accessors::{
    read_icc_iar1_el1, write_icc_bpr1_el1, write_icc_ctlr_el1, write_icc_dir_el1,
    write_icc_eoir1_el1, write_icc_sgi1r_el1,
};
use arm_sysregs::el1::registers::{IccBpr1El1, IccCtlrEl1, IccDirEl1, IccEoir1El1, IccSgi1rEl1};
use shikiri_abi::IntId;

use super::bank::InterruptBank;
use super::v2::CoreGicV2;
use super::v3::Redistributor;
use super::{CoreTarget, Gic, GicError};

/// An interrupt that this core has taken: its INTID and, on a GICv2, an SGI's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged(u32);

impl Acknowledged {
    /// The interrupt. From 1020 up it is none: [`IntId::SPURIOUS`] if nothing was pending, and nothing to end.
    ///
    /// Ten bits, though a GICv3 has INTIDs above: its extended PPIs and SPIs are disabled, and its LPIs off, or no core would be
    /// here ([`GicError::LpisStayOn`]).
    #[inline]
    #[must_use]
    pub fn intid(self) -> IntId {
        u16::try_from(self.0 & 0x3ff).map_or(IntId::SPURIOUS, IntId)
    }
}

/// This core's part of the interrupt controller. One for each core, used on that core only.
pub enum CoreGic {
    /// GICv2.
    V2(CoreGicV2),
    /// GICv3 and later.
    V3(Redistributor),
}

impl Gic {
    /// Brings up this core's part and says how others address the core. On each core, once each time it comes up,
    /// after [`Gic::start`]. Interrupts are taken as soon as they are enabled one by one and PSTATE lets them.
    ///
    /// # Errors
    /// [`GicError::NoRedistributor`]: the device tree's GICv3 has none for `mpidr`, this core's MPIDR_EL1.
    pub fn start_core(&self, mpidr: u64) -> Result<(CoreGic, CoreTarget), GicError> {
        match self {
            Self::V2(gic) => {
                let (core, target) = gic.start_core();
                Ok((CoreGic::V2(core), target))
            }
            Self::V3(gic) => {
                let redistributor = gic.redistributor(mpidr)?;
                redistributor.start();
                start_cpu_interface();
                Ok((CoreGic::V3(redistributor), CoreTarget::from_mpidr(mpidr)))
            }
        }
    }

    /// Sends an SGI (0 to 15) to a core. What the caller stored before is visible there only after a DSB ISHST.
    #[inline]
    pub fn send_sgi(&self, sgi: IntId, target: &CoreTarget) {
        match self {
            Self::V2(gic) => gic.send_sgi(sgi, target.interface),
            Self::V3(_) => {
                let value = target.sgi1r | u64::from(sgi.0 & 15) << 24;
                write_icc_sgi1r_el1(IccSgi1rEl1::from_bits_retain(value));
            }
        }
    }
}

impl CoreGic {
    /// The registers of this core's SGIs and PPIs. Others must not be asked for here.
    #[inline]
    #[must_use]
    pub const fn private(&self) -> &InterruptBank {
        match self {
            Self::V2(core) => core.bank(),
            Self::V3(redistributor) => redistributor.bank(),
        }
    }

    /// Takes the first pending interrupt, if any: [`CpuInterface::acknowledge`].
    #[inline]
    #[must_use = "an interrupt that was acknowledged must be ended"]
    pub fn acknowledge(&self) -> Acknowledged {
        match self {
            Self::V2(core) => CpuInterface::acknowledge(core),
            Self::V3(_) => SystemInterface.acknowledge(),
        }
    }

    /// Makes the loads that follow see what an SGI's sender had stored: [`CpuInterface::order_loads`].
    #[inline]
    pub fn order_loads(&self) {
        match self {
            Self::V2(core) => core.order_loads(),
            Self::V3(_) => SystemInterface.order_loads(),
        }
    }

    /// Drops the running priority: [`CpuInterface::end`].
    #[inline]
    pub fn end(&self, interrupt: Acknowledged) {
        match self {
            Self::V2(core) => CpuInterface::end(core, interrupt),
            Self::V3(_) => SystemInterface.end(interrupt),
        }
    }

    /// Ends the active state of an interrupt that was ended: [`CpuInterface::deactivate`].
    #[inline]
    pub fn deactivate(&self, interrupt: Acknowledged) {
        match self {
            Self::V2(core) => CpuInterface::deactivate(core, interrupt),
            Self::V3(_) => SystemInterface.deactivate(interrupt),
        }
    }

    /// Ends the active state of a PPI of this core or of an SPI, by its number.
    #[inline]
    pub fn deactivate_intid(&self, intid: IntId) {
        self.deactivate(Acknowledged(u32::from(intid.0)));
    }
}

/// This core's CPU interface of one version; [`CoreGic`] has the one of the machine's.
pub trait CpuInterface {
    /// Takes the first pending interrupt, if any: it becomes active, and its priority the running one.
    #[must_use = "an interrupt that was acknowledged must be ended"]
    fn acknowledge(&self) -> Acknowledged;

    /// Makes the loads that follow come after the acknowledge, on whose answer they depend: they see what the sender of an SGI
    /// had stored before it. Without it they may be satisfied before the SGI has come.
    fn order_loads(&self);

    /// Drops the running priority, so that other interrupts come through. The interrupt stays active, and so is
    /// not taken again, until it is deactivated.
    fn end(&self, interrupt: Acknowledged);

    /// Ends the active state of an interrupt that was ended.
    fn deactivate(&self, interrupt: Acknowledged);
}

impl CpuInterface for CoreGicV2 {
    #[inline]
    fn acknowledge(&self) -> Acknowledged {
        Acknowledged(Self::acknowledge(self))
    }

    /// DMB ISHLD: GICC_IAR is read by a load, which the barrier orders before the loads behind it (Arm ARM B2.3,
    /// barrier-ordered-before).
    #[inline]
    fn order_loads(&self) {
        barrier::dmb(barrier::ISHLD);
    }

    #[inline]
    fn end(&self, interrupt: Acknowledged) {
        Self::end(self, interrupt.0);
    }

    #[inline]
    fn deactivate(&self, interrupt: Acknowledged) {
        Self::deactivate(self, interrupt.0);
    }
}

/// The CPU interface of a GICv3: system registers of the core that runs this code.
#[derive(Clone, Copy, Debug)]
pub struct SystemInterface;

impl CpuInterface for SystemInterface {
    #[inline]
    fn acknowledge(&self) -> Acknowledged {
        Acknowledged(read_icc_iar1_el1().intid())
    }

    /// ISB: ICC_IAR1_EL1 is no memory, and no DMB orders it. The ISB is executed when the branch on what was read is decided,
    /// and what follows is fetched after it (Arm ARM B2.3, dependencies and barrier-ordered-before).
    #[inline]
    fn order_loads(&self) {
        barrier::isb(barrier::SY);
    }

    #[inline]
    fn end(&self, interrupt: Acknowledged) {
        write_icc_eoir1_el1(IccEoir1El1::from_bits_retain(u64::from(interrupt.0)));
    }

    #[inline]
    fn deactivate(&self, interrupt: Acknowledged) {
        write_icc_dir_el1(IccDirEl1::from_bits_retain(u64::from(interrupt.0)));
    }
}

/// Opens the GICv3 CPU interface: system registers for EL2 and EL1, every priority, EOImode = 1, group 1.
///
/// A guest must not go back to the memory-mapped interface, where a core has one: ICC_SRE_EL1 is no guest's own, and
/// whoever shared the core would find its ICC registers UNDEFINED. So EL1 has system registers before ICC_SRE_EL2.Enable
/// is cleared, which makes its accesses to ICC_SRE_EL1 trap (IHI 0069, ICC_SRE_EL2). A GICv3 without the old interface may have
/// the bit RAO/WI, QEMU's among them: there is nothing to go back to.
fn start_cpu_interface() {
    GicCpuInterface::enable_system_register_el2(true);
    // ICC_SRE_EL2 must be in force before the other ICC registers exist (IHI 0069, 12.2.25).
    barrier::isb(barrier::SY);
    GicCpuInterface::disable_legacy_interrupt_bypass_el2(true);
    GicCpuInterface::enable_system_register_el1();
    barrier::isb(barrier::SY);
    GicCpuInterface::enable_system_register_el2(false);
    GicCpuInterface::set_priority_mask(0xff);
    write_icc_bpr1_el1(IccBpr1El1::empty());
    write_icc_ctlr_el1(IccCtlrEl1::EOIMODE);
    GicCpuInterface::enable_group1(true);
    barrier::isb(barrier::SY);
}
