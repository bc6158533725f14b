//! The calls of the policy program: locks, phases, and who is told. What is a rule is `shikiri_core::policy`'s and the lifecycle's to decide.
//!
//! A call names a partition by its place and its id. Under the lifecycle's lock both are compared, and the call carried out: so
//! it concerns the incarnation that was meant, or nobody.

use core::sync::atomic::Ordering;

use shikiri_abi::{
    Call, DecodeError, Hold, NamePart, PartitionId, PartitionRef, PartitionSlot, PolicyCall,
    Resource, Status, VcpuIndex,
};
use shikiri_config::Draft;
use shikiri_core::account::{Account, Line};
use shikiri_core::handle::Handle;
use shikiri_core::lifecycle::{EndCause, Lifecycle, Phase};
use shikiri_core::partition::Loader;
use shikiri_core::policy::{Given, Notice, Refusal};
use shikiri_sync::{Guard, rank};

use super::context::Context;
use super::live::Vcpu;
use super::sync::{Next, answer_call, undecoded};
use super::talk::{raise_some, visit};
use super::{look, maker, request, run, worker};
use crate::hw::mem::Ram;
use crate::percore::{CoreLocal, Loaded};
use crate::world::{Policy, Slot, World};

/// Serves a call from [`POLICY_FIRST`](shikiri_abi::POLICY_FIRST) on. Who does not hold the capability is refused before its
/// arguments are looked at.
#[cold]
#[inline(never)]
pub(super) fn any_call(
    core: &CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    (number, x): (u32, [u64; 6]),
) -> Next {
    let answer = if !Call::exists(number.into()) {
        undecoded(DecodeError::NotSupported)
    } else if is_held(core, loaded) {
        PolicyCall::decode(number, x)
            .map_or_else(undecoded, |call| serve(carry_out(core, loaded, call)))
    } else {
        Refusal::NotPermitted.registers()
    };
    answer_call(core, context, number, answer)
}

/// Whether the loaded partition holds the policy capability.
fn is_held(core: &CoreLocal, Loaded { live, .. }: Loaded) -> bool {
    let holder = core.world.policy.and_then(|policy| policy.holder);
    holder == Some(live.slot.number)
}

/// `x0` to `x3`.
pub(super) fn serve(answer: Answer) -> [u64; 4] {
    match answer {
        Ok([x1, x2, x3]) => [Status::Ok.code().cast_unsigned(), x1, x2, x3],
        Err(refusal) => refusal.registers(),
    }
}

pub(super) type Answer = Result<[u64; 3], Refusal>;

fn carry_out(core: &CoreLocal, loaded: Loaded, call: PolicyCall) -> Answer {
    let world = core.world;
    let policy = world.policy.ok_or(Refusal::NotPermitted)?;
    match call {
        PolicyCall::List(place) => list(world, loaded, place),
        PolicyCall::Name(who, part) => name(world, who, part),
        PolicyCall::LimitRead(who, resource) => limit_read(world, policy, who, resource),
        PolicyCall::LimitSet(who, resource, limit) => {
            limit_set(world, policy, who, (resource, limit))
        }
        PolicyCall::Start(who, hold) => start(world, policy, who, hold),
        PolicyCall::GoOn(who) => go_on(world, who),
        PolicyCall::Stop(who) => stop(world, who),
        PolicyCall::Restart(who) => restart(world, who),
        PolicyCall::Pause(who) => pause(world, loaded, who),
        PolicyCall::Resume(who) => resume(world, who),
        PolicyCall::Notify(port) => notify(core, loaded, policy, Handle(port)),
        PolicyCall::TakeNotice => take_notice(policy),
        PolicyCall::Create(name) => maker::create(world, policy, name),
        PolicyCall::Destroy(who) => maker::destroy(world, policy, who),
        PolicyCall::AddVcpu(who, vcpu) => maker::add_vcpu(world, policy, who, vcpu),
        PolicyCall::AddMemory(who, ipa, bytes) => {
            with_draft(world, who, |draft| Ok(draft.add_memory(ipa, bytes)?))
        }
        PolicyCall::AddImage(who, image, ipa) => maker::add_image(world, who, image, ipa),
        PolicyCall::SetEntry(who, entry, x0) => {
            with_draft(world, who, |draft| Ok(draft.set_entry(entry, x0)?))
        }
        PolicyCall::SetConsole(who, has_console) => {
            with_draft(world, who, |draft| Ok(draft.set_console(has_console)?))
        }
        PolicyCall::SetTalk(who, handles, requests) => {
            with_draft(world, who, |draft| Ok(draft.set_talk(handles, requests)?))
        }
        PolicyCall::AddDevice(who, device) => maker::add_device(world, who, device),
        PolicyCall::SetAreas(who, new) => maker::set_areas(world, policy, who, new),
        PolicyCall::SetPeers(asker, asked, permit) => maker::set_peers(world, asker, asked, permit),
        PolicyCall::Load(who, copying) => maker::load(world, loaded, who, copying),
        PolicyCall::TakeRequest => request::take(loaded, policy),
        PolicyCall::Answer(who, granted, number) => {
            request::answer(core, policy, who, (granted, number))
        }
        PolicyCall::HandOut(resource) => {
            let Given { limit, used } = policy.books.lock().handout.line(resource);
            Ok([limit.unwrap_or(u64::MAX), used, 0])
        }
        PolicyCall::Image(number, part) => maker::image_info(world, number, part),
        PolicyCall::Core(core) if usize::from(core.0) < world.cores.len() => {
            Ok([u64::from(policy.books.lock().cores.left_ppm(core)), 0, 0])
        }
        PolicyCall::Core(_) => Err(Refusal::Range),
        PolicyCall::SetNote(who, piece, new) => maker::note(world, who, piece, Some(new)),
        PolicyCall::Note(who, piece) => maker::note(world, who, piece, None),
        PolicyCall::Look(call) => look::carry_out(world, call),
    }
}

/// The slot of a partition, its lifecycle locked.
pub(super) fn find(
    world: &World,
    who: PartitionRef,
) -> Result<(&'static Slot, Guard<'static, Lifecycle, rank::Machine>), Refusal> {
    let slot = world.slots.get(usize::from(who.place.0)).ok_or(Refusal::NotFound)?;
    let lifecycle = slot.lifecycle.lock();
    if lifecycle.phase() == Phase::Free {
        return Err(Refusal::NotFound);
    }
    if lifecycle.id() != who.id {
        return Err(Refusal::PeerGone);
    }
    Ok((slot, lifecycle))
}

/// Changes the draft of a partition that is being created.
fn with_draft(
    world: &World,
    who: PartitionRef,
    change: impl FnOnce(&mut Draft) -> Result<(), Refusal>,
) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    change(slot.draft(&mut lifecycle).ok_or(Refusal::WrongState)?)?;
    Ok([0; 3])
}

pub(super) fn word(slot: &Slot, lifecycle: &Lifecycle) -> u64 {
    PartitionRef { place: slot.number, id: lifecycle.id() }.encode()
}

fn list(world: &World, loaded: Loaded, place: u8) -> Answer {
    let slot = world.slots.get(usize::from(place)).ok_or(Refusal::Range)?;
    let lifecycle = slot.lifecycle.lock();
    let state = lifecycle.phase().told().ok_or(Refusal::NotFound)?.code();
    let (cause, code) = lifecycle.cause().map_or((0, 0), EndCause::encode);
    let restarts = u8::from(lifecycle.restart_at().is_some());
    let [a, b, c, d] = code.to_le_bytes();
    let state = u64::from_le_bytes([state, cause, restarts, 0, a, b, c, d]);
    let vcpus = u8::try_from(slot.homes.len()).unwrap_or(u8::MAX);
    let is_caller = u8::from(core::ptr::eq(slot, loaded.live.slot)) << 1;
    let how = is_caller | u8::from(slot.is_spare());
    let [a, b, c, d] = lifecycle.starts().to_le_bytes();
    let counts = u64::from_le_bytes([a, b, c, d, vcpus, how, 0, 0]);
    Ok([word(slot, &lifecycle), state, counts])
}

fn name(world: &World, who: PartitionRef, part: NamePart) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    Ok(slot.read(&mut lifecycle, |partition| words(partition.name, part.skipped())))
}

/// Eight bytes of a name to a word, from byte `skipped` on.
pub(super) fn words<const N: usize>(name: &str, skipped: usize) -> [u64; N] {
    let mut at = skipped;
    [(); N].map(|()| {
        let word = eight_bytes(name, at);
        at = at.saturating_add(8);
        word
    })
}

#[inline(never)]
fn eight_bytes(name: &str, skipped: usize) -> u64 {
    let mut bytes = name.bytes().skip(skipped);
    u64::from_le_bytes([(); 8].map(|()| bytes.next().unwrap_or(0)))
}

fn limit_read(world: &World, policy: &Policy, who: PartitionRef, resource: Resource) -> Answer {
    let (slot, lifecycle) = find(world, who)?;
    let limit = policy.books.lock().handout.limit(slot.number, resource);
    let Line { used, high, .. } = slot.account_line(resource);
    drop(lifecycle);
    Ok([limit.unwrap_or(u64::MAX), used, high])
}

fn limit_set(
    world: &World,
    policy: &Policy,
    who: PartitionRef,
    (resource, limit): (Resource, Option<u64>),
) -> Answer {
    let (slot, lifecycle) = find(world, who)?;
    let used = lower(slot, (resource, limit));
    let mut books = policy.books.lock();
    let promised = maker::promised(world, &mut books, (slot.number, resource));
    books.handout.set(slot.number, resource, limit, used.max(promised))?;
    drop(books);
    if let Some(work) = slot.work.lock().as_mut() {
        work.holdings.account_mut().set_limit(resource, limit);
    }
    drop(lifecycle);
    Ok([0; 3])
}

/// Sets a life's limit if that is lower, which nothing refuses, so that what is in use grows no more; how much that is.
fn lower(slot: &Slot, (resource, limit): (Resource, Option<u64>)) -> u64 {
    let mut work = slot.work.lock();
    let Some(work) = work.as_mut() else { return 0 };
    let account = work.holdings.account_mut();
    let line = account.line(resource);
    if limit.is_some_and(|limit| line.limit.is_none_or(|before| limit < before)) {
        account.set_limit(resource, limit);
    }
    line.used
}

/// Sets the limits of an account that begins; false if there is no policy, and the description's are right.
pub(super) fn set_limits(world: &World, slot: &Slot, account: &mut Account) -> bool {
    let Some(policy) = world.policy else { return false };
    let limits = policy.books.lock().handout.limits(slot.number);
    for (resource, limit) in Resource::ALL.into_iter().zip(limits) {
        account.set_limit(resource, limit);
    }
    true
}

/// Begins a life, or lets a held one go on.
fn start(world: &World, policy: &Policy, who: PartitionRef, hold: Hold) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    match (lifecycle.phase(), hold) {
        (Phase::Held, Hold::No) => release(world, slot, &mut lifecycle)?,
        (Phase::Created, hold) => maker::start(world, policy, (slot, &mut lifecycle), hold)?,
        (_, hold) => {
            worker::begin_life(world, slot, &mut lifecycle, hold)?;
        }
    }
    Ok(begun(world, slot, lifecycle))
}

/// Lets a held life go on, and begins no other one.
fn go_on(world: &World, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    release(world, slot, &mut lifecycle)?;
    Ok(begun(world, slot, lifecycle))
}

/// Tells the core of what was begun; the answer.
fn begun(world: &World, slot: &Slot, lifecycle: Guard<'_, Lifecycle, rank::Machine>) -> [u64; 3] {
    slot.is_quiet.store(true, Ordering::Relaxed);
    let word = word(slot, &lifecycle);
    drop(lifecycle);
    run::wake(world, slot, VcpuIndex(0));
    [word, 0, 0]
}

/// Lets a held partition go on.
fn release(world: &World, slot: &Slot, lifecycle: &mut Lifecycle) -> Result<(), Refusal> {
    lifecycle.release()?;
    // What was loaded may be code.
    Ram.sync_instructions();
    if let Some(live) = worker::live(slot) {
        worker::let_run(world, live);
    }
    slot.set_phase(lifecycle.phase());
    Ok(())
}

fn stop(world: &World, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    let is_over = lifecycle.phase() == Phase::Ended && lifecycle.restart_at().is_none();
    if is_over || matches!(lifecycle.phase(), Phase::Created | Phase::Leaving) {
        return Err(Refusal::WrongState);
    }
    let is_to_stop = worker::end_life(world, slot, &mut lifecycle, EndCause::Policy);
    drop(lifecycle);
    if is_to_stop {
        worker::wake_all(world, slot);
    }
    Ok([0; 3])
}

fn restart(world: &World, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    match lifecycle.phase() {
        Phase::Created | Phase::Leaving => return Err(Refusal::WrongState),
        Phase::Ended => {
            let hold = lifecycle.hold();
            worker::begin_life(world, slot, &mut lifecycle, hold)?;
            slot.is_quiet.store(true, Ordering::Relaxed);
            drop(lifecycle);
            run::wake(world, slot, VcpuIndex(0));
        }
        Phase::Free
        | Phase::Building
        | Phase::Held
        | Phase::Active
        | Phase::Paused
        | Phase::Ending
        | Phase::TearingDown => {
            let is_to_stop = worker::end_life(world, slot, &mut lifecycle, EndCause::PolicyRestart);
            drop(lifecycle);
            if is_to_stop {
                worker::wake_all(world, slot);
            }
        }
    }
    Ok([0; 3])
}

/// Pauses; as long as a core has one of the vCPUs, the caller comes again.
fn pause(world: &World, loaded: Loaded, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    if core::ptr::eq(slot, loaded.live.slot) {
        return Err(Refusal::Argument(1));
    }
    if lifecycle.phase() != Phase::Paused {
        lifecycle.pause()?;
        slot.set_phase(lifecycle.phase());
        worker::wake_all(world, slot);
    }
    let is_off = |vcpu: &Vcpu| vcpu.loaded_on().is_none();
    let are_off = worker::live(slot).is_none_or(|live| live.vcpus.iter().all(is_off));
    drop(lifecycle);
    if are_off { Ok([0; 3]) } else { Err(Refusal::Again) }
}

fn resume(world: &World, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    lifecycle.resume()?;
    slot.set_phase(lifecycle.phase());
    drop(lifecycle);
    worker::wake_all(world, slot);
    Ok([0; 3])
}

fn notify(core: &CoreLocal, loaded: Loaded, policy: &Policy, port: Handle) -> Answer {
    let live = loaded.live;
    let tables = live.talk.as_ref().ok_or(Refusal::BadHandle)?;
    if !tables.shared().is_receive_port(port) {
        return Err(Refusal::BadHandle);
    }
    let mut books = policy.books.lock();
    books.told_at = Some((live.id, port));
    books.news.look();
    let is_news = !books.notices.is_empty() || !books.requests.is_quiet(live.id);
    let is_to_tell = is_news && books.news.raise();
    drop(books);
    if is_to_tell {
        raise_some(core, tables.shared().notify(live.slot.number, port));
    }
    Ok([0; 3])
}

fn take_notice(policy: &Policy) -> Answer {
    let mut books = policy.books.lock();
    books.news.look();
    let notice = books.notices.take().ok_or(Refusal::Empty)?;
    drop(books);
    let (cause, code) = notice.cause.encode();
    let [a, b, c, d] = code.to_le_bytes();
    let why = u64::from_le_bytes([cause, 0, u8::from(notice.restarts), 0, a, b, c, d]);
    let who = PartitionRef { place: notice.place, id: notice.id };
    Ok([who.encode(), why, notice.missed])
}

/// A partition has ended: the policy program will know.
pub(super) fn note_end(core: &CoreLocal, notice: Notice) {
    let Some(policy) = core.world.policy else { return };
    let mut books = policy.books.lock();
    books.requests.forget(notice.place);
    books.notices.note(notice);
    drop(books);
    tell(core, policy);
}

/// Tells the policy program that a partition has become active, or is held. What its own calls do it knows. No lock is held.
pub(super) fn tell_of_start(core: &CoreLocal) {
    if let Some(policy) = core.world.policy {
        tell(core, policy);
    }
}

/// Tells the policy program that there is something for it, if it has looked since it was told. No lock is held.
pub(super) fn tell(core: &CoreLocal, policy: &Policy) {
    let mut books = policy.books.lock();
    let told_at = books.told_at.filter(|_| books.news.raise());
    drop(books);
    let (Some(holder), Some((id, port))) = (policy.holder, told_at) else { return };
    tell_at(core, (holder, id), port);
}

/// Raises a receive port of a partition, if this life of it is there. No lock is held.
pub(super) fn tell_at(core: &CoreLocal, (place, id): (PartitionSlot, PartitionId), port: Handle) {
    let Some(visited) = visit(core, place).filter(|visited| visited.live.id == id) else { return };
    let tables = visited.live.talk.as_ref();
    raise_some(core, tables.and_then(|tables| tables.shared().notify(place, port)));
}
