//! Requests for more (P8): held here until the policy program has answered, or until the core that took one in finds its time over.
//! What a request goes through is `shikiri_core::policy::request`'s to decide.

use core::sync::atomic::Ordering;

use shikiri_abi::{PartitionRef, Resource, Status, Wanted, Wish};
use shikiri_arch::hw::Clock;
use shikiri_config::Unanswered;
use shikiri_core::handle::Handle;
use shikiri_core::lifecycle::Phase;
use shikiri_core::policy::Refusal;
use shikiri_core::policy::request::{Decision, Request, Standing};
use shikiri_core::sched::earlier;

use super::live::Live;
use super::policy::{Answer, find, serve, tell, tell_at};
use super::run;
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, Loaded};
use crate::world::{Policy, PolicyBooks, Slot, World};

const PENDING: [u64; 4] = [Status::Pending.code().cast_unsigned(), 0, 0, 0];

/// REQUEST: `x0` to `x3`.
#[inline(never)]
pub(super) fn ask(core: &CoreLocal, loaded: Loaded, wanted: Wanted) -> [u64; 4] {
    match try_ask(core, loaded.live, wanted) {
        Ok(None) => PENDING,
        Ok(Some(granted)) => serve(Ok([granted, 0, 0])),
        Err(refusal) => refusal.registers(),
    }
}

/// How much was granted at once; `None` if the policy program is asked.
fn try_ask(core: &CoreLocal, live: &Live, wanted: Wanted) -> Result<Option<u64>, Refusal> {
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
        return Ok(Some(amount));
    }
    let policy = world.policy.ok_or(Refusal::Denied)?;
    let now = Counter.now();
    let until = now.saturating_add(policy.answer_ticks);
    let peer = match wish {
        Wish::Peer(place) => made_at(world, usize::from(place.0)),
        Wish::More(..) => 0,
    };
    let request = Request { place: live.slot.number, id: live.id, wish, peer, port, until };
    if policy.holder.is_none() {
        return by_default(world, policy, &request, |_| true).map(Some);
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

/// Grants or refuses a request that nobody answers, if it is still open when the books are locked.
fn by_default(
    world: &World,
    policy: &Policy,
    request: &Request,
    is_open: impl FnOnce(&PolicyBooks) -> bool,
) -> Result<u64, Refusal> {
    let granted = match request.wish {
        Wish::More(_, amount) => amount,
        Wish::Peer(_) => 1,
    };
    let who = PartitionRef { place: request.place, id: request.id };
    let decide = |_: &Request| match policy.default {
        Unanswered::Granted => Ok(Some(granted)),
        Unanswered::Refused => Ok(None),
    };
    let decided = decide_on(world, policy, who, decide, |books| is_open(books).then_some(*request));
    match decided? {
        (_, Decision::Granted(granted)) => Ok(granted),
        (_, Decision::Refused) => Err(Refusal::Denied),
    }
}

/// Decides on a request, and gives what is granted: in one step under the books' lock, so that whoever cancels it comes before or
/// after. With a refusal the request stays as it is.
fn decide_on(
    world: &World,
    policy: &Policy,
    who: PartitionRef,
    decide: impl FnOnce(&Request) -> Result<Option<u64>, Refusal>,
    find_open: impl FnOnce(&PolicyBooks) -> Option<Request>,
) -> Result<(Request, Decision), Refusal> {
    // The asker stays what it is as long as this is locked.
    let (slot, lifecycle) = find(world, who)?;
    let mut books = policy.books.lock();
    let request = find_open(&books).ok_or(Refusal::PeerGone)?;
    let granted = decide(&request)?;
    let mut limit = None;
    match (granted, request.wish) {
        (Some(more), Wish::More(resource, _)) => {
            limit = raise(&mut books, slot, (resource, more))?.map(|limit| (resource, limit));
        }
        (Some(_), Wish::Peer(place)) => permit(world, slot, (usize::from(place.0), request.peer))?,
        (None, _) => {}
    }
    let decision = granted.map_or(Decision::Refused, Decision::Granted);
    books.requests.answer(who.place, who.id, decision);
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

/// How many partitions were made at a place.
fn made_at(world: &World, place: usize) -> u32 {
    world.slots.get(place).map_or(0, |slot| slot.made.load(Ordering::Relaxed))
}

/// Permits the asker to ask the partition at a place, if it is the one that was meant.
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
        Standing::Answered(Decision::Granted(granted)) => serve(Ok([granted, 0, 0])),
        Standing::Answered(Decision::Refused) => Refusal::Denied.registers(),
    }
}

/// REQUEST_CANCEL: `x0` to `x3`.
#[inline(never)]
pub(super) fn cancel(core: &CoreLocal, loaded: Loaded) -> [u64; 4] {
    let Some(policy) = core.world.policy else { return Refusal::Empty.registers() };
    let live = loaded.live;
    let standing = policy.books.lock().requests.cancel(live.slot.number, live.id);
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
    let decide = |request: &Request| match (request.wish, granted) {
        (Wish::Peer(_), Some(0)) => Ok(Some(1)),
        (Wish::Peer(_), Some(_)) => Err(Refusal::Argument(3)),
        (Wish::More(..), _) | (Wish::Peer(_), None) => Ok(granted),
    };
    let find_open = |books: &PolicyBooks| books.requests.taken(who.place, who.id, number);
    let (request, _) = decide_on(core.world, policy, who, decide, find_open)?;
    told(core, &request);
    Ok([0; 3])
}

/// Tells the asker that there is an answer. No lock is held.
fn told(core: &CoreLocal, request: &Request) {
    if let Some(port) = request.port {
        tell_at(core, (request.place, request.id), port);
    }
}

/// The time of a request that was made on this core is over: of all that are overdue, one after the other, the default decides.
#[cold]
#[inline(never)]
pub(crate) fn expire(core: &CoreLocal, now: u64) {
    let Some(policy) = core.world.policy else { return };
    // Each partition has one request at most.
    for _ in core.world.slots {
        let overdue = policy.books.lock().requests.overdue(now);
        let Some(overdue) = overdue else { break };
        let is_open = |books: &PolicyBooks| books.requests.is_open(&overdue);
        if by_default(core.world, policy, &overdue, is_open).is_err() {
            // Refused by the default, or there is not enough to hand out.
            let mut books = policy.books.lock();
            if books.requests.is_open(&overdue) {
                books.requests.answer(overdue.place, overdue.id, Decision::Refused);
            }
        }
        told(core, &overdue);
    }
    // What was asked on another core is looked at there, or here, whoever comes first.
    let next = policy.books.lock().requests.next_due();
    core.request_at.set(next);
}
