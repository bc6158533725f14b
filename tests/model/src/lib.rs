//! The model machine: memory and translation caches for the host tests of the hypervisor's rules.
//!
//! [`memory`] is physical memory that knows what walkers may still see, [`tlb`] the translation caches at their most
//! hostile, [`mutant`] what breaks a sequence on its way to them, [`machine`] RAM with its books of frames, [`estates`] partitions
//! with areas and ports on it, [`regime`] cores between two vCPUs, [`calls`] what their guests call, [`description`] small systems;
//! [`spec`] what each call answers, [`lockstep`] core and specification side by side, [`guests`] who makes any calls there, [`answers`] what they
//! are to answer among them. One handle per machine; no global state, so tests run side by side.

pub mod answers;
pub mod calls;
pub mod description;
pub mod estates;
pub mod guests;
pub mod lockstep;
pub mod machine;
pub mod memory;
pub mod mutant;
pub mod regime;
pub mod spec;
pub mod tlb;
pub mod vgic_hw;

use std::cell::Cell;

use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::TestRunner;

/// How a property is tried: with `usual` cases, or under Miri, which is a thousand times slower, with `PROPTEST_CASES`.
#[must_use]
pub fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if cfg!(miri) { default.cases } else { usual };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// The most steps of one random case: `usual`, or under Miri an eighth of that.
#[must_use]
pub const fn steps(usual: usize) -> usize {
    if cfg!(miri) { usual / 8 } else { usual }
}

/// Areas of more pages than this are left out where a test tries several sizes: under Miri, which takes milliseconds for each.
pub const MOST_PAGES: u64 = if cfg!(miri) { 64 } else { 1 << 20 };

/// Bytes of a large guest image: with checksums bit by bit, a byte takes Miri some microseconds.
pub const IMAGE_BYTES: usize = if cfg!(miri) { 9_001 } else { 700_001 };

/// Runs of random calls: 192 cases, or `PROPTEST_CASES`, which `cargo xtask soak model` raises; `PROPTEST_RNG_SEED` repeats
/// them. A case answers how many calls it has made. Prints how many cases and calls there were.
///
/// # Panics
/// A case does: with what it was, made as small as possible.
pub fn random_calls<S: Strategy>(steps: &S, case: impl Fn(S::Value) -> u64) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(192);
    // A long case takes a second; a minute makes a failure small enough to read.
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    let calls = Cell::new(0_u64);
    let mut runner = TestRunner::new(config);
    let done = runner.run(steps, |steps| {
        calls.set(calls.get() + case(steps));
        Ok(())
    });
    if let Err(failure) = done {
        panic!("{failure}\n{runner}");
    }
    println!("{cases} cases, {} calls", calls.get());
}
