//! vCPUs that go to other cores, and come home (P5). What goes where is the scheduler's decision
//! (`shikiri_core::sched::lend`); this carries it out.
//!
//! A vCPU's own state (`Own`, with its context) belongs to one core at a time: its home, or the core that it is lent to.
//! The word that hands it over is stored with release and taken with acquire, so that the new core reads what the
//! old one saved (Arm ARM B2.3, *barrier-ordered-before*). Beside its registers a guest may have
//! TLB and cache maintenance under way that it has not waited for; its own DSB will be executed on the new core and
//! would not wait for them. So a DSB is executed here first (Arm ARM B2.3.12 and D8.14: a DSB completes maintenance of the PE
//! that executes it).
//!
//! What a vCPU leaves in a core's TLBs under its VMID does not matter: a vCPU that does not own its core drops all of
//! that VMID, locally, each time that it is loaded (`run::load`).
//!
//! Stopping a vCPU and the partition's worker stay on the home core. So a visitor whose partition does not live any more goes
//! home, and the home calls a core that has such a vCPU of its own.

use shikiri_abi::CoreSet;
use shikiri_arch::hw::Clock;
use shikiri_core::lifecycle::Phase;
use shikiri_core::power::PowerState;
use shikiri_core::sched::{Drained, Homeward, Loan, Returned, Seat, VcpuKey, earlier};

use super::live::Vcpu;
use super::{run, worker};
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, CoreShared};
use crate::regs;
use crate::world::{SGI_SCHEDULE, World};

/// Lets a vCPU that waits here run on an idle core of its set, if there is one. The least time between two loans is a
/// millisecond: what others' coming and going costs this core is bounded by that.
#[inline]
pub(super) fn lend(core: &mut CoreLocal, now: u64) {
    if core.queue.has_to_seek() {
        seek(core, now);
    }
}

#[inline(never)]
fn seek(core: &mut CoreLocal, now: u64) {
    let world = core.world;
    let pause = world.ticks_per_ms;
    let search = core.queue.seek_host(&world.exchange, (now, pause), |key| is_active(world, key));
    if search.again.is_some() {
        core.ask_at = earlier(core.ask_at, search.again);
    }
    if let Some(loan) = search.loan {
        offer(core, loan, now);
    }
}

/// Hands a vCPU over to an idle core.
fn offer(core: &mut CoreLocal, Loan { visitor, to }: Loan, now: u64) {
    if is_here(core, visitor.key) {
        run::unload(core);
    }
    core.wake_at.set(visitor.seat, None);
    regs::dsb_sy();
    let world = core.world;
    let host = world.cores.get(usize::from(to.0));
    match host.map(|host| host.inbox.offer(visitor)) {
        Some(Ok(())) => run::send(world, to, SGI_SCHEDULE),
        // Somebody claimed it the last time that it was idle, and has only now made an offer.
        Some(Err(_)) | None => {
            core.queue.returned(visitor.seat, Returned::Ready, 0, now);
            let again = now.saturating_add(world.ticks_per_ms);
            core.ask_at = core.ask_at.map_or(Some(again), |at| Some(at.min(again)));
        }
    }
}

/// Sends the visitor home. It is not to be touched any more.
#[inline(never)]
pub(super) fn send_visitor_home(core: &mut CoreLocal, how: Returned) {
    if let Some(visitor) = core.queue.dismiss(Counter.now()) {
        send_home(core, visitor, how);
    }
}

/// Sends home what is no visitor any more, its state saved.
#[inline(never)]
pub(super) fn send_home(core: &mut CoreLocal, visitor: Homeward, how: Returned) {
    if is_here(core, visitor.key) {
        run::unload(core);
    }
    regs::dsb_sy();
    let world = core.world;
    let Some(home) = world.cores.get(usize::from(visitor.home.0)) else { return };
    if home.inbox.hand_back(visitor.seat, how, visitor.used) {
        run::send(world, visitor.home, SGI_SCHEDULE);
    }
}

/// Does what the inbox has asked for about vCPUs that move.
#[inline]
pub(super) fn settle(core: &mut CoreLocal, drained: &Drained) {
    if let Some(visitor) = drained.bounce {
        send_home(core, visitor, Returned::Ready);
    }
    if drained.blocked | drained.away != 0 {
        settle_own(core, drained);
    }
}

#[inline(never)]
fn settle_own(core: &mut CoreLocal, drained: &Drained) {
    for seat in Seat::of(drained.blocked) {
        let due = vcpu_of(core, seat).and_then(deadline);
        core.wake_at.set(seat, due);
    }
    // Its partition ends, or the operator wants to see it: the core that has it looks.
    for seat in Seat::of(drained.away) {
        if let Some(host) = core.queue.host_of(seat) {
            run::send(core.world, host, SGI_SCHEDULE);
        }
    }
}

/// The vCPU of a seat of this core; it is not lent.
fn vcpu_of(core: &CoreLocal, seat: Seat) -> Option<&'static Vcpu> {
    let VcpuKey { partition, vcpu } = core.queue.terms(seat)?.key;
    // It has come home and was not stopped: its partition is still there.
    worker::live(core.world.slots.get(usize::from(partition.0))?)?.vcpu(vcpu)
}

/// When a vCPU that came home blocked has to run.
fn deadline(vcpu: &'static Vcpu) -> Option<u64> {
    if vcpu.power.state() == PowerState::Off { None } else { run::deadline(vcpu) }
}

/// Tells cores with too much that this one waits: called before a last WFI. Whether it is to be left afterwards.
#[inline]
pub(super) fn enter_idle(core: &CoreLocal, shared: &CoreShared) -> bool {
    let lenders = shared.lenders.load();
    !lenders.is_empty() && call_lenders(core, lenders)
}

#[inline(never)]
fn call_lenders(core: &CoreLocal, lenders: CoreSet) -> bool {
    let world = core.world;
    let Some(mut called) = core.queue.enter_idle(&world.exchange, lenders) else { return false };
    while let Some(lender) = called.first() {
        called = called.without(CoreSet::one(lender));
        run::send(world, lender, SGI_SCHEDULE);
    }
    true
}

/// This core, which has entered, looks for work again.
#[inline]
pub(super) fn leave_idle(core: &CoreLocal) {
    core.world.exchange.leave_idle(core.id);
}

/// Whether this vCPU's state is on this core.
fn is_here(core: &CoreLocal, key: VcpuKey) -> bool {
    core.loaded.is_some_and(|loaded| {
        loaded.live.slot.number == key.partition && loaded.vcpu.index == key.vcpu
    })
}

/// Whether a vCPU may leave its home: its partition runs.
fn is_active(world: &World, key: VcpuKey) -> bool {
    let slot = world.slots.get(usize::from(key.partition.0));
    slot.is_some_and(|slot| slot.phase() == Phase::Active)
}
