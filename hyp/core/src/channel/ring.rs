//! The two pages of a message port, from the hypervisor's side.
//!
//! The receiver's cores read and write them at any time. Nothing that stands in the arrivals is ever read back; of the credits two
//! words are read, once for each decision, and what they say is bounded against the hypervisor's own count. A guest that
//! writes nonsense harms itself: its peer is told that there is no room.

use shikiri_abi::channel::{
    ADDRESS, AREA, ARRIVALS, BYTES, CONNECTED, CONSUMED, PAGES, POSTED, SEQUENCE, SHORT, STARVED,
    STATE, entry,
};
use shikiri_sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a page.
pub const WORDS: usize = 512;

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
    #[inline]
    pub fn put(self, number: u64, message: &Entry) {
        let first = entry(number);
        let [short0, short1, short2] = message.short;
        self.set(first.wrapping_add(AREA), message.area);
        self.set(first.wrapping_add(ADDRESS), message.address);
        self.set(first.wrapping_add(BYTES), message.bytes);
        self.set(first.wrapping_add(PAGES), message.pages);
        self.set(first.wrapping_add(SHORT), short0);
        self.set(first.wrapping_add(SHORT).wrapping_add(1), short1);
        self.set(first.wrapping_add(SHORT).wrapping_add(2), short2);
        if let Some(word) = self.0.get(first.wrapping_add(SEQUENCE)) {
            word.store(number.wrapping_add(1), Ordering::Release);
        }
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
    /// Whether the receiver takes message number `number`, and whether it has taken all before: read once.
    #[inline]
    #[must_use]
    pub fn look(self, number: u64) -> Credit {
        let word = |at: usize| self.0.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        let (posted, consumed) = (word(POSTED), word(CONSUMED));
        let has_credit = (1..=ARRIVALS).contains(&posted.wrapping_sub(number));
        let waiting = number.wrapping_sub(consumed);
        Credit { is_there: has_credit && waiting < ARRIVALS, was_empty: waiting == 0 }
    }
}

/// What the credits say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The message may be delivered.
    pub is_there: bool,
    /// No message waits: an event is due.
    pub was_empty: bool,
}

/// Looks for a credit; without one it tells the receiver that somebody waits, and looks once more. The receiver does it the
/// other way round: it posts, then looks whether somebody waits. With a full fence between the two on both sides (Dekker's
/// pattern) one of them sees the other. The word is left even if there is a credit by then: another vCPU of the sender's
/// may wait, too, and a receiver that sees it for nobody makes one call in vain.
#[inline]
#[must_use]
pub fn look_or_wait(arrivals: Arrivals<'_>, credits: Credits<'_>, number: u64) -> Option<Credit> {
    let credit = credits.look(number);
    if credit.is_there {
        return Some(credit);
    }
    arrivals.set_starved(true);
    fence(Ordering::SeqCst);
    let credit = credits.look(number);
    credit.is_there.then_some(credit)
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Credit, Credits, Entry, WORDS, look_or_wait};
    use shikiri_abi::channel::{ARRIVALS, CONSUMED, POSTED, STARVED};
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
        let look = |posted, consumed, number| {
            let Credit { is_there, was_empty } = Credits(&credits(posted, consumed)).look(number);
            (is_there, was_empty)
        };
        assert_eq!(look(0, 0, 0), (false, true), "nothing was offered");
        assert_eq!(look(1, 0, 0), (true, true));
        assert_eq!(look(1, 0, 1), (false, false), "it was used");
        assert_eq!(look(2, 1, 1), (true, true));
        assert_eq!(look(63, 0, 62), (true, false));
        assert_eq!(look(64, 0, 63), (false, false), "the ring is full");
        assert!(!look(64, 0, 0).0, "more than the ring holds");
        assert!(!look(u64::MAX, 0, 5).0);
        assert!(!look(10, 9, 5).0, "more taken than arrived");
        let number = u64::MAX - 1;
        assert_eq!(look(number.wrapping_add(5), number, number), (true, true), "numbers wrap");
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
        assert_eq!(look_or_wait(Arrivals(&arrivals), Credits(&empty), 0), None);
        assert_eq!(arrivals[STARVED].load(Ordering::Relaxed), 1);
        let some = credits(1, 0);
        assert!(look_or_wait(Arrivals(&arrivals), Credits(&some), 0).is_some());
    }
}
