//! A transport in shared memory: one ring of message slots each way, and a doorbell.
//!
//! | words | what |
//! |---|---|
//! | 0 | side A waits (1) or not; 8: side B |
//! | 16 … | the ring from A to B: `slots` slots of 19 words; then the ring from B to A |
//! | slot | sequence, then the words of a message |
//!
//! The slot for message number *n* (from 0) is *n* mod `slots`. Its sequence is *n* when it may be written, *n* + 1
//! when message *n* is in it. Who has written or read sets it; the positions themselves are in each side's own memory,
//! so that the peer can pretend that a slot is full or empty, and no more. Threads of one side claim a position by
//! compare-and-swap; nobody holds a lock. (The bounded queue of D. Vyukov, with private positions.)
//!
//! A side that is about to wait stores its waiting word, executes a full fence and looks once more; the other side
//! makes its change, executes a full fence and looks at the word. One of the two sees the other, and the doorbell is
//! rung only for who waits.

use core::task::Waker;

use crate::area::Area;
use crate::error::SendError;
use crate::facade::atomic::{AtomicU64, Ordering, fence};
use crate::message::{INLINE_BYTES, MESSAGE_WORDS, Message, words_of};
use crate::transport::{Doorbell, Epoch, PeerGone, Transport};

const WAITING_A: usize = 0;
const WAITING_B: usize = 8;
const LANES: usize = 16;
const SLOT_WORDS: usize = 1 + MESSAGE_WORDS;
const MAX_SLOTS: usize = 1 << 16;
/// How often a thread tries to get ahead of others of its own side before it says that there is no room, or nothing.
const ATTEMPTS: usize = 64;

/// Which side of the memory one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that formats.
    A,
    /// The other.
    B,
}

/// Why there is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The number of slots is not a power of two, is 1, or is above 65,536.
    Slots,
    /// The area is too small.
    Area,
}

/// One side's end of the connection.
pub struct Ring<'a, D> {
    doorbell: D,
    out: Lane<'a>,
    into: Lane<'a>,
    own_waiting: &'a AtomicU64,
    peer_waiting: &'a AtomicU64,
}

impl<'a, D: Doorbell> Ring<'a, D> {
    /// How many words the rings of `slots` slots each take.
    #[must_use]
    pub const fn words(slots: usize) -> usize {
        slots.saturating_mul(SLOT_WORDS).saturating_mul(2).saturating_add(LANES)
    }

    /// Makes both rings empty. To be done by side A, before either side joins; again for each new peer.
    ///
    /// # Errors
    /// [`RingError`]; nothing is written then.
    pub fn format(area: Area<'_>, slots: usize) -> Result<(), RingError> {
        let lanes = [Lane::new(area, slots, 0)?, Lane::new(area, slots, 1)?];
        for word in [WAITING_A, WAITING_B] {
            area.word(word).ok_or(RingError::Area)?.store(0, Ordering::Relaxed);
        }
        for lane in lanes {
            for number in 0..lane.slots {
                let (sequence, _) = lane.slot(number).ok_or(RingError::Area)?;
                sequence.store(number, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Joins as one side. A reply always finds room if `slots` is at least the number of calls that the caller can
    /// have in flight.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn join(area: Area<'a>, slots: usize, side: Side, doorbell: D) -> Result<Self, RingError> {
        let (a_to_b, b_to_a) = (Lane::new(area, slots, 0)?, Lane::new(area, slots, 1)?);
        let a_waiting = area.word(WAITING_A).ok_or(RingError::Area)?;
        let b_waiting = area.word(WAITING_B).ok_or(RingError::Area)?;
        Ok(match side {
            Side::A => Self {
                doorbell,
                out: a_to_b,
                into: b_to_a,
                own_waiting: a_waiting,
                peer_waiting: b_waiting,
            },
            Side::B => Self {
                doorbell,
                out: b_to_a,
                into: a_to_b,
                own_waiting: b_waiting,
                peer_waiting: a_waiting,
            },
        })
    }
}

impl<D: Doorbell> Transport for Ring<'_, D> {
    type Deadline = D::Deadline;

    fn inline_bytes(&self) -> usize {
        INLINE_BYTES
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        if self.doorbell.is_peer_gone() {
            return Err(SendError::PeerGone);
        }
        self.out.push(message).ok_or(SendError::Full)?;
        self.notify();
        Ok(())
    }

    fn receive(&self, _others: &mut u32) -> Result<Option<Message>, PeerGone> {
        // The end first: what was sent before it is found afterwards.
        let is_peer_gone = self.doorbell.is_peer_gone();
        match self.into.pop() {
            Some(message) => {
                // There is room again.
                self.notify();
                Ok(Some(message))
            }
            None if is_peer_gone => Err(PeerGone),
            None => Ok(None),
        }
    }

    fn notify(&self) {
        fence(Ordering::SeqCst);
        let is_waiting = self.peer_waiting.load(Ordering::Relaxed) != 0;
        if is_waiting && self.peer_waiting.swap(0, Ordering::Relaxed) != 0 {
            self.doorbell.ring();
        }
    }

    fn watch(&self) -> Epoch {
        // First: a ring behind the last look makes it another moment.
        let epoch = self.doorbell.epoch();
        if self.doorbell.take_rings() {
            // They are meant for all that wait.
            self.doorbell.wake();
        }
        self.own_waiting.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        epoch
    }

    fn wait(&self, seen: Epoch) {
        self.doorbell.wait(seen);
    }

    fn wait_until(&self, seen: Epoch, deadline: D::Deadline) {
        self.doorbell.wait_until(seen, deadline);
    }

    fn is_over(&self, deadline: D::Deadline) -> bool {
        self.doorbell.is_over(deadline)
    }

    fn register(&self, waker: &Waker) {
        self.doorbell.register(waker);
    }

    fn wake(&self) {
        self.doorbell.wake();
    }

    fn is_peer_gone(&self) -> bool {
        self.doorbell.is_peer_gone()
    }
}

/// One direction.
struct Lane<'a> {
    area: Area<'a>,
    /// A power of two.
    slots: u64,
    /// The next number to be written, or read, by this side.
    position: AtomicU64,
}

impl<'a> Lane<'a> {
    /// The first or the second lane of the area.
    fn new(area: Area<'a>, slots: usize, which: usize) -> Result<Self, RingError> {
        // With a single slot "written" and "may be written again" would be the same number.
        if !slots.is_power_of_two() || !(2..=MAX_SLOTS).contains(&slots) {
            return Err(RingError::Slots);
        }
        let words = slots.saturating_mul(SLOT_WORDS);
        let first = LANES.saturating_add(words.saturating_mul(which));
        let area = area.part(first, words).ok_or(RingError::Area)?;
        let slots = u64::try_from(slots).map_err(|_| RingError::Slots)?;
        Ok(Self { area, slots, position: AtomicU64::new(0) })
    }

    /// Sequence and words of the slot for this number.
    fn slot(&self, number: u64) -> Option<(&'a AtomicU64, Area<'a>)> {
        let index = usize::try_from(number & self.slots.wrapping_sub(1)).ok()?;
        let slot = self.area.part(index.checked_mul(SLOT_WORDS)?, SLOT_WORDS)?;
        Some((slot.word(0)?, slot.part(1, MESSAGE_WORDS)?))
    }

    /// Puts a message into the next slot; `None` if it has not been emptied.
    fn push(&self, message: &Message) -> Option<()> {
        let (number, sequence, words) = self.claim(0)?;
        let (encoded, used) = message.encode();
        for (index, word) in encoded.iter().enumerate().take(used) {
            words.word(index)?.store(*word, Ordering::Relaxed);
        }
        sequence.store(number.wrapping_add(1), Ordering::Release);
        Some(())
    }

    /// The next message. Empties at most as many slots as there are: what is no message is passed over.
    fn pop(&self) -> Option<Message> {
        (0..self.slots).map_while(|_| self.pop_words()).find_map(|words| Message::decode(&words))
    }

    /// The words of the next slot, each read once; `None` if it has not been filled.
    fn pop_words(&self) -> Option<[u64; MESSAGE_WORDS]> {
        let (number, sequence, shared) = self.claim(1)?;
        let mut words = [0; MESSAGE_WORDS];
        let first = shared.word(0)?.load(Ordering::Relaxed);
        for (index, word) in words.iter_mut().enumerate().take(words_of(first)).skip(1) {
            *word = shared.word(index)?.load(Ordering::Relaxed);
        }
        let [word, ..] = &mut words;
        *word = first;
        sequence.store(number.wrapping_add(self.slots), Ordering::Release);
        Some(words)
    }

    /// Claims the next slot if its sequence is `ahead` of its number: 0 to write, 1 to read.
    fn claim(&self, ahead: u64) -> Option<(u64, &'a AtomicU64, Area<'a>)> {
        let mut number = self.position.load(Ordering::Relaxed);
        for _ in 0..ATTEMPTS {
            let (sequence, words) = self.slot(number)?;
            let is_ready = sequence.load(Ordering::Acquire) == number.wrapping_add(ahead);
            let now = if is_ready {
                let next = number.wrapping_add(1);
                match self.position.compare_exchange(
                    number,
                    next,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some((number, sequence, words)),
                    Err(now) => now,
                }
            } else {
                self.position.load(Ordering::Relaxed)
            };
            if now == number {
                return None;
            }
            number = now;
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
