//! From the board's facts and the bundle to the world that the cores share.
#![expect(unsafe_code, reason = "claims RAM and device registers, once")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use shikiri_abi::{CoreId, CoreSet, PAGE_BYTES, Pa, PageCount, PartitionSlot, Resource};
use shikiri_arch::board::{Board, GicFact, OwnRegisters, Range};
use shikiri_arch::hw::Clock;
use shikiri_arch::idreg::GicView;
use shikiri_config::{
    Bundle, CoreTime, DRAFT_VCPUS, GicVersion, Item, MAX_PLACED, MachineFacts, Partition, Place,
    check_loaded,
};
use shikiri_core::bootlog::Checkpoint;
use shikiri_core::frame::{AreaRegistry, FrameRun, FrameState, Ledger, MAX_RANGES};
use shikiri_core::object::{Object, Objects};
use shikiri_core::partition::{FrameStore, run_of};
use shikiri_core::policy::{HandOut, News, Notices, Page, Requests};
use shikiri_core::sched::{CoreBook, Excess, Exchange, Share, Terms, VcpuKey};
use shikiri_core::share::Claim;
use shikiri_core::vmid::VmidPool;
use shikiri_drivers::{
    BcmPower, Gic, GicV2, GicV3, Gich, LineInterrupts, RedistributorRegion, Uart,
    check_virtual_interface,
};
use shikiri_pages::{FramePool, FrameRange, Frames, MAX_FIXED, PageBox, PageSlice};
use shikiri_stage2::Format;
use shikiri_sync::{Once, TicketLock};

use super::image;
use super::log::{self, refuse};

use crate::console::CONSOLE;
use crate::guest::{self, seats, setup, worker};
use crate::hw::clock::Counter;
use crate::hw::mem::{self, Ram};
use crate::percore::{CoreLocal, CoreShared};
use crate::place::{DraftCell, Home, Homes, SPARE_WORDS};
use crate::regs;
use crate::world::{self, Policy, PolicyBooks, Route, Slot, World};

/// The machine; made once by the boot core.
static WORLD: Once<World> = Once::new();

/// INTIDs that a routing table covers.
const ROUTES: usize = 1020;
/// The physical priority of interrupts that guests cause; the others have 0x80.
const GUESTS_PRIORITY: u8 = 0xa0;
/// How many slots for message areas come with each place for partitions that are made at run time: a page of rows.
const SLOTS_OF_A_SPARE_PLACE: u64 = 512;
/// The clock of QEMU's PL011, whose speed nobody has set.
const UART_CLOCK_HZ: u32 = 24_000_000;

// The pool keeps aside all that a checked description places.
const _: () = assert!(MAX_PLACED <= MAX_FIXED);

/// Makes the world of the board and its bundle, or refuses the boot with the reason.
pub(crate) fn make(board: &Board, tree: Range) -> &'static World {
    let gic = gic(board);
    gic.start();
    log::checkpoint(Checkpoint::InterruptsReady, format_args!("{}", gic_name(board)));
    let Some(initrd) = board.initrd else {
        refuse(format_args!(
            "there is no bundle: the device tree has no linux,initrd-start (load it as the initial RAM disk)"
        ));
    };
    let loaded = [initrd, tree];
    check_load(board, loaded);
    // SAFETY: the loader put the bundle there, and nobody writes it.
    let bytes = unsafe { mem::bytes(Pa(initrd.start), initrd.end.saturating_sub(initrd.start)) };
    log::checkpoint(
        Checkpoint::BundleFound,
        format_args!("{} bytes at {:#x}", bytes.len(), initrd.start),
    );
    let bundle = match Bundle::parse(bytes, |bytes| mem::crc32(0, bytes)) {
        Ok(bundle) => bundle,
        Err(error) => refuse(format_args!("the bundle: {error}")),
    };
    let own_registers = board.own_registers();
    fits(&bundle, board, &own_registers, loaded);
    log::checkpoint(
        Checkpoint::BundleChecked,
        format_args!("{} partitions", bundle.partition_count()),
    );
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
    WORLD.call_once(|| World {
        bundle,
        slots,
        cores,
        boot_core: board.boot_core,
        exchange: Exchange::new(),
        routes,
        gic,
        gich,
        gicv,
        own_registers,
        uart_intid: board.uart.intid,
        stray_interrupts: AtomicU64::new(0),
        frames,
        meeting: TicketLock::new(()),
        vmids: TicketLock::new(VmidPool::new()),
        format,
        ids,
        kind: guest::ids::kind(),
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

/// Memory that is in use, by what, and its start and size.
type InUse = (Item<'static>, Pa, u64);

/// The machine's RAM, in these rows.
fn ram_of<'r>(board: &Board, rows: &'r mut [(Pa, u64); MAX_RANGES]) -> &'r [(Pa, u64)] {
    let found = board.ram.as_slice();
    for (row, range) in rows.iter_mut().zip(found) {
        *row = (Pa(range.start), range.end.saturating_sub(range.start));
    }
    rows.get(..found.len()).unwrap_or(&[])
}

/// RAM that is in use for ever, and by what, in these rows: first what was loaded, which is the image with its stacks, and bundle and
/// tree; then what the tree reserves.
#[inline(never)]
fn in_use<'r>(
    board: &Board,
    [bundle, tree]: [Range; 2],
    rows: &'r mut [InUse; MAX_IN_USE],
) -> &'r [InUse] {
    let used = image::used(board.core_count);
    let [start, end] = [used.start, used.end].map(|at| u64::try_from(at).unwrap_or(0));
    // Where there is RAM at address 0, no pointer leads to its first byte.
    let has_nought = board.ram.as_slice().iter().any(|range| range.start == 0);
    let loaded = [
        (Item::Hypervisor, Range { start, end }),
        (Item::Bundle, bundle),
        (Item::DeviceTree, tree),
    ];
    let all = loaded
        .into_iter()
        .chain(has_nought.then_some((Item::Nought, Range { start: 0, end: 1 })))
        .chain(board.reserved.as_slice().iter().map(|range| (Item::Reserved, *range)));
    let mut count = 0_usize;
    for (item, range) in all {
        match rows.get_mut(count) {
            Some(row) => *row = (item, Pa(range.start), range.end.saturating_sub(range.start)),
            None => refuse(format_args!("memory: more ranges than this image holds")),
        }
        count = count.saturating_add(1);
    }
    rows.get(..count).unwrap_or(&[])
}

/// Rows without anything in them: made by a loop, and no constant of their size.
fn no_use() -> [InUse; MAX_IN_USE] {
    core::array::from_fn(|_| (Item::Nought, Pa(0), 0))
}

/// Refuses what was loaded over something else, or where there is no memory. Apart, as the next, so that its tables are off the stack
/// when the rest is made.
#[inline(never)]
fn check_load(board: &Board, loaded: [Range; 2]) {
    let (mut ram, mut taken) = ([(Pa(0), 0); MAX_RANGES], no_use());
    // The image, the bundle, the tree: what the tree reserves may be any of them.
    let taken = in_use(board, loaded, &mut taken).get(..3).unwrap_or(&[]);
    if let Err(error) = check_loaded(ram_of(board, &mut ram), taken) {
        refuse(format_args!("{error}"));
    }
}

/// How many ranges are in use at most.
const MAX_IN_USE: usize = 40;

/// Refuses a bundle that was made for another machine.
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
            // SAFETY: as above.
            match unsafe { GicV3::new(pointer(gicd.0), regions) } {
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

/// The machine's frames: in the pool all RAM but what is in use for ever and what the description places by address; in
/// the ledger all of it.
fn frames(board: &Board, bundle: &Bundle<'_>, loaded: [Range; 2]) -> FrameStore<'static, Ram> {
    let mut reserved = [FrameRange::default(); MAX_IN_USE];
    let reserved = frames_in_use(board, loaded, &mut reserved);
    let mut fixed = [FrameRange::default(); MAX_PLACED];
    let placed =
        bundle.partitions().flat_map(|partition| partition.memory()).filter_map(|memory| {
            match memory.place {
                Place::At(base) => {
                    Some(FrameRange { base, pages: PageCount::for_bytes(memory.bytes) })
                }
                Place::Any => None,
            }
        });
    let fixed = fill(&mut fixed, placed);
    let mut ram = [FrameRange::default(); 16];
    let ram = fill(&mut ram, board.ram.as_slice().iter().map(|range| inner_frames(*range)));
    // SAFETY: EL2's map covers the RAM; what the image, the bundle and the tree use is reserved.
    let mut pool = match unsafe { FramePool::new(Ram, ram, reserved, fixed) } {
        Ok(pool) => pool,
        Err(error) => refuse(format_args!("memory: {error}")),
    };
    let slots = described_slots(bundle).saturating_add(spare_slots(bundle));
    let slots = usize::from(u16::try_from(slots).unwrap_or(u16::MAX));
    let mut ledger = ledger(&mut pool, ram, slots);
    reserved.iter().for_each(|range| ledger.reserve(run_of(*range)));
    FrameStore::new(ledger, pool)
}

/// The frames that are in use for ever, in these rows.
#[inline(never)]
fn frames_in_use<'r>(
    board: &Board,
    loaded: [Range; 2],
    rows: &'r mut [FrameRange; MAX_IN_USE],
) -> &'r [FrameRange] {
    let mut taken = no_use();
    fill(rows, in_use(board, loaded, &mut taken).iter().copied().map(whole_frames))
}

/// How many window slots the description gives.
fn described_slots(bundle: &Bundle<'_>) -> u64 {
    bundle.partitions().map(|partition| partition.windows.slots()).sum()
}

/// How many it leaves to partitions that are made at run time.
fn spare_slots(bundle: &Bundle<'_>) -> u64 {
    let spare = bundle.policy().map_or(0, |policy| u64::try_from(policy.spare).unwrap_or(0));
    let most = u64::from(u16::MAX).saturating_sub(described_slots(bundle));
    spare.saturating_mul(SLOTS_OF_A_SPARE_PLACE).min(most)
}

/// The ledger of this RAM and of so many message areas, in frames of the pool; they, and the pool's own, are the
/// hypervisor's.
fn ledger(pool: &mut FramePool<Ram>, ram: &[FrameRange], slots: usize) -> Ledger<'static> {
    let mut runs = [FrameRun { base: Pa(0), pages: PageCount(0) }; MAX_RANGES];
    for (run, range) in runs.iter_mut().zip(ram) {
        *run = run_of(*range);
    }
    let runs = runs.get(..ram.len()).unwrap_or(&[]);
    let storage = match Ledger::storage_for(runs) {
        Ok(storage) => storage,
        Err(error) => refuse(format_args!("memory: no ledger of this RAM: {error}")),
    };
    let own = pool.own_range();
    let (blocks, blocks_at) = entries(pool, storage.blocks);
    let (frames, frames_at) = entries(pool, storage.frames);
    let (areas, [rows_at, areas_at]) = areas(pool, slots);
    match Ledger::new(runs, blocks, frames, areas) {
        Ok(mut ledger) => {
            [own, blocks_at, frames_at, rows_at, areas_at]
                .into_iter()
                .for_each(|range| ledger.reserve(run_of(range)));
            ledger
        }
        Err(error) => refuse(format_args!("memory: no ledger of this RAM: {error}")),
    }
}

/// The registry of message areas, with a row for each slot of the description, and where it is.
fn areas(
    pool: &mut FramePool<Ram>,
    slots: usize,
) -> (&'static AreaRegistry<'static>, [FrameRange; 2]) {
    let mut take = |pages| match pool.take(pages, PAGE_BYTES) {
        Some(frames) => frames,
        None => refuse(format_args!("there is not enough RAM for the registry of message areas")),
    };
    let rows = take(PageSlice::<AtomicU64>::pages(slots));
    let own = take(PageBox::<AreaRegistry<'_>>::PAGES);
    let ranges = [rows.range(), own.range()];
    let rows = PageSlice::from_fn(rows, slots, |_| AtomicU64::new(0)).leak();
    (PageBox::new(own, AreaRegistry::new(rows)).leak(), ranges)
}

/// Storage for entries of the ledger, and where it is. It is not cleared: the ledger writes what it will read.
fn entries(pool: &mut FramePool<Ram>, count: usize) -> (&'static mut [u32], FrameRange) {
    let wanted = PageSlice::<u32>::pages(count).0;
    // From 2 MiB on the pool knows powers of two only.
    let pages = PageCount(if wanted < 512 { wanted } else { wanted.next_power_of_two() });
    let Some(frames) = pool.take(pages, PAGE_BYTES) else {
        refuse(format_args!("there is not enough RAM for the frame ledger"));
    };
    let range = frames.range();
    // SAFETY: the machine's RAM, which the firmware has initialised.
    let entries = unsafe { PageSlice::as_found(frames, count) };
    (entries.leak(), range)
}

/// Copies what fits, and refuses the boot if not all does.
fn fill(list: &mut [FrameRange], ranges: impl Iterator<Item = FrameRange>) -> &[FrameRange] {
    let mut count = 0_usize;
    ranges.for_each(|range| put(list, &mut count, range));
    list.get(..count).unwrap_or(&[])
}

#[inline(never)]
fn put(list: &mut [FrameRange], count: &mut usize, range: FrameRange) {
    match list.get_mut(*count) {
        Some(slot) => *slot = range,
        None => refuse(format_args!("memory: more ranges than this image holds")),
    }
    *count = count.saturating_add(1);
}

/// The frames that a range touches.
fn whole_frames((_, start, bytes): InUse) -> FrameRange {
    let base = start.page_base();
    let end = start.0.saturating_add(bytes);
    FrameRange { base, pages: PageCount::for_bytes(end.saturating_sub(base.0)) }
}

/// The frames that lie wholly in a range.
fn inner_frames(range: Range) -> FrameRange {
    let base = Pa(range.start.next_multiple_of(PAGE_BYTES));
    FrameRange { base, pages: PageCount(range.end.saturating_sub(base.0) / PAGE_BYTES) }
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
fn share(time: CoreTime) -> Share {
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

/// Refuses a core that lacks what the boot core has: guests see that one's features, and the stage-2 tables have its format.
pub(crate) fn check_core(world: &World, id: CoreId) {
    if guest::ids::kind() != world.kind {
        check_unlike_core(world, id);
    }
}

/// The same for a core of another kind.
#[cold]
#[inline(never)]
fn check_unlike_core(world: &World, id: CoreId) {
    let view = match world.gich {
        Some(_) => GicView::MemoryMapped,
        None => GicView::SystemRegisters,
    };
    let format = Format::new(regs::id_aa64mmfr0_el1(), regs::id_aa64mmfr2_el1());
    let has_format = format.is_some_and(|own| world.format.holds_on(own));
    if !has_format || !world.ids.holds_on(&guest::ids::view(view)) {
        refuse(format_args!(
            "core {} (MIDR {:#x}) lacks features of core {}, which booted: guests would see them there too",
            id.0,
            regs::midr_el1(),
            world.boot_core.0
        ));
    }
}

/// Makes this core a part of the world; its block.
#[expect(clippy::mut_from_ref, reason = "the block is new memory, not a part of the world")]
pub(crate) fn join(world: &'static World, id: CoreId) -> &'static mut CoreLocal {
    crate::hw::tlb::note_errata();
    let hcr = setup::start_core(world.format);
    let (gic, target) = match world.gic.start_core(regs::mpidr_el1()) {
        Ok(started) => started,
        Err(error) => refuse(format_args!("core {}: {error}", id.0)),
    };
    if world.gich.is_none()
        && let Err(error) = check_virtual_interface(regs::ich_vtr_el2())
    {
        refuse(format_args!("core {}: {error}", id.0));
    }
    let Some((frames, stack)) = ({
        let take = |pages| world.frames.take(FrameState::Hypervisor, pages, PAGE_BYTES);
        take(PageBox::<CoreLocal>::PAGES).zip(take(PageCount(1)))
    }) else {
        refuse(format_args!("there is not enough RAM for core {}", id.0));
    };
    let top = stack.as_ptr().addr().get().saturating_add(4096);
    let core =
        PageBox::init_with(frames, |place| place.write(CoreLocal::new(id, world, gic, hcr, top)))
            .leak();
    core.clear_virtual_interface();
    seat_vcpus(core);
    for ppi in [25, 26, 27, world::SGI_SYNC, world::SGI_SCHEDULE] {
        core.gic.private().enable(shikiri_abi::IntId(ppi));
    }
    // What a guest can cause without end comes after what the scheduler and the operator need: among equal
    // priorities the lowest INTID would be first, and a flood of SGIs to a sibling would hide the timer.
    for caused_by_guests in [world::SGI_SYNC, 25, 27] {
        core.gic.private().set_priority(shikiri_abi::IntId(caused_by_guests), GUESTS_PRIORITY);
    }
    // It is the boot core's, which is the first here, until one comes that nobody owns; of several such cores the last has it.
    let may_have_console = id == world.boot_core || !core.queue.is_owned();
    if may_have_console && world.uart_intid.is_spi() {
        world.gic.route(world.uart_intid, &target);
        world.gic.spis().enable(world.uart_intid);
    }
    let block = u64::try_from(core::ptr::from_ref(core).expose_provenance()).unwrap_or(0);
    // SAFETY: this core's own block.
    unsafe { regs::set_tpidr_el2(block) };
    if let Some(shared) = core.shared() {
        shared.announce(target);
    }
    core
}

/// Seats the vCPUs whose home this core is, and notes where those live that may come here.
fn seat_vcpus(core: &mut CoreLocal) {
    let world = core.world;
    for slot in world.slots {
        let vcpus = slot.description().vcpus();
        for ((index, home), vcpu) in (0_u8..).zip(slot.homes.iter()).zip(vcpus) {
            if home.core == core.id {
                let key = VcpuKey { partition: slot.number, vcpu: shikiri_abi::VcpuIndex(index) };
                let terms = Terms {
                    key,
                    share: share(vcpu.time),
                    priority: vcpu.priority,
                    excess: Excess::Stop,
                    cores: vcpu.cores,
                };
                core.queue.seat(home.seat, terms, Counter.now());
            } else if vcpu.cores.contains(core.id) {
                let shared = core.shared();
                let _is_new = shared.is_some_and(|shared| shared.lenders.insert(home.core));
            }
        }
    }
}

/// Starts the partitions that start with the machine, in their order.
pub(crate) fn start_partitions(world: &'static World) {
    for interrupt in world.slots.iter().flat_map(|slot| slot.description().interrupts()) {
        world.prepare_interrupt(&interrupt);
    }
    let mut order = 0;
    loop {
        let due = world.slots.iter().filter(|slot| slot.description().autostart);
        for slot in due.clone().filter(|slot| slot.description().start_order == order) {
            if let Err(phase) = worker::start(world, slot) {
                refuse(format_args!(
                    "partition {} is {} at boot",
                    slot.description().name,
                    phase.name()
                ));
            }
        }
        let next =
            due.map(|slot| slot.description().start_order).filter(|other| *other > order).min();
        match next {
            Some(next) => order = next,
            None => return,
        }
    }
}

/// Enters the run loop on a fresh stack.
pub(crate) fn run(core: &'static mut CoreLocal) -> ! {
    let stack = image::stack_of(core.id, core.world.boot_core);
    let stack = u64::try_from(stack.end).unwrap_or(0);
    // SAFETY: the block is this core's, and nothing of the present stack is used again.
    unsafe { guest::run_core_on(core, stack) }
}
