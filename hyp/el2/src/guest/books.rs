//! What a hypervisor with the feature `checks` compares after each call (`cargo xtask checked`); in what is shipped it is nothing.

use shikiri_config::MAX_PARTITIONS;
use shikiri_core::party;

use super::talk::opened;
use super::worker;
use crate::percore::CoreLocal;
use crate::world::{World, lives};

/// Compares all books, behind a call with this number, with no lock held.
///
/// # Panics
/// With the feature: they disagree.
#[inline(always)]
pub(super) fn compare(core: &CoreLocal, number: u32) {
    if cfg!(feature = "checks") {
        compare_all(core.world, number);
    }
}

#[inline(never)]
fn compare_all(world: &World, number: u32) {
    let violation = world.audit().violation;
    assert!(violation.is_none(), "after call {number:#x}: {violation:?}");
    let talk = compare_parties(world);
    assert!(talk.is_ok(), "after call {number:#x}: {talk:?}");
}

/// Compares what all partitions say of each other: ports, connections, requests, and what is charged for them. Unless one of them
/// is being built or taken apart, which goes on in steps.
fn compare_parties(world: &World) -> Result<(), &'static str> {
    // Nobody begins or ends meanwhile, so that who is there stays there.
    let mut lifecycles: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in lifecycles.iter_mut().zip(world.slots) {
        *place = Some(slot.lifecycle.lock());
    }
    if lifecycles.iter().flatten().any(|lifecycle| lives(lifecycle.phase()).is_none()) {
        return Ok(());
    }
    let mut locked: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, slot) in locked.iter_mut().zip(world.slots) {
        *place = worker::live(slot).map(|live| (live, live.devices.lock()));
    }
    let mut parties: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
    for (place, (live, devices)) in parties.iter_mut().zip(locked.iter_mut().flatten()) {
        *place = opened(live, devices);
    }
    party::check(parties.iter().flatten())
}
