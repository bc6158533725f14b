//! Waiting for calls over one hop: until a deadline, as a task, and until the peer ends.
#![cfg(not(loom))]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::Instant;

use shikiri_rpc::{
    Begin, Blocking, CallError, Client, Context, Patience, SendError, Server, Side, Status, Timed,
};
use support::sample::{Plain, Sample, SampleServer, SampleStub, WireClient, pair, serve_now};
use support::{Unpark, Wire, later, run_all, soon};

#[test]
fn a_timed_call_can_go_on_or_be_left() {
    let wire = Wire::new(4, 4, 1024);
    let (client, server) = pair::<4>(&wire);
    let pending = SampleStub(Begin::new(&client)).fill(500).unwrap();
    // Nothing happens at all: no interrupt, no message, nobody rings.
    let deadline = soon();
    let pending = pending.wait_until(deadline).expect_err("nobody serves");
    assert!(Instant::now() >= deadline);
    let stub = SampleStub(Timed::new(&client, soon()));
    assert_eq!(stub.nothing(), Err(CallError::TooLate));
    assert_eq!(client.in_flight(), 1, "what came too late was left");
    serve_now(&server);
    assert_eq!(pending.wait_until(later()).ok(), Some(Ok(Plain.fill(500))));
    thread::scope(|scope| {
        scope.spawn(|| {
            server.serve_until(&mut Context::<512>::new(), &SampleServer(Plain), later())
        });
        assert_eq!(SampleStub(Timed::new(&client, later())).fill(500), Ok(Plain.fill(500)));
        wire.bells[0].leave();
    });
}

#[test]
fn a_timed_server_stops_at_its_deadline_and_not_before() {
    let wire = Wire::new(4, 2, 1024);
    let client: WireClient<'_, 4> = Client::new(wire.leg(Side::A));
    let server = Server::new(wire.leg(Side::B), Patience::Wait);
    let mut context = Context::<1024>::new();
    assert!(server.wait_until(&mut context, soon()).unwrap().is_none(), "nobody calls");
    let deadline = soon();
    assert!(server.serve_until(&mut context, &SampleServer(Plain), deadline).is_ok());
    assert!(Instant::now() >= deadline);
    // A reply that finds no buffer waits until then and is a refusal.
    let pending = SampleStub(Begin::new(&client)).fill(500).unwrap();
    let pool = wire.pool();
    let held = (pool.take().unwrap(), pool.take().unwrap());
    assert!(server.serve_until(&mut context, &SampleServer(Plain), soon()).is_ok());
    assert_eq!(pending.wait(), Err(CallError::Refused(Status::NoBuffer)));
    drop(held);
    // Who calls without end does not keep it.
    let _calls: Vec<_> = (0..3).map(|_| SampleStub(Begin::new(&client)).nothing()).collect();
    assert!(server.serve_until(&mut context, &SampleServer(Plain), Instant::now()).is_ok());
    let served = server.wait_until(&mut context, Instant::now()).unwrap();
    assert!(served.is_some(), "what has come is there, whatever the time is");
    drop(served);
    wire.bells[0].leave();
    while server.receive(&mut context).is_ok() {}
    assert!(server.serve_until(&mut context, &SampleServer(Plain), later()).is_err());
}

/// 40 tasks in one thread, with 4 call slots and 2 buffers, and two tasks that serve them in another one.
#[test]
fn calls_can_be_awaited() {
    let wire = Wire::new(4, 2, 1024);
    let client: WireClient<'_, 4> = Client::new(wire.leg(Side::A));
    let server = Server::new(wire.leg(Side::B), Patience::Wait);
    thread::scope(|scope| {
        scope.spawn(|| {
            run_all(
                vec![(); 2]
                    .into_iter()
                    .map(async |()| {
                        server.served(&mut Context::<1024>::new(), &SampleServer(Plain)).await;
                    })
                    .collect(),
            )
        });
        let stub = SampleStub(Begin::new(&client));
        let tasks = (0..40u32).map(|task| {
            let (client, stub) = (&client, &stub);
            async move {
                let count = task * 20;
                let bytes = vec![1; usize::try_from(count).unwrap()];
                let length = client.when_room(|| stub.length(&bytes)).await?.await?;
                let filled = client.when_room(|| stub.fill(count)).await?.await?;
                Ok::<_, CallError>((length, filled))
            }
        });
        let results = run_all(tasks.collect());
        for (task, result) in (0..).zip(results) {
            assert_eq!(result, Ok((task * 20, Plain.fill(task * 20))));
        }
        wire.bells[0].leave();
    });
    assert_eq!((wire.pool().in_use(), client.in_flight()), (0, 0));
}

#[test]
fn tasks_learn_of_the_peers_end() {
    let wire = Wire::new(4, 1, 1024);
    let (client, _server) = pair::<4>(&wire);
    let stub = SampleStub(Begin::new(&client));
    let waits = async { stub.length(&[1; 500])?.await };
    let wants = async { client.when_room(|| stub.length(&[1; 500])).await?.await };
    let (mut waits, mut wants) = (pin!(waits), pin!(wants));
    let woken = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut context = TaskContext::from_waker(&waker);
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert!(wants.as_mut().poll(&mut context).is_pending());
    assert_eq!(woken.1.load(Ordering::Relaxed), 0, "who waits is not woken by itself");
    wire.bells[1].leave();
    assert!(woken.1.load(Ordering::Relaxed) >= 1, "by the end itself");
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(Err(CallError::PeerGone)));
    assert_eq!(wants.as_mut().poll(&mut context), Poll::Ready(Err(CallError::PeerGone)));
}

#[test]
fn the_end_of_the_peer_is_a_result_at_every_step() {
    let wire = Wire::new(8, 1, 1024);
    let (client, server) = pair::<8>(&wire);
    let stub = SampleStub(Begin::new(&client));
    let (answered, taken, sent) =
        (stub.nothing().unwrap(), stub.nothing().unwrap(), stub.length(&[0; 500]).unwrap());
    let (mut one, mut two) = (Context::<1024>::new(), Context::<1024>::new());
    server.receive(&mut one).unwrap().unwrap().answer.send(&()).unwrap();
    let request = server.receive(&mut two).unwrap().unwrap();
    thread::scope(|scope| {
        // One waits for the reply, one for a buffer.
        let waits = scope.spawn(|| sent.wait());
        let wants =
            scope.spawn(|| SampleStub(Blocking::new(&client, Patience::Wait)).length(&[1; 600]));
        thread::yield_now();
        wire.bells[1].leave();
        assert_eq!(waits.join().unwrap(), Err(CallError::PeerGone));
        assert_eq!(wants.join().unwrap(), Err(CallError::PeerGone));
    });
    assert_eq!(answered.wait(), Ok(()), "it was answered before");
    assert_eq!(taken.wait(), Err(CallError::PeerGone));
    assert_eq!(stub.nothing().err(), Some(CallError::PeerGone));
    assert!(client.is_gone());
    // The other way round.
    wire.bells[0].leave();
    assert_eq!(request.answer.send(&()).unwrap_err().why, SendError::PeerGone);
    server.serve(&mut one, &SampleServer(Plain));
    assert!(server.receive(&mut one).is_err());
}
