//! The guest's view of the ID registers: an allow-list by field.
//!
//! What is not in [`FIELDS`] or [`AARCH32`] reads as zero, reserved registers and future fields included:
//! a feature that the hypervisor does not virtualise is not announced, and [`crate::trap_config`] makes its
//! instructions and registers trap. Field names and values: Arm ARM D24.2, ID_AA64*_EL1.
//!
//! [`IdTable`] is computed once per machine; a trapped read is then one load.

use crate::exit::SysregEncoding;
use crate::trap_config::has_pmu;

/// Which virtual interrupt controller the guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicView {
    /// GICv2: the CPU interface is memory-mapped.
    MemoryMapped,
    /// GICv3: the CPU interface is system registers, which ID_AA64PFR0_EL1.GIC announces.
    SystemRegisters,
}

/// Whether the guest has its cores' performance monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmuView {
    /// There are none: their registers read zero.
    Hidden,
    /// They are its own, as far as PMUv3 of Armv8.0.
    Own,
}

/// How a field reaches the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The hardware's value, but at most this one: what the hypervisor knows to be harmless.
    UpTo(u64),
    /// The same for a signed field: 0xf says absent and stays.
    SignedUpTo(u64),
    /// This value whatever the hardware has.
    Exactly(u64),
    /// 1 with a virtual GICv3, else 0.
    Gic,
}

/// A field of four bits: CRm, op2, lowest bit, rule.
type Field = (u8, u8, u32, Rule);

use Rule::{Exactly, Gic, SignedUpTo, UpTo};

/// The AArch64 fields that guests see. Not here, thus zero: EL2, EL3, RAS, SVE, SEL2, MPAM, AMU, RME; MTE,
/// SME, NMI, GCS, THE and all of PFR2, ZFR0, SMFR0, FPFR0; trace, PMU, SPE, TRBE, BRBE; PAuth, TME, XS,
/// LS64, WFxT, MOPS, 128-bit system registers and all of ISAR3; FGT, ExS; VH, LOR, HCX, TIDCP1, CMOW; IESB,
/// NV, FWB, EVT; and all of MMFR3 and MMFR4 (TCR2, SCTLR2, S1PIE, S1POE, D128 …).
const FIELDS: &[Field] = &[
    // ID_AA64PFR0_EL1: EL0, EL1 (AArch64 only), FP, AdvSIMD, GIC, DIT, CSV2 (no SCXTNUM), CSV3.
    (4, 0, 0, UpTo(2)),
    (4, 0, 4, Exactly(1)),
    (4, 0, 16, SignedUpTo(1)),
    (4, 0, 20, SignedUpTo(1)),
    (4, 0, 24, Gic),
    (4, 0, 48, UpTo(1)),
    (4, 0, 56, UpTo(1)),
    (4, 0, 60, UpTo(1)),
    // ID_AA64PFR1_EL1: BT, SSBS, CSV2_frac (no SCXTNUM).
    (4, 1, 0, UpTo(1)),
    (4, 1, 4, UpTo(2)),
    (4, 1, 32, UpTo(1)),
    // ID_AA64DFR0_EL1: DebugVer Armv8.0, two breakpoints and two watchpoints (the fewest that are legal; their
    // registers ignore writes), no OS double lock.
    (5, 0, 0, Exactly(6)),
    (5, 0, 12, Exactly(1)),
    (5, 0, 20, Exactly(1)),
    (5, 0, 36, Exactly(0xf)),
    // ID_AA64ISAR0_EL1: AES, SHA1, SHA2, CRC32, Atomic, RDM, SHA3, SM3, SM4, DP, FHM, TS, TLB, RNDR.
    (6, 0, 4, UpTo(2)),
    (6, 0, 8, UpTo(1)),
    (6, 0, 12, UpTo(2)),
    (6, 0, 16, UpTo(1)),
    (6, 0, 20, UpTo(3)),
    (6, 0, 28, UpTo(1)),
    (6, 0, 32, UpTo(1)),
    (6, 0, 36, UpTo(1)),
    (6, 0, 40, UpTo(1)),
    (6, 0, 44, UpTo(1)),
    (6, 0, 48, UpTo(1)),
    (6, 0, 52, UpTo(2)),
    (6, 0, 56, UpTo(2)),
    (6, 0, 60, UpTo(1)),
    // ID_AA64ISAR1_EL1: DPB, JSCVT, FCMA, LRCPC, FRINTTS, SB, SPECRES, BF16, DGH, I8MM.
    (6, 1, 0, UpTo(2)),
    (6, 1, 12, UpTo(1)),
    (6, 1, 16, UpTo(1)),
    (6, 1, 20, UpTo(3)),
    (6, 1, 32, UpTo(1)),
    (6, 1, 36, UpTo(1)),
    (6, 1, 40, UpTo(2)),
    (6, 1, 44, UpTo(2)),
    (6, 1, 48, UpTo(1)),
    (6, 1, 52, UpTo(1)),
    // ID_AA64ISAR2_EL1: RPRES, BC, CLRBHB, CSSC.
    (6, 2, 4, UpTo(1)),
    (6, 2, 20, UpTo(1)),
    (6, 2, 28, UpTo(1)),
    (6, 2, 52, UpTo(1)),
    // ID_AA64MMFR0_EL1: PARange (40 bits, as stage 2), ASIDBits, BigEnd, BigEndEL0, TGran16, TGran64,
    // TGran4 (no 52-bit addresses), ECV (no physical offset).
    (7, 0, 0, UpTo(2)),
    (7, 0, 4, UpTo(2)),
    (7, 0, 8, UpTo(1)),
    (7, 0, 16, UpTo(1)),
    (7, 0, 20, UpTo(1)),
    (7, 0, 24, SignedUpTo(0)),
    (7, 0, 28, SignedUpTo(0)),
    (7, 0, 60, UpTo(1)),
    // ID_AA64MMFR1_EL1: HAFDBS, HPDS, PAN, ETS, AFP, nTLBPA, ECBHB.
    (7, 1, 0, UpTo(2)),
    (7, 1, 12, UpTo(1)),
    (7, 1, 20, UpTo(3)),
    (7, 1, 36, UpTo(2)),
    (7, 1, 44, UpTo(1)),
    (7, 1, 48, UpTo(1)),
    (7, 1, 60, UpTo(1)),
    // ID_AA64MMFR2_EL1: CnP, UAO, LSM, VARange, CCIDX, ST, AT, IDS, TTL, BBM, E0PD.
    (7, 2, 0, UpTo(1)),
    (7, 2, 4, UpTo(1)),
    (7, 2, 8, UpTo(1)),
    (7, 2, 16, UpTo(1)),
    (7, 2, 20, UpTo(1)),
    (7, 2, 28, UpTo(1)),
    (7, 2, 32, UpTo(1)),
    (7, 2, 36, UpTo(1)),
    (7, 2, 48, UpTo(1)),
    (7, 2, 52, UpTo(2)),
    (7, 2, 60, UpTo(1)),
];

/// The AArch32 registers, for cores whose EL0 runs AArch32: CRm, op2, the fields that are the hardware's.
const AARCH32: &[(u8, u8, u64)] = &[
    // ID_PFR0_EL1: State0–3, CSV2, DIT. ID_PFR1_EL1: ProgMod, MProgMod, GenTimer.
    (1, 0, 0x0f0f_ffff),
    (1, 1, 0x000f_0f0f),
    // ID_DFR0_EL1 is in `build`. ID_MMFR0–3_EL1.
    (1, 4, 0xffff_ffff),
    (1, 5, 0xffff_ffff),
    (1, 6, 0xffff_ffff),
    (1, 7, 0xffff_ffff),
    // ID_ISAR0–5_EL1, ID_MMFR4_EL1 (CnP, HPDS, LSM, CCIDX), ID_ISAR6_EL1.
    (2, 0, 0xffff_ffff),
    (2, 1, 0xffff_ffff),
    (2, 2, 0xffff_ffff),
    (2, 3, 0xffff_ffff),
    (2, 4, 0xffff_ffff),
    (2, 5, 0xffff_ffff),
    (2, 6, 0x0fff_f000),
    (2, 7, 0xffff_ffff),
    // MVFR0–2_EL1, ID_PFR2_EL1 (CSV3, SSBS), ID_MMFR5_EL1 (ETS, nTLBPA).
    (3, 0, 0xffff_ffff),
    (3, 1, 0xffff_ffff),
    (3, 2, 0xffff_ffff),
    (3, 4, 0x0000_00ff),
    (3, 6, 0x0000_00ff),
];

/// ID_DFR0_EL1 with AArch32 at EL0: CopDbg Armv8.0, nothing else.
const DFR0_AARCH32: u64 = 6;
/// Registers of the group: CRm 1 to 7, op2 0 to 7.
const COUNT: usize = 56;

/// What guests read from the ID group (HCR_EL2.TID3) and from REVIDR_EL1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTable {
    values: [u64; COUNT],
    revidr: u64,
    /// ID_AA64DFR0_EL1.PMUVer for those who have the performance monitors.
    pmu: u64,
    /// CTR_EL0 and DCZID_EL0, which guests read of the core that they are on.
    caches: [u64; 2],
}

impl IdTable {
    /// Computes the guest's view out of a core's registers. `read` answers the hardware's value of REVIDR_EL1, CTR_EL0, DCZID_EL0
    /// and the registers of the group that have a field in the allow-list; no others are asked for.
    #[must_use]
    pub fn new(read: impl Fn(SysregEncoding) -> u64, gic: GicView) -> Self {
        let dfr0 = read(DFR0);
        let pmu = if has_pmu(dfr0) { PMUVER_ARMV8_0 } else { 0 };
        let caches = [read(CTR_EL0) & !L1IP, read(DCZID_EL0)];
        let mut table = Self { values: [0; COUNT], revidr: read(REVIDR_EL1), pmu, caches };
        // The fields of a register stand together, so that each is read once.
        let mut last = ((0, 0), 0);
        for &(crm, op2, shift, rule) in FIELDS {
            if last.0 != (crm, op2) {
                last = ((crm, op2), read(encoding(crm, op2)));
            }
            let hardware = last.1.wrapping_shr(shift) & 0xf;
            table.add(crm, op2, rule.apply(hardware, gic).wrapping_shl(shift));
        }
        let has_aarch32 = read(encoding(4, 0)) & 0xf == 2;
        if has_aarch32 {
            for &(crm, op2, kept) in AARCH32 {
                table.add(crm, op2, read(encoding(crm, op2)) & kept);
            }
            table.add(1, 2, DFR0_AARCH32);
            // ID_PFR1_EL1.GIC.
            table.add(1, 1, Gic.apply(0, gic).wrapping_shl(28));
        }
        table
    }

    /// Whether a core of which `core` is the view has all that this one shows, and the same cache lines: then guests may run there
    /// with this one. What a guest has learned of lines on one core, or of DC ZVA's block, it does on the others, too.
    #[must_use]
    pub fn holds_on(&self, core: &Self) -> bool {
        self == core || self.is_at_most(core)
    }

    /// The same of cores that are not alike.
    #[cold]
    fn is_at_most(&self, core: &Self) -> bool {
        let has_fields = FIELDS.iter().all(|&(crm, op2, shift, rule)| {
            let [mine, theirs] =
                [self, core].map(|table| table.value(crm, op2).wrapping_shr(shift) & 0xf);
            rule.lesser(mine, theirs) == mine
        });
        // Without AArch32 these show nothing.
        let mut narrow =
            AARCH32.iter().map(|&(crm, op2, _)| [self, core].map(|table| table.value(crm, op2)));
        has_fields
            && self.pmu <= core.pmu
            && self.caches == core.caches
            && narrow.all(|[mine, theirs]| are_at_most(mine, theirs))
    }

    /// What the guest reads; `None` if the register is not of the group.
    #[must_use]
    #[inline]
    pub fn read(&self, register: SysregEncoding) -> Option<u64> {
        if register == REVIDR_EL1 {
            return Some(self.revidr);
        }
        let offset = register.0.checked_sub(FIRST.0)?;
        self.values.get(usize::from(offset)).copied()
    }

    /// The same, as a partition with or without performance monitors reads it.
    #[must_use]
    #[inline]
    pub fn read_by(&self, register: SysregEncoding, pmu: PmuView) -> Option<u64> {
        let value = self.read(register);
        match pmu {
            PmuView::Own if register == DFR0 => value.map(|value| value | self.pmu),
            PmuView::Own | PmuView::Hidden => value,
        }
    }

    /// Whether guests find the GIC's CPU interface in system registers (ID_AA64PFR0_EL1.GIC).
    #[must_use]
    pub fn has_gic_registers(&self) -> bool {
        (self.value(4, 0) >> 24) & 0xf != 0
    }

    fn value(&self, crm: u8, op2: u8) -> u64 {
        self.read(encoding(crm, op2)).unwrap_or(0)
    }

    fn add(&mut self, crm: u8, op2: u8, bits: u64) {
        let offset = encoding(crm, op2).0.wrapping_sub(FIRST.0);
        if let Some(value) = self.values.get_mut(usize::from(offset)) {
            *value |= bits;
        }
    }
}

impl Rule {
    const fn apply(self, hardware: u64, gic: GicView) -> u64 {
        match (self, gic) {
            (UpTo(most), _) => lesser(hardware, most),
            (SignedUpTo(_), _) if hardware == 0xf => 0xf,
            (SignedUpTo(most), _) => lesser(hardware, most),
            (Exactly(value), _) => value,
            (Gic, GicView::MemoryMapped) => 0,
            (Gic, GicView::SystemRegisters) => 1,
        }
    }

    const fn lesser(self, a: u64, b: u64) -> u64 {
        match self {
            SignedUpTo(_) if a == 0xf || b == 0xf => 0xf,
            UpTo(_) | SignedUpTo(_) | Exactly(_) | Gic => lesser(a, b),
        }
    }
}

const fn lesser(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// Whether each field of four bits is at most the other's.
fn are_at_most(a: u64, b: u64) -> bool {
    (0..64).step_by(4).all(|shift| a.wrapping_shr(shift) & 0xf <= b.wrapping_shr(shift) & 0xf)
}

/// ID_AA64DFR0_EL1, and its field PMUVer: PMUv3 of Armv8.0.
const DFR0: SysregEncoding = SysregEncoding::new(3, 0, 0, 5, 0);
const PMUVER_ARMV8_0: u64 = 1 << 8;

/// REVIDR_EL1, in the group of HCR_EL2.TID1.
pub const REVIDR_EL1: SysregEncoding = SysregEncoding::new(3, 0, 0, 0, 6);
/// CTR_EL0: cache lines, and which maintenance they need.
pub const CTR_EL0: SysregEncoding = SysregEncoding::new(3, 3, 0, 0, 1);
/// CTR_EL0.L1Ip: how an instruction cache is indexed may differ from core to core, since guests invalidate what they have written
/// in all of them (big.LITTLE machines have both kinds).
const L1IP: u64 = 0b11 << 14;
/// DCZID_EL0: DC ZVA's block.
pub const DCZID_EL0: SysregEncoding = SysregEncoding::new(3, 3, 0, 0, 7);
/// The first register of the group: ID_PFR0_EL1. The others follow without a gap.
const FIRST: SysregEncoding = SysregEncoding::new(3, 0, 0, 1, 0);

/// The register of the ID group with this CRm (1 to 7) and op2.
fn encoding(crm: u8, op2: u8) -> SysregEncoding {
    SysregEncoding::new(3, 0, 0, u16::from(crm), u16::from(op2))
}

#[cfg(test)]
mod tests;
