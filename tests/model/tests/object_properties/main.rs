//! Named objects against a model of what their openers may expect (V4).
//!
//! Several partitions open, post, try, choose ports, close and end in any order, with stale, foreign and invented handles;
//! what they owe each other is told at once or, as by a slow core, after other calls. After each call: the same
//! answer and the same interrupts as the model, table, handles and accounts agree, a refusal has changed nothing, and
//! whoever waits for what is there was told.

mod model;
mod real;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use shikiri_abi::{ObjectKind, Units};
use shikiri_config::{NameEntry, PartitionSet};
use shikiri_model::{random_calls, steps};

use world::{Step, World};

const PARTITIONS: usize = 3;
const HANDLES: usize = 6;
/// Objects that a partition can pay for.
const SHARES: u64 = 3;
const ENTRIES: [NameEntry<'_>; 2] = [
    NameEntry { text: "solo", is_prefix: false, partitions: PartitionSet(0b011), objects: 1 },
    NameEntry { text: "log/", is_prefix: true, partitions: PartitionSet(0b111), objects: 3 },
];
const ROWS: usize = 4;
const NAMES: [&str; 6] = ["solo", "log/a", "log/b", "log/c", "log/d", "other"];
const KINDS: [ObjectKind; 5] = [
    ObjectKind::Event,
    ObjectKind::Semaphore { initial: 1, maximum: 2, units: Units::Held },
    ObjectKind::Semaphore { initial: 0, maximum: 2, units: Units::Spent },
    ObjectKind::Queue { depth: 1 },
    ObjectKind::Queue { depth: 3 },
];

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    random_calls(&prop::collection::vec(any::<Step>(), 1..steps(250)), |steps| {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.catch_up();
        for who in 0..PARTITIONS {
            world.end(who, false);
            world.check();
        }
        assert!(world.model.rows.iter().all(Option::is_none));
        world.calls
    });
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn the_random_calls_reach_every_answer() {
    let wanted = [
        "open",
        "open: NotPermitted",
        "open: Exists",
        "open: OverLimit(ManagementMemory)",
        "open: Full",
        "try",
        "try: BadHandle",
        "try: Empty",
        "post",
        "post: BadHandle",
        "post: Argument(2)",
        "post: Range",
        "post: Full",
        "close",
        "close: BadHandle",
        "notify",
        "notify: BadHandle",
        "notify: WrongState",
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(any::<Step>(), 250);
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let mut world = World::new();
        for step in steps.new_tree(&mut runner).unwrap().current() {
            world.step(step);
        }
        seen.append(&mut world.seen);
    }
    for answer in wanted {
        assert!(seen.contains(answer), "never seen: {answer}");
    }
}
