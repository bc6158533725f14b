//! Exceptions that a guest takes because of what it did, as the hardware would give them.
//!
//! Pure: [`Entry::new`] computes what EL1 finds at its vector (Arm ARM D1.3.1, *exception entry*, and the
//! pseudocode AArch64.TakeException); EL2 writes it: `elr` to ELR_EL1, `spsr` to SPSR_EL1, `esr` to ESR_EL1,
//! `far` to FAR_EL1, and lets the guest go on at `pc` with `pstate`.

use crate::exit::{Abort, AbortKind};

/// The vCPU's state at the exception, as EL2 finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupted {
    /// ELR_EL2: the instruction that takes the exception.
    pub pc: u64,
    /// SPSR_EL2.
    pub pstate: u64,
    /// VBAR_EL1.
    pub vbar: u64,
    /// SCTLR_EL1: SPAN and DSSBS decide about PAN and SSBS.
    pub sctlr: u64,
    /// Whether the core has FEAT_PAN (ID_AA64MMFR1_EL1.PAN).
    pub has_pan: bool,
}

/// What the guest takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// The instruction is UNDEFINED.
    Undefined,
    /// A synchronous external abort: nothing answers at that address.
    Abort {
        /// What was accessed, and how.
        abort: Abort,
        /// FAR_EL2: the virtual address.
        far: u64,
    },
}

/// An exception taken to EL1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the guest goes on: its vector.
    pub pc: u64,
    /// The state that it goes on in.
    pub pstate: u64,
    /// ELR_EL1: where it came from.
    pub elr: u64,
    /// SPSR_EL1: the state that it had.
    pub spsr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1, for aborts.
    pub far: Option<u64>,
}

const EC_UNKNOWN: u64 = 0x00;
/// Aborts from a lower level; from the same level they are one more.
const EC_FETCH_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;
const ESR_IL: u64 = 1 << 25;
const ISS_CM: u64 = 1 << 8;
const ISS_WNR: u64 = 1 << 6;
/// Synchronous external abort, not on a walk.
const EXTERNAL: u64 = 0b01_0000;
/// Synchronous external abort on a walk; the level is in bits 1:0.
const EXTERNAL_ON_WALK: u64 = 0b01_0100;

const MODE: u64 = 0x1f;
const MODE_AARCH32: u64 = 1 << 4;
const EL1T: u64 = 0b00100;
const EL1H: u64 = 0b00101;
const NZCV: u64 = 0xf << 28;
const TCO: u64 = 1 << 25;
const DIT: u64 = 1 << 24;
/// Where SPSR keeps DIT for AArch32.
const DIT_AARCH32: u64 = 1 << 21;
const PAN: u64 = 1 << 22;
const SSBS: u64 = 1 << 12;
const DAIF: u64 = 0xf << 6;
const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;

impl Entry {
    /// What the guest finds at its vector.
    #[must_use]
    pub fn new(from: &Interrupted, injected: Injected) -> Self {
        let origin = Origin::of(from.pstate);
        let (esr, far) = match injected {
            Injected::Undefined => ((EC_UNKNOWN << 26) | ESR_IL, None),
            Injected::Abort { abort, far } => (abort_syndrome(origin, &abort), Some(far)),
        };
        Self {
            pc: (from.vbar & !0x7ff).wrapping_add(origin.vector()),
            pstate: new_pstate(from, origin),
            elr: from.pc,
            spsr: from.pstate,
            esr,
            far,
        }
    }
}

/// Where an exception to EL1 comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// EL1 with SP_EL0.
    SameWithSp0,
    /// EL1 with its own stack.
    Same,
    /// EL0 in AArch64.
    Lower,
    /// EL0 in AArch32.
    LowerAArch32,
}

impl Origin {
    const fn of(pstate: u64) -> Self {
        match pstate & MODE {
            EL1T => Self::SameWithSp0,
            EL1H => Self::Same,
            mode if mode & MODE_AARCH32 != 0 => Self::LowerAArch32,
            _ => Self::Lower,
        }
    }

    /// The synchronous vector's offset (Arm ARM D1.3.1.5).
    const fn vector(self) -> u64 {
        match self {
            Self::SameWithSp0 => 0x000,
            Self::Same => 0x200,
            Self::Lower => 0x400,
            Self::LowerAArch32 => 0x600,
        }
    }

    const fn is_same_level(self) -> bool {
        matches!(self, Self::SameWithSp0 | Self::Same)
    }
}

/// EL1h with everything masked; NZCV, DIT and TCO stay, PAN and SSBS as SCTLR_EL1 says; UAO, BTYPE, SS and
/// IL are cleared.
const fn new_pstate(from: &Interrupted, origin: Origin) -> u64 {
    let mut pstate = (from.pstate & (NZCV | PAN)) | DAIF | EL1H;
    pstate |= match origin {
        Origin::LowerAArch32 if from.pstate & DIT_AARCH32 != 0 => DIT,
        Origin::LowerAArch32 => 0,
        Origin::SameWithSp0 | Origin::Same | Origin::Lower => from.pstate & (DIT | TCO),
    };
    if from.has_pan && from.sctlr & SCTLR_SPAN == 0 {
        pstate |= PAN;
    }
    if from.sctlr & SCTLR_DSSBS != 0 {
        pstate |= SSBS;
    }
    pstate
}

fn abort_syndrome(origin: Origin, abort: &Abort) -> u64 {
    let status = if abort.is_on_walk {
        // The level is stage 2's; no register tells at which level of stage 1 the walk was.
        EXTERNAL_ON_WALK | u64::from(abort.status & 3)
    } else {
        EXTERNAL
    };
    let (class, iss) = match abort.kind {
        AbortKind::Fetch => (EC_FETCH_ABORT, status),
        AbortKind::Read => (EC_DATA_ABORT, status),
        AbortKind::Write => (EC_DATA_ABORT, status | ISS_WNR),
        AbortKind::Maintenance => (EC_DATA_ABORT, status | ISS_WNR | ISS_CM),
    };
    let class = if origin.is_same_level() { class | 1 } else { class };
    (class << 26) | ESR_IL | iss
}

#[cfg(test)]
mod tests {
    use super::{Entry, Injected, Interrupted};
    use crate::exit::{Abort, AbortKind};
    use shikiri_abi::Ipa;

    const SPAN: u64 = 1 << 23;
    const DSSBS: u64 = 1 << 44;

    fn at(pstate: u64) -> Interrupted {
        Interrupted { pc: 0x4008_0004, pstate, vbar: 0x4010_0800, sctlr: SPAN, has_pan: false }
    }

    fn abort(kind: AbortKind, is_on_walk: bool) -> Injected {
        let abort = Abort { ipa: Ipa(0x1000), kind, is_on_walk, status: 0x06 };
        Injected::Abort { abort, far: 0x1234 }
    }

    #[test]
    fn each_origin_has_its_vector() {
        for (pstate, offset) in [(0x5, 0x200), (0x4, 0), (0x0, 0x400), (0x10, 0x600), (0x1f, 0x600)]
        {
            let entry = Entry::new(&at(pstate), Injected::Undefined);
            assert_eq!(entry.pc, 0x4010_0800_u64.wrapping_add(offset), "{pstate:#x}");
            assert_eq!((entry.elr, entry.spsr), (0x4008_0004, pstate));
        }
    }

    #[test]
    fn the_vector_base_has_no_low_bits() {
        let unaligned = Interrupted { vbar: 0x4010_0fff, ..at(5) };
        assert_eq!(Entry::new(&unaligned, Injected::Undefined).pc, 0x4010_0a00);
        let high = Interrupted { vbar: u64::MAX, ..at(0) };
        assert_eq!(Entry::new(&high, Injected::Undefined).pc, 0xffff_ffff_ffff_fc00);
    }

    #[test]
    fn undefined_has_no_address_and_no_syndrome() {
        let entry = Entry::new(&at(5), Injected::Undefined);
        assert_eq!((entry.esr, entry.far), (0x0200_0000, None));
    }

    #[test]
    fn aborts_say_what_was_accessed_and_from_which_level() {
        for (kind, from_el1, from_el0) in [
            (AbortKind::Fetch, 0x8600_0010, 0x8200_0010),
            (AbortKind::Read, 0x9600_0010, 0x9200_0010),
            (AbortKind::Write, 0x9600_0050, 0x9200_0050),
            (AbortKind::Maintenance, 0x9600_0150, 0x9200_0150),
        ] {
            for (pstate, esr) in [(5, from_el1), (4, from_el1), (0, from_el0), (0x10, from_el0)] {
                // On a walk: status 0b0101LL in the place of 0b010000.
                for (is_on_walk, esr) in [(false, esr), (true, esr | 0x06)] {
                    let entry = Entry::new(&at(pstate), abort(kind, is_on_walk));
                    let what = (kind, is_on_walk, pstate);
                    assert_eq!((entry.esr, entry.far), (esr, Some(0x1234)), "{what:x?}");
                }
            }
        }
    }

    #[test]
    fn flags_stay_masks_are_set_and_the_step_state_is_cleared() {
        // NZCV, TCO, DIT, UAO, PAN, SS, IL, SSBS, BTYPE, and no mask.
        let everything = 0xf3f0_1c05;
        let entry = Entry::new(&at(everything), Injected::Undefined);
        assert_eq!(entry.pstate, 0xf340_03c5, "NZCV, TCO, DIT, PAN, DAIF, EL1h");
        assert_eq!(entry.spsr, everything);
        let narrow = Entry::new(&at(0xf820_0010), Injected::Undefined);
        assert_eq!(
            narrow.pstate, 0xf100_03c5,
            "AArch32 keeps DIT in bit 21, and Q is no flag here"
        );
    }

    #[test]
    fn pan_and_ssbs_follow_sctlr() {
        for (sctlr, has_pan, extra) in [
            (0, true, 1 << 22),
            (0, false, 0),
            (SPAN, true, 0),
            (SPAN | DSSBS, true, 1 << 12),
            (DSSBS, true, (1 << 22) | (1 << 12)),
        ] {
            let from = Interrupted { sctlr, has_pan, ..at(0) };
            assert_eq!(Entry::new(&from, Injected::Undefined).pstate, 0x3c5 | extra);
        }
    }
}
