//! What two of the examples agree on.
#![no_std]

extern crate alloc;

pub mod store;
