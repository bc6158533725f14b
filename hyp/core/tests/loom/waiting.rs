//! A receiver that sleeps in WFE meets a sender, and its peer's end.
//!
//! The instructions' part is a model: a load-exclusive marks the word, a store to it by another core clears the mark and sets the event
//! register, and so does the return from an exception; a WFE waits for that register and clears it (Arm ARM B2.17, D1.6.1). An interrupt
//! that is in a list register behind one that is active is signalled when that one's end arrives, and this is no event.

use loom::sync::{Arc, Mutex};
use loom::thread;
use shikiri_abi::channel::{CONNECTED, SEQUENCE, STATE, entry};
use shikiri_core::channel::ring::{Arrivals, Credits, Entry, deliver};
use shikiri_sync::atomic::{AtomicU64, Ordering};

/// What a core has beside its registers.
#[derive(Default)]
struct State {
    is_marked: bool,
    has_event: bool,
    /// An interrupt is in a list register.
    is_listed: bool,
    /// The end of another one is under way, which keeps it from being signalled.
    ends: bool,
}

impl State {
    /// What ISR_EL1 reads.
    fn has_interrupt(&self) -> bool {
        self.is_listed && !self.ends
    }
}

#[derive(Default)]
struct Core(Mutex<State>);

impl Core {
    fn with<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        action(&mut self.0.lock().unwrap())
    }

    /// What another core's store to the word does here.
    fn word_was_stored(&self) {
        self.with(|state| state.has_event |= core::mem::take(&mut state.is_marked));
    }

    /// EL2 makes a virtual interrupt pending, and returns to the guest.
    fn interrupt(&self) {
        self.with(|state| (state.is_listed, state.has_event) = (true, true));
    }

    /// The core has ended an interrupt, by a store that arrives later.
    fn end_interrupt(&self) {
        self.with(|state| state.ends = true);
    }

    /// That store arrives. What it reveals comes by no exception.
    fn end_arrives(&self) {
        self.with(|state| state.ends = false);
    }
}

struct Both {
    arrivals: Vec<AtomicU64>,
    credits: Vec<AtomicU64>,
    core: Core,
}

impl Both {
    /// A port that polls, and whose peer is there; a call has left an event.
    fn new() -> Arc<Self> {
        let page = || (0..24).map(|_| AtomicU64::new(0)).collect();
        let both = Self { arrivals: page(), credits: page(), core: Core::default() };
        both.core.with(|state| state.has_event = true);
        both.arrivals[STATE].store(CONNECTED, Ordering::Relaxed);
        both.credits[shikiri_abi::channel::POLLS].store(1, Ordering::Relaxed);
        Arc::new(both)
    }

    fn has_come(&self) -> bool {
        self.arrivals[entry(0) + SEQUENCE].load(Ordering::Acquire) == 1
    }

    /// One round of the guests' run-time (`shikiri_rt::watch`), without what `has` says; whether it comes to the WFE.
    fn comes_to_sleep(&self, has: Parts) -> bool {
        if self.has_come() || self.arrivals[STATE].load(Ordering::Acquire) & CONNECTED == 0 {
            return false;
        }
        self.core.with(|state| state.has_event = false);
        self.core.with(|state| state.is_marked = has.mark);
        let has_come = self.has_come();
        let is_interrupted = has.interrupts && self.core.with(|state| state.has_interrupt());
        let is_listed = has.lists && self.core.with(|state| state.is_listed);
        !has_come && !is_interrupted && !is_listed
    }

    fn send(&self) {
        let told = deliver(Arrivals(&self.arrivals), Credits(&self.credits), 0, &Entry::default());
        assert!(!told, "it polls");
        self.core.word_was_stored();
    }

    fn end(&self) {
        Arrivals(&self.arrivals).set_state(1, false);
        self.core.interrupt();
    }

    /// The peer ends while the receiver's end of another interrupt is under way.
    fn reveal(&self) {
        self.end();
        self.core.end_arrives();
    }
}

/// Parts of the sequence.
#[derive(Clone, Copy)]
struct Parts {
    /// The load-exclusive.
    mark: bool,
    /// The look at ISR_EL1.
    interrupts: bool,
    /// The look at the interface's highest pending interrupt.
    lists: bool,
    /// The event stream.
    stream: bool,
}

/// One side receives while the other does something: if the first sleeps, it has an event that wakes it.
fn meet(has: Parts, what: fn(&Both)) {
    meet_after(|_| (), has, what);
}

/// The same, after the receiver has done something.
fn meet_after(before: fn(&Both), has: Parts, what: fn(&Both)) {
    loom::model(move || {
        let both = Both::new();
        before(&both);
        let other = {
            let both = Arc::clone(&both);
            thread::spawn(move || what(&both))
        };
        let sleeps = both.comes_to_sleep(has);
        other.join().unwrap();
        if has.stream {
            both.core.with(|state| state.has_event = true);
        }
        assert!(!sleeps || both.core.with(|state| state.has_event), "it sleeps for ever");
    });
}

/// The sequence, without the event stream: it is for what this model does not know.
const WHOLE: Parts = Parts { mark: true, interrupts: true, lists: true, stream: false };

/// As it would be without the look at what is listed.
const SIGNALLED_ONLY: Parts = Parts { lists: false, ..WHOLE };

fn end_an_interrupt(both: &Both) {
    both.core.end_interrupt();
}

#[test]
fn a_receiver_asleep_in_wfe_finds_the_message() {
    meet(WHOLE, Both::send);
}

#[test]
fn a_receiver_asleep_in_wfe_is_told_of_the_peers_end() {
    meet(WHOLE, Both::end);
}

#[test]
#[should_panic(expected = "it sleeps for ever")]
fn a_plain_load_before_wfe_would_miss_a_message() {
    meet(Parts { mark: false, ..WHOLE }, Both::send);
}

#[test]
#[should_panic(expected = "it sleeps for ever")]
fn wfe_without_a_look_at_what_is_pending_would_miss_the_peers_end() {
    meet(Parts { interrupts: false, lists: false, ..WHOLE }, Both::end);
}

#[test]
fn a_receiver_asleep_in_wfe_is_told_of_an_end_that_its_own_end_of_interrupt_reveals() {
    meet_after(end_an_interrupt, WHOLE, Both::reveal);
}

#[test]
#[should_panic(expected = "it sleeps for ever")]
fn wfe_without_a_look_at_what_is_listed_would_miss_what_an_end_of_interrupt_reveals() {
    meet_after(end_an_interrupt, SIGNALLED_ONLY, Both::reveal);
}

#[test]
fn the_event_stream_ends_a_sleep_whose_wake_up_was_lost() {
    meet_after(end_an_interrupt, Parts { stream: true, ..SIGNALLED_ONLY }, Both::reveal);
}
