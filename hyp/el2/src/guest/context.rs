//! A vCPU's architectural state while it is off its core, and how it goes on and off.
//!
//! The general registers are stored by the vectors; EL1's system registers, the virtual timer and FP/SIMD
//! change only when another vCPU takes the core. A context is touched by the core that the scheduler gave
//! its vCPU to, and by nobody else.
#![expect(unsafe_code, reason = "moves the guest's system registers")]

use core::arch::asm;
use core::mem::offset_of;

use shikiri_arch::hw::{SCTLR_EL1_RESET, Vttbr};
use shikiri_core::report::Registers;
use shikiri_stage2::switch::{self, Controls};

use crate::hw::tlb::MachineRegime;
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
    controls: Controls,
    el1: El1State,
    fp: FpState,
}

const _: () = assert!(offset_of!(Context, x) == 0);
const _: () = assert!(offset_of!(Context, elr) == 248);
const _: () = assert!(offset_of!(Context, spsr) == 256);
const _: () = assert!(offset_of!(FpState, fpcr) == 512);

/// EL1h with D, A, I and F masked.
const SPSR_EL1H_MASKED: u64 = 0x3c5;
/// No translation by stage 1.
const RESET: Controls = Controls { sctlr: SCTLR_EL1_RESET, tcr: 0 };

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
            controls: RESET,
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
        self.controls = RESET;
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
            sctlr_el1: self.controls.sctlr,
            ttbr0_el1: el1.ttbr0_el1,
            ttbr1_el1: el1.ttbr1_el1,
        }
    }

    /// Takes EL1, timer and FP state off this core. The virtual timer is stopped: its deadline is kept by
    /// the scheduler meanwhile.
    pub(crate) fn save(&mut self) {
        self.el1.save();
        self.controls = Controls::read(&MachineRegime);
        self.cntv_ctl = regs::cntv_ctl_el0();
        self.cntv_cval = regs::cntv_cval_el0();
        regs::set_cntv_ctl_el0(0);
        // SAFETY: stores to our own field only.
        unsafe { fp_save(&raw mut self.fp) };
        switch::hold_walks(&MachineRegime);
    }

    /// Puts the state on this core, with the stage-2 tables of its partition. `may_follow_sibling` says that another vCPU of that
    /// partition may have run here.
    pub(crate) fn load(&self, vttbr: Vttbr, may_follow_sibling: bool) {
        switch::put_on(&MachineRegime, self.controls, vttbr, may_follow_sibling, || {
            // SAFETY: walks are held off.
            unsafe { self.el1.load() };
            regs::set_vmpidr_el2(self.mpidr);
        });
        regs::set_cntv_cval_el0(self.cntv_cval);
        if (regs::id_aa64pfr0_el1() >> 28) & 15 != 0 {
            // With HCR_EL2.AMO the guest's DISR_EL1 is VDISR_EL2: not another guest's (FEAT_RAS).
            regs::set_vdisr_el2(0);
        }
        // SAFETY: reads our own field only; EL2 uses no FP register.
        unsafe { fp_load(&raw const self.fp) };
    }

    /// Starts the virtual timer, which [`Context::load`] leaves stopped: when it is due at once, its interrupt must find what the
    /// interrupt controller has been told of the vCPU before.
    pub(crate) fn start_timer(&self) {
        regs::set_cntv_ctl_el0(self.cntv_ctl);
    }
}
