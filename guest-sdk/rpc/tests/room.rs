//! What calls over one hop use up (B2, B3): buffers, slots and places, and what becomes of those that find none.
#![cfg(not(loom))]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;

use shikiri_rpc::{
    Area, Begin, Blocking, CallError, Client, Context, Doorbell, Epoch, INLINE_BYTES, Leg,
    Patience, Pool, Ring, SendError, Server, Side, Status, Transport as _,
};
use support::sample::{Plain, Sample, SampleServer, SampleStub, WireClient, pair, serve_now};
use support::{Wire, queues, soon, words};

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

/// A dropped call's late reply is thrown away by whoever needs its buffer, and waits or not.
#[test]
fn late_replies_of_dropped_calls_hold_no_buffers() {
    let wire = Wire::new(8, 2, 1024);
    let (client, server) = pair::<8>(&wire);
    let leave_two = || {
        let stub = SampleStub(Begin::new(&client));
        drop((stub.fill(500).unwrap(), stub.fill(500).unwrap()));
        serve_now(&server);
        assert_eq!(wire.pool().in_use(), 2, "both replies are late");
    };
    leave_two();
    let begun = SampleStub(Begin::new(&client)).length(&[1; 500]).unwrap();
    serve_now(&server);
    assert_eq!(begun.wait(), Ok(500));
    leave_two();
    let patient = client.begin_patiently::<_, u32>(1, &[1u8; 500][..], Patience::Fail);
    drop(patient.unwrap());
    serve_now(&server);
    assert_eq!((client.receive(), client.strays()), (Ok(false), 5));
    assert_eq!((wire.pool().in_use(), wire.pool().faults()), (0, 0));
}

/// A buffer that was taken in vain, since there is no room for its message, is the peer's to take.
#[test]
fn a_buffer_that_finds_no_room_is_given_back_and_the_peer_told() {
    let wire = Wire::new(2, 2, 1024);
    let (client, server) = pair::<3>(&wire);
    let stub = SampleStub(Begin::new(&client));
    let _fill = (stub.nothing().unwrap(), stub.nothing().unwrap());
    server.leg().transport().watch();
    let before = wire.bells[0].rings();
    assert_eq!(stub.length(&[1; 500]).err(), Some(CallError::Send(SendError::Full)));
    assert_eq!((wire.bells[0].rings() - before, wire.pool().in_use()), (1, 0));
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
