//! From the board's facts and the bundle to the world that the cores share.
#![expect(unsafe_code, reason = "claims RAM and device registers, once")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use shikiri_abi::{CoreSet, PAGE_BYTES, Pa, PageCount, PartitionSlot, Resource, VcpuIndex};
use shikiri_arch::board::{Board, GicFact, OwnRegisters, Range};
use shikiri_arch::hw::Clock;
use shikiri_arch::idreg::GicView;
use shikiri_config::{Bundle, CoreTime, DRAFT_VCPUS, GicVersion, MachineFacts, Partition};
use shikiri_core::bootlog::{Checkpoint, plural};
use shikiri_core::frame::{FrameState, MAX_RANGES};
use shikiri_core::object::{Object, Objects};
use shikiri_core::partition::FrameStore;
use shikiri_core::policy::{HandOut, News, Notices, Page, Requests};
use shikiri_core::sched::{CoreBook, Exchange, Share};
use shikiri_core::share::Claim;
use shikiri_core::vmid::VmidPool;
use shikiri_drivers::{
    BcmPower, Gic, GicV2, GicV3, Gich, LineInterrupts, RedistributorRegion, Uart,
};
use shikiri_pages::{Frames, PageBox, PageSlice};
use shikiri_stage2::Format;
use shikiri_sync::{Once, TicketLock};

use super::log::{self, refuse};
use super::memory::{check_load, frames, in_use, no_use, ram_of, spare_slots};

use crate::console::CONSOLE;
use crate::guest::{self, run, seats, worker};
use crate::hw::clock::Counter;
use crate::hw::mem::{self, Ram};
use crate::percore::CoreShared;
use crate::place::{DraftCell, Home, Homes, SPARE_WORDS};
use crate::regs;
use crate::world::{self, Policy, PolicyBooks, Route, Slot, World};

/// The machine; made once by the boot core.
static WORLD: Once<World> = Once::new();

/// INTIDs that a routing table covers.
const ROUTES: usize = 1020;
/// The clock of QEMU's PL011, whose speed nobody has set.
const UART_CLOCK_HZ: u32 = 24_000_000;

/// Makes the world of the board and its bundle, or refuses the boot with the reason.
pub(crate) fn make(board: &Board, tree: Range) -> &'static World {
    let gic = gic(board);
    if let Err(error) = gic.start() {
        refuse(format_args!("{error}"));
    }
    log::checkpoint(Checkpoint::InterruptsReady, format_args!("{}", gic_name(board)));
    let Some(initrd) = board.initrd else {
        refuse(format_args!(
            "there is no bundle: the device tree has no linux,initrd-start (load it as the initial RAM disk)"
        ));
    };
    let loaded = [initrd, tree];
    world_of(board, gic, bundle_of(board, loaded), loaded)
}

/// What is made of the bundle. The largest frame of the boot: what comes before it is off the stack by then.
#[inline(never)]
fn world_of(
    board: &Board,
    gic: Gic,
    bundle: Bundle<'static>,
    loaded: [Range; 2],
) -> &'static World {
    show_trust(&bundle);
    let frames = frames(board, &bundle, loaded);
    let total = frames.free_pages().0 / 256;
    let cores = leak(&frames, board.core_count, |core| {
        CoreShared::new(board.cores.get(core).map_or(0, |fact| fact.mpidr))
    });
    let routes = leak(&frames, ROUTES, |_| Route::default());
    world::routes(&bundle, routes);
    let (slots, book) = slots(&frames, &bundle, board.core_count);
    let objects = Objects::new(objects(&frames, &bundle));
    let policy = policy(&frames, &bundle, book);
    log::checkpoint(Checkpoint::MemoryReady, format_args!("{total} MiB"));
    let ticks_per_ms = (Counter.frequency_hz() / 1000).max(1);
    start_console(board, ticks_per_ms, &bundle, &gic);
    let (gich, gicv) = virtual_frames(board);
    let format = Format::new(regs::id_aa64mmfr0_el1(), regs::id_aa64mmfr2_el1());
    let Some(format) = format else {
        refuse(format_args!("this core has no 4 KiB stage-2 granule"));
    };
    let view = match board.gic {
        GicFact::V2 { .. } => GicView::MemoryMapped,
        GicFact::V3 { .. } => GicView::SystemRegisters,
    };
    let ids = leak(&frames, 1, |_| guest::ids::view(view)).first();
    let Some(ids) = ids else {
        refuse(format_args!("there is not enough RAM for the hypervisor itself"))
    };
    WORLD.call_once(move || World {
        bundle,
        slots,
        cores,
        boot_core: board.boot_core,
        exchange: Exchange::new(),
        routes,
        gic,
        gich,
        gicv,
        own_registers: board.own_registers(),
        uart_intid: board.uart.intid,
        stray_interrupts: AtomicU64::new(0),
        frames,
        meeting: TicketLock::new(()),
        vmids: TicketLock::new(VmidPool::new()),
        format,
        ids,
        objects,
        policy,
        shared: core::array::from_fn(|_| Claim::default()),
        console: &CONSOLE,
        console_is_due: AtomicBool::new(false),
        next_id: AtomicU32::new(1),
        ticks_per_ms,
        has_psci: board.has_psci_by_smc,
        bcm_power: TicketLock::new(board.bcm_power.map(|base| {
            // SAFETY: the tree names the device here; EL2's map has it as device memory, and only this uses it.
            unsafe { BcmPower::new(pointer(base.0)) }
        })),
    })
}

/// The bundle, whole with all its files and fit for the machine, or the boot is refused with the reason.
#[inline(never)]
fn bundle_of(board: &Board, loaded: [Range; 2]) -> Bundle<'static> {
    let [initrd, _] = loaded;
    check_load(board, loaded);
    // SAFETY: the loader put the bundle there, and nobody writes it.
    let bytes = unsafe { mem::bytes(Pa(initrd.start), initrd.end.saturating_sub(initrd.start)) };
    log::checkpoint(
        Checkpoint::BundleFound,
        format_args!("{} bytes at {:#x}", bytes.len(), initrd.start),
    );
    let crc32 = |bytes: &[u8]| mem::crc32(0, bytes);
    let bundle = match Bundle::parse(bytes, crc32) {
        Ok(bundle) => bundle,
        Err(error) => refuse(format_args!("the bundle: {error}")),
    };
    fits(&bundle, board, &board.own_registers(), loaded);
    if let Err(file) = bundle.check_files(crc32) {
        refuse(format_args!("the bundle: {file} is damaged"));
    }
    let count = bundle.partition_count();
    log::checkpoint(Checkpoint::BundleChecked, format_args!("{count} partition{}", plural(count)));
    bundle
}

/// Refuses a bundle that was made for another machine. Apart, as [`check_load`].
#[inline(never)]
fn fits(bundle: &Bundle<'_>, board: &Board, own: &OwnRegisters, loaded: [Range; 2]) {
    let wants = bundle.board();
    let has = match board.gic {
        GicFact::V2 { .. } => GicVersion::V2,
        GicFact::V3 { .. } => GicVersion::V3,
    };
    if wants.compatible != board.compatible {
        refuse(format_args!(
            "the bundle is for the board {}, and this is {}",
            wants.compatible, board.compatible
        ));
    }
    let (mut ram, mut taken) = ([(Pa(0), 0); MAX_RANGES], no_use());
    let ram = ram_of(board, &mut ram);
    let taken = in_use(board, loaded, &mut taken);
    let (cores, console) = (board.core_count, board.uart.intid);
    let facts = MachineFacts { cores, gic: has, ram, own, taken, console };
    if let Err(error) = bundle.check_machine(&facts) {
        refuse(format_args!("the bundle does not fit this machine: {error}"));
    }
}

const fn gic_name(board: &Board) -> &'static str {
    match board.gic {
        GicFact::V2 { .. } => "GICv2",
        GicFact::V3 { .. } => "GICv3",
    }
}

fn gic(board: &Board) -> Gic {
    match board.gic {
        GicFact::V2 { gicd, gicc, .. } => {
            // SAFETY: the tree names the frames; EL2's map has them as device memory, and only this uses them.
            Gic::V2(unsafe { GicV2::new(pointer(gicd.0), pointer(gicc.0)) })
        }
        GicFact::V3 { gicd, gicr } => {
            let none = RedistributorRegion { base: NonNull::dangling(), bytes: 0 };
            let mut regions = [none; 4];
            let found = gicr.as_slice();
            for (region, range) in regions.iter_mut().zip(found) {
                let bytes = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
                *region = RedistributorRegion { base: pointer(range.start), bytes };
            }
            let regions = regions.get(..found.len()).unwrap_or(&[]);
            let its = board.its.as_slice().iter().map(|its| pointer(its.start));
            // SAFETY: as above.
            match unsafe { GicV3::new(pointer(gicd.0), regions, its) } {
                Ok(gic) => Gic::V3(gic),
                Err(error) => refuse(format_args!("{error}")),
            }
        }
    }
}

/// GICv2's virtualisation frames.
fn virtual_frames(board: &Board) -> (Option<Gich>, Option<Pa>) {
    match board.gic {
        // SAFETY: the tree names the frame; EL2's map has it as device memory.
        GicFact::V2 { gich, gicv, .. } => (Some(unsafe { Gich::new(pointer(gich.0)) }), Some(gicv)),
        GicFact::V3 { .. } => (None, None),
    }
}

fn pointer(at: u64) -> NonNull<u8> {
    let pointer = core::ptr::with_exposed_provenance_mut(usize::try_from(at).unwrap_or(0));
    NonNull::new(pointer).unwrap_or(NonNull::dangling())
}

/// Takes frames of the machine's own for ever.
fn leak<T>(
    store: &FrameStore<'static, Ram>,
    count: usize,
    value: impl FnMut(usize) -> T,
) -> &'static mut [T] {
    PageSlice::from_fn(own_frames(store, PageSlice::<T>::pages(count)), count, value).leak()
}

#[inline(never)]
fn own_frames(store: &FrameStore<'static, Ram>, pages: PageCount) -> Frames {
    let Some(frames) = store.take(FrameState::Hypervisor, pages, PAGE_BYTES) else {
        refuse(format_args!("there is not enough RAM for the hypervisor itself"));
    };
    frames
}

/// The partitions of the description, each with its vCPUs' homes, and behind them the places for those that are made at run time.
fn slots(
    store: &FrameStore<'static, Ram>,
    bundle: &Bundle<'static>,
    cores: usize,
) -> (&'static [Slot], CoreBook) {
    let online = CoreSet((0..cores).fold(0, |set, core| {
        set | (1_u128.checked_shl(u32::try_from(core).unwrap_or(128)).unwrap_or(0))
    }));
    let mut book = CoreBook::new(online);
    let spare = bundle.policy().map_or(0, |policy| policy.spare);
    let mut drafts = drafts(store, bundle.board().gic, spare).iter();
    let mut partitions = bundle.partitions();
    let places = bundle.partition_count().saturating_add(spare);
    let slots = leak(store, places, |index| {
        let number = PartitionSlot(u8::try_from(index).unwrap_or(0));
        if let Some(partition) = partitions.next() {
            let homes = self::homes(store, &mut book, &partition);
            Slot::new(number, partition, homes)
        } else if let Some(draft) = drafts.next() {
            Slot::spare(number, draft, Homes::empty(cells(store, SPARE_WORDS, |_| 0)))
        } else {
            refuse(format_args!("the bundle lost a place"))
        }
    });
    (slots, book)
}

/// Drafts for so many places.
fn drafts(store: &FrameStore<'static, Ram>, gic: GicVersion, count: usize) -> &'static [DraftCell] {
    if count == 0 { &[] } else { leak(store, count, |_| DraftCell::new(gic)) }
}

/// As many rows for named objects as the description's entries have together.
fn objects(store: &FrameStore<'static, Ram>, bundle: &Bundle<'static>) -> &'static [Object] {
    let count = bundle.name_entries().map(|entry| usize::from(entry.objects));
    match count.fold(0, usize::saturating_add) {
        0 => &[],
        count => leak(store, count, |_| Object::new()),
    }
}

/// The books of the policy program, if there is a policy.
#[inline(never)]
fn policy(
    store: &FrameStore<'static, Ram>,
    bundle: &Bundle<'static>,
    cores: CoreBook,
) -> Option<&'static Policy> {
    let policy = bundle.policy()?;
    let places = bundle.partition_count().saturating_add(policy.spare);
    let mut handout = HandOut::new(policy.handout, leak(store, places, |_| Page::NOTHING));
    for (place, partition) in (0..).map(PartitionSlot).zip(bundle.partitions()) {
        handout.describe(place, Resource::ALL.map(|resource| partition.limit(resource)));
    }
    let notices = Notices::new(leak(store, places, |_| None));
    let promises = leak(store, policy.spare, |_| [const { None }; DRAFT_VCPUS]);
    let requests = Requests::new(leak(store, places, |_| None));
    let news = News::default();
    let area_rows = spare_slots(bundle);
    let books =
        PolicyBooks { notices, requests, handout, cores, area_rows, promises, news, told_at: None };
    let holder = policy.partition.and_then(|place| u8::try_from(place).ok()).map(PartitionSlot);
    let ticks_per_ms = (Counter.frequency_hz() / 1000).max(1);
    let policy = Policy {
        holder,
        books: TicketLock::new(books),
        default: policy.default,
        answer_ticks: ticks_per_ms.saturating_mul(policy.answer_ms.into()),
        is_naming: AtomicBool::new(false),
    };
    Some(PageBox::new(own_frames(store, PageBox::<Policy>::PAGES), policy).leak())
}

/// Gives each vCPU of a partition its home.
fn homes(
    store: &FrameStore<'static, Ram>,
    book: &mut CoreBook,
    partition: &Partition<'_>,
) -> Homes {
    let mut vcpus = partition.vcpus();
    let count = vcpus.len();
    Homes::full(cells(store, count, |_| {
        let Some(vcpu) = vcpus.next() else { refuse(format_args!("the bundle lost a vCPU")) };
        match book.admit(CoreSet::one(vcpu.home), share(vcpu.time)) {
            Ok(home) => Homes::encode(Home {
                core: home.core(),
                seat: home.seat(),
                is_shared: vcpu.time != CoreTime::Owned,
            }),
            Err(_) => refuse(format_args!("core {} is promised twice", vcpu.home.0)),
        }
    }))
}

/// Words for homes.
fn cells(
    store: &FrameStore<'static, Ram>,
    count: usize,
    mut word: impl FnMut(usize) -> u64,
) -> PageSlice<AtomicU64> {
    let pages = PageSlice::<AtomicU64>::pages(count);
    let Some(frames) = store.take(FrameState::Hypervisor, pages, PAGE_BYTES) else {
        refuse(format_args!("there is not enough RAM for the hypervisor itself"));
    };
    PageSlice::from_fn(frames, count, |index| AtomicU64::new(word(index)))
}

/// Names each device with which a partition could reach all of the machine: once, whatever its registers are cut into.
fn show_trust(bundle: &Bundle<'_>) {
    for partition in bundle.partitions() {
        let mut shown = "";
        for device in partition.devices().filter(|device| device.dma_trusted) {
            if device.path != shown {
                let name = partition.name;
                log::note(format_args!("partition {name} is trusted with DMA by {}", device.path));
                shown = device.path;
            }
        }
    }
}

/// A vCPU's right to time, in ticks.
pub(super) fn share(time: CoreTime) -> Share {
    match seats::share(time) {
        Some(share) => share,
        None => refuse(format_args!("a vCPU has a reservation that is none")),
    }
}

/// Gives the UART to the multiplexer.
fn start_console(board: &Board, ticks_per_ms: u64, bundle: &Bundle<'_>, gic: &Gic) {
    // SAFETY: the tree names such a UART here, mapped as device memory; from now on only the console and, in a
    // fault, the direct writer use it.
    let mut uart = unsafe { Uart::new(board.uart.kind, pointer(board.uart.base.0)) };
    uart.start(UART_CLOCK_HZ);
    uart.set_interrupts(LineInterrupts { receive: true, transmit: false });
    let mut console = CONSOLE.lock();
    console.multiplexer.set_ticks_per_ms(ticks_per_ms);
    for (number, partition) in bundle.partitions().enumerate() {
        if partition.has_console {
            console.multiplexer.attach(number, partition.name);
        }
    }
    let focus = bundle.board().focus;
    if let Some(slot) = focus {
        let _has_console = console.multiplexer.set_focus(shikiri_core::console::Focus::Slot(slot));
    }
    console.uart = Some(uart);
    drop(console);
    log::use_console();
    if board.uart.intid.is_spi() {
        gic.spis().set_trigger(board.uart.intid, shikiri_drivers::Trigger::Level);
    }
}

/// Starts the partitions that start with the machine, in their order.
pub(crate) fn start_partitions(world: &'static World) {
    for interrupt in world.slots.iter().flat_map(|slot| slot.description().interrupts()) {
        world.prepare_interrupt(&interrupt);
    }
    let due = world.slots.iter().filter(|slot| slot.description().autostart);
    let mut order = 0;
    loop {
        for slot in due.clone().filter(|slot| slot.description().start_order == order) {
            if let Err(phase) = worker::announce(world, slot) {
                refuse(format_args!(
                    "partition {} is {} at boot",
                    slot.description().name,
                    phase.name()
                ));
            }
        }
        let orders = due.clone().map(|slot| slot.description().start_order);
        match orders.filter(|other| *other > order).min() {
            Some(next) => order = next,
            None => break,
        }
    }
    // The lives of all have begun before one is built: whoever waits for another finds that it is on its way.
    due.for_each(|slot| run::wake(world, slot, VcpuIndex(0)));
}
