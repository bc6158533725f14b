//! The scheduler's promises, on single decisions and on simulated cores.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

mod lending;
mod migration;
mod simulation;

use shikiri_abi::{CoreId, CoreSet, PartitionSlot, VcpuIndex};

use super::{
    CoreBook, Decision, Excess, Reservation, RunQueue, SEATS, Seat, Share, Terms, VcpuKey,
};

fn key(partition: u8, vcpu: u8) -> VcpuKey {
    VcpuKey { partition: PartitionSlot(partition), vcpu: VcpuIndex(vcpu) }
}

fn seat(number: u8) -> Seat {
    Seat::new(number).unwrap()
}

fn reserved(number: u8, budget: u64, period: u64) -> Terms {
    Terms {
        key: key(number, 0),
        share: Share::Reserved(Reservation::new(budget, period).unwrap()),
        priority: 5,
        excess: Excess::Stop,
        cores: CoreSet(0b11),
    }
}

fn owned(number: u8) -> Terms {
    Terms { share: Share::Owned, ..reserved(number, 1, 1) }
}

/// A queue on core 0 with these vCPUs on seats 0, 1, …, all ready at time 0.
fn queue(terms: &[Terms]) -> RunQueue {
    let mut queue = RunQueue::new(CoreId(0));
    for (number, terms) in (0..).zip(terms) {
        queue.seat(seat(number), *terms, 0);
        assert!(queue.wake(seat(number), 0));
    }
    queue
}

fn runs(decision: Decision) -> (Option<u8>, Option<u64>) {
    (decision.run.map(|key| key.partition.0), decision.until)
}

#[test]
fn an_empty_core_waits_without_a_timer() {
    assert_eq!(runs(RunQueue::new(CoreId(0)).pick(77)), (None, None));
}

#[test]
fn who_owns_the_core_runs_without_a_tick_v2() {
    assert!(!queue(&[reserved(0, 100, 100)]).is_owned());
    let mut queue = queue(&[owned(4)]);
    assert!(queue.is_owned());
    for now in [0, 1, 1 << 60, u64::MAX] {
        assert_eq!(runs(queue.pick(now)), (Some(4), None));
    }
    queue.block(seat(0), u64::MAX);
    assert_eq!(runs(queue.pick(u64::MAX)), (None, None));
    assert!(queue.wake(seat(0), u64::MAX));
    assert_eq!(runs(queue.pick(u64::MAX)), (Some(4), None));
}

#[test]
fn a_spinning_vcpu_stops_at_its_budget_and_goes_on_in_the_next_period() {
    let mut queue = queue(&[reserved(0, 30, 100)]);
    assert_eq!(runs(queue.pick(0)), (Some(0), Some(30)));
    assert_eq!(runs(queue.pick(30)), (None, Some(100)));
    assert_eq!(runs(queue.pick(99)), (None, Some(100)));
    assert_eq!(runs(queue.pick(100)), (Some(0), Some(130)));
}

#[test]
fn what_a_late_timer_gave_is_paid_back() {
    let mut queue = queue(&[reserved(0, 30, 100)]);
    let _decision = queue.pick(0);
    assert_eq!(runs(queue.pick(45)), (None, Some(100)));
    assert_eq!(runs(queue.pick(100)), (Some(0), Some(115)), "15 of 30 were taken before");
    // 70 too many: two whole budgets and a part of the third.
    assert_eq!(runs(queue.pick(185)), (None, Some(200)));
    assert_eq!(runs(queue.pick(200)), (None, Some(300)));
    assert_eq!(runs(queue.pick(300)), (None, Some(400)));
    assert_eq!(runs(queue.pick(400)), (Some(0), Some(420)));
}

#[test]
fn sleeping_does_not_forgive_a_debt() {
    let mut queue = queue(&[reserved(0, 30, 100)]);
    let _decision = queue.pick(0);
    let _decision = queue.pick(50);
    queue.block(seat(0), 60);
    assert!(queue.wake(seat(0), 1000));
    assert_eq!(runs(queue.pick(1000)), (Some(0), Some(1010)));
}

#[test]
fn a_spent_vcpu_gains_nothing_by_blocking_and_waking() {
    let mut queue = queue(&[reserved(0, 30, 100)]);
    let _decision = queue.pick(0);
    let _decision = queue.pick(30);
    for now in 31..100 {
        queue.block(seat(0), now);
        assert!(queue.wake(seat(0), now));
        assert_eq!(runs(queue.pick(now)), (None, Some(100)));
    }
}

#[test]
fn a_vcpu_that_wakes_late_gets_a_new_period_and_no_double_share() {
    let mut queue = queue(&[reserved(0, 30, 100), reserved(1, 70, 100)]);
    queue.block(seat(0), 0);
    assert_eq!(runs(queue.pick(0)), (Some(1), Some(70)));
    assert_eq!(runs(queue.pick(70)), (None, Some(100)));
    // With its old deadline it could take 30 before 100 and 30 after; vCPU 1 would miss its own.
    assert!(queue.wake(seat(0), 90));
    assert_eq!(runs(queue.pick(90)), (Some(0), Some(120)));
    assert_eq!(queue.budget_left(seat(0)), Some(30));
}

#[test]
fn the_higher_priority_runs_first_and_comes_back_in_time() {
    let low = reserved(0, 50, 100);
    let high = Terms { priority: 9, ..reserved(1, 10, 40) };
    let mut queue = queue(&[low, high]);
    assert_eq!(runs(queue.pick(0)), (Some(1), Some(10)));
    assert_eq!(runs(queue.pick(10)), (Some(0), Some(40)), "stops for the other's next period");
    assert_eq!(runs(queue.pick(40)), (Some(1), Some(50)));
    assert_eq!(runs(queue.pick(50)), (Some(0), Some(70)));
}

#[test]
fn among_equals_the_earliest_deadline_runs_and_a_later_one_does_not_disturb_it() {
    let mut queue = queue(&[reserved(0, 50, 200), reserved(1, 10, 50)]);
    assert_eq!(runs(queue.pick(0)), (Some(1), Some(10)));
    // At 50 vCPU 1 gets a deadline of 100, before vCPU 0's 200.
    assert_eq!(runs(queue.pick(10)), (Some(0), Some(50)));
    assert_eq!(runs(queue.pick(50)), (Some(1), Some(60)));
    assert_eq!(runs(queue.pick(60)), (Some(0), Some(70)));
}

#[test]
fn among_full_equals_nobody_is_switched_without_need() {
    let mut queue = queue(&[reserved(0, 10, 50), reserved(1, 10, 50)]);
    assert_eq!(runs(queue.pick(0)), (Some(0), Some(10)));
    assert_eq!(runs(queue.pick(3)), (Some(0), Some(10)));
    queue.block(seat(0), 4);
    assert_eq!(runs(queue.pick(4)), (Some(1), Some(14)));
    assert!(queue.wake(seat(0), 5));
    // It goes on with what is left only within its share; a new period has a later deadline.
    assert_eq!(runs(queue.pick(5)), (Some(1), Some(14)));
}

#[test]
fn budget_is_not_saved_up_over_missed_periods() {
    let low = reserved(0, 30, 100);
    let high = Terms { priority: 9, ..reserved(1, 900, 1000) };
    let mut queue = queue(&[low, high]);
    assert_eq!(runs(queue.pick(0)), (Some(1), Some(900)));
    // Nine periods went by; one budget is there, and it ends with the period that holds 900.
    assert_eq!(runs(queue.pick(900)), (Some(0), Some(930)));
    assert_eq!(runs(queue.pick(930)), (None, Some(1000)));
}

#[test]
fn what_a_period_could_not_use_ends_with_it() {
    let low = reserved(0, 30, 100);
    let high = Terms { priority: 9, ..reserved(1, 80, 1000) };
    let mut queue = queue(&[low, high]);
    assert_eq!(runs(queue.pick(0)), (Some(1), Some(80)));
    assert_eq!(
        runs(queue.pick(80)),
        (Some(0), Some(100)),
        "30 are left, but the period ends at 100"
    );
    assert_eq!(runs(queue.pick(100)), (Some(0), Some(130)), "a new budget, not one and a third");
}

#[test]
fn another_reservation_counts_from_the_next_period_on_p8() {
    let mut queue = queue(&[reserved(0, 30, 100)]);
    let _decision = queue.pick(0);
    queue.reserve(seat(0), Reservation::new(50, 100).unwrap(), 10);
    assert_eq!(runs(queue.pick(10)), (Some(0), Some(30)));
    assert_eq!(runs(queue.pick(30)), (None, Some(100)));
    assert_eq!(runs(queue.pick(100)), (Some(0), Some(150)));
    // Less: what is left of this period is no more than that.
    queue.reserve(seat(0), Reservation::new(20, 100).unwrap(), 110);
    assert_eq!(runs(queue.pick(110)), (Some(0), Some(130)));
    assert_eq!(runs(queue.pick(130)), (None, Some(200)));
    assert_eq!(runs(queue.pick(200)), (Some(0), Some(220)));
    let terms = Reservation::new(20, 100).map(Share::Reserved);
    assert_eq!(queue.terms(seat(0)).map(|terms| terms.share), terms.ok());
    // Who owns a core has all of it, and an empty seat has nothing.
    queue.reserve(seat(1), Reservation::new(20, 100).unwrap(), 220);
    assert_eq!(queue.terms(seat(1)), None);
}

#[test]
fn waking_twice_is_waking_once_and_empty_seats_stay_asleep() {
    let mut queue = queue(&[reserved(0, 10, 50)]);
    assert!(!queue.wake(seat(0), 0));
    assert!(!queue.wake(seat(31), 0));
    assert_eq!(runs(queue.pick(0)), (Some(0), Some(10)));
}

#[test]
fn a_removed_vcpu_leaves_nothing() {
    let mut queue = queue(&[reserved(0, 10, 50), reserved(1, 10, 50)]);
    let _decision = queue.pick(0);
    assert_eq!(queue.remove(seat(0), 5).map(|terms| terms.key), Some(key(0, 0)));
    assert_eq!(queue.remove(seat(0), 5), None);
    assert_eq!(queue.running(), None);
    assert!(!queue.wake(seat(0), 6));
    assert_eq!(runs(queue.pick(6)), (Some(1), Some(16)));
    queue.seat(seat(0), reserved(7, 10, 20), 6);
    assert!(queue.terms(seat(0)).is_some_and(|terms| terms.key == key(7, 0)));
    let mut owner = self::queue(&[owned(3)]);
    owner.remove(seat(0), 0);
    owner.seat(seat(0), reserved(7, 10, 20), 6);
    assert!(owner.wake(seat(0), 6));
    assert_eq!(runs(owner.pick(6)), (Some(7), Some(16)));
}

#[test]
fn slack_goes_round_among_those_who_may_use_it() {
    let slack = |number, budget| Terms { excess: Excess::Slack, ..reserved(number, budget, 1000) };
    let mut queue = queue(&[slack(0, 10), slack(1, 10), reserved(2, 10, 1000)]);
    let mut now = 0;
    let mut ran = [0_u64; 3];
    while now < 1000 {
        let decision = queue.pick(now);
        let (Some(who), Some(until)) = runs(decision) else { panic!("idle at {now}") };
        ran[usize::from(who)] += until.min(1000) - now;
        now = until;
    }
    assert_eq!(ran, [10 + 490, 10 + 480, 10], "970 ticks in turns of 10");
}

#[test]
fn slack_ends_when_somebody_has_budget_again() {
    let greedy = Terms { excess: Excess::Slack, ..reserved(0, 10, 500) };
    let mut queue = queue(&[greedy, reserved(1, 10, 100)]);
    let _decision = queue.pick(0);
    let _decision = queue.pick(10);
    let _decision = queue.pick(20);
    let mut now = 20;
    while let (Some(0), Some(until)) = runs(queue.pick(now)) {
        assert!(until > now && until <= 100);
        now = until;
    }
    assert_eq!((now, queue.running()), (100, Some(seat(1))));
    assert_eq!(queue.budget_left(seat(0)), Some(0), "slack costs no budget and gives none");
}

#[test]
fn reservations_out_of_range_are_refused() {
    for (budget, period) in [(0, 10), (11, 10), (0, 0), (1, (1 << 43) + 1), (u64::MAX, u64::MAX)] {
        assert!(Reservation::new(budget, period).is_err());
    }
    let share = |budget, period| Reservation::new(budget, period).unwrap().ppm();
    assert_eq!((share(1, 3), share(10, 10), share(1, 1 << 43)), (333_334, 1_000_000, 1));
}

mod book {
    use super::*;
    use crate::sched::NotAdmitted;

    fn share(ppm: u64) -> Share {
        Share::Reserved(Reservation::new(ppm, 1_000_000).unwrap())
    }

    #[test]
    fn more_for_who_is_seated_is_bounded_by_what_is_left_p8() {
        let mut book = CoreBook::new(CoreSet(3));
        let home = book.admit(CoreSet(1), share(600_000)).unwrap();
        assert_eq!(book.grow(CoreId(0), 400_001).map_err(|no| no.most_left_ppm), Err(400_000));
        assert_eq!(book.left_ppm(CoreId(0)), 400_000);
        assert_eq!(book.grow(CoreId(0), 400_000), Ok(()));
        assert_eq!(book.left_ppm(CoreId(0)), 0);
        assert!(book.grow(CoreId(0), 1).is_err() && book.grow(CoreId(127), 1).is_ok());
        book.shrink(CoreId(0), 400_000);
        book.release(home);
        assert_eq!(book.left_ppm(CoreId(0)), 1_000_000);
    }

    #[test]
    fn a_core_is_promised_whole_and_not_more() {
        let mut book = CoreBook::new(CoreSet(1));
        let first = book.admit(CoreSet(1), share(600_000)).unwrap();
        let refusal = book.admit(CoreSet(1), share(400_001)).unwrap_err();
        let cores = CoreSet(1);
        assert_eq!(refusal, NotAdmitted { ppm: 400_001, cores, most_left_ppm: 400_000 });
        let second = book.admit(CoreSet(1), share(400_000)).unwrap();
        assert_eq!((first.seat().number(), second.seat().number()), (0, 1));
        assert_eq!(book.left_ppm(CoreId(0)), 0);
        book.release(first);
        assert_eq!(book.left_ppm(CoreId(0)), 600_000);
        book.release(second);
        assert_eq!(book.left_ppm(CoreId(0)), 1_000_000);
    }

    #[test]
    fn an_owner_needs_a_core_that_nobody_has_and_keeps_it() {
        let mut book = CoreBook::new(CoreSet(0b11));
        let small = book.admit(CoreSet(0b01), share(1)).unwrap();
        let owner = book.admit(CoreSet(0b11), Share::Owned).unwrap();
        assert_eq!((owner.core(), owner.ppm()), (CoreId(1), 1_000_000));
        assert!(book.admit(CoreSet(0b10), share(1)).is_err());
        assert!(book.admit(CoreSet(0b11), Share::Owned).is_err());
        book.release(small);
        let second = book.admit(CoreSet(0b11), Share::Owned).unwrap();
        assert_eq!(second.core(), CoreId(0));
        book.release(owner);
        book.release(second);
    }

    #[test]
    fn the_emptiest_allowed_core_becomes_the_home() {
        let mut book = CoreBook::new(CoreSet(0b1111));
        let homes = [(); 4].map(|()| book.admit(CoreSet(0b1110), share(100_000)).unwrap());
        assert_eq!(homes.each_ref().map(|home| home.core().0), [1, 2, 3, 1]);
        for home in homes {
            book.release(home);
        }
    }

    #[test]
    fn cores_that_are_not_there_are_nobodys_home() {
        let mut book = CoreBook::new(CoreSet(0b1));
        for cores in [CoreSet(0b10), CoreSet::EMPTY, CoreSet(1 << 127)] {
            let refusal = book.admit(cores, share(1)).unwrap_err();
            assert_eq!(refusal.most_left_ppm, 0);
        }
    }

    #[test]
    fn a_core_has_32_seats_again_and_again() {
        let mut book = CoreBook::new(CoreSet(1));
        for _ in 0..2 {
            let homes = [(); SEATS].map(|()| book.admit(CoreSet(1), share(1)).unwrap());
            assert_eq!(book.admit(CoreSet(1), share(1)).unwrap_err().most_left_ppm, 0);
            for home in homes {
                book.release(home);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a free seat")]
    fn a_home_is_released_once() {
        let mut book = CoreBook::new(CoreSet(1));
        let home = book.admit(CoreSet(1), share(1)).unwrap();
        CoreBook::new(CoreSet(1)).release(home);
    }
}
