//! Loads and stores that move their base register on: the one form of access to a device that compilers make of plain
//! code and that has no syndrome (Arm ARM, ISS of a data abort: ISV is 0 with writeback).
//!
//! A loop over registers through a volatile pointer becomes `str w1, [x0], #4`. The instruction is decoded instead;
//! [`Indexed::access`] says nothing unless it is the one that has faulted, for another vCPU may have changed the code.

use shikiri_abi::Ipa;

use crate::exit::{AbortKind, MmioAccess};

/// A load or store of one general-purpose register, immediate pre-indexed or post-indexed (Arm ARM C4.1, load/store
/// register).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    size_log2: u8,
    rt: u8,
    base: u8,
    step: i16,
    /// The address is the base before it moves.
    is_post: bool,
    is_write: bool,
    is_signed: bool,
    is_64_bit: bool,
}

impl Indexed {
    /// Decodes an instruction of A64; `None` if it is anything else, moves SP, or moves the register that it transfers
    /// (CONSTRAINED UNPREDICTABLE).
    #[must_use]
    pub const fn decode(instruction: u32) -> Option<Self> {
        // size 111 V=0 00 opc 0 imm9 type Rn Rt; type 01 is post-indexed, 11 pre-indexed.
        const MASK: u32 = 0x3f20_0400;
        const WANTED: u32 = 0x3800_0400;
        let [low, ..] = instruction.to_le_bytes();
        let [rn, ..] = (instruction >> 5).to_le_bytes();
        let [size, ..] = (instruction >> 30).to_le_bytes();
        let (rt, base) = (low & 31, rn & 31);
        if instruction & MASK != WANTED || base == 31 || base == rt {
            return None;
        }
        // opc: store, load, load with sign to 64 bits, to 32 bits; what would extend a register to itself is not one.
        let (is_write, is_signed, is_64_bit) = match (instruction >> 22) & 3 {
            0 => (true, false, size == 3),
            1 => (false, false, size == 3),
            2 if size < 3 => (false, true, true),
            3 if size < 2 => (false, true, false),
            _ => return None,
        };
        // imm9 is bits 20:12: moved to the top of 16 bits, and down again with its sign.
        let [a, b, ..] = ((instruction >> 12) << 7).to_le_bytes();
        let step = i16::from_le_bytes([a, b]) >> 7;
        let is_post = instruction & (1 << 11) == 0;
        Some(Self { size_log2: size, rt, base, step, is_post, is_write, is_signed, is_64_bit })
    }

    /// The register that moves on, 0 to 30.
    #[must_use]
    pub const fn base(&self) -> u8 {
        self.base
    }

    /// The access, at the intermediate physical address `ipa`, if an abort of this `kind` with `far` in FAR_EL2 is of
    /// this instruction with `base` in its base register. A tag in the top byte of either does not count (TBI).
    #[must_use]
    pub fn access(&self, base: u64, far: u64, (kind, ipa): (AbortKind, Ipa)) -> Option<MmioAccess> {
        let step = if self.is_post { 0 } else { i64::from(self.step) };
        let wanted = if self.is_write { AbortKind::Write } else { AbortKind::Read };
        let is_it = kind == wanted && base.wrapping_add_signed(step) << 8 == far << 8;
        is_it.then_some(MmioAccess {
            ipa,
            size_log2: self.size_log2,
            rt: self.rt,
            is_write: self.is_write,
            is_signed: self.is_signed,
            is_64_bit: self.is_64_bit,
            base: self.base,
            step: self.step,
        })
    }
}

/// The output address of a stage-1 translation of `va` that PAR_EL1 tells of; `None` if it has failed (PAR_EL1.F).
#[must_use]
pub const fn output_address(par: u64, va: u64) -> Option<Ipa> {
    if par & 1 == 0 { Some(Ipa((par & 0x000f_ffff_ffff_f000) | (va & 0xfff))) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPA: Ipa = Ipa(0x0800_0104);

    fn access(instruction: u32, base: u64, far: u64, kind: AbortKind) -> Option<MmioAccess> {
        Indexed::decode(instruction)?.access(base, far, (kind, IPA))
    }

    #[test]
    fn post_indexed_accesses_are_at_the_base() {
        // str w1, [x0], #4
        let store = access(0xb800_4401, 0x1104, 0x1104, AbortKind::Write).unwrap();
        let wanted = MmioAccess {
            ipa: IPA,
            size_log2: 2,
            rt: 1,
            is_write: true,
            is_signed: false,
            is_64_bit: false,
            base: 0,
            step: 4,
        };
        assert_eq!(store, wanted);
        // ldr x30, [x29], #-256
        let load = access(0xf850_07be, 0x1104, 0x1104, AbortKind::Read).unwrap();
        let wanted = MmioAccess {
            size_log2: 3,
            rt: 30,
            is_write: false,
            is_64_bit: true,
            base: 29,
            step: -256,
            ..wanted
        };
        assert_eq!(load, wanted);
    }

    #[test]
    fn pre_indexed_accesses_are_behind_the_step() {
        // ldrsb w2, [x3, #255]!
        let load = access(0x38cf_fc62, 0x1005, 0x1104, AbortKind::Read).unwrap();
        assert_eq!((load.size_log2, load.rt, load.base, load.step), (0, 2, 3, 255));
        assert!(load.is_signed && !load.is_64_bit);
        // ldrsw x2, [x3, #-4]!
        let load = access(0xb89f_cc62, 0x1108, 0x1104, AbortKind::Read).unwrap();
        assert_eq!((load.size_log2, load.step), (2, -4));
        assert!(load.is_signed && load.is_64_bit);
        // strh wzr, [x3, #2]!
        let store = access(0x7800_2c7f, 0x1102, 0x1104, AbortKind::Write).unwrap();
        assert_eq!((store.size_log2, store.rt), (1, 31));
    }

    #[test]
    fn an_instruction_that_has_not_faulted_is_none() {
        assert_eq!(access(0xb800_4401, 0x1104, 0x1108, AbortKind::Write), None, "another address");
        assert_eq!(
            access(0xb800_4401, 0x1104, 0x1104, AbortKind::Read),
            None,
            "a load has faulted"
        );
        let tagged = 0x1104 | (0xab << 56);
        assert!(
            access(0xb800_4401, tagged, 0x1104, AbortKind::Write).is_some(),
            "a tagged pointer"
        );
    }

    #[test]
    fn other_instructions_are_none() {
        for (instruction, text) in [
            (0xb900_0401, "str w1, [x0, #4]: has a syndrome"),
            (0xb800_4001, "stur w1, [x0, #4]: has a syndrome"),
            (0xb800_4801, "sttr w1, [x0, #4]: has a syndrome"),
            (0x2881_0801, "stp w1, w2, [x0], #8"),
            (0xbc00_4401, "str s1, [x0], #4"),
            (0xb800_47e1, "str w1, [sp], #4"),
            (0xb800_4400, "str w0, [x0], #4"),
            (0xf8c0_4401, "no load extends 64 bits"),
            (0xb8c0_4401, "no load extends 32 bits to 32"),
            (0xb820_0401, "an atomic or pointer-authenticating load"),
            (0xd503_201f, "nop"),
        ] {
            assert_eq!(Indexed::decode(instruction), None, "{text}");
        }
    }

    #[test]
    fn a_translation_is_a_page_and_an_offset() {
        let par = 0xff00_0000_4008_0b80;
        assert_eq!(output_address(par, 0xffff_8000_0000_1abc), Some(Ipa(0x4008_0abc)));
        assert_eq!(output_address(par | 1, 0x1000), None);
    }
}
