//! The translation regime of EL1 and EL0 on the core that runs this code: one method is one instruction.

use super::Vttbr;

/// SCTLR_EL1 at a vCPU's start: RES1 bits, MMU and caches off (PSCI 6.4, *initial core configuration*).
pub const SCTLR_EL1_RESET: u64 = 0x30d0_0800;

/// What a core does to its guest's regime between two vCPUs.
///
/// The sequences are in `shikiri_stage2::switch`, where tests mutate them; implementations add nothing. A write takes effect at
/// some moment up to the next ISB, each for itself: a walk by speculation may see any mixture (Arm ARM D24.1.2,
/// synchronization of changes to system registers).
pub trait Regime {
    /// ISB.
    fn isb(&self);

    /// MRS TCR_EL1.
    fn tcr_el1(&self) -> u64;

    /// MSR TCR_EL1.
    fn set_tcr_el1(&self, value: u64);

    /// MRS SCTLR_EL1.
    fn sctlr_el1(&self) -> u64;

    /// MSR SCTLR_EL1.
    fn set_sctlr_el1(&self, value: u64);

    /// MSR VTTBR_EL2.
    fn load_vttbr(&self, vttbr: Vttbr);

    /// TLBI VMALLE1: stage-1 and combined entries of this core, under the current VMID.
    fn tlbi_vmalle1(&self);

    /// IC IALLU: the instruction cache of this core.
    fn ic_iallu(&self);

    /// DSB NSH: this core's invalidations before it are complete.
    fn dsb_nsh(&self);
}
