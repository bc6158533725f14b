//! From a syndrome to an [`Exit`]: why control came to EL2.
//!
//! Pure decoding of ESR_EL2, FAR_EL2 and HPFAR_EL2 (Arm ARM D24.2.37, ESR_EL2; ISS encodings by exception
//! class). Nothing is decided here; what cannot be decoded is [`Exit::Unexpected`].

use shikiri_abi::Ipa;

/// Why a vCPU exited synchronously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// HVC from AArch64; the immediate.
    Hvc(u16),
    /// Trapped SMC from AArch64: the PC has *not* moved on.
    Smc(u16),
    /// Trapped WFI or WFE.
    Wait(WaitKind),
    /// Trapped MSR, MRS or system instruction.
    Sysreg(SysregAccess),
    /// A data abort on a stage-2 fault that carries a syndrome (ISV = 1).
    Mmio(MmioAccess),
    /// A stage-2 abort that cannot be emulated: instruction fetch, no syndrome, a walk's own access, or
    /// a permission fault.
    Abort(Abort),
    /// Access to FP/SIMD, SVE or SME state while it is trapped.
    FpTrap,
    /// Anything else: an exception class that this configuration should not give.
    Unexpected {
        /// The exception class, ESR_EL2.EC.
        class: u8,
    },
}

/// Which wait instruction trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// WFI.
    Interrupt,
    /// WFE, and both with a timeout, which guests are not told of: a wait may end early (Arm ARM D1.6), and nobody
    /// watches for that time.
    Event,
}

/// A trapped system-register access or system instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysregAccess {
    /// The encoding.
    pub register: SysregEncoding,
    /// The general-purpose register, 0 to 30; 31 is XZR.
    pub rt: u8,
    /// Whether the guest reads (MRS).
    pub is_read: bool,
}

/// op0, op1, CRn, CRm, op2 packed as `op0:2 op1:3 CRn:4 CRm:4 op2:3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SysregEncoding(pub u16);

impl SysregEncoding {
    /// Packs the five fields; each is masked to its width.
    #[must_use]
    pub const fn new(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> Self {
        Self(
            ((op0 & 3) << 14)
                | ((op1 & 7) << 11)
                | ((crn & 15) << 7)
                | ((crm & 15) << 3)
                | (op2 & 7),
        )
    }

    /// The five fields: op0, op1, CRn, CRm, op2.
    #[must_use]
    pub const fn fields(self) -> (u16, u16, u16, u16, u16) {
        let Self(bits) = self;
        (bits >> 14, (bits >> 11) & 7, (bits >> 7) & 15, (bits >> 3) & 15, bits & 7)
    }
}

/// A guest load or store that can be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioAccess {
    /// The intermediate physical address.
    pub ipa: Ipa,
    /// log2 of the size in bytes, 0 to 3.
    pub size_log2: u8,
    /// The general-purpose register, 0 to 30; 31 is XZR.
    pub rt: u8,
    /// Whether the guest stores.
    pub is_write: bool,
    /// Whether a load sign-extends (SSE).
    pub is_signed: bool,
    /// Whether the register is 64 bits wide (SF).
    pub is_64_bit: bool,
    /// The register that moves on by `step` once the access is made, 0 to 30 and not `rt`; 31 if none does.
    pub base: u8,
    /// By how many bytes.
    pub step: i16,
}

/// [`MmioAccess::base`] of an access that moves no register on.
const NO_BASE: u8 = 31;

impl MmioAccess {
    /// Whether a register moves on after the access.
    #[must_use]
    #[inline(always)]
    pub const fn moves_base(&self) -> bool {
        self.base != NO_BASE
    }

    /// The size in bytes: 1, 2, 4 or 8.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        1 << (self.size_log2 & 3)
    }

    /// What a loaded value looks like in the register: truncated to the access size, then extended.
    #[must_use]
    pub const fn extend(&self, value: u64) -> u64 {
        let unused = 64_u32.wrapping_sub(8 << (self.size_log2 & 3));
        let widened = if self.is_signed {
            (value << unused).cast_signed().wrapping_shr(unused).cast_unsigned()
        } else {
            (value << unused) >> unused
        };
        if self.is_64_bit { widened } else { widened & 0xffff_ffff }
    }

    /// What a store writes: the register truncated to the access size.
    #[must_use]
    pub const fn truncate(&self, value: u64) -> u64 {
        let unused = 64_u32.wrapping_sub(8 << (self.size_log2 & 3));
        (value << unused) >> unused
    }
}

/// An abort that ends in the guest or in the partition's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// The intermediate physical address; only page-exact when the fault was in a stage-1 walk.
    pub ipa: Ipa,
    /// What the guest's access was.
    pub kind: AbortKind,
    /// Whether not that access was aborted but its stage-1 walk's own, to a table (ISS.S1PTW).
    pub is_on_walk: bool,
    /// The fault status code, ESR_ELx.DFSC/IFSC.
    pub status: u8,
}

impl Abort {
    /// Whether a walk of the tables found nothing (DFSC or IFSC is a translation fault of any level, Arm ARM ESR_ELx).
    #[must_use]
    pub const fn is_translation_fault(&self) -> bool {
        self.status & 0x3c == 0x04
    }
}

/// What an aborted access was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortKind {
    /// An instruction fetch.
    Fetch,
    /// A load.
    Read,
    /// A store.
    Write,
    /// A cache-maintenance or address-translation instruction.
    Maintenance,
}

const EC_WFX: u64 = 0x01;
const EC_FP: u64 = 0x07;
const EC_HVC64: u64 = 0x16;
const EC_SMC64: u64 = 0x17;
const EC_SYSREG: u64 = 0x18;
const EC_SVE: u64 = 0x19;
const EC_SME: u64 = 0x1d;
const EC_FETCH_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;

/// Which wait it was: 0 = WFI, 1 = WFE, 2 = WFIT, 3 = WFET.
const ISS_TI: u64 = 3;
const ISS_ISV: u64 = 1 << 24;
const ISS_SSE: u64 = 1 << 21;
const ISS_SF: u64 = 1 << 15;
const ISS_CM: u64 = 1 << 8;
const ISS_S1PTW: u64 = 1 << 7;
const ISS_WNR: u64 = 1 << 6;

impl Exit {
    /// Decodes the three syndrome registers.
    #[must_use]
    #[inline]
    pub fn decode(esr: u64, far: u64, hpfar: u64) -> Self {
        match class(esr) {
            EC_HVC64 => Self::Hvc(low_u16(esr)),
            EC_SMC64 => Self::Smc(low_u16(esr)),
            EC_DATA_ABORT => data_abort(esr, far, hpfar),
            EC_SYSREG => Self::Sysreg(sysreg(esr)),
            EC_WFX => {
                Self::Wait(if esr & ISS_TI == 0 { WaitKind::Interrupt } else { WaitKind::Event })
            }
            EC_FETCH_ABORT => Self::Abort(Abort {
                ipa: faulting_ipa(far, hpfar),
                kind: AbortKind::Fetch,
                is_on_walk: esr & ISS_S1PTW != 0,
                status: low_u8(esr & 0x3f),
            }),
            EC_FP | EC_SVE | EC_SME => Self::FpTrap,
            other => Self::Unexpected { class: low_u8(other) },
        }
    }
}

/// ESR_ELx.EC.
#[must_use]
#[inline]
pub const fn class(esr: u64) -> u64 {
    (esr >> 26) & 0x3f
}

/// The length of the trapped instruction, 2 or 4 bytes (ESR_ELx.IL): an AArch32 program at EL0 may have made the exit
/// by a 16-bit T32 instruction. To be asked for traps and for aborts with a valid syndrome; IL says nothing for others.
#[must_use]
#[inline(always)]
pub const fn instruction_bytes(esr: u64) -> u64 {
    // IL is bit 25: 0 for 2 bytes, 1 for 4.
    2 << ((esr >> 25) & 1)
}

/// SPSR_EL2.M\[4\]: the guest was in AArch32, which only EL0 can be.
const PSTATE_AARCH32: u64 = 1 << 4;

/// Whether the guest was in AArch32 at the exit, by SPSR_EL2.
#[must_use]
#[inline(always)]
pub const fn is_aarch32(pstate: u64) -> bool {
    pstate & PSTATE_AARCH32 != 0
}

/// Joins HPFAR_EL2.FIPA (bits 43:4 hold IPA 51:12) with the offset of FAR_EL2.
#[must_use]
#[inline]
pub const fn faulting_ipa(far: u64, hpfar: u64) -> Ipa {
    Ipa(((hpfar & 0x0fff_ffff_fff0) << 8) | (far & 0xfff))
}

/// The IPA of an abort, if HPFAR_EL2 has it: a permission fault leaves the register UNKNOWN unless it was on a stage-1 walk (Arm
/// ARM D24.2, HPFAR_EL2).
#[must_use]
#[inline]
pub const fn known_ipa(esr: u64, far: u64, hpfar: u64) -> Option<Ipa> {
    let is_permission = esr & 0x3c == 0x0c;
    if is_permission && esr & ISS_S1PTW == 0 { None } else { Some(faulting_ipa(far, hpfar)) }
}

/// SPSR_EL2 behind an instruction that was emulated: as behind one that was executed, BTYPE is 0, and in AArch32 the IT state has
/// moved on (Arm ARM D8.4, F1.2.3 and the pseudocode ITAdvance).
#[must_use]
#[inline(always)]
pub const fn state_behind(spsr: u64) -> u64 {
    if is_aarch32(spsr) { it_advanced(spsr) } else { spsr & !PSTATE_BTYPE }
}

/// SPSR_EL2.BTYPE.
const PSTATE_BTYPE: u64 = 3 << 10;
/// SPSR_EL2.IT in AArch32: IT[7:2] in bits 15:10, IT[1:0] in 26:25.
const PSTATE_IT: u64 = 0x3f << 10 | 3 << 25;

#[cold]
const fn it_advanced(spsr: u64) -> u64 {
    let it = (spsr >> 8 & 0xfc) | (spsr >> 25 & 3);
    let next = if it & 7 == 0 { 0 } else { (it & 0xe0) | (it << 1 & 0x1f) };
    (spsr & !PSTATE_IT) | (next & 0xfc) << 8 | (next & 3) << 25
}

/// A guest load or store that can be emulated, out of the syndrome of a data abort from a lower level; `None`
/// if the abort is anything else. What [`Exit::decode`] does for this one kind, for paths whose cost counts.
#[must_use]
#[inline(always)]
pub fn mmio(esr: u64, far: u64, hpfar: u64) -> Option<MmioAccess> {
    is_mmio(esr).then(|| known_mmio(esr, far, hpfar))
}

/// [`mmio`] of a syndrome that [`is_mmio`].
#[must_use]
#[inline(always)]
pub const fn known_mmio(esr: u64, far: u64, hpfar: u64) -> MmioAccess {
    MmioAccess {
        ipa: faulting_ipa(far, hpfar),
        size_log2: low_u8((esr >> 22) & 3),
        rt: low_u8((esr >> 16) & 31),
        is_write: esr & ISS_WNR != 0,
        is_signed: esr & ISS_SSE != 0,
        is_64_bit: esr & ISS_SF != 0,
        base: NO_BASE,
        step: 0,
    }
}

/// Whether the syndrome is that of a load or store that a device model can serve ([`mmio`]).
#[must_use]
#[inline(always)]
pub const fn is_mmio(esr: u64) -> bool {
    // Class, valid syndrome, no walk, no cache maintenance, a translation fault: one comparison.
    const MASK: u64 = (0x3f << 26) | ISS_ISV | ISS_S1PTW | ISS_CM | 0x3c;
    const WANTED: u64 = (EC_DATA_ABORT << 26) | ISS_ISV | 0x04;
    esr & MASK == WANTED
}

/// Whether the syndrome is that of a load or store which is [`is_mmio`] but for its missing syndrome, so that its instruction
/// would have to be decoded ([`Indexed`](crate::indexed::Indexed)).
#[must_use]
#[inline]
pub const fn is_mmio_without_syndrome(esr: u64) -> bool {
    is_mmio(esr | ISS_ISV) && !is_mmio(esr)
}

/// Whether an access that [`is_mmio`] is a store (ISS.WnR).
#[must_use]
#[inline(always)]
pub const fn is_store(esr: u64) -> bool {
    esr & ISS_WNR != 0
}

/// The syndrome of a trapped write to ICC_SGI1R_EL1, from x0: what the vectors compare with, for the cost of
/// an SGI is a promise. They leave out [`SGI1R_RT`].
pub const SGI1R_WRITE: u32 = {
    // Class, IL, op0 3, op2 5, op1 0, CRn 12, CRm 11, a write.
    (0x18 << 26) | (1 << 25) | (3 << 20) | (5 << 17) | (12 << 10) | (11 << 1)
};
/// Those bits of its Rt that may be anything for the vectors: x0 to x15, which are stored at each exit.
pub const SGI1R_RT: u32 = 15 << 5;

/// The register, 0 to 15, that holds what an [`SGI1R_WRITE`] writes.
#[must_use]
#[inline(always)]
pub const fn sgi1r_source(esr: u64) -> u8 {
    low_u8((esr >> 5) & 15)
}

#[inline]
fn data_abort(esr: u64, far: u64, hpfar: u64) -> Exit {
    if let Some(access) = mmio(esr, far, hpfar) {
        return Exit::Mmio(access);
    }
    let ipa = faulting_ipa(far, hpfar);
    let status = low_u8(esr & 0x3f);
    let kind = if esr & ISS_CM != 0 {
        AbortKind::Maintenance
    } else if esr & ISS_WNR != 0 {
        AbortKind::Write
    } else {
        AbortKind::Read
    };
    Exit::Abort(Abort { ipa, kind, is_on_walk: esr & ISS_S1PTW != 0, status })
}

/// ISS of a trapped MSR/MRS (EC 0x18): op0 21:20, op2 19:17, op1 16:14, CRn 13:10, Rt 9:5, CRm 4:1, read 0.
#[inline]
fn sysreg(esr: u64) -> SysregAccess {
    let field = |shift: u32, mask: u64| low_u16((esr >> shift) & mask);
    SysregAccess {
        register: SysregEncoding::new(
            field(20, 3),
            field(14, 7),
            field(10, 15),
            field(1, 15),
            field(17, 7),
        ),
        rt: low_u8((esr >> 5) & 31),
        is_read: esr & 1 != 0,
    }
}

#[inline]
const fn low_u16(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

#[inline]
const fn low_u8(value: u64) -> u8 {
    let [a, ..] = value.to_le_bytes();
    a
}

#[cfg(test)]
mod tests {
    use super::{
        Abort, AbortKind, Exit, MmioAccess, SGI1R_RT, SGI1R_WRITE, SysregEncoding, WaitKind,
        faulting_ipa, known_ipa, sgi1r_source, state_behind,
    };
    use shikiri_abi::Ipa;

    #[test]
    fn a_permission_fault_has_an_ipa_on_a_walk_alone() {
        let ipa = |status: u64| known_ipa(0x9200_0000 | status, 0xabc, 0x90000);
        let known = Some(Ipa(0x0900_0abc));
        // Translation, access flag, permission of levels 0 to 3; bit 7 is S1PTW.
        assert_eq!([4, 7, 8, 0xb].map(ipa), [known; 4]);
        assert_eq!([0xc, 0xd, 0xe, 0xf].map(ipa), [None; 4]);
        assert_eq!([0x8c, 0x8f, 0x84].map(ipa), [known; 3]);
    }

    #[test]
    fn behind_an_emulated_instruction_the_state_is_as_behind_an_executed_one() {
        for rest in [0x6000_03c5, 0x8040_1000] {
            for btype in 0..4 {
                assert_eq!(state_behind(rest | btype << 10), rest);
            }
        }
        // T32 at EL0, N and Q beside it.
        let rest = 0x8800_0030;
        let packed = |it: u64| rest | (it >> 2) << 10 | (it & 3) << 25;
        // The first of ITTET EQ and what follows, the last of a block, none.
        for (it, next) in [(0x05, 0x0a), (0x0a, 0x14), (0x14, 0x08), (0x08, 0), (0xe8, 0), (0, 0)] {
            assert_eq!(state_behind(packed(it)), packed(next), "{it:#x}");
        }
    }

    #[test]
    fn calls_and_waits_decode() {
        assert_eq!(Exit::decode(0x5a00_0000, 0, 0), Exit::Hvc(0));
        assert_eq!(Exit::decode(0x5e00_0007, 0, 0), Exit::Smc(7));
        assert_eq!(Exit::decode(0x0600_0000, 0, 0), Exit::Wait(WaitKind::Interrupt));
        assert_eq!(Exit::decode(0x0600_0001, 0, 0), Exit::Wait(WaitKind::Event));
    }

    #[test]
    fn a_wait_with_a_timeout_does_not_wait_for_ever() {
        assert_eq!(Exit::decode(0x0600_0002, 0, 0), Exit::Wait(WaitKind::Event), "WFIT");
        assert_eq!(Exit::decode(0x0600_0003, 0, 0), Exit::Wait(WaitKind::Event), "WFET");
    }

    #[test]
    fn a_word_store_to_an_unmapped_page_is_mmio() {
        // EC 0x24, IL, ISV, SAS = 2, SRT = 3, WnR, DFSC = translation fault level 3.
        let esr = (0x24 << 26) | (1 << 25) | (1 << 24) | (2 << 22) | (3 << 16) | (1 << 6) | 0x07;
        let Exit::Mmio(access) = Exit::decode(esr, 0xffff_0000_0000_0018, 0x0009_0000) else {
            panic!("not decoded as MMIO");
        };
        assert_eq!(access.ipa, Ipa(0x0900_0018));
        assert!(access.is_write && access.bytes() == 4 && access.rt == 3);
    }

    #[test]
    fn what_has_no_syndrome_or_is_no_translation_fault_is_an_abort() {
        let esr = (0x24 << 26) | 0x07;
        let ipa = Ipa(0x1000);
        let expected = Abort { ipa, kind: AbortKind::Read, is_on_walk: false, status: 7 };
        assert_eq!(Exit::decode(esr, 0, 0x10), Exit::Abort(expected));
        let permission = (0x24 << 26) | (1 << 24) | (1 << 6) | 0x0f;
        assert!(matches!(
            Exit::decode(permission, 0, 0),
            Exit::Abort(Abort { kind: AbortKind::Write, status: 0x0f, .. })
        ));
    }

    #[test]
    fn an_abort_of_a_walk_says_what_the_walk_was_for() {
        for (iss, kind) in [
            (0x20 << 26, AbortKind::Fetch),
            (0x24 << 26, AbortKind::Read),
            ((0x24 << 26) | (1 << 24), AbortKind::Read),
            ((0x24 << 26) | (1 << 6), AbortKind::Write),
            ((0x24 << 26) | (1 << 8) | (1 << 6), AbortKind::Maintenance),
        ] {
            for is_on_walk in [false, true] {
                let esr = iss | (u64::from(is_on_walk) << 7) | 0x0d;
                let expected = Abort { ipa: Ipa(0x1000), kind, is_on_walk, status: 0x0d };
                assert_eq!(Exit::decode(esr, 0, 0x10), Exit::Abort(expected), "{esr:#x}");
            }
        }
    }

    #[test]
    fn trapped_t32_instructions_may_be_two_bytes_long() {
        assert_eq!(super::instruction_bytes((0x24 << 26) | (1 << 25)), 4);
        assert_eq!(super::instruction_bytes((0x24 << 26) | (1 << 24)), 2);
        assert_eq!(super::instruction_bytes(0x01 << 26), 2);
        assert_eq!(super::instruction_bytes(u64::MAX), 4);
    }

    #[test]
    fn loads_extend_as_the_instruction_says() {
        let load = |size_log2, is_signed, is_64_bit| MmioAccess {
            ipa: Ipa(0),
            size_log2,
            rt: 0,
            is_write: false,
            is_signed,
            is_64_bit,
            base: 31,
            step: 0,
        };
        assert_eq!(load(0, false, true).extend(0x1ff), 0xff);
        assert_eq!(load(0, true, true).extend(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(load(0, true, false).extend(0x80), 0xffff_ff80);
        assert_eq!(load(3, false, true).extend(u64::MAX), u64::MAX);
        assert_eq!(load(1, false, false).truncate(0x1_2345), 0x2345);
    }

    #[test]
    fn system_registers_decode_to_their_encoding() {
        // MRS x5, ID_AA64PFR0_EL1 (3, 0, 0, 4, 0).
        let esr = (0x18 << 26) | (3 << 20) | (4 << 1) | (5 << 5) | 1;
        let Exit::Sysreg(access) = Exit::decode(esr, 0, 0) else { panic!("not a sysreg") };
        assert_eq!(access.register, SysregEncoding::new(3, 0, 0, 4, 0));
        assert_eq!(access.register.fields(), (3, 0, 0, 4, 0));
        assert!(access.is_read && access.rt == 5);
    }

    #[test]
    fn the_short_way_for_sgis_takes_exactly_what_the_long_way_takes_for_one() {
        let wanted = SysregEncoding::new(3, 0, 12, 11, 5);
        for esr in (0..1_u64 << 22).map(|iss| (0x18 << 26) | (1 << 25) | iss) {
            let Exit::Sysreg(access) = Exit::decode(esr, 0, 0) else { panic!("not a sysreg") };
            let is_one = access.register == wanted && !access.is_read && access.rt < 16;
            let is_short = esr & !u64::from(SGI1R_RT) == u64::from(SGI1R_WRITE);
            assert_eq!(is_short, is_one, "{esr:#x}");
            assert!(!is_short || sgi1r_source(esr) == access.rt, "{esr:#x}");
        }
    }

    #[test]
    fn no_syndrome_panics() {
        for class in 0..64_u64 {
            for iss in [0, 1 << 24, (1 << 25) - 1, 0x155_5555, 0x0aa_aaaa] {
                let _exit = Exit::decode((class << 26) | iss, u64::MAX, u64::MAX);
            }
        }
    }

    #[test]
    fn the_ipa_is_joined_from_both_registers() {
        assert_eq!(faulting_ipa(0xabc, 0x0fff_ffff_fff0), Ipa(0x000f_ffff_ffff_fabc));
    }
}
