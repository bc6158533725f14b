//! A partition's worker: builds it, and takes it apart, in the time of its vCPU 0.
#![expect(unsafe_code, reason = "publishes an incarnation to the cores")]

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use shikiri_abi::{Hold, IntId, PAGE_BYTES, PageCount, PartitionId, VcpuIndex};
use shikiri_arch::hw::{Clock, PhysMem};
use shikiri_arch::idreg::PmuView;
use shikiri_config::{GicVersion, Partition, Talk, Windows};
use shikiri_core::area::AreaSizes;
use shikiri_core::lifecycle::{After, EndCause, Farewell, Lifecycle, Phase, WrongPhase};
use shikiri_core::partition::build::Builder;
use shikiri_core::partition::{BuildError, Holdings};
use shikiri_core::party::Refusal;
use shikiri_core::party::{PartyState, Sizes};
use shikiri_core::policy::Notice;
use shikiri_core::power::{LiveVcpus, Start};
use shikiri_core::sysreg::PhysicalTimer;
use shikiri_core::vuart::VirtualUart;
use shikiri_pages::{Frames, PageBox, PageSlice};
use shikiri_stage2::{WindowSizes, invalidate};
use shikiri_sync::TicketLock;
use shikiri_vgic::{CpuInterface, Distributor, Model, Quick, QuickSpis};

use super::context::Context;
use super::live::{Devices, Live, Own, Quicks, Vcpu};
use super::{books, message, policy, run, seats, share, talk};
use crate::boot::log;
use crate::console::{self, say};
use crate::hw::clock::Counter;
use crate::hw::gic::SharedInterrupts;
use crate::hw::mem::Ram;
use crate::hw::tlb::MachineTlb;
use crate::percore::CoreLocal;
use crate::place::Home;
use crate::world::{Slot, Work, World};

/// The most bytes that one step of cleaning takes.
const CLEAN_STEP_BYTES: u64 = 256 << 10;

/// The incarnation that the cores may look at.
#[inline]
pub(crate) fn live(slot: &Slot) -> Option<&'static Live> {
    let live = slot.live.load(Ordering::Acquire);
    // SAFETY: published by `build_step` and withdrawn by `tear_down` only after each of its vCPUs has stopped, and
    // dissolved when nobody visits it; callers hold a vCPU of it, or the lifecycle's lock while it is held, active or paused, or are its worker,
    // or visit it (`guest::talk`), or compare all books (`guest::books`).
    unsafe { live.as_ref() }
}

/// Starts a partition: its worker builds it next.
pub(crate) fn start(world: &World, slot: &Slot) -> Result<PartitionId, Phase> {
    let id = announce(world, slot)?;
    run::wake(world, slot, VcpuIndex(0));
    Ok(id)
}

/// Begins a life of which the console tells; the partition's vCPU 0 is still to be woken.
pub(crate) fn announce(world: &World, slot: &Slot) -> Result<PartitionId, Phase> {
    let mut lifecycle = slot.lifecycle.lock();
    let hold = lifecycle.hold();
    let id = begin_life(world, slot, &mut lifecycle, hold).map_err(|wrong| wrong.0)?;
    slot.is_quiet.store(false, Ordering::Relaxed);
    Ok(id)
}

/// Begins a life of an ended partition under a new id; its vCPU 0 is still to be woken.
pub(super) fn begin_life(
    world: &World,
    slot: &Slot,
    lifecycle: &mut Lifecycle,
    hold: Hold,
) -> Result<PartitionId, WrongPhase> {
    // An id is taken by a life, and by nothing that is refused.
    // Nor one that is without its devices; what was done with them comes before what this life does.
    if lifecycle.phase() != Phase::Ended || slot.given.load(Ordering::Acquire) != 0 {
        return Err(WrongPhase(lifecycle.phase()));
    }
    let id = PartitionId(world.next_id.fetch_add(1, Ordering::Relaxed));
    lifecycle.start(id, hold)?;
    slot.set_phase(lifecycle.phase());
    Ok(id)
}

/// Ends a partition: every core that has a vCPU of it is asked to stop it. Answers in which phase it was.
pub(crate) fn end(world: &World, slot: &Slot, cause: EndCause) -> Phase {
    let mut lifecycle = slot.lifecycle.lock();
    let was = lifecycle.phase();
    let is_to_stop = end_life(world, slot, &mut lifecycle, cause);
    drop(lifecycle);
    if is_to_stop {
        wake_all(world, slot);
    }
    was
}

/// Asks for the end of a life, or calls the next one off; true if its vCPUs are to be woken, so that their cores stop them.
pub(super) fn end_life(
    world: &World,
    slot: &Slot,
    lifecycle: &mut Lifecycle,
    cause: EndCause,
) -> bool {
    let was_to_restart = lifecycle.restart_at().is_some();
    let is_to_stop = lifecycle.end(cause);
    slot.set_phase(lifecycle.phase());
    if was_to_restart && lifecycle.restart_at().is_none() {
        // It kept its console for the next life. Under the lifecycle's lock: a life that somebody begins now attaches it again.
        console::detach(world, slot);
    }
    is_to_stop
}

/// Wakes all of a partition's seats: each core looks what has become of its vCPU.
pub(crate) fn wake_all(world: &World, slot: &Slot) {
    for index in (0..=u8::MAX).take(slot.homes.len()) {
        run::wake(world, slot, VcpuIndex(index));
    }
}

/// One bounded step of whatever the partition needs. Its vCPU 0's seat was picked.
pub(crate) fn step(core: &mut CoreLocal, slot: &'static Slot) {
    match slot.phase() {
        Phase::Building => build(core, slot),
        Phase::TearingDown => tear_down(core, slot),
        Phase::Ended => restart_if_due(core, slot),
        // It waits for the policy program.
        Phase::Held | Phase::Free | Phase::Created | Phase::Leaving => {
            run::block(core, slot, VcpuIndex(0), None);
        }
        Phase::Active | Phase::Paused | Phase::Ending => {}
    }
}

/// The next life begins under the lock under which it was found due: whoever calls it off has called it off.
fn restart_if_due(core: &mut CoreLocal, slot: &'static Slot) {
    let mut lifecycle = slot.lifecycle.lock();
    let (due, hold) = (lifecycle.restart_at(), lifecycle.hold());
    if due.is_some_and(|due| due <= Counter.now())
        && begin_life(core.world, slot, &mut lifecycle, hold).is_ok()
    {
        // Its seat stays ready: the next step builds.
        slot.is_quiet.store(false, Ordering::Relaxed);
        return;
    }
    drop(lifecycle);
    run::block(core, slot, VcpuIndex(0), due);
}

fn build(core: &mut CoreLocal, slot: &'static Slot) {
    let world = core.world;
    if let Some(live) = live(slot) {
        match open(core, live) {
            Ok(true) => {
                slot.has_ends.store(true, Ordering::Release);
                if world.may_start(live) {
                    become_active(core, live);
                }
            }
            Ok(false) => {}
            Err((what, refusal)) => {
                let (status, _) = refusal.answer();
                let why = format_args!("no room for {what} of the description ({status})");
                give_up(world, slot, live.id, why);
            }
        }
        return;
    }
    // Before the work's lock: the lifecycle's comes first in the order.
    let (id, starts) = {
        let lifecycle = slot.lifecycle.lock();
        (lifecycle.id(), lifecycle.starts())
    };
    let mut work = slot.work.lock();
    let result = if let Some(begun) = work.as_mut() {
        let built = build_step(core, slot, begun, starts);
        // Who gives up takes the lifecycle's lock.
        drop(work);
        built
    } else {
        drop(work);
        // Nobody else begins it; under the lifecycle's lock a limit is set before or behind this.
        let lifecycle = slot.lifecycle.lock();
        let begun = begin(world, slot, &lifecycle).map(|begun| *slot.work.lock() = Some(begun));
        drop(lifecycle);
        begun
    };
    if let Err(error) = result {
        give_up(world, slot, id, format_args!("{error}"));
    }
}

/// One bounded step towards what the partition has by the description, in the order that its handles and slots have: its events'
/// ports, its shared areas, its ends of channels. True when it has all. For whatever there is no room is told.
fn open(core: &CoreLocal, live: &Live) -> Result<bool, (&'static str, Refusal)> {
    Ok(talk::open_event(core, live).map_err(|refusal| ("an event", refusal))?
        && share::open_area(core, live).map_err(|refusal| ("a shared area", refusal))?
        && message::open_channel(core, live).map_err(|refusal| ("a channel", refusal))?)
}

/// A partition that cannot be built is taken apart.
fn give_up(world: &World, slot: &Slot, id: PartitionId, why: core::fmt::Arguments<'_>) {
    let mut lifecycle = slot.lifecycle.lock();
    lifecycle.failed();
    slot.set_phase(lifecycle.phase());
    drop(lifecycle);
    say!(world, "partition {} (id {}) cannot be started: {why}", slot.description().name, id.0);
}

/// A new incarnation that owns a VMID and nothing else. The lifecycle is locked, and the work is not: the books come between
/// them in the order.
fn begin(world: &World, slot: &Slot, lifecycle: &Lifecycle) -> Result<Work, BuildError> {
    let taken = world.vmids.lock().take().ok_or(BuildError::NoVmid)?;
    let vmid = taken.flushed_with(|vmid| {
        invalidate::whole_vmid(&MachineTlb, shikiri_arch::hw::Vttbr::new(shikiri_abi::Pa(0), vmid));
    });
    let mut builder = Builder::new(world.format, vmid.vmid(), world.virtual_cpu_interface(slot));
    let mut holdings = Holdings::new(lifecycle.id(), slot.number);
    if lifecycle.starts() == 1 && !slot.is_spare() && slot.description().autostart {
        // The boot has compared them a moment ago.
        builder = builder.with_checked_images();
    }
    if policy::set_limits(world, slot, holdings.account_mut()) {
        builder = builder.with_limits();
    }
    Ok(Work { holdings, builder: Some(builder), vmid: Some(vmid), live: None })
}

/// The next step; the last one publishes the incarnation.
fn build_step(
    core: &CoreLocal,
    slot: &'static Slot,
    work: &mut Work,
    starts: u32,
) -> Result<(), BuildError> {
    let world = core.world;
    if let Some(builder) = work.builder.as_mut() {
        let machine = (&Ram, &MachineTlb, &world.frames);
        if builder.step(&mut work.holdings, slot.description(), &world.bundle, machine)? {
            work.builder = None;
        }
        return Ok(());
    }
    if work.live.is_none() {
        work.live = Some(make_live(core, slot, &mut work.holdings, starts)?);
    }
    let Some(live) = &mut work.live else { return Ok(()) };
    add_talk(core, live, &mut work.holdings)?;
    // Complete: from here on peers find it, and its end lets go of them.
    let live: &Live = live;
    slot.live.store(core::ptr::from_ref(live).cast_mut(), Ordering::Release);
    Ok(())
}

/// The records that the cores need of it.
fn make_live(
    core: &CoreLocal,
    slot: &'static Slot,
    holdings: &mut Holdings,
    starts: u32,
) -> Result<PageBox<Live>, BuildError> {
    let world = core.world;
    let description = slot.description();
    let count = slot.homes.len();
    let vttbr = holdings.stage2().map_or(0, |stage2| stage2.vttbr().0);
    let [for_distributor, for_interfaces, for_quicks, for_vcpus, for_live] = take_all(
        core,
        holdings,
        [
            PageBox::<Distributor>::PAGES,
            PageSlice::<CpuInterface>::pages(count),
            PageSlice::<Quick>::pages(count),
            PageSlice::<Vcpu>::pages(count),
            PageBox::<Live>::PAGES,
        ],
    )?;
    let distributor = PageBox::<Distributor>::zeroed(for_distributor, &Ram);
    let interfaces = PageSlice::from_fn(for_interfaces, count, |_| CpuInterface::new());
    let quicks = PageSlice::from_fn(for_quicks, count, |_| Quick::new());
    let mut homes = slot.homes.iter();
    let vcpus = PageSlice::from_fn(for_vcpus, count, |index| {
        let Some(home) = homes.next() else { unreachable!("a vCPU without a home") };
        make_vcpu(home, index)
    });
    let devices = Devices { distributor, interfaces, uart: VirtualUart::new(), talk: None };
    let mut live = PageBox::new(
        for_live,
        Live {
            id: holdings.account().owner(),
            slot,
            vttbr,
            platform: description.platform,
            gic: world.bundle.board().gic,
            has_console: description.has_console,
            pmu: if description.has_pmu { PmuView::Own } else { PmuView::Hidden },
            starts,
            vcpu_count: u64::try_from(count).unwrap_or(0),
            usable: AtomicU8::new(description.usable_vcpus()),
            given: AtomicU64::new(0),
            devices: TicketLock::with_key(devices, u32::from(slot.number.0)),
            quicks: Quicks { vcpus: quicks, spis: QuickSpis::new() },
            talk: None,
            events_opened: AtomicUsize::new(0),
            shared_opened: AtomicUsize::new(0),
            channels_opened: AtomicUsize::new(0),
            vcpus,
            powered: LiveVcpus::new(),
            to_stop: AtomicU32::new(u32::try_from(count).unwrap_or(u32::MAX)),
        },
    );
    configure(core, &mut live);
    Ok(live)
}

/// What a partition needs that may talk.
fn add_talk(core: &CoreLocal, live: &mut Live, holdings: &mut Holdings) -> Result<(), BuildError> {
    let description = live.slot.description();
    let Talk { handles, requests, .. } = description.talk;
    if handles == 0 {
        return Ok(());
    }
    let store = &core.world.frames;
    let vcpus = u8::try_from(live.vcpu_count).unwrap_or(u8::MAX);
    let state = PartyState::new(live.id, live.slot.number, vcpus, usable(description));
    let windows = description.windows;
    if !windows.is_none() && holdings.areas().is_none() {
        let Windows { pages, blocks, giants, channels, shared } = windows;
        let sizes = WindowSizes { pages, blocks, giants };
        let sizes = AreaSizes { windows: sizes, ports: channels, shares: shared };
        sizes.build(holdings, (&Ram, &MachineTlb, store))?;
    }
    let (tables, locked) = Sizes { handles, requests }.build(holdings, store, state)?;
    live.talk = Some(tables);
    live.devices.get_mut().talk = Some(locked);
    Ok(())
}

/// The SPIs of a partition that nothing else uses, 32 to a word.
fn usable(description: &Partition<'_>) -> [u32; 32] {
    let mut usable = [0; 32];
    let mut set = |IntId(intid): IntId, is_usable: bool| {
        if let Some(word) = usable.get_mut(usize::from(intid >> 5)) {
            let bit = 1 << (intid & 31);
            *word = if is_usable { *word | bit } else { *word & !bit };
        }
    };
    let IntId(first) = IntId::FIRST_SPI;
    (first..)
        .take(usize::from(description.platform.spis))
        .for_each(|intid| set(IntId(intid), true));
    if description.has_console {
        set(description.platform.uart_intid, false);
    }
    description.interrupts().for_each(|interrupt| set(interrupt.virtual_id, false));
    usable
}

/// The description compiler counts on these, and refuses a limit of management memory below them.
const _: () = {
    let least = shikiri_config::RecordBytes::LEAST;
    assert!(size_of::<Distributor>() >= least.distributor);
    assert!(size_of::<CpuInterface>() >= least.interface);
    assert!(size_of::<Quick>() >= least.quick);
    assert!(size_of::<Vcpu>() >= least.vcpu);
    assert!(size_of::<Live>() >= least.live);
};

/// Takes frames for several records, or for none: what was taken before a refusal goes back.
fn take_all<const N: usize>(
    core: &CoreLocal,
    holdings: &mut Holdings,
    sizes: [PageCount; N],
) -> Result<[Frames; N], BuildError> {
    let store = &core.world.frames;
    let mut refusal = BuildError::NoMemory(PageCount(0));
    let taken = sizes.map(|pages| match holdings.take_management(store, pages, PAGE_BYTES) {
        Ok(frames) => Some(frames),
        Err(error) => {
            refusal = error;
            None
        }
    });
    if taken.iter().all(Option::is_some) {
        let mut frames = taken.into_iter().flatten();
        return Ok(core::array::from_fn(|_| {
            let Some(frames) = frames.next() else { unreachable!("as many as were taken") };
            frames
        }));
    }
    for frames in taken.into_iter().flatten() {
        holdings.give_management(store, frames);
    }
    Err(refusal)
}

fn make_vcpu(home: Home, index: usize) -> Vcpu {
    let own = Own {
        context: Context::new(),
        timer: PhysicalTimer::new(),
        is_waiting: false,
        timer_active: false,
        clean: None,
    };
    Vcpu::new(own, VcpuIndex(u8::try_from(index).unwrap_or(0)), home)
}

/// Sets the virtual devices up.
fn configure(core: &CoreLocal, live: &mut Live) {
    let model = match live.gic {
        GicVersion::V2 => Model::V2,
        GicVersion::V3 => Model::V3,
    };
    let slot = live.slot;
    let devices = live.devices.get_mut();
    devices.uart.reset(&slot.port);
    let mut vgic = devices.vgic(&live.quicks);
    vgic.configure(model, live.platform.spis);
    // Behind the SPI of a device that is kept back there is nothing yet; the physical one was disabled with the life before.
    let description = slot.description();
    for interrupt in description.interrupts().filter(|it| !description.keeps_back(it.path)) {
        let _is_there = vgic.link(interrupt.virtual_id, interrupt.physical);
    }
    vgic.reset(&SharedInterrupts(&core.world.gic));
    // What the guest's registers say after a reset: SPIs go to vCPU 0. The guest's own routes win afterwards.
    let home = slot.homes.get(0).and_then(|home| core.world.cores.get(usize::from(home.core.0)));
    if let Some(home) = home {
        for interrupt in slot.description().interrupts() {
            core.world.gic.route(interrupt.physical, home.target());
        }
    }
}

/// A complete incarnation begins to run, or is held.
fn become_active(core: &CoreLocal, live: &Live) {
    let (world, slot) = (core.world, live.slot);
    let mut lifecycle = slot.lifecycle.lock();
    let phase = lifecycle.built();
    if phase == Phase::Active {
        let_run(world, live);
    }
    slot.set_phase(phase);
    drop(lifecycle);
    policy::tell_of_start(core);
}

/// Turns the first vCPU on, which is still to be woken, and lets the console appear; under the lifecycle's lock, before its phase
/// is known.
pub(super) fn let_run(world: &World, live: &Live) {
    let slot = live.slot;
    let description = slot.description();
    let Some(first) = live.vcpu(VcpuIndex(0)) else { return };
    let start = Start { entry: description.entry.0, context: description.x0 };
    // It is off: nobody else knows it yet.
    let _was_off = first.power.turn_on(&live.powered, start);
    log::first_start(description.name);
    console::attach(world, slot);
    if !slot.is_quiet.load(Ordering::Relaxed) {
        let (name, core) = (description.name, first.home.0);
        say!(world, "partition {name} (id {}) starts on core {core}", live.id.0);
    }
}

fn tear_down(core: &mut CoreLocal, slot: &'static Slot) {
    let world = core.world;
    if let Some(live) = live(slot) {
        // Peers still find it, until nothing of it is left at them.
        if message::leave_step(core, live) {
            slot.live.store(core::ptr::null_mut(), Ordering::Release);
            books::leave(slot);
        }
        return;
    }
    if !talk::is_unvisited(world, slot) {
        return;
    }
    let mut place = slot.work.lock();
    let Some(work) = place.as_mut() else {
        drop(place);
        finish(core, slot);
        return;
    };
    if let Some(live) = work.live.take() {
        dissolve(core, live, &mut work.holdings);
        return;
    }
    if !work.holdings.tear_down(&Ram, &MachineTlb, &world.frames) {
        return;
    }
    // Every line is back at zero; anything else is our bug and must not be built upon.
    assert!(work.holdings.account().is_zero(), "an ended partition's account is not zero");
    let held = world.frames.held(slot.number);
    assert!(held.0 == 0, "an ended partition has {} frames in the ledger", held.0);
    if let Some(vmid) = work.vmid.take() {
        world.vmids.lock().give(vmid);
    }
    *place = None;
    drop(place);
    finish(core, slot);
}

/// Cleans the next stretch of a partition's memory to the point of coherency, for a guest that maintains its
/// caches by set and way: on a shared machine that can only be done by address. `done` counts the bytes of all
/// its regions; answers how far it is now, or `None` at the end. Between two stretches the scheduler decides, and
/// the vCPU's time runs.
pub(crate) fn clean_step(slot: &Slot, done: u64) -> Option<u64> {
    let mut before = 0_u64;
    for memory in slot.description().memory() {
        let offset = done.saturating_sub(before);
        if offset < memory.bytes {
            let work = slot.work.lock();
            let holdings = work.as_ref().map(|work| &work.holdings);
            let (pa, left) =
                holdings.and_then(|it| it.translate(memory.ipa.wrapping_add(offset)))?;
            drop(work);
            let step = left.min(CLEAN_STEP_BYTES);
            Ram.clean_invalidate(pa, step);
            return Some(done.saturating_add(step));
        }
        before = before.saturating_add(memory.bytes);
    }
    None
}

/// Gives the records of an incarnation back. No core looks at it any more.
fn dissolve(core: &CoreLocal, mut live: PageBox<Live>, holdings: &mut Holdings) {
    let store = &core.world.frames;
    let records = &mut *live;
    records.devices.get_mut().vgic(&records.quicks).reset(&SharedInterrupts(&core.world.gic));
    let (live, frames) = live.into_parts();
    holdings.give_management(store, frames);
    let Live { devices, quicks, talk, vcpus, .. } = live;
    let Devices { distributor, interfaces, talk: locked, .. } = devices.into_inner();
    if let Some((tables, locked)) = talk.zip(locked) {
        tables.give(locked, holdings, store);
    }
    holdings.give_management(store, distributor.into_frames());
    holdings.give_management(store, interfaces.into_frames());
    holdings.give_management(store, quicks.vcpus.into_frames());
    holdings.give_management(store, vcpus.into_frames());
}

/// The partition has ended: says so, and arranges what follows.
fn finish(core: &mut CoreLocal, slot: &'static Slot) {
    let world = core.world;
    let mut lifecycle = slot.lifecycle.lock();
    seats::take_back_time(world, slot);
    let now = Counter.now();
    let after = lifecycle.torn_down(slot.description().restart, now, world.ticks_per_ms);
    let (id, cause) = (lifecycle.id(), lifecycle.cause());
    slot.set_phase(lifecycle.phase());
    drop(lifecycle);
    let name = slot.description().name;
    if let Some(cause) = cause {
        let restarts = matches!(after, After::StartAt(_));
        policy::note_end(core, Notice { place: slot.number, id, cause, restarts, missed: 0 });
    }
    if let Some(cause) = cause {
        let makes_policy = world.policy.and_then(|policy| policy.holder) == Some(slot.number);
        let farewell = Farewell { name, id, cause, after, makes_policy };
        if farewell.is_said() {
            say!(world, "{farewell}");
        }
    }
    let due = if let After::StartAt(at) = after { Some(at) } else { None };
    run::block(core, slot, VcpuIndex(0), due);
    world.power_off_if_all_ended();
    // One that starts again keeps its console, and the focus.
    if due.is_none() {
        console::detach(world, slot);
    }
}
