//! What a hypervisor with the feature `checks` compares after each call, and behind steps of those who build partitions and take them
//! apart (`cargo xtask checked`); in what is shipped it is nothing.
//!
//! It counts what it compares, and how, and says so: a run that has compared nothing has shown nothing.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shikiri_config::MAX_PARTITIONS;
use shikiri_core::invariants::audit_steps;
use shikiri_core::lifecycle::Phase;
use shikiri_core::{object, party};

use super::talk::opened;
use super::worker;
use crate::console::say;
use crate::hw::mem::Ram;
use crate::percore::CoreLocal;
use crate::world::{Slot, World, lives};

/// Compares all books, behind a call with this number, with no lock held: those on frames if somebody has had them to write since
/// they were last compared, what partitions say of each other always.
///
/// # Panics
/// With the feature: they disagree.
#[inline(always)]
pub(super) fn compare(core: &CoreLocal, number: u32) {
    if cfg!(feature = "checks") {
        compare_all(core.world, number, false);
    }
}

/// Compares all books behind a step of a partition's worker: each step of its end, and those of its beginning that have taken frames or
/// given some back.
///
/// # Panics
/// With the feature: they disagree.
#[inline(always)]
pub(super) fn compare_step(core: &CoreLocal, slot: &Slot) {
    if cfg!(feature = "checks") {
        let has_moved_frames = core.world.frames.take_written();
        if has_moved_frames || slot.phase() == Phase::TearingDown {
            compare_all(core.world, STEP, has_moved_frames);
        }
    }
}

/// Waits until no comparison looks at an incarnation that was withdrawn from its slot: they hold all lifecycles, and the next one does
/// not find it any more.
#[inline(always)]
pub(super) fn leave(slot: &Slot) {
    if cfg!(feature = "checks") {
        drop(slot.lifecycle.lock());
    }
}

/// Says how much was compared until the machine's end.
#[inline(always)]
pub(crate) fn tell(world: &World) {
    if cfg!(feature = "checks") {
        tell_counts(world);
    }
}

/// At each so many comparisons the books on frames are among them even if nobody has had them to write: for what is written past
/// the locks.
const ALWAYS: u32 = 64;

/// Stands for a worker's step, where a call has its number.
const STEP: u32 = 0;

/// What was compared since the start.
struct Counts {
    /// Comparisons of what all partitions say of each other.
    parties: AtomicU32,
    /// Those of them during which a partition was being built or taken apart.
    parties_changing: AtomicU32,
    /// Comparisons of the books on frames in which everything was complete.
    books: AtomicU32,
    /// Those in which a partition or an area was being made or taken apart, and what holds between two steps was compared.
    books_by_step: AtomicU32,
    /// Times at which the books on frames were left, because nobody had had them to write.
    books_unwritten: AtomicU32,
}

static COUNTS: Counts = Counts {
    parties: AtomicU32::new(0),
    parties_changing: AtomicU32::new(0),
    books: AtomicU32::new(0),
    books_by_step: AtomicU32::new(0),
    books_unwritten: AtomicU32::new(0),
};

/// The last one was made by step: a whole one is still due.
static IS_DUE: AtomicBool = AtomicBool::new(false);

fn count(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

#[inline(never)]
fn compare_all(world: &World, number: u32, is_written: bool) {
    // All notes are taken, and before anything is read.
    let is_written =
        world.take_books_written() | IS_DUE.swap(false, Ordering::Relaxed) | is_written;
    let before = COUNTS.parties.load(Ordering::Relaxed);
    if is_written || before.is_multiple_of(ALWAYS) {
        compare_books(world, number);
    } else {
        count(&COUNTS.books_unwritten);
    }
    let talk = compare_parties(world);
    assert!(talk.is_ok(), "after call {number:#x}: {talk:?}");
    // A machine that a test ends from outside has no last words: it says so from time to time.
    let compared = count(&COUNTS.parties);
    if compared.is_power_of_two() {
        tell_counts(world);
    }
}

fn tell_counts(world: &World) {
    let now = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    say!(
        world,
        "compared: parties {}, changing {}; books {}, by step {}, unwritten {}",
        now(&COUNTS.parties),
        now(&COUNTS.parties_changing),
        now(&COUNTS.books),
        now(&COUNTS.books_by_step),
        now(&COUNTS.books_unwritten)
    );
}

/// Compares the books on frames: all that is complete, and if anything is not, what holds between two steps of everybody.
fn compare_books(world: &World, number: u32) {
    let audit = world.audit();
    assert!(audit.violation.is_none(), "after call {number:#x}: {:?}", audit.violation);
    if audit.changing == 0 && audit.free.is_some() {
        count(&COUNTS.books);
        return;
    }
    IS_DUE.store(true, Ordering::Relaxed);
    // Whoever makes a step has its partition's lock from its beginning to its end.
    let mut works: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in works.iter_mut().zip(world.slots) {
        *place = Some(slot.work.lock());
    }
    let holdings = || works.iter().flatten().filter_map(|work| Some(&work.as_ref()?.holdings));
    // The policy program may set a limit below what is used: then only no more is charged.
    let may_be_above = world.policy.is_some();
    let is_below = may_be_above || holdings().all(|holdings| holdings.account().keeps_limits());
    assert!(is_below, "after call {number:#x}: an account is above its limit");
    let steps =
        world.frames.with_books(|ledger, pool| audit_steps((ledger, pool), &Ram, holdings()));
    assert!(steps.is_ok(), "after call {number:#x}: {steps:?}");
    count(&COUNTS.books_by_step);
}

/// Compares what all partitions say of each other, and of the named objects: ports, connections, requests, who has opened what, and
/// what is charged for them. One that is being built is among them as soon as others find it, and one that is being taken apart as long
/// as they do: each step keeps both ends alike.
fn compare_parties(world: &World) -> Result<(), &'static str> {
    // Nobody begins or ends meanwhile, and whoever has ended waits for this (`leave`), so that who is there stays there.
    let mut lifecycles: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in lifecycles.iter_mut().zip(world.slots) {
        *place = Some(slot.lifecycle.lock());
    }
    if lifecycles.iter().flatten().any(|lifecycle| lives(lifecycle.phase()).is_none()) {
        count(&COUNTS.parties_changing);
    }
    // Several partitions' locks are waited for, each with others in hand.
    let _meeting = world.meeting.lock();
    let mut locked: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in locked.iter_mut().zip(world.slots) {
        *place = worker::live(slot).map(|live| (live, live.devices.lock()));
    }
    let mut works: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, (live, _)) in works.iter_mut().zip(locked.iter().flatten()) {
        *place = Some(live.slot.work.lock());
    }
    let mut parties: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    let opens = locked.iter_mut().flatten().zip(works.iter_mut().flatten());
    for (place, ((live, devices), work)) in parties.iter_mut().zip(opens) {
        let holdings = work.as_ref().map(|work| &work.holdings);
        *place = opened(live, devices).zip(holdings);
    }
    party::check(parties.iter().flatten().map(|(party, _)| party))?;
    object::check(&world.objects, parties.iter().flatten())
}
