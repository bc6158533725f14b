//! The two pages of a message port, from the hypervisor's side.
//!
//! The receiver's cores read and write them at any time. Nothing that stands in the arrivals is ever read back; of the credits three
//! words are read, once for each decision, and what they say is bounded against the hypervisor's own count. A guest that
//! writes nonsense harms itself: its peer is told that there is no room.

use shikiri_abi::channel::{
    ADDRESS, AREA, ARRIVALS, BYTES, CONNECTED, CONSUMED, ENTRY_WORDS, PAGES, POLLS, POSTED,
    SEQUENCE, SHORT, STARVED, STATE, entry,
};
use shikiri_sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a page.
pub const WORDS: usize = 512;

// `put` names them in this order.
const _: () = assert!(SEQUENCE == 0 && AREA == 1 && ADDRESS == 2 && BYTES == 3);
const _: () = assert!(SHORT == 4 && PAGES == 7 && ENTRY_WORDS == 8);

/// What an entry tells of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The area's handle at the receiver; 0 if there is none.
    pub area: u64,
    /// The area's address at the receiver.
    pub address: u64,
    /// How much of it is meant.
    pub bytes: u64,
    /// The area's size.
    pub pages: u64,
    /// The short message.
    pub short: [u64; 3],
}

/// A port's arrivals page.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals<'p>(pub &'p [AtomicU64]);

/// A port's credits page.
#[derive(Clone, Copy, Debug)]
pub struct Credits<'p>(pub &'p [AtomicU64]);

impl Arrivals<'_> {
    /// Writes message number `number`. Its sequence word comes last: whoever sees it with acquire sees the entry, and the
    /// area behind it, since the store that maps it is complete before.
    #[inline(always)]
    pub fn put(self, number: u64, message: &Entry) {
        let words = self.0.get(entry(number)..).and_then(<[AtomicU64]>::first_chunk);
        let Some([sequence, area, address, bytes, short0, short1, short2, pages]) = words else {
            return;
        };
        let [word0, word1, word2] = message.short;
        let set = |place: &AtomicU64, value| place.store(value, Ordering::Relaxed);
        set(area, message.area);
        set(address, message.address);
        set(bytes, message.bytes);
        set(short0, word0);
        set(short1, word1);
        set(short2, word2);
        set(pages, message.pages);
        sequence.store(number.wrapping_add(1), Ordering::Release);
    }

    /// Says whether a peer is there, and how many there have been.
    pub fn set_state(self, peers: u64, is_connected: bool) {
        let connected = if is_connected { CONNECTED } else { 0 };
        if let Some(word) = self.0.get(STATE) {
            word.store(peers << 1 | connected, Ordering::Release);
        }
    }

    /// Says whether the peer waits for a credit.
    pub fn set_starved(self, is_starved: bool) {
        self.set(STARVED, u64::from(is_starved));
    }

    fn set(self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

impl Credits<'_> {
    /// Whether the receiver takes message number `number`: each word is read once.
    #[inline(always)]
    #[must_use]
    pub fn has_credit(self, number: u64) -> bool {
        let word = |at: usize| self.0.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        let (posted, consumed) = (word(POSTED), word(CONSUMED));
        let has_credit = (1..=ARRIVALS).contains(&posted.wrapping_sub(number));
        has_credit && number.wrapping_sub(consumed) < ARRIVALS
    }

    /// Whether the receiver is to be told of message number `number`: it has taken all before, and does not poll.
    #[inline(always)]
    #[must_use]
    pub fn wants_event(self, number: u64) -> bool {
        let word = |at: usize| self.0.get(at).map(|word| word.load(Ordering::Acquire));
        word(POLLS) == Some(0) && word(CONSUMED) == Some(number)
    }
}

/// Looks for a credit; without one it tells the receiver that somebody waits, and looks once more. The receiver does it the
/// other way round: it posts, then looks whether somebody waits. With a full fence between the two on both sides (Dekker's
/// pattern) one of them sees the other. The word is left even if there is a credit by then: another vCPU of the sender's
/// may wait, too, and a receiver that sees it for nobody makes one call in vain.
#[inline(always)]
#[must_use]
pub fn look_or_wait(arrivals: Arrivals<'_>, credits: Credits<'_>, number: u64) -> bool {
    if credits.has_credit(number) {
        return true;
    }
    arrivals.set_starved(true);
    fence(Ordering::SeqCst);
    credits.has_credit(number)
}

/// Writes message number `number`; whether the receiver is to be told: it has taken all others, so that it may sleep, and does not
/// poll. It says what it has taken, or that it polls no more, then looks for the next message, with a full fence between (Dekker's
/// pattern again): asked before the message stands there, it could take the last one meanwhile, find nothing, and sleep.
#[inline(always)]
#[must_use]
pub fn deliver(arrivals: Arrivals<'_>, credits: Credits<'_>, number: u64, message: &Entry) -> bool {
    arrivals.put(number, message);
    fence(Ordering::SeqCst);
    credits.wants_event(number)
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Credits, Entry, WORDS, deliver, look_or_wait};
    use shikiri_abi::channel::{ARRIVALS, CONSUMED, POLLS, POSTED, STARVED};
    use shikiri_sync::atomic::{AtomicU64, Ordering};
    use std::vec::Vec;

    fn page() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn credits(posted: u64, consumed: u64) -> Vec<AtomicU64> {
        let page = page();
        page[POSTED].store(posted, Ordering::Relaxed);
        page[CONSUMED].store(consumed, Ordering::Relaxed);
        page
    }

    #[test]
    fn a_credit_is_bounded_whatever_the_guest_writes() {
        let look =
            |posted, consumed, number| Credits(&credits(posted, consumed)).has_credit(number);
        assert!(!look(0, 0, 0), "nothing was offered");
        assert!(look(1, 0, 0));
        assert!(!look(1, 0, 1), "it was used");
        assert!(look(2, 1, 1));
        assert!(look(63, 0, 62));
        assert!(!look(64, 0, 63), "the ring is full");
        assert!(!look(64, 0, 0), "more than the ring holds");
        assert!(!look(u64::MAX, 0, 5));
        assert!(!look(10, 9, 5), "more taken than arrived");
        let number = u64::MAX - 1;
        assert!(look(number.wrapping_add(5), number, number), "numbers wrap");
    }

    #[test]
    fn a_receiver_that_has_taken_all_is_told() {
        let arrivals = page();
        let put = |consumed, number| {
            let credits = credits(number + 1, consumed);
            deliver(Arrivals(&arrivals), Credits(&credits), number, &Entry::default())
        };
        assert!(put(0, 0) && put(7, 7), "none waits");
        assert!(!put(0, 1) && !put(6, 7), "one waits");
        assert!(!put(9, 7), "it was taken already, or the guest writes nonsense");
    }

    #[test]
    fn a_receiver_that_polls_is_not_told() {
        let (arrivals, credits) = (page(), credits(9, 0));
        for (polls, is_told) in [(1, false), (0, true), (u64::MAX, false)] {
            credits[POLLS].store(polls, Ordering::Relaxed);
            let told = deliver(Arrivals(&arrivals), Credits(&credits), 0, &Entry::default());
            assert_eq!(told, is_told, "{polls}");
        }
    }

    #[test]
    fn an_entry_is_where_its_number_says() {
        let page = page();
        let message = Entry { area: 1, address: 2, bytes: 3, pages: 9, short: [4, 5, 6] };
        Arrivals(&page).put(ARRIVALS + 2, &message);
        let words: Vec<_> = page[24..32].iter().map(|word| word.load(Ordering::Relaxed)).collect();
        assert_eq!(words, [ARRIVALS + 3, 1, 2, 3, 4, 5, 6, 9]);
        assert!(page.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count() == 8);
    }

    #[test]
    fn who_finds_no_credit_leaves_word() {
        let (arrivals, empty) = (page(), credits(0, 0));
        assert!(!look_or_wait(Arrivals(&arrivals), Credits(&empty), 0));
        assert_eq!(arrivals[STARVED].load(Ordering::Relaxed), 1);
        let some = credits(1, 0);
        assert!(look_or_wait(Arrivals(&arrivals), Credits(&some), 0));
    }
}
