//! A place for a call in flight, and for its reply until the caller looks.
//!
//! ```text
//!          claim            deliver: begin         deliver: end            take
//!  free g ───────▶ waiting g ───────────▶ filling g ───────────▶ arrived g ─────▶ free g+1
//!                      │ leave                │ leave                │ leave
//!                      ▼                      ▼                      ▼
//!                  free g+1               dropped g ──(deliver)──▶ free g+1
//! ```
//!
//! The generation *g* is part of the call's number: a reply to a call that its caller has left fits no slot, however
//! late it comes (until the slot has been used 2^20 times more).

use crate::facade::atomic::{AtomicU64, Ordering};
use crate::message::{CallId, MESSAGE_WORDS, Message, words_of};

/// Bits of a call's number that are the slot's.
const INDEX_BITS: u32 = 12;
const GENERATIONS: u32 = 1 << (32 - INDEX_BITS);

const FREE: u8 = 0;
const WAITING: u8 = 1;
const FILLING: u8 = 2;
const ARRIVED: u8 = 3;
const DROPPED: u8 = 4;

/// The number of a slot's call.
pub(crate) fn call_id(index: usize, generation: u32) -> CallId {
    let index = u32::try_from(index).unwrap_or(u32::MAX) & ((1 << INDEX_BITS) - 1);
    CallId(index | generation << INDEX_BITS)
}

/// Slot and generation of a call.
pub(crate) fn place_of(call: CallId) -> (usize, u32) {
    let index = call.0 & ((1 << INDEX_BITS) - 1);
    (usize::try_from(index).unwrap_or(usize::MAX), call.0 >> INDEX_BITS)
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It waits for the caller.
    Taken,
    /// Nobody waits for it.
    Unwanted,
}

/// One call's place.
pub(crate) struct Slot {
    /// Generation and phase.
    state: AtomicU64,
    words: [AtomicU64; MESSAGE_WORDS],
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU64::new(state(0, FREE)),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Takes the slot if it is free: the generation of its call.
    pub(crate) fn claim(&self) -> Option<u32> {
        let (generation, phase) = parts(self.state.load(Ordering::Relaxed));
        (phase == FREE && self.go(generation, FREE, WAITING)).then_some(generation)
    }

    /// Puts a reply in, if its call still waits for one.
    pub(crate) fn deliver(&self, generation: u32, reply: &Message) -> Delivered {
        if !self.go(generation, WAITING, FILLING) {
            return Delivered::Unwanted;
        }
        let (words, used) = reply.encode();
        for (to, from) in self.words.iter().zip(words).take(used) {
            to.store(from, Ordering::Relaxed);
        }
        if !self.go(generation, FILLING, ARRIVED) {
            // The caller has left meanwhile, and left the slot to us.
            self.free(generation);
            return Delivered::Unwanted;
        }
        Delivered::Taken
    }

    /// Whether no call has it.
    pub(crate) fn is_free(&self) -> bool {
        parts(self.state.load(Ordering::Relaxed)).1 == FREE
    }

    /// Whether the reply is here.
    pub(crate) fn has_arrived(&self, generation: u32) -> bool {
        self.state.load(Ordering::Acquire) == state(generation, ARRIVED)
    }

    /// Takes the reply, if it is here, and frees the slot. For the caller only.
    pub(crate) fn take(&self, generation: u32) -> Option<Message> {
        if !self.has_arrived(generation) {
            return None;
        }
        let mut words = [0; MESSAGE_WORDS];
        let used = self.words.first().map_or(0, |word| words_of(word.load(Ordering::Relaxed)));
        for (to, from) in words.iter_mut().zip(&self.words).take(used) {
            *to = from.load(Ordering::Relaxed);
        }
        self.free(generation);
        Message::decode(&words)
    }

    /// Leaves the call. If its reply is here it has to be discarded. For the caller only.
    pub(crate) fn leave(&self, generation: u32) -> Option<Message> {
        let next = state(following(generation), FREE);
        if self.swap(state(generation, WAITING), next) || self.go(generation, FILLING, DROPPED) {
            return None;
        }
        // It goes from waiting to filling to arrived and not back: the reply is here.
        self.take(generation)
    }

    fn free(&self, generation: u32) {
        self.state.store(state(following(generation), FREE), Ordering::Release);
    }

    fn go(&self, generation: u32, from: u8, to: u8) -> bool {
        self.swap(state(generation, from), state(generation, to))
    }

    fn swap(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

fn state(generation: u32, phase: u8) -> u64 {
    u64::from(generation) << 8 | u64::from(phase)
}

fn parts(state: u64) -> (u32, u8) {
    let [phase, a, b, c, d, ..] = state.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), phase)
}

fn following(generation: u32) -> u32 {
    generation.wrapping_add(1) & (GENERATIONS - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::message::{Body, Inline, Kind};

    fn reply(code: u16) -> Message {
        Message { kind: Kind::Reply, code, call: CallId(0), body: Body::Inline(Inline::EMPTY) }
    }

    #[test]
    fn a_slot_has_one_call_and_a_call_one_reply() {
        let slot = Slot::new();
        let generation = slot.claim().unwrap();
        assert_eq!(slot.claim(), None);
        assert_eq!(slot.take(generation), None);
        assert_eq!(slot.deliver(generation, &reply(1)), Delivered::Taken);
        assert_eq!(slot.deliver(generation, &reply(2)), Delivered::Unwanted);
        assert_eq!(slot.take(generation), Some(reply(1)));
        assert_eq!(slot.take(generation), None);
        assert_eq!(slot.deliver(generation, &reply(3)), Delivered::Unwanted);
    }

    #[test]
    fn a_late_reply_does_not_reach_the_next_call() {
        let slot = Slot::new();
        let first = slot.claim().unwrap();
        assert_eq!(slot.leave(first), None);
        let second = slot.claim().unwrap();
        assert_ne!(first, second);
        assert_eq!(slot.deliver(first, &reply(1)), Delivered::Unwanted);
        assert_eq!(slot.deliver(second, &reply(2)), Delivered::Taken);
        assert_eq!(slot.leave(second), Some(reply(2)));
        assert!(slot.claim().is_some());
    }

    #[test]
    fn a_calls_number_names_slot_and_generation() {
        for (index, generation) in [(0, 0), (4095, GENERATIONS - 1), (17, 99)] {
            assert_eq!(place_of(call_id(index, generation)), (index, generation));
        }
        assert_eq!(following(GENERATIONS - 1), 0);
    }
}
