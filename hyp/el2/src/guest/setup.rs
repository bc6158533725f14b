//! A core's EL2 registers: every one of them is written, whatever firmware left there.
#![expect(unsafe_code, reason = "loads EL2's control registers")]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::regs;

/// HCR_EL2 without the wait traps: VM, SWIO, PTW, FMO, IMO, AMO, FB, BSU = inner shareable, TSC, TIDCP,
/// TACR, TSW, RW.
const HCR: u64 = 1 | (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 10) | (1 << 19)
    | (1 << 20) | (1 << 21) | (1 << 22) | (1 << 31);

static HCR_VALUE: AtomicU64 = AtomicU64::new(HCR);

/// Names the vectors: from here on a fault of our own is reported, not silent.
pub(crate) fn set_vectors() {
    // SAFETY: the vector table of this image.
    unsafe { regs::set_vbar_el2(super::vectors()) };
    // SAFETY: no block yet; the vectors know 0.
    unsafe { regs::set_tpidr_el2(0) };
    regs::isb();
}

/// Writes the registers that stay as they are while the core runs.
pub(crate) fn start_core(vtcr: u64) {
    set_vectors();
    // SAFETY: the format of all tables.
    unsafe { regs::set_vtcr_el2(vtcr) };
    // SAFETY: no guest runs; no tables.
    unsafe { regs::set_vttbr_el2(0) };
    // SAFETY: no FP trap; SVE and SME trap where they exist (RES1 elsewhere). EL2 uses neither.
    unsafe { regs::set_cptr_el2(0x33ff) };
    // SAFETY: traps debug and performance registers: TDRA, TDOSA, TDA, TPM, TPMCR; HPMN stays.
    unsafe { regs::set_mdcr_el2((1 << 11) | (1 << 10) | (1 << 9) | (1 << 6) | (1 << 5) | 6) };
    regs::set_hstr_el2(0);
    // EL1PCTEN: the physical counter reads freely; EL1PCEN clear: the physical timer traps.
    regs::set_cnthctl_el2(1);
    regs::set_cntvoff_el2(0);
    regs::set_cntv_ctl_el0(0);
    regs::set_cnthp_ctl_el2(0);
    regs::set_vpidr_el2(regs::midr_el1());
    set_traps(0);
    regs::isb();
    // What firmware or a loader left under any VMID.
    regs::tlbi_alle1();
    regs::dsb_sy();
    regs::isb();
}

/// Sets HCR_EL2 with the wait traps of the vCPU that is loaded.
pub(crate) fn set_traps(wait: u64) {
    // SAFETY: stage 2 on, everything routed here, E2H and TGE clear.
    unsafe { regs::set_hcr_el2(HCR_VALUE.load(Ordering::Relaxed) | wait) };
}
