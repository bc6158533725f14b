//! The distributor's state: what the vCPUs of a partition share.

use zerocopy::FromZeros;

use crate::bank::{Bank, Groups};
use crate::set::VcpuSet;

/// The most SPIs: INTIDs 32 to 1019.
pub const MAX_SPIS: u16 = 988;

/// Words of SPIs.
pub(crate) const SPI_WORDS: usize = 31;

/// Which GIC architecture is shown, and which hardware carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// GICv2: at most 8 vCPUs; GICH list registers, GICV as the guest's GICC.
    V2,
    /// GICv3: affinity routing always on, one security state; ICH list registers.
    V3,
}

/// Where an SPI goes, and where it is.
#[derive(Clone, Copy, Debug, FromZeros)]
pub(crate) struct Route {
    /// GICD_IROUTER's affinity (Aff3 to Aff0), or GICD_ITARGETSR's byte.
    pub(crate) affinity: u32,
    /// The physical INTID, if one is linked.
    pub(crate) physical: u16,
    /// The vCPU of `affinity`; [`NO_VCPU`] if there is none, [`ANY_VCPU`] for one of several.
    pub(crate) target: u8,
    /// The vCPU whose list register has it, or had it when it became active.
    pub(crate) holder: u8,
    /// The vCPU in whose waiting set it is, if it is in one.
    pub(crate) queue: u8,
    /// Its list register while it is resident.
    pub(crate) home: u8,
}

/// A route to no vCPU: the interrupt stays pending.
pub(crate) const NO_VCPU: u8 = 0xff;
/// A route to one of several vCPUs.
pub(crate) const ANY_VCPU: u8 = 0xfe;

/// The distributor: about 16 KiB, in the caller's storage. All zero it is one that is not yet configured
/// ([`crate::Vgic::configure`]).
#[derive(Debug, FromZeros)]
pub struct Distributor {
    pub(crate) is_v2: bool,
    /// Words of SPIs that exist, 0 to 31.
    pub(crate) words: u8,
    /// GICD_IROUTER.Interrupt_Routing_Mode of each SPI: 1 of N.
    pub(crate) groups: Groups,
    /// vCPUs that run or could: chosen first for 1-of-N interrupts.
    pub(crate) online: VcpuSet,
    /// vCPUs whose list registers may still show an interrupt that was disabled (GICD_CTLR.RWP).
    pub(crate) unsettled: VcpuSet,
    /// The same for their own SGIs and PPIs (GICR_CTLR.RWP).
    pub(crate) unsettled_private: VcpuSet,
    /// Counts syncs and requests for them.
    pub(crate) clock: u64,
    pub(crate) banks: [Bank; SPI_WORDS],
    pub(crate) any_of: [u32; SPI_WORDS],
    pub(crate) routes: [Route; SPI_WORDS * 32],
}

impl Distributor {
    /// The architecture.
    #[inline]
    pub(crate) const fn model(&self) -> Model {
        if self.is_v2 { Model::V2 } else { Model::V3 }
    }

    /// The SPIs of a word that exist: all, but for the last four of word 31.
    #[inline]
    pub(crate) const fn valid(&self, word: u8) -> u32 {
        if word == 0 || word > self.words {
            0
        } else if word == 31 {
            0x0fff_ffff
        } else {
            u32::MAX
        }
    }

    /// The next moment.
    pub(crate) const fn tick(&mut self) -> u64 {
        self.clock = self.clock.wrapping_add(1);
        self.clock
    }
}

impl Default for Distributor {
    fn default() -> Self {
        Self::new_zeroed()
    }
}
