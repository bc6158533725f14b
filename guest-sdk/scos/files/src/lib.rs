//! The files of the system control OS, without the machine: descriptors, a file system in memory, pipes, the console, timers, and who
//! may go on (C6–C9).
//!
//! The numbers, structures and answers are those of Linux for AArch64. Nothing here blocks, reads a clock or touches memory of a
//! process: the kernel copies in and out, says what time it is ([`Files::set_now`]), and tries a call again when one of the keys that it
//! waits for is woken ([`Step::Wait`], [`Files::woken`]).
//!
//! ```text
//! process ── Descriptors: number ─▶ DescriptionId ┐
//!                                                 ├─▶ Files: descriptions ─▶ node of the tree, pipe, console, timer, event counter
//! process (forked) ── Descriptors ────────────────┘
//! ```
//!
//! Every number may come from a hostile program: what a call allocates is bounded by [`Limits`], never by an argument.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        unused_must_use,
        reason = "a test that overflows is a failed test; what the product does is checked without tests"
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod abi;
mod area;
mod counter;
mod cpio;
mod description;
mod descriptors;
pub mod epoll;
mod errno;
mod files;
mod number;
mod pipe;
mod ring;
pub mod socket;
mod step;
mod timer;
mod tree;
mod tty;
mod wakes;

pub use area::{AreaId, Mapping, Revoked};
pub use descriptors::Descriptors;
pub use errno::Errno;
pub use files::{
    Caller, DescriptionId, Files, Limits, Looks, Mappable, Message, NodeId, Now, Place, Signal,
    Transfer,
};
pub use step::{Answer, Key, Step};
