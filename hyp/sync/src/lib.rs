//! What cores share: the ranked ticket lock, per-core cells, and sets of pending work.
//!
//! Key types: [`TicketLock`] (bounded waiting, lock order checked on the host), [`Masked`] and [`PerCore`]
//! (state that only its own core touches), [`KickSet`] and [`Pending`] (work that one core leaves for
//! another). Everything that differs between the target, the host and loom is in `facade`.
//!
//! The lock order of the whole hypervisor is the table in [`rank`]; `hyp/doc/locking.md` explains it.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

mod facade;
mod kick;
mod lock;
mod order;
mod per_core;
pub mod rank;
mod written;

pub use facade::{Once, Relax};
pub use kick::{KickSet, Pending};
pub use lock::{Guard, TicketLock, lock_another, lock_pair, try_pair};
pub use per_core::{CacheLine, Masked, PerCore};
pub use rank::Rank;

/// The atomic types to use for state that cores share: the processor's, or loom's in a loom build.
pub mod atomic {
    pub use crate::facade::atomic::{
        AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Waits a moment inside a loop that polls another core: one YIELD on the target (never an empty loop: under
/// QEMU's `-icount` that would stop the other cores).
#[inline(always)]
pub fn relax() {
    facade::relax();
}
