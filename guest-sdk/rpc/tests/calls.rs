//! Calls over one hop (B2, B3): sync, polled, timed and awaited; what is used up; what goes wrong.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::Instant;

use shikiri_rpc::{
    Area, Begin, Blocking, Body, CallError, CallId, Client, Context, Doorbell, Epoch, INLINE_BYTES,
    Kind, Leg, Message, Patience, PeerGone, Pool, Reference, Ring, SendError, Server, Side, Status,
    Timed, Transport,
};
use support::{Queue, Unpark, Wire, WireLeg, later, queues, run_all, soon, words};

shikiri_rpc::service! {
    /// Something of everything.
    trait Sample, stub SampleStub, server SampleServer {
        /// How many bytes.
        1: fn length(bytes: &[u8]) -> u32;
        /// So many bytes.
        2: fn fill(count: u32) -> Vec<u8>;
        3: fn divide(a: i64, b: i64) -> Result<i64, Fault>;
        4: fn nothing() -> ();
    }
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Fault {
    ByZero,
    Overflow { a: i64 },
}

struct Plain;

impl Sample for Plain {
    fn length(&self, bytes: &[u8]) -> u32 {
        u32::try_from(bytes.len()).unwrap()
    }

    fn fill(&self, count: u32) -> Vec<u8> {
        (0..count).map(|index| index.to_le_bytes()[0]).collect()
    }

    fn divide(&self, a: i64, b: i64) -> Result<i64, Fault> {
        if b == 0 {
            return Err(Fault::ByZero);
        }
        a.checked_div(b).ok_or(Fault::Overflow { a })
    }

    fn nothing(&self) {}
}

type WireClient<'w, const CALLS: usize> =
    Client<'w, shikiri_rpc::Ring<'w, &'w support::Bell>, CALLS>;
type WireServer<'w> = Server<'w, shikiri_rpc::Ring<'w, &'w support::Bell>>;

fn pair<const CALLS: usize>(wire: &Wire) -> (WireClient<'_, CALLS>, WireServer<'_>) {
    (Client::new(wire.leg(Side::A)), Server::new(wire.leg(Side::B), Patience::Fail))
}

/// Serves what has arrived.
fn serve_now<T: Transport>(server: &Server<'_, T>) {
    let mut context = Context::<8192>::new();
    while let Ok(Some(request)) = server.receive(&mut context) {
        shikiri_rpc::Dispatch::dispatch(&SampleServer(Plain), request);
    }
}

#[test]
fn the_buffer_is_free_before_the_call_is_executed_b2() {
    let wire = Wire::new(4, 4, 5120);
    let (client, server) = pair::<4>(&wire);
    let in_use = || wire.pool().in_use();
    let pending = client.begin::<_, Vec<u8>>(9, &vec![7u8; 1000]).unwrap();
    assert_eq!(in_use(), 1, "the request is in transit");
    let mut context = Context::<5120>::new();
    let request = server.receive(&mut context).unwrap().unwrap();
    assert_eq!(in_use(), 0, "it was taken and is not executed yet");
    assert_eq!((request.method, request.arguments.len()), (9, 1002));
    let pending = pending.finish().expect_err("nobody has answered");
    request.answer.send(&vec![8u8; 2000]).unwrap();
    assert_eq!(in_use(), 1, "the reply is in transit");
    assert!(pending.is_over());
    assert_eq!(in_use(), 1, "it has arrived and is not unmarshalled yet");
    assert_eq!(pending.wait(), Ok(vec![8; 2000]));
    assert_eq!((in_use(), client.in_flight()), (0, 0));
}

#[test]
fn up_to_128_bytes_travel_without_a_buffer_b3() {
    let wire = Wire::new(8, 4, 5120);
    let (client, server) = pair::<4>(&wire);
    // One byte more is the length.
    for (length, buffers) in [(0, 0), (INLINE_BYTES - 1, 0), (INLINE_BYTES, 1)] {
        let bytes = vec![1u8; length];
        let pending = SampleStub(Begin::new(&client)).length(&bytes).unwrap();
        assert_eq!(wire.pool().in_use(), buffers, "{length}");
        serve_now(&server);
        assert_eq!(pending.wait(), Ok(u32::try_from(length).unwrap()));
    }
}

#[test]
fn the_threshold_is_the_transports_or_ones_own_b3() {
    let (words_a, words_b) = (words(3 + 2 * 8), words(5 + 2 * 8));
    let pools = [&words_a, &words_b].map(|words| Pool::create(Area::new(words), 1, 64).unwrap());
    let [ours, theirs] = queues(4);
    let leg = Leg::new(ours);
    let [short, other] = pools;
    assert!(leg.pools().add(short).is_ok());
    let client = Client::<_, 4>::new(leg);
    let server = Server::new(Leg::new(theirs), Patience::Fail);
    let eight = client.begin::<_, ()>(1, &[1u8; 8]).unwrap();
    assert_eq!(client.leg().pools().in_use(), 0);
    let nine = client.begin::<_, ()>(1, &[1u8; 9]).unwrap();
    assert_eq!(client.leg().pools().in_use(), 1);
    drop((eight, nine, server));

    let wire = Wire::new(4, 1, 64);
    let leg = Leg::with_threshold(wire.transport(Side::A), 16);
    assert!(leg.pools().add(other).is_ok());
    let client = Client::<_, 4>::new(leg);
    let _sixteen = client.begin::<_, ()>(1, &[1u8; 16]).unwrap();
    assert_eq!(client.leg().pools().in_use(), 0);
    let _seventeen = client.begin::<_, ()>(1, &[1u8; 17]).unwrap();
    assert_eq!(client.leg().pools().in_use(), 1);
}

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

/// Callers and servers in threads of their own, with fewer buffers, slots and places than calls: everybody waits for
/// everything, and everything arrives. With requests in all buffers and servers that wait for one, it would stand still.
#[test]
fn many_callers_and_servers_share_a_few_buffers_b2() {
    const CALLERS: u32 = 6;
    let calls: u32 = if cfg!(miri) { 5 } else { 300 };
    let wire = Wire::new(4, 2, 1024);
    let client: WireClient<'_, 4> = Client::new(wire.leg(Side::A));
    let server = Server::new(wire.leg(Side::B), Patience::Wait);
    let is_done = AtomicBool::new(false);
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| server.serve(&mut Context::<1024>::new(), &SampleServer(Plain)));
        }
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                most.fetch_max(wire.pool().in_use(), Ordering::Relaxed);
                thread::yield_now();
            }
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let client = &client;
                scope.spawn(move || {
                    let stub = SampleStub(Blocking::new(client, Patience::Wait));
                    for call in 0..calls {
                        let count = (call * 37 + caller * 11) % 900;
                        assert_eq!(stub.fill(count), Ok(Plain.fill(count)));
                        let bytes = vec![0; usize::try_from(count).unwrap()];
                        assert_eq!(stub.length(&bytes), Ok(count));
                    }
                })
            })
            .collect();
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        is_done.store(true, Ordering::Relaxed);
        wire.bells[0].leave();
        assert!(results.iter().all(Result::is_ok));
    });
    assert!(most.load(Ordering::Relaxed) <= 2);
    assert_eq!((wire.pool().in_use(), client.in_flight(), client.strays()), (0, 0, 0));
    assert_eq!((wire.pool().faults(), server.rejected()), (0, 0));
}

#[test]
fn no_free_buffer_is_an_answer_or_a_wait_or_another_area_b3() {
    let more = words(1 + 2 * (2 + 256));
    let wire = Wire::new(8, 1, 1024);
    let (client, server) = pair::<8>(&wire);
    let stub = SampleStub(Begin::new(&client));
    let first = stub.length(&[1; 500]).unwrap();
    assert_eq!(stub.length(&[1; 500]).err(), Some(CallError::Send(SendError::NoBuffer)));
    assert_eq!(client.in_flight(), 1, "nothing is left of it");
    assert_eq!(stub.length(&[1; 1100]).err(), Some(CallError::Send(SendError::TooLarge)));
    // Wait: until the server has taken the first.
    thread::scope(|scope| {
        let waits =
            scope.spawn(|| SampleStub(Blocking::new(&client, Patience::Wait)).length(&[1; 600]));
        while client.in_flight() < 1 {
            thread::yield_now();
        }
        while !waits.is_finished() {
            serve_now(&server);
            thread::yield_now();
        }
        assert_eq!(waits.join().unwrap(), Ok(600));
    });
    assert_eq!(first.wait(), Ok(500));
    // Until a deadline.
    let held = stub.length(&[1; 500]).unwrap();
    let late = client.begin_until::<_, u32>(1, &[1u8; 500][..], soon());
    assert_eq!(late.err(), Some(CallError::Send(SendError::NoBuffer)));
    // Another area, known to both.
    let larger = || Pool::attach(Area::new(&more), 2048).unwrap();
    Pool::create(Area::new(&more), 2, 2048).unwrap();
    assert_eq!(client.leg().pools().add(larger()).ok(), Some(1));
    assert_eq!(server.leg().pools().add(larger()).ok(), Some(1));
    let second = stub.length(&[1; 500]).unwrap();
    assert_eq!((wire.pool().in_use(), larger().in_use()), (1, 1));
    serve_now(&server);
    assert_eq!((held.wait(), second.wait()), (Ok(500), Ok(500)));
    assert_eq!((wire.pool().in_use(), larger().in_use()), (0, 0));
}

/// A doorbell that nobody rings: counts the waits that would last.
#[derive(Default)]
struct Silence {
    epoch: AtomicU32,
    lasting: AtomicU32,
    short: AtomicU32,
}

impl Doorbell for Silence {
    /// After so many waits.
    type Deadline = u32;

    fn ring(&self) {}

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    fn wait(&self, seen: Epoch) {
        let counter = if seen == self.epoch() { &self.lasting } else { &self.short };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn wait_until(&self, seen: Epoch, _: u32) {
        self.wait(seen);
    }

    fn is_over(&self, deadline: u32) -> bool {
        self.lasting.load(Ordering::Relaxed) >= deadline
    }

    fn register(&self, _: &Waker) {}

    fn wake(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    fn is_peer_gone(&self) -> bool {
        false
    }
}

#[test]
fn who_waits_for_room_sleeps() {
    let wire = Wire::new(4, 1, 1024);
    let bell = Silence::default();
    let leg = Leg::new(Ring::join(Area::new(&wire.ring), 4, Side::A, &bell).unwrap());
    assert!(leg.pools().add(wire.pool()).is_ok());
    let client = Client::<_, 2>::new(leg);
    let _held = client.begin::<_, u32>(1, &[1u8; 500][..]).unwrap();
    let no_buffer = client.begin_until::<_, u32>(1, &[1u8; 500][..], 4);
    assert_eq!(no_buffer.err(), Some(CallError::Send(SendError::NoBuffer)));
    let other = client.begin::<_, u32>(1, &()).unwrap();
    let no_slot = client.begin_until::<_, u32>(1, &(), 8);
    assert_eq!(no_slot.err(), Some(CallError::Busy));
    assert!(other.wait_until(12).is_err());
    let counts = (bell.lasting.load(Ordering::Relaxed), bell.short.load(Ordering::Relaxed));
    assert_eq!(counts, (12, 0));
}

#[test]
fn a_reply_without_a_buffer_is_a_status_or_a_wait_b3() {
    let wire = Wire::new(8, 2, 1024);
    let (client, server) = pair::<8>(&wire);
    let pool = wire.pool();
    let pending = SampleStub(Begin::new(&client)).fill(500).unwrap();
    let held = (pool.take().unwrap(), pool.take().unwrap());
    serve_now(&server);
    assert_eq!(pending.wait(), Err(CallError::Refused(Status::NoBuffer)));
    // By hand: the answer is still there after the refusal.
    let pending = client.begin::<_, Vec<u8>>(2, &500u32).unwrap();
    let mut context = Context::<1024>::new();
    let answer = server.receive(&mut context).unwrap().unwrap().answer;
    let not_sent = answer.send(&vec![1u8; 500]).unwrap_err();
    assert_eq!(not_sent.why, SendError::NoBuffer);
    drop(held);
    not_sent.answer.send(&vec![1u8; 500]).unwrap();
    assert_eq!(pending.wait(), Ok(vec![1; 500]));
}

#[test]
fn a_full_transport_and_full_slots_are_answers() {
    let wire = Wire::new(2, 0, 64);
    let (client, server) = pair::<3>(&wire);
    let begin = || client.begin::<_, u32>(1, &[0u8; 3][..]);
    let first = (begin().unwrap(), begin().unwrap());
    assert_eq!(begin().err(), Some(CallError::Send(SendError::Full)));
    serve_now(&server);
    let third = begin().unwrap();
    assert_eq!(begin().err(), Some(CallError::Busy));
    serve_now(&server);
    assert_eq!((first.0.wait(), first.1.wait()), (Ok(3), Ok(3)));
    serve_now(&server);
    drop(third);
    assert!(begin().is_ok());
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

/// A queue that stops its user in the middle of a message, once it is told to.
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
        if self.is_told.swap(false, Ordering::Relaxed) {
            self.stops.wait();
            self.stops.wait();
        }
        self.queue.send(message)
    }

    fn receive(&self) -> Result<Option<Message>, PeerGone> {
        self.queue.receive()
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

#[test]
fn who_sleeps_while_another_thread_sends_a_refusal_is_woken_for_what_is_behind_it() {
    let [near, queue] = queues(2);
    let far = Stopping { queue, is_told: AtomicBool::new(false), stops: Barrier::new(2) };
    let client = Client::<_, 8>::new(Leg::new(near));
    let server = Server::new(Leg::new(far), Patience::Fail);
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
        peer.receive().unwrap().map(|reply| {
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

/// The legs' types can be named.
#[test]
fn a_leg_tells_its_transport_and_areas() {
    let wire = Wire::new(4, 4, 1024);
    let leg: WireLeg<'_> = wire.leg(Side::A);
    assert_eq!(leg.transport().inline_bytes(), INLINE_BYTES);
    assert_eq!(leg.pools().get(0).map(Pool::count), Some(4));
    assert!(leg.pools().get(1).is_none());
}
