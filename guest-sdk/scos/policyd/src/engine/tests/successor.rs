//! One policy program goes on where another has stopped.

use super::{Model, RESTARTING, engine, ms, reference};
use crate::engine::Action;
use shikiri_abi::Resource;
use shikiri_machine::{Cause, Phase};

const LIMITED: &str = r#"
    [[partition]]
    name = "a"
    limits = { event_ports = 4, memory = "8M" }
    start = true
"#;

#[test]
fn limits_are_set_once_whoever_changed_them_since() {
    let mut first = engine(LIMITED);
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    model.turn(&mut first, ms(0));
    assert_eq!(model.limits, [(1, Resource::EventPorts, 4), (1, Resource::Memory, 2048)]);
    let mut second = engine(LIMITED);
    second.go_on(&first.notes());
    assert_eq!(model.turn(&mut second, ms(1)), []);
    // Another file: what it says otherwise is set.
    let mut other = engine(&LIMITED.replace("8M", "12M"));
    other.go_on(&second.notes());
    model.turn(&mut other, ms(2));
    assert_eq!(model.limits.get(2..), Some([(1, Resource::Memory, 3072)].as_slice()));
}

#[test]
fn a_limit_that_was_refused_is_not_noted_as_set() {
    let mut first = engine(LIMITED);
    let mut model = Model { refuses: 1, ..Model::default() };
    model.add("a", Phase::Active, 1);
    model.turn(&mut first, ms(0));
    let mut second = engine(LIMITED);
    second.go_on(&first.notes());
    model.turn(&mut second, ms(0));
    assert_eq!(model.limits, [(1, Resource::Memory, 2048), (1, Resource::EventPorts, 4)]);
}

#[test]
fn without_notes_only_limits_that_are_not_set_are_set() {
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    for (limited, expected) in [(vec![1], vec![]), (vec![], vec![4, 2048])] {
        let mut next = engine(LIMITED);
        model.limited = limited;
        assert!(next.find(&model.partitions, &[]).is_empty());
        model.turn(&mut next, ms(0));
        let set: Vec<u64> = model.limits.iter().map(|(_, _, limit)| *limit).collect();
        assert_eq!(set, expected);
    }
}

/// `a` fails until it is given up, and each restart is done by another policy program.
#[test]
fn one_that_was_given_up_stays_so_and_pauses_grow_whichever_policy_program_looks() {
    let mut model = Model::default();
    model.add("a", Phase::Active, 1);
    let mut notes = String::new();
    let mut now = ms(0);
    for pause in [Some(100), Some(200), None, None] {
        if model.of("a").phase == Phase::Active {
            model.end("a", Cause::Fault);
        }
        // One sees the end, and another one starts it again.
        for _ in 0..2 {
            let mut next = engine(RESTARTING);
            next.go_on(&notes);
            model.turn(&mut next, now);
            notes = next.notes();
            assert_eq!(next.next_look(), pause.map(|pause| now + ms(pause)));
        }
        now += ms(pause.unwrap_or(500));
        let mut next = engine(RESTARTING);
        next.go_on(&notes);
        model.turn(&mut next, now);
        notes = next.notes();
        assert_eq!(model.of("a").phase == Phase::Active, pause.is_some());
    }
    assert_eq!(
        model.said,
        [
            "a (id 1) has ended (fault): started again in 100ms",
            "a (id 2) has ended (fault): started again in 200ms",
            "a (id 3) has ended (fault) too often: it stays so",
        ]
    );
}

#[test]
fn a_life_that_was_begun_goes_on_once_it_is_held_whichever_policy_program_looks() {
    let mut model = Model::default();
    model.add("a", Phase::Ended, 0);
    model.trees.push("a".to_owned());
    let mut first = engine(RESTARTING);
    model.turn(&mut first, ms(0));
    assert_eq!(model.of("a").phase, Phase::Building);
    model.of("a").phase = Phase::Held;
    let mut second = engine(RESTARTING);
    second.go_on(&first.notes());
    model.turn(&mut second, ms(1));
    assert_eq!(model.of("a").phase, Phase::Active);
}

/// The system was restarted: who had ended before its eyes, too often, stays ended; who has ended since is started again.
#[test]
fn without_notes_one_that_ended_while_nobody_looked_is_started_again_and_one_given_up_is_not() {
    let always = RESTARTING.replace("\"failure\"", "\"end\"");
    assert_ne!(always, RESTARTING);
    for (policy, starts, is_told, cause, is_again) in [
        (RESTARTING, 3, false, Cause::Fault, false),
        (RESTARTING, 3, true, Cause::Fault, true),
        (RESTARTING, 2, false, Cause::Fault, true),
        (RESTARTING, 3, false, Cause::Off, false),
        (always.as_str(), 3, false, Cause::Fault, false),
        // A job that is done again and again has not failed.
        (always.as_str(), 4, false, Cause::Off, true),
        (always.as_str(), 4, false, Cause::Code(0), true),
    ] {
        let mut model = Model::default();
        model.add("a", Phase::Ended, starts);
        model.end("a", cause);
        let mut next = engine(policy);
        let told = if is_told { vec![reference(1)] } else { vec![] };
        let said = next.find(&model.partitions, &told);
        let text = "a (id 1) had ended (fault) and was started 3 times: it stays so".to_owned();
        let is_given_up = (starts, is_told, cause) == (3, false, Cause::Fault);
        assert_eq!(said, if is_given_up { vec![text] } else { vec![] });
        let actions = model.turn(&mut next, ms(0));
        assert_eq!(next.next_look(), is_again.then_some(ms(100)), "{actions:?}");
        assert_eq!(actions.iter().any(|it| matches!(it, Action::Say(_))), is_again);
    }
}
