//! Who waits for a buffer beside messages that it does not take, over a transport that tells only of a message to an empty port.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use shikiri_rpc::{
    Area, Begin, CallError, Client, Context, Leg, Patience, Pending, Pool, Relay, SendError,
    Server, atomic::AtomicU64,
};
use support::sample::{Plain, Sample, SampleServer, SampleStub, serve_now};
use support::{Queue, later, queues, words};

const BUFFERS: usize = 2;
const BUFFER_BYTES: usize = 512;
/// Results that need a buffer, of arguments that do not.
const COUNT: u32 = 500;

type Caller<'p> = Client<'p, Queue, 8>;
type Call<'c, 'p> = Pending<'c, 'p, Queue, 8, Vec<u8>>;

/// The memory of a pool, made.
fn memory() -> Vec<AtomicU64> {
    let words = words(1 + BUFFERS * (2 + BUFFER_BYTES / 8));
    Pool::create(Area::new(&words), BUFFERS, BUFFER_BYTES).unwrap();
    words
}

/// Both ends of a leg with that pool, for `capacity` messages each way.
fn legs(memory: &[AtomicU64], capacity: usize) -> [Leg<'_, Queue>; 2] {
    queues(capacity).map(|queue| {
        let leg = Leg::new(queue);
        let pool = Pool::attach(Area::new(memory), BUFFER_BYTES).unwrap();
        assert!(leg.pools().add(pool).is_ok());
        leg
    })
}

/// So many calls at a time.
fn begin<'c, 'p, const CALLS: usize>(client: &'c Caller<'p>) -> [Call<'c, 'p>; CALLS] {
    [(); CALLS].map(|()| SampleStub(Begin::new(client)).fill(COUNT).unwrap())
}

/// The server has filled all buffers, and waits for one more beside the last request. The room for messages may be used up, too: then
/// not even what tells of a buffer finds any.
#[test]
fn a_server_that_waits_for_a_buffer_beside_a_request_is_woken() {
    for capacity in [BUFFERS + 2, 63] {
        let memory = memory();
        let [ours, theirs] = legs(&memory, capacity);
        let client = Caller::new(ours);
        let server = Server::new(theirs, Patience::Wait);
        let calls = begin::<{ BUFFERS + 2 }>(&client);
        thread::scope(|scope| {
            scope.spawn(|| server.serve(&mut Context::<64>::new(), &SampleServer(Plain)));
            while client.leg().pools().in_use() < BUFFERS || !server.leg().transport().is_asleep() {
                thread::yield_now();
            }
            assert!(server.leg().transport().untaken() >= 1);
            let more = (client.in_flight()..capacity + BUFFERS + 1).map_while(|_| {
                let call = SampleStub(Begin::new(&client)).nothing();
                assert_ne!(call.as_ref().err(), Some(&CallError::Send(SendError::Full)));
                call.ok()
            });
            let more: Vec<_> = more.collect();
            let in_time = Instant::now() + Duration::from_secs(20);
            let results = calls.map(|call| call.wait_until(in_time).ok());
            // Before anything is checked: the server ends.
            client.leg().transport().leave();
            drop(more);
            assert!(results.iter().flatten().all(|result| *result == Ok(Plain.fill(COUNT))));
            assert_eq!(results.iter().flatten().count(), results.len());
        });
    }
}

/// Whether a task was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls the task as often as it is woken, and a caller that takes one reply after the other in between: all arrive.
fn take_all(calls: [Call<'_, '_>; BUFFERS + 2], task: impl Future<Output = ()>, others: impl Fn()) {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut task = pin!(task);
    let mut poll = || {
        // Who looks again and again is polled a few times.
        for _ in 0..20 {
            others();
            if flag.0.swap(false, Ordering::AcqRel) {
                assert!(task.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
            }
        }
    };
    for call in calls {
        poll();
        let is_answered = call.finish().is_ok_and(|result| result == Ok(Plain.fill(COUNT)));
        assert!(is_answered, "nobody woke the task");
    }
}

#[test]
fn a_servers_task_that_waits_for_a_buffer_beside_a_request_is_woken() {
    let memory = memory();
    let [ours, theirs] = legs(&memory, 63);
    let client = Caller::new(ours);
    let server = Server::new(theirs, Patience::Wait);
    let mut context = Context::<64>::new();
    take_all(begin(&client), server.served(&mut context, &SampleServer(Plain)), || {});
}

#[test]
fn a_relay_that_waits_for_a_buffer_beside_a_request_is_woken() {
    let memories = [memory(), memory()];
    let [first, second] = [legs(&memories[0], 63), legs(&memories[1], 63)];
    let ([ours, up], [down, theirs]) = (first, second);
    let client = Caller::new(ours);
    let (up, down) = (Server::new(up, Patience::Wait), Caller::new(down));
    let server = Server::new(theirs, Patience::Fail);
    let mut relay = Relay::<_, _, 8, 512>::new(&up, &down);
    take_all(begin(&client), relay.run(), || serve_now(&server));
}

/// The task waits for a buffer, and no request is left. Another vCPU that looks for one takes what says that a buffer is free again, before the
/// transport has told of it.
#[test]
fn a_task_is_told_of_a_buffer_though_another_takes_what_says_so() {
    let memory = memory().leak();
    let [ours, theirs] = legs(memory, 63);
    let client = Caller::new(ours);
    let server: &Server<'_, Queue> = Box::leak(Box::new(Server::new(theirs, Patience::Wait)));
    let mut context = Context::<64>::new();
    let mut task = pin!(server.served(&mut context, &SampleServer(Plain)));
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut poll = || task.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending();
    let [first, second, third] = begin(&client);
    assert!(poll() && server.leg().transport().untaken() == 0);
    flag.0.store(false, Ordering::Release);
    client.leg().transport().meanwhile(|| {
        assert!(server.receive(&mut Context::<64>::new()).unwrap().is_none());
    });
    assert!(first.finish().is_ok());
    assert!(flag.0.load(Ordering::Acquire), "it sleeps beside a free buffer");
    assert!(poll() && second.finish().is_ok() && third.finish().is_ok());
}

/// Who waits for a buffer beside a request, at a port with room for one: what says that a buffer is free finds none, and before it is looked
/// whether there are requests another vCPU takes that one.
struct Drained<'p> {
    client: &'p Caller<'p>,
    server: &'p Server<'p, Queue>,
    first: Call<'p, 'p>,
}

impl Drained<'static> {
    /// All buffers hold results.
    fn new() -> Self {
        let [ours, theirs] = legs(memory().leak(), 1);
        let client: &Caller<'_> = Box::leak(Box::new(Caller::new(ours)));
        let server: &Server<'_, Queue> = Box::leak(Box::new(Server::new(theirs, Patience::Wait)));
        let calls: [_; 2] = [(); BUFFERS].map(|()| {
            let [call] = begin(client);
            serve_now(server);
            assert!(client.receive().is_ok());
            call
        });
        let [first, second] = calls;
        // Its result stays where it is.
        std::mem::forget(second);
        assert_eq!(client.leg().pools().in_use(), BUFFERS);
        Self { client, server, first }
    }

    /// Somebody has taken the one call, and waits: another one comes, and is what is taken.
    fn drain(self) {
        let Self { client, server, first } = self;
        let taken = SampleStub(Begin::new(client)).nothing().unwrap();
        assert_eq!(server.leg().transport().untaken(), 1);
        server.leg().transport().before_look(move || {
            assert!(first.finish().is_ok());
            assert!(server.receive(&mut Context::<64>::new()).unwrap().is_some());
            // Another thread may be bringing the answer.
            let answer = taken.wait_until(later());
            assert!(answer.is_ok_and(|answer| answer.is_err()), "it was abandoned");
        });
    }
}

#[test]
fn a_task_finds_a_buffer_of_which_nothing_could_tell() {
    let drained = Drained::new();
    let (client, server) = (drained.client, drained.server);
    let mut context = Context::<64>::new();
    let mut task = pin!(server.served(&mut context, &SampleServer(Plain)));
    let mut poll = || task.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending();
    let [call] = begin(client);
    assert!(poll());
    drained.drain();
    assert!(poll() && call.finish().is_ok(), "it sleeps beside a free buffer");
}

#[test]
fn a_thread_finds_a_buffer_of_which_nothing_could_tell() {
    let drained = Drained::new();
    let (client, server) = (drained.client, drained.server);
    thread::scope(|scope| {
        scope.spawn(|| server.serve(&mut Context::<64>::new(), &SampleServer(Plain)));
        let [call] = begin(client);
        while server.leg().transport().untaken() != 0 || !server.leg().transport().is_asleep() {
            thread::yield_now();
        }
        drained.drain();
        let answer = call.wait_until(Instant::now() + Duration::from_secs(20));
        client.leg().transport().leave();
        assert!(answer.is_ok_and(|result| result == Ok(Plain.fill(COUNT))));
    });
}
