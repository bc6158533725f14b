//! Calls over one hop (B2, B3): what comes across, in which order, and what is left of a call.
#![cfg(not(loom))]

mod support;

use std::thread;

use shikiri_rpc::{
    Area, Begin, Blocking, Client, Context, INLINE_BYTES, Leg, Patience, Pool, Server, Side,
    Transport,
};
use support::sample::{Fault, Plain, Sample, SampleServer, SampleStub, pair, serve_now};
use support::{Queue, Wire, WireLeg, queues, words};

#[test]
fn every_kind_of_argument_and_result_comes_across() {
    let wire = Wire::new(4, 2, 5120);
    let (client, server) = pair::<4>(&wire);
    thread::scope(|scope| {
        scope.spawn(|| server.serve(&mut Context::<5120>::new(), &SampleServer(Plain)));
        let stub = SampleStub(Blocking::new(&client, Patience::Fail));
        assert_eq!(stub.length(&[3; 5000]), Ok(5000));
        assert_eq!(stub.fill(3000), Ok(Plain.fill(3000)));
        assert_eq!(stub.divide(-7, 2), Ok(Ok(-3)));
        assert_eq!(stub.divide(1, 0), Ok(Err(Fault::ByZero)));
        assert_eq!(stub.divide(i64::MIN, -1), Ok(Err(Fault::Overflow { a: i64::MIN })));
        assert_eq!(stub.nothing(), Ok(()));
        wire.bells[0].leave();
    });
    assert_eq!((wire.pool().in_use(), client.strays(), server.rejected()), (0, 0, 0));
}

#[test]
fn replies_may_come_in_any_order() {
    let wire = Wire::new(8, 4, 512);
    let (client, server) = pair::<8>(&wire);
    let calls: Vec<_> = (0..8u32).map(|n| client.begin::<_, u32>(1, &n).unwrap()).collect();
    let mut contexts: Vec<_> = (0..8).map(|_| Context::<512>::new()).collect();
    let mut requests: Vec<_> =
        contexts.iter_mut().map(|context| server.receive(context).unwrap().unwrap()).collect();
    for index in [5, 0, 5, 1, 3, 2, 1, 0] {
        let request = requests.remove(index);
        let number = shikiri_rpc::decode::<u32>(request.arguments).unwrap();
        request.answer.send(&(number * 100)).unwrap();
    }
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.wait(), Ok(number * 100));
    }
}

#[test]
fn a_result_may_borrow_from_the_callers_memory() {
    let wire = Wire::new(4, 4, 1024);
    let (client, server) = pair::<4>(&wire);
    let pending = SampleStub(Begin::new(&client)).fill(300).unwrap();
    serve_now(&server);
    let mut copy = [0; 1024];
    let bytes: &[u8] = pending.wait_in(&mut copy).unwrap();
    assert_eq!(wire.pool().in_use(), 0);
    assert_eq!(bytes, Plain.fill(300));
}

#[test]
fn a_call_that_is_left_leaves_nothing() {
    let wire = Wire::new(8, 4, 1024);
    let (client, server) = pair::<1>(&wire);
    let stub = SampleStub(Begin::new(&client));
    // Left before the server has seen it, before the reply, and after the reply.
    drop(stub.fill(500).unwrap());
    serve_now(&server);
    assert_eq!(client.receive(), Ok(false));
    assert_eq!((client.strays(), wire.pool().in_use()), (1, 0));
    let pending = stub.fill(500).unwrap();
    serve_now(&server);
    assert_eq!(client.receive(), Ok(false));
    assert_eq!(wire.pool().in_use(), 1);
    drop(pending);
    assert_eq!((client.in_flight(), wire.pool().in_use()), (0, 0));
    // The next call in the same slot does not get the reply of the one before.
    drop(stub.fill(1).unwrap());
    let next = stub.fill(3).unwrap();
    serve_now(&server);
    assert_eq!(next.wait(), Ok(vec![0, 1, 2]));
}

#[test]
fn it_works_over_a_transport_of_short_messages() {
    let [ours, theirs] = queues(4);
    let memory = words(1 + 3 * (2 + 640));
    Pool::create(Area::new(&memory), 3, 5120).unwrap();
    let leg = |queue: Queue| {
        let leg = Leg::new(queue);
        assert!(leg.pools().add(Pool::attach(Area::new(&memory), 5120).unwrap()).is_ok());
        leg
    };
    let client = Client::<_, 4>::new(leg(ours));
    let server = Server::new(leg(theirs), Patience::Wait);
    thread::scope(|scope| {
        scope.spawn(|| server.serve(&mut Context::<5120>::new(), &SampleServer(Plain)));
        let stub = SampleStub(Blocking::new(&client, Patience::Wait));
        for count in [0, 7, 8, 500, 5000] {
            assert_eq!(stub.fill(count), Ok(Plain.fill(count)));
        }
        client.leg().transport().leave();
    });
    assert_eq!(client.leg().pools().in_use(), 0);
}

#[test]
fn nobody_rings_for_who_does_not_wait() {
    let wire = Wire::new(8, 4, 1024);
    let (client, server) = pair::<4>(&wire);
    for _ in 0..10 {
        let pending = SampleStub(Begin::new(&client)).fill(500).unwrap();
        serve_now(&server);
        assert_eq!(pending.finish().ok(), Some(Ok(Plain.fill(500))));
    }
    assert_eq!((wire.bells[0].rings(), wire.bells[1].rings()), (0, 0));
}

/// The legs' types can be named.
#[test]
fn a_leg_tells_its_transport_and_areas() {
    let wire = Wire::new(4, 4, 1024);
    let leg: WireLeg<'_> = wire.leg(Side::A);
    assert_eq!(leg.transport().inline_bytes(), INLINE_BYTES);
    assert_eq!(leg.pools().get(0).map(Pool::count), Some(4));
    assert!(leg.pools().get(1).is_none());
}
