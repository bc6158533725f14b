//! The policy program makes partitions: from nothing to a start, and back to a free place (P7). Each call changes a draft under the
//! lifecycle's lock, or the books of what was promised; what a draft may be is `shikiri_config::Draft`'s to decide.

use core::sync::atomic::Ordering;

use shikiri_abi::{
    Copying, CoreId, CoreSet, Hold, Ipa, NewAreas, NewDevice, NewVcpu, PartitionId, PartitionRef,
    PartitionSlot, Resource, VcpuIndex,
};
use shikiri_arch::hw::PhysMem;
use shikiri_config::{CoreTime, Partition, Vcpu, Windows, is_name};
use shikiri_core::lifecycle::{Lifecycle, Phase};
use shikiri_core::policy::Refusal;
use shikiri_core::sched::{Admitted, VcpuKey};

use super::policy::{Answer, find, word, words};
use super::{run, seats};
use crate::console;
use crate::hw::mem::Ram;
use crate::percore::Loaded;
use crate::place::Home;
use crate::world::{Policy, PolicyBooks, SGI_SCHEDULE, Slot, World};

/// The most bytes that one PARTITION_LOAD copies.
const LOAD_BYTES: u64 = 64 << 10;

/// The most bytes that it copies while the caller's memory is locked.
const LOAD_STEP_BYTES: u64 = 4 << 10;

pub(super) fn create(world: &World, policy: &Policy, name: [u64; 4]) -> Answer {
    // Before anything is taken for it.
    if !is_name(name) {
        return Err(Refusal::Argument(1));
    }
    if policy.is_naming.swap(true, Ordering::Acquire) {
        return Err(Refusal::Again);
    }
    let created = create_alone(world, policy, name);
    policy.is_naming.store(false, Ordering::Release);
    created
}

/// No other call gives a name meanwhile; places only become free.
fn create_alone(world: &World, policy: &Policy, name: [u64; 4]) -> Answer {
    let is_same = |slot: &&Slot| {
        let mut lifecycle = slot.lifecycle.lock();
        lifecycle.phase() != Phase::Free
            && slot.read(&mut lifecycle, |partition| words::<4>(partition.name, 0) == name)
    };
    let is_free = |slot: &&Slot| slot.lifecycle.lock().phase() == Phase::Free;
    let is_taken = world.slots.iter().any(|slot| is_same(&slot));
    let free = world.slots.iter().find(is_free);
    if is_taken {
        return Err(Refusal::Exists);
    }
    let slot = free.ok_or(Refusal::Full)?;
    // Whatever was permitted to whom was here before. A request for its peer is decided on under the books' lock: before this, and then
    // it is forgotten, or behind it, and then another was meant.
    let index = usize::from(slot.number.0);
    let books = policy.books.lock();
    world.slots.iter().for_each(|other| other.peers.forget(index));
    slot.peers.clear();
    slot.made.fetch_add(1, Ordering::Relaxed);
    drop(books);
    slot.port.begin();
    let mut lifecycle = slot.lifecycle.lock();
    slot.homes.forget_note();
    let id = PartitionId(world.next_id.fetch_add(1, Ordering::Relaxed));
    lifecycle.create(id)?;
    let is_name = slot.draft(&mut lifecycle).is_some_and(|draft| draft.begin(name));
    if !is_name {
        lifecycle.destroyed();
        return Err(Refusal::Argument(1));
    }
    slot.set_phase(lifecycle.phase());
    Ok([word(slot, &lifecycle), 0, 0])
}

/// The promises to the vCPUs of a spare place.
fn promises<'b>(
    world: &World,
    books: &'b mut PolicyBooks,
    place: PartitionSlot,
) -> Option<&'b mut [Option<Admitted>]> {
    let described = world.slots.len().checked_sub(books.promises.len())?;
    let index = usize::from(place.0).checked_sub(described)?;
    books.promises.get_mut(index).map(|promises| &mut promises[..])
}

/// What the vCPUs of a spare place are promised of a resource: core time alone is, until the place is given back.
pub(super) fn promised(
    world: &World,
    books: &mut PolicyBooks,
    (place, resource): (PartitionSlot, Resource),
) -> u64 {
    if resource != Resource::CoreTime {
        return 0;
    }
    let promises = promises(world, books, place).into_iter().flatten().flatten();
    promises.fold(0, |sum, promise| sum.saturating_add(u64::from(promise.ppm())))
}

pub(super) fn destroy(world: &World, policy: &Policy, who: PartitionRef) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    if !slot.is_spare() {
        return Err(Refusal::Argument(1));
    }
    let is_new = lifecycle.phase() != Phase::Leaving;
    let slots = slot.read(&mut lifecycle, |partition| partition.windows.slots());
    if matches!(lifecycle.phase(), Phase::Created | Phase::Ended) {
        // Nothing is mapped any more, and its interrupts are disabled.
        slot.read(&mut lifecycle, |partition| give_devices_back(world, partition));
    }
    lifecycle.destroy()?;
    slot.set_phase(lifecycle.phase());
    if is_new {
        let mut books = policy.books.lock();
        books.area_rows = books.area_rows.saturating_add(slots);
        drop(books);
        // One that was to start again has kept it. The cores that are told to let go look after the console as well, so first.
        console::detach(world, slot);
        slot.homes.iter().for_each(|home| seats::review(world, home));
    }
    // Whoever comes to the place next says nothing in this one's name, nor this one in its.
    if !slot.homes.are_vacated() || !console::is_gone(world, slot) {
        return Err(Refusal::Again);
    }
    // Nothing on any core: the promises go back, and then the place.
    let mut place = policy.books.lock();
    let books = &mut *place;
    let mut kept = [const { None }; shikiri_config::DRAFT_VCPUS];
    if let Some(promises) = promises(world, books, slot.number) {
        for (kept, promise) in kept.iter_mut().zip(promises) {
            *kept = promise.take();
        }
    }
    kept.into_iter().flatten().for_each(|promise| books.cores.release(promise));
    books.handout.take_back(slot.number);
    books.notices.forget(slot.number);
    drop(place);
    let index = usize::from(slot.number.0);
    world.slots.iter().for_each(|other| other.peers.forget(index));
    slot.peers.clear();
    slot.withdraw(&mut lifecycle);
    slot.homes.clear();
    lifecycle.destroyed();
    slot.set_phase(lifecycle.phase());
    Ok([0; 3])
}

pub(super) fn add_vcpu(world: &World, policy: &Policy, who: PartitionRef, new: NewVcpu) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    let number = slot.number;
    let draft = slot.draft(&mut lifecycle).ok_or(Refusal::WrongState)?;
    let time = match (new.budget_us, new.period_us) {
        (0, 0) => CoreTime::Owned,
        (budget_us, period_us) => CoreTime::Reservation { budget_us, period_us },
    };
    let cores = CoreSet(u128::from(new.cores));
    let machine = (0..=u8::MAX).take(world.cores.len()).map(|core| CoreSet::one(CoreId(core)));
    let machine = machine.fold(CoreSet::EMPTY, CoreSet::union);
    if cores.is_empty() || !cores.without(machine).is_empty() {
        return Err(Refusal::Range);
    }
    let before = draft.view().vcpus().map(|vcpu| vcpu.time.ppm()).fold(0, u64::saturating_add);
    let index = draft.view().vcpus().len();
    let share = seats::share(time).ok_or(Refusal::Range)?;
    let mut place = policy.books.lock();
    let books = &mut *place;
    match books.handout.limit(number, Resource::CoreTime) {
        Some(limit) if before.saturating_add(u64::from(share.ppm())) > limit => {
            return Err(Refusal::OverLimit(Resource::CoreTime));
        }
        None if books.handout.line(Resource::CoreTime).limit.is_some() => {
            return Err(Refusal::HandOut(Resource::CoreTime));
        }
        Some(_) | None => {}
    }
    let promise = books.cores.admit(cores, share)?;
    // Who owns a core stays there.
    let home = CoreSet::one(promise.core());
    let cores = if time == CoreTime::Owned { home } else { cores };
    let vcpu = Vcpu { cores, home: promise.core(), time, priority: new.priority };
    if let Err(fault) = draft.add_vcpu(&vcpu, machine, new.is_kept) {
        books.cores.release(promise);
        return Err(fault.into());
    }
    let (core, seat, ppm) = (promise.core(), promise.seat(), promise.ppm());
    let kept = promises(world, books, number).and_then(|promises| promises.get_mut(index));
    match kept {
        Some(kept) => *kept = Some(promise),
        None => unreachable!("a draft has more vCPUs than there are promises"),
    }
    drop(place);
    slot.homes.push(Home { core, seat, is_shared: time != CoreTime::Owned });
    let vcpu = VcpuIndex(u8::try_from(index).unwrap_or(u8::MAX));
    let shared = world.cores.get(usize::from(core.0));
    let key = VcpuKey { partition: number, vcpu };
    if shared.is_some_and(|shared| shared.inbox.admit(seat, key)) {
        run::send(world, core, SGI_SCHEDULE);
    }
    seats::announce(world, cores, core);
    drop(lifecycle);
    Ok([u64::from(core.0), u64::from(ppm), 0])
}

/// A device of an owner that has ended; both are locked, by their keys' order, as those of the description come first.
pub(super) fn add_device(world: &World, who: PartitionRef, new: NewDevice) -> Answer {
    let NewDevice { owner: from, number, is_kept } = new;
    if from.place >= who.place {
        return Err(Refusal::Argument(2));
    }
    let (owner, its_life) = find(world, from)?;
    let (slot, mut lifecycle) = find(world, who)?;
    if owner.is_spare() {
        return Err(Refusal::Argument(2));
    }
    let draft = slot.draft(&mut lifecycle).ok_or(Refusal::WrongState)?;
    if its_life.phase() != Phase::Ended || its_life.restart_at().is_some() {
        return Err(Refusal::WrongState);
    }
    let description = owner.description();
    let path = description.device_paths().nth(number.into()).ok_or(Refusal::NotFound)?;
    let bit = 1_u64.checked_shl(number.into()).unwrap_or(0);
    // Whoever gave it back has set its routes before.
    if owner.given.load(Ordering::Acquire) & bit != 0 {
        return Err(Refusal::Exists);
    }
    draft.add_device(description, path, is_kept)?;
    owner.given.fetch_or(bit, Ordering::Relaxed);
    world.route_device(description, path, slot.number);
    let device = description.devices().find(|device| device.path == path);
    let interrupt = description.interrupts().find(|interrupt| interrupt.path == path);
    drop((lifecycle, its_life));
    let intid = interrupt.map_or(0, |interrupt| interrupt.virtual_id.0.into());
    Ok([device.map_or(0, |device| device.ipa.0), intid, 0])
}

/// The devices of a partition that has ended, or was never started, are their owners' again.
fn give_devices_back(world: &World, partition: &Partition<'_>) {
    for device in partition.devices() {
        for owner in world.slots.iter().filter(|owner| !owner.is_spare()) {
            let description = owner.description();
            // A physical address is one partition's, by the bundle's rules.
            if !description.devices().any(|it| it.pa == device.pa) {
                continue;
            }
            let number = description.device_paths().position(|path| path == device.path);
            if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
                world.route_device(description, device.path, owner.number);
                let bit = 1_u64.checked_shl(number).unwrap_or(0);
                owner.given.fetch_and(!bit, Ordering::Release);
            }
        }
    }
}

pub(super) fn set_areas(
    world: &World,
    policy: &Policy,
    who: PartitionRef,
    new: NewAreas,
) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    let draft = slot.draft(&mut lifecycle).ok_or(Refusal::WrongState)?;
    let NewAreas { pages, blocks, giants, channels, shares: shared } = new;
    let windows = Windows { pages, blocks, giants, channels, shared };
    let before = draft.view().windows.slots();
    let mut books = policy.books.lock();
    let left = books.area_rows.saturating_add(before).checked_sub(windows.slots());
    let left = left.ok_or(Refusal::Full)?;
    draft.set_windows(windows)?;
    books.area_rows = left;
    Ok([0; 3])
}

pub(super) fn add_image(world: &World, who: PartitionRef, image: u64, ipa: Ipa) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    let draft = slot.draft(&mut lifecycle).ok_or(Refusal::WrongState)?;
    let number = usize::try_from(image).unwrap_or(usize::MAX);
    let image = world.bundle.policy_images().nth(number).ok_or(Refusal::Argument(2))?;
    draft.add_image(&world.bundle, image.blob, ipa)?;
    Ok([image_bytes(world, image.blob), 0, 0])
}

fn image_bytes(world: &World, blob: usize) -> u64 {
    world.bundle.blob(blob).map_or(0, |blob| u64::try_from(blob.bytes.len()).unwrap_or(u64::MAX))
}

pub(super) fn image_info(world: &World, number: u64, part: u8) -> Answer {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let image = world.bundle.policy_images().nth(number).ok_or(Refusal::Range)?;
    if let Some(part) = part.checked_sub(1) {
        return Ok(words(image.name, usize::from(part).saturating_mul(24).saturating_add(16)));
    }
    let [first, second] = words(image.name, 0);
    Ok([image_bytes(world, image.blob), first, second])
}

/// Two words of the note of a partition that was made, or `new` in their place. Of another one that is made there later they are 0.
#[inline(never)]
pub(super) fn note(world: &World, who: PartitionRef, piece: u8, new: Option<[u64; 2]>) -> Answer {
    // Nobody else is made there meanwhile.
    let (slot, _lifecycle) = find(world, who)?;
    let cells = slot.homes.note(piece).filter(|_| slot.is_spare());
    let [first, second] = cells.ok_or(Refusal::Argument(1))?;
    let Some(new) = new else {
        return Ok([first.load(Ordering::Relaxed), second.load(Ordering::Relaxed), 0]);
    };
    first.store(new[0], Ordering::Relaxed);
    second.store(new[1], Ordering::Relaxed);
    Ok([0; 3])
}

/// A partition that was created begins its first life, under the id that it has.
pub(super) fn start(
    world: &World,
    policy: &Policy,
    (slot, lifecycle): (&Slot, &mut Lifecycle),
    hold: Hold,
) -> Result<(), Refusal> {
    let draft = slot.draft(lifecycle).ok_or(Refusal::WrongState)?;
    if !draft.is_complete(&world.bundle) {
        return Err(Refusal::WrongState);
    }
    if let Some(resource) = policy.books.lock().handout.boundless(slot.number) {
        return Err(Refusal::HandOut(resource));
    }
    slot.publish(lifecycle);
    lifecycle.start(lifecycle.id(), hold)?;
    slot.set_phase(lifecycle.phase());
    Ok(())
}

pub(super) fn set_peers(
    world: &World,
    asker: PartitionRef,
    asked: PartitionRef,
    permit: bool,
) -> Answer {
    if asker.place == asked.place {
        return Err(Refusal::Argument(2));
    }
    // Both locks, by their keys' order, so that neither is destroyed in between.
    let (low, high) = if asker.place < asked.place { (asker, asked) } else { (asked, asker) };
    let (first, first_life) = find(world, low)?;
    let (second, second_life) = find(world, high)?;
    let (asker, asked) = if asker.place < asked.place { (first, second) } else { (second, first) };
    let places = (usize::from(asker.number.0), usize::from(asked.number.0));
    asker.peers.set(&asked.peers, places, permit);
    drop((second_life, first_life));
    Ok([0; 3])
}

pub(super) fn load(world: &World, loaded: Loaded, who: PartitionRef, copying: Copying) -> Answer {
    let own = loaded.live.slot;
    let Copying { to, from, bytes } = copying;
    if who.place == own.number {
        return Err(Refusal::Argument(1));
    }
    if !to.is_aligned(8) || !from.is_aligned(8) || !Ipa(bytes).is_aligned(8) {
        return Err(Refusal::Alignment);
    }
    let (slot, lifecycle) = find(world, who)?;
    if lifecycle.phase() != Phase::Held {
        return Err(Refusal::WrongState);
    }
    let bytes = bytes.min(LOAD_BYTES);
    let mut done = 0;
    while done < bytes {
        let left = bytes.saturating_sub(done).min(LOAD_STEP_BYTES);
        let step = (from.wrapping_add(done), to.wrapping_add(done), left);
        let Some(copied) = copy_some((own, slot), &lifecycle, step) else { break };
        done = done.saturating_add(copied);
    }
    drop(lifecycle);
    if done == 0 && bytes > 0 { Err(Refusal::Range) } else { Ok([done, 0, 0]) }
}

/// Copies from what lies in one run at both; how much, `None` if one has no memory there. The target is held, so that its memory
/// stays where it is as long as its lifecycle is locked; the caller's, and what it has of areas, stays with its lock, which its peers
/// wait for meanwhile.
fn copy_some(
    (own, its): (&Slot, &Slot),
    _held: &Lifecycle,
    (from, to, bytes): (Ipa, Ipa, u64),
) -> Option<u64> {
    let (target, room) = its.work.lock().as_ref()?.holdings.translate(to)?;
    let work = own.work.lock();
    let holdings = &work.as_ref()?.holdings;
    let source = holdings.translate(from).or_else(|| holdings.translate_in_area(&Ram, from));
    let (source, left) = source?;
    let step = left.min(room).min(bytes);
    Ram.copy_words(target, source, step);
    drop(work);
    Ram.clean_invalidate(target, step);
    Some(step)
}
