//! What the system control OS's kernel decides, without the machine: address spaces and their tables, frames, programs'
//! files, futexes, signals, whose turn it is, when the timer comes, the scale of the clock, requests that were taken, and the
//! table of system calls.
//!
//! State in, decision out: nothing here touches memory of a program by its address or reads a clock. Frames are reached
//! through [`Memory`], which the kernel implements on the machine and the tests with a vector.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alarm;
pub mod calls;
pub mod elf;
mod frames;
mod futex;
mod guest;
mod scale;
pub mod signal;
mod space;
mod taken;
#[cfg(test)]
mod testing;
mod turn;
mod typed;

pub use alarm::{Alarm, interrupt_at};
pub use frames::{FRAME_BYTES, Frame, Memory, PAGE, Pool};
pub use futex::{Futexes, Word};
pub use guest::Guest;
pub use scale::Scale;
pub use space::{Access, Area, Protection, Space, USER_END};
pub use taken::Taken;
pub use turn::Turns;
pub use typed::{Receiver, take_typed};
