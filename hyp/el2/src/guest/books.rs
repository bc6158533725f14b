//! What a hypervisor with the feature `checks` compares after each call (`cargo xtask checked`); in what is shipped it is nothing.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shikiri_config::MAX_PARTITIONS;
use shikiri_core::{object, party};

use super::talk::opened;
use super::worker;
use crate::percore::CoreLocal;
use crate::world::{World, lives};

/// Compares all books, behind a call with this number, with no lock held: those on frames if somebody has had them to write since
/// they were last compared, what partitions say of each other always.
///
/// # Panics
/// With the feature: they disagree.
#[inline(always)]
pub(super) fn compare(core: &CoreLocal, number: u32) {
    if cfg!(feature = "checks") {
        compare_all(core.world, number);
    }
}

/// At each so many comparisons the books on frames are among them even if nobody has had them to write: for what is written past
/// the locks.
const ALWAYS: u32 = 64;

/// Comparisons since the start.
static COMPARISONS: AtomicU32 = AtomicU32::new(0);

/// What the last one was not able to compare, because a partition was being built or taken apart or an area made, is still due.
static IS_DUE: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn compare_all(world: &World, number: u32) {
    // All notes are taken, and before anything is read.
    let is_written = world.take_books_written() | IS_DUE.swap(false, Ordering::Relaxed);
    if COMPARISONS.fetch_add(1, Ordering::Relaxed).is_multiple_of(ALWAYS) || is_written {
        let audit = world.audit();
        assert!(audit.violation.is_none(), "after call {number:#x}: {:?}", audit.violation);
        if audit.free.is_none() {
            IS_DUE.store(true, Ordering::Relaxed);
        }
    }
    let talk = compare_parties(world);
    assert!(talk.is_ok(), "after call {number:#x}: {talk:?}");
}

/// Compares what all partitions say of each other, and of the named objects: ports, connections, requests, who has opened what, and
/// what is charged for them. Unless one of them is being built or taken apart, which goes on in steps.
fn compare_parties(world: &World) -> Result<(), &'static str> {
    // Nobody begins or ends meanwhile, so that who is there stays there.
    let mut lifecycles: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in lifecycles.iter_mut().zip(world.slots) {
        *place = Some(slot.lifecycle.lock());
    }
    if lifecycles.iter().flatten().any(|lifecycle| lives(lifecycle.phase()).is_none()) {
        return Ok(());
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
