//! Lending between cores, and what the inbox carries.

use shikiri_abi::{CoreId, CoreSet};

use super::{key, owned, queue, reserved, runs, seat};
use crate::sched::{Drained, Excess, Exchange, Inbox, Loan, Returned, RunQueue, Terms, Visitor};

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
    let Loan { visitor, to } = home.lend(IDLE).unwrap();
    assert_eq!((visitor.home, to), (HOME, HOST));
    visitor
}

#[test]
fn a_waiting_vcpu_runs_on_an_idle_core_of_its_set_p5() {
    let (mut home, mut host, inbox) = (busy_home(), RunQueue::new(HOST), Inbox::new());
    assert!(home.has_surplus());
    let visitor = lend(&mut home);
    assert_eq!(visitor.key, key(1, 0));
    assert!(!home.has_surplus());
    inbox.offer(visitor).unwrap();
    assert!(!inbox.is_empty());
    assert!(host.drain(&inbox, 10).is_changed && inbox.is_empty());
    assert_eq!(runs(host.pick(10)), (Some(1), None));
    // The home goes on without it.
    assert_eq!(runs(home.pick(40)), (Some(0), Some(80)));
}

#[test]
fn only_slack_users_with_a_second_core_are_lent() {
    let stop = reserved(1, 40, 100);
    let at_home = Terms { cores: CoreSet(1), ..shared(1) };
    for terms in [stop, at_home] {
        let mut home = queue(&[shared(0), terms]);
        let _decision = home.pick(0);
        assert!(!home.has_surplus());
        assert_eq!(home.lend(IDLE), None);
    }
    let mut home = busy_home();
    for idle in [CoreSet::EMPTY, CoreSet(1), CoreSet(0b1_0000)] {
        assert_eq!(home.lend(idle), None, "{idle}");
    }
    let mut alone = queue(&[shared(0)]);
    let _decision = alone.pick(0);
    assert_eq!(alone.lend(IDLE), None, "what runs is not lent");
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
    assert_eq!((runs(decision).0, decision.give_back), (Some(9), Some(visitor)));
    assert_eq!(host.pick(7).give_back, None, "it goes once");
    assert!(inbox.hand_back(visitor.seat, Returned::Ready) && !inbox.is_empty());
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
    assert_eq!(host.dismiss(), Some(visitor));
    assert_eq!(runs(host.pick(6)), (None, None));
    let _kick = inbox.hand_back(visitor.seat, Returned::Blocked);
    assert!(home.drain(&inbox, 7).is_changed);
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
            assert!(!home.drain(&inbox, 2).is_changed);
            assert_eq!(runs(home.pick(2)), (None, None), "it is still elsewhere");
        }
        let _kick = inbox.hand_back(visitor.seat, Returned::Blocked);
        if order == 2 {
            let _drained = home.drain(&inbox, 3);
        }
        if order > 0 {
            let _kick = inbox.wake(visitor.seat);
        }
        assert!(home.drain(&inbox, 4).is_changed);
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
        assert!(inbox.hand_back(visitor.seat, Returned::Blocked));
        assert!(home.drain(&inbox, 2).is_changed);
        assert_eq!(home.has_surplus(), is_woken);
    }
}

#[test]
fn an_owned_or_occupied_core_takes_no_visitor() {
    let visitor = Visitor { key: key(3, 1), home: CoreId(7), seat: seat(31) };
    let other = Visitor { seat: seat(30), ..visitor };
    let mut owner = queue(&[owned(2)]);
    owner.block(seat(0), 0);
    assert_eq!(owner.host(visitor), Err(visitor));
    let (mut host, inbox) = (RunQueue::new(HOST), Inbox::new());
    inbox.offer(visitor).unwrap();
    assert_eq!(inbox.offer(other), Err(other), "the slot holds one");
    assert_eq!(host.drain(&inbox, 0).bounce, None);
    inbox.offer(other).unwrap();
    assert_eq!(host.drain(&inbox, 0).bounce, Some(other));
    assert_eq!(host.dismiss(), Some(visitor));
}

#[test]
fn a_refused_offer_is_undone() {
    let mut home = busy_home();
    let visitor = lend(&mut home);
    home.returned(visitor.seat, Returned::Ready, 3);
    assert_eq!(lend(&mut home), visitor);
    home.returned(visitor.seat, Returned::Ready, 3);
    home.returned(visitor.seat, Returned::Blocked, 3);
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
fn idle_and_busy_cores_find_each_other() {
    let exchange = Exchange::new();
    assert!(exchange.enter_surplus(CoreId(3)).is_empty());
    assert_eq!(exchange.enter_idle(CoreId(100)), CoreSet::one(CoreId(3)));
    assert_eq!(exchange.enter_surplus(CoreId(3)), CoreSet::one(CoreId(100)));
    exchange.leave_idle(CoreId(100));
    exchange.leave_surplus(CoreId(3));
    assert!(exchange.enter_idle(CoreId(1)).is_empty());
}
