//! The way out of a guest and back in.
#![expect(unsafe_code, reason = "the vectors are assembly and hand over raw pointers")]

pub(crate) mod books;
pub(crate) mod context;
pub(crate) mod ids;
mod indexed;
mod inject;
mod irq;
pub(crate) mod kept;
mod lending;
pub(crate) mod live;
mod look;
mod maker;
mod message;
mod object;
mod policy;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod seats;
pub(crate) mod setup;
mod share;
mod sync;
mod sysreg;
mod talk;
pub(crate) mod worker;

use core::ffi::c_void;

use context::Context;
use shikiri_arch::exit;
use sync::Next;

use crate::percore::CoreLocal;

core::arch::global_asm!(
    include_str!("vectors.s"),
    sgi1r_low = const exit::SGI1R_WRITE & 0xffff,
    sgi1r_high = const exit::SGI1R_WRITE >> 16,
    sgi1r_rt = const exit::SGI1R_RT,
);

unsafe extern "C" {
    /// The vector table.
    static el2_vectors: u8;
    /// Enters the scheduler on a fresh stack, with a pointer to the core's block; never returns.
    fn run_core(core: *mut c_void, stack: u64) -> !;
}

/// Enters the scheduler on a fresh stack.
///
/// # Safety
/// The block is this core's, and nothing of the present stack is used again.
pub(crate) unsafe fn run_core_on(core: *mut CoreLocal, stack: u64) -> ! {
    // SAFETY: the caller's promise.
    unsafe { run_core(core.cast(), stack) }
}

/// A synchronous exception of the guest, with this syndrome.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.hot")]
unsafe extern "C" fn on_sync(context: *mut Context, core: *mut CoreLocal, esr: u64) -> Next {
    // SAFETY: the vectors hand over the loaded vCPU's context, which nobody else touches now.
    let context = unsafe { &mut *context };
    // SAFETY: and this core's own block; EL2 runs masked, so this is the only reference.
    let core = unsafe { &mut *core };
    sync::on_exit(context, core, esr)
}

/// A write to ICC_SGI1R_EL1 with this syndrome; the guest's x19 to x29 are not stored.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.hot")]
unsafe extern "C" fn on_sgi(context: *mut Context, core: *mut CoreLocal, esr: u64) -> Next {
    // SAFETY: as in `on_sync`.
    let context = unsafe { &*context };
    // SAFETY: as in `on_sync`.
    let core = unsafe { &mut *core };
    sysreg::send_sgi1r_of(core, context.read_x(exit::sgi1r_source(esr)))
}

/// An HVC of the guest; its x19 to x29 are not stored.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.hot")]
unsafe extern "C" fn on_hvc(context: *mut Context, core: *mut CoreLocal) -> Next {
    // SAFETY: as in `on_sync`.
    let context = unsafe { &mut *context };
    if sync::answer_quickly(context) {
        return Next::Resume;
    }
    // SAFETY: as in `on_sync`.
    let core = unsafe { &mut *core };
    sync::on_hvc(context, core)
}

/// An interrupt while the guest ran.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.hot")]
unsafe extern "C" fn on_irq(_context: *mut Context, core: *mut CoreLocal) -> Next {
    // SAFETY: as in `on_sync`.
    let core = unsafe { &mut *core };
    irq::on_interrupt(core)
}

/// An SError while the guest ran: the partition that ran is blamed.
#[unsafe(no_mangle)]
unsafe extern "C" fn on_serror(_context: *mut Context, core: *mut CoreLocal) -> Next {
    // SAFETY: as in `on_sync`.
    let core = unsafe { &mut *core };
    sync::on_serror(core)
}

/// Finds the next vCPU; its context, for the vectors.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.hot")]
unsafe extern "C" fn reschedule(core: *mut CoreLocal) -> *mut Context {
    // SAFETY: as in `on_sync`.
    let core = unsafe { &mut *core };
    run::reschedule(core)
}

/// The vector table's address.
pub(crate) fn vectors() -> u64 {
    let address = core::ptr::addr_of!(el2_vectors).expose_provenance();
    u64::try_from(address).unwrap_or(0)
}
