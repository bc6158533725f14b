//! Tests of the lifecycle.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

use super::{After, EndCause, Lifecycle, Phase, RESTART_BURST, RESTART_SPACING_MS, WrongPhase};
use shikiri_abi::PartitionId;
use shikiri_config::{Restart, RestartPolicy};

fn restart(policy: RestartPolicy) -> Restart {
    Restart { policy, max: 3, window_ms: 100, delay_ms: 5 }
}

fn active(id: u32) -> Lifecycle {
    let mut life = Lifecycle::new();
    life.start(PartitionId(id)).unwrap();
    assert!(life.built());
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
    use EndCause::{Code, Fault, Off, Operator, OperatorRestart, Reset};
    use RestartPolicy::{Always, Never, OnFault};
    let again = After::StartAt(1050);
    for (cause, expected) in [
        (Off, [After::Stay, After::Stay, again]),
        (Code(0), [After::Stay, After::Stay, again]),
        (Code(1), [After::Stay, again, again]),
        (Fault, [After::Stay, again, again]),
        (Reset, [again, again, again]),
        (Operator, [After::Stay, After::Stay, After::Stay]),
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
        life.start(PartitionId(2)).unwrap();
        assert!(life.built());
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
            life.start(PartitionId(2)).unwrap();
            assert!(life.built());
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
        life.start(PartitionId(2)).unwrap();
        assert!(life.built());
    }
    assert!(life.end(EndCause::Reset));
    life.stopped();
    assert_eq!(life.torn_down(restart(RestartPolicy::Never), 20, 10), After::StartAt(70));
}

#[test]
fn an_end_during_the_build_takes_effect_when_it_is_complete() {
    let mut life = Lifecycle::new();
    life.start(PartitionId(1)).unwrap();
    assert!(!life.end(EndCause::Operator));
    assert!(!life.built());
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
    assert!(!life.end(EndCause::Operator));
    assert_eq!(life.restart_at(), None);
}

#[test]
fn only_an_ended_partition_starts() {
    let mut life = active(1);
    assert_eq!(life.start(PartitionId(2)), Err(WrongPhase(Phase::Active)));
    assert_eq!((life.id(), life.starts()), (PartitionId(1), 1));
}

#[test]
fn phases_survive_their_byte() {
    for phase in [Phase::Ended, Phase::Building, Phase::Active, Phase::Ending, Phase::TearingDown] {
        assert_eq!(Phase::from_code(phase.code()), phase);
    }
}
