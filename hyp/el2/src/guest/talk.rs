//! The calls by which partitions talk: locks, visits, and interrupts. What they do is `shikiri_core::party`'s and
//! `shikiri_core::event`'s to decide.
//!
//! A *visit* keeps another partition's incarnation there ([`visit`]): its end withdraws it from the slot first, and then
//! waits until no core visits. A core makes one visit at a time, and never waits in one for more than a lock.

use core::sync::atomic::Ordering;

use shikiri_abi::{
    CALLS, IntId, NamePart, PartitionSlot, Sharing, SignalKind, Status, TalkCall, VcpuIndex, smccc,
};
use shikiri_config::Event;
use shikiri_core::event::{Arrival, Before, Raise, Shared, Visit, Visitor, nobody_visits};
use shikiri_core::handle::Handle;
use shikiri_core::party::{Party, Refusal, Tables, first_handle, permit};
use shikiri_sync::{lock_another, lock_pair, rank, try_pair};
use shikiri_vgic::{Here, Polled, VcpuSet, raise_without_lock};

use super::context::Context;
use super::live::{Devices, Live};
use super::policy::words;
use super::{run, worker};
use crate::hw::gic::VirtualInterface;
use crate::percore::{CoreLocal, Loaded};
use crate::world::{Slot, World};

/// How often a call that meets one who leaves an area is tried before its caller has to call again.
pub(super) const TRIES: u32 = 4;

/// EVENT_SEND's function id.
pub(super) const SEND: u32 = smccc::VENDOR_HYP_FAST64 | 0x18;
const _: () = assert!(has_row(0x18, b"EVENT_SEND"));

/// Whether the call with this number has this name.
pub(super) const fn has_row(number: u16, name: &[u8]) -> bool {
    let mut rows = CALLS;
    while let [row, rest @ ..] = rows {
        if row.number == number {
            return is_same(row.name.as_bytes(), name);
        }
        rows = rest;
    }
    false
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([x, a @ ..], [y, b @ ..]) => *x == *y && is_same(a, b),
        _ => false,
    }
}

/// Answers EVENT_SEND with its registers in the context; false if it is another call. This cost is a promise.
#[inline(always)]
pub(super) fn send_quickly(context: &mut Context, core: &CoreLocal) -> bool {
    let [x0, x1, x2, x3, x4, x5, x6, ..] = &mut context.x;
    let [a, b, c, d, ..] = x0.to_le_bytes();
    if u32::from_le_bytes([a, b, c, d]) != SEND || *x2 | *x3 | *x4 | *x5 | *x6 != 0 {
        return false;
    }
    let Some(Loaded { live, .. }) = core.loaded else { return false };
    match send(core, live, Handle(*x1)) {
        Ok(was_pending) => (*x0, *x1) = (Status::Ok.code().cast_unsigned(), u64::from(was_pending)),
        Err(refusal) => [*x0, *x1, ..] = refusal.registers(),
    }
    true
}

/// [`send`], for a call by SMC.
#[inline(never)]
fn send_plainly(core: &CoreLocal, live: &Live, port: u64) -> Result<[u64; 4], Refusal> {
    send(core, live, Handle(port)).map(|was_pending| ok(u64::from(was_pending)))
}

/// Sends an event; whether its port was pending.
#[inline(always)]
fn send(core: &CoreLocal, live: &Live, port: Handle) -> Result<bool, Refusal> {
    let (Some(tables), Some(visitor)) = (&live.talk, visitor(core)) else {
        return Err(Refusal::BadHandle);
    };
    let sent = tables.shared().send(port, visitor, |slot| shared_of(core.world, slot))?;
    // The visit lasts until `sent` goes, behind the raise.
    let Arrival { raise, before } = sent.arrival;
    let was_pending = raise.is_some_and(|raise| raise_at(core, raise));
    drop(sent);
    Ok(match before {
        Before::Idle => false,
        Before::Pending => true,
        Before::AsTheInterrupt => was_pending,
    })
}

/// What a partition that is visited shows all cores.
#[inline(always)]
pub(super) fn shared_of(world: &World, slot: PartitionSlot) -> Option<Shared<'static>> {
    let slot = world.slots.get(usize::from(slot.0))?;
    worker::live(slot)?.talk.as_ref().map(|tables| tables.shared())
}

/// Raises an event's interrupt, at a partition that is visited or this core's own; whether it was pending.
#[inline(always)]
fn raise_at(core: &CoreLocal, raise: Raise) -> bool {
    let slot = core.world.slots.get(usize::from(raise.partition.0));
    let Some(live) = slot.and_then(worker::live) else { return false };
    let interface = core.interface(live);
    let here = here(core, live, &interface);
    let raised = raise_without_lock(&live.quicks.vcpus, &live.quicks.spis, here, raise.intid)
        .unwrap_or_else(|| raise_in_general(live, here, raise));
    if !raised.kick.is_empty() {
        run::kick_vcpus(core.world, live, raised.kick);
    }
    raised.was_pending
}

#[inline(never)]
fn raise_in_general(
    live: &Live,
    here: Here<'_, VirtualInterface<'_>>,
    raise: Raise,
) -> shikiri_vgic::Raised {
    live.devices.lock().vgic(&live.quicks).raise(here, raise.intid, raise.vcpu)
}

/// [`raise_at`], for those whose cost is no promise.
#[inline(never)]
pub(super) fn raise_some(core: &CoreLocal, raise: Option<Raise>) {
    if let Some(raise) = raise {
        let _was_pending = raise_at(core, raise);
    }
}

/// This core as a partition's virtual GIC sees it.
#[inline(always)]
fn here<'h>(
    core: &CoreLocal,
    live: &Live,
    interface: &'h VirtualInterface<'h>,
) -> Here<'h, VirtualInterface<'h>> {
    let own = core.loaded.filter(|loaded| core::ptr::eq(loaded.live, live));
    Here { hw: interface, vcpu: own.map(|loaded| loaded.vcpu.index) }
}

#[inline(always)]
pub(super) fn visitor(core: &CoreLocal) -> Option<&'static Visitor> {
    core.shared().map(|shared| &shared.visitor)
}

/// Serves a call: `x0` to `x3`.
#[inline(never)]
pub(super) fn serve(core: &CoreLocal, loaded: Loaded, call: TalkCall) -> [u64; 4] {
    let live = loaded.live;
    let shared = live.talk.as_ref().map(Tables::shared).ok_or(Refusal::BadHandle);
    let answer = match call {
        TalkCall::Peer(number) => peer_info(core, live, number),
        TalkCall::PeerName(number, part) => peer_name(core.world, live, number, part),
        TalkCall::Take(word) => Ok(ok(shared.map_or(0, |shared| shared.take(word)))),
        TalkCall::Send(port) => send_plainly(core, live, port),
        TalkCall::Mask(port) => shared.and_then(|shared| mask(shared, port)),
        TalkCall::Unmask(port) => shared.and_then(|shared| unmask(core, live, shared, port)),
        TalkCall::State(port) => shared.and_then(|shared| state(shared, port)),
        TalkCall::Poll(port) => shared.and_then(|shared| poll(core, live, shared, port)),
        TalkCall::CreateSend
        | TalkCall::CreateReceive
        | TalkCall::Connect { .. }
        | TalkCall::Bind { .. }
        | TalkCall::Close(_)
        | TalkCall::Limit { .. }
        | TalkCall::Notify(_)
        | TalkCall::Ask { .. }
        | TalkCall::TakeSignal
        | TalkCall::Accept { .. }
        | TalkCall::Refuse(_) => with_locks(core, live, call),
    };
    answer.unwrap_or_else(|refusal| refusal.registers())
}

const fn ok(value: u64) -> [u64; 4] {
    [Status::Ok.code().cast_unsigned(), value, 0, 0]
}

/// Whether the partition may ask another one for connections, and whether that one may ask; refused if neither.
#[inline(never)]
fn may_talk(live: &Live, number: u8) -> Result<(bool, bool), Refusal> {
    let (peers, number) = (&live.slot.peers, usize::from(number));
    let (asks, accepts) = (peers.asks().contains(number), peers.accepts().contains(number));
    if asks || accepts { Ok((asks, accepts)) } else { Err(Refusal::NotPermitted) }
}

/// PEER_NAME. Under the peer's lifecycle's lock whose name it is and who may know it hold together: whoever comes to a place is a
/// stranger. It is looked at before as well, so that a guess at others meets no lock of theirs.
#[inline(never)]
fn peer_name(world: &World, live: &Live, number: u8, part: NamePart) -> Result<[u64; 4], Refusal> {
    may_talk(live, number)?;
    let slot = world.slots.get(usize::from(number)).ok_or(Refusal::NotPermitted)?;
    let mut lifecycle = slot.lifecycle.lock();
    may_talk(live, number)?;
    let [a, b, c] = slot.read(&mut lifecycle, |partition| words(partition.name, part.skipped()));
    let [status, ..] = ok(0);
    Ok([status, a, b, c])
}

/// PEER_INFO.
#[inline(never)]
fn peer_info(core: &CoreLocal, live: &Live, number: u8) -> Result<[u64; 4], Refusal> {
    let (asks, accepts) = may_talk(live, number)?;
    let id = visit(core, PartitionSlot(number)).map_or(0, |peer| peer.live.id.0);
    let [status, id, ..] = ok(u64::from(id));
    Ok([status, id, u64::from(asks) | u64::from(accepts) << 1, 0])
}

fn mask(shared: Shared<'_>, port: u64) -> Result<[u64; 4], Refusal> {
    shared.mask(Handle(port))?;
    Ok(ok(0))
}

fn unmask(
    core: &CoreLocal,
    live: &Live,
    shared: Shared<'_>,
    port: u64,
) -> Result<[u64; 4], Refusal> {
    raise_some(core, shared.unmask(live.slot.number, Handle(port))?);
    Ok(ok(0))
}

fn state(shared: Shared<'_>, port: u64) -> Result<[u64; 4], Refusal> {
    let status = if shared.state(Handle(port))? { Status::Ok } else { Status::Pending };
    Ok([status.code().cast_unsigned(), 0, 0, 0])
}

fn poll(core: &CoreLocal, live: &Live, shared: Shared<'_>, port: u64) -> Result<[u64; 4], Refusal> {
    let was_pending = shared.poll(Handle(port), |intid, _| clear_pending(core, live, intid))?;
    Ok(ok(u64::from(was_pending)))
}

/// Takes the pending state of an interrupt of this core's partition; `None` if another core has to be asked first, and was.
fn clear_pending(core: &CoreLocal, live: &Live, intid: IntId) -> Option<bool> {
    let interface = core.interface(live);
    let here = here(core, live, &interface);
    let Polled { was_pending, kick } =
        live.devices.lock().vgic(&live.quicks).take_pending(here, intid);
    run::kick_vcpus(core.world, live, kick);
    was_pending
}

/// The calls that change what the partition has, or what it and another say of each other.
fn with_locks(core: &CoreLocal, live: &Live, call: TalkCall) -> Result<[u64; 4], Refusal> {
    let Some(tables) = &live.talk else { return Err(unable(call)) };
    if let TalkCall::Ask { port, partition, service, .. } = call {
        let asks = (SignalKind::EventConnect, port);
        check_permitted(core, live, tables, asks, (partition, service))?;
    }
    until_it_holds(core, |meeting| attempt(core, live, call, meeting))
}

/// Whether the partition has the port that it asks with, and may ask the one with this number for a service.
#[inline(never)]
pub(super) fn check_permitted(
    core: &CoreLocal,
    live: &Live,
    tables: &Tables,
    (kind, port): (SignalKind, u64),
    (partition, service): (u8, u32),
) -> Result<(), Refusal> {
    // The handle goes first: one that is bad is told whoever is asked.
    tables.shared().check_asker(kind, Handle(port))?;
    let (asks, services) = (live.slot.peers.asks(), core.world.bundle.services());
    permit(asks, services, (live.slot.number, PartitionSlot(partition)), service)
}

/// What a partition without handles is told.
const fn unable(call: TalkCall) -> Refusal {
    if matches!(call, TalkCall::CreateSend | TalkCall::CreateReceive) {
        Refusal::OverLimit(shikiri_abi::Resource::ManagementMemory)
    } else if matches!(call, TalkCall::TakeSignal) {
        Refusal::Empty
    } else {
        Refusal::BadHandle
    }
}

/// Looks whom the call meets, locks both, and carries it out.
fn attempt(
    core: &CoreLocal,
    live: &Live,
    call: TalkCall,
    meeting: Option<Meeting>,
) -> Result<[u64; 4], Refusal> {
    let mut look = |devices: &mut Devices| opened(live, devices)?.meets(call);
    let Met { visited, mut own, mut peer } = lock_met(core, live, &mut look, meeting)?;
    let done = {
        let mut work = live.slot.work.lock();
        let Some(holdings) = work.as_mut().map(|work| &mut work.holdings) else {
            return Err(Refusal::BadHandle);
        };
        let mut other = visited
            .as_ref()
            .zip(peer.as_mut())
            .and_then(|(visited, devices)| opened(visited.live, devices));
        let mut party = opened(live, &mut own).ok_or(Refusal::BadHandle)?;
        let done = party.carry_out(other.as_mut(), holdings.account_mut(), call)?;
        drop(peer);
        let interface = core.interface(live);
        let here = here(core, live, &interface);
        let mut vgic = own.vgic(&live.quicks);
        let mut kick = VcpuSet::EMPTY;
        if let Some((intid, vcpu)) = done.bound {
            kick = vgic.bind(here, intid, vcpu);
        }
        if let Some(intid) = done.unused {
            kick = vgic.unbind(here, intid);
        }
        drop((work, own));
        run::kick_vcpus(core.world, live, kick);
        done
    };
    raise_some(core, done.raise);
    Ok(done.answer)
}

/// A partition's party, opened under its lock.
#[inline(never)]
pub(super) fn opened<'a>(live: &'a Live, devices: &'a mut Devices) -> Option<Party<'a>> {
    Some(live.talk.as_ref()?.party(devices.talk.as_mut()?))
}

type Guard<'l> = shikiri_sync::Guard<'l, Devices, rank::Partition>;

/// The lock of whoever waits for a partition's lock with another's in hand.
pub(super) type Meeting = shikiri_sync::Guard<'static, (), rank::Meeting>;

/// A partition that calls, and whom its call meets, both locked. The visit ends last, behind what is raised.
pub(super) struct Met<'l> {
    pub(super) visited: Option<Visited<'static>>,
    pub(super) own: Guard<'l>,
    pub(super) peer: Option<Guard<'l>>,
}

/// Makes a call: first without the meeting's lock, where others may be faster; then with it, where nobody is, but for those who
/// leave an area meanwhile, for good.
pub(super) fn until_it_holds(
    core: &CoreLocal,
    mut attempt: impl FnMut(Option<Meeting>) -> Result<[u64; 4], Refusal>,
) -> Result<[u64; 4], Refusal> {
    let mut answer = attempt(None);
    for _ in 0..TRIES {
        if answer != Err(Refusal::Moved) {
            break;
        }
        answer = attempt(Some(core.world.meeting.lock()));
    }
    answer
}

/// Locks a partition, looks whom its call meets, and locks that one as well. Without the meeting's lock neither is waited for with the
/// other in hand: what the vCPUs of one do under its lock delays no vCPU of the other. With it the peer's is waited for with one's
/// own in hand: what delays the call delays its partition alone, and what was looked up holds.
///
/// # Errors
/// `Moved`, without the meeting's lock: others were faster. Nothing is held then.
#[inline(never)]
pub(super) fn lock_met<'l>(
    core: &CoreLocal,
    live: &'l Live,
    look: &mut dyn FnMut(&mut Devices) -> Option<PartitionSlot>,
    meeting: Option<Meeting>,
) -> Result<Met<'l>, Refusal> {
    let mut own = live.devices.lock();
    let slot = look(&mut own).filter(|slot| *slot != live.slot.number);
    let visited = slot.and_then(|slot| visit(core, slot));
    let Some(peer) = visited.as_ref().map(|visited| visited.live) else {
        return Ok(Met { visited, own, peer: None });
    };
    let (own, peer) = if let Some(meeting) = meeting {
        let peer = lock_another(&meeting, &peer.devices);
        // Both are there: nobody else has to wait for what is done under them.
        drop(meeting);
        (own, peer)
    } else if let Some(peer) = peer.devices.try_lock() {
        (own, peer)
    } else {
        drop(own);
        let (peer, own) = try_pair(&peer.devices, &live.devices).ok_or(Refusal::Moved)?;
        (own, peer)
    };
    Ok(Met { visited, own, peer: Some(peer) })
}

/// Locks a partition, and another one that it knows to meet, as [`lock_met`] does.
#[inline(never)]
pub(super) fn lock_both<'l>(
    core: &CoreLocal,
    own: &'l Live,
    peer: Option<&'l Live>,
) -> (Guard<'l>, Option<Guard<'l>>) {
    let Some(peer) = peer else { return (own.devices.lock(), None) };
    let (own, peer) = try_pair(&own.devices, &peer.devices)
        .or_else(|| try_pair(&peer.devices, &own.devices).map(|(peer, own)| (own, peer)))
        .unwrap_or_else(|| lock_pair(core.world.meeting.lock(), &own.devices, &peer.devices));
    (own, Some(peer))
}

/// Another partition's incarnation, which stays there as long as this does.
pub(super) struct Visited<'v> {
    pub(super) live: &'v Live,
    _visit: Visit<'v>,
}

/// Visits a partition; `None` if it has no life now.
#[inline(never)]
pub(super) fn visit(core: &CoreLocal, slot: PartitionSlot) -> Option<Visited<'static>> {
    let visit = visitor(core)?.enter(slot);
    // Behind the visit's fence: whoever withdraws it from here on sees the visit.
    let live = worker::live(core.world.slots.get(usize::from(slot.0))?)?;
    Some(Visited { live, _visit: visit })
}

/// Whether no core visits a partition that was withdrawn from its slot: none will.
pub(super) fn is_unvisited(world: &World, slot: &Slot) -> bool {
    nobody_visits(world.cores.iter().map(|core| &core.visitor), slot.number)
}

/// Makes the partition's port for the next event of the description, and connects it if the other partition has its own: of
/// two that start at the same time, the one that comes later. True when there are no more.
///
/// # Errors
/// There is no room for it in the account.
pub(super) fn open_event(core: &CoreLocal, live: &Live) -> Result<bool, Refusal> {
    let bundle = &core.world.bundle;
    let number = live.events_opened.load(Ordering::Relaxed);
    let Some(event) = bundle.events().nth(number) else { return Ok(true) };
    live.events_opened.store(number.saturating_add(1), Ordering::Relaxed);
    let own = usize::from(live.slot.number.0);
    let Some(other) = event.peer_of(own) else { return Ok(false) };
    open_port(core, live, &event)?;
    let handle = |partition| {
        let earlier = bundle.events().take(number).filter(|event| event.concerns(partition));
        first_handle(u16::try_from(earlier.count()).unwrap_or(u16::MAX))
    };
    let visited = u8::try_from(other).ok().and_then(|other| visit(core, PartitionSlot(other)));
    if let Some(visited) = &visited {
        let raise =
            join(core, live, visited, event.from == own, (handle(event.from), handle(event.to)));
        raise_some(core, raise);
    }
    Ok(false)
}

/// A port of the description. The compiler has compared them with the description's limit; a policy program may have set a lower one.
fn open_port(core: &CoreLocal, live: &Live, event: &Event<'_>) -> Result<(), Refusal> {
    let mut devices = live.devices.lock();
    let mut work = live.slot.work.lock();
    let account = work.as_mut().ok_or(Refusal::NotSupported)?.holdings.account_mut();
    let mut party = opened(live, &mut devices).ok_or(Refusal::NotSupported)?;
    if event.from == usize::from(live.slot.number.0) {
        let _port = party.create_send(account)?;
        return Ok(());
    }
    let port = party.create_receive(account)?;
    party.bind(port, event.intid, event.vcpu, Sharing::Alone)?;
    bind_first(core, live, &mut devices, (event.intid, event.vcpu));
    Ok(())
}

/// Makes an SPI a port's of a partition of which no vCPU runs yet.
pub(super) fn bind_first(
    core: &CoreLocal,
    live: &Live,
    devices: &mut Devices,
    (intid, vcpu): (IntId, VcpuIndex),
) {
    let interface = core.interface(live);
    let here = here(core, live, &interface);
    let _nobody = devices.vgic(&live.quicks).bind(here, intid, vcpu);
}

/// Connects two ports of the description. A guest that has closed its own, or has connected it otherwise, has had its way.
fn join(
    core: &CoreLocal,
    live: &Live,
    visited: &Visited<'_>,
    is_sender: bool,
    (send, receive): (Handle, Handle),
) -> Option<Raise> {
    let (mut own, peer) = lock_both(core, live, Some(visited.live));
    let mut peer = peer?;
    let mut own = opened(live, &mut own)?;
    let mut other = opened(visited.live, &mut peer)?;
    let (from, to) = if is_sender { (&mut own, &mut other) } else { (&mut other, &mut own) };
    from.join(to, send, receive).ok().flatten()
}
