//! System registers and the instructions around them, one function each.
//!
//! No asm here is `nomem`: the compiler must not move a store across a mask, an acknowledge or a barrier.
#![expect(unsafe_code, reason = "system registers exist as instructions only")]

use core::arch::asm;

macro_rules! read {
    ($($(#[$doc:meta])* $name:ident = $register:literal;)*) => { $(
        $(#[$doc])*
        #[inline]
        #[must_use]
        pub fn $name() -> u64 {
            let value: u64;
            // SAFETY: reading this register has no effect on memory that Rust knows of.
            unsafe {
                asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack, preserves_flags));
            }
            value
        }
    )* };
}

macro_rules! write {
    ($($(#[$doc:meta])* $name:ident = $register:literal;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(value: u64) {
            // SAFETY: no value of this register changes what memory the program reaches.
            unsafe {
                asm!(concat!("msr ", $register, ", {}"), in(reg) value, options(nostack, preserves_flags));
            }
        }
    )* };
}

macro_rules! instruction {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name() {
            // SAFETY: a barrier or a hint; it only orders or waits.
            unsafe { asm!($text, options(nostack, preserves_flags)) }
        }
    )* };
}

read! {
    /// The exception level in bits 3–2 (CurrentEL).
    current_el = "currentel";
    /// This vCPU's affinity (MPIDR_EL1).
    mpidr = "mpidr_el1";
    /// Processor feature register 0: among others the GIC system registers (bits 27–24).
    id_aa64pfr0 = "id_aa64pfr0_el1";
    /// Memory model feature register 0: the physical address range in bits 3–0.
    id_aa64mmfr0 = "id_aa64mmfr0_el1";
    /// The frequency of the generic timer in Hz.
    cntfrq = "cntfrq_el0";
    /// The physical counter.
    cntpct = "cntpct_el0";
    /// The virtual counter.
    cntvct = "cntvct_el0";
    /// The virtual timer's control: ENABLE, IMASK, ISTATUS in bits 0–2.
    cntv_ctl = "cntv_ctl_el0";
    /// The physical timer's control, as [`cntv_ctl`].
    cntp_ctl = "cntp_ctl_el0";
    /// The virtual timer's deadline.
    cntv_cval = "cntv_cval_el0";
    /// The physical timer's deadline.
    cntp_cval = "cntp_cval_el0";
    /// The virtual timer's remaining time, signed 32 bits.
    cntv_tval = "cntv_tval_el0";
    /// The physical timer's remaining time, signed 32 bits.
    cntp_tval = "cntp_tval_el0";
    /// The thread register that the run-time keeps the vCPU's index in.
    tpidr_el1 = "tpidr_el1";
    /// The interrupt masks: D, A, I, F in bits 9–6.
    daif = "daif";
    /// What is pending, masked or not: A, I, F in bits 8–6. Under a hypervisor these are the virtual ones.
    isr = "isr_el1";
    /// The root of the translation tables.
    ttbr0 = "ttbr0_el1";
    /// GICv3: acknowledges the highest pending group-1 interrupt and reads its INTID.
    icc_iar1 = "S3_0_C12_C12_0";
    /// GICv3: the highest pending group-1 interrupt, without acknowledging it.
    icc_hppir1 = "S3_0_C12_C12_2";
    /// GICv3: CPU interface control; EOImode is bit 1.
    icc_ctlr = "S3_0_C12_C12_4";
    /// GICv3: which interface is used; SRE is bit 0.
    icc_sre = "S3_0_C12_C12_5";
    /// GICv3: the running priority.
    icc_rpr = "S3_0_C12_C11_3";
    /// GICv3: the priority mask.
    icc_pmr = "S3_0_C4_C6_0";
}

write! {
    /// Sets the virtual timer's control.
    set_cntv_ctl = "cntv_ctl_el0";
    /// Sets the physical timer's control.
    set_cntp_ctl = "cntp_ctl_el0";
    /// Sets the virtual timer's deadline.
    set_cntv_cval = "cntv_cval_el0";
    /// Sets the physical timer's deadline.
    set_cntp_cval = "cntp_cval_el0";
    /// Sets the virtual timer's deadline relative to now, signed 32 bits.
    set_cntv_tval = "cntv_tval_el0";
    /// Sets the physical timer's deadline relative to now, signed 32 bits.
    set_cntp_tval = "cntp_tval_el0";
    /// Sets the kernel control of the timer: EL0's access, and the event stream (EVNTEN bit 2, EVNTDIR bit 3, EVNTI bits 7–4).
    set_cntkctl = "cntkctl_el1";
    /// Sets the interrupt masks.
    set_daif = "daif";
    /// GICv3: ends a group-1 interrupt (priority drop, and deactivation with EOImode 0).
    set_icc_eoir1 = "S3_0_C12_C12_1";
    /// GICv3: deactivates an interrupt (EOImode 1).
    set_icc_dir = "S3_0_C12_C11_1";
    /// GICv3: CPU interface control.
    set_icc_ctlr = "S3_0_C12_C12_4";
    /// GICv3: which interface is used.
    set_icc_sre = "S3_0_C12_C12_5";
    /// GICv3: the priority mask.
    set_icc_pmr = "S3_0_C4_C6_0";
    /// GICv3: the binary point of group 1.
    set_icc_bpr1 = "S3_0_C12_C12_3";
    /// GICv3: enables group 0.
    set_icc_igrpen0 = "S3_0_C12_C12_6";
    /// GICv3: enables group 1.
    set_icc_igrpen1 = "S3_0_C12_C12_7";
    /// GICv3: sends a group-1 SGI.
    set_icc_sgi1r = "S3_0_C12_C11_5";
}

instruction! {
    /// Waits for an interrupt.
    wfi = "wfi";
    /// Waits for an event.
    wfe = "wfe";
    /// Sends an event to all cores.
    sev = "sev";
    /// Tells a multi-threaded core, or whoever shares it, that this is a waiting loop.
    yield_now = "yield";
    /// Synchronises the context: register writes before it are seen by what follows.
    isb = "isb";
    /// Completes all memory accesses before it, for the whole system.
    dsb_sy = "dsb sy";
    /// Completes stores before it, for the inner-shareable domain.
    dsb_ishst = "dsb ishst";
    /// Completes all memory accesses before it, for the inner-shareable domain.
    dsb_ish = "dsb ish";
    /// Masks IRQ.
    mask_irq = "msr daifset, #2";
    /// Unmasks IRQ.
    unmask_irq = "msr daifclr, #2";
    /// Unmasks SError.
    unmask_serror = "msr daifclr, #4";
    /// Forgets this core's and the other cores' translations.
    tlbi_vmalle1is = "tlbi vmalle1is";
}

/// The virtual counter, read after all that precedes in program order.
#[inline]
#[must_use]
pub fn now() -> u64 {
    isb();
    cntvct()
}
