//! A core's EL2 registers, whatever firmware or a kernel before us left there: all that a guest's isolation hangs on, and the state
//! that guests share without a switch, since they cannot reach it. What is added by features that guests do not see stays as its
//! controls here make it: off, or trapped.
#![expect(unsafe_code, reason = "loads EL2's control registers")]

use shikiri_arch::exit::SysregEncoding;
use shikiri_arch::trap_config::{
    CoreFeatures, FINE_GRAINED_TRAPS, FineGrained, MpamTraps, TrapConfig,
};
use shikiri_stage2::{Format, switch};

use super::ids;
use crate::hw::tlb::MachineRegime;
use crate::regs;

/// Names the vectors: from here on a fault of our own is reported, not silent.
pub(crate) fn set_vectors() {
    // SAFETY: the vector table of this image.
    unsafe { regs::set_vbar_el2(super::vectors()) };
    // SAFETY: no block yet; the vectors know 0.
    unsafe { regs::set_tpidr_el2(0) };
    regs::isb();
}

/// Writes the registers that stay as they are while the core runs; answers HCR_EL2 without the wait traps.
pub(crate) fn start_core(format: Format) -> u64 {
    let traps = TrapConfig::new(&features(format));
    set_vectors();
    // Until the first vCPU is loaded EL1's translation registers are nobody's: as between two of them, nothing is walked.
    switch::hold_walks(&MachineRegime);
    // SAFETY: the format of all tables.
    unsafe { regs::set_vtcr_el2(format.vtcr()) };
    // SAFETY: no guest runs; no tables.
    unsafe { regs::set_vttbr_el2(0) };
    // SAFETY: EL2 uses neither FP nor SVE nor SME.
    unsafe { regs::set_cptr_el2(traps.cptr) };
    // SAFETY: traps the guest's debug and performance registers.
    unsafe { regs::set_mdcr_el2(traps.mdcr) };
    regs::set_hstr_el2(traps.hstr);
    if let Some(hcrx) = traps.hcrx {
        regs::set_hcrx_el2(hcrx);
    }
    set_fine_grained(traps.fine_grained);
    if let Some(mpam) = traps.mpam {
        set_mpam(mpam);
    }
    // Its enables (MDE, KDE, SS) are UNKNOWN after reset, and no guest can clear them: its own writes trap (Arm ARM D24.3, MDSCR_EL1).
    regs::set_mdscr_el1(0);
    regs::set_cnthctl_el2(traps.cnthctl);
    regs::set_cntvoff_el2(0);
    regs::set_cntv_ctl_el0(0);
    regs::set_cnthp_ctl_el2(0);
    regs::set_vpidr_el2(regs::midr_el1());
    set_hcr(traps.hcr);
    regs::isb();
    // What firmware or a loader left under any VMID.
    regs::tlbi_alle1();
    regs::dsb_sy();
    regs::isb();
    traps.hcr
}

/// Gives this core's performance monitors, as after a reset, to the partition that owns the core.
pub(crate) fn give_pmu(format: Format) {
    let features = features(format);
    reset_pmu(&features);
    // SAFETY: all but the PMU's registers trap as for everybody, and nobody else runs on this core.
    unsafe { regs::set_mdcr_el2(TrapConfig::new(&features).mdcr_with_pmu) };
}

/// Takes them back: they stand still, hold nothing of what was counted, and their registers trap.
pub(crate) fn take_pmu(format: Format) {
    let features = features(format);
    reset_pmu(&features);
    // SAFETY: traps the guest's debug and performance registers.
    unsafe { regs::set_mdcr_el2(TrapConfig::new(&features).mdcr) };
}

/// Stops every counter, and clears them and what they count (Arm ARM D11, D19.5).
fn reset_pmu(features: &CoreFeatures) {
    const ALL: u64 = 0xffff_ffff;
    /// PMCR_EL0.P and C: the counters become zero.
    const CLEAR: u64 = 6;
    if !features.has_pmu() {
        return;
    }
    regs::set_pmcr_el0(CLEAR);
    regs::set_pmcntenclr_el0(ALL);
    regs::set_pmintenclr_el1(ALL);
    regs::set_pmovsclr_el0(ALL);
    regs::set_pmuserenr_el0(0);
    regs::set_pmccfiltr_el0(0);
    for counter in 0..u64::from(features.event_counters) {
        regs::set_pmselr_el0(counter);
        regs::isb();
        regs::set_pmxevtyper_el0(0);
    }
    regs::set_pmselr_el0(0);
}

/// Loads HCR_EL2: a value of [`start_core`], with the wait traps of the vCPU that is loaded.
pub(crate) fn set_hcr(value: u64) {
    // SAFETY: stage 2 on, everything routed here, E2H and TGE clear (`TrapConfig`).
    unsafe { regs::set_hcr_el2(value) };
}

fn features(format: Format) -> CoreFeatures {
    let id = |crm, op2| ids::read(SysregEncoding::new(3, 0, 0, crm, op2));
    let dfr0 = id(5, 0);
    let features = CoreFeatures {
        pfr0: id(4, 0),
        pfr1: id(4, 1),
        dfr0,
        mmfr0: id(7, 0),
        mmfr1: id(7, 1),
        mpamidr: 0,
        event_counters: 0,
        forces_write_back: format.has_fwb(),
    };
    let counters = if features.has_pmu() { regs::pmcr_el0() >> 11 & 31 } else { 0 };
    let [event_counters, ..] = counters.to_le_bytes();
    let mpamidr = if features.has_mpam() { regs::mpamidr_el1() } else { 0 };
    CoreFeatures { event_counters, mpamidr, ..features }
}

/// MPAM's registers, where the core has them; not tried on hardware, and QEMU has none. EL3 has to leave them to EL2
/// (MPAM3_EL3.TRAPLOWER = 0, as TF-A does where it knows MPAM, and as Linux needs it since 6.13).
fn set_mpam(traps: MpamTraps) {
    regs::set_mpam2_el2(traps.mpam2);
    if let Some(value) = traps.mpamhcr {
        regs::set_mpamhcr_el2(value);
    }
    regs::set_mpam1_el1(0);
    regs::set_mpam0_el1(0);
}

/// Fine-grained traps, where the core has them.
fn set_fine_grained(level: FineGrained) {
    if level == FineGrained::None {
        return;
    }
    regs::set_hfgrtr_el2(FINE_GRAINED_TRAPS);
    regs::set_hfgwtr_el2(FINE_GRAINED_TRAPS);
    regs::set_hfgitr_el2(FINE_GRAINED_TRAPS);
    regs::set_hdfgrtr_el2(FINE_GRAINED_TRAPS);
    regs::set_hdfgwtr_el2(FINE_GRAINED_TRAPS);
    if level == FineGrained::Second {
        regs::set_hfgrtr2_el2(FINE_GRAINED_TRAPS);
        regs::set_hfgwtr2_el2(FINE_GRAINED_TRAPS);
        regs::set_hfgitr2_el2(FINE_GRAINED_TRAPS);
        regs::set_hdfgrtr2_el2(FINE_GRAINED_TRAPS);
        regs::set_hdfgwtr2_el2(FINE_GRAINED_TRAPS);
    }
}
