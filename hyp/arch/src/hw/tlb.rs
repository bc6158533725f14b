//! Translation caches: one method is one instruction.
//!
//! The sequences are in `shikiri_stage2::invalidate`, where tests mutate them; implementations add nothing.

use shikiri_abi::{Ipa, Pa, Vmid};

/// The value of VTTBR_EL2: which stage-2 tables, under which VMID (Arm ARM, VTTBR_EL2).
///
/// The two always travel together: a core whose VTTBR_EL2 held one partition's VMID with another's tables
/// could walk speculatively and cache the wrong translation under that VMID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Vttbr(pub u64);

impl Vttbr {
    const BADDR: u64 = 0x0000_ffff_ffff_fffe;
    const VMID_SHIFT: u32 = 48;

    /// Joins the root table's address (bits 47:1) and the VMID (bits 55:48; VTCR_EL2.VS = 0).
    #[must_use]
    pub fn new(root: Pa, vmid: Vmid) -> Self {
        Self((root.0 & Self::BADDR) | (u64::from(vmid.0) << Self::VMID_SHIFT))
    }

    /// The root table's address.
    #[must_use]
    pub const fn root(self) -> Pa {
        Pa(self.0 & Self::BADDR)
    }

    /// The VMID.
    #[must_use]
    pub const fn vmid(self) -> Vmid {
        let [.., low, _high] = self.0.to_le_bytes();
        Vmid(low)
    }
}

/// TLB maintenance and its barriers (Arm ARM D8.17).
pub trait Tlb {
    /// DSB ISHST: descriptor stores are visible to every core's walker.
    fn dsb_ishst(&self);

    /// DSB ISH: invalidations and stores before it are complete on every core.
    fn dsb_ish(&self);

    /// ISB.
    fn isb(&self);

    /// TLBI IPAS2E1IS: stage-2-only entries (leaves and walk steps) of this IPA under the current VMID.
    fn tlbi_ipas2e1is(&self, ipa: Ipa);

    /// TLBI VMALLE1IS: stage-1 and combined entries under the current VMID.
    fn tlbi_vmalle1is(&self);

    /// TLBI VMALLS12E1IS: all entries, both stages, under the current VMID.
    fn tlbi_vmalls12e1is(&self);

    /// MRS VTTBR_EL2: the current tables and VMID of this core.
    fn vttbr(&self) -> Vttbr;

    /// MSR VTTBR_EL2: makes these the current tables and VMID of this core. An ISB must follow before
    /// anything depends on it; callers give it. On cores with a speculative-walk erratum (Cortex-A72
    /// 1319367) the EL1 walks are held off meanwhile (TCR_EL1.EPD0/EPD1, SCTLR_EL1.M).
    fn load_vttbr(&self, vttbr: Vttbr);

    /// Whether this core's errata ask for a second broadcast TLBI and DSB after the first (by MIDR).
    fn needs_repeat(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::Vttbr;
    use shikiri_abi::{Pa, Vmid};

    #[test]
    fn a_vttbr_gives_back_what_it_joins() {
        let vttbr = Vttbr::new(Pa(0x1234_5000_2000), Vmid(0xfe));
        assert_eq!(vttbr.0, 0x00fe_1234_5000_2000);
        assert_eq!((vttbr.root(), vttbr.vmid()), (Pa(0x1234_5000_2000), Vmid(0xfe)));
    }
}
