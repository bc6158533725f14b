//! The bundle as a whole: written, read, damaged, and with each rule broken.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test that overflows or misses fails"
)]

mod channels;
mod policy;
mod round_trip;
mod rules;
mod sample;
mod services;
mod talking;
