//! The machine: its cores, its interrupt controller, the addresses that it has.

use shikiri_abi::VcpuIndex;

/// The most vCPUs of a partition on a GICv3 board (the vGIC's sets of vCPUs have 64 bits).
pub const MAX_VCPUS: usize = 64;
/// The most vCPUs of a partition on a GICv2 board (GICv2 architecture: 8 CPU interfaces).
pub const MAX_VCPUS_GICV2: usize = 8;
/// Bytes of a GICD or GICR frame, and of the space that a GICC window takes.
pub const GIC_FRAME_BYTES: u64 = 0x1_0000;
/// Bytes of a vCPU's redistributor: `RD_base` and `SGI_base` (GICv3 architecture, 12.10).
pub const REDISTRIBUTOR_BYTES: u64 = 2 * GIC_FRAME_BYTES;
/// Guest addresses have this many bits.
pub const IPA_BITS: u32 = 40;
/// Physical addresses have at most this many bits.
pub const PA_BITS: u32 = 48;

/// Which GIC the board has; the partitions' virtual one is of the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicVersion {
    /// Memory-mapped CPU interface, at most 8 vCPUs.
    V2,
    /// System-register CPU interface, one redistributor per vCPU.
    V3,
}

impl GicVersion {
    /// 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }

    /// The most vCPUs that a partition can have with it.
    #[must_use]
    pub const fn max_vcpus(self) -> usize {
        match self {
            Self::V2 => MAX_VCPUS_GICV2,
            Self::V3 => MAX_VCPUS,
        }
    }

    /// The affinity fields of a vCPU's `MPIDR_EL1`, laid out as QEMU's `virt` does: up to 8 (GICv2) or
    /// 16 (GICv3, so that one SGI target list reaches them: `ICC_SGI1R_EL1.TargetList`) in one `Aff1` group.
    #[must_use]
    pub fn affinity(self, vcpu: VcpuIndex) -> u64 {
        let index = u64::from(vcpu.0);
        match self {
            Self::V2 => (index & 7) | ((index >> 3) << 8),
            Self::V3 => (index & 15) | ((index >> 4) << 8),
        }
    }
}

/// What the description says about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board<'a> {
    /// The board's device-tree `compatible`, the first string.
    pub compatible: &'a str,
    /// The interrupt controller.
    pub gic: GicVersion,
    /// Cores that the description counts on, 1 to 128: those with a smaller number are used. The machine may have more.
    pub cores: usize,
    /// The partition whose console has the focus at start, as an index.
    pub focus: Option<usize>,
}
