//! The hypervisor binary: EL2 on every board.
//!
//! It decides nothing. `boot` takes the machine from reset to the run loop, `guest` holds the vectors and
//! the way in and out of vCPUs, `hw` implements the hardware traits of `shikiri_arch::hw`, and everything
//! that is a rule is asked of `shikiri_core`.
#![no_std]
#![no_main]

mod boot;
mod console;
mod fault;
mod guest;
mod hw;
mod operator;
mod percore;
mod place;
mod regs;
mod report;
mod world;
