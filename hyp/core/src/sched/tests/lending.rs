//! Lending between cores, and what the inbox carries.

use shikiri_abi::{CoreId, CoreSet};

use super::{key, owned, queue, reserved, runs, seat};
use crate::sched::inbox::MAX_ALLOWANCE;
use crate::sched::{
    Drained, Excess, Exchange, Homeward, Inbox, Loan, Returned, RunQueue, Terms, Visitor,
};

const HOME: CoreId = CoreId(0);
const HOST: CoreId = CoreId(1);
const IDLE: CoreSet = CoreSet(0b1_0010);

fn shared(number: u8) -> Terms {
    Terms { excess: Excess::Slack, ..reserved(number, 40, 100) }
}

/// A home that runs vCPU 0 and has vCPU 1 waiting.
fn busy_home() -> RunQueue {
    let mut home = queue(&[shared(0), shared(1)]);
    assert_eq!(runs(home.pick(0)).0, Some(0));
    home
}

fn lend(home: &mut RunQueue) -> Visitor {
    let Loan { visitor, to } = home.lend(IDLE, 0, &|_| true).unwrap();
    assert_eq!((visitor.home, to), (HOME, HOST));
    visitor
}

fn homeward(visitor: Visitor, used: u64) -> Homeward {
    let Visitor { key, home, seat, .. } = visitor;
    Homeward { key, home, seat, used }
}

#[test]
fn a_waiting_vcpu_runs_on_an_idle_core_of_its_set_p5() {
    let (mut home, mut host, inbox) = (busy_home(), RunQueue::new(HOST), Inbox::new());
    assert!(home.has_surplus());
    let visitor = lend(&mut home);
    assert_eq!((visitor.key, visitor.allowance), (key(1, 0), 40));
    assert!(!home.has_surplus());
    assert_eq!(home.host_of(visitor.seat), Some(HOST));
    inbox.offer(visitor).unwrap();
    assert!(!inbox.is_empty());
    assert!(host.drain(&inbox, 10).is_changed && inbox.is_empty());
    assert!(host.is_visitor(key(1, 0)) && !host.is_visitor(key(0, 0)));
    assert_eq!(runs(host.pick(10)), (Some(1), Some(50)));
    // The home goes on without it.
    assert_eq!(runs(home.pick(40)), (Some(0), Some(80)));
}

/// 25 ticks elsewhere, 15 at home, and it waits for its next period as if it had never left.
#[test]
fn what_it_used_elsewhere_is_paid_at_home_p5() {
    let stop = reserved(1, 40, 100);
    let (mut home, mut host, inbox) =
        (queue(&[reserved(0, 60, 100), stop]), RunQueue::new(HOST), Inbox::new());
    let _decision = home.pick(0);
    host.host(lend(&mut home)).unwrap();
    assert_eq!(runs(host.pick(3)), (Some(1), Some(43)));
    let it = host.dismiss(28).unwrap();
    assert_eq!(it.used, 25);
    let _kick = inbox.hand_back(it.seat, Returned::Ready, it.used);
    assert!(home.drain(&inbox, 30).is_changed);
    assert_eq!(home.budget_left(it.seat), Some(15));
    home.block(seat(0), 30);
    assert_eq!(runs(home.pick(30)), (Some(1), Some(45)));
    assert_eq!(runs(home.pick(45)), (None, Some(100)));
    assert_eq!(runs(home.pick(100)), (Some(1), Some(140)));
}

#[test]
fn a_visitor_goes_home_when_its_allowance_is_used_up() {
    let (mut home, mut host, inbox) =
        (queue(&[reserved(0, 60, 100), reserved(1, 40, 100)]), RunQueue::new(HOST), Inbox::new());
    let _decision = home.pick(0);
    let visitor = lend(&mut home);
    host.host(visitor).unwrap();
    assert_eq!(runs(host.pick(5)), (Some(1), Some(45)));
    assert_eq!(runs(host.pick(20)), (Some(1), Some(45)));
    // Its timer comes late by 2: a debt, like at home.
    let decision = host.pick(47);
    assert_eq!((decision.run, decision.give_back), (None, Some(homeward(visitor, 42))));
    let _kick = inbox.hand_back(visitor.seat, Returned::Ready, 42);
    let _drained = home.drain(&inbox, 50);
    assert!(!home.has_surplus(), "its budget is used up");
    home.block(seat(0), 60);
    assert_eq!(runs(home.pick(60)), (None, Some(100)));
    assert_eq!(runs(home.pick(100)), (Some(1), Some(138)));
}

/// It is lent 30 ticks before its period ends and runs for 40: 10 of them are paid from the next budget.
#[test]
fn a_loan_beyond_the_period_is_paid_from_both_budgets() {
    let mut home = queue(&[reserved(0, 60, 100), reserved(1, 40, 100)]);
    let _decision = home.pick(0);
    let loan = home.lend(IDLE, 70, &|_| true).unwrap();
    assert_eq!(loan.visitor.allowance, 40);
    home.returned(loan.visitor.seat, Returned::Ready, 40, 110);
    assert_eq!(home.budget_left(loan.visitor.seat), Some(30));
    home.block(seat(0), 110);
    assert_eq!(runs(home.pick(110)), (Some(1), Some(140)));
    assert_eq!(runs(home.pick(140)), (None, Some(200)), "the second period ends at 200");
}

#[test]
fn slack_is_lent_unpaid_until_the_next_period() {
    let mut home = queue(&[shared(0), shared(1)]);
    for now in [0, 40] {
        let _decision = home.pick(now);
    }
    assert_eq!(runs(home.pick(80)).0, Some(0), "both in slack, the first first");
    let loan = home.lend(IDLE, 80, &|_| true).unwrap();
    assert_eq!((loan.visitor.key, loan.visitor.allowance), (key(1, 0), 20));
    home.returned(loan.visitor.seat, Returned::Ready, 20, 100);
    home.block(seat(0), 100);
    assert_eq!(runs(home.pick(100)), (Some(1), Some(140)), "a whole budget, and no debt");
}

#[test]
fn only_who_has_time_left_and_a_second_core_is_lent() {
    let lend = |home: &mut RunQueue, idle| home.lend(idle, 0, &|_| true);
    let at_home = Terms { cores: CoreSet(1), ..shared(1) };
    let mut home = queue(&[shared(0), at_home]);
    let _decision = home.pick(0);
    assert!(!home.has_surplus());
    assert_eq!(lend(&mut home, IDLE), None);
    let mut home = queue(&[reserved(0, 60, 100), reserved(1, 40, 100)]);
    for now in [0, 60] {
        let _decision = home.pick(now);
    }
    assert_eq!(home.running(), Some(seat(1)));
    assert!(!home.has_surplus(), "vCPU 0 has used its budget up");
    let mut home = busy_home();
    for idle in [CoreSet::EMPTY, CoreSet(1), CoreSet(0b1_0000)] {
        assert_eq!(lend(&mut home, idle), None, "{idle}");
    }
    assert_eq!(home.lend(IDLE, 0, &|_| false), None, "the caller holds it");
    let mut alone = queue(&[shared(0)]);
    let _decision = alone.pick(0);
    assert_eq!(lend(&mut alone, IDLE), None, "what runs is not lent");
}

#[test]
fn the_most_urgent_that_may_go_there_goes_first() {
    let urgent = Terms { priority: 9, cores: CoreSet(0b101), ..reserved(1, 10, 100) };
    let first = Terms { priority: 9, ..reserved(0, 10, 100) };
    let (later, sooner) = (reserved(2, 10, 100), reserved(3, 10, 50));
    let mut home = queue(&[first, urgent, later, sooner]);
    let _decision = home.pick(0);
    let mut lend = |idle| home.lend(idle, 0, &|_| true).map(|loan| loan.visitor.key.partition.0);
    assert_eq!(lend(CoreSet(0b010)), Some(3), "vCPU 1 may not run there");
    assert_eq!(lend(CoreSet(0b110)), Some(1));
    assert_eq!(lend(CoreSet(0b110)), Some(2));
    assert_eq!(lend(CoreSet(0b110)), None);
}

#[test]
fn the_hosts_own_work_sends_the_visitor_home() {
    let (mut home, mut host, inbox) = (busy_home(), RunQueue::new(HOST), Inbox::new());
    let visitor = lend(&mut home);
    host.host(visitor).unwrap();
    let _decision = host.pick(5);
    host.seat(seat(0), reserved(9, 10, 50), 6);
    assert!(host.wake(seat(0), 6));
    let decision = host.pick(6);
    assert_eq!((runs(decision).0, decision.give_back), (Some(9), Some(homeward(visitor, 1))));
    assert_eq!(host.pick(7).give_back, None, "it goes once");
    assert!(inbox.hand_back(visitor.seat, Returned::Ready, 1) && !inbox.is_empty());
    assert!(home.drain(&inbox, 8).is_changed);
    home.block(seat(0), 8);
    assert_eq!(runs(home.pick(8)).0, Some(1));
}

#[test]
fn a_visitor_that_blocks_comes_home_blocked_and_wakes_there() {
    let (mut home, inbox) = (busy_home(), Inbox::new());
    let visitor = lend(&mut home);
    let mut host = RunQueue::new(HOST);
    host.host(visitor).unwrap();
    let _decision = host.pick(5);
    assert_eq!(host.dismiss(6), Some(homeward(visitor, 1)));
    assert_eq!(runs(host.pick(6)), (None, None));
    let _kick = inbox.hand_back(visitor.seat, Returned::Blocked, 1);
    assert_eq!(home.drain(&inbox, 7).blocked, 0b10, "its timers are the home's to keep");
    home.block(seat(0), 7);
    assert_eq!(runs(home.pick(7)), (None, None));
    let _kick = inbox.wake(visitor.seat);
    let drained = home.drain(&inbox, 8);
    assert_eq!(drained, Drained { is_changed: true, ..Drained::default() });
    assert_eq!(runs(home.pick(8)).0, Some(1));
}

/// The wake-up may overtake the return, come with it, or come after it.
#[test]
fn a_wake_up_is_never_lost_on_the_way_home() {
    for order in 0..3 {
        let (mut home, inbox) = (busy_home(), Inbox::new());
        let visitor = lend(&mut home);
        home.block(seat(0), 1);
        if order == 0 {
            let _kick = inbox.wake(visitor.seat);
            let drained = home.drain(&inbox, 2);
            assert_eq!((drained.is_changed, drained.away), (false, 0b10));
            assert_eq!(runs(home.pick(2)), (None, None), "it is still elsewhere");
        }
        let _kick = inbox.hand_back(visitor.seat, Returned::Blocked, 1);
        if order == 2 {
            let _drained = home.drain(&inbox, 3);
        }
        if order > 0 {
            let _kick = inbox.wake(visitor.seat);
        }
        let drained = home.drain(&inbox, 4);
        assert_eq!((drained.is_changed, drained.away, drained.blocked), (true, 0, 0));
        assert_eq!(runs(home.pick(4)).0, Some(1), "order {order}");
    }
}

#[test]
fn one_wake_up_makes_ready_once() {
    let (mut home, inbox) = (busy_home(), Inbox::new());
    for is_woken in [true, false] {
        let visitor = lend(&mut home);
        if is_woken {
            assert!(!home.wake(visitor.seat, 1));
        }
        assert!(inbox.hand_back(visitor.seat, Returned::Blocked, 1));
        assert!(home.drain(&inbox, 2).is_changed);
        assert_eq!(home.has_surplus(), is_woken);
    }
}

#[test]
fn an_owned_or_occupied_core_takes_no_visitor() {
    let visitor = Visitor { key: key(3, 1), home: CoreId(7), seat: seat(31), allowance: 77 };
    let other = Visitor { seat: seat(30), ..visitor };
    let mut owner = queue(&[owned(2)]);
    owner.block(seat(0), 0);
    assert_eq!(owner.host(visitor), Err(homeward(visitor, 0)));
    let (mut host, inbox) = (RunQueue::new(HOST), Inbox::new());
    inbox.offer(visitor).unwrap();
    assert_eq!(inbox.offer(other), Err(other), "the slot holds one");
    assert_eq!(host.drain(&inbox, 0).bounce, None);
    inbox.offer(other).unwrap();
    assert_eq!(host.drain(&inbox, 0).bounce, Some(homeward(other, 0)));
    assert_eq!(host.dismiss(0), Some(homeward(visitor, 0)));
}

#[test]
fn a_core_that_gets_an_owner_is_offered_nothing_until_it_has_none() {
    let (exchange, lenders) = (Exchange::new(), CoreSet::one(HOST));
    assert!(exchange.enter_surplus(HOST).is_empty());
    let mut core = queue(&[owned(2)]);
    core.block(seat(0), 0);
    assert_eq!(core.enter_idle(&exchange, lenders), None, "it calls nobody");
    assert!(exchange.idle().is_empty(), "and nobody finds it");
    core.remove(seat(0), 1);
    assert_eq!(core.enter_idle(&exchange, lenders), Some(lenders));
    assert_eq!(exchange.idle(), CoreSet::one(HOME));
}

#[test]
fn a_refused_offer_is_undone() {
    let mut home = busy_home();
    let visitor = lend(&mut home);
    home.returned(visitor.seat, Returned::Ready, 0, 3);
    assert_eq!(lend(&mut home), visitor);
    home.returned(visitor.seat, Returned::Ready, 0, 3);
    home.returned(visitor.seat, Returned::Blocked, 0, 3);
    assert!(home.has_surplus(), "a return of what is not lent changes nothing");
}

#[test]
fn a_newcomer_is_announced_with_its_key() {
    let (mut home, inbox) = (RunQueue::new(HOME), Inbox::new());
    assert!(inbox.is_empty());
    assert!(inbox.admit(seat(5), key(200, 63)));
    assert!(!inbox.is_empty());
    let drained = home.drain(&inbox, 0);
    assert_eq!(drained.unknown, 1 << 5);
    assert_eq!(inbox.key(seat(5)), key(200, 63));
    assert!(inbox.vacate(seat(31)));
    assert_eq!(home.drain(&inbox, 0).leaving, 1 << 31);
    assert_eq!(home.drain(&inbox, 0), Drained::default());
}

#[test]
fn a_visitors_word_carries_everything() {
    for (partition, vcpu, home, number, allowance) in
        [(0, 0, 0, 0, 9), (255, 255, 255, 31, MAX_ALLOWANCE), (63, 1, 127, 5, 0x2_1234_5678)]
    {
        let (mut host, inbox) = (RunQueue::new(HOST), Inbox::new());
        let visitor = Visitor {
            key: key(partition, vcpu),
            home: CoreId(home),
            seat: seat(number),
            allowance,
        };
        inbox.offer(visitor).unwrap();
        assert_eq!(host.drain(&inbox, 0).bounce, None);
        assert_eq!(runs(host.pick(0)), (Some(partition), Some(allowance)));
        assert_eq!(host.dismiss(7), Some(homeward(visitor, 7)));
    }
}

#[test]
fn a_loan_is_no_longer_than_its_word_can_say() {
    let long = crate::sched::server::MAX_PERIOD;
    let mut home = queue(&[reserved(0, 1, 10), reserved(1, long - 10, long)]);
    let _decision = home.pick(0);
    assert_eq!(lend(&mut home).allowance, MAX_ALLOWANCE);
}

#[test]
fn idle_and_busy_cores_find_each_other() {
    let exchange = Exchange::new();
    let (busy, idle, other) = (CoreId(3), CoreId(100), CoreId(1));
    let lenders = CoreSet::one(busy);
    assert!(exchange.enter_surplus(busy).is_empty());
    assert!(exchange.enter_idle(other, CoreSet(1)).is_empty(), "it does not borrow from core 3");
    exchange.leave_idle(other);
    assert_eq!(exchange.enter_idle(idle, lenders), lenders);
    assert!(!exchange.is_surplus(busy) && !exchange.leave_surplus(busy), "it has been called");
    assert_eq!(exchange.enter_surplus(busy), CoreSet::one(idle));
    assert!(exchange.claim(idle) && !exchange.claim(idle) && exchange.idle().is_empty());
    exchange.leave_idle(idle);
    assert!(exchange.leave_surplus(busy));
    assert!(exchange.enter_idle(other, lenders).is_empty());
}

const PAUSE: u64 = 10;

fn seek(home: &mut RunQueue, exchange: &Exchange, now: u64) -> (Option<CoreId>, Option<u64>) {
    let search = home.seek_host(exchange, (now, PAUSE), |_| true);
    (search.loan.map(|loan| loan.to), search.again)
}

#[test]
fn a_busy_core_finds_the_idle_one_at_once() {
    let (mut home, exchange) = (busy_home(), Exchange::new());
    assert!(exchange.enter_idle(HOST, CoreSet(1)).is_empty());
    assert_eq!(seek(&mut home, &exchange, 5), (Some(HOST), None));
    assert!(exchange.idle().is_empty() && !exchange.is_surplus(HOME));
}

#[test]
fn a_busy_core_that_found_nobody_is_called() {
    let (mut home, exchange) = (busy_home(), Exchange::new());
    assert_eq!(seek(&mut home, &exchange, 5), (None, None));
    assert!(exchange.is_surplus(HOME));
    assert_eq!(seek(&mut home, &exchange, 6), (None, None), "it stands there already");
    assert_eq!(exchange.enter_idle(HOST, CoreSet(1)), CoreSet(1));
    assert_eq!(seek(&mut home, &exchange, 7), (Some(HOST), None));
}

#[test]
fn a_core_with_nothing_to_lend_leaves_the_exchange() {
    let (mut home, exchange) = (busy_home(), Exchange::new());
    assert_eq!(seek(&mut home, &exchange, 5), (None, None));
    home.block(seat(1), 6);
    assert_eq!(seek(&mut home, &exchange, 6), (None, None));
    assert!(!exchange.is_surplus(HOME));
    assert!(home.wake(seat(1), 7));
    assert_eq!(seek(&mut home, &exchange, 7), (None, None));
    assert!(exchange.is_surplus(HOME), "nobody had called it: no pause");
}

/// A host that takes a vCPU and sends it back as fast as it can: the home is asked once in a pause.
#[test]
fn a_core_lends_once_in_a_pause() {
    let (mut home, exchange) = (busy_home(), Exchange::new());
    let mut loans = 0;
    for now in 0..39 {
        let _called = exchange.enter_idle(HOST, CoreSet(1));
        let (to, again) = seek(&mut home, &exchange, now);
        if to.is_some() {
            loans += 1;
            home.returned(seat(1), Returned::Ready, 0, now);
        } else {
            assert!(again.is_some_and(|again| again > now && again <= now + PAUSE));
        }
    }
    assert_eq!(loans, 4);
}

/// An idle core that calls again and again, and may not take what there is.
#[test]
fn a_core_is_called_once_in_a_pause() {
    let elsewhere = Terms { cores: CoreSet(0b101), ..shared(1) };
    let (mut home, exchange) = (queue(&[shared(0), elsewhere]), Exchange::new());
    let _decision = home.pick(0);
    let mut calls = 0;
    for now in 0..39 {
        assert_eq!(seek(&mut home, &exchange, now).0, None);
        calls += exchange.enter_idle(HOST, CoreSet(1)).len();
        exchange.leave_idle(HOST);
        // Blocking and waking in between makes no difference.
        home.block(seat(1), now);
        assert_eq!(seek(&mut home, &exchange, now), (None, None));
        assert!(home.wake(seat(1), now));
    }
    assert_eq!(calls, 4);
}

#[test]
fn an_idle_core_that_another_took_is_left_alone() {
    let (mut home, exchange) = (busy_home(), Exchange::new());
    let wider = Terms { cores: CoreSet(0b111), ..shared(1) };
    home.seat(seat(1), wider, 0);
    assert!(home.wake(seat(1), 0));
    let _called = exchange.enter_idle(CoreId(2), CoreSet(1));
    let idle = CoreSet(0b110);
    let loan = home.claim(&exchange, idle, 1, &|_| true).unwrap();
    assert_eq!(loan.to, CoreId(2), "core 1 was in the set, and is gone");
    assert_eq!(home.host_of(seat(1)), Some(CoreId(2)));
}
