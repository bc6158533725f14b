//! System registers, instructions and barriers that no library offers in the form that we need.
//!
//! Reading is safe unless it has effects; writing is safe only where no value can break EL2's own memory
//! safety (style: unsafe code, rule 3). Assembly here is one instruction each, and none is `nomem`:
//! the compiler may not move memory accesses across them.
#![expect(unsafe_code, reason = "system registers and barriers need assembly")]

use core::arch::asm;

/// Defines readers: `name => "register"`.
macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident => $register:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name() -> u64 {
            let value: u64;
            // SAFETY: reading this register has no effect on memory or control flow.
            unsafe { asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack, preserves_flags)) };
            value
        }
    )*};
}

/// Defines safe writers: no value can make EL2 touch memory that it should not.
macro_rules! writers {
    ($($(#[$doc:meta])* $name:ident => $register:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(value: u64) {
            // SAFETY: the register steers the guest, a timer or the interrupt interface, never EL2's own
            // memory accesses.
            unsafe { asm!(concat!("msr ", $register, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    )*};
}

/// Defines argument-less instructions.
macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident => $text:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name() {
            // SAFETY: a barrier, hint or invalidation; it changes no value that the program can see.
            unsafe { asm!($text, options(nostack, preserves_flags)) };
        }
    )*};
}

readers! {
    /// Why the guest exited.
    esr_el2 => "esr_el2";
    /// The faulting virtual address.
    far_el2 => "far_el2";
    /// The faulting IPA's page.
    hpfar_el2 => "hpfar_el2";
    /// Where the exception was taken from.
    elr_el2 => "elr_el2";
    /// How the guest's stage 1 is walked.
    tcr_el1 => "tcr_el1";
    /// What an address translation instruction has found.
    par_el1 => "par_el1";
    /// The state that it was taken from.
    spsr_el2 => "spsr_el2";
    /// The system counter, ordered after earlier instructions by the caller's ISB where that matters.
    cntpct_el0 => "cntpct_el0";
    /// Its frequency in Hz.
    cntfrq_el0 => "cntfrq_el0";
    /// This core's affinity.
    mpidr_el1 => "mpidr_el1";
    /// Which core this is.
    midr_el1 => "midr_el1";
    /// Memory model features 0: PARange.
    id_aa64mmfr0_el1 => "id_aa64mmfr0_el1";
    /// Memory model features 1.
    id_aa64mmfr1_el1 => "id_aa64mmfr1_el1";
    /// Memory model features 2: FWB.
    id_aa64mmfr2_el1 => "id_aa64mmfr2_el1";
    /// Instruction set 0: CRC32.
    id_aa64isar0_el1 => "id_aa64isar0_el1";
    /// Cache type: line sizes.
    ctr_el0 => "ctr_el0";
    /// DC ZVA's block size.
    dczid_el0 => "dczid_el0";
    /// Interrupts that are pending at this core now (bit 7: IRQ).
    isr_el1 => "isr_el1";
    /// Hypervisor configuration.
    hcr_el2 => "hcr_el2";
    /// What MPAM has here; where FEAT_MPAM is.
    mpamidr_el1 => "S3_0_C10_C4_4";
    /// The stage-2 root and VMID.
    vttbr_el2 => "vttbr_el2";
    /// Processor features 0: RAS.
    id_aa64pfr0_el1 => "id_aa64pfr0_el1";
    /// EL1's vectors.
    vbar_el1 => "vbar_el1";
    /// EL1's control.
    sctlr_el1 => "sctlr_el1";
    /// Performance monitors control: N, the number of counters.
    pmcr_el0 => "pmcr_el0";
    /// The virtual timer's control.
    cntv_ctl_el0 => "cntv_ctl_el0";
    /// The virtual timer's compare value.
    cntv_cval_el0 => "cntv_cval_el0";
    /// List registers, priority bits.
    ich_vtr_el2 => "S3_4_C12_C11_1";
    /// Virtual interface control.
    ich_hcr_el2 => "S3_4_C12_C11_0";
    /// The virtual machine's view of the interface.
    ich_vmcr_el2 => "S3_4_C12_C11_7";
    /// List registers that are empty.
    ich_elrsr_el2 => "S3_4_C12_C11_5";
    /// Why the maintenance interrupt is asserted.
    ich_misr_el2 => "S3_4_C12_C11_2";
    /// Active priorities, group 0.
    ich_ap0r0_el2 => "S3_4_C12_C8_0";
    /// Active priorities, group 1.
    ich_ap1r0_el2 => "S3_4_C12_C9_0";
}

writers! {
    /// Performance monitors control.
    set_pmcr_el0 => "pmcr_el0";
    /// Performance counters to stop.
    set_pmcntenclr_el0 => "pmcntenclr_el0";
    /// Overflows of performance counters that shall not interrupt.
    set_pmintenclr_el1 => "pmintenclr_el1";
    /// Overflows of performance counters to forget.
    set_pmovsclr_el0 => "pmovsclr_el0";
    /// What EL0 may do with the performance monitors.
    set_pmuserenr_el0 => "pmuserenr_el0";
    /// Where cycles are counted.
    set_pmccfiltr_el0 => "pmccfiltr_el0";
    /// The performance counter that is chosen.
    set_pmselr_el0 => "pmselr_el0";
    /// What the chosen performance counter counts.
    set_pmxevtyper_el0 => "pmxevtyper_el0";
    /// Virtual interface control.
    set_ich_hcr_el2 => "S3_4_C12_C11_0";
    /// The virtual machine's view of the interface.
    set_ich_vmcr_el2 => "S3_4_C12_C11_7";
    /// Active priorities, group 0.
    set_ich_ap0r0_el2 => "S3_4_C12_C8_0";
    /// Active priorities, group 1.
    set_ich_ap1r0_el2 => "S3_4_C12_C9_0";
    /// The hypervisor timer's deadline in ticks.
    set_cnthp_cval_el2 => "cnthp_cval_el2";
    /// The hypervisor timer's control.
    set_cnthp_ctl_el2 => "cnthp_ctl_el2";
    /// The guest's virtual timer control.
    set_cntv_ctl_el0 => "cntv_ctl_el0";
    /// The guest's virtual timer compare value.
    set_cntv_cval_el0 => "cntv_cval_el0";
    /// The guest's counter offset.
    set_cntvoff_el2 => "cntvoff_el2";
    /// Which timer and counter accesses of the guest trap.
    set_cnthctl_el2 => "cnthctl_el2";
    /// What the guest reads as MPIDR_EL1.
    set_vmpidr_el2 => "vmpidr_el2";
    /// What the guest reads as MIDR_EL1.
    set_vpidr_el2 => "vpidr_el2";
    /// The guest's deferred SError syndrome (FEAT_RAS).
    set_vdisr_el2 => "S3_4_C12_C1_1";
    /// Extended configuration: features of FEAT_HCX.
    set_hcrx_el2 => "S3_4_C1_C2_2";
    /// Debug exceptions and single steps of EL1.
    set_mdscr_el1 => "mdscr_el1";
    /// MPAM: EL2's partition, and traps.
    set_mpam2_el2 => "S3_4_C10_C5_0";
    /// MPAM: virtual partitions, and a trap.
    set_mpamhcr_el2 => "S3_4_C10_C4_0";
    /// MPAM: EL1's partition.
    set_mpam1_el1 => "S3_0_C10_C5_0";
    /// MPAM: EL0's partition.
    set_mpam0_el1 => "S3_0_C10_C5_1";
    /// Fine-grained read traps.
    set_hfgrtr_el2 => "S3_4_C1_C1_4";
    /// Fine-grained write traps.
    set_hfgwtr_el2 => "S3_4_C1_C1_5";
    /// Fine-grained instruction traps.
    set_hfgitr_el2 => "S3_4_C1_C1_6";
    /// Fine-grained debug read traps.
    set_hdfgrtr_el2 => "S3_4_C3_C1_4";
    /// Fine-grained debug write traps.
    set_hdfgwtr_el2 => "S3_4_C3_C1_5";
    /// Fine-grained read traps, second group.
    set_hfgrtr2_el2 => "S3_4_C3_C1_2";
    /// Fine-grained write traps, second group.
    set_hfgwtr2_el2 => "S3_4_C3_C1_3";
    /// Fine-grained instruction traps, second group.
    set_hfgitr2_el2 => "S3_4_C3_C1_7";
    /// Fine-grained debug read traps, second group.
    set_hdfgrtr2_el2 => "S3_4_C3_C1_0";
    /// Fine-grained debug write traps, second group.
    set_hdfgwtr2_el2 => "S3_4_C3_C1_1";
    /// The guest's result of its last address translation.
    set_par_el1 => "par_el1";
    /// Coprocessor-style traps of EL1.
    set_hstr_el2 => "hstr_el2";
    /// Where the guest goes on.
    set_elr_el2 => "elr_el2";
    /// The state in which the guest goes on; a mode above EL1 is an illegal return, which stays at EL2 and
    /// traps (callers pass guest modes only).
    set_spsr_el2 => "spsr_el2";
}

instructions! {
    /// Instruction synchronisation barrier.
    isb => "isb";
    /// Full system data barrier.
    dsb_sy => "dsb sy";
    /// This core's data barrier.
    dsb_nsh => "dsb nsh";
    /// Inner-shareable data barrier.
    dsb_ish => "dsb ish";
    /// Inner-shareable store barrier.
    dsb_ishst => "dsb ishst";
    /// Waits for an interrupt (also while masked).
    wfi => "wfi";
    /// Wakes the cores that wait with WFE.
    sev => "sev";
    /// Stage-1 and combined entries of the current VMID, inner shareable.
    tlbi_vmalle1is => "tlbi vmalle1is";
    /// Stage-1 and combined entries of the current VMID, this core.
    tlbi_vmalle1 => "tlbi vmalle1";
    /// Both stages of the current VMID, inner shareable.
    tlbi_vmalls12e1is => "tlbi vmalls12e1is";
    /// All of EL1, all VMIDs, this core.
    tlbi_alle1 => "tlbi alle1";
    /// Instruction caches of this core.
    ic_iallu => "ic iallu";
    /// Instruction caches of all cores.
    ic_ialluis => "ic ialluis";
}

/// Stage-2 leaf entries of an IPA page under the current VMID, inner shareable.
#[inline(always)]
pub(crate) fn tlbi_ipas2e1is(ipa_page: u64) {
    // SAFETY: an invalidation changes no value that the program can see.
    unsafe { asm!("tlbi ipas2e1is, {}", in(reg) ipa_page, options(nostack, preserves_flags)) };
}

/// Loads VTTBR_EL2.
///
/// # Safety
/// The value must name a stage-2 root of the partition whose vCPU is about to run, or be 0 with no guest
/// running; tables must be visible (DSB) before.
#[inline(always)]
pub(crate) unsafe fn set_vttbr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr vttbr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads VTCR_EL2.
///
/// # Safety
/// The value must fit the stage-2 tables of every partition.
#[inline(always)]
pub(crate) unsafe fn set_vtcr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr vtcr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads HCR_EL2.
///
/// # Safety
/// The value must keep stage 2 on (VM), route interrupts and aborts here, and leave E2H and TGE clear.
#[inline(always)]
pub(crate) unsafe fn set_hcr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr hcr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads CPTR_EL2.
///
/// # Safety
/// EL2 must not use a feature that the value traps.
#[inline(always)]
pub(crate) unsafe fn set_cptr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr cptr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads MDCR_EL2.
///
/// # Safety
/// The value must trap the guest's debug registers, and its PMU registers unless it has the PMU of this core.
#[inline(always)]
pub(crate) unsafe fn set_mdcr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr mdcr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads VBAR_EL2.
///
/// # Safety
/// The address must be that of the vector table.
#[inline(always)]
pub(crate) unsafe fn set_vbar_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr vbar_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads TPIDR_EL2.
///
/// # Safety
/// The value must be this core's per-core block.
#[inline(always)]
pub(crate) unsafe fn set_tpidr_el2(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr tpidr_el2, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Translates an address for a load at EL1, or at EL0, through the guest's stage 1: PAR_EL1 has the result behind an
/// ISB. A walk that stage 2 does not let through is a failed translation there (Arm ARM D8.15, from EL2), and with
/// HCR_EL2.PTW stage 2 lets it reach RAM only.
#[inline]
pub(crate) fn at_s1e1r(va: u64) {
    // SAFETY: changes PAR_EL1 only.
    unsafe { asm!("at s1e1r, {}", in(reg) va, options(nostack, preserves_flags)) };
}

/// [`at_s1e1r`], at EL0.
#[inline]
pub(crate) fn at_s1e0r(va: u64) {
    // SAFETY: as above.
    unsafe { asm!("at s1e0r, {}", in(reg) va, options(nostack, preserves_flags)) };
}

/// Cleans and invalidates one data cache line to the point of coherency.
///
/// # Safety
/// `va` must be mapped.
#[inline(always)]
pub(crate) unsafe fn dc_civac(va: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("dc civac, {}", in(reg) va, options(nostack, preserves_flags)) };
}

/// Zeroes one block of DCZID_EL0's size.
///
/// # Safety
/// The block at `va` must be mapped as normal memory, and nobody may hold a reference into it.
#[inline(always)]
pub(crate) unsafe fn dc_zva(va: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("dc zva, {}", in(reg) va, options(nostack, preserves_flags)) };
}
