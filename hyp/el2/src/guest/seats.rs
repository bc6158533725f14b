//! vCPUs of partitions that are made at run time take their seats, and leave them. A core touches its own queue alone: whoever
//! gives a seat, or wants it back, leaves a bit in the core's inbox.

use core::sync::atomic::Ordering;

use shikiri_abi::{CoreId, CoreSet};
use shikiri_arch::hw::Clock;
use shikiri_config::{CoreTime, Vcpu};
use shikiri_core::lifecycle::Phase;
use shikiri_core::sched::{Drained, Excess, Reservation, Seat, Share, Terms};

use super::run;
use crate::hw::clock::Counter;
use crate::percore::CoreLocal;
use crate::place::Home;
use crate::world::{SGI_SCHEDULE, World};

/// A vCPU's right to time, in ticks; `None` if it is no reservation.
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
        leave(core, seat, now);
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
    let is_its = |home: Home| home.core == core.id && home.seat.number() == seat.number();
    // One that is being destroyed has left, or will: a wake-up that came late does not seat it again.
    let is_there = !matches!(lifecycle.phase(), Phase::Leaving | Phase::Free);
    if !is_there || index >= slot.homes.len() || !slot.homes.get(index).is_some_and(is_its) {
        return;
    }
    let vcpu = slot.read(&mut lifecycle, |partition| partition.vcpus().nth(index));
    let Some((vcpu, share)) = vcpu.and_then(|vcpu| Some((vcpu, share(vcpu.time)?))) else { return };
    let Vcpu { cores, priority, .. } = vcpu;
    let terms = Terms { key, share, priority, excess: Excess::Stop, cores };
    core.queue.seat(seat, terms, now);
    drop(lifecycle);
    core.queue.wake(seat, now);
}

/// The partition of a seat is destroyed: nothing of it is on this core any more.
fn leave(core: &mut CoreLocal, seat: Seat, now: u64) {
    let Some(key) = core.shared().map(|shared| shared.inbox.key(seat)) else { return };
    let _terms = core.queue.remove(seat, now);
    core.wake_at.set(seat, None);
    if let Some(slot) = core.world.slots.get(usize::from(key.partition.0)) {
        slot.homes.vacate(usize::from(key.vcpu.0));
    }
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

/// Asks a core to let go of a seat.
pub(super) fn vacate(world: &World, home: Home) {
    let shared = world.cores.get(usize::from(home.core.0));
    if shared.is_some_and(|shared| shared.inbox.vacate(home.seat)) {
        run::send(world, home.core, SGI_SCHEDULE);
    }
}
