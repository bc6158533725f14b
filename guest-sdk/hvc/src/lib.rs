//! Calls from a guest to what lies below it.
//!
//! [`partition`], [`talk`], [`message`], [`shared`], [`object`] and [`policy`] hold one typed function for each row of the
//! hypervisor's call table (`shikiri_abi::CALLS`);
//! the function ids come from that table and a call without a wrapper does not compile. [`psci`] and [`smccc`]
//! are the standard services, which a bare machine's firmware answers too. [`raw`] is what they are made of.
//!
//! Nothing here keeps state, allocates or waits.
#![no_std]

pub mod look;
pub mod message;
pub mod object;
pub mod partition;
pub mod policy;
pub mod psci;
pub mod raw;
pub mod shared;
pub mod smccc;
pub mod talk;

pub use raw::Conduit;
