//! The calls about message areas and channels: locks and visits. What they do is `shikiri_core::area`'s and
//! `shikiri_core::channel`'s to decide; a partition is visited as in [`super::talk`].
//!
//! A call that two partitions meet in locks both parties, then both partitions' tables, each pair in ascending order of slots.
//! Two that talk contend for these locks, and nobody else does.

#![expect(unsafe_code, reason = "a function whose cost is a promise has a section of its own")]

use core::mem;
use core::sync::atomic::Ordering;

use shikiri_abi::{AreaClass, MessageCall, PartitionSlot, Sharing, SignalKind, Status, smccc};
use shikiri_config::ChannelEnd;
use shikiri_core::area::{Estate, Left};
use shikiri_core::channel::{self, Done, Message, WindowWanted};
use shikiri_core::event::Raise;
use shikiri_core::handle::Handle;
use shikiri_core::party::{EndStep, Refusal, first_handle};
use shikiri_sync::{rank, try_pair};

use super::context::Context;
use super::live::{Devices, Live};
use super::object;
use super::talk::{
    self, Meeting, Met, Visited, check_permitted, has_row, lock_both, lock_met, opened, raise_some,
    until_it_holds, visit,
};
use crate::hw::mem::Ram;
use crate::hw::tlb::MachineTlb;
use crate::percore::{CoreLocal, Loaded};
use crate::world::{Slot, Work};

/// CHANNEL_SEND's function id.
pub(super) const SEND: u32 = smccc::VENDOR_HYP_FAST64 | 0x2b;
const _: () = assert!(has_row(0x2b, b"CHANNEL_SEND"));

/// Answers CHANNEL_SEND over a connection, with its registers in the context; false if it is another call, or there is more to be
/// said of it. This cost is a promise: it is [`serve`] without what other calls need.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
pub(super) fn send_quickly(context: &mut Context, core: &CoreLocal) -> bool {
    let [x0, x1, x2, x3, x4, x5, x6, ..] = &mut context.x;
    let [a, b, c, d, ..] = x0.to_le_bytes();
    if u32::from_le_bytes([a, b, c, d]) != SEND {
        return false;
    }
    let Some(Loaded { live, .. }) = core.loaded else { return false };
    let area = (*x2 != 0).then_some(Handle(*x2));
    let message = Message { area, bytes: *x3, short: [*x4, *x5, *x6] };
    let sent = live.talk.as_ref().and_then(|tables| {
        let visited = visit(core, tables.shared().peer_of(Handle(*x1))?)?;
        let sent = send_connected(core, live, &visited, (Handle(*x1), message))?;
        // Behind the locks, and within the visit: the peer stays until its interrupt is raised.
        Some(sent.map(|raise| raise_some(core, raise)))
    });
    match sent {
        None | Some(Err(Refusal::Moved)) => return false,
        Some(Ok(())) => [*x0, *x1, *x2, *x3] = [Status::Ok.code().cast_unsigned(), 0, 0, 0],
        Some(Err(refusal)) => [*x0, *x1, *x2, *x3] = refusal.registers(),
    }
    true
}

/// Sends to a partition that is visited; `None` if either is not complete, or the second of them is locked. The first lock, of two
/// that send to each other the same one, is waited for with nothing in hand.
#[inline(always)]
fn send_connected(
    core: &CoreLocal,
    live: &Live,
    visited: &Visited<'_>,
    message: (Handle, Message),
) -> Option<Result<Option<Raise>, Refusal>> {
    let peer = visited.live;
    let is_first = live.slot.number < peer.slot.number;
    let (low, high) = if is_first { (live, peer) } else { (peer, live) };
    let (mut low_devices, mut high_devices) = try_pair(&low.devices, &high.devices)?;
    let (mut low_work, mut high_work) =
        (low.slot.work.lock_in_place(), high.slot.work.lock_in_place());
    // References are exchanged, not estates, which would go through the stack.
    let (mut own, mut other) =
        ((&mut low_devices, &mut low_work), (&mut high_devices, &mut high_work));
    if !is_first {
        mem::swap(&mut own, &mut other);
    }
    let mut from = estate(live, own.0, own.1)?;
    let mut to = estate(peer, other.0, other.1)?;
    let registry = core.world.frames.areas();
    Some(channel::send(&mut from, Some(&mut to), (&Ram, &MachineTlb), registry, message))
}

/// Serves a call: `x0` to `x3`.
#[inline(never)]
pub(super) fn serve(core: &CoreLocal, loaded: Loaded, call: MessageCall) -> [u64; 4] {
    carry_out(core, loaded.live, call).unwrap_or_else(|refusal| refusal.registers())
}

fn carry_out(core: &CoreLocal, live: &Live, call: MessageCall) -> Result<[u64; 4], Refusal> {
    let has_windows = !live.slot.description().windows.is_none();
    let tables = live.talk.as_ref().filter(|_| has_windows).ok_or(Refusal::NotSupported)?;
    if let MessageCall::Connect { port, partition, service, .. } = call {
        let asks = (SignalKind::ChannelConnect, port);
        check_permitted(core, live, tables, asks, (partition, service))?;
    }
    until_it_holds(core, |meeting| attempt(core, live, call, meeting))
}

/// Looks whom the call meets, locks both, and carries it out.
fn attempt(
    core: &CoreLocal,
    live: &Live,
    call: MessageCall,
    meeting: Option<Meeting>,
) -> Result<[u64; 4], Refusal> {
    let mut look = |devices: &mut Devices| opened(live, devices)?.meets_for(call);
    let mut met = lock_met(core, live, &mut look, meeting)?;
    let result = with_works(live, &mut met, |own, peer| {
        own.carry_out(peer, (&Ram, &MachineTlb, &core.world.frames), call)
    });
    // The locks go, and the visit does not.
    let Met { visited: _visited, own, peer } = met;
    drop((own, peer));
    done(core, result.flatten())
}

/// What a call did: raises what it left to be raised, the locks being gone, while its peer is still visited.
#[inline(always)]
pub(super) fn done(core: &CoreLocal, result: Result<Done, Refusal>) -> Result<[u64; 4], Refusal> {
    let done = result?;
    done.raises.into_iter().for_each(|raise| raise_some(core, raise));
    Ok(done.answer)
}

/// Runs an operation on a partition, and one that it meets, both locked, under the locks of their tables.
///
/// # Errors
/// `NotSupported`: the partition has no party.
pub(super) fn with_works<R>(
    live: &Live,
    met: &mut Met<'_>,
    run: impl for<'a> FnOnce(&mut Estate<'a>, Option<&mut Estate<'a>>) -> R,
) -> Result<R, Refusal> {
    let peer_live = met.visited.as_ref().map(|visited| visited.live);
    with_tables(live, peer_live, (&mut met.own, met.peer.as_deref_mut()), run)
}

/// [`with_works`], for two whose locks are `devices`.
fn with_tables<R>(
    live: &Live,
    peer_live: Option<&Live>,
    (own, peer): (&mut Devices, Option<&mut Devices>),
    run: impl for<'a> FnOnce(&mut Estate<'a>, Option<&mut Estate<'a>>) -> R,
) -> Result<R, Refusal> {
    let (mut work, mut peer_work) = lock_works(live.slot, peer_live.map(|peer| peer.slot));
    let mut other = match (peer_live, peer, peer_work.as_mut()) {
        (Some(peer_live), Some(devices), Some(work)) => estate(peer_live, devices, work),
        _ => None,
    };
    let mut own = estate(live, own, &mut work).ok_or(Refusal::NotSupported)?;
    Ok(run(&mut own, other.as_mut()))
}

/// An operation of [`together`].
pub(super) type Operation<'r> = &'r mut dyn for<'a> FnMut(&mut Estate<'a>, Option<&mut Estate<'a>>);

/// Runs an operation on a partition, and one that it visits, under the locks of both: one copy of it for all whose cost is no promise.
///
/// # Errors
/// As [`with_works`].
#[inline(never)]
pub(super) fn together(
    core: &CoreLocal,
    live: &Live,
    visited: Option<&Visited<'_>>,
    run: Operation<'_>,
) -> Result<(), Refusal> {
    let peer_live = visited.map(|visited| visited.live);
    let (mut own, mut peer) = lock_both(core, live, peer_live);
    with_tables(live, peer_live, (&mut own, peer.as_deref_mut()), |own, peer| run(own, peer))
}

/// Makes the partition's end of the next message channel of the description, and connects it if the other partition has its own,
/// as [`talk::open_event`] does. True when there are no more.
///
/// # Errors
/// There is no room for it, in the account or in the machine.
pub(super) fn open_channel(core: &CoreLocal, live: &Live) -> Result<bool, Refusal> {
    let bundle = &core.world.bundle;
    let number = live.channels_opened.load(Ordering::Relaxed);
    let Some(channel) = bundle.channels().nth(number) else { return Ok(true) };
    live.channels_opened.store(number.saturating_add(1), Ordering::Relaxed);
    let Some([own, other]) = channel.ends_for(usize::from(live.slot.number.0)) else {
        return Ok(false);
    };
    open_end(core, live, channel.class, own)?;
    // Behind its receive port.
    let port = |partition| {
        let place = bundle.places(partition, number).handles.saturating_add(1);
        first_handle(u16::try_from(place).unwrap_or(u16::MAX))
    };
    let visited = u8::try_from(other.partition).ok();
    if let Some(visited) = visited.and_then(|other| visit(core, PartitionSlot(other))) {
        let ports = (port(own.partition), port(other.partition));
        let joined = join(core, live, visited.live, ports);
        joined.into_iter().flatten().for_each(|raise| raise_some(core, raise));
    }
    Ok(false)
}

/// Connects two message ports of the description, as [`talk`] does two event ports.
fn join(
    core: &CoreLocal,
    live: &Live,
    peer: &Live,
    ports: (Handle, Handle),
) -> Option<[Option<Raise>; 2]> {
    let (mut own, other) = lock_both(core, live, Some(peer));
    let mut other = other?;
    let (mut work, mut other_work) = lock_works(live.slot, Some(peer.slot));
    let mut other = estate(peer, &mut other, other_work.as_mut()?)?;
    let mut own = estate(live, &mut own, &mut work)?;
    own.join_channel(&mut other, ports.0, ports.1).ok()
}

/// An end of a channel of the description: a receive port that is bound, and a message port.
fn open_end(
    core: &CoreLocal,
    live: &Live,
    class: AreaClass,
    ChannelEnd { slots, intid, vcpu, .. }: ChannelEnd,
) -> Result<(), Refusal> {
    let mut devices = live.devices.lock();
    let mut work = live.slot.work.lock();
    let mut own = estate(live, &mut devices, &mut work).ok_or(Refusal::NotSupported)?;
    let events = own.party.create_receive(own.holdings.account_mut())?;
    own.party.bind(events, intid, vcpu, Sharing::Alone)?;
    let machine = (&Ram, &MachineTlb, &core.world.frames);
    let _port = own.create_port(machine, events, WindowWanted { slots, class })?;
    talk::bind_first(core, live, &mut devices, (intid, vcpu));
    Ok(())
}

/// A partition's estate, opened under its locks.
#[inline(always)]
pub(super) fn estate<'a>(
    live: &'a Live,
    devices: &'a mut Devices,
    work: &'a mut Option<Work>,
) -> Option<Estate<'a>> {
    let party = live.talk.as_ref()?.party(devices.talk.as_mut()?);
    Some(Estate { party, holdings: &mut work.as_mut()?.holdings })
}

type WorkGuard<'s> = shikiri_sync::Guard<'s, Option<Work>, rank::Tables>;

/// Locks what the worker of a partition holds, and that of another one, in the order of their slots.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
fn lock_works<'s>(own: &'s Slot, peer: Option<&'s Slot>) -> (WorkGuard<'s>, Option<WorkGuard<'s>>) {
    match peer {
        Some(peer) if peer.number < own.number => {
            let first = peer.work.lock();
            (own.work.lock(), Some(first))
        }
        _ => {
            let first = own.work.lock();
            (first, peer.map(|peer| peer.work.lock()))
        }
    }
}

/// One bounded step of the end of all that a partition has of others and for others; true when nothing is left of it.
pub(super) fn leave_step(core: &CoreLocal, live: &Live) -> bool {
    let mut left = leave_with(core, live, None);
    let visited = if let EndStep::Meet(slot) = left.step { visit(core, slot) } else { None };
    // If that has ended meanwhile, it has left nothing here.
    if visited.is_some() {
        left = leave_with(core, live, visited.as_ref());
    }
    raise_some(core, left.raise);
    drop(visited);
    if let Some(wake) = left.wake {
        object::tell(core, wake);
    }
    left.step == EndStep::Done
}

fn leave_with(core: &CoreLocal, live: &Live, visited: Option<&Visited<'_>>) -> Left {
    let machine = (&Ram, &MachineTlb, &core.world.frames);
    // Without a party nothing is left of it.
    let mut left = Left { step: EndStep::Done, raise: None, wake: None };
    let _none = together(core, live, visited, &mut |own, peer| {
        left = own.leave(peer, machine, &core.world.objects);
    });
    left
}
