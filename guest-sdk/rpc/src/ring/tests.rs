//! One thread at a time; interleavings in `tests/loom.rs`, a hostile peer in `tests/hostile.rs`.
#![expect(clippy::unwrap_used, reason = "a test")]

extern crate std;

use core::convert::Infallible;
use core::task::Waker;
use std::vec::Vec;

use super::*;
use crate::facade::atomic::{AtomicBool, AtomicU32};
use crate::message::{Body, CallId, Inline, Kind};

/// Counts its rings.
#[derive(Default)]
struct Bell {
    rung: AtomicU32,
    is_peer_gone: AtomicBool,
    /// A ring has come and lies here.
    has_ring: AtomicBool,
    woken: AtomicU32,
}

impl Doorbell for Bell {
    type Deadline = Infallible;

    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Relaxed);
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.woken.load(Ordering::Relaxed))
    }

    fn take_rings(&self) -> bool {
        self.has_ring.swap(false, Ordering::Relaxed)
    }

    fn wait(&self, _: Epoch) {}

    fn wait_until(&self, _: Epoch, never: Infallible) {
        match never {}
    }

    fn is_over(&self, never: Infallible) -> bool {
        match never {}
    }

    fn register(&self, _: &Waker) {}

    fn wake(&self) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }

    fn is_peer_gone(&self) -> bool {
        self.is_peer_gone.load(Ordering::Relaxed)
    }
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
}

fn message(call: u32) -> Message {
    let body = Body::Inline(Inline::new(&call.to_le_bytes()).unwrap());
    Message { kind: Kind::Request, code: 0, call: CallId(call), body }
}

#[test]
fn slots_and_area_are_checked() {
    let words = words(Ring::<Bell>::words(4));
    let area = Area::new(&words);
    for slots in [0, 1, 3, 5, MAX_SLOTS * 2, usize::MAX] {
        assert_eq!(Ring::<Bell>::format(area, slots), Err(RingError::Slots));
    }
    assert_eq!(Ring::<Bell>::format(area, 8), Err(RingError::Area));
    assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX));
    assert_eq!(Ring::<Bell>::format(area, 4), Ok(()));
    assert!(Ring::join(area, 4, Side::B, Bell::default()).is_ok());
    let smaller = area.part(0, area.bytes() / 8 - 1).unwrap();
    assert_eq!(Ring::join(smaller, 4, Side::B, Bell::default()).err(), Some(RingError::Area));
}

#[test]
fn messages_arrive_in_order_and_a_full_ring_is_an_answer() {
    let words = words(Ring::<Bell>::words(4));
    let area = Area::new(&words);
    Ring::<Bell>::format(area, 4).unwrap();
    let a = Ring::join(area, 4, Side::A, Bell::default()).unwrap();
    let b = Ring::join(area, 4, Side::B, Bell::default()).unwrap();
    let mut next = 0;
    for round in 0..5 {
        for call in 0..4 {
            assert_eq!(a.send(&message(round * 4 + call)), Ok(()));
        }
        assert_eq!(a.send(&message(99)), Err(SendError::Full));
        assert_eq!(b.send(&message(round)), Ok(()), "the other way is another ring");
        while let Some(received) = b.receive(&mut 0).unwrap() {
            assert_eq!(received, message(next));
            next += 1;
        }
        assert_eq!(next, (round + 1) * 4);
        assert_eq!(a.receive(&mut 0), Ok(Some(message(round))));
    }
}

#[test]
fn only_who_waits_is_rung_for_and_once() {
    let words = words(Ring::<Bell>::words(4));
    let area = Area::new(&words);
    Ring::<Bell>::format(area, 4).unwrap();
    let (bell_a, bell_b) = (Bell::default(), Bell::default());
    let a = Ring::join(area, 4, Side::A, &bell_a).unwrap();
    let b = Ring::join(area, 4, Side::B, &bell_b).unwrap();
    a.send(&message(1)).unwrap();
    assert_eq!(bell_a.rung.load(Ordering::Relaxed), 0);
    b.watch();
    a.send(&message(2)).unwrap();
    a.notify();
    assert_eq!(bell_a.rung.load(Ordering::Relaxed), 1);
    assert_eq!(bell_b.rung.load(Ordering::Relaxed), 0);
}

#[test]
fn what_was_sent_before_the_end_arrives() {
    let words = words(Ring::<Bell>::words(2));
    let area = Area::new(&words);
    Ring::<Bell>::format(area, 2).unwrap();
    let (bell_a, bell_b) = (Bell::default(), Bell::default());
    let a = Ring::join(area, 2, Side::A, &bell_a).unwrap();
    let b = Ring::join(area, 2, Side::B, &bell_b).unwrap();
    a.send(&message(1)).unwrap();
    bell_b.is_peer_gone.store(true, Ordering::Relaxed);
    assert_eq!(b.send(&message(2)), Err(SendError::PeerGone));
    assert_eq!(b.receive(&mut 0), Ok(Some(message(1))));
    assert_eq!(b.receive(&mut 0), Err(PeerGone));
}

/// One is about to wait, and another one's look takes a ring of which nobody was told yet.
#[test]
fn a_ring_that_one_takes_is_told_to_the_others() {
    let words = words(Ring::<Bell>::words(2));
    let area = Area::new(&words);
    Ring::<Bell>::format(area, 2).unwrap();
    let bell = Bell::default();
    let ring = Ring::join(area, 2, Side::A, &bell).unwrap();
    let seen = ring.watch();
    assert_eq!(bell.epoch(), seen, "there was none");
    bell.has_ring.store(true, Ordering::Relaxed);
    let last = ring.watch();
    assert_ne!(bell.epoch(), seen);
    assert_ne!(bell.epoch(), last, "there may be more");
    assert_eq!(ring.watch(), bell.epoch());
}
