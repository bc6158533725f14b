//! What a core does to its guest's translation regime when another vCPU takes it, by name.
//!
//! Two things must not happen. A walk by speculation (a prefetch, or an AT instruction that is never executed) must not find one
//! vCPU's stage-1 registers together with another partition's stage-2 tables: the Cortex-A72 caches what comes of that (erratum
//! 1319367; on other cores these sequences do no harm). And two vCPUs of one VMID may differ in stage 1: what one has left in
//! this core's TLB and instruction cache must not serve the other (Arm ARM D8.16.3).
//!
//! The last context synchronization event is the ERET to the guest.

use shikiri_arch::hw::{Regime, SCTLR_EL1_RESET, Vttbr};

/// SCTLR_EL1.M.
const SCTLR_M: u64 = 1;
/// TCR_EL1.EPD0 and EPD1: no stage-1 walks.
const TCR_NO_WALKS: u64 = (1 << 7) | (1 << 23);

/// The registers that say whether EL1 walks; the others count when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// TCR_EL1.
    pub tcr: u64,
}

impl Controls {
    /// This core's.
    #[inline(always)]
    pub fn read<R: Regime>(core: &R) -> Self {
        Self { sctlr: core.sctlr_el1(), tcr: core.tcr_el1() }
    }

    /// Lets walks go on under these. With the MMU off at EL1 nothing is walked, which has to be in force before EPD0 and EPD1
    /// go. Whatever else was changed while walks were held is in force: an ISB was there.
    #[inline(always)]
    fn release<R: Regime>(self, core: &R) {
        core.set_sctlr_el1(self.sctlr);
        core.isb();
        core.set_tcr_el1(self.tcr);
    }
}

/// Holds EL1's walks off: from here on nothing is translated under EL1's registers, by speculation neither.
#[inline(always)]
pub fn hold_walks<R: Regime>(core: &R) {
    core.set_tcr_el1(core.tcr_el1() | TCR_NO_WALKS);
    core.isb();
    // Only with the MMU on do EPD0 and EPD1 count.
    core.set_sctlr_el1(SCTLR_EL1_RESET | SCTLR_M);
    core.isb();
}

/// Puts a vCPU's regime on this core: `load_registers` writes those of EL1's registers that are no [`Controls`].
///
/// `may_follow_sibling` says that another vCPU of the same VMID may have run on this core.
#[inline(always)]
pub fn put_on<R: Regime>(
    core: &R,
    controls: Controls,
    vttbr: Vttbr,
    may_follow_sibling: bool,
    load_registers: impl FnOnce(),
) {
    hold_walks(core);
    load_registers();
    core.load_vttbr(vttbr);
    core.isb();
    if may_follow_sibling {
        core.tlbi_vmalle1();
        core.ic_iallu();
        core.dsb_nsh();
    }
    controls.release(core);
}

/// Runs what loads another partition's VTTBR_EL2, and puts this one back, while a vCPU's registers are on this core.
#[inline(always)]
pub fn with_walks_held<R: Regime, T>(core: &R, run: impl FnOnce() -> T) -> T {
    let controls = Controls::read(core);
    hold_walks(core);
    let result = run();
    core.isb();
    controls.release(core);
    result
}
