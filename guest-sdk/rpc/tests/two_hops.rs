//! Calls over two hops (B2): caller, intermediary, server, and the memory that they use.
#![cfg(not(loom))]

mod support;

use std::thread;

use shikiri_rpc::{
    CallError, Client, Context, Dispatch as _, Patience, Pending, Relay, Ring, Server, Side,
    Status, Step,
};
use support::{Bell, Wire, run_all};

shikiri_rpc::service! {
    trait Reverse, stub ReverseStub, server ReverseServer {
        1: fn reverse(bytes: &[u8]) -> Vec<u8>;
    }
}

struct Plain;

impl Reverse for Plain {
    fn reverse(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }
}

type Transport<'w> = Ring<'w, &'w Bell>;
type Middle<'r, 'w, const CALLS: usize> =
    Relay<'r, 'w, 'w, Transport<'w>, Transport<'w>, CALLS, 5120>;
type Call<'c, 'w> = Pending<'c, 'w, Transport<'w>, 128, Vec<u8>>;

/// Steps the relays until none moves.
fn settle<const CALLS: usize>(relays: &mut [Middle<'_, '_, CALLS>]) {
    while relays.iter_mut().any(|relay| relay.step() == Ok(Step::Moved)) {}
}

/// Many calls that the server executes at the same time: the memory of both legs follows what is in transit.
#[test]
fn memory_follows_the_messages_in_transit_and_not_the_calls_b2() {
    const CALLS: usize = if cfg!(miri) { 5 } else { 100 };
    let (first, second) = (Wire::new(128, 3, 5120), Wire::new(128, 2, 5120));
    let caller = Client::<_, 128>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Fail);
    let down = Client::<_, 128>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Fail);
    let in_use = || (first.pool().in_use(), second.pool().in_use());
    let mut relays: Vec<Middle<'_, '_, 128>> = (0..CALLS).map(|_| Relay::new(&up, &down)).collect();
    let mut contexts: Vec<_> = (0..CALLS).map(|_| Context::<5120>::new()).collect();
    let mut contexts = contexts.iter_mut();
    let (mut pending, mut requests) = (Vec::<Call<'_, '_>>::new(), Vec::new());
    let mut most = (0, 0);
    for number in 0..CALLS {
        let bytes = vec![number.to_le_bytes()[0]; 4000];
        pending.push(caller.begin(1, &bytes).unwrap());
        assert_eq!(in_use(), (1, 0), "in transit on the first leg");
        settle(&mut relays);
        assert_eq!(in_use(), (0, 1), "in transit on the second");
        requests.push(server.receive(contexts.next().unwrap()).unwrap().unwrap());
        assert_eq!(in_use(), (0, 0), "{number} calls are being executed");
        most = (most.0.max(in_use().0), most.1.max(in_use().1));
    }
    assert_eq!(relays.iter().filter(|relay| relay.is_busy()).count(), CALLS);
    assert_eq!(caller.in_flight(), CALLS);
    // 400,000 bytes of arguments are outstanding; the legs have 3 and 2 buffers, and none is in use.
    while let Some(request) = requests.pop() {
        ReverseServer(Plain).dispatch(request);
        assert_eq!(in_use(), (0, 1), "the reply is in transit on the second leg");
        settle(&mut relays);
        assert_eq!(in_use(), (1, 0), "and on the first");
        let call = pending.pop().unwrap();
        let number = u32::try_from(pending.len()).unwrap();
        assert_eq!(call.wait(), Ok(vec![number.to_le_bytes()[0]; 4000]));
        assert_eq!(in_use(), (0, 0));
    }
    assert!(relays.iter().all(|relay| !relay.is_busy()), "each context is released");
    assert_eq!((caller.in_flight(), down.in_flight()), (0, 0));
}

#[test]
fn a_relay_that_finds_no_buffer_holds_none_itself() {
    let (first, second) = (Wire::new(8, 1, 1024), Wire::new(8, 1, 1024));
    let caller = Client::<_, 128>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Fail);
    let down = Client::<_, 8>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Fail);
    let mut relays: [Middle<'_, '_, 8>; 2] = [(); 2].map(|()| Relay::new(&up, &down));
    let one: Call<'_, '_> = caller.begin(1, &vec![1u8; 500]).unwrap();
    settle(&mut relays);
    let two: Call<'_, '_> = caller.begin(1, &vec![2u8; 500]).unwrap();
    settle(&mut relays);
    // The second leg's buffer has the first call; the second call's request is a copy at its relay.
    assert_eq!((first.pool().in_use(), second.pool().in_use()), (0, 1));
    assert_eq!(relays[1].step(), Ok(Step::Waiting));
    let mut context = Context::<1024>::new();
    while relays.iter().any(Middle::is_busy) {
        if let Some(request) = server.receive(&mut context).unwrap() {
            ReverseServer(Plain).dispatch(request);
        }
        settle(&mut relays);
        if one.is_over() {
            break;
        }
    }
    assert_eq!(one.wait(), Ok(vec![1; 500]));
    while !two.is_over() {
        settle(&mut relays);
        if let Some(request) = server.receive(&mut context).unwrap() {
            ReverseServer(Plain).dispatch(request);
        }
    }
    assert_eq!(two.wait(), Ok(vec![2; 500]));
    assert_eq!((first.pool().in_use(), second.pool().in_use()), (0, 0));
}

#[test]
fn what_the_server_answers_goes_through_the_relay() {
    let (first, second) = (Wire::new(8, 2, 1024), Wire::new(8, 2, 512));
    let caller = Client::<_, 128>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Fail);
    let down = Client::<_, 8>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Fail);
    let mut relay: [Middle<'_, '_, 8>; 1] = [Relay::new(&up, &down)];
    let mut context = Context::<1024>::new();
    let mut end = |method: u16, length: usize| {
        let call: Call<'_, '_> = caller.begin(method, &vec![0u8; length]).unwrap();
        settle(&mut relay);
        if let Some(request) = server.receive(&mut context).unwrap() {
            ReverseServer(Plain).dispatch(request);
        }
        settle(&mut relay);
        assert!(!relay[0].is_busy());
        call.wait()
    };
    assert_eq!(end(1, 3), Ok(vec![0; 3]));
    assert_eq!(end(2, 3), Err(CallError::Refused(Status::NoSuchMethod)));
    assert_eq!(end(1, 600), Err(CallError::Refused(Status::TooLarge)), "for the second leg");
    assert_eq!(end(1, 500), Ok(vec![0; 500]));
}

#[test]
fn the_servers_end_is_told_the_caller() {
    let (first, second) = (Wire::new(8, 2, 1024), Wire::new(8, 2, 1024));
    let caller = Client::<_, 128>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Fail);
    let down = Client::<_, 8>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Fail);
    let mut relays: [Middle<'_, '_, 8>; 2] = [(); 2].map(|()| Relay::new(&up, &down));
    let one: Call<'_, '_> = caller.begin(1, &vec![1u8; 500]).unwrap();
    settle(&mut relays);
    second.bells[1].leave();
    settle(&mut relays);
    assert_eq!(one.wait(), Err(CallError::Refused(Status::PeerGone)));
    // One that comes later.
    let two: Call<'_, '_> = caller.begin(1, &vec![1u8; 500]).unwrap();
    settle(&mut relays);
    assert_eq!(two.wait(), Err(CallError::Refused(Status::PeerGone)));
    assert!(!relays.iter().any(Middle::is_busy));
    drop(server);
}

#[test]
fn the_callers_end_frees_the_relay() {
    let (first, second) = (Wire::new(8, 2, 1024), Wire::new(8, 2, 1024));
    let caller = Client::<_, 128>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Fail);
    let down = Client::<_, 8>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Fail);
    let mut relays: [Middle<'_, '_, 8>; 1] = [Relay::new(&up, &down)];
    let three: Call<'_, '_> = caller.begin(1, &vec![1u8; 500]).unwrap();
    settle(&mut relays);
    let mut context = Context::<1024>::new();
    let request = server.receive(&mut context).unwrap().unwrap();
    first.bells[0].leave();
    // At once, although the server has not answered.
    assert!(relays[0].is_busy() && relays[0].step().is_err() && !relays[0].is_busy());
    assert_eq!(down.in_flight(), 0);
    ReverseServer(Plain).dispatch(request);
    assert_eq!(second.pool().in_use(), 1);
    assert_eq!((down.receive(), second.pool().in_use()), (Ok(false), 0));
    drop(three);
}

/// Callers, relays and servers in threads of their own, with fewer of everything than calls.
#[test]
fn many_calls_share_two_legs_b2() {
    let calls: u32 = if cfg!(miri) { 3 } else { 200 };
    let (first, second) = (Wire::new(4, 2, 1024), Wire::new(4, 2, 1024));
    let caller = Client::<_, 4>::new(first.leg(Side::A));
    let up = Server::new(first.leg(Side::B), Patience::Wait);
    let down = Client::<_, 3>::new(second.leg(Side::A));
    let server = Server::new(second.leg(Side::B), Patience::Wait);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| server.serve(&mut Context::<1024>::new(), &ReverseServer(Plain)));
            scope.spawn(|| {
                // Two tasks, asleep while neither leg has anything for them.
                let mut relays: [Middle<'_, '_, 3>; 2] = [(); 2].map(|()| Relay::new(&up, &down));
                run_all(relays.iter_mut().map(Relay::run).collect())
            });
        }
        let callers: Vec<_> = (0..4u32)
            .map(|thread| {
                let caller = &caller;
                scope.spawn(move || {
                    let stub = ReverseStub(shikiri_rpc::Blocking::new(caller, Patience::Wait));
                    for call in 0..calls {
                        let length = usize::try_from((call * 53 + thread * 7) % 1000).unwrap();
                        let bytes: Vec<u8> =
                            (0..length).map(|at| (at * 3).to_le_bytes()[0]).collect();
                        assert_eq!(stub.reverse(&bytes), Ok(Plain.reverse(&bytes)));
                    }
                })
            })
            .collect();
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        first.bells[0].leave();
        second.bells[0].leave();
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!((first.pool().in_use(), second.pool().in_use()), (0, 0));
    assert_eq!((caller.in_flight(), down.in_flight()), (0, 0));
}
