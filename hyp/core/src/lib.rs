//! The rules of the hypervisor, as ordinary Rust: state in, decision out.
//!
//! Everything about partitions, accounts, frame ownership, scheduling, PSCI, the console and the policy of
//! traps lives here, without assembly, MMIO or a clock, and is tested on the host. The EL2 binary supplies
//! the hardware through the traits of `shikiri_arch::hw` and applies the decisions.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod account;
pub mod area;
pub mod bootlog;
pub mod call;
pub mod channel;
pub mod console;
pub mod event;
pub mod frame;
pub mod handle;
pub mod invariants;
pub mod lifecycle;
pub mod object;
pub mod operator;
pub mod partition;
pub mod party;
pub mod policy;
pub mod power;
pub mod psci;
pub mod report;
pub mod sched;
pub mod share;
pub mod sysreg;
pub mod trace;
pub mod vmid;
pub mod vuart;
