//! What the test guests share: a report that the host reads, and faults as results.
//!
//! A test guest runs its cases in order and prints `ok NAME` or `FAIL NAME: WHY` for each, then `done` (or
//! `done, N failed`), and turns itself off. `case=NAME` on the command line runs that one only.
#![no_std]

pub mod answers;
pub mod code;
pub mod complete;
pub mod cycles;
pub mod fault;
pub mod interrupts;
pub mod many;
pub mod points;
pub mod port;
pub mod random;
pub mod report;
pub mod taken;

pub use report::{Failure, case, done, ensure, equal};
