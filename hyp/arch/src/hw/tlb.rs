//! Translation caches: one method is one instruction.
//!
//! The sequences are in `shikiri_stage2`, where tests mutate them; implementations add nothing.

use shikiri_abi::{Ipa, Vmid};

/// TLB maintenance and its barriers (Arm ARM D8.17).
pub trait Tlb {
    /// DSB ISHST: descriptor stores are visible to every core's walker.
    fn dsb_ishst(&self);

    /// DSB ISH: invalidations and stores before it are complete on every core.
    fn dsb_ish(&self);

    /// ISB.
    fn isb(&self);

    /// TLBI IPAS2E1IS: stage-2 leaf entries of this IPA under the current VMID.
    fn tlbi_ipas2e1is(&self, ipa: Ipa);

    /// TLBI VMALLE1IS: stage-1 and combined entries under the current VMID.
    fn tlbi_vmalle1is(&self);

    /// TLBI VMALLS12E1IS: all entries, both stages, under the current VMID.
    fn tlbi_vmalls12e1is(&self);

    /// Makes `vmid` the current VMID (loads VTTBR_EL2 with it, ISB) and returns the one before.
    fn set_vmid(&self, vmid: Vmid) -> Vmid;
}
