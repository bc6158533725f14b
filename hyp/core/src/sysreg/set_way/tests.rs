//! Walks as real software makes them: each cleans, once for each level, wherever others begin or end meanwhile.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

use super::decide;
use crate::sysreg::SysregOutcome;
use proptest::prelude::*;
use std::vec::Vec;

/// A cache as CCSIDR_EL1 describes it.
#[derive(Clone, Copy, Debug)]
struct Cache {
    ways: u64,
    sets: u64,
    /// Log2 of the bytes of a line.
    line: u32,
}

impl Cache {
    const fn new(ways: u64, sets: u64, line: u32) -> Self {
        Self { ways, sets, line }
    }

    /// The operand for a line (Arm ARM, DC CISW). A cache with one way has no bits for it.
    fn operand(self, level: u64, way: u64, set: u64) -> u64 {
        let way_bits = self.ways.next_power_of_two().trailing_zeros();
        (way << (32 - way_bits)) | (set << self.line) | (level << 1)
    }
}

/// Levels of data cache from the first on.
const CORES: [(&str, &[Cache]); 5] = [
    ("Cortex-A72", &[Cache::new(2, 256, 6), Cache::new(16, 1024, 6)]),
    ("Cortex-A53", &[Cache::new(4, 128, 6), Cache::new(16, 512, 6)]),
    ("three levels", &[Cache::new(4, 256, 6), Cache::new(8, 1024, 6), Cache::new(12, 4096, 6)]),
    ("one way", &[Cache::new(1, 512, 5)]),
    ("ways that are no power of two", &[Cache::new(3, 64, 7), Cache::new(11, 2048, 7)]),
];

/// A loop over one level: its operands in order.
type Loop = fn(Cache, u64) -> Vec<u64>;

/// The loops of real software, by the order of their two counters.
const LOOPS: [(&str, Loop); 4] = [
    ("the Arm ARM's example, TF-A: ways down, in each all sets down", |cache, level| {
        let all = (0..cache.ways)
            .rev()
            .flat_map(|way| (0..cache.sets).rev().map(move |set| cache.operand(level, way, set)));
        all.collect()
    }),
    ("Linux of old, U-Boot, EDK2: sets down, in each all ways down", |cache, level| {
        let all = (0..cache.sets)
            .rev()
            .flat_map(|set| (0..cache.ways).rev().map(move |way| cache.operand(level, way, set)));
        all.collect()
    }),
    ("NetBSD: ways up, in each all sets up", |cache, level| {
        let all = (0..cache.ways)
            .flat_map(|way| (0..cache.sets).map(move |set| cache.operand(level, way, set)));
        all.collect()
    }),
    ("small kernels: sets up, in each all ways up", |cache, level| {
        let all = (0..cache.sets)
            .flat_map(|set| (0..cache.ways).map(move |way| cache.operand(level, way, set)));
        all.collect()
    }),
];

fn cleans(operand: u64) -> bool {
    let outcome = decide(operand);
    assert!(matches!(outcome, SysregOutcome::CleanMemory | SysregOutcome::Ignored), "{outcome:?}");
    outcome == SysregOutcome::CleanMemory
}

fn cleanings(walk: &[u64]) -> usize {
    walk.iter().filter(|operand| cleans(**operand)).count()
}

#[test]
fn every_real_walk_cleans_once_for_each_level() {
    for ((core, levels), (software, walk)) in
        CORES.iter().flat_map(|core| LOOPS.iter().map(move |walk| (core, walk)))
    {
        for (level, cache) in (0..).zip(*levels) {
            let operands = walk(*cache, level);
            assert_eq!(u64::try_from(operands.len()), Ok(cache.ways * cache.sets));
            assert_eq!(cleanings(&operands), 1, "{core}, level {}, {software}", level + 1);
        }
    }
}

#[test]
fn the_same_walk_again_cleans_again() {
    for (software, walk) in LOOPS {
        let (_, levels) = CORES[0];
        let whole: Vec<u64> =
            (0..).zip(levels).flat_map(|(level, cache)| walk(*cache, level)).collect();
        assert_eq!(whole.len(), 16_896, "an A72's lines");
        assert_eq!(cleanings(&[whole.clone(), whole].concat()), 4, "{software}");
    }
}

/// Two lines at one place would have one operand, and the loops above would prove less.
#[test]
fn each_line_has_an_operand_of_its_own() {
    for (core, levels) in CORES {
        let mut all: Vec<u64> =
            (0..).zip(levels).flat_map(|(level, cache)| LOOPS[0].1(*cache, level)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{core}");
    }
}

proptest! {
    /// All of a level's operands are seen, so that the order is of no account.
    #[test]
    fn of_any_geometry_one_line_cleans(
        ways in 1_u64..64,
        sets in 1_u64..512,
        line in 4_u32..12,
        level in 0_u64..7,
    ) {
        prop_assert_eq!(cleanings(&LOOPS[0].1(Cache::new(ways, sets, line), level)), 1);
    }

    /// A walk in an interrupt handler, or on another vCPU, however the two are mixed: from the begin of each to its end there
    /// is a cleaning that is its own.
    #[test]
    fn whatever_comes_between_each_walk_cleans_before_it_ends(
        first in 0_usize..LOOPS.len(),
        second in 0_usize..LOOPS.len(),
        turns in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let cache = Cache::new(4, 128, 6);
        let walks = [LOOPS[first].1(cache, 0), LOOPS[second].1(cache, 0)];
        let mut left = walks.each_ref().map(|walk| walk.iter());
        let mut own = [0, 0];
        for (turn, length) in turns.iter().chain(&[512, 512]).enumerate() {
            let which = turn % 2;
            let part = left[which].by_ref().take(*length);
            own[which] += part.filter(|operand| cleans(**operand)).count();
        }
        prop_assert!(left.iter().all(|rest| rest.len() == 0), "both are over");
        prop_assert_eq!(own, [1, 1]);
    }

    /// Software that leaves something in bits that should be zero has its walk all the same.
    #[test]
    fn reserved_bits_decide_nothing(operand: u64, reserved: u32) {
        let level_and_reserved = (u64::from(reserved) << 32) | u64::from(reserved & 0xf);
        prop_assert_eq!(cleans(operand), cleans(operand ^ level_and_reserved));
    }
}
