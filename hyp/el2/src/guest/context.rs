//! A vCPU's architectural state while it is off its core, and how it goes on and off.
//!
//! The general registers are stored by the vectors; EL1's system registers, the virtual timer and FP/SIMD
//! change only when another vCPU takes the core. A context is touched by the core that the scheduler gave
//! its vCPU to, and by nobody else.
#![expect(unsafe_code, reason = "moves the guest's system registers")]

use core::arch::asm;
use core::mem::offset_of;

use shikiri_core::report::Registers;

use crate::regs;

/// Defines the set of EL1 registers that belong to a vCPU, with save and load.
macro_rules! el1_state {
    ($($(#[$doc:meta])* $name:ident => $register:literal;)*) => {
        /// EL1's system registers.
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub(crate) struct El1State { $($(#[$doc])* pub(crate) $name: u64,)* }

        impl El1State {
            /// Reads all of them from this core.
            fn save(&mut self) {
                $(
                    // SAFETY: reads a register of EL1.
                    unsafe { asm!(concat!("mrs {}, ", $register), out(reg) self.$name, options(nostack, preserves_flags)) };
                )*
            }

            /// Writes all of them to this core.
            ///
            /// # Safety
            /// Stage-1 walks of EL1 must be off (TCR_EL1.EPD0, EPD1), so that no half-changed regime is used.
            unsafe fn load(&self) {
                $(
                    // SAFETY: writes a register of EL1; the caller holds walks off until all are there.
                    unsafe { asm!(concat!("msr ", $register, ", {}"), in(reg) self.$name, options(nostack, preserves_flags)) };
                )*
            }
        }
    };
}

el1_state! {
    /// Stack of EL0.
    sp_el0 => "sp_el0";
    /// Stack of EL1.
    sp_el1 => "sp_el1";
    /// Return address of an exception to EL1.
    elr_el1 => "elr_el1";
    /// Saved state of an exception to EL1.
    spsr_el1 => "spsr_el1";
    /// FP and SVE traps of EL1.
    cpacr_el1 => "cpacr_el1";
    /// Stage-1 root, lower range.
    ttbr0_el1 => "ttbr0_el1";
    /// Stage-1 root, upper range.
    ttbr1_el1 => "ttbr1_el1";
    /// Syndrome.
    esr_el1 => "esr_el1";
    /// Auxiliary fault status 0.
    afsr0_el1 => "afsr0_el1";
    /// Auxiliary fault status 1.
    afsr1_el1 => "afsr1_el1";
    /// Fault address.
    far_el1 => "far_el1";
    /// Memory attributes.
    mair_el1 => "mair_el1";
    /// Auxiliary memory attributes.
    amair_el1 => "amair_el1";
    /// Vectors.
    vbar_el1 => "vbar_el1";
    /// Context id.
    contextidr_el1 => "contextidr_el1";
    /// Thread pointer of EL0.
    tpidr_el0 => "tpidr_el0";
    /// Read-only thread pointer of EL0.
    tpidrro_el0 => "tpidrro_el0";
    /// Thread pointer of EL1.
    tpidr_el1 => "tpidr_el1";
    /// Result of the last address translation instruction.
    par_el1 => "par_el1";
    /// Counter access of EL0 and the event stream.
    cntkctl_el1 => "cntkctl_el1";
    /// Cache size selection.
    csselr_el1 => "csselr_el1";
}

/// FP/SIMD registers. `fp_save` and `fp_load` in `vectors.s` know the layout.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct FpState {
    v: [u128; 32],
    fpcr: u64,
    fpsr: u64,
}

/// All of it. The vectors know the offsets of `x`, `elr` and `spsr`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// x0 to x30.
    pub(crate) x: [u64; 31],
    /// Where the guest goes on.
    pub(crate) elr: u64,
    /// The state that it goes on with.
    pub(crate) spsr: u64,
    /// What the guest reads as MPIDR_EL1.
    pub(crate) mpidr: u64,
    /// The virtual timer's control.
    pub(crate) cntv_ctl: u64,
    /// The virtual timer's compare value.
    pub(crate) cntv_cval: u64,
    sctlr_el1: u64,
    tcr_el1: u64,
    el1: El1State,
    fp: FpState,
}

const _: () = assert!(offset_of!(Context, x) == 0);
const _: () = assert!(offset_of!(Context, elr) == 248);
const _: () = assert!(offset_of!(Context, spsr) == 256);
const _: () = assert!(offset_of!(FpState, fpcr) == 512);

/// SCTLR_EL1 at a vCPU's start: RES1 bits, MMU and caches off (PSCI 6.4, *initial core configuration*).
const SCTLR_EL1_RESET: u64 = 0x30d0_0800;
/// EL1h with D, A, I and F masked.
const SPSR_EL1H_MASKED: u64 = 0x3c5;
/// TCR_EL1.EPD0 and EPD1: no stage-1 walks.
const TCR_NO_WALKS: u64 = (1 << 7) | (1 << 23);

unsafe extern "C" {
    fn fp_save(state: *mut FpState);
    fn fp_load(state: *const FpState);
}

impl Context {
    /// A vCPU that was never started.
    pub(crate) fn new() -> Self {
        Self {
            x: [0; 31],
            elr: 0,
            spsr: SPSR_EL1H_MASKED,
            mpidr: 0,
            cntv_ctl: 0,
            cntv_cval: 0,
            sctlr_el1: SCTLR_EL1_RESET,
            tcr_el1: 0,
            el1: El1State::default(),
            fp: FpState { v: [0; 32], fpcr: 0, fpsr: 0 },
        }
    }

    /// A vCPU that starts at `entry` with `x0`, everything else at its reset value.
    pub(crate) fn start(&mut self, entry: u64, x0: u64, mpidr: u64) {
        self.x = [0; 31];
        if let Some(first) = self.x.first_mut() {
            *first = x0;
        }
        (self.elr, self.spsr, self.mpidr) = (entry, SPSR_EL1H_MASKED, mpidr);
        (self.cntv_ctl, self.cntv_cval) = (0, 0);
        (self.sctlr_el1, self.tcr_el1) = (SCTLR_EL1_RESET, 0);
        self.el1 = El1State::default();
        self.fp = FpState { v: [0; 32], fpcr: 0, fpsr: 0 };
    }

    /// The guest's register `index`; 31 reads as zero.
    #[inline]
    pub(crate) fn read_x(&self, index: u8) -> u64 {
        self.x.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Sets the guest's register `index`; 31 is dropped.
    #[inline]
    pub(crate) fn write_x(&mut self, index: u8, value: u64) {
        if let Some(register) = self.x.get_mut(usize::from(index)) {
            *register = value;
        }
    }

    /// What a report shows. Complete once the vectors have stored all general registers and [`Context::save`] the
    /// others.
    pub(crate) fn registers(&self) -> Registers {
        let el1 = &self.el1;
        Registers {
            x: self.x,
            pc: self.elr,
            spsr: self.spsr,
            sp_el0: el1.sp_el0,
            sp_el1: el1.sp_el1,
            elr_el1: el1.elr_el1,
            esr_el1: el1.esr_el1,
            far_el1: el1.far_el1,
            vbar_el1: el1.vbar_el1,
            sctlr_el1: self.sctlr_el1,
            ttbr0_el1: el1.ttbr0_el1,
            ttbr1_el1: el1.ttbr1_el1,
        }
    }

    /// Takes EL1, timer and FP state off this core. The virtual timer is stopped: its deadline is kept by
    /// the scheduler meanwhile.
    pub(crate) fn save(&mut self) {
        self.el1.save();
        self.sctlr_el1 = regs::sctlr_el1();
        self.tcr_el1 = tcr_el1();
        self.cntv_ctl = regs::cntv_ctl_el0();
        self.cntv_cval = regs::cntv_cval_el0();
        regs::set_cntv_ctl_el0(0);
        // SAFETY: stores to our own field only.
        unsafe { fp_save(&raw mut self.fp) };
        hold_walks();
    }

    /// Puts the state on this core.
    ///
    /// EL1's walks stay off while its registers change and `switch_stage2` loads VTTBR_EL2: a speculative
    /// AT or prefetch must never walk with one vCPU's TTBR and another's VTTBR (Cortex-A72 erratum 1319367;
    /// harmless elsewhere). The final ISB is the ERET.
    pub(crate) fn load(&self, switch_stage2: impl FnOnce()) {
        hold_walks();
        // SAFETY: walks are off, see above.
        unsafe { self.el1.load() };
        switch_stage2();
        regs::set_vmpidr_el2(self.mpidr);
        regs::isb();
        write_sctlr_el1(self.sctlr_el1);
        write_tcr_el1(self.tcr_el1);
        regs::set_cntv_cval_el0(self.cntv_cval);
        regs::set_cntv_ctl_el0(self.cntv_ctl);
        if (regs::id_aa64pfr0_el1() >> 28) & 15 != 0 {
            // With HCR_EL2.AMO the guest's DISR_EL1 is VDISR_EL2: not another guest's (FEAT_RAS).
            regs::set_vdisr_el2(0);
        }
        // SAFETY: reads our own field only; EL2 uses no FP register.
        unsafe { fp_load(&raw const self.fp) };
    }
}

/// Runs what loads another partition's VTTBR_EL2 while a vCPU's registers are on this core: EL1's walks are held off meanwhile, as in
/// a switch, and its ISB is the last one here.
pub(super) fn with_walks_held<R>(run: impl FnOnce() -> R) -> R {
    let (sctlr, tcr) = (regs::sctlr_el1(), tcr_el1());
    hold_walks();
    let result = run();
    regs::isb();
    write_sctlr_el1(sctlr);
    write_tcr_el1(tcr);
    regs::isb();
    result
}

/// Holds EL1's walks off: from here on nothing is translated under EL1's registers, by speculation neither.
fn hold_walks() {
    write_tcr_el1(tcr_el1() | TCR_NO_WALKS);
    regs::isb();
    // Only with the MMU on do EPD0 and EPD1 count.
    write_sctlr_el1(SCTLR_EL1_RESET | 1);
    regs::isb();
}

fn tcr_el1() -> u64 {
    let value: u64;
    // SAFETY: reads a register of EL1.
    unsafe { asm!("mrs {}, tcr_el1", out(reg) value, options(nostack, preserves_flags)) };
    value
}

fn write_sctlr_el1(value: u64) {
    // SAFETY: EL1's control; EL2's own translation does not depend on it.
    unsafe { asm!("msr sctlr_el1, {}", in(reg) value, options(nostack, preserves_flags)) };
}

fn write_tcr_el1(value: u64) {
    // SAFETY: EL1's control; EL2's own translation does not depend on it.
    unsafe { asm!("msr tcr_el1, {}", in(reg) value, options(nostack, preserves_flags)) };
}
