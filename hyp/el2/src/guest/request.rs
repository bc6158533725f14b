//! Requests for more (P8): held here until the policy program has answered, or until the core that took one in finds its time over.
//! What a request goes through is `shikiri_core::policy::request`'s to decide.

use core::sync::atomic::Ordering;

use shikiri_abi::{PartitionRef, Resource, Status, VcpuIndex, Wanted, Wish};
use shikiri_arch::hw::Clock;
use shikiri_config::Unanswered;
use shikiri_core::handle::Handle;
use shikiri_core::lifecycle::{Lifecycle, Phase};
use shikiri_core::policy::request::{Decision, Request, Standing};
use shikiri_core::policy::{Growth, Refusal};
use shikiri_core::sched::earlier;

use super::kept::Kept;
use super::live::Live;
use super::policy::{Answer, find, serve, tell, tell_at};
use super::{run, seats, worker};
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, Loaded};
use crate::world::{Policy, PolicyBooks, Slot, World};

const PENDING: [u64; 4] = [Status::Pending.code().cast_unsigned(), 0, 0, 0];

/// REQUEST: `x0` to `x3`.
#[inline(never)]
pub(super) fn ask(core: &CoreLocal, loaded: Loaded, wanted: Wanted) -> [u64; 4] {
    match try_ask(core, loaded.live, wanted) {
        Ok(None) => PENDING,
        Ok(Some(decision)) => told_by(decision),
        Err(refusal) => refusal.registers(),
    }
}

/// `x0` to `x3` of a call that tells a decision.
fn told_by(decision: Decision) -> [u64; 4] {
    serve(decision.results().ok_or(Refusal::Denied))
}

/// What was decided at once; `None` if the policy program is asked.
fn try_ask(core: &CoreLocal, live: &Live, wanted: Wanted) -> Result<Option<Decision>, Refusal> {
    let world = core.world;
    let Wanted { wish, port } = wanted;
    let port = (port != 0).then_some(Handle(port));
    let knows = |port| live.talk.as_ref().is_some_and(|it| it.shared().is_receive_port(port));
    if port.is_some_and(|port| !knows(port)) {
        return Err(Refusal::BadHandle);
    }
    if let Wish::More(resource, amount) = wish
        && live.slot.account_line(resource).limit.is_none()
    {
        return Ok(Some(Decision::Granted(amount)));
    }
    if let Wish::Time(vcpu, _) = wish
        && live.vcpu(vcpu).is_none()
    {
        return Err(Refusal::Argument(2));
    }
    if let Wish::Device(number) = wish {
        let kept = Kept::find(live.slot, number).ok_or(Refusal::Argument(2))?;
        if kept.is_given(live) {
            return Ok(Some(kept.place(live.slot)));
        }
    }
    let policy = world.policy.ok_or(Refusal::Denied)?;
    let now = Counter.now();
    let until = now.saturating_add(policy.answer_ticks);
    let peer = match wish {
        Wish::Peer(place) => made_at(world, usize::from(place.0)),
        Wish::More(..) | Wish::Time(..) | Wish::Vcpus(_) | Wish::Device(_) => 0,
    };
    let request = Request { place: live.slot.number, id: live.id, wish, peer, port, until };
    if let Wish::Time(_, ppm) = wish
        && is_within_limit(live.slot, ppm)
    {
        match decide_on(core, policy, &request, (Some(u64::from(ppm)), Which::Allowed)) {
            // Another of its vCPUs was first, or the limit has been lowered: now somebody is asked.
            Err(Refusal::OverLimit(_)) => {}
            Err(refusal) => return Err(refusal),
            Ok((_, Decision::Refused)) => return Err(Refusal::Denied),
            Ok((_, decision)) => return Ok(Some(decision)),
        }
    }
    if policy.holder.is_none() {
        return by_default(core, policy, &request, Which::New).map(Some);
    }
    if !policy.books.lock().requests.ask(request) {
        return Err(Refusal::WrongState);
    }
    core.request_at.set(earlier(core.request_at.get(), Some(until)));
    core.console_at.set(earlier(core.console_at.get(), Some(until)));
    run::arm(core);
    tell(core, policy);
    Ok(None)
}

/// Which request is decided on.
#[derive(Clone, Copy)]
enum Which {
    /// One that nobody holds, since the asker's limit allows it: nothing is handed out.
    Allowed,
    /// One that nobody holds.
    New,
    /// The one that is held, if it is still open when the books are locked.
    Held,
    /// The one that was taken under this number.
    Taken(u64),
}

/// Grants or refuses a request that nobody answers.
fn by_default(
    core: &CoreLocal,
    policy: &Policy,
    request: &Request,
    which: Which,
) -> Result<Decision, Refusal> {
    let granted = match policy.default {
        Unanswered::Granted => Some(request.wish.amount()),
        Unanswered::Refused => None,
    };
    match decide_on(core, policy, request, (granted, which))? {
        (_, Decision::Refused) => Err(Refusal::Denied),
        (_, decision) => Ok(decision),
    }
}

/// Decides on a request, and gives what is granted: in one step under the books' lock, so that whoever cancels it comes before or
/// after. With a refusal the request stays as it is. Of one that was taken only the asker is looked at in `asked`.
#[inline(never)]
fn decide_on(
    core: &CoreLocal,
    policy: &Policy,
    asked: &Request,
    (mut granted, which): (Option<u64>, Which),
) -> Result<(Request, Decision), Refusal> {
    let world = core.world;
    let who = PartitionRef { place: asked.place, id: asked.id };
    // The asker stays what it is as long as this is locked.
    let (slot, lifecycle) = find(world, who)?;
    let mut books = policy.books.lock();
    let request = match which {
        Which::Allowed | Which::New => Some(*asked),
        Which::Held => Some(*asked).filter(|asked| books.requests.is_open(asked)),
        Which::Taken(number) => books.requests.taken(who.place, who.id, number),
    };
    let request = request.ok_or(Refusal::PeerGone)?;
    let (mut limit, mut placed) = (None, None);
    match (granted, request.wish) {
        (Some(more), Wish::More(resource, _)) => {
            limit = raise(&mut books, slot, (resource, more))?.map(|limit| (resource, limit));
        }
        (Some(more), Wish::Time(vcpu, _)) => {
            is_there_to_stay(&lifecycle)?;
            granted = Some(give_time(world, &mut books, slot, (vcpu, more, which))?);
        }
        (Some(more), Wish::Vcpus(_)) => {
            is_there_to_stay(&lifecycle)?;
            give_vcpus(slot, more)?;
        }
        (Some(0), Wish::Peer(place)) => {
            permit(world, slot, (usize::from(place.0), request.peer))?;
            granted = Some(1);
        }
        (Some(0), Wish::Device(number)) => {
            is_there_to_stay(&lifecycle)?;
            placed = Some(give_device(core, slot, number)?);
        }
        (Some(_), Wish::Peer(_) | Wish::Device(_)) => return Err(Refusal::Argument(3)),
        (None, _) => {}
    }
    let decision = placed.or(granted.map(Decision::Granted)).unwrap_or(Decision::Refused);
    if matches!(which, Which::Held | Which::Taken(_)) {
        books.requests.answer(who.place, who.id, decision);
    }
    drop(books);
    if let Some((resource, limit)) = limit
        && let Some(work) = slot.work.lock().as_mut()
    {
        work.holdings.account_mut().set_limit(resource, Some(limit));
    }
    drop(lifecycle);
    Ok((request, decision))
}

/// Raises a limit in the books: the new one, if there was one.
fn raise(
    books: &mut PolicyBooks,
    slot: &Slot,
    (resource, more): (Resource, u64),
) -> Result<Option<u64>, Refusal> {
    let Some(limit) = books.handout.limit(slot.number, resource) else { return Ok(None) };
    // The largest number is unset.
    let limit = limit.saturating_add(more).min(u64::MAX.wrapping_sub(1));
    books.handout.raise(slot.number, resource, limit)?;
    Ok(Some(limit))
}

/// Whether the limit of core time allows so much more, as it looks without the books' lock.
fn is_within_limit(slot: &Slot, ppm: u32) -> bool {
    let line = slot.account_line(Resource::CoreTime);
    line.limit.is_some_and(|limit| line.used.saturating_add(u64::from(ppm)) <= limit)
}

/// What is given for a life is given while it lasts.
fn is_there_to_stay(lifecycle: &Lifecycle) -> Result<(), Refusal> {
    match lifecycle.phase() {
        Phase::Active | Phase::Paused => Ok(()),
        Phase::Free
        | Phase::Created
        | Phase::Building
        | Phase::Held
        | Phase::Ending
        | Phase::TearingDown
        | Phase::Ended
        | Phase::Leaving => Err(Refusal::PeerGone),
    }
}

/// Gives a vCPU so many ppm more of its home core, for this life; what its limit lacks is handed out, unless only the limit was to
/// allow it: `OverLimit` then. How much it was.
fn give_time(
    world: &World,
    books: &mut PolicyBooks,
    slot: &Slot,
    (vcpu, ppm, which): (VcpuIndex, u64, Which),
) -> Result<u64, Refusal> {
    let index = usize::from(vcpu.0);
    let described = slot.description().vcpus().nth(index).ok_or(Refusal::Argument(2))?;
    let home = slot.homes.get(index).ok_or(Refusal::Argument(2))?;
    let ppm = u32::try_from(ppm).unwrap_or(u32::MAX);
    let growth = Growth::new(described.time, slot.homes.extra_us(index), ppm)?;
    let mut work = slot.work.lock();
    let holdings = &mut work.as_mut().ok_or(Refusal::PeerGone)?.holdings;
    let need = (holdings.account().line(Resource::CoreTime).used, growth.ppm());
    if matches!(which, Which::Allowed)
        && !books.handout.is_within(slot.number, Resource::CoreTime, need)
    {
        return Err(Refusal::OverLimit(Resource::CoreTime));
    }
    let promised = seats::more_ppm(growth.before, growth.after);
    books.cores.grow(home.core, promised)?;
    let covered = books.handout.cover(slot.number, Resource::CoreTime, need);
    let limit = covered.inspect_err(|_| books.cores.shrink(home.core, promised))?;
    // The limit is one that allows it.
    let is_charged = holdings.add_core_time(limit, growth.ppm()).is_ok();
    assert!(is_charged, "a limit that was raised is too low");
    drop(work);
    slot.homes.set_extra_us(index, growth.extra_us);
    seats::review(world, home);
    Ok(growth.ppm())
}

/// Lets so many more of the vCPUs be turned on that are kept back.
fn give_vcpus(slot: &Slot, more: u64) -> Result<(), Refusal> {
    let live = worker::live(slot).ok_or(Refusal::PeerGone)?;
    let usable = u64::from(live.usable.load(Ordering::Relaxed)).saturating_add(more);
    let usable = Some(usable).filter(|usable| *usable <= live.vcpu_count);
    let usable = usable.and_then(|usable| u8::try_from(usable).ok()).ok_or(Refusal::NoVcpu)?;
    live.usable.store(usable, Ordering::Relaxed);
    Ok(())
}

/// Gives a device that is kept back.
fn give_device(core: &CoreLocal, slot: &Slot, number: u8) -> Result<Decision, Refusal> {
    let live = worker::live(slot).ok_or(Refusal::PeerGone)?;
    Kept::find(slot, number).ok_or(Refusal::PeerGone)?.give(core, live)
}

/// How many partitions were made at a place.
fn made_at(world: &World, place: usize) -> u32 {
    world.slots.get(place).map_or(0, |slot| slot.made.load(Ordering::Relaxed))
}

/// Permits the asker to ask the partition at a place, if it is the one that was meant. The books are locked: no other one is made
/// there meanwhile.
fn permit(world: &World, slot: &Slot, (place, made): (usize, u32)) -> Result<(), Refusal> {
    if made_at(world, place) != made {
        return Err(Refusal::NotFound);
    }
    let own = usize::from(slot.number.0);
    let is_somebody = |peer: &&Slot| !matches!(peer.phase(), Phase::Free | Phase::Leaving);
    let peer = world.slots.get(place).filter(|_| place != own).filter(is_somebody);
    let peer = peer.ok_or(Refusal::NotFound)?;
    slot.peers.set(&peer.peers, (own, place), true);
    Ok(())
}

/// REQUEST_STATE: `x0` to `x3`.
#[inline(never)]
pub(super) fn state(core: &CoreLocal, loaded: Loaded) -> [u64; 4] {
    let Some(policy) = core.world.policy else { return Refusal::Empty.registers() };
    let live = loaded.live;
    let standing = policy.books.lock().requests.read(live.slot.number, live.id);
    match standing {
        Standing::Nothing => Refusal::Empty.registers(),
        Standing::Open => PENDING,
        Standing::Answered(decision) => told_by(decision),
    }
}

/// REQUEST_CANCEL: `x0` to `x3`.
#[inline(never)]
pub(super) fn cancel(core: &CoreLocal, loaded: Loaded) -> [u64; 4] {
    let Some(policy) = core.world.policy else { return Refusal::Empty.registers() };
    let (place, id) = (loaded.live.slot.number, loaded.live.id);
    let mut books = policy.books.lock();
    let was_taken = books.requests.is_taken(place, id);
    let standing = books.requests.cancel(place, id);
    drop(books);
    if was_taken {
        // Whoever has it open need not think about it any more.
        tell(core, policy);
    }
    serve(match standing {
        Standing::Open => Ok([0; 3]),
        Standing::Nothing => Err(Refusal::Empty),
        Standing::Answered(_) => Err(Refusal::WrongState),
    })
}

/// REQUEST_TAKE.
pub(super) fn take(loaded: Loaded, policy: &Policy) -> Answer {
    let mut books = policy.books.lock();
    books.news.look();
    let taken = books.requests.take(loaded.live.id).ok_or(Refusal::Empty)?;
    drop(books);
    let (number, request) = taken;
    let who = PartitionRef { place: request.place, id: request.id };
    let [what, amount] = request.wish.encode();
    // A number that does not fit is centuries away.
    Ok([who.encode(), what | number << 8, amount])
}

/// REQUEST_ANSWER.
pub(super) fn answer(
    core: &CoreLocal,
    policy: &Policy,
    who: PartitionRef,
    (granted, number): (Option<u64>, u64),
) -> Answer {
    let (place, id) = (who.place, who.id);
    let asked = Request { place, id, wish: Wish::Vcpus(0), peer: 0, port: None, until: 0 };
    let decided = decide_on(core, policy, &asked, (granted, Which::Taken(number)));
    // Too little to give.
    let is_argument = |refusal: &Refusal| matches!(refusal, Refusal::Argument(_));
    let (request, _) = decided
        .map_err(|refusal| if is_argument(&refusal) { Refusal::Argument(3) } else { refusal })?;
    told(core, &request);
    Ok([0; 3])
}

/// Tells the asker that there is an answer. No lock is held.
fn told(core: &CoreLocal, request: &Request) {
    if let Some(port) = request.port {
        tell_at(core, (request.place, request.id), port);
    }
}

/// The time of a request that was made on this core is over: of all that are overdue, one after the other, the default decides. The
/// asker is told, and the policy program, which may have taken it and not answered.
#[cold]
#[inline(never)]
pub(crate) fn expire(core: &CoreLocal, now: u64) {
    let Some(policy) = core.world.policy else { return };
    // Each partition has one request at most.
    for _ in core.world.slots {
        let overdue = policy.books.lock().requests.overdue(now);
        let Some(overdue) = overdue else { break };
        if by_default(core, policy, &overdue, Which::Held).is_err() {
            // Refused by the default, or there is not enough to hand out.
            let mut books = policy.books.lock();
            if books.requests.is_open(&overdue) {
                books.requests.answer(overdue.place, overdue.id, Decision::Refused);
            }
        }
        told(core, &overdue);
        tell(core, policy);
    }
    // What was asked on another core is looked at there, or here, whoever comes first.
    let next = policy.books.lock().requests.next_due();
    core.request_at.set(next);
}
