//! The one place where the target, the host and loom differ.
//!
//! | build | atomics | waiting | ticket mutex |
//! |---|---|---|---|
//! | target | the processor's | YIELD | `spin`'s |
//! | host | the processor's | `thread::yield_now` | `spin`'s |
//! | `cfg(loom)` | loom's | `loom::thread::yield_now` | the same algorithm over loom's atomics |

#[cfg(loom)]
mod loom_mutex;
#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loom)]
pub(crate) use loom_mutex::{TicketMutex, TicketMutexGuard};

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;
#[cfg(not(loom))]
pub(crate) use spin::mutex::{TicketMutex, TicketMutexGuard};

/// How a core waits for another: the strategy of every lock and of [`Once`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Relax;

impl spin::RelaxStrategy for Relax {
    #[inline(always)]
    fn relax() {
        relax();
    }
}

/// A cell that is written once, by whichever core comes first, and read by all afterwards.
pub type Once<T> = spin::once::Once<T, Relax>;

/// Lets another core, or another thread, go on.
#[cfg(all(target_os = "none", target_arch = "aarch64"))]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "YIELD has no intrinsic: core::hint::spin_loop is an ISB on AArch64"
)]
pub(crate) fn relax() {
    // SAFETY: YIELD is a hint (Arm ARM C6.2, YIELD): it changes no register, flag or memory.
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Lets another core, or another thread, go on.
#[cfg(all(target_os = "none", not(target_arch = "aarch64")))]
#[inline(always)]
pub(crate) fn relax() {
    core::hint::spin_loop();
}

/// Lets another core, or another thread, go on.
#[cfg(all(not(target_os = "none"), not(loom)))]
#[inline(always)]
pub(crate) fn relax() {
    std::thread::yield_now();
}

/// Lets another core, or another thread, go on.
#[cfg(loom)]
#[inline(always)]
pub(crate) fn relax() {
    loom::thread::yield_now();
}
