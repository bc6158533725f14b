//! What a core does when it is not in a guest: looks for work, and finds the next vCPU.

use core::sync::atomic::{Ordering, fence};

use shikiri_abi::{CoreId, IntId, VcpuIndex};
use shikiri_arch::hw::{Clock, Vttbr};
use shikiri_arch::idreg::PmuView;
use shikiri_arch::trap_config::HCR_WAIT_TRAPS;
use shikiri_core::lifecycle::{EndCause, Phase};
use shikiri_core::power::{PowerState, Remaining};
use shikiri_core::sched::{Returned, Seat, VcpuKey, earlier};
use shikiri_vgic::{Here, Sleep, VcpuSet};

use super::context::Context;
use super::live::{Live, Vcpu};
use super::{books, irq, lending, seats, worker};
use crate::hw::clock::{self, Counter};
use crate::percore::{CoreLocal, CoreShared, Leave, Loaded};
use crate::report::{self, Unserved};
use crate::world::{SGI_SCHEDULE, SGI_SYNC, Slot, World};
use crate::{console, regs};

/// The virtual timer's PPI.
pub(crate) const VIRTUAL_TIMER: IntId = IntId(27);
/// The physical timer's PPI, emulated.
pub(crate) const PHYSICAL_TIMER: IntId = IntId(30);

/// Finds the next vCPU, puts it on this core and answers its context. Called by the vectors with the
/// current vCPU's general registers stored, and once when the core starts.
pub(crate) fn reschedule(core: &mut CoreLocal) -> *mut Context {
    carry_out_leave(core);
    loop {
        irq::take_pending(core);
        let now = Counter.now();
        look_at_inbox(core, now);
        wake_due(core, now);
        console::tend_if_due(core, now);
        let decision = core.queue.pick(now);
        core.ask_at = decision.until;
        if let Some(visitor) = decision.give_back {
            lending::send_home(core, visitor, Returned::Ready);
        }
        lending::lend(core, now);
        let Some(key) = decision.run else {
            idle(core);
            continue;
        };
        if let Some(context) = enter(core, key) {
            arm(core);
            return context;
        }
    }
}

/// Carries out what other cores left for this one.
fn look_at_inbox(core: &mut CoreLocal, now: u64) {
    let Some(shared) = core.shared() else { return };
    let drained = core.queue.drain(&shared.inbox, now);
    if drained.unknown | drained.leaving != 0 {
        seats::settle(core, &drained, now);
    }
    lending::settle(core, &drained);
}

/// Wakes the waiting vCPUs whose timers are due.
fn wake_due(core: &mut CoreLocal, now: u64) {
    for seat in Seat::of(core.wake_at.take_due(now)) {
        core.queue.wake(seat, now);
    }
}

/// Programs the hypervisor timer to the earliest of what this core waits for.
pub(crate) fn arm(core: &CoreLocal) {
    let guests = earlier(core.wake_at.next(), core.timer_at);
    clock::arm(earlier(guests, earlier(core.ask_at, core.console_at.get())));
}

/// Waits for an interrupt.
fn idle(core: &mut CoreLocal) {
    arm(core);
    let Some(shared) = core.shared() else { return };
    if !shared.inbox.is_empty() {
        return;
    }
    let before = Counter.now();
    let has_entered = lending::enter_idle(core, shared);
    // WFI also wakes for interrupts that PSTATE masks (Arm ARM D1.6.2); one that came since the inbox was
    // looked at is pending and makes it return at once.
    regs::dsb_sy();
    // A GICv3's SGIs and the timer are system registers, which no DSB orders: without it those that were just sent, and the deadline,
    // may take effect only after the WFI (Arm ARM D24.1.2; IHI 0069, ICC_SGI1R_EL1).
    regs::isb();
    regs::wfi();
    if has_entered {
        lending::leave_idle(core);
    }
    shared.idle_ticks.fetch_add(Counter.now().wrapping_sub(before), Ordering::Relaxed);
}

/// Makes the chosen vCPU this core's current one; `None` if it cannot run now: pick again.
fn enter(core: &mut CoreLocal, key: VcpuKey) -> Option<*mut Context> {
    let slot = core.world.slots.get(usize::from(key.partition.0))?;
    match slot.phase() {
        Phase::Active => enter_active(core, slot, key.vcpu),
        // Its home stops it, and is where its worker is.
        _ if core.queue.is_visitor(key) => {
            lending::send_visitor_home(core, Returned::Ready);
            None
        }
        Phase::Ending => {
            stop(core, slot, key.vcpu);
            None
        }
        Phase::Paused => {
            park(core, slot, key.vcpu);
            None
        }
        _ if key.vcpu == VcpuIndex(0) => {
            unload(core);
            worker::step(core, slot);
            books::compare_step(core, slot);
            None
        }
        Phase::Building
        | Phase::TearingDown
        | Phase::Ended
        | Phase::Held
        | Phase::Free
        | Phase::Created
        | Phase::Leaving => {
            block(core, slot, key.vcpu, None);
            None
        }
    }
}

fn enter_active(
    core: &mut CoreLocal,
    slot: &'static Slot,
    index: VcpuIndex,
) -> Option<*mut Context> {
    let live = worker::live(slot)?;
    let vcpu = live.vcpu(index)?;
    if vcpu.dump_is_wanted.load(Ordering::Acquire) {
        dump(core, live, vcpu);
    }
    if let Some(start) = vcpu.power.take_start() {
        own(vcpu).start(start, mpidr(live, index));
        reset_interrupts(live, index);
        if live.pmu == PmuView::Own {
            super::setup::give_pmu(core.world.format);
        }
    } else if vcpu.power.state() == PowerState::Off {
        block(core, slot, index, None);
        return None;
    }
    if let Some(done) = own(vcpu).clean {
        own(vcpu).clean = worker::clean_step(slot, done);
        return None;
    }
    if is_loaded(core, vcpu) {
        return Some(vcpu.context());
    }
    if own(vcpu).is_waiting && fall_asleep(core, live, vcpu) {
        return None;
    }
    own(vcpu).is_waiting = false;
    if let Some(start) = vcpu.power.resume() {
        own(vcpu).context.start(start.entry, start.context, mpidr(live, index));
    }
    unload(core);
    load(core, live, vcpu);
    Some(vcpu.context())
}

/// Shows a vCPU's registers, which are in memory while it is off this core, or leaves it for when the console has room.
fn dump(core: &mut CoreLocal, live: &'static Live, vcpu: &'static Vcpu) {
    let on = is_loaded(core, vcpu).then_some(core.id);
    if on.is_some() {
        unload(core);
    }
    // Before it is written: what is asked for meanwhile is another one.
    vcpu.dump_is_wanted.store(false, Ordering::Relaxed);
    if report::dump(core.world, on, live, vcpu) {
        // The guest goes on at once, and may make no exit for long: the hypervisor's timer brings this core to the console. Who has
        // found no room does not come back by itself: many that did would keep each other from the console's lock.
        core.console_at.set(Some(Counter.now()));
    } else {
        vcpu.dump_is_wanted.store(true, Ordering::Release);
    }
}

/// The CPU interface as after a reset.
fn reset_interrupts(live: &Live, index: VcpuIndex) {
    live.devices.lock().vgic(&live.quicks).reset_interface(index);
}

/// What a vCPU reads as MPIDR_EL1: RES1 bit 31 and its affinity.
fn mpidr(live: &Live, index: VcpuIndex) -> u64 {
    (1 << 31) | live.gic.affinity(index)
}

fn is_loaded(core: &CoreLocal, vcpu: &Vcpu) -> bool {
    core.loaded.is_some_and(|loaded| core::ptr::eq(loaded.vcpu, vcpu))
}

/// Whether a waiting vCPU has an interrupt or a timer that is due.
fn has_reason_to_run(core: &CoreLocal, live: &'static Live, vcpu: &'static Vcpu) -> bool {
    if is_due(vcpu) {
        return true;
    }
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: None };
    let mut devices = live.devices.lock();
    let mut vgic = devices.vgic(&live.quicks);
    if vgic.has_deliverable(here, vcpu.index, sleep(vcpu)) {
        return true;
    }
    // Another vCPU may have ended it since this one left its core.
    if !own(vcpu).timer_active || vgic.holds_physical(vcpu.index, VIRTUAL_TIMER) {
        return false;
    }
    own(vcpu).timer_active = false;
    is_due(vcpu)
}

fn is_due(vcpu: &Vcpu) -> bool {
    deadline(vcpu).is_some_and(|due| due <= Counter.now())
}

/// How a vCPU waits: only a suspended one has its power down.
fn sleep(vcpu: &Vcpu) -> Sleep {
    if vcpu.power.is_suspended() { Sleep::PowerDown } else { Sleep::Standby }
}

/// When a vCPU that is off its core has to be back: the earlier of its two timers, unless masked.
#[unsafe(link_section = ".text.hot")]
pub(crate) fn deadline(vcpu: &Vcpu) -> Option<u64> {
    let own = own(vcpu);
    let context = &own.context;
    // CNT*_CTL: enabled and not masked. CNTVOFF is zero: both compare against the system counter.
    let virtual_due = (context.cntv_ctl & 3 == 1 && !own.timer_active).then_some(context.cntv_cval);
    earlier(virtual_due, own.timer.deadline())
}

/// Takes a vCPU out of the race on its seat until it is woken, or until `due`. It is on no core. A visitor goes home,
/// which keeps its timers: after this it is not to be touched.
pub(crate) fn block(core: &mut CoreLocal, slot: &Slot, index: VcpuIndex, due: Option<u64>) {
    if core.queue.is_visitor(VcpuKey { partition: slot.number, vcpu: index }) {
        return lending::send_visitor_home(core, Returned::Blocked);
    }
    let Some(home) = slot.homes.get(usize::from(index.0)) else { return };
    core.queue.block(home.seat, Counter.now());
    core.wake_at.set(home.seat, due);
}

/// Carries out what the last exit left to be done once the vCPU's registers are stored.
fn carry_out_leave(core: &mut CoreLocal) {
    match core::mem::take(&mut core.leave) {
        Leave::Nothing => {}
        Leave::Wait => wait(core),
        Leave::Suspend(start) => {
            if let Some(Loaded { vcpu, .. }) = core.loaded {
                vcpu.power.suspend(start);
            }
            wait(core);
            come_back(core);
        }
        Leave::Off => turn_off(core),
        Leave::Fault(exit) => fault(core, exit),
        Leave::CleanMemory => {
            if let Some(Loaded { vcpu, .. }) = core.loaded {
                own(vcpu).clean = Some(0);
            }
        }
    }
}

/// The current vCPU turns itself off (PSCI CPU_OFF).
fn turn_off(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else { return };
    unload(core);
    let kick = {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: None };
        live.devices.lock().vgic(&live.quicks).set_offline(here, vcpu.index)
    };
    kick_vcpus(core.world, live, kick);
    if vcpu.power.turn_off(&live.powered) == Remaining::None {
        worker::end(core.world, live.slot, EndCause::Off);
    }
    // Last: a visitor is its home's from here on. Who has turned it on again since has left a bit in its home's inbox,
    // which is looked at after this.
    block(core, live.slot, vcpu.index, None);
}

/// The current vCPU has made an exit that cannot be served: its partition ends, with a report.
fn fault(core: &mut CoreLocal, exit: Unserved) {
    let Some(loaded) = core.loaded else { return };
    // The report reads its registers from memory.
    unload(core);
    report::fault(core.world, core.id, loaded, exit);
    worker::end(core.world, loaded.live.slot, EndCause::Fault);
}

/// A suspended vCPU for which an interrupt was there already: goes on at its entry at once.
fn come_back(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else { return };
    // Its EL1 state on the core is the old one: it is loaded anew with the state of its start.
    unload(core);
    if let Some(start) = vcpu.power.resume() {
        own(vcpu).context.start(start.entry, start.context, mpidr(live, vcpu.index));
    }
}

/// The current vCPU waits for an interrupt (WFI, CPU_SUSPEND): takes it off the core unless one is there.
#[unsafe(link_section = ".text.hot")]
fn wait(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else { return };
    own(vcpu).is_waiting = true;
    let is_deliverable = {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
        live.devices.lock().vgic(&live.quicks).has_deliverable(here, vcpu.index, sleep(vcpu))
    };
    if is_deliverable {
        own(vcpu).is_waiting = false;
        return;
    }
    // Its list registers go back to memory under the lock; whoever raises an interrupt afterwards finds it
    // on no core and wakes its seat.
    unload(core);
    fall_asleep(core, live, vcpu);
}

/// Takes a waiting vCPU that is on no core out of the race, unless there is something for it already: false.
///
/// Whoever raises an interrupt first changes the virtual GIC, under its lock, and then looks at `is_asleep`; here it is
/// the other way round, so that one of the two sees the other.
#[unsafe(link_section = ".text.hot")]
fn fall_asleep(core: &mut CoreLocal, live: &'static Live, vcpu: &'static Vcpu) -> bool {
    vcpu.is_asleep.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if has_reason_to_run(core, live, vcpu) {
        vcpu.is_asleep.store(false, Ordering::SeqCst);
        return false;
    }
    block(core, live.slot, vcpu.index, deadline(vcpu));
    true
}

/// Takes a vCPU of a paused partition off this core until it is woken. Under the lifecycle's lock, as in [`stop`].
fn park(core: &mut CoreLocal, slot: &'static Slot, index: VcpuIndex) {
    block(core, slot, index, None);
    let lifecycle = slot.lifecycle.lock();
    if lifecycle.phase() != Phase::Paused {
        return;
    }
    let vcpu = worker::live(slot).and_then(|live| live.vcpu(index));
    if vcpu.is_some_and(|vcpu| is_loaded(core, vcpu)) {
        unload(core);
        core.timer_at = None;
    }
}

/// Stops a vCPU of a partition that ends; the last one hands over to the worker.
///
/// Under the lifecycle's lock: a seat may be woken again after its vCPU has stopped, and then only the phase
/// says whether the incarnation is still there to be looked at.
fn stop(core: &mut CoreLocal, slot: &'static Slot, index: VcpuIndex) {
    block(core, slot, index, None);
    let mut lifecycle = slot.lifecycle.lock();
    if lifecycle.phase() != Phase::Ending {
        return;
    }
    let Some(vcpu) = worker::live(slot).and_then(|live| live.vcpu(index)) else { return };
    if vcpu.has_stopped.swap(true, Ordering::AcqRel) {
        return;
    }
    if is_loaded(core, vcpu) {
        unload(core);
        core.timer_at = None;
    }
    if worker::live(slot).is_some_and(|live| live.pmu == PmuView::Own) {
        super::setup::take_pmu(core.world.format);
    }
    let is_last =
        worker::live(slot).is_some_and(|live| live.to_stop.fetch_sub(1, Ordering::AcqRel) == 1);
    if is_last {
        lifecycle.stopped();
        slot.set_phase(lifecycle.phase());
        drop(lifecycle);
        wake(core.world, slot, VcpuIndex(0));
    }
}

/// Puts a vCPU's state on this core.
fn load(core: &mut CoreLocal, live: &'static Live, vcpu: &'static Vcpu) {
    own(vcpu).context.load(Vttbr(live.vttbr), vcpu.is_shared);
    super::setup::set_hcr(core.hcr | if vcpu.is_shared { HCR_WAIT_TRAPS } else { 0 });
    let interface = core.interface(live);
    let kick = {
        let mut devices = live.devices.lock();
        vcpu.set_loaded_on(Some(core.id));
        // Before the mail is looked at, without which nobody would serve what comes just now (`ring`).
        fence(Ordering::SeqCst);
        let mut vgic = devices.vgic(&live.quicks);
        if own(vcpu).timer_active && vgic.holds_physical(vcpu.index, VIRTUAL_TIMER) {
            core.gic.private().set_active(VIRTUAL_TIMER);
            // There before the timer can raise it: its handler is not done.
            regs::dsb_sy();
        }
        vgic.load(&interface, vcpu.index)
    };
    own(vcpu).context.start_timer();
    if !kick.is_empty() {
        kick_vcpus(core.world, live, kick);
    }
    core.context = vcpu.context();
    core.loaded = Some(Loaded { live, vcpu });
    irq::update_physical_timer(core);
}

/// Takes the vCPU that is on this core, if any, off it.
#[unsafe(link_section = ".text.hot")]
pub(crate) fn unload(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded.take() else { return };
    own(vcpu).context.save();
    let interface = core.interface(live);
    let kick = {
        let mut devices = live.devices.lock();
        let kick = devices.vgic(&live.quicks).unload(&interface, vcpu.index);
        let is_held = devices.vgic(&live.quicks).holds_physical(vcpu.index, VIRTUAL_TIMER);
        own(vcpu).timer_active = is_held;
        vcpu.set_loaded_on(None);
        kick
    };
    // The PPI's physical active state belongs to this vCPU; the next one's timer must come through.
    core.gic.private().clear_active(VIRTUAL_TIMER);
    core.timer_at = None;
    kick_vcpus(core.world, live, kick);
}

/// Reaches vCPUs whose interrupts have changed: by an SGI where they are loaded, else by waking their seats.
///
/// What changed is in memory before it is looked up here where each of them is; one that goes to sleep, or is
/// put on a core, says so before it looks for changes (`fall_asleep`, `load`). A fence on each side makes one of the two
/// see the other (mail takes no lock).
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
pub(crate) fn kick_vcpus(world: &World, live: &Live, vcpus: VcpuSet) {
    for index in vcpus {
        // One that sleeps is worth a word to its home core, once; one that is ready, off or out of budget
        // finds the interrupt when its turn comes. Else a sibling's kicks would cost the core's others.
        if !ring(world, live, index)
            && live.vcpu(index).is_some_and(|vcpu| vcpu.is_asleep.swap(false, Ordering::SeqCst))
        {
            wake(world, live.slot, index);
        }
    }
}

/// The first half of [`kick_vcpus`], for one vCPU: false if it is loaded nowhere.
#[inline(always)]
pub(crate) fn ring(world: &World, live: &Live, index: VcpuIndex) -> bool {
    fence(Ordering::SeqCst);
    let on = live.vcpu(index).and_then(Vcpu::loaded_on);
    let shared = on.and_then(|core| world.cores.get(usize::from(core.0)));
    let Some(target) = shared.and_then(CoreShared::announced) else { return false };
    // What was stored before the SGI is visible where it arrives.
    regs::dsb_ishst();
    world.gic.send_sgi(IntId(SGI_SYNC), target);
    true
}

/// Wakes a vCPU's seat on its home core.
pub(crate) fn wake(world: &World, slot: &Slot, index: VcpuIndex) {
    let Some(home) = slot.homes.get(usize::from(index.0)) else { return };
    let Some(shared) = world.cores.get(usize::from(home.core.0)) else { return };
    if shared.inbox.wake(home.seat) {
        send(world, home.core, SGI_SCHEDULE);
    }
}

/// Sends an SGI to a core; what was stored before is visible there.
pub(crate) fn send(world: &World, core: CoreId, sgi: u16) {
    if let Some(shared) = world.cores.get(usize::from(core.0)) {
        regs::dsb_ishst();
        world.gic.send_sgi(IntId(sgi), shared.target());
    }
}

/// The own state of a vCPU that has its seat, or is loaded, on this core.
#[expect(unsafe_code, reason = "the scheduler's contract makes the access exclusive")]
#[expect(clippy::mut_from_ref, reason = "a cell, exclusive by contract")]
pub(crate) fn own(vcpu: &Vcpu) -> &mut super::live::Own {
    // SAFETY: callers in this file handle vCPUs that the run queue of this core answered or that are loaded
    // here; the run queues give each vCPU to one core at a time. References live for one statement or are the
    // only ones in their function.
    unsafe { vcpu.own() }
}
