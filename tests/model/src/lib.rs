//! The model machine: memory and translation caches for the host tests of the hypervisor's rules.
//!
//! [`memory`] is physical memory that knows what walkers may still see, [`tlb`] the translation caches at their most
//! hostile, [`machine`] RAM with its books of frames, [`estates`] partitions
//! with areas and ports on it, [`calls`] what their guests call, [`description`] small systems. One handle per machine; no global state, so tests run side by side.

pub mod calls;
pub mod description;
pub mod estates;
pub mod machine;
pub mod memory;
pub mod tlb;
pub mod vgic_hw;

use proptest::prelude::ProptestConfig;

/// How many runs of random calls there are: 192, or `PROPTEST_CASES`, which soak runs raise.
#[must_use]
pub fn random_calls() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(192), ..ProptestConfig::default() }
}
