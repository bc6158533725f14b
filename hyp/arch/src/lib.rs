//! Facts of the Arm architecture, as pure functions and types.
//!
//! `exit` turns a syndrome into an [`Exit`], and `indexed` what has none; `idreg` gives the guest's view of the ID registers;
//! `trap_config` the trap bits that go with it; `inject` what a guest finds at its own vector;
//! `el2_map` EL2's own tables; `errata` the cores' bugs by MIDR; `hw` holds the five hardware traits that the core is
//! generic over. Nothing here touches hardware.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod board;
pub mod devicetree;
pub mod el2_map;
pub mod errata;
pub mod exit;
pub mod hw;
pub mod idreg;
pub mod indexed;
pub mod inject;
pub mod trap_config;

pub use exit::Exit;
