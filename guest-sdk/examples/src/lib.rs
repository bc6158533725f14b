//! What two of the examples agree on.
#![no_std]

pub mod store;
