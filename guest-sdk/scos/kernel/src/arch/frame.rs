//! A program's registers while the kernel runs.

/// What vectors.s saves and loads. The kernel changes a program by changing this.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub(crate) struct Frame {
    /// `x0` to `x30`.
    pub(crate) x: [u64; 31],
    /// The stack pointer (SP_EL0).
    pub(crate) sp: u64,
    /// Where the program goes on (ELR_EL1).
    pub(crate) pc: u64,
    /// Its processor state (SPSR_EL1).
    pub(crate) pstate: u64,
    /// Its thread pointer (TPIDR_EL0).
    pub(crate) tls: u64,
    /// Why it came back (ESR_EL1).
    pub(crate) esr: u64,
    /// The control of floating point (FPCR).
    pub(crate) fpcr: u64,
    /// The status of floating point (FPSR).
    pub(crate) fpsr: u64,
    /// `q0` to `q31`.
    pub(crate) q: [u128; 32],
    /// The address of an abort (FAR_EL1).
    pub(crate) far: u64,
}

const _: () = {
    assert!(core::mem::offset_of!(Frame, sp) == 248, "vectors.s has these offsets");
    assert!(core::mem::offset_of!(Frame, esr) == 280, "vectors.s has these offsets");
    assert!(core::mem::offset_of!(Frame, fpcr) == 288, "vectors.s has these offsets");
    assert!(core::mem::offset_of!(Frame, q) == 304, "vectors.s has these offsets");
    assert!(core::mem::offset_of!(Frame, far) == 816, "vectors.s has these offsets");
};

/// The bits of PSTATE that a program may choose: the condition flags. All else is zero: EL0, AArch64, no masks.
const PROGRAM_STATE: u64 = 0xf000_0000;

impl Frame {
    /// A program at its start.
    pub(crate) fn start(pc: u64, sp: u64) -> Self {
        Self { x: [0; 31], sp, pc, pstate: 0, tls: 0, esr: 0, fpcr: 0, fpsr: 0, q: [0; 32], far: 0 }
    }

    /// Keeps of the state what a program may choose.
    pub(crate) fn restrict(&mut self) {
        self.pstate &= PROGRAM_STATE;
    }

    /// The exception class (ESR_EL1.EC).
    pub(crate) const fn class(&self) -> u64 {
        (self.esr >> 26) & 0x3f
    }
}
