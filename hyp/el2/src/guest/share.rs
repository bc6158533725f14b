//! The calls about shared areas: locks and visits, as for message areas. What they do is `shikiri_core::share`'s to decide.

use core::sync::atomic::Ordering;

use shikiri_abi::{PartitionSlot, SharedCall, SignalKind};
use shikiri_config::SharedArea;
use shikiri_core::area::Wanted;
use shikiri_core::party::Refusal;
use shikiri_core::share::{Fixed, Place};
use shikiri_stage2::{Access, switch};

use super::live::{Devices, Live};
use super::message::{done, estate, together, with_works};
use super::talk::{Meeting, Met, check_permitted, lock_met, until_it_holds, visit};
use crate::hw::mem::Ram;
use crate::hw::tlb::{MachineRegime, MachineTlb};
use crate::percore::{CoreLocal, Loaded};

/// Serves a call: `x0` to `x3`.
#[inline(never)]
pub(super) fn serve(core: &CoreLocal, loaded: Loaded, call: SharedCall) -> [u64; 4] {
    carry_out(core, loaded.live, call).unwrap_or_else(|refusal| refusal.registers())
}

fn carry_out(core: &CoreLocal, live: &Live, call: SharedCall) -> Result<[u64; 4], Refusal> {
    let has_shares = live.slot.description().windows.shared != 0;
    let tables = live.talk.as_ref().filter(|_| has_shares).ok_or(Refusal::NotSupported)?;
    if let SharedCall::Connect { port, partition, service, .. } = call {
        let asks = (SignalKind::AreaAttach, port);
        check_permitted(core, live, tables, asks, (partition, service))?;
    }
    until_it_holds(core, |meeting| attempt(core, live, call, meeting))
}

/// Looks whom the call meets, locks both, and carries it out.
fn attempt(
    core: &CoreLocal,
    live: &Live,
    call: SharedCall,
    meeting: Option<Meeting>,
) -> Result<[u64; 4], Refusal> {
    let frames = &core.world.frames;
    let mut look = |devices: &mut Devices| {
        estate(live, devices, &mut live.slot.work.lock())?.meets(call, frames.areas())
    };
    let mut met = lock_met(core, live, &mut look, meeting)?;
    let mut carry_out = || {
        with_works(live, &mut met, |own, peer| own.share(peer, (&Ram, &MachineTlb, frames), call))
    };
    // These unmap at the other partition, under its VMID.
    let result = if matches!(call, SharedCall::Revoke { .. } | SharedCall::Withdraw(_)) {
        switch::with_walks_held(&MachineRegime, carry_out)
    } else {
        carry_out()
    };
    // The locks go, and the visit does not.
    let Met { visited: _visited, own, peer } = met;
    drop((own, peer));
    done(core, result.flatten())
}

/// One bounded step towards the partition's next shared area of the description: makes it, if no partition has it, or attaches it. True
/// when there are no more.
///
/// # Errors
/// There is no room for it, in the account or in the machine.
pub(super) fn open_area(core: &CoreLocal, live: &Live) -> Result<bool, Refusal> {
    let number = live.shared_opened.load(Ordering::Relaxed);
    let Some(area) = core.world.bundle.shared_areas().nth(number) else { return Ok(true) };
    let own = usize::from(live.slot.number.0);
    if !area.partitions.contains(own) || open_one(core, live, (number, area))? {
        live.shared_opened.store(number.saturating_add(1), Ordering::Relaxed);
    }
    Ok(false)
}

/// The step, for an area that the partition has; true when it is there.
fn open_one(
    core: &CoreLocal,
    live: &Live,
    (number, area): (usize, SharedArea<'_>),
) -> Result<bool, Refusal> {
    let Some(place) = core.world.shared.get(number) else { return Ok(true) };
    let is_writer = area.writers.contains(usize::from(live.slot.number.0));
    let fixed = Fixed {
        number: u8::try_from(number).unwrap_or(u8::MAX),
        wanted: Wanted { pages: area.pages, class: area.class },
        access: if is_writer { Access::ReadWrite } else { Access::ReadOnly },
    };
    let frames = &core.world.frames;
    let (there, seen) = place.read();
    match there {
        Place::Making(id) if id == live.id => {
            let mut made = Err(Refusal::NotSupported);
            let machine = (&Ram, &MachineTlb, frames);
            together(core, live, None, &mut |own, _| made = own.make_fixed(machine, fixed))?;
            let made = made?;
            if let Some(area) = made {
                place.publish(area, live.id);
            }
            return Ok(made.is_some());
        }
        Place::Making(id) => {
            let lives = |other: usize| {
                let other = PartitionSlot(u8::try_from(other).unwrap_or(u8::MAX));
                visit(core, other).is_some_and(|visited| visited.live.id == id)
            };
            if area.partitions.iter().any(lives) {
                return Ok(false);
            }
        }
        Place::Area(there, _) => {
            // The number may be another area's by now, this partition's own among them.
            let other = |(slot, _): &(PartitionSlot, u16)| *slot != live.slot.number;
            let keeper = frames.areas().keeper(there).filter(other);
            match join(core, live, keeper.map(|(slot, _)| slot), fixed) {
                Err(Refusal::PeerGone) => {}
                Err(Refusal::Moved) => return Ok(false),
                joined => return joined.map(|()| true),
            }
            // It may have been handed on meanwhile: then it is looked for there.
            if frames.areas().keeper(there).filter(other) != keeper {
                return Ok(false);
            }
        }
        Place::Nowhere => {}
    }
    // Nobody has it: whoever writes its id here makes it.
    place.take(seen, live.id);
    Ok(false)
}

/// Attaches an area of the description that `keeper` may keep.
fn join(
    core: &CoreLocal,
    live: &Live,
    keeper: Option<PartitionSlot>,
    fixed: Fixed,
) -> Result<(), Refusal> {
    let visited = keeper.and_then(|slot| visit(core, slot));
    let machine = (&Ram, &MachineTlb, &core.world.frames);
    let mut joined = Err(Refusal::PeerGone);
    together(core, live, visited.as_ref(), &mut |own, peer| {
        if let Some(peer) = peer {
            joined = own.join_fixed(peer, machine, fixed);
        }
    })?;
    joined
}
