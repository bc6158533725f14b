//! A sender meets a receiver that posts a credit, or takes a message.

use loom::sync::Arc;
use loom::thread;
use shikiri_abi::channel::{CONSUMED, POLLS, POSTED, SEQUENCE, SHORT, STARVED, entry};
use shikiri_core::channel::ring::{Arrivals, Credits, Entry, deliver, look_or_wait};
use shikiri_sync::atomic::{AtomicU64, Ordering, fence};

/// The words of a page that are looked at.
fn page() -> Vec<AtomicU64> {
    (0..24).map(|_| AtomicU64::new(0)).collect()
}

/// Either the sender finds the credit, or the receiver finds that somebody waits: nobody waits for ever.
#[test]
fn a_sender_and_a_receiver_that_posts_cannot_miss_each_other() {
    loom::model(|| {
        let pages = Arc::new((page(), page()));
        let receiver = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || {
                pages.1[POSTED].store(1, Ordering::Release);
                fence(Ordering::SeqCst);
                pages.0[STARVED].load(Ordering::Relaxed) != 0
            })
        };
        let credit = look_or_wait(Arrivals(&pages.0), Credits(&pages.1), 0);
        let sees_waiting = receiver.join().unwrap();
        assert!(credit || sees_waiting, "the sender waits for ever");
    });
}

/// Whoever sees a message's number sees the message.
#[test]
fn a_message_is_complete_when_its_number_is_there() {
    loom::model(|| {
        let pages = Arc::new(page());
        let receiver = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || {
                let at = entry(0);
                (pages[at + SEQUENCE].load(Ordering::Acquire) == 1)
                    .then(|| pages[at + SHORT].load(Ordering::Relaxed))
            })
        };
        let message = Entry { short: [7, 0, 0], ..Entry::default() };
        Arrivals(&pages).put(0, &message);
        assert!(matches!(receiver.join().unwrap(), None | Some(7)));
    });
}

/// A message comes while the receiver takes the one before it: the receiver finds it, or is told of it.
#[test]
fn a_receiver_that_finds_no_more_is_told_of_what_comes() {
    loom::model(|| {
        let pages = Arc::new((page(), page()));
        Arrivals(&pages.0).put(0, &Entry::default());
        let receiver = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || {
                pages.1[CONSUMED].store(1, Ordering::Release);
                fence(Ordering::SeqCst);
                pages.0[entry(1) + SEQUENCE].load(Ordering::Acquire) == 2
            })
        };
        let is_told = deliver(Arrivals(&pages.0), Credits(&pages.1), 1, &Entry::default());
        let finds_it = receiver.join().unwrap();
        assert!(is_told || finds_it, "it sleeps beside a message");
    });
}

/// A message comes while the receiver stops polling: it finds the message in its last look, or is told of it.
#[test]
fn a_receiver_that_stops_polling_misses_nothing() {
    loom::model(|| {
        let pages = Arc::new((page(), page()));
        pages.1[POLLS].store(1, Ordering::Relaxed);
        let receiver = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || {
                pages.1[POLLS].store(0, Ordering::Release);
                fence(Ordering::SeqCst);
                pages.0[entry(0) + SEQUENCE].load(Ordering::Acquire) == 1
            })
        };
        let is_told = deliver(Arrivals(&pages.0), Credits(&pages.1), 0, &Entry::default());
        let finds_it = receiver.join().unwrap();
        assert!(is_told || finds_it, "it sleeps beside a message");
    });
}
