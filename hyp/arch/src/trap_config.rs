//! Which of a guest's actions come to EL2: the trap registers, as values.
//!
//! [`TrapConfig::new`] computes them from the core's ID registers. They go with the guest's view of those
//! registers ([`crate::idreg`]): what is hidden there traps here. Sources: Arm ARM, section D24.2, by
//! register name. All for HCR_EL2.E2H = 0.

/// What the trap registers depend on: this core's ID registers, and the stage-2 format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreFeatures {
    /// ID_AA64PFR0_EL1: SVE, RAS, AMU, MPAM.
    pub pfr0: u64,
    /// ID_AA64PFR1_EL1: MTE, SME, NMI.
    pub pfr1: u64,
    /// ID_AA64DFR0_EL1: PMU, trace, SPE, trace filter.
    pub dfr0: u64,
    /// ID_AA64MMFR0_EL1: FGT.
    pub mmfr0: u64,
    /// ID_AA64MMFR1_EL1: LORegions, HCX.
    pub mmfr1: u64,
    /// MPAMIDR_EL1, where FEAT_MPAM is: what more can trap; 0 elsewhere.
    pub mpamidr: u64,
    /// PMCR_EL0.N, the number of event counters; 0 without a PMU.
    pub event_counters: u8,
    /// Whether the stage-2 tables force Write-Back (their format says so, for the whole machine).
    pub forces_write_back: bool,
}

/// The trap registers of a core, the same for every guest. EL2 adds [`HCR_WAIT_TRAPS`] where cores are
/// shared and [`CPTR_TFP`] where FP state is switched lazily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrapConfig {
    /// HCR_EL2.
    pub hcr: u64,
    /// CPTR_EL2.
    pub cptr: u64,
    /// MDCR_EL2.
    pub mdcr: u64,
    /// MDCR_EL2 while a vCPU is on the core whose partition has the performance monitors.
    pub mdcr_with_pmu: u64,
    /// CNTHCTL_EL2: the physical counter is read freely, the physical timer traps.
    pub cnthctl: u64,
    /// HSTR_EL2: nothing of AArch32 EL0 traps by column.
    pub hstr: u64,
    /// HCRX_EL2, where FEAT_HCX is.
    pub hcrx: Option<u64>,
    /// MPAM's traps, where FEAT_MPAM is.
    pub mpam: Option<MpamTraps>,
    /// How many generations of fine-grained trap registers there are; each of them is written with
    /// [`FINE_GRAINED_TRAPS`].
    pub fine_grained: FineGrained,
}

/// MPAM's registers at EL2: guests do not see it, so theirs trap, and everybody is in the default partition of caches and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpamTraps {
    /// MPAM2_EL2.
    pub mpam2: u64,
    /// MPAMHCR_EL2, where it is.
    pub mpamhcr: Option<u64>,
}

/// Which fine-grained trap registers a core has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FineGrained {
    /// None (before Armv8.6).
    None,
    /// FEAT_FGT: HFGRTR, HFGWTR, HFGITR, HDFGRTR and HDFGWTR_EL2.
    First,
    /// FEAT_FGT2: the same, and HFGRTR2, HFGWTR2, HFGITR2, HDFGRTR2 and HDFGWTR2_EL2.
    Second,
}

/// The value of every fine-grained trap register. The fields that trap when 1 concern registers that other
/// controls already handle; those that trap when 0 (their names begin with n) concern features that guests
/// do not see: TPIDR2, SMPRI, PIR/POR, GCS, BRBE, ACCDATA, RCWMASK, MAIR2.
pub const FINE_GRAINED_TRAPS: u64 = 0;

/// HCR_EL2.TWI and TWE: WFI, WFE and their timed forms come to EL2. For vCPUs that share a core.
pub const HCR_WAIT_TRAPS: u64 = hcr::TWI | hcr::TWE;

/// CPTR_EL2.TFP: FP and SIMD instructions come to EL2.
pub const CPTR_TFP: u64 = 1 << 10;

mod hcr {
    pub(super) const VM: u64 = 1 << 0;
    pub(super) const SWIO: u64 = 1 << 1;
    pub(super) const PTW: u64 = 1 << 2;
    pub(super) const FMO: u64 = 1 << 3;
    pub(super) const IMO: u64 = 1 << 4;
    pub(super) const AMO: u64 = 1 << 5;
    pub(super) const FB: u64 = 1 << 9;
    pub(super) const BSU_INNER: u64 = 0b01 << 10;
    pub(super) const TWI: u64 = 1 << 13;
    pub(super) const TWE: u64 = 1 << 14;
    pub(super) const TID1: u64 = 1 << 16;
    pub(super) const TID3: u64 = 1 << 18;
    pub(super) const TSC: u64 = 1 << 19;
    pub(super) const TIDCP: u64 = 1 << 20;
    pub(super) const TACR: u64 = 1 << 21;
    pub(super) const TSW: u64 = 1 << 22;
    pub(super) const RW: u64 = 1 << 31;
    pub(super) const TLOR: u64 = 1 << 35;
    pub(super) const TERR: u64 = 1 << 36;
    pub(super) const FWB: u64 = 1 << 46;
    pub(super) const TID5: u64 = 1 << 58;
}

mod cptr {
    /// RES1 without VHE: bits 7:0, 9 and 13.
    pub(super) const RES1: u64 = 0x22ff;
    /// SVE traps; RES1 without SVE.
    pub(super) const TZ: u64 = 1 << 8;
    /// SME traps; RES1 without SME.
    pub(super) const TSM: u64 = 1 << 12;
    pub(super) const TTA: u64 = 1 << 20;
    pub(super) const TAM: u64 = 1 << 30;
}

mod mdcr {
    pub(super) const TPMCR: u64 = 1 << 5;
    pub(super) const TPM: u64 = 1 << 6;
    pub(super) const TDA: u64 = 1 << 9;
    pub(super) const TDOSA: u64 = 1 << 10;
    pub(super) const TDRA: u64 = 1 << 11;
    pub(super) const TPMS: u64 = 1 << 14;
    pub(super) const TTRF: u64 = 1 << 19;
    pub(super) const HPMN: u64 = 0x1f;
}

mod mpam {
    /// MPAM2_EL2: MPAM1_EL1 and MPAM0_EL1 trap.
    pub(super) const TRAP_EL1: u64 = 1 << 48 | 1 << 49;
    /// MPAM2_EL2: MPAMIDR_EL1 traps, where MPAMIDR_EL1.HAS_TIDR, at the same place, says that this can be.
    pub(super) const TIDR: u64 = 1 << 58;
    /// MPAMIDR_EL1: there is MPAMHCR_EL2.
    pub(super) const HAS_HCR: u64 = 1 << 17;
    /// MPAMHCR_EL2: MPAMIDR_EL1 traps.
    pub(super) const TRAP_MPAMIDR: u64 = 1 << 31;
}

/// CNTHCTL_EL2.EL1PCTEN: reads of CNTPCT_EL0 do not trap. EL1PCEN stays 0: CNTP_*_EL0 traps.
const CNTHCTL_EL1PCTEN: u64 = 1 << 0;
/// HCRX_EL2.TALLINT: MSR ALLINT traps, where FEAT_NMI is.
const HCRX_TALLINT: u64 = 1 << 6;

impl TrapConfig {
    /// The values for a core.
    #[must_use]
    pub fn new(core: &CoreFeatures) -> Self {
        Self {
            hcr: core.hcr(),
            cptr: core.cptr(),
            mdcr: core.mdcr(),
            mdcr_with_pmu: core.mdcr() & !(mdcr::TPM | mdcr::TPMCR),
            cnthctl: CNTHCTL_EL1PCTEN,
            hstr: 0,
            hcrx: core.hcrx(),
            mpam: core.has_mpam().then(|| core.mpam()),
            fine_grained: match field(core.mmfr0, 56) {
                0 => FineGrained::None,
                1 => FineGrained::First,
                _ => FineGrained::Second,
            },
        }
    }
}

impl CoreFeatures {
    /// Whether the core has Arm's performance monitors, and so PMCR_EL0.
    #[must_use]
    pub const fn has_pmu(&self) -> bool {
        has_pmu(self.dfr0)
    }

    /// Stage 2 on; physical IRQ, FIQ and SError to EL2 and virtual ones to the guest; EL1 is AArch64;
    /// maintenance and barriers reach the inner-shareable domain; ID group, SMC, ACTLR, set/way,
    /// implementation-defined registers and what is hidden trap; a stage-1 walk into device memory faults
    /// (PTW). PAuth (API, APK), MTE (ATA), SCXTNUM (EnSCXT), nesting and AMVOFF stay 0: they trap.
    const fn hcr(&self) -> u64 {
        let mut value = hcr::VM | hcr::SWIO | hcr::PTW | hcr::FMO | hcr::IMO | hcr::AMO | hcr::RW;
        value |= hcr::FB | hcr::BSU_INNER;
        value |= hcr::TID3 | hcr::TSC | hcr::TIDCP | hcr::TACR | hcr::TSW;
        if field(self.mmfr1, 16) != 0 {
            value |= hcr::TLOR;
        }
        if field(self.pfr0, 28) != 0 {
            value |= hcr::TERR;
        }
        if field(self.pfr1, 24) != 0 {
            // SMIDR_EL1 is in this group, beside REVIDR_EL1 and AIDR_EL1.
            value |= hcr::TID1;
        }
        if field(self.pfr1, 8) >= 2 {
            value |= hcr::TID5;
        }
        if self.forces_write_back {
            value |= hcr::FWB;
        }
        value
    }

    const fn cptr(&self) -> u64 {
        let mut value = cptr::RES1 | cptr::TZ | cptr::TSM;
        if field(self.dfr0, 4) != 0 {
            value |= cptr::TTA;
        }
        if field(self.pfr0, 44) != 0 {
            value |= cptr::TAM;
        }
        value
    }

    /// Debug, OS lock, ROM table and PMU registers trap; all event counters exist for EL1 (HPMN = N), but
    /// TPM traps every access to them; debug exceptions go to EL1 (TDE = 0). E2PB and E2TB stay 0:
    /// profiling and trace buffers trap.
    fn mdcr(&self) -> u64 {
        let mut value = mdcr::TDA | mdcr::TDOSA | mdcr::TDRA;
        if self.has_pmu() {
            value |= mdcr::TPM | mdcr::TPMCR | (u64::from(self.event_counters) & mdcr::HPMN);
        }
        if field(self.dfr0, 32) != 0 {
            value |= mdcr::TPMS;
        }
        if field(self.dfr0, 40) != 0 {
            value |= mdcr::TTRF;
        }
        value
    }

    /// Whether there is FEAT_MPAM of any version: ID_AA64PFR0_EL1.MPAM and ID_AA64PFR1_EL1.MPAM_frac are its number.
    #[must_use]
    pub const fn has_mpam(&self) -> bool {
        field(self.pfr0, 40) != 0 || field(self.pfr1, 16) != 0
    }

    /// MPAMEN stays 0 where it is ours to write: no partitions at all. So do the virtual ones (EL0_VPMEN, EL1_VPMEN) and
    /// EnMPAMSM, which traps.
    fn mpam(&self) -> MpamTraps {
        MpamTraps {
            mpam2: mpam::TRAP_EL1 | (self.mpamidr & mpam::TIDR),
            mpamhcr: (self.mpamidr & mpam::HAS_HCR != 0).then_some(mpam::TRAP_MPAMIDR),
        }
    }

    const fn hcrx(&self) -> Option<u64> {
        if field(self.mmfr1, 40) == 0 {
            return None;
        }
        Some(if field(self.pfr1, 36) == 0 { 0 } else { HCRX_TALLINT })
    }
}

/// A field of four bits of an ID register.
const fn field(register: u64, shift: u32) -> u64 {
    register.wrapping_shr(shift) & 0xf
}

/// ID_AA64DFR0_EL1.PMUVer: 0 is none, 0xf is not Arm's.
pub(crate) const fn has_pmu(dfr0: u64) -> bool {
    !matches!(field(dfr0, 8), 0 | 0xf)
}

/// Exception classes of features that guests do not see: the instruction is UNDEFINED to them. AArch32
/// coprocessor accesses of EL0 (0x03–0x06, 0x08, 0x0c), PAuth (0x09), other trapped instructions such as
/// LD64B (0x0a), MSRR/MRRS (0x14), SVE (0x19), TSTART (0x1b), SME (0x1d), MOPS (0x27), GCS (0x2d).
#[must_use]
pub const fn is_hidden_feature(class: u8) -> bool {
    matches!(
        class,
        0x03..=0x06 | 0x08..=0x0a | 0x0c | 0x14 | 0x19 | 0x1b | 0x1d | 0x27 | 0x2d
    )
}

#[cfg(test)]
mod tests {
    use super::{CoreFeatures, FineGrained, MpamTraps, TrapConfig, is_hidden_feature};

    /// Cortex-A72: Armv8.0, PMU with 6 counters, trace registers not accessible.
    const A72: CoreFeatures = CoreFeatures {
        pfr0: 0x2222,
        pfr1: 0,
        dfr0: 0x1030_5106,
        mmfr0: 0x1124,
        mmfr1: 0,
        mpamidr: 0,
        event_counters: 6,
        forces_write_back: false,
    };

    /// A core with everything that is hidden.
    const FULL: CoreFeatures = CoreFeatures {
        pfr0: 0x1_1111_1011_2222 | (1 << 28) | (1 << 44),
        pfr1: (2 << 8) | (1 << 24) | (1 << 36),
        dfr0: 0x0010_0211_1030_5618 | (1 << 32) | (1 << 40) | (1 << 4),
        mmfr0: 2 << 56,
        mmfr1: (1 << 16) | (1 << 40),
        mpamidr: (1 << 58) | (1 << 17) | 0xff,
        event_counters: 31,
        forces_write_back: true,
    };

    #[test]
    fn an_armv8_0_core_gets_no_bit_that_it_does_not_know() {
        let traps = TrapConfig::new(&A72);
        assert_eq!(traps.hcr, 0x807c_063f);
        assert_eq!(traps.cptr, 0x33ff, "RES1 bits only");
        assert_eq!(traps.mdcr, 0x0e66, "HPMN 6, TPMCR, TPM, TDA, TDOSA, TDRA");
        assert_eq!((traps.cnthctl, traps.hstr), (1, 0));
        assert_eq!((traps.hcrx, traps.fine_grained), (None, FineGrained::None));
    }

    #[test]
    fn a_full_core_traps_what_guests_do_not_see() {
        let traps = TrapConfig::new(&FULL);
        let extra = (1 << 35) | (1 << 36) | (1 << 16) | (1 << 58) | (1 << 46);
        assert_eq!(traps.hcr, 0x807c_063f | extra, "TLOR, TERR, TID1, TID5, FWB");
        assert_eq!(traps.cptr, 0x33ff | (1 << 20) | (1 << 30), "TTA, TAM");
        assert_eq!(traps.mdcr, 0x0e60 | 31 | (1 << 14) | (1 << 19), "TPMS, TTRF");
        assert_eq!((traps.hcrx, traps.fine_grained), (Some(1 << 6), FineGrained::Second));
    }

    #[test]
    fn mpam_traps_wherever_there_is_some_and_nowhere_else() {
        let mpam = |pfr0, pfr1, mpamidr| {
            TrapConfig::new(&CoreFeatures { pfr0, pfr1, mpamidr, ..A72 }).mpam
        };
        assert_eq!(mpam(0x2222, 0, 0), None);
        let (el1, tidr) = (3 << 48, 1 << 58);
        let plain = Some(MpamTraps { mpam2: el1, mpamhcr: None });
        // Version 1.0, 0.1 by its fraction alone, 1.1.
        assert_eq!(mpam(1 << 40, 0, 0xff), plain);
        assert_eq!(mpam(0, 1 << 16, 0xff), plain);
        assert_eq!(mpam(1 << 40, 1 << 16, 0xff), plain);
        let full = TrapConfig::new(&FULL).mpam;
        assert_eq!(full, Some(MpamTraps { mpam2: el1 | tidr, mpamhcr: Some(1 << 31) }));
    }

    #[test]
    fn pointer_authentication_tags_and_nesting_stay_disabled() {
        for core in [A72, FULL] {
            let enabling = [34, 40, 41, 42, 43, 45, 47, 51, 53, 56];
            let hcr = TrapConfig::new(&core).hcr;
            assert!(enabling.iter().all(|bit| (hcr >> bit) & 1 == 0), "{hcr:#x}");
        }
    }

    #[test]
    fn what_every_guest_reads_all_the_time_does_not_trap() {
        // TID2 (CTR, CCSIDR, CLIDR, CSSELR), TVM, TRVM, TTLB, TPU, TPCP, TDZ, TID4, TOCU, TICAB.
        for core in [A72, FULL] {
            let hcr = TrapConfig::new(&core).hcr;
            for bit in [17, 26, 30, 25, 24, 23, 28, 49, 52, 50] {
                assert_eq!((hcr >> bit) & 1, 0, "bit {bit}");
            }
        }
    }

    #[test]
    fn with_the_pmu_only_its_registers_do_not_trap() {
        assert_eq!(TrapConfig::new(&A72).mdcr_with_pmu, 0x0e06, "HPMN 6, TDA, TDOSA, TDRA");
        let full = TrapConfig::new(&FULL);
        assert_eq!(full.mdcr ^ full.mdcr_with_pmu, 0x60, "TPMCR, TPM");
    }

    #[test]
    fn a_core_without_an_arm_pmu_has_no_pmu_traps() {
        for version in [0, 0xf] {
            let core = CoreFeatures { dfr0: 6 | (version << 8), ..A72 };
            assert_eq!(TrapConfig::new(&core).mdcr, 0x0e00);
        }
    }

    #[test]
    fn only_classes_of_hidden_features_are_undefined_to_the_guest() {
        let hidden: std::vec::Vec<_> = (0..64).filter(|class| is_hidden_feature(*class)).collect();
        let expected = [3, 4, 5, 6, 8, 9, 10, 12, 0x14, 0x19, 0x1b, 0x1d, 0x27, 0x2d];
        assert_eq!(hidden, expected);
    }
}
