//! The run-time of a bare-metal guest: everything between the first instruction and `main`, and what a small
//! program needs afterwards.
//!
//! A guest is a flat, position-independent image, entered at its first byte at EL1 with the MMU off and the
//! device tree's address in `x0`. It finds the platform of QEMU's `virt` machine, on whatever board it runs;
//! the same image runs on bare QEMU too. A whole guest:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use shikiri_rt::println;
//!
//! shikiri_rt::entry!(main);
//!
//! fn main() {
//!     println!("hello");
//! }
//! ```
//!
//! Returning from `main` turns the partition off; a panic or an exception without handler prints a report and
//! ends it. Where to look: [`platform`] what the device tree says, [`console`] printing, [`irq`] and [`gic`]
//! interrupts, [`event`] ports, [`timer`], [`sleep`] waiting ([`seat`], [`wakers`], [`watch`] for libraries that wait), [`smp`] further vCPUs, [`trap`] exceptions, [`mmu`] mappings, [`mmio`] device
//! registers, [`power`] the end, [`heap`] (feature `heap`) an allocator. No file here allocates.
#![no_std]

pub mod console;
pub mod event;
pub mod gic;
#[cfg(feature = "heap")]
pub mod heap;
pub mod irq;
mod lock;
pub mod memory;
pub mod mmio;
pub mod mmu;
mod panic;
pub mod platform;
pub mod power;
pub mod reg;
pub mod seat;
pub mod sleep;
pub mod smp;
mod start;
pub mod timer;
pub mod trap;
mod tree;
pub mod wakers;
pub mod watch;

pub use lock::{Guard, Lock};
pub use shikiri_hvc as hvc;
pub use start::entry_time;

/// Names the function, `fn()`, that runs on the first vCPU once the run-time is up.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[allow(
            unsafe_code,
            reason = "the run-time calls main by this name; there is one per program"
        )]
        #[unsafe(no_mangle)]
        extern "Rust" fn __shikiri_main() {
            let main: fn() = $main;
            main();
        }
    };
}
