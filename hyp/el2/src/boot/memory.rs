//! The machine's RAM: what of it is in use for ever, the pool of the rest, and the ledger of all frames.
#![expect(unsafe_code, reason = "claims RAM, once")]

use core::sync::atomic::AtomicU64;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_arch::board::{Board, Range};
use shikiri_config::{Bundle, Item, MAX_PLACED, Place, check_loaded};
use shikiri_core::frame::{AreaRegistry, FrameRun, Ledger, MAX_RANGES};
use shikiri_core::partition::{FrameStore, run_of};
use shikiri_pages::{FramePool, FrameRange, MAX_FIXED, PageBox, PageSlice};

use super::image;
use super::log::refuse;

use crate::hw::mem::Ram;

/// Memory that is in use, by what, and its start and size.
type InUse = (Item<'static>, Pa, u64);

/// How many ranges are in use at most.
const MAX_IN_USE: usize = 40;
/// How many slots for message areas come with each place for partitions that are made at run time: a page of rows.
const SLOTS_OF_A_SPARE_PLACE: u64 = 512;

// The pool keeps aside all that a checked description places.
const _: () = assert!(MAX_PLACED <= MAX_FIXED);

/// The machine's RAM, in these rows.
pub(super) fn ram_of<'r>(board: &Board, rows: &'r mut [(Pa, u64); MAX_RANGES]) -> &'r [(Pa, u64)] {
    let found = board.ram.as_slice();
    for (row, range) in rows.iter_mut().zip(found) {
        *row = (Pa(range.start), range.end.saturating_sub(range.start));
    }
    rows.get(..found.len()).unwrap_or(&[])
}

/// RAM that is in use for ever, and by what, in these rows: first what was loaded, which is the image with its stacks, and bundle and
/// tree; then what the tree reserves.
#[inline(never)]
pub(super) fn in_use<'r>(
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
pub(super) fn no_use() -> [InUse; MAX_IN_USE] {
    core::array::from_fn(|_| (Item::Nought, Pa(0), 0))
}

/// Refuses what was loaded over something else, or where there is no memory. Apart, so that its tables are off the stack when
/// the rest is made.
#[inline(never)]
pub(super) fn check_load(board: &Board, loaded: [Range; 2]) {
    let (mut ram, mut taken) = ([(Pa(0), 0); MAX_RANGES], no_use());
    // The image, the bundle, the tree: what the tree reserves may be any of them.
    let taken = in_use(board, loaded, &mut taken).get(..3).unwrap_or(&[]);
    if let Err(error) = check_loaded(ram_of(board, &mut ram), taken) {
        refuse(format_args!("{error}"));
    }
}

/// The machine's frames: in the pool all RAM but what is in use for ever and what the description places by address; in
/// the ledger all of it.
pub(super) fn frames(
    board: &Board,
    bundle: &Bundle<'_>,
    loaded: [Range; 2],
) -> FrameStore<'static, Ram> {
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
pub(super) fn spare_slots(bundle: &Bundle<'_>) -> u64 {
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
