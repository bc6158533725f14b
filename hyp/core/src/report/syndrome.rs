//! Syndromes in words.

use core::fmt;
use shikiri_arch::exit::class;

/// An exception syndrome (`ESR_ELx`, Arm ARM D24.2.37) that displays itself in words.
///
/// `{}` writes the class and what the class's details say; `{:#}` the class only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// Stands for a physical interrupt in a ring of exits; no syndrome has this value.
    pub const INTERRUPT: Self = Self(u64::MAX);

    const fn bit(self, bit: u32) -> bool {
        self.0.wrapping_shr(bit) & 1 != 0
    }

    const fn field(self, shift: u32, mask: u64) -> u64 {
        self.0.wrapping_shr(shift) & mask
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::INTERRUPT {
            return f.write_str("interrupt");
        }
        f.write_str(class_name(class(self.0)))?;
        if f.alternate() {
            return Ok(());
        }
        match class(self.0) {
            0x01 => write!(f, ": {}", WAITS.get(index(self.field(0, 3))).unwrap_or(&"?")),
            0x11..=0x17 => write!(f, " #{:#x}", self.field(0, 0xffff)),
            0x18 => self.system_register(f),
            0x20 | 0x21 => write!(f, ": {}", FaultStatus(self.field(0, 0x3f))),
            0x24 | 0x25 => self.data_abort(f),
            0x2f => write!(f, ": syndrome {:#x}", self.field(0, 0x1ff_ffff)),
            0x38 | 0x3c => write!(f, " #{:#x}", self.field(0, 0xffff)),
            _ => Ok(()),
        }
    }
}

impl Syndrome {
    fn system_register(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op0, op2, op1) = (self.field(20, 3), self.field(17, 7), self.field(14, 7));
        let (crn, rt, crm) = (self.field(10, 15), self.field(5, 31), self.field(1, 15));
        let direction = if self.bit(0) { "read of" } else { "write to" };
        let preposition = if self.bit(0) { "into" } else { "from" };
        write!(f, ": {direction} S{op0}_{op1}_C{crn}_C{crm}_{op2} {preposition} {}", Register(rt))
    }

    fn data_abort(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_write, is_walk, is_maintenance) = (self.bit(6), self.bit(7), self.bit(8));
        f.write_str(if is_walk { ": on the stage-1 walk of a " } else { ": " })?;
        f.write_str(match (is_maintenance, is_write) {
            (true, _) => "cache maintenance",
            (false, true) => "write",
            (false, false) => "read",
        })?;
        if self.bit(24) {
            let bytes = 1_u64.wrapping_shl(u32::try_from(self.field(22, 3)).unwrap_or(0));
            let preposition = if is_write { "from" } else { "into" };
            write!(f, " of {bytes} bytes {preposition} {}", Register(self.field(16, 31)))?;
        }
        write!(f, ", {}", FaultStatus(self.field(0, 0x3f)))
    }
}

/// A general-purpose register by its number in an instruction.
struct Register(u64);

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            31 => f.write_str("xzr"),
            number => write!(f, "x{number}"),
        }
    }
}

/// A fault status code, DFSC or IFSC, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultStatus(pub u64);

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.0 & 3;
        match self.0 {
            0x00..=0x03 => write!(f, "address size fault, level {level}"),
            0x04..=0x07 => write!(f, "translation fault, level {level}"),
            0x08..=0x0b => write!(f, "access flag fault, level {level}"),
            0x0c..=0x0f => write!(f, "permission fault, level {level}"),
            0x10 => f.write_str("synchronous external abort"),
            0x11 => f.write_str("tag check fault"),
            0x13 => f.write_str("synchronous external abort on a table walk, level -1"),
            0x14..=0x17 => write!(f, "synchronous external abort on a table walk, level {level}"),
            0x18 => f.write_str("parity or ECC error"),
            0x1b => f.write_str("parity or ECC error on a table walk, level -1"),
            0x1c..=0x1f => write!(f, "parity or ECC error on a table walk, level {level}"),
            0x21 => f.write_str("alignment fault"),
            0x29 => f.write_str("address size fault, level -1"),
            0x2b => f.write_str("translation fault, level -1"),
            0x30 => f.write_str("TLB conflict"),
            0x31 => f.write_str("unsupported atomic hardware update"),
            0x34 => f.write_str("implementation-defined fault (lockdown)"),
            0x35 => f.write_str("unsupported exclusive or atomic access"),
            code => write!(f, "fault status {code:#04x}"),
        }
    }
}

/// What TI says (ISS of EC 0x01).
const WAITS: [&str; 4] = ["WFI", "WFE", "WFIT", "WFET"];

fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// An exception class, `ESR_ELx.EC`, in words.
#[must_use]
pub const fn class_name(class: u64) -> &'static str {
    match class {
        0x00 => "unknown reason (undefined instruction)",
        0x01 => "trapped wait",
        0x03 => "trapped MCR or MRC (coprocessor 15)",
        0x04 => "trapped MCRR or MRRC (coprocessor 15)",
        0x05 => "trapped MCR or MRC (coprocessor 14)",
        0x06 => "trapped LDC or STC",
        0x07 => "trapped SVE, SME or FP/SIMD access",
        0x08 => "trapped VMRS",
        0x09 => "trapped pointer authentication",
        0x0a => "trapped LD64B or ST64B",
        0x0c => "trapped MRRC (coprocessor 14)",
        0x0d => "branch target exception",
        0x0e => "illegal execution state",
        0x11 => "SVC from AArch32",
        0x12 => "HVC from AArch32",
        0x13 => "SMC from AArch32",
        0x14 => "trapped MSRR, MRRS or 128-bit system instruction",
        0x15 => "SVC",
        0x16 => "HVC",
        0x17 => "SMC",
        0x18 => "trapped system register",
        0x19 => "trapped SVE access",
        0x1a => "trapped ERET",
        0x1b => "transactional memory exception",
        0x1c => "pointer authentication failure",
        0x1d => "trapped SME access",
        0x1e => "granule protection check",
        0x20 => "instruction abort",
        0x21 => "instruction abort at the same level",
        0x22 => "PC alignment fault",
        0x24 => "data abort",
        0x25 => "data abort at the same level",
        0x26 => "SP alignment fault",
        0x27 => "memory operation exception",
        0x28 => "trapped floating point exception from AArch32",
        0x2c => "trapped floating point exception",
        0x2d => "guarded control stack exception",
        0x2f => "SError",
        0x30 => "breakpoint",
        0x31 => "breakpoint at the same level",
        0x32 => "software step",
        0x33 => "software step at the same level",
        0x34 => "watchpoint",
        0x35 => "watchpoint at the same level",
        0x38 => "BKPT from AArch32",
        0x3a => "vector catch from AArch32",
        0x3c => "BRK",
        0x3d => "profiling exception",
        _ => "reserved exception class",
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultStatus, Syndrome, class_name};
    use std::collections::BTreeSet;
    use std::format;
    use std::string::ToString;

    #[test]
    fn data_aborts_say_what_was_accessed_and_why_it_failed() {
        let store = (0x24 << 26) | (1 << 24) | (2 << 22) | (3 << 16) | (1 << 6) | 0x06;
        assert_eq!(
            Syndrome(store).to_string(),
            "data abort: write of 4 bytes from x3, translation fault, level 2"
        );
        let load = (0x24 << 26) | (1 << 24) | (3 << 22) | (31 << 16) | 0x0f;
        assert_eq!(
            Syndrome(load).to_string(),
            "data abort: read of 8 bytes into xzr, permission fault, level 3"
        );
        let walk = (0x24 << 26) | (1 << 7) | 0x07;
        assert_eq!(
            Syndrome(walk).to_string(),
            "data abort: on the stage-1 walk of a read, translation fault, level 3"
        );
        let clean = (0x24 << 26) | (1 << 8) | (1 << 6) | 0x05;
        assert_eq!(
            Syndrome(clean).to_string(),
            "data abort: cache maintenance, translation fault, level 1"
        );
    }

    #[test]
    fn other_classes_show_their_details() {
        let fetch = (0x20 << 26) | 0x0d;
        assert_eq!(Syndrome(fetch).to_string(), "instruction abort: permission fault, level 1");
        let mrs = (0x18 << 26) | (3 << 20) | (4 << 1) | (5 << 5) | (2 << 17) | 1;
        assert_eq!(
            Syndrome(mrs).to_string(),
            "trapped system register: read of S3_0_C0_C4_2 into x5"
        );
        let msr = (0x18 << 26) | (3 << 20) | (3 << 14) | (9 << 10) | (12 << 1) | (31 << 5);
        assert_eq!(
            Syndrome(msr).to_string(),
            "trapped system register: write to S3_3_C9_C12_0 from xzr"
        );
        assert_eq!(Syndrome((0x16 << 26) | 0x42).to_string(), "HVC #0x42");
        assert_eq!(Syndrome((0x01 << 26) | 1).to_string(), "trapped wait: WFE");
        assert_eq!(Syndrome((0x3c << 26) | 0xf000).to_string(), "BRK #0xf000");
        assert_eq!(format!("{:#}", Syndrome(fetch)), "instruction abort");
        assert_eq!(Syndrome::INTERRUPT.to_string(), "interrupt");
    }

    #[test]
    fn every_class_and_fault_status_has_words() {
        let names: BTreeSet<_> = (0..64).map(class_name).collect();
        assert_eq!(names.len(), 49, "48 known classes with different names, and the reserved one");
        for code in 0..64 {
            let text = FaultStatus(code).to_string();
            assert!(text.len() > 5 && text.is_ascii(), "{code:#x}: {text}");
        }
        assert_eq!(FaultStatus(0x3f).to_string(), "fault status 0x3f");
    }

    #[test]
    fn no_value_of_the_register_fails_to_display() {
        for class in 0..64_u64 {
            for iss in [0, 0x1ff_ffff, 0x155_5555, 0x0aa_aaaa, 1 << 24, 0x00ff_ffff] {
                assert!(!Syndrome((class << 26) | iss).to_string().is_empty());
            }
        }
    }
}
