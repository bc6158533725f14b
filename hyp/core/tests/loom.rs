//! Every interleaving of what cores share in the core: CPU_ON, the last CPU_OFF, the scheduler's inbox.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shikiri-core --test loom`
#![cfg(loom)]

#[path = "loom/channels.rs"]
mod channels;
#[path = "loom/events.rs"]
mod events;
#[path = "loom/objects.rs"]
mod objects;
#[path = "loom/shares.rs"]
mod shares;
#[path = "loom/waiting.rs"]
mod waiting;

use loom::sync::Arc;
use loom::thread;
use shikiri_abi::{CoreId, CoreSet, PartitionSlot, VcpuIndex};
use shikiri_core::power::{LiveVcpus, PowerState, Remaining, Start, VcpuPower};
use shikiri_core::sched::{
    Excess, Exchange, Inbox, Reservation, Returned, RunQueue, Seat, Share, Terms, VcpuKey, Visitor,
};

/// Two vCPUs turn on a third at the same time; its core looks whenever it likes.
#[test]
fn exactly_one_of_simultaneous_cpu_ons_succeeds() {
    loom::model(|| {
        let shared = Arc::new((VcpuPower::new(), LiveVcpus::new()));
        let callers = [10, 20].map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.0.turn_on(&shared.1, Start { entry: number, context: number + 1 })
            })
        });
        let early = shared.0.take_start();
        let results = callers.map(|caller| caller.join().unwrap());
        let start = early.or_else(|| shared.0.take_start()).unwrap();
        assert_eq!(start.entry + 1, start.context, "halves of two starts");
        let winner = if start.entry == 10 { 0 } else { 1 };
        assert_eq!(results[winner], Ok(()));
        assert!(matches!(results[1 - winner], Err(PowerState::OnPending | PowerState::On)));
        assert_eq!(shared.0.take_start(), None);
        assert_eq!(shared.1.count(), 1);
    });
}

/// A vCPU turns off while another turns it on again: the new life starts after the old one's last store.
#[test]
fn a_new_life_begins_after_the_old_one() {
    loom::model(|| {
        let power = Arc::new(VcpuPower::new());
        let live = Arc::new(LiveVcpus::new());
        let register = Arc::new(loom::cell::UnsafeCell::new(0));
        power.turn_on(&live, Start { entry: 0, context: 0 }).unwrap();
        power.take_start().unwrap();
        let caller = {
            let (power, live) = (Arc::clone(&power), Arc::clone(&live));
            let register = Arc::clone(&register);
            thread::spawn(move || {
                let result = power.turn_on(&live, Start { entry: 4, context: 0 });
                if result.is_ok() {
                    register.with(|_| ());
                }
                result
            })
        };
        register.with_mut(|_| ());
        let remaining = power.turn_off(&live);
        match caller.join().unwrap() {
            Ok(()) => assert_eq!(power.take_start(), Some(Start { entry: 4, context: 0 })),
            Err(state) => assert_eq!(state, PowerState::On),
        }
        assert!(remaining == Remaining::None || live.count() == 1);
    });
}

#[test]
fn exactly_one_of_simultaneous_cpu_offs_is_the_last() {
    loom::model(|| {
        let live = Arc::new(LiveVcpus::new());
        let vcpus = [(); 2].map(|()| {
            let power = VcpuPower::new();
            power.turn_on(&live, Start { entry: 0, context: 0 }).unwrap();
            power.take_start().unwrap();
            power
        });
        let threads = vcpus.map(|power| {
            let live = Arc::clone(&live);
            thread::spawn(move || power.turn_off(&live))
        });
        let results = threads.map(|thread| thread.join().unwrap());
        let last = results.iter().filter(|result| **result == Remaining::None).count();
        assert_eq!(last, 1);
    });
}

fn seat() -> Seat {
    Seat::new(3).unwrap()
}

fn queue() -> RunQueue {
    let mut queue = RunQueue::new(CoreId(0));
    let terms = Terms {
        key: VcpuKey { partition: PartitionSlot(1), vcpu: VcpuIndex(0) },
        share: Share::Reserved(Reservation::new(1, 10).unwrap()),
        priority: 0,
        excess: Excess::Slack,
        cores: CoreSet(0b11),
    };
    queue.seat(seat(), terms, 0);
    queue
}

/// Lends the queue's vCPU to core 1.
fn lend(home: &mut RunQueue) -> Visitor {
    let exchange = Exchange::new();
    let _called = exchange.enter_idle(CoreId(1), CoreSet::EMPTY);
    home.seek_host(&exchange, (0, 0), |_| true).loan.unwrap().visitor
}

/// A lent vCPU comes home blocked while a third core wakes it: after both it is ready, in every order, and
/// whoever found the inbox empty kicks.
#[test]
fn a_wake_up_that_meets_the_return_is_not_lost() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let mut home = queue();
        assert!(home.wake(seat(), 0));
        lend(&mut home);
        let host = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.hand_back(seat(), Returned::Blocked, 1))
        };
        let waker = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.wake(seat()))
        };
        let _early = home.drain(&inbox, 1);
        let kicks = [host.join().unwrap(), waker.join().unwrap()];
        assert!(kicks.contains(&true));
        let _late = home.drain(&inbox, 2);
        assert!(home.pick(3).run.is_some());
    });
}

/// An announced vCPU's key is there when its wake-up is.
#[test]
fn a_newcomers_key_comes_with_its_wake_up() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let key = VcpuKey { partition: PartitionSlot(9), vcpu: VcpuIndex(7) };
        let other = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.admit(seat(), key))
        };
        let drained = RunQueue::new(CoreId(0)).drain(&inbox, 0);
        if drained.unknown != 0 {
            assert_eq!(inbox.key(seat()), key);
        }
        assert!(other.join().unwrap());
    });
}

/// A visitor's state goes out with it and comes home with it, and so does what it has used.
#[test]
fn a_visitors_state_is_one_cores_at_a_time() {
    loom::model(|| {
        let state = Arc::new(loom::cell::UnsafeCell::new(()));
        let inboxes = Arc::new([Inbox::new(), Inbox::new()]);
        let mut home = queue();
        assert!(home.wake(seat(), 0));
        let visitor = lend(&mut home);
        state.with_mut(|_| ());
        let host = {
            let (state, inboxes) = (Arc::clone(&state), Arc::clone(&inboxes));
            thread::spawn(move || {
                let mut queue = RunQueue::new(CoreId(1));
                let _drained = queue.drain(&inboxes[1], 0);
                let has_come = queue.pick(0).run.is_some();
                if has_come {
                    state.with_mut(|_| ());
                    let it = queue.dismiss(1).unwrap();
                    assert!(inboxes[0].hand_back(it.seat, Returned::Ready, it.used));
                }
                has_come
            })
        };
        inboxes[1].offer(visitor).unwrap();
        let _early = home.drain(&inboxes[0], 2);
        if home.host_of(seat()).is_none() {
            state.with_mut(|_| ());
            assert_eq!(home.budget_left(seat()), Some(0));
        }
        if host.join().unwrap() {
            let _late = home.drain(&inboxes[0], 3);
            assert_eq!(home.host_of(seat()), None);
        } else {
            assert!(!inboxes[1].is_empty(), "the offer is still there");
        }
    });
}

/// A core goes idle while another gets work that it could lend: one of them sees the other, and the idle core gets one
/// offer, or the busy one one call.
#[test]
fn an_idle_core_and_a_busy_one_cannot_miss_each_other() {
    loom::model(|| {
        let exchange = Arc::new(Exchange::new());
        let idle = {
            let exchange = Arc::clone(&exchange);
            thread::spawn(move || exchange.enter_idle(CoreId(1), CoreSet(1)))
        };
        let seen_by_busy = exchange.enter_surplus(CoreId(0));
        let seen_by_idle = idle.join().unwrap();
        assert!(!seen_by_busy.is_empty() || !seen_by_idle.is_empty());
        assert_eq!(exchange.is_surplus(CoreId(0)), seen_by_idle.is_empty());
        assert!(exchange.claim(CoreId(1)) && !exchange.claim(CoreId(1)));
    });
}

/// Two busy cores see the same idle one: it gets one offer.
#[test]
fn an_idle_core_is_claimed_once() {
    loom::model(|| {
        let exchange = Arc::new(Exchange::new());
        let _called = exchange.enter_idle(CoreId(2), CoreSet::EMPTY);
        let others = [0, 1].map(|core| {
            let exchange = Arc::clone(&exchange);
            thread::spawn(move || {
                let seen = exchange.enter_surplus(CoreId(core));
                seen.contains(CoreId(2)) && exchange.claim(CoreId(2))
            })
        });
        let claims = others.map(|other| other.join().unwrap());
        assert_eq!(claims.iter().filter(|claim| **claim).count(), 1);
    });
}
