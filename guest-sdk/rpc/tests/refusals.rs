//! What a server refuses, and that the caller is told, even when there is no room for it at first.
#![cfg(not(loom))]

mod support;

use std::future::Future as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::Instant;

use shikiri_rpc::{
    Begin, Body, CallError, CallId, Client, Context, Dispatch, Epoch, Inline, Kind, Leg, Message,
    Patience, PeerGone, Reference, SendError, Server, Side, Status, Transport,
};
use support::sample::{Plain, SampleServer, SampleStub, WireServer, pair, serve_now};
use support::{Queue, Unpark, Wire, queues, soon};

#[test]
fn what_the_server_refuses_the_caller_is_told() {
    let wire = Wire::new(8, 4, 1024);
    let (client, server) = pair::<8>(&wire);
    let end = |method: u16, arguments: &[u8]| {
        let pending = client.begin::<_, u32>(method, arguments).unwrap();
        serve_now(&server);
        pending.wait()
    };
    assert_eq!(end(99, &[]), Err(CallError::Refused(Status::NoSuchMethod)));
    assert_eq!(end(2, &[0xff; 9]), Err(CallError::Refused(Status::BadArguments)));
    assert_eq!(end(4, &[]), Err(CallError::Refused(Status::BadArguments)), "one byte too many");
    // A result of another type than the caller expects.
    let pending = client.begin::<_, bool>(1, &[7u8; 7][..]).unwrap();
    serve_now(&server);
    assert_eq!(pending.wait(), Err(CallError::BadReply));
    // A result larger than a buffer.
    let pending = SampleStub(Begin::new(&client)).fill(1024).unwrap();
    serve_now(&server);
    assert_eq!(pending.wait(), Err(CallError::Refused(Status::TooLarge)));
    // Arguments larger than the server's context.
    let pending = SampleStub(Begin::new(&client)).length(&[0; 600]).unwrap();
    let mut small = Context::<600>::new();
    assert!(server.receive(&mut small).unwrap().is_none());
    assert_eq!(pending.wait(), Err(CallError::Refused(Status::TooLarge)));
    // A result larger than what the caller has for it.
    let pending = SampleStub(Begin::new(&client)).fill(600).unwrap();
    serve_now(&server);
    let mut copy = [0; 600];
    let result = pending.finish_in::<&[u8]>(&mut copy).ok();
    assert_eq!(result, Some(Err(CallError::TooLarge)));
    // A server that forgets.
    let pending = SampleStub(Begin::new(&client)).nothing().unwrap();
    drop(server.receive(&mut small).unwrap());
    assert_eq!(pending.wait(), Err(CallError::Refused(Status::Abandoned)));
    assert_eq!((wire.pool().in_use(), client.in_flight()), (0, 0));
}

/// By hand over the transport, as a peer may do it.
#[test]
fn malformed_messages_are_refused_and_their_buffers_free() {
    let wire = Wire::new(8, 2, 1024);
    let server: WireServer<'_> = Server::new(wire.leg(Side::B), Patience::Fail);
    let peer = wire.transport(Side::A);
    let pool = wire.pool();
    let mut context = Context::<2048>::new();
    let mut refused = |kind: Kind, body: Body| {
        peer.send(&Message { kind, code: 1, call: CallId(77), body }).unwrap();
        assert!(server.receive(&mut context).unwrap().is_none());
        assert_eq!(wire.pool().in_use(), 0);
        peer.receive(&mut 0).unwrap().map(|reply| {
            assert_eq!((reply.kind, reply.call), (Kind::Reply, CallId(77)));
            reply.code
        })
    };
    let bad = Some(Status::BadMessage.code());
    let hand_over = || pool.take().unwrap().hand_over();
    let free = {
        let buffer = pool.take().unwrap();
        buffer.reference()
    };
    let body = |area, reference, bytes| Body::Buffer { area, reference, bytes };
    // Free, absent, in an area that does not exist, longer than a buffer, larger than the context.
    assert_eq!(refused(Kind::Request, body(0, free, 8)), bad);
    assert_eq!(refused(Kind::Request, body(0, Reference(free.0 + 8), 8)), bad);
    assert_eq!(refused(Kind::Request, body(1, free, 8)), bad);
    assert_eq!(refused(Kind::Request, body(0, hand_over(), 1025)), bad);
    let too_large = Some(Status::TooLarge.code());
    assert_eq!(refused(Kind::Request, body(0, hand_over(), 2049)), too_large);
    // A reply to nobody: no answer to it, but its buffer is free.
    assert_eq!(refused(Kind::Reply, body(0, hand_over(), 8)), None);
    assert_eq!(server.rejected(), 6);
}

#[test]
fn a_refusal_that_finds_no_room_comes_when_there_is_some() {
    let too_large = |server: &WireServer<'_>| {
        assert!(server.receive(&mut Context::<2>::new()).unwrap().is_none());
    };
    type Answers<'f> = &'f dyn Fn(&WireServer<'_>);
    let ways: [(Status, u16, Answers<'_>); 3] = [
        (Status::NoSuchMethod, 99, &|server| serve_now(server)),
        (Status::Abandoned, 1, &|server| drop(server.receive(&mut Context::<64>::new()))),
        (Status::TooLarge, 1, &too_large),
    ];
    for (status, method, answer) in ways {
        let wire = Wire::new(2, 0, 64);
        let (client, server) = pair::<4>(&wire);
        let begin = |method| client.begin::<_, u32>(method, &[0u8; 3][..]).unwrap();
        let served = (begin(1), begin(1));
        serve_now(&server);
        // The ring is full of replies that the caller has not looked at.
        let (refused, later) = (begin(method), begin(1));
        answer(&server);
        serve_now(&server);
        // Now it looks: there is room, and who looks for requests first sends what is owed.
        let Err(refused) = refused.finish() else { panic!("nothing had room") };
        serve_now(&server);
        assert_eq!(refused.finish().ok(), Some(Err(CallError::Refused(status))));
        assert_eq!(later.finish().ok(), Some(Ok(3)), "it was served after that");
        assert_eq!((served.0.finish().ok(), served.1.finish().ok()), (Some(Ok(3)), Some(Ok(3))));
    }
}

/// A queue that stops its user behind a message, once it is told to.
struct Stopping {
    queue: Queue,
    is_told: AtomicBool,
    stops: Barrier,
}

impl Transport for Stopping {
    type Deadline = Instant;

    fn inline_bytes(&self) -> usize {
        self.queue.inline_bytes()
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        let sent = self.queue.send(message);
        if self.is_told.swap(false, Ordering::Relaxed) {
            self.stops.wait();
            self.stops.wait();
        }
        sent
    }

    fn receive(&self, others: &mut u32) -> Result<Option<Message>, PeerGone> {
        self.queue.receive(others)
    }

    fn notify(&self) {
        self.queue.notify();
    }

    fn watch(&self) -> Epoch {
        self.queue.watch()
    }

    fn wait(&self, seen: Epoch) {
        self.queue.wait(seen);
    }

    fn wait_until(&self, seen: Epoch, deadline: Instant) {
        self.queue.wait_until(seen, deadline);
    }

    fn is_over(&self, deadline: Instant) -> bool {
        self.queue.is_over(deadline)
    }

    fn register(&self, waker: &Waker) {
        self.queue.register(waker);
    }

    fn wake(&self) {
        self.queue.wake();
    }

    fn is_peer_gone(&self) -> bool {
        self.queue.is_peer_gone()
    }
}

/// A caller, and a server that can be stopped, with room for so many messages each way.
fn stopping(capacity: usize) -> (Client<'static, Queue, 8>, Server<'static, Stopping>) {
    let [near, queue] = queues(capacity);
    let far = Stopping { queue, is_told: AtomicBool::new(false), stops: Barrier::new(2) };
    (Client::new(Leg::new(near)), Server::new(Leg::new(far), Patience::Fail))
}

#[test]
fn who_sleeps_while_another_thread_sends_a_refusal_is_woken_for_what_is_behind_it() {
    let (client, server) = stopping(2);
    let begin = |method| client.begin::<_, ()>(method, &()).unwrap();
    let served = (begin(4), begin(4));
    serve_now(&server);
    // The way back is full: the refusal is owed, and two calls wait behind it.
    let refused = begin(99);
    serve_now(&server);
    let later = (begin(4), begin(4));
    assert_eq!((served.0.finish().ok(), served.1.finish().ok()), (Some(Ok(())), Some(Ok(()))));
    let far = server.leg().transport();
    far.is_told.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut context = Context::<64>::new();
            // It is executed for long.
            server.receive(&mut context).unwrap().map(|request| request.answer)
        });
        far.stops.wait();
        // As `Server::wait` does, up to where it sleeps.
        let seen = far.watch();
        assert!(server.receive(&mut Context::<64>::new()).unwrap().is_none());
        far.stops.wait();
        let answer = first.join().unwrap().expect("the first that waited");
        assert_ne!(far.watch(), seen, "the second one waits, and nobody else will ring for it");
        answer.send(&()).unwrap();
    });
    assert_eq!(refused.wait(), Err(CallError::Refused(Status::NoSuchMethod)));
    serve_now(&server);
    assert_eq!((later.0.wait(), later.1.wait()), (Ok(()), Ok(())));
}

/// One has found no room, and then there is some; another one looks, finds nothing to be sent, and sleeps; and only then the first one puts the
/// refusal back.
#[test]
fn a_refusal_that_one_puts_back_while_another_sleeps_is_sent() {
    let (client, server) = stopping(1);
    let begin = |method| client.begin::<_, ()>(method, &()).unwrap();
    let served = begin(4);
    serve_now(&server);
    let refused = begin(99);
    serve_now(&server);
    let far = server.leg().transport();
    far.is_told.store(true, Ordering::Relaxed);
    let look = || server.receive(&mut Context::<64>::new()).unwrap().is_none();
    let (sent, slept) = thread::scope(|scope| {
        let first = scope.spawn(look);
        far.stops.wait();
        let sent = served.finish().ok();
        let seen = far.watch();
        let found_none = look();
        let slept = found_none && far.watch() == seen;
        far.stops.wait();
        (first.join().unwrap().then_some(sent), slept)
    });
    assert_eq!(sent, Some(Some(Ok(()))));
    assert!(slept, "it looks again and again, as long as the way is full");
    let answer = refused.finish().ok();
    assert_eq!(answer, Some(Err(CallError::Refused(Status::NoSuchMethod))), "it is nobody's");
}

/// More than a look takes in at once, and the peer tells of none of it again.
#[test]
fn what_lies_behind_many_refused_messages_is_found_without_another_word() {
    let wire = Wire::new(1024, 2, 1024);
    let server: WireServer<'_> = Server::new(wire.leg(Side::B), Patience::Fail);
    let peer = wire.transport(Side::A);
    // The last one is good: the sample's `nothing`.
    let ask = |call: u32| {
        for number in 0..=200 {
            let kind = if number == 200 { Kind::Request } else { Kind::Reply };
            let body = Body::Inline(Inline::EMPTY);
            peer.send(&Message { kind, code: 4, call: CallId(call), body }).unwrap();
        }
    };
    let reply = || peer.receive(&mut 0).unwrap();
    let answered = || reply().map(|reply| (reply.kind, reply.code, reply.call));
    let mut context = Context::<2048>::new();
    // By a thread.
    ask(1);
    let request = server.wait_until(&mut context, soon()).unwrap();
    Dispatch::dispatch(&SampleServer(Plain), request.expect("it is there"));
    assert_eq!(answered(), Some((Kind::Reply, 0, CallId(1))));
    // By a task: it is ready, or has been woken to look again.
    ask(2);
    let woken = Arc::new(Unpark(thread::current(), AtomicUsize::new(1)));
    let waker = Waker::from(woken.clone());
    let mut received = pin!(server.received(&mut context));
    let request = loop {
        assert_ne!(woken.1.swap(0, Ordering::Relaxed), 0, "nobody wakes the task");
        match received.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(request) => break request.unwrap(),
            Poll::Pending => {}
        }
    };
    Dispatch::dispatch(&SampleServer(Plain), request);
    assert_eq!((answered(), server.rejected()), (Some((Kind::Reply, 0, CallId(2))), 400));
}
