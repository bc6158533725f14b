//! A policy at work on a machine that does what it is told.

use core::time::Duration;

use super::{Action, Engine, Seen};
use crate::policy::Policy;
use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status};
use shikiri_machine::{Cause, Partition, Phase, Refusal};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn reference(id: u32) -> PartitionRef {
    PartitionRef { place: PartitionSlot(0), id: PartitionId(id) }
}

/// Partitions, and the next id.
#[derive(Default)]
struct Model {
    partitions: Vec<Partition>,
    ids: u32,
    said: Vec<String>,
    permitted: Vec<(u32, u32)>,
    forbidden: Vec<(u32, u32)>,
    limits: Vec<(u32, Resource, u64)>,
    /// Who has limits already, whoever set them.
    limited: Vec<u32>,
    /// Whose device trees are known.
    trees: Vec<String>,
    /// How many of the next actions are refused.
    refuses: usize,
}

impl Model {
    fn add(&mut self, name: &str, phase: Phase, starts: u32) {
        self.ids += 1;
        self.partitions.push(Partition {
            id: reference(self.ids),
            name: name.into(),
            phase,
            cause: None,
            vcpus: 1,
            starts,
            is_dynamic: false,
            makes_policy: false,
        });
    }

    fn of(&mut self, name: &str) -> &mut Partition {
        self.partitions.iter_mut().find(|it| it.name == name).unwrap()
    }

    fn end(&mut self, name: &str, cause: Cause) {
        let it = self.of(name);
        (it.phase, it.cause) = (Phase::Ended, Some(cause));
    }

    /// One look, and everything that comes of it.
    fn turn(&mut self, engine: &mut Engine, now: Duration) -> Vec<Action> {
        let actions = engine.look(Seen { partitions: &self.partitions, now });
        for action in &actions {
            if self.refuses > 0 && !matches!(action, Action::Say(_)) {
                self.refuses -= 1;
                let refusal = Refusal::new("it", None, Status::NoMemory);
                self.said.extend(engine.refused(action, &refusal, now));
                continue;
            }
            match action {
                Action::Create(_, new) => {
                    self.add(&new.name, Phase::Created, 0);
                    let it = self.partitions.last_mut().unwrap();
                    it.is_dynamic = true;
                    if new.wants_tree() {
                        self.trees.push(new.name.clone());
                    }
                }
                Action::Limit(_, id, resource, limit) => {
                    self.limits.push((id.id.0, *resource, *limit))
                }
                Action::LimitIfUnset(_, id, resource, limit) => {
                    if !self.limited.contains(&id.id.0) {
                        self.limits.push((id.id.0, *resource, *limit));
                    }
                }
                Action::Permit(from, to) => self.permitted.push((from.id.0, to.id.0)),
                Action::Forbid(from, to) => self.forbidden.push((from.id.0, to.id.0)),
                Action::Start(position, id) => {
                    let it = self.partitions.iter_mut().find(|it| it.id == *id).unwrap();
                    if it.phase == Phase::Held {
                        it.phase = Phase::Active;
                        continue;
                    }
                    self.ids += 1;
                    let phase =
                        if self.trees.contains(&it.name) { Phase::Building } else { Phase::Active };
                    (it.id, it.phase, it.cause) = (reference(self.ids), phase, None);
                    it.starts += 1;
                    engine.started(*position, it.id);
                }
                Action::GoOn(id) => {
                    let it = self.partitions.iter_mut().find(|it| it.id == *id).unwrap();
                    assert_eq!(it.phase, Phase::Held);
                    if self.trees.contains(&it.name) {
                        it.phase = Phase::Active;
                    }
                }
                Action::Say(text) => self.said.push(text.clone()),
            }
        }
        actions
    }
}

fn engine(text: &str) -> Engine {
    Engine::new(Policy::parse(text).unwrap())
}

const CHAIN: &str = r#"
    [[partition]]
    name = "c"
    start = true
    after = ["b"]
    after_end_of = ["once"]
    delay = "20ms"

    [[partition]]
    name = "b"
    create = { image = "b.bin", memory = "2M", cores = "1" }
    limits = { memory = "4M" }
    start = true
    after = ["a"]

    [[partition]]
    name = "a"
    limits = { event_ports = 3 }
    start = true

    [[partition]]
    name = "once"

    [[talk]]
    from = "b"
    to = "a"
"#;

#[test]
fn partitions_are_made_and_started_in_the_order_of_their_conditions() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    for name in ["a", "c", "once"] {
        model.add(name, Phase::Ended, 0);
    }
    model.turn(&mut engine, ms(0));
    assert_eq!(model.of("a").phase, Phase::Active);
    assert_eq!(model.of("b").phase, Phase::Created);
    assert_eq!(
        model.limits,
        [(1, Resource::EventPorts, 3)],
        "those of b are among what it is made of"
    );
    model.turn(&mut engine, ms(1));
    assert_eq!(model.of("b").phase, Phase::Active);
    model.turn(&mut engine, ms(2));
    assert_eq!(model.of("c").phase, Phase::Ended, "`once` has not ended");
    model.of("once").starts = 1;
    model.end("once", Cause::Code(1));
    model.turn(&mut engine, ms(3));
    assert_eq!((model.of("c").phase, engine.next_look()), (Phase::Ended, None), "it has failed");
    model.end("once", Cause::Off);
    model.turn(&mut engine, ms(4));
    assert_eq!((model.of("c").phase, engine.next_look()), (Phase::Ended, Some(ms(24))));
    model.turn(&mut engine, ms(24));
    assert_eq!(model.of("c").phase, Phase::Active);
    assert_eq!(model.turn(&mut engine, ms(30)), []);
}

#[test]
fn a_condition_that_stops_holding_starts_its_delay_anew() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    for name in ["a", "c", "once"] {
        model.add(name, Phase::Ended, 0);
    }
    model.of("once").starts = 1;
    model.end("once", Cause::Off);
    for now in 0..3 {
        model.turn(&mut engine, ms(now));
    }
    assert_eq!(engine.next_look(), Some(ms(22)));
    model.end("b", Cause::Fault);
    model.turn(&mut engine, ms(10));
    assert_eq!(engine.next_look(), None);
    model.of("b").phase = Phase::Active;
    model.turn(&mut engine, ms(22));
    assert_eq!((model.of("c").phase, engine.next_look()), (Phase::Ended, Some(ms(42))));
}

#[test]
fn who_may_talk_is_said_for_each_life() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.add("b", Phase::Active, 1);
    model.turn(&mut engine, ms(0));
    model.turn(&mut engine, ms(1));
    assert_eq!(model.permitted, [(2, 1)]);
    model.of("b").id = reference(9);
    model.turn(&mut engine, ms(2));
    assert_eq!(model.permitted, [(2, 1), (9, 1)]);
}

#[test]
fn a_permission_for_a_life_that_was_just_followed_by_another_is_said_again_for_that_one() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.add("b", Phase::Active, 1);
    let actions = engine.look(Seen { partitions: &model.partitions, now: ms(0) });
    let permit = actions.iter().find(|it| matches!(it, Action::Permit(..))).unwrap();
    let gone = Refusal::new("permission", None, Status::PeerGone);
    assert_eq!(engine.refused(permit, &gone, ms(0)), None, "nobody is told");
    model.turn(&mut engine, ms(1));
    assert_eq!(model.permitted, [(2, 1)]);
}

#[test]
fn a_policy_that_is_started_again_finds_the_machine_as_it_is() {
    let mut first = engine(CHAIN);
    let mut model = Model::default();
    for name in ["a", "c", "once"] {
        model.add(name, Phase::Ended, 0);
    }
    for now in 0..3 {
        model.turn(&mut first, ms(now));
    }
    let before = model.partitions.clone();
    let mut second = engine(CHAIN);
    second.go_on(&first.notes());
    let actions = model.turn(&mut second, ms(0));
    assert_eq!(actions, [], "nothing is done twice");
    assert_eq!(model.partitions, before);
}

#[test]
fn whoever_is_not_named_may_not_talk_before_anybody_is_started_if_the_policy_says_so() {
    let mut engine = engine(&format!("[policy]\ntalk = \"only\"\n{CHAIN}"));
    let mut model = Model::default();
    for (name, phase) in [("a", Phase::Ended), ("b", Phase::Active), ("x", Phase::Active)] {
        model.add(name, phase, 0);
    }
    let actions = model.turn(&mut engine, ms(0));
    let is_talk = |it: &Action| matches!(it, Action::Permit(..) | Action::Forbid(..));
    assert!(actions.iter().take(6).all(is_talk), "{actions:?}");
    assert_eq!(model.permitted, [(2, 1)]);
    assert_eq!(model.forbidden, [(1, 2), (1, 3), (2, 3), (3, 1), (3, 2)]);
    model.forbidden.clear();
    // `a` was started, and is told apart from the life before.
    model.turn(&mut engine, ms(1));
    assert_eq!(model.forbidden, [(4, 2), (4, 3), (3, 4)]);
    assert_eq!(model.turn(&mut engine, ms(2)), []);
}

const RESTARTING: &str = r#"
    [[partition]]
    name = "a"
    start = true
    restart = { on = "failure", delay = "100ms", factor = 2, longest = "1s", give_up_after = 2, window = "1m" }
"#;

#[test]
fn what_fails_is_started_again_further_apart_and_then_no_more() {
    let mut engine = engine(RESTARTING);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.turn(&mut engine, ms(0));
    model.end("a", Cause::Fault);
    model.turn(&mut engine, ms(10));
    assert_eq!(engine.next_look(), Some(ms(110)));
    model.turn(&mut engine, ms(50));
    assert_eq!((model.of("a").phase, engine.next_look()), (Phase::Ended, Some(ms(110))));
    model.turn(&mut engine, ms(110));
    assert_eq!(model.of("a").phase, Phase::Active);
    model.end("a", Cause::Code(7));
    model.turn(&mut engine, ms(120));
    model.turn(&mut engine, ms(320));
    assert_eq!(model.of("a").phase, Phase::Active);
    model.end("a", Cause::Fault);
    model.turn(&mut engine, ms(330));
    model.turn(&mut engine, ms(100_000));
    assert_eq!(model.of("a").phase, Phase::Ended);
    assert_eq!(
        model.said,
        [
            "a (id 1) has ended (fault): started again in 100ms",
            "a (id 2) has ended (code 7): started again in 200ms",
            "a (id 3) has ended (fault) too often: it stays so",
        ]
    );
}

#[test]
fn what_the_operator_stopped_stays_stopped() {
    let mut engine = engine(RESTARTING);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.end("a", Cause::Stopped);
    assert_eq!(model.turn(&mut engine, ms(0)), []);
    assert_eq!(engine.next_look(), None);
}

#[test]
fn what_is_refused_is_tried_again_later_and_later() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.add("c", Phase::Ended, 0);
    model.add("once", Phase::Ended, 0);
    model.refuses = 1;
    model.turn(&mut engine, ms(0));
    assert_eq!(model.said, ["b: it: out of memory; tried again in 1s"]);
    assert_eq!(engine.next_look(), Some(ms(1000)), "nothing else tells it to look again");
    assert_eq!(model.turn(&mut engine, ms(999)), []);
    assert_eq!(engine.next_look(), Some(ms(1000)));
    model.refuses = 1;
    model.turn(&mut engine, ms(1000));
    assert_eq!(model.said.last().unwrap(), "b: it: out of memory; tried again in 2s");
    model.turn(&mut engine, ms(3000));
    model.turn(&mut engine, ms(3001));
    assert_eq!(model.of("b").phase, Phase::Active);
}

#[test]
fn a_restart_that_is_refused_is_tried_again() {
    let mut engine = engine(RESTARTING);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.end("a", Cause::Code(7));
    model.turn(&mut engine, ms(0));
    let at = engine.next_look().unwrap();
    model.refuses = 1;
    model.turn(&mut engine, at);
    let again = engine.next_look().unwrap();
    assert!(again > at);
    model.turn(&mut engine, again);
    assert_eq!(model.of("a").phase, Phase::Active);
}

#[test]
fn a_partition_that_nobody_makes_is_told_once() {
    let mut engine = engine("[[partition]]\nname = \"ghost\"\nstart = true");
    let mut model = Model::default();
    model.turn(&mut engine, ms(0));
    model.turn(&mut engine, ms(1));
    assert_eq!(model.said, ["ghost: neither the description nor `create` makes it"]);
}

#[test]
fn who_is_made_by_hand_under_the_name_of_one_that_was_destroyed_has_the_policy_s_limits() {
    let mut engine = engine("[[partition]]\nname = \"a\"\nlimits = { event_ports = 3 }");
    let mut model = Model::default();
    for now in [0, 2] {
        model.add("a", Phase::Created, 0);
        model.turn(&mut engine, ms(now));
        assert_eq!(model.turn(&mut engine, ms(now)), []);
        model.partitions.clear();
        model.turn(&mut engine, ms(now + 1));
    }
    assert_eq!(model.limits, [1, 2].map(|id| (id, Resource::EventPorts, 3)));
}

#[test]
fn one_that_was_destroyed_is_made_again() {
    let mut engine = engine(CHAIN);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.turn(&mut engine, ms(0));
    model.partitions.retain(|it| it.name != "b");
    let actions = model.turn(&mut engine, ms(1));
    assert!(matches!(actions.as_slice(), [Action::Create(1, _), ..]), "{actions:?}");
}

const LINUX: &str = r#"
    [[partition]]
    name = "debian"
    create = { kernel = "linux/Image", initrd = "linux/initrd.cpio", cmdline = "quiet", memory = "128M", cores = "1" }
    start = true
    restart = { on = "end" }
"#;

#[test]
fn what_needs_a_device_tree_is_started_again_once_it_is_held() {
    let mut engine = engine(LINUX);
    let mut model = Model::default();
    model.turn(&mut engine, ms(0));
    for (life, now) in [(1, ms(1000)), (2, ms(2000))] {
        model.turn(&mut engine, now);
        let it = model.of("debian");
        assert_eq!((it.phase, it.starts), (Phase::Building, life));
        assert_eq!(model.turn(&mut engine, now), [], "it is built in its own time");
        model.of("debian").phase = Phase::Held;
        model.turn(&mut engine, now);
        assert_eq!(model.of("debian").phase, Phase::Active);
        model.end("debian", Cause::Off);
        model.turn(&mut engine, now);
    }
}

#[test]
fn a_life_that_the_policy_began_is_started_again_once_it_is_held_whoever_made_it() {
    let mut engine = engine("[[partition]]\nname = \"l\"\nrestart = { on = \"end\" }");
    let mut model = Model::default();
    // Made and started from the shell, with a tree.
    model.add("l", Phase::Held, 1);
    model.trees.push("l".to_owned());
    assert_eq!(model.turn(&mut engine, ms(0)), [], "whoever began it goes on with it");
    model.end("l", Cause::Off);
    model.turn(&mut engine, ms(1));
    let again = engine.next_look().unwrap();
    model.turn(&mut engine, again);
    assert_eq!((model.of("l").phase, model.of("l").starts), (Phase::Building, 2));
    model.of("l").phase = Phase::Held;
    model.turn(&mut engine, again);
    assert_eq!(model.of("l").phase, Phase::Active);
    // Another life, that somebody else began; that it was made, which would change that, this machine does not say.
    model.of("l").id = reference(9);
    model.of("l").phase = Phase::Held;
    assert_eq!(model.turn(&mut engine, again), []);
}

#[test]
fn one_that_was_made_by_hand_goes_on_when_it_has_begun_again_by_itself() {
    let mut engine = engine("[[partition]]\nname = \"m\"");
    let mut model = Model::default();
    for name in ["l", "m", "n", "d"] {
        model.add(name, Phase::Held, 2);
    }
    ["l", "m", "n"].iter().for_each(|name| model.of(name).is_dynamic = true);
    model.trees.extend(["l".to_owned(), "m".to_owned()]);
    assert_eq!(
        model.turn(&mut engine, ms(0)),
        [1, 2, 3].map(|id| Action::GoOn(reference(id))),
        "`d` is the description's"
    );
    let phases = ["l", "m", "n", "d"].map(|name| model.of(name).phase);
    assert_eq!(phases, [Phase::Active, Phase::Active, Phase::Held, Phase::Held]);
}

#[test]
fn one_that_may_not_go_on_is_tried_again_although_nothing_happens() {
    let mut engine = engine("");
    let mut model = Model { trees: vec!["l".to_owned()], refuses: 1, ..Model::default() };
    model.add("l", Phase::Held, 2);
    model.of("l").is_dynamic = true;
    model.turn(&mut engine, ms(5));
    assert_eq!((model.of("l").phase, engine.next_look()), (Phase::Held, Some(ms(1005))));
    assert!(
        model.said.iter().all(|text| text.ends_with("; tried again in 1s")),
        "{:?}",
        model.said
    );
    model.turn(&mut engine, ms(1005));
    assert_eq!((model.of("l").phase, engine.next_look()), (Phase::Active, None));
}

#[test]
fn what_needs_a_device_tree_is_started_whichever_policy_program_made_it() {
    for (phase, next) in [(Phase::Created, Phase::Building), (Phase::Held, Phase::Active)] {
        let mut engine = engine(LINUX);
        let mut model = Model { trees: vec!["debian".to_owned()], ..Model::default() };
        model.add("debian", phase, 0);
        model.turn(&mut engine, ms(0));
        assert_eq!(model.of("debian").phase, next);
    }
}

/// Tests of what a policy program leaves to the next one.
mod successor;
