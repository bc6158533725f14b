//! The guests' receiver (`shikiri-arrivals`) against the hypervisor's side of the same pages (`shikiri_core::channel::ring`), in
//! any order of steps; and against pages full of nonsense. C2.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use shikiri_abi::channel::{ADDRESS, AREA, BYTES, PAGES, SEQUENCE, SHORT, STARVED, entry};
use shikiri_abi::{Ipa, PageCount, WINDOWS};
use shikiri_arrivals::{Arrival, Pages, Parcel, Receiver, View};
use shikiri_core::channel::ring::{Arrivals, Credits, Entry, WORDS, deliver, look_or_wait};

/// One step of either side.
#[derive(Clone, Debug)]
enum Act {
    /// The hypervisor delivers a message, if there is a credit.
    Send(Entry),
    /// The guest takes one, if there is one.
    Take,
    /// The guest looks whether its peer waits, and says that there is room.
    Notify,
}

fn message() -> impl Strategy<Value = Entry> {
    (0..3_u64, any::<u64>(), 0..3_u64, 0..9000_u64, any::<[u64; 3]>()).prop_map(
        |(area, address, pages, bytes, short)| Entry { area, address, bytes, pages, short },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => message().prop_map(Act::Send),
        3 => Just(Act::Take),
        1 => Just(Act::Notify),
    ]
}

fn page() -> Vec<AtomicU64> {
    (0..WORDS).map(|_| AtomicU64::new(0)).collect()
}

/// What the guest has to see of a message.
fn seen(message: &Entry) -> Arrival {
    let parcel = Parcel {
        handle: message.area,
        address: Ipa(message.address),
        pages: PageCount(message.pages),
        bytes: message.bytes.min(message.pages * 4096),
    };
    Arrival { parcel: (message.area != 0).then_some(parcel), short: message.short }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every message is taken once, in order and whole; no more than `depth` wait; the guest is told exactly when none waited; a
    /// sender that was refused is seen by the guest that has room again.
    #[test]
    fn messages_come_in_order_and_the_credits_hold(
        depth in prop_oneof![1..6_u8, Just(63)],
        acts in prop::collection::vec(act(), 1..shikiri_model::steps(400)),
    ) {
        let (arrivals, credits) = (page(), page());
        let pages = Pages { arrivals: &arrivals, credits: &credits };
        let (theirs, ours) = (Arrivals(&arrivals), Credits(&credits));
        let mut receiver = Receiver::new(depth);
        receiver.post(pages);
        let mut waiting: VecDeque<Entry> = VecDeque::new();
        let (mut number, mut is_refused) = (0, false);
        for act in acts {
            match act {
                Act::Send(message) => {
                    let has_room = look_or_wait(theirs, ours, number);
                    prop_assert_eq!(has_room, waiting.len() < usize::from(depth));
                    if has_room {
                        let is_told = deliver(theirs, ours, number, &message);
                        prop_assert_eq!(is_told, waiting.is_empty());
                        waiting.push_back(message);
                        number += 1;
                    } else {
                        is_refused = true;
                    }
                }
                Act::Take => {
                    let taken = receiver.take(pages);
                    prop_assert_eq!(taken, waiting.pop_front().as_ref().map(seen));
                }
                Act::Notify => {
                    prop_assert_eq!(pages.is_starved(), is_refused);
                    theirs.set_starved(false);
                    is_refused = false;
                }
            }
        }
    }

    /// Who closes a port offers nothing from then on, whatever has come and whatever is taken, and gets all that has come.
    #[test]
    fn who_has_withdrawn_gets_what_has_come_and_no_more(
        depth in prop_oneof![1..6_u8, Just(63)],
        acts in prop::collection::vec(any::<bool>(), 0..shikiri_model::steps(200)),
    ) {
        let (arrivals, credits) = (page(), page());
        let pages = Pages { arrivals: &arrivals, credits: &credits };
        let (theirs, ours) = (Arrivals(&arrivals), Credits(&credits));
        let mut receiver = Receiver::new(depth);
        receiver.post(pages);
        let (mut number, mut taken) = (0, 0);
        for is_sent in acts {
            if is_sent && look_or_wait(theirs, ours, number) {
                let _is_told = deliver(theirs, ours, number, &Entry::default());
                number += 1;
            } else if !is_sent && receiver.take(pages).is_some() {
                taken += 1;
            }
        }
        receiver.withdraw(pages);
        for _ in taken..number {
            prop_assert!(!look_or_wait(theirs, ours, number));
            prop_assert!(receiver.take_last(pages).is_some());
        }
        prop_assert!(!look_or_wait(theirs, ours, number));
        prop_assert_eq!(receiver.take_last(pages), None);
    }

    /// Whatever stands in the arrivals, a look ends, and what it finds is inside the view or nowhere.
    #[test]
    fn a_damaged_page_is_bounded(
        words in prop::collection::vec(any::<u64>(), 0..=WORDS),
        edges in prop::collection::vec((0..70_u64, 0..8_usize, edge()), 0..40),
        looks in 0..130_u64,
    ) {
        let arrivals: Vec<_> = words.iter().copied().map(AtomicU64::new).collect();
        let credits = page();
        let pages = Pages { arrivals: &arrivals, credits: &credits };
        let view = View { base: 0x60_0000_0000, bytes: 128 << 30 };
        let mut receiver = Receiver::new(63);
        let set = |word: usize, value: u64| {
            if let Some(word) = arrivals.get(word) {
                word.store(value, Ordering::Relaxed);
            }
        };
        for number in 0..looks {
            for (at, word, value) in &edges {
                set(entry(*at) + word, *value);
            }
            set(entry(number) + SEQUENCE, number + 1);
            let Some(arrival) = receiver.take(pages) else { continue };
            if let Some(parcel) = arrival.parcel {
                prop_assert!(parcel.handle != 0);
                prop_assert!(parcel.bytes <= parcel.pages.0.saturating_mul(4096));
                if let Some(place) = view.locate(parcel.address, parcel.pages) {
                    prop_assert!(place >= view.base);
                    prop_assert!(place + parcel.pages.0 * 4096 <= view.base + view.bytes);
                }
            }
        }
        let _peer = (pages.peer(), pages.is_starved());
    }
}

/// Numbers near which arithmetic goes wrong.
fn edge() -> impl Strategy<Value = u64> {
    let places =
        [0, 1, 512, 0x4_0000, 1 << 52, WINDOWS.0, (1 << 40) - 4096, u64::MAX - 1, u64::MAX];
    prop_oneof![prop::sample::select(places.to_vec()), any::<u64>()]
}

/// The words of an entry are where both sides look for them.
#[test]
fn an_entry_has_its_words() {
    let words = [SEQUENCE, AREA, ADDRESS, BYTES, SHORT, SHORT + 1, SHORT + 2, PAGES];
    assert_eq!(words, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(STARVED < entry(0));
}
