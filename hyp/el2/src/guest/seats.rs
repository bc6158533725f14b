//! vCPUs of partitions that are made at run time take their seats, and leave them. A core touches its own queue alone: whoever
//! gives a seat, or wants it back, leaves a bit in the core's inbox.

use core::sync::atomic::Ordering;

use shikiri_abi::{CoreId, CoreSet};
use shikiri_arch::hw::Clock;
use shikiri_config::{CoreTime, Vcpu};
use shikiri_core::lifecycle::Phase;
use shikiri_core::policy::grown;
use shikiri_core::sched::{Drained, Excess, Reservation, Seat, Share, Terms, VcpuKey};

use super::run;
use crate::hw::clock::Counter;
use crate::percore::CoreLocal;
use crate::place::Home;
use crate::world::{SGI_SCHEDULE, Slot, World};

/// A vCPU's right to time, in ticks; `None` if it is no reservation.
#[inline(never)]
pub(crate) fn share(time: CoreTime) -> Option<Share> {
    match time {
        CoreTime::Owned => Some(Share::Owned),
        CoreTime::Reservation { budget_us, period_us } => {
            let ticks = |us: u32| Counter.frequency_hz().saturating_mul(u64::from(us)) / 1_000_000;
            Reservation::new(ticks(budget_us), ticks(period_us)).ok().map(Share::Reserved)
        }
    }
}

/// Carries out what the inbox has asked for about seats.
#[inline(never)]
pub(super) fn settle(core: &mut CoreLocal, drained: &Drained, now: u64) {
    for seat in Seat::of(drained.leaving) {
        look_again(core, seat, now);
    }
    for seat in Seat::of(drained.unknown) {
        take(core, seat, now);
    }
}

/// A seat that is empty here was woken: it was given to somebody, or was somebody's until just now.
fn take(core: &mut CoreLocal, seat: Seat, now: u64) {
    let Some(key) = core.shared().map(|shared| shared.inbox.key(seat)) else { return };
    let Some(slot) = core.world.slots.get(usize::from(key.partition.0)) else { return };
    let index = usize::from(key.vcpu.0);
    let mut lifecycle = slot.lifecycle.lock();
    // One that is being destroyed has left, or will: a wake-up that came late does not seat it again.
    let is_there = !matches!(lifecycle.phase(), Phase::Leaving | Phase::Free);
    if !is_there
        || index >= slot.homes.len()
        || !slot.homes.get(index).is_some_and(|home| is_seat(core, home, seat))
    {
        return;
    }
    let vcpu = slot.read(&mut lifecycle, |partition| partition.vcpus().nth(index));
    let Some(vcpu) = vcpu else { return };
    let Some(share) = share(grown(vcpu.time, slot.homes.extra_us(index))) else { return };
    let Vcpu { cores, priority, .. } = vcpu;
    let terms = Terms { key, share, priority, excess: Excess::Stop, cores };
    core.queue.seat(seat, terms, now);
    drop(lifecycle);
    core.queue.wake(seat, now);
}

/// Whether a home is this core's seat.
fn is_seat(core: &CoreLocal, home: Home, seat: Seat) -> bool {
    home.core == core.id && home.seat.number() == seat.number()
}

/// The partition of a seat is destroyed, and nothing of it is on this core any more; or its vCPU has another budget.
fn look_again(core: &mut CoreLocal, seat: Seat, now: u64) {
    let given = core.shared().map(|shared| shared.inbox.key(seat));
    let seated = core.queue.terms(seat).map(|terms| terms.key);
    let Some(VcpuKey { partition, vcpu }) = seated.or(given) else { return };
    let Some(slot) = core.world.slots.get(usize::from(partition.0)) else { return };
    let index = usize::from(vcpu.0);
    if slot.phase() == Phase::Leaving {
        let _terms = core.queue.remove(seat, now);
        core.wake_at.set(seat, None);
        // A look that comes late finds another partition at the place, whose vCPU may have a seat elsewhere, and still be there.
        if slot.homes.get(index).is_some_and(|home| is_seat(core, home, seat)) {
            slot.homes.vacate(index);
        }
        return;
    }
    let lifecycle = slot.lifecycle.lock();
    // The place may be another's by now, who is seated under its own terms.
    let time = slot.description().vcpus().nth(index).map(|vcpu| vcpu.time);
    let time = time.map(|time| grown(time, slot.homes.extra_us(index)));
    if let Some(Share::Reserved(reservation)) = time.and_then(share) {
        core.queue.reserve(seat, reservation, now);
    }
    drop(lifecycle);
}

/// Takes back what a partition's vCPUs were granted in the life that ends; the lifecycle is locked.
pub(super) fn take_back_time(world: &World, slot: &Slot) {
    let Some(policy) = world.policy else { return };
    for ((index, home), vcpu) in slot.homes.iter().enumerate().zip(slot.description().vcpus()) {
        let extra_us = slot.homes.extra_us(index);
        if extra_us != 0 {
            let ppm = more_ppm(vcpu.time, grown(vcpu.time, extra_us));
            policy.books.lock().cores.shrink(home.core, ppm);
            slot.homes.set_extra_us(index, 0);
            review(world, home);
        }
    }
}

/// How much more of a core is promised with another budget, in ppm.
pub(super) fn more_ppm(before: CoreTime, after: CoreTime) -> u32 {
    let ppm = |time| share(time).map_or(0, Share::ppm);
    ppm(after).saturating_sub(ppm(before))
}

/// Tells the other cores of a vCPU's set that it could come.
pub(super) fn announce(world: &World, cores: CoreSet, home: CoreId) {
    for other in cores.without(CoreSet::one(home)).iter() {
        let Some(shared) = world.cores.get(usize::from(other.0)) else { continue };
        // One that waits does so again, as one that has a lender.
        if shared.lenders.insert(home) && shared.is_up.load(Ordering::Acquire) {
            run::send(world, other, SGI_SCHEDULE);
        }
    }
}

/// Asks a core to look at a seat again: its partition is destroyed, or its vCPU has another budget.
pub(super) fn review(world: &World, home: Home) {
    let shared = world.cores.get(usize::from(home.core.0));
    if shared.is_some_and(|shared| shared.inbox.vacate(home.seat)) {
        run::send(world, home.core, SGI_SCHEDULE);
    }
}
