//! Instructions made at run time: written to a page that can be executed, and tried.
#![expect(unsafe_code, reason = "writes instructions and runs them")]

use core::arch::asm;

use shikiri_rt::{memory, mmu, reg};

use crate::fault::{Fault, Piece, attempt};

/// `RET`.
pub const RET: u32 = 0xd65f_03c0;
/// `NOP`.
pub const NOP: u32 = 0xd503_201f;

/// A page of instructions; each vCPU that needs one takes its own.
#[derive(Debug)]
pub struct Page(u64);

/// The five fields of a system register's name: op0, op1, CRn, CRm, op2.
pub type Encoding = (u32, u32, u32, u32, u32);

/// `MRS x0, S<encoding>`; with op0 = 1 `SYSL x0, …`.
#[must_use]
pub const fn mrs(encoding: Encoding) -> u32 {
    0xd520_0000 | fields(encoding)
}

/// `MSR S<encoding>, x0`; with op0 = 1 `SYS …, x0`.
#[must_use]
pub const fn msr(encoding: Encoding) -> u32 {
    0xd500_0000 | fields(encoding)
}

// MRS x0, MIDR_EL1; MSR VBAR_EL1, x0; TLBI VALE1, x0.
const _: () = assert!(mrs((3, 0, 0, 0, 0)) == 0xd538_0000);
const _: () = assert!(msr((3, 0, 12, 0, 0)) == 0xd518_c000);
const _: () = assert!(msr((1, 0, 8, 7, 5)) == 0xd508_87a0);

/// op0 in bits 20:19 (Arm ARM C4.1, system instructions and register moves).
const fn fields((op0, op1, crn, crm, op2): Encoding) -> u32 {
    ((op0 & 3) << 19) | (op1 << 16) | (crn << 12) | (crm << 8) | (op2 << 5)
}

impl Page {
    /// Takes a page of the free memory and maps it executable.
    ///
    /// # Panics
    /// If no page is left.
    #[must_use]
    pub fn take() -> Self {
        let address = memory::take(1).expect("a free page");
        // SAFETY: the page was just taken.
        let mapped =
            unsafe { mmu::map(address, address, memory::PAGE_BYTES, mmu::Access::Anything) };
        assert_eq!(mapped, Ok(()), "mapping an executable page");
        Self(address)
    }

    /// Where the instructions are.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.0
    }

    /// Writes `instructions` (at most 1,000) and `RET`.
    pub fn write(&mut self, instructions: &[u32]) {
        let all = instructions.iter().copied().take(1000).chain([RET]);
        let base = core::ptr::with_exposed_provenance_mut::<u32>(self.0 as usize);
        for (index, word) in all.enumerate() {
            // SAFETY: the page is this one's own, and 1001 words fit.
            let slot = unsafe { base.add(index) };
            // SAFETY: as above.
            unsafe { slot.write_volatile(word) };
            synchronise(self.0 + index as u64 * 4);
        }
        reg::dsb_ish();
        reg::isb();
    }

    /// Writes and runs `instructions`, with `a` and `b` in `x0` and `x1`; answers `x0`.
    ///
    /// # Errors
    /// The exception that it raised.
    ///
    /// # Safety
    /// The instructions change nothing that this program relies on, but registers that a call may change.
    pub unsafe fn run(&mut self, instructions: &[u32], a: u64, b: u64) -> Result<u64, Fault> {
        self.write(instructions);
        let base = core::ptr::with_exposed_provenance_mut::<u32>(self.0 as usize);
        // SAFETY: the page holds instructions that follow the procedure call standard, as the caller vouches.
        let piece = unsafe { core::mem::transmute::<*mut u32, Piece>(base) };
        // SAFETY: as above.
        unsafe { attempt(piece, a, b) }
    }
}

/// Makes a written instruction visible to instruction fetch (Arm ARM B2.7.4.2).
fn synchronise(address: u64) {
    // SAFETY: cache maintenance of one's own memory.
    unsafe {
        asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", in(reg) address, options(nostack, preserves_flags));
    }
}
