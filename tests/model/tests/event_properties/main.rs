//! Event ports and control signals against a model of objects that refer to each other (C1, P9).
//!
//! Several partitions make, connect, bind, mask, poll, ask, accept, refuse, close and end in any order, with stale,
//! foreign and invented handles. After each call: the same answer and the same interrupts as the model, what the
//! parties say of each other agrees, the accounts hold as much as there are ports, and a refusal has changed
//! nothing.

mod model;
mod real;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use shikiri_abi::Resource;
use shikiri_core::party::Refusal;
use shikiri_model::{random_calls, steps};

use world::{Step, World};

const PARTITIONS: usize = 3;
const HANDLES: usize = 7;
const PORTS: u64 = 6;
const RECORDS: usize = 2;
const INTIDS: [u16; 5] = [40, 41, 70, 1019, 31];
/// 70 is a device's.
const USABLE: [u16; 3] = [40, 41, 1019];

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    random_calls(&prop::collection::vec(any::<Step>(), 1..steps(250)), |steps| {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for who in 0..PARTITIONS {
            world.end(who);
            world.check();
        }
        assert!(world.model.objects.is_empty());
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
    use Refusal::{Argument, BadHandle, Empty, OverLimit, PeerGone, WrongState};
    const PORTS: Refusal = OverLimit(Resource::EventPorts);
    const TABLE: Refusal = OverLimit(Resource::ManagementMemory);
    let wanted: &[(&str, &[Refusal])] = &[
        ("create", &[PORTS, TABLE]),
        ("connect", &[BadHandle, WrongState]),
        ("bind", &[BadHandle, WrongState, Argument(2), Argument(3)]),
        ("set_notify", &[BadHandle, WrongState]),
        ("mask", &[BadHandle]),
        ("poll", &[BadHandle]),
        ("send", &[BadHandle, WrongState, Refusal::Refused, PeerGone]),
        ("ask", &[BadHandle, WrongState, TABLE]),
        ("take_signal", &[Empty, TABLE]),
        ("accept", &[BadHandle, WrongState, PeerGone]),
        ("refuse", &[BadHandle]),
        ("close", &[BadHandle]),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(any::<Step>(), 250);
    let mut seen = Vec::new();
    for _ in 0..80 {
        let mut world = World::new();
        for step in steps.new_tree(&mut runner).unwrap().current() {
            world.step(step);
        }
        seen.append(&mut world.seen);
        (0..PARTITIONS).for_each(|who| world.end(who));
    }
    for (call, refusals) in wanted {
        assert!(seen.contains(&(call, None)), "{call} never succeeded");
        for refusal in *refusals {
            assert!(seen.contains(&(call, Some(*refusal))), "{call} never answered {refusal:?}");
        }
    }
}
