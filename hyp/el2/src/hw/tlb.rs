//! TLB maintenance, and the regime of EL1: each method is its instruction. The sequences are in `shikiri_stage2`.
#![expect(unsafe_code, reason = "loads VTTBR_EL2 and EL1's controls")]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use shikiri_abi::Ipa;
use shikiri_arch::errata;
use shikiri_arch::hw::{Regime, Tlb, Vttbr};

use crate::regs;

/// This core's view of the machine's TLBs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineTlb;

impl Tlb for MachineTlb {
    #[inline]
    fn dsb_ishst(&self) {
        regs::dsb_ishst();
    }

    #[inline]
    fn dsb_ish(&self) {
        regs::dsb_ish();
    }

    #[inline]
    fn isb(&self) {
        regs::isb();
    }

    #[inline]
    fn tlbi_ipas2e1is(&self, ipa: Ipa) {
        regs::tlbi_ipas2e1is(ipa.0 >> 12);
    }

    #[inline]
    fn tlbi_vmalle1is(&self) {
        regs::tlbi_vmalle1is();
    }

    #[inline]
    fn tlbi_vmalls12e1is(&self) {
        regs::tlbi_vmalls12e1is();
    }

    #[inline]
    fn vttbr(&self) -> Vttbr {
        Vttbr(regs::vttbr_el2())
    }

    #[inline]
    fn load_vttbr(&self, vttbr: Vttbr) {
        // SAFETY: the value names tables of the frame ledger. EL1's walks are held off whenever it is another partition's than the
        // loaded vCPU's: nothing is loaded (`Context::save`), or the call holds them off (`switch::with_walks_held`).
        unsafe { regs::set_vttbr_el2(vttbr.0) };
    }

    #[inline]
    fn needs_repeat(&self) -> bool {
        NEEDS_REPEAT.load(Ordering::Relaxed)
    }
}

/// The translation regime of the guest on this core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineRegime;

impl Regime for MachineRegime {
    #[inline]
    fn isb(&self) {
        regs::isb();
    }

    #[inline]
    fn tcr_el1(&self) -> u64 {
        regs::tcr_el1()
    }

    #[inline]
    fn set_tcr_el1(&self, value: u64) {
        // SAFETY: EL1's control; EL2's own translation does not depend on it.
        unsafe { asm!("msr tcr_el1, {}", in(reg) value, options(nostack, preserves_flags)) };
    }

    #[inline]
    fn sctlr_el1(&self) -> u64 {
        regs::sctlr_el1()
    }

    #[inline]
    fn set_sctlr_el1(&self, value: u64) {
        // SAFETY: EL1's control; EL2's own translation does not depend on it.
        unsafe { asm!("msr sctlr_el1, {}", in(reg) value, options(nostack, preserves_flags)) };
    }

    #[inline]
    fn load_vttbr(&self, vttbr: Vttbr) {
        MachineTlb.load_vttbr(vttbr);
    }

    #[inline]
    fn tlbi_vmalle1(&self) {
        regs::tlbi_vmalle1();
    }

    #[inline]
    fn ic_iallu(&self) {
        regs::ic_iallu();
    }

    #[inline]
    fn dsb_nsh(&self) {
        regs::dsb_nsh();
    }
}

/// Whether some core of the machine needs each broadcast invalidation twice: the affected core is the one
/// that still has accesses outstanding, not the one that invalidates.
static NEEDS_REPEAT: AtomicBool = AtomicBool::new(false);

/// Notes this core's errata; before any guest runs.
pub(crate) fn note_errata() {
    if errata::needs_second_tlbi(regs::midr_el1()) {
        NEEDS_REPEAT.store(true, Ordering::Relaxed);
    }
}
