//! Interleavings of what both sides, and the threads of one side, do at the same time.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shikiri-rpc --test loom --release`; empty in other builds.
#![cfg(loom)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::arithmetic_side_effects, reason = "a test")]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::sync::{Arc, Mutex};
use loom::thread;
use shikiri_rpc::atomic::{AtomicU64, Ordering};
use shikiri_rpc::{
    Area, Body, CallError, CallId, Client, Doorbell, Epoch, Inline, Kind, Leg, Message, Patience,
    PeerGone, Pool, Reference, ReleaseError, Ring, SendError, Side, Transport,
};

/// Shared memory for the rest of the program: an iteration leaves a few hundred bytes.
fn memory(count: usize) -> Area<'static> {
    let words: Vec<_> = (0..count).map(|_| AtomicU64::new(0)).collect();
    Area::new(words.leak())
}

/// A pool of `count` buffers of one word.
fn pool_memory(count: usize) -> Area<'static> {
    let area = memory(1 + 3 * count);
    Pool::create(area, count, 8).unwrap();
    area
}

fn attach(area: Area<'static>) -> Pool<'static> {
    Pool::attach(area, 8).unwrap()
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Takes the buffer and adds one to its content with a load and a store; whether it got it.
fn add_one(area: Area<'static>) -> bool {
    let pool = attach(area);
    let Ok(mut buffer) = pool.take() else { return false };
    let mut content = [0; 8];
    buffer.read(&mut content).unwrap();
    buffer.write(&(u64::from_ne_bytes(content) + 1).to_ne_bytes()).unwrap();
    buffer.give_back().unwrap();
    true
}

/// Two sides and one buffer: who has it is alone with it, and sees what was done before it was given back. Taken twice,
/// or seen too early, an addition would be lost.
#[test]
fn a_buffer_is_one_sides_at_a_time_and_its_content_goes_with_it_b1() {
    model(|| {
        let area = pool_memory(1);
        let other = thread::spawn(move || u64::from(add_one(area)) + u64::from(add_one(area)));
        let ours = u64::from(add_one(area)) + u64::from(add_one(area));
        let times = ours + other.join().unwrap();
        assert!(times >= 2, "the first to try finds it free");
        let mut content = [0; 8];
        attach(area).take().unwrap().read(&mut content).unwrap();
        assert_eq!(u64::from_ne_bytes(content), times);
    });
}

#[test]
fn two_sides_get_two_buffers_b1() {
    model(|| {
        let area = pool_memory(2);
        let take = move || attach(area).take().unwrap().hand_over();
        let other = thread::spawn(take);
        let ours = take();
        assert_ne!(ours, other.join().unwrap());
        assert_eq!(attach(area).in_use(), 2);
    });
}

/// Of two that give back the same buffer one is told.
#[test]
fn a_double_release_is_noticed_by_one_b1() {
    model(|| {
        let area = pool_memory(1);
        let reference: Reference = attach(area).take().unwrap().hand_over();
        let other = thread::spawn(move || attach(area).release(reference));
        let results = [attach(area).release(reference), other.join().unwrap()];
        assert!(results.contains(&Ok(())) && results.contains(&Err(ReleaseError::AlreadyFree)));
    });
}

/// A doorbell that is a word, and whoever is woken when it changes.
#[derive(Default)]
struct Bell {
    epochs: [AtomicU32; 2],
    tasks: [Mutex<Vec<Waker>>; 2],
}

impl Bell {
    fn happen(&self, side: usize) {
        self.epochs[side].fetch_add(1, Ordering::AcqRel);
        let tasks = std::mem::take(&mut *self.tasks[side].lock().unwrap());
        tasks.into_iter().for_each(Waker::wake);
    }
}

struct End(Arc<Bell>, usize);

impl Doorbell for End {
    type Deadline = Infallible;

    fn ring(&self) {
        self.0.happen(1 - self.1);
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.0.epochs[self.1].load(Ordering::Acquire))
    }

    fn wait(&self, seen: Epoch) {
        while self.epoch() == seen {
            thread::yield_now();
        }
    }

    fn wait_until(&self, _: Epoch, never: Infallible) {
        match never {}
    }

    fn is_over(&self, never: Infallible) -> bool {
        match never {}
    }

    fn register(&self, waker: &Waker) {
        self.0.tasks[self.1].lock().unwrap().push(waker.clone());
    }

    fn wake(&self) {
        self.0.happen(self.1);
    }

    fn is_peer_gone(&self) -> bool {
        false
    }
}

fn ring(area: Area<'static>, bell: &Arc<Bell>, side: Side) -> Ring<'static, End> {
    let end = End(bell.clone(), usize::from(side == Side::B));
    Ring::join(area, 2, side, end).unwrap()
}

fn rings() -> (Ring<'static, End>, Ring<'static, End>) {
    let area = memory(Ring::<End>::words(2));
    Ring::<End>::format(area, 2).unwrap();
    let bell = Arc::new(Bell::default());
    (ring(area, &bell, Side::A), ring(area, &bell, Side::B))
}

fn message(number: u32) -> Message {
    let body = Body::Inline(Inline::new(&number.to_ne_bytes()).unwrap());
    Message { kind: Kind::Request, code: 7, call: CallId(number), body }
}

/// Two threads send, the other side receives: each message once, whole.
#[test]
fn senders_of_one_side_do_not_mix_their_messages() {
    model(|| {
        let (a, b) = rings();
        let a = Arc::new(a);
        let sender = a.clone();
        let other = thread::spawn(move || sender.send(&message(1)).unwrap());
        a.send(&message(2)).unwrap();
        let early = b.receive(&mut 0).unwrap();
        other.join().unwrap();
        let mut received: Vec<_> = early.into_iter().collect();
        while let Some(message) = b.receive(&mut 0).unwrap() {
            received.push(message);
        }
        received.sort_by_key(|message| message.call.0);
        assert_eq!(received, [message(1), message(2)]);
    });
}

/// Two threads receive one after the other's messages: nobody gets one twice, and a slot that is written again is empty.
#[test]
fn receivers_of_one_side_share_the_messages() {
    model(|| {
        let (a, b) = rings();
        a.send(&message(1)).unwrap();
        a.send(&message(2)).unwrap();
        let b = Arc::new(b);
        let receiver = b.clone();
        let other = thread::spawn(move || receiver.receive(&mut 0).unwrap());
        let third = a.send(&message(3));
        let ours = b.receive(&mut 0).unwrap();
        let theirs = other.join().unwrap();
        let mut numbers: Vec<_> = [ours, theirs].into_iter().flatten().map(|m| m.call.0).collect();
        while let Some(rest) = b.receive(&mut 0).unwrap() {
            assert_eq!(rest, message(rest.call.0));
            numbers.push(rest.call.0);
        }
        numbers.sort_unstable();
        let expected: &[u32] = if third.is_ok() { &[1, 2, 3] } else { &[1, 2] };
        assert_eq!(numbers, expected);
    });
}

/// One waits for a message, the other sends it: found, or rung for. A missed wake-up would wait for ever.
#[test]
fn who_waits_is_woken() {
    model(|| {
        let (a, b) = rings();
        let sender = thread::spawn(move || a.send(&message(1)).unwrap());
        let received = loop {
            let seen = b.watch();
            if let Some(message) = b.receive(&mut 0).unwrap() {
                break message;
            }
            b.wait(seen);
        };
        assert_eq!(received, message(1));
        sender.join().unwrap();
    });
}

/// What a task waits by.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        // Not a store: one that is ordered before the waiter's last swap is seen by none.
        self.0.swap(true, Ordering::AcqRel);
    }
}

/// Runs a future to its end, polled only when it was woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let flag = std::sync::Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut future = pin!(future);
    loop {
        while !flag.0.swap(false, Ordering::AcqRel) {
            thread::yield_now();
        }
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
    }
}

/// The same for a task, which registers, announces that it waits, and looks.
#[test]
fn who_awaits_is_woken() {
    model(|| {
        let (a, b) = rings();
        let sender = thread::spawn(move || a.send(&message(1)).unwrap());
        let received = block_on(poll_fn(|task| {
            b.register(task.waker());
            b.watch();
            b.receive(&mut 0).unwrap().map_or(Poll::Pending, Poll::Ready)
        }));
        assert_eq!(received, message(1));
        sender.join().unwrap();
    });
}

/// A transport that answers the one call that it carries with a buffer.
struct Echo {
    sent: AtomicU32,
    reference: u32,
    epoch: AtomicU32,
    tasks: Mutex<Vec<Waker>>,
}

impl Echo {
    /// Its replies come in this buffer, or inline.
    fn new(reference: u32) -> Self {
        let (sent, epoch) = (AtomicU32::new(NONE), AtomicU32::new(0));
        Self { sent, reference, epoch, tasks: Mutex::default() }
    }
}

const NONE: u32 = u32::MAX;
/// The method whose calls find no room.
const CROWDED: u16 = 9;

impl Transport for Echo {
    type Deadline = Infallible;

    fn inline_bytes(&self) -> usize {
        128
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        if message.code == CROWDED {
            return Err(SendError::Full);
        }
        self.sent.store(message.call.0, Ordering::Release);
        Ok(())
    }

    fn receive(&self, _others: &mut u32) -> Result<Option<Message>, PeerGone> {
        let call = self.sent.swap(NONE, Ordering::AcqRel);
        if call == NONE {
            return Ok(None);
        }
        let body = if self.reference == NONE {
            Body::Inline(Inline::EMPTY)
        } else {
            Body::Buffer { area: 0, reference: Reference(self.reference), bytes: 4 }
        };
        Ok(Some(Message { kind: Kind::Reply, code: 0, call: CallId(call), body }))
    }

    fn notify(&self) {}

    fn watch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    fn wait(&self, seen: Epoch) {
        while self.watch() == seen {
            thread::yield_now();
        }
    }

    fn wait_until(&self, _: Epoch, never: Infallible) {
        match never {}
    }

    fn is_over(&self, never: Infallible) -> bool {
        match never {}
    }

    fn register(&self, waker: &Waker) {
        self.tasks.lock().unwrap().push(waker.clone());
    }

    fn wake(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.into_iter().for_each(Waker::wake);
    }

    fn is_peer_gone(&self) -> bool {
        false
    }
}

/// A client with one slot; the replies come in this buffer, or inline.
fn client(area: Area<'static>, reference: u32) -> &'static Client<'static, Echo, 1> {
    let leg = Leg::new(Echo::new(reference));
    assert!(leg.pools().add(attach(area)).is_ok());
    Box::leak(Box::new(Client::new(leg)))
}

/// A caller leaves while another thread brings its reply: the slot and the buffer are free afterwards, each once.
#[test]
fn a_call_that_is_left_while_its_reply_comes_leaves_nothing() {
    model(|| {
        let area = pool_memory(1);
        let reference = attach(area).take().unwrap().hand_over();
        let client = client(area, reference.0);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let receiver = thread::spawn(move || client.receive().unwrap());
        drop(pending);
        receiver.join().unwrap();
        assert_eq!(client.receive(), Ok(false));
        assert_eq!((client.in_flight(), attach(area).in_use()), (0, 0));
        assert_eq!(client.leg().pools().get(0).unwrap().faults(), 0);
    });
}

/// A reply that another thread brings is found by the caller, whole, and wakes it.
#[test]
fn a_reply_that_another_thread_brings_is_not_slept_on() {
    model(|| {
        let client = client(pool_memory(0), NONE);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let receiver = thread::spawn(move || client.receive().unwrap());
        assert_eq!(pending.wait(), Ok(()));
        receiver.join().unwrap();
        assert_eq!(client.in_flight(), 0);
    });
}

/// The same where the caller is a task.
#[test]
fn a_reply_that_another_thread_brings_wakes_the_task() {
    model(|| {
        let client = client(pool_memory(0), NONE);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let receiver = thread::spawn(move || client.receive().unwrap());
        assert_eq!(block_on(pending), Ok(()));
        receiver.join().unwrap();
        assert_eq!(client.in_flight(), 0);
    });
}

/// The only slot becomes free while a task is about to wait for one.
#[test]
fn the_task_that_waits_for_a_slot_is_woken() {
    model(|| {
        let client = client(pool_memory(0), NONE);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let waiter = thread::spawn(move || {
            let attempt = || client.begin::<_, ()>(1, &()).map(drop);
            block_on(client.when_room(attempt))
        });
        drop(pending);
        assert_eq!(waiter.join().unwrap(), Ok::<(), CallError>(()));
    });
}

/// The only slot becomes free while another thread is about to wait for one.
#[test]
fn who_waits_for_a_slot_is_woken() {
    model(|| {
        let client = client(pool_memory(0), NONE);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let waiter = thread::spawn(move || {
            let second = client.begin_patiently::<_, ()>(1, &(), Patience::Wait);
            second.map(drop)
        });
        drop(pending);
        assert_eq!(waiter.join().unwrap(), Ok::<(), CallError>(()));
    });
}

/// The only slot is left while its reply comes, and freed by the thread that brings that, while a third one is about to wait for a slot.
#[test]
fn who_waits_for_a_slot_is_woken_by_who_brings_an_unwanted_reply() {
    model(|| {
        let client = client(pool_memory(0), NONE);
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let receiver = thread::spawn(move || client.receive().unwrap());
        let waiter = thread::spawn(move || {
            let second = client.begin_patiently::<_, ()>(1, &(), Patience::Wait);
            second.map(drop)
        });
        drop(pending);
        assert_eq!(waiter.join().unwrap(), Ok::<(), CallError>(()));
        receiver.join().unwrap();
    });
}

/// A message that finds no room gives its buffer back while another thread is about to wait for one.
#[test]
fn who_waits_for_a_buffer_is_woken_by_who_finds_no_room() {
    model(|| {
        let leg = Leg::with_threshold(Echo::new(NONE), 0);
        assert!(leg.pools().add(attach(pool_memory(1))).is_ok());
        let client: &'static Client<'static, Echo, 2> = Box::leak(Box::new(Client::new(leg)));
        let waiter = thread::spawn(move || {
            let begun = client.begin_patiently::<_, ()>(1, &7u8, Patience::Wait);
            begun.map(drop)
        });
        let crowded = client.begin::<_, ()>(CROWDED, &7u8).map(drop).unwrap_err();
        assert!(crowded.is_shortage());
        assert_eq!(waiter.join().unwrap(), Ok::<(), CallError>(()));
    });
}

/// The only buffer becomes free on this side while another thread is about to wait for one.
#[test]
fn who_waits_for_a_buffer_is_woken() {
    model(|| {
        let area = pool_memory(1);
        let reference = attach(area).take().unwrap().hand_over();
        let leg = Leg::with_threshold(Echo::new(reference.0), 0);
        assert!(leg.pools().add(attach(area)).is_ok());
        let client: &'static Client<'static, Echo, 2> = Box::leak(Box::new(Client::new(leg)));
        let pending = client.begin::<_, ()>(1, &()).unwrap();
        let waiter = thread::spawn(move || {
            let second = client.begin_patiently::<_, ()>(1, &7u8, Patience::Wait);
            second.map(drop)
        });
        assert_eq!(pending.wait(), Err(CallError::BadReply), "four bytes are no ()");
        assert_eq!(waiter.join().unwrap(), Ok::<(), CallError>(()));
    });
}
