//! Taking messages in order, and offering to take as many again.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use shikiri_abi::channel::{
    ADDRESS, AREA, ARRIVALS, BYTES, CONNECTED, CONSUMED, ENTRY_WORDS, PAGES, POLLS, POSTED,
    SEQUENCE, SHORT, STARVED, STATE, entry,
};
use shikiri_abi::{Ipa, PAGE_BYTES, PageCount};

/// Where the ring's last entry begins.
const LAST: usize = 63 * ENTRY_WORDS;

// `Receiver::next` names the words of an entry in this order.
const _: () = assert!(SEQUENCE == 0 && AREA == 1 && ADDRESS == 2 && BYTES == 3);
const _: () = assert!(SHORT == 4 && PAGES == 7 && ENTRY_WORDS == 8 && ARRIVALS == 63);

/// The two pages of a message port. Words that are missing read as 0.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'p> {
    /// What has come.
    pub arrivals: &'p [AtomicU64],
    /// What is offered.
    pub credits: &'p [AtomicU64],
}

/// An area that has come with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its handle; not 0.
    pub handle: u64,
    /// Where it is.
    pub address: Ipa,
    /// How large it is.
    pub pages: PageCount,
    /// How many bytes are meant; never more than it has.
    pub bytes: u64,
}

/// A message that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The area, if one came with it.
    pub parcel: Option<Parcel>,
    /// The short message.
    pub short: [u64; 3],
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whether anybody is.
    pub is_there: bool,
    /// How many have been, this one included.
    pub count: u64,
}

/// How far the receiver of a message port is. It always offers to take the same number of messages: for each that is taken it
/// offers one more. Areas have a bound of their own, the slots of the window: the hypervisor counts those.
#[derive(Debug)]
pub struct Receiver {
    taken: u64,
    /// Where the next one's entry begins.
    next: usize,
    depth: u64,
}

impl Receiver {
    /// A receiver of a new port, where at most `depth` messages can wait; 1 to 63, the nearest of these otherwise.
    #[must_use]
    pub fn new(depth: u8) -> Self {
        Self { taken: 0, next: entry(0), depth: u64::from(depth).clamp(1, ARRIVALS) }
    }

    /// Offers to take messages. The port's peer may wait for that: whoever posts looks at [`Pages::is_starved`] next.
    #[inline]
    pub fn post(&self, pages: Pages<'_>) {
        // Release: what was read of an entry was read before its place may be used again. In this order: who sees that all was taken
        // (`Pages::awaited`) does not find later that the next message had no room.
        pages.set_credit(POSTED, self.taken.wrapping_add(self.depth));
        pages.set_credit(CONSUMED, self.taken);
        // What follows looks for the next message, and for a peer that waits: both have looked at the credits behind a
        // fence of their own, so that one side sees the other.
        fence(Ordering::SeqCst);
    }

    /// Takes the next message if it has come, and offers to take one more.
    #[inline]
    pub fn take(&mut self, pages: Pages<'_>) -> Option<Arrival> {
        let arrival = self.next(pages)?;
        self.post(pages);
        Some(arrival)
    }

    /// Offers to take no more. Who closes the port takes what has come until then by [`Receiver::take_last`], so that no area is left.
    pub fn withdraw(&self, pages: Pages<'_>) {
        // What was offered is not more than what has come.
        pages.set_credit(POSTED, self.taken);
        fence(Ordering::SeqCst);
    }

    /// Takes the next message if it has come, and offers nothing in its place.
    pub fn take_last(&mut self, pages: Pages<'_>) -> Option<Arrival> {
        self.next(pages)
    }

    #[inline]
    fn next(&mut self, pages: Pages<'_>) -> Option<Arrival> {
        let words: &[AtomicU64; ENTRY_WORDS] = pages.arrivals.get(self.next..)?.first_chunk()?;
        let [sequence, area, address, bytes, short0, short1, short2, size] = words;
        let number = self.taken.wrapping_add(1);
        // Acquire: the other words, and the area behind them, are there when the number is.
        if sequence.load(Ordering::Acquire) != number {
            return None;
        }
        let word = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let arrival = Arrival {
            parcel: parcel(word(area), word(address), word(size), word(bytes)),
            short: [word(short0), word(short1), word(short2)],
        };
        self.taken = number;
        self.next = behind(self.next);
        Some(arrival)
    }
}

/// The entry behind one.
#[inline]
const fn behind(entry: usize) -> usize {
    if entry == LAST { ENTRY_WORDS } else { entry.wrapping_add(ENTRY_WORDS) }
}

#[inline]
fn parcel(handle: u64, address: u64, pages: u64, bytes: u64) -> Option<Parcel> {
    let most = pages.saturating_mul(PAGE_BYTES);
    let parcel =
        Parcel { handle, address: Ipa(address), pages: PageCount(pages), bytes: bytes.min(most) };
    (handle != 0).then_some(parcel)
}

impl<'p> Pages<'p> {
    /// The word of the next message that the hypervisor stores last, and what it is at least from then on: the entry's next messages have
    /// larger numbers. None if the pages are too short. A receiver that is just taking a message may be one behind: that one has come.
    #[inline]
    #[must_use]
    pub fn awaited(self) -> Option<(&'p AtomicU64, u64)> {
        let taken = self.credits.get(CONSUMED)?.load(Ordering::Acquire);
        // Another vCPU may have stored that, and be before its fence still. Whoever looks at the word and sleeps has to be behind one, as in
        // [`Receiver::post`].
        fence(Ordering::SeqCst);
        let word = self.arrivals.get(entry(taken).wrapping_add(SEQUENCE))?;
        Some((word, taken.wrapping_add(1)))
    }

    /// Whether the peer waits for a credit or a vacant slot; then it is to be told, by `CHANNEL_NOTIFY`, of what is there again.
    #[inline]
    #[must_use]
    pub fn is_starved(self) -> bool {
        self.arrival(STARVED) != 0
    }

    /// Says whether the guest looks for messages by itself, so that no event tells of them. Told again, it looks once more: what has
    /// come meanwhile was told to nobody.
    pub fn set_polls(self, polls: bool) {
        self.set_credit(POLLS, u64::from(polls));
        // As in [`Receiver::post`]: the other side writes the message, then looks here.
        fence(Ordering::SeqCst);
    }

    /// Whether the guest has said that it looks by itself.
    #[inline]
    #[must_use]
    pub fn polls(self) -> bool {
        self.credits.get(POLLS).is_some_and(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Who is at the other end. What a peer sent is in the arrivals before it is told that it has gone.
    #[inline]
    #[must_use]
    pub fn peer(self) -> Peer {
        let state = self.arrivals.get(STATE).map_or(0, |word| word.load(Ordering::Acquire));
        Peer { is_there: state & CONNECTED != 0, count: state >> 1 }
    }

    fn arrival(self, word: usize) -> u64 {
        self.arrivals.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set_credit(self, word: usize, value: u64) {
        if let Some(word) = self.credits.get(word) {
            word.store(value, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pages, Receiver};
    use core::sync::atomic::{AtomicU64, Ordering};

    static EMPTY: [AtomicU64; 0] = [];

    #[test]
    fn pages_that_are_too_short_hold_nothing() {
        let pages = Pages { arrivals: &EMPTY, credits: &EMPTY };
        let mut receiver = Receiver::new(5);
        receiver.post(pages);
        assert_eq!(receiver.take(pages), None);
        assert!(pages.awaited().is_none() && !pages.polls());
        assert!(!pages.is_starved() && !pages.peer().is_there);
        // An entry whose number is there and whose other words are missing.
        let cut: [AtomicU64; 15] = core::array::from_fn(|at| AtomicU64::new(u64::from(at == 8)));
        let pages = Pages { arrivals: &cut, ..pages };
        assert_eq!(receiver.take(pages), None);
    }

    #[test]
    fn who_has_withdrawn_offers_nothing_for_what_it_takes() {
        let credits: [AtomicU64; 2] = core::array::from_fn(|_| AtomicU64::new(0));
        let arrivals: [AtomicU64; 24] = core::array::from_fn(|_| AtomicU64::new(0));
        let pages = Pages { arrivals: &arrivals, credits: &credits };
        let mut receiver = Receiver::new(5);
        receiver.post(pages);
        receiver.withdraw(pages);
        assert_eq!(credits[0].load(Ordering::Relaxed), 0);
        arrivals[8].store(1, Ordering::Relaxed);
        assert!(receiver.take_last(pages).is_some() && receiver.take_last(pages).is_none());
        assert_eq!(credits[0].load(Ordering::Relaxed), 0);
        arrivals[16].store(2, Ordering::Relaxed);
        assert!(receiver.take(pages).is_some());
        assert_eq!(credits[0].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_depth_is_one_that_the_ring_has() {
        for (depth, offered) in [(0, 1), (1, 1), (63, 63), (64, 63), (255, 63)] {
            let credits: [AtomicU64; 2] = core::array::from_fn(|_| AtomicU64::new(0));
            Receiver::new(depth).post(Pages { arrivals: &EMPTY, credits: &credits });
            assert_eq!(credits[0].load(Ordering::Relaxed), offered);
        }
    }

    #[test]
    fn what_is_awaited_counts_up_lap_after_lap() {
        let credits: [AtomicU64; 3] = core::array::from_fn(|_| AtomicU64::new(0));
        let arrivals: [AtomicU64; 512] = core::array::from_fn(|_| AtomicU64::new(0));
        let pages = Pages { arrivals: &arrivals, credits: &credits };
        let mut receiver = Receiver::new(1);
        receiver.post(pages);
        for number in 1..=200 {
            let (word, awaited) = pages.awaited().unwrap();
            assert_eq!(awaited, number);
            assert!(word.load(Ordering::Relaxed) < awaited, "it has not come");
            word.store(number, Ordering::Relaxed);
            assert!(receiver.take(pages).is_some());
            assert!(word.load(Ordering::Relaxed) >= awaited, "it has come, whoever has taken it");
        }
    }

    #[test]
    fn a_receiver_says_whether_it_polls() {
        let credits: [AtomicU64; 3] = core::array::from_fn(|_| AtomicU64::new(0));
        let pages = Pages { arrivals: &EMPTY, credits: &credits };
        for polls in [true, false] {
            pages.set_polls(polls);
            assert_eq!(pages.polls(), polls);
        }
    }
}
