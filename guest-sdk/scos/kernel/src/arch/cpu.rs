//! The core: registers, translations, the timer, the way into a program.
#![expect(unsafe_code, reason = "system registers and their instructions exist as assembly only")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Frame;

/// SCTLR_EL1: MMU and caches on, stack alignment checked, WXN (what can be written is never executed), cache
/// maintenance and DC ZVA for programs, WFE but not WFI; SPAN is 0, so that a core with PAN sets it at each exception.
pub(super) const SCTLR: u64 = 0x345c_d91d;

static EMPTY_ROOT: AtomicU64 = AtomicU64::new(0);

/// Why a program came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A system call, an abort, an undefined instruction …: ESR_EL1 says which.
    Synchronous,
    /// An interrupt.
    Interrupt,
    /// A system error or a fast interrupt.
    Error,
}

unsafe extern "C" {
    fn scos_enter(frame: *mut Frame) -> u64;
}

/// Runs the program of this frame, in the address space that is in use, until it comes back.
pub(crate) fn enter(frame: &mut Frame) -> Reason {
    frame.restrict();
    // SAFETY: the frame is alive and exclusive. Its state is EL0's, so that whatever else it holds, the program runs
    // without the kernel's rights on memory of its own; the function returns by the rules of C.
    match unsafe { scos_enter(frame) } {
        0 => Reason::Synchronous,
        1 => Reason::Interrupt,
        _ => Reason::Error,
    }
}

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no effect on memory that Rust knows of.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack, preserves_flags));
        }
        value
    }};
}

macro_rules! write {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: no value of this register changes what memory the kernel reaches.
        unsafe {
            core::arch::asm!(concat!("msr ", $register, ", {}"), in(reg) value, options(nostack, preserves_flags));
        }
    }};
}

pub(super) use {read, write};

macro_rules! instruction {
    ($text:literal) => {{
        // SAFETY: a barrier, a hint or an invalidation; it only orders, waits or forgets what can be read again.
        unsafe { core::arch::asm!($text, options(nostack, preserves_flags)) }
    }};
}

pub(super) fn set_empty_root(physical: u64) {
    EMPTY_ROOT.store(physical, Ordering::Relaxed);
}

/// Uses the tables with this root and ASID for the lower half; `None`: nothing is mapped there.
pub(crate) fn use_space(space: Option<(u64, u16)>) {
    let (root, asid) = space.unwrap_or_else(|| (EMPTY_ROOT.load(Ordering::Relaxed), 0));
    instruction!("dsb ishst");
    // The kernel runs in the upper half and no table reaches other memory than the programs', so nothing of the
    // kernel depends on the value.
    write!("ttbr0_el1", root | (u64::from(asid) << 48));
    instruction!("isb");
}

/// Forgets the translation of one page (Arm ARM D8.16.5: the table was written before, the barrier completes it).
pub(crate) fn forget_page(asid: u16, address: u64) {
    let operand = (u64::from(asid) << 48) | ((address >> 12) & 0xfff_ffff_ffff);
    instruction!("dsb ishst");
    // SAFETY: forgets what can be read again.
    unsafe { asm!("tlbi vae1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    instruction!("dsb ish");
    instruction!("isb");
}

/// Forgets all translations of an address space.
pub(crate) fn forget_space(asid: u16) {
    let operand = u64::from(asid) << 48;
    instruction!("dsb ishst");
    // SAFETY: forgets what can be read again.
    unsafe { asm!("tlbi aside1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    instruction!("dsb ish");
    instruction!("isb");
}

/// Makes what was written to `size` bytes at a kernel address executable (Arm ARM B2.7.4.2).
pub(crate) fn sync_code(start: u64, size: u64) {
    let line = 4_u64 << ((read!("ctr_el0") >> 16) & 15);
    let mut at = start & !(line - 1);
    while at < start + size {
        // SAFETY: cleaning a line changes no content.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    instruction!("dsb ish");
    instruction!("ic ialluis");
    instruction!("dsb ish");
    instruction!("isb");
}

/// The virtual counter.
pub(crate) fn clock() -> u64 {
    instruction!("isb");
    read!("cntvct_el0")
}

/// Its ticks in a second.
pub(crate) fn frequency() -> u64 {
    read!("cntfrq_el0").max(1)
}

/// Has the timer's interrupt come once the counter reaches `deadline`.
pub(crate) fn arm_timer(deadline: u64) {
    write!("cntv_cval_el0", deadline);
    write!("cntv_ctl_el0", 1);
    instruction!("isb");
}

/// Has it not come.
pub(crate) fn disarm_timer() {
    write!("cntv_ctl_el0", 2);
    instruction!("isb");
}

/// Waits until an interrupt is pending; it is not taken.
pub(crate) fn wait_for_interrupt() {
    instruction!("dsb sy");
    instruction!("wfi");
}

/// A word that a program can hardly foresee. There is no source of randomness on the platform; the counter's low bits
/// and MPIDR go in.
pub(crate) fn random_word() -> u64 {
    clock().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ read!("mpidr_el1").rotate_left(32)
}

/// Ends the partition.
pub(crate) fn power_off() -> ! {
    shikiri_hvc::psci::system_off(shikiri_hvc::Conduit::Hvc);
    loop {
        wait_for_interrupt();
    }
}

/// Ends the partition with a code in the hypervisor's report.
pub(super) fn end(code: u32) -> ! {
    // A refusal leaves only the other way.
    let _refusal: shikiri_hvc::partition::Refusal = shikiri_hvc::partition::end(code);
    power_off()
}

pub(super) fn dsb_sy() {
    instruction!("dsb sy");
}

pub(super) fn isb() {
    instruction!("isb");
}
