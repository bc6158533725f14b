//! TLB maintenance: each method is its instruction. The sequences are in `shikiri_stage2`.
#![expect(unsafe_code, reason = "loads VTTBR_EL2")]

use shikiri_abi::Ipa;
use shikiri_arch::hw::{Tlb, Vttbr};

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
        // SAFETY: the value names tables of the frame ledger; EL1's walks are held off while EL2 changes it
        // outside a switch (`Context::save`).
        unsafe { regs::set_vttbr_el2(vttbr.0) };
    }

    fn needs_repeat(&self) -> bool {
        needs_repeated_tlbi(regs::midr_el1())
    }
}

/// Cores on which a broadcast TLBI and its DSB may complete before another core's accesses under the old
/// translation (CVE-2025-10263 and its kin): Arm's Cortex-A76 and later, Neoverse N1 and later. Older ones
/// (Cortex-A53 to A75) are listed by part number; what is not known is treated as affected.
fn needs_repeated_tlbi(midr: u64) -> bool {
    const ARM: u64 = 0x41;
    const UNAFFECTED: [u64; 9] = [0xd01, 0xd02, 0xd03, 0xd04, 0xd05, 0xd07, 0xd08, 0xd09, 0xd0a];
    let (implementer, part) = ((midr >> 24) & 0xff, (midr >> 4) & 0xfff);
    implementer != ARM || !UNAFFECTED.contains(&part)
}
