//! The TLB sequences, by name.
//!
//! All of them act under the *losing* partition's VMID: they load its VTTBR_EL2 (tables and VMID together,
//! [`Vttbr`]) if another one is current, and put the other back at the end. They use broadcast
//! instructions, so that they are complete on every core when they return (Arm ARM D8.17, TLB maintenance).
//!
//! The callers have stored the new descriptors; these functions make the stores visible, drop what was
//! cached from the old ones, and wait until no core uses it.

use shikiri_abi::Ipa;
use shikiri_arch::hw::{Tlb, Vttbr};

/// What a change has made stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// Nothing: no valid descriptor was changed.
    Nothing,
    /// One leaf, by an address inside it.
    Leaf(Ipa),
    /// Several leaves, or tables with what hung below them.
    Several,
}

impl Stale {
    /// Adds a changed leaf.
    pub(crate) const fn and_leaf(self, at: Ipa) -> Self {
        match self {
            Self::Nothing => Self::Leaf(at),
            Self::Leaf(_) | Self::Several => Self::Several,
        }
    }

    /// Runs the sequence that is sufficient.
    pub(crate) fn invalidate<T: Tlb>(self, tlb: &T, owner: Vttbr) {
        match self {
            Self::Nothing => {}
            Self::Leaf(at) => one_leaf(tlb, owner, at),
            Self::Several => whole_vmid(tlb, owner),
        }
    }
}

/// Invalidates one leaf (4 KiB, 2 MiB or 1 GiB) whose descriptor was changed or cleared.
///
/// Stage-2 entries go by IPA first, and completely: until then a walk could make a new combined entry out
/// of them. Combined entries carry no IPA, so all of the VMID's go (Arm ARM D8.17.5, TLBI IPAS2E1IS).
pub fn one_leaf<T: Tlb>(tlb: &T, owner: Vttbr, at: Ipa) {
    tlb.dsb_ishst();
    let before = enter(tlb, owner);
    tlb.tlbi_ipas2e1is(at);
    tlb.dsb_ish();
    tlb.tlbi_vmalle1is();
    tlb.dsb_ish();
    if tlb.needs_repeat() {
        tlb.tlbi_vmalle1is();
        tlb.dsb_ish();
    }
    leave(tlb, before);
}

/// Invalidates everything under a VMID: after a table descriptor was cleared or several leaves were
/// changed, and before a VMID is used again.
pub fn whole_vmid<T: Tlb>(tlb: &T, owner: Vttbr) {
    tlb.dsb_ishst();
    let before = enter(tlb, owner);
    tlb.tlbi_vmalls12e1is();
    tlb.dsb_ish();
    if tlb.needs_repeat() {
        tlb.tlbi_vmalls12e1is();
        tlb.dsb_ish();
    }
    leave(tlb, before);
}

/// Makes stores to descriptors that were invalid visible to every walker. Invalid descriptors are never
/// cached, so there is nothing to invalidate (Arm ARM D8.17); the guest's next instruction comes after an
/// ERET, which synchronises this core.
pub fn publish<T: Tlb>(tlb: &T) {
    tlb.dsb_ishst();
}

/// Loads the losing partition's VTTBR_EL2 if it is not current; returns the one to put back.
fn enter<T: Tlb>(tlb: &T, owner: Vttbr) -> Option<Vttbr> {
    let current = tlb.vttbr();
    if current == owner {
        return None;
    }
    tlb.load_vttbr(owner);
    tlb.isb();
    Some(current)
}

/// Puts back what [`enter`] replaced, the TLBIs having completed under the other VMID, and lets this
/// core's own instruction stream see it all.
fn leave<T: Tlb>(tlb: &T, before: Option<Vttbr>) {
    if let Some(vttbr) = before {
        tlb.load_vttbr(vttbr);
    }
    tlb.isb();
}
