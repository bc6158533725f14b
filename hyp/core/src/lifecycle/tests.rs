//! Tests of the lifecycle.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

use std::format;

use super::{After, EndCause, Lifecycle, Phase, RESTART_BURST, RESTART_SPACING_MS, WrongPhase};
use shikiri_abi::{Hold, PartitionId, PartitionState};
use shikiri_config::{Restart, RestartPolicy};

fn restart(policy: RestartPolicy) -> Restart {
    Restart { policy, max: 3, window_ms: 100, delay_ms: 5 }
}

fn active(id: u32) -> Lifecycle {
    let mut life = Lifecycle::new();
    life.start(PartitionId(id), Hold::No).unwrap();
    assert_eq!(life.built(), Phase::Active);
    life
}

fn after(cause: EndCause, policy: RestartPolicy) -> After {
    let mut life = active(1);
    assert!(life.end(cause));
    life.stopped();
    life.torn_down(restart(policy), 1000, 10)
}

#[test]
fn the_policy_decides_what_follows_each_end() {
    use EndCause::{Code, Fault, Off, Operator, OperatorRestart, Policy, PolicyRestart, Reset};
    use RestartPolicy::{Always, Never, OnFault};
    let again = After::StartAt(1050);
    for (cause, expected) in [
        (Off, [After::Stay, After::Stay, again]),
        (Code(0), [After::Stay, After::Stay, again]),
        (Code(1), [After::Stay, again, again]),
        (Fault, [After::Stay, again, again]),
        (Reset, [again, again, again]),
        (Operator, [After::Stay, After::Stay, After::Stay]),
        (Policy, [After::Stay, After::Stay, After::Stay]),
        (PolicyRestart, [After::StartAt(1000), After::StartAt(1000), After::StartAt(1000)]),
        (OperatorRestart, [After::StartAt(1000), After::StartAt(1000), After::StartAt(1000)]),
    ] {
        for (policy, expected) in [Never, OnFault, Always].into_iter().zip(expected) {
            assert_eq!(after(cause, policy), expected, "{cause:?} under {policy:?}");
        }
    }
}

#[test]
fn a_partition_that_fails_too_often_is_given_up_until_the_window_has_passed() {
    let mut life = active(1);
    let mut outcomes = std::vec::Vec::new();
    for now in [10_000, 10_100, 10_200, 10_300, 20_000] {
        assert!(life.end(EndCause::Fault));
        life.stopped();
        outcomes.push(life.torn_down(restart(RestartPolicy::OnFault), now, 10));
        life.start(PartitionId(2), Hold::No).unwrap();
        assert_eq!(life.built(), Phase::Active);
    }
    let given_up: std::vec::Vec<_> =
        outcomes.iter().map(|after| *after == After::GivenUp).collect();
    assert_eq!(given_up, [false, false, false, true, false]);
}

proptest::proptest! {
    /// Whatever a guest does to be restarted, and whatever delay the description has: over any stretch of time the
    /// restarts keep to their rate, none comes before its delay, and one after a quiet time is not held back.
    #[test]
    fn restarts_keep_their_distance_in_the_long_run(
        lives in proptest::collection::vec(0_u64..3000, 1..60),
        delay_ms in 0_u32..300,
    ) {
        const TICKS: u64 = 10;
        let restart =
            Restart { policy: RestartPolicy::Never, max: 0, window_ms: 0, delay_ms };
        let mut life = active(1);
        let (mut now, mut starts) = (0_u64, std::vec::Vec::new());
        for lived in lives {
            now += lived;
            assert!(life.end(EndCause::Reset));
            life.stopped();
            let After::StartAt(at) = life.torn_down(restart, now, TICKS) else { panic!() };
            let earliest = now + u64::from(delay_ms) * TICKS;
            assert!(at >= earliest);
            let quiet = (RESTART_BURST + 1) * RESTART_SPACING_MS * TICKS;
            if starts.last().is_none_or(|last| earliest >= last + quiet) {
                assert_eq!(at, earliest);
            }
            now = at;
            starts.push(at);
            life.start(PartitionId(2), Hold::No).unwrap();
            assert_eq!(life.built(), Phase::Active);
        }
        for (index, from) in starts.iter().enumerate() {
            for (count, to) in (1..).zip(&starts[index..]) {
                let bound = RESTART_BURST + 1 + (to - from) / (RESTART_SPACING_MS * TICKS);
                assert!(count <= bound, "{count} restarts in {} ticks", to - from);
            }
        }
    }
}

#[test]
fn the_operators_restarts_are_neither_held_back_nor_counted() {
    let mut life = active(1);
    for now in 0..20 {
        assert!(life.end(EndCause::OperatorRestart));
        life.stopped();
        let restart = restart(RestartPolicy::Never);
        assert_eq!(life.torn_down(restart, now, 10), After::StartAt(now));
        life.start(PartitionId(2), Hold::No).unwrap();
        assert_eq!(life.built(), Phase::Active);
    }
    assert!(life.end(EndCause::Reset));
    life.stopped();
    assert_eq!(life.torn_down(restart(RestartPolicy::Never), 20, 10), After::StartAt(70));
}

#[test]
fn an_end_during_the_build_takes_effect_when_it_is_complete() {
    let mut life = Lifecycle::new();
    life.start(PartitionId(1), Hold::No).unwrap();
    assert!(!life.end(EndCause::Operator));
    assert_eq!(life.built(), Phase::TearingDown);
    assert_eq!(life.phase(), Phase::TearingDown);
    assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::Stay);
}

#[test]
fn the_operator_can_stop_what_is_about_to_restart() {
    let mut life = active(1);
    assert!(life.end(EndCause::Fault));
    assert!(!life.end(EndCause::Operator));
    life.stopped();
    assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::Stay);

    let mut life = active(1);
    assert!(life.end(EndCause::Fault));
    life.stopped();
    assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::StartAt(5));
    assert!(!life.end(EndCause::OperatorRestart));
    assert_eq!((life.restart_at(), life.cause()), (Some(5), Some(EndCause::Fault)));
    assert!(!life.end(EndCause::Operator));
    assert_eq!((life.restart_at(), life.cause()), (None, Some(EndCause::Operator)));
    // Of what has ended for good the cause stands.
    assert!(!life.end(EndCause::Policy));
    assert_eq!(life.cause(), Some(EndCause::Operator));
}

#[test]
fn only_an_ended_partition_starts() {
    let mut life = active(1);
    assert_eq!(life.start(PartitionId(2), Hold::No), Err(WrongPhase(Phase::Active)));
    assert_eq!((life.id(), life.starts()), (PartitionId(1), 1));
}

const PHASES: [Phase; 10] = [
    Phase::Ended,
    Phase::Building,
    Phase::Active,
    Phase::Ending,
    Phase::TearingDown,
    Phase::Held,
    Phase::Paused,
    Phase::Free,
    Phase::Created,
    Phase::Leaving,
];

#[test]
fn phases_survive_their_byte() {
    for phase in PHASES {
        assert_eq!(Phase::from_code(phase.code()), phase);
    }
}

/// Only of a place where there is nobody nothing is told; who is taken apart is ending, as who is being stopped.
#[test]
fn all_but_a_free_place_is_told_in_its_state() {
    let told = PHASES.map(Phase::told);
    let is_told = |state| told.contains(&Some(state));
    assert!(PartitionState::ALL.into_iter().all(is_told), "{told:?}");
    for phase in PHASES {
        let told = phase.told().map_or("free".into(), |state| format!("{state}"));
        assert_eq!(told.replace("being built", "building"), phase.name(), "{phase:?}");
    }
}

/// A partition that has come to this phase on its way.
fn at(phase: Phase) -> Lifecycle {
    let mut life = Lifecycle::spare();
    if phase == Phase::Free {
        return life;
    }
    life.create(PartitionId(7)).unwrap();
    if phase == Phase::Created {
        return life;
    }
    let hold = if phase == Phase::Held { Hold::WhenBuilt } else { Hold::No };
    life.start(PartitionId(7), hold).unwrap();
    if phase == Phase::Building {
        return life;
    }
    life.built();
    if phase == Phase::Paused {
        life.pause().unwrap();
    }
    if matches!(phase, Phase::Active | Phase::Held | Phase::Paused) {
        return life;
    }
    life.end(EndCause::Off);
    if phase == Phase::Ending {
        return life;
    }
    life.stopped();
    if phase == Phase::TearingDown {
        return life;
    }
    life.torn_down(restart(RestartPolicy::Never), 0, 1);
    if phase == Phase::Leaving {
        life.destroy().unwrap();
    }
    life
}

/// Each operation of the policy program in each phase: where it leads, or that it is refused and nothing changes.
#[test]
fn each_operation_in_each_phase_leads_where_it_should() {
    type Operation = fn(&mut Lifecycle) -> Result<(), WrongPhase>;
    type Row = (&'static str, Operation, &'static [(Phase, Phase)]);
    let create: Operation = |life| life.create(PartitionId(8));
    let start: Operation = |life| life.start(PartitionId(8), Hold::WhenBuilt);
    let matrix: [Row; 7] = [
        ("create", create, &[(Phase::Free, Phase::Created)]),
        ("start", start, &[(Phase::Ended, Phase::Building), (Phase::Created, Phase::Building)]),
        ("release", Lifecycle::release, &[(Phase::Held, Phase::Active)]),
        ("pause", Lifecycle::pause, &[(Phase::Active, Phase::Paused)]),
        ("resume", Lifecycle::resume, &[(Phase::Paused, Phase::Active)]),
        (
            "destroy",
            Lifecycle::destroy,
            &[
                (Phase::Ended, Phase::Leaving),
                (Phase::Created, Phase::Leaving),
                (Phase::Leaving, Phase::Leaving),
            ],
        ),
        (
            "end",
            |life| {
                let phase = life.phase();
                if life.end(EndCause::Policy) { Ok(()) } else { Err(WrongPhase(phase)) }
            },
            &[
                (Phase::Active, Phase::Ending),
                (Phase::Held, Phase::Ending),
                (Phase::Paused, Phase::Ending),
            ],
        ),
    ];
    for (name, operation, leads) in matrix {
        for phase in PHASES {
            let mut life = at(phase);
            assert_eq!(life.phase(), phase);
            let expected = leads.iter().find(|(from, _)| *from == phase).map(|(_, to)| *to);
            let done = operation(&mut life);
            assert_eq!(done.is_ok(), expected.is_some(), "{name} in {phase:?}");
            assert_eq!(life.phase(), expected.unwrap_or(phase), "{name} in {phase:?}");
            if let Err(WrongPhase(met)) = done {
                assert_eq!(met, phase, "{name}");
            }
        }
    }
}

#[test]
fn a_created_partition_keeps_its_id_for_its_first_life_and_its_place_forgets_it_p2() {
    let mut life = Lifecycle::spare();
    life.create(PartitionId(7)).unwrap();
    assert_eq!((life.id(), life.starts()), (PartitionId(7), 0));
    life.start(life.id(), Hold::No).unwrap();
    assert_eq!((life.id(), life.starts()), (PartitionId(7), 1));
    life.end(EndCause::Policy);
    life.built();
    life.torn_down(restart(RestartPolicy::Always), 0, 1);
    assert_eq!(life.cause(), Some(EndCause::Policy));
    life.destroy().unwrap();
    life.destroyed();
    assert_eq!((life.phase(), life.id(), life.starts()), (Phase::Free, PartitionId(0), 0));
    assert_eq!(life.cause(), None);
}

#[test]
fn what_is_held_goes_on_when_it_is_released_and_can_be_ended_before() {
    let mut life = at(Phase::Held);
    life.release().unwrap();
    assert_eq!(life.phase(), Phase::Active);
    let mut life = at(Phase::Held);
    assert!(life.end(EndCause::Policy));
    life.stopped();
    assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::Stay);
    // One that follows by itself is held as well, and one that is asked for as it is said.
    assert_eq!(life.hold(), Hold::WhenBuilt);
    life.start(PartitionId(9), Hold::No).unwrap();
    assert_eq!(life.built(), Phase::Active);
}

#[test]
fn a_restart_that_waits_does_not_outlive_the_destruction() {
    let mut life = at(Phase::Active);
    life.end(EndCause::Reset);
    life.stopped();
    assert!(matches!(life.torn_down(restart(RestartPolicy::Never), 0, 1), After::StartAt(_)));
    life.destroy().unwrap();
    assert_eq!(life.restart_at(), None);
    assert_eq!(life.start(PartitionId(9), Hold::No), Err(WrongPhase(Phase::Leaving)));
}

#[test]
fn one_fault_of_each_life_is_reported() {
    let mut life = at(Phase::Active);
    assert_eq!([(); 3].map(|()| life.is_first_report()), [true, false, false]);
    life.end(EndCause::Fault);
    assert!(!life.is_first_report(), "its other vCPUs have faulted as well");
    life.stopped();
    life.torn_down(restart(RestartPolicy::Never), 0, 1);
    life.start(PartitionId(9), Hold::No).unwrap();
    assert_eq!([(); 2].map(|()| life.is_first_report()), [true, false]);
}

#[test]
fn full_reports_come_three_at_once_and_then_once_a_second() {
    const MS: u64 = 1000;
    let mut life = Lifecycle::new();
    // Ten faults a second for ten seconds: the first three, and one for each second that has passed since the first.
    let faults = (0..100).map(|fault| fault * 100);
    let full = faults.filter(|ms| life.reports_in_full(ms * MS, MS));
    assert!(full.eq([0, 100, 200, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000]));
    // What is not written in full does not count.
    assert!(life.reports_in_full(20_000 * MS, MS));
    assert!(life.reports_in_full(20_000 * MS, MS));
    assert!(life.reports_in_full(20_000 * MS, MS));
    assert!(!life.reports_in_full(20_000 * MS, MS));
}
