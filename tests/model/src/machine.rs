//! The model machine's RAM as a partition's builder sees it, with its frames' books: [`Machine`].
//!
//! Unlike [`crate::memory::ModelMemory`] the RAM is real memory of the test's process, so that the hypervisor's own
//! records can live in it; it is full of dirt at the start, and nobody may take dirt for zero.
#![expect(unsafe_code, reason = "plays physical memory")]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, PartitionId, PartitionSlot, Vmid};
use shikiri_arch::board::OwnRegisters;
use shikiri_arch::hw::{PhysMem, Tlb, Vttbr};
use shikiri_config::{Bundle, Place};
use shikiri_core::frame::{AreaRegistry, FrameRun, FrameState, Ledger};
use shikiri_core::invariants::{self, Disagreement, Violation};
use shikiri_core::partition::build::{Builder, HardwarePage, STEP_BYTES};
use shikiri_core::partition::{BuildError, FrameStore, Holdings, Loader};
use shikiri_pages::{DirectMap, FramePool, FrameRange, Frames};
use shikiri_stage2::Format;

/// Where the machine's RAM starts.
pub const RAM_BASE: u64 = 0x4000_0000;
/// What fresh RAM holds.
pub const DIRT: u8 = 0xa5;
/// ID_AA64MMFR0_EL1 of a core with 4 KiB granule and 44 bits of physical address.
const MMFR0: u64 = 4;

/// Message areas that the machine has numbers for.
const AREAS: usize = 64;

/// Where registers of the hypervisor's own are: before and behind a page for the guests, as GICH and the rest of GICV are around a
/// GICv2's.
pub const OWN_REGISTERS: OwnRegisters = [
    (Pa(0x0803_0000), 0x1_0000),
    (Pa(0x0804_1000), 0x1000),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
    (Pa(0), 0),
];

/// Builds and ends from this one on are not audited after each step: the first ones were. Under Miri none is: an audit reads
/// thousands of descriptors, and what a build does with memory is the same without.
const UNAUDITED: u32 = if cfg!(miri) { 0 } else { 17 };

/// What has been done with RAM and TLBs, in words and instructions: how long a sequence is, whoever runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Words that were loaded, and stored.
    pub loads: u64,
    /// See `loads`.
    pub stores: u64,
    /// TLB invalidations.
    pub invalidations: u64,
}

/// Memory as the allocator gives it.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

thread_local! {
    /// The memory of this thread's last machine, for its next: a process that is given so much anew has to be given it page by page,
    /// which takes as long as a short test does.
    static SPARE: Cell<Option<Block>> = const { Cell::new(None) };
}

impl Block {
    fn new(layout: Layout) -> Self {
        if let Some(spare) = SPARE.take().filter(|spare| spare.layout == layout) {
            return spare;
        }
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap();
        Self { start, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Block::new`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

struct Memory {
    /// There until this is dropped.
    block: Option<Block>,
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes that the present step has cleared or copied.
    moved: Cell<u64>,
    /// A descriptor was taken away, and no TLBI with its DSB has followed yet.
    is_stale: Cell<bool>,
    /// A TLBI was issued, and its DSB has not come yet.
    is_invalidating: Cell<bool>,
    /// The pages that were cleaned to the point of coherency.
    cleaned: RefCell<BTreeSet<u64>>,
    work: Cell<Work>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        let block = self.block.take();
        // A thread that ends keeps nothing.
        let _is_kept = SPARE.try_with(|spare| spare.set(block));
    }
}

/// RAM, and the TLBs that watch it; a handle.
#[derive(Clone)]
pub struct Ram(Rc<Memory>);

impl Ram {
    /// `mib` (a power of two, at least 2) MiB full of dirt.
    #[must_use]
    pub fn new(mib: usize) -> Self {
        // Aligned to its size: an address of the machine and its pointer end in the same digits.
        let layout = Layout::from_size_align(mib << 20, mib << 20).unwrap();
        let block = Block::new(layout);
        let start = block.start;
        // SAFETY: as many bytes as were allocated.
        unsafe { start.write_bytes(DIRT, layout.size()) };
        start.as_ptr().expose_provenance();
        let (moved, is_stale, is_invalidating, cleaned, work) = Default::default();
        let block = Some(block);
        Self(Rc::new(Memory {
            block,
            start,
            layout,
            moved,
            is_stale,
            is_invalidating,
            cleaned,
            work,
        }))
    }

    /// All of it.
    #[must_use]
    pub fn range(&self) -> FrameRange {
        FrameRange {
            base: Pa(RAM_BASE),
            pages: PageCount(self.0.layout.size() as u64 / PAGE_BYTES),
        }
    }

    /// A copy of its bytes.
    #[must_use]
    pub fn read(&self, at: Pa, bytes: u64) -> Vec<u8> {
        let mut copy = vec![0; bytes as usize];
        let from = self.place(at, bytes);
        // SAFETY: `place` has checked the range; nobody writes meanwhile.
        unsafe {
            from.copy_to_nonoverlapping(NonNull::new(copy.as_mut_ptr()).unwrap(), bytes as usize)
        };
        copy
    }

    /// Writes a pattern, as a guest would.
    pub fn scribble(&self, at: Pa, bytes: u64, pattern: u8) {
        // SAFETY: `place` has checked the range; it is a guest's memory, nobody refers to it.
        unsafe { self.place(at, bytes).write_bytes(pattern, bytes as usize) };
    }

    /// Whether a page was cleaned to the point of coherency since this was asked last: what a guest's access around the caches meets.
    #[must_use]
    pub fn was_cleaned(&self, page: Pa) -> bool {
        self.0.cleaned.borrow_mut().remove(&page.0)
    }

    /// Whether something is unmapped that a TLB may still have.
    #[must_use]
    pub fn has_stale(&self) -> bool {
        self.0.is_stale.get()
    }

    /// What has been done so far.
    #[must_use]
    pub fn work(&self) -> Work {
        self.0.work.get()
    }

    fn count(&self, more: impl FnOnce(&mut Work)) {
        let mut work = self.0.work.get();
        more(&mut work);
        self.0.work.set(work);
    }

    fn place(&self, at: Pa, bytes: u64) -> NonNull<u8> {
        let offset = at.0.checked_sub(RAM_BASE).unwrap_or_else(|| panic!("{at} is not RAM"));
        assert!(offset + bytes <= self.0.layout.size() as u64, "{at} + {bytes:#x} is not RAM");
        // SAFETY: inside the allocation.
        unsafe { self.0.start.add(offset as usize) }
    }

    fn note_moved(&self, bytes: u64) {
        self.0.moved.set(self.0.moved.get() + bytes);
    }
}

// SAFETY: the distance is constant, a multiple of the allocation's size, and its provenance is exposed.
unsafe impl DirectMap for Ram {
    fn pointer(&self, at: Pa) -> NonNull<u8> {
        self.place(at, 0)
    }
}

impl PhysMem for Ram {
    fn read_u64(&self, at: Pa) -> u64 {
        assert!(at.is_aligned(8), "unaligned load at {at}");
        self.count(|work| work.loads += 1);
        // SAFETY: inside the RAM, aligned.
        unsafe { self.place(at, 8).cast::<u64>().read() }
    }

    fn write_u64(&self, at: Pa, value: u64) {
        assert!(at.is_aligned(8), "unaligned store at {at}");
        if self.read_u64(at) & 1 == 1 {
            self.0.is_stale.set(true);
        }
        self.count(|work| work.stores += 1);
        // SAFETY: inside the RAM, aligned.
        unsafe { self.place(at, 8).cast::<u64>().write(value) };
    }

    fn zero(&self, at: Pa, pages: PageCount) {
        self.scribble(at, pages.0 * PAGE_BYTES, 0);
    }

    fn clean_invalidate(&self, at: Pa, bytes: u64) {
        let _is_ram = self.place(at, bytes);
        let pages = (at.0..at.0 + bytes).step_by(PAGE_BYTES as usize);
        self.0.cleaned.borrow_mut().extend(pages);
    }
}

impl Loader for Ram {
    fn clear(&self, at: Pa, pages: PageCount) {
        self.note_moved(pages.0 * PAGE_BYTES);
        self.zero(at, pages);
    }

    fn copy_in(&self, to: Pa, bytes: &[u8]) {
        let length = bytes.len() as u64;
        self.note_moved(length);
        let from = NonNull::from(bytes).cast::<u8>();
        // SAFETY: `place` has checked the range; the bundle is no part of the RAM.
        unsafe { self.place(to, length).copy_from_nonoverlapping(from, bytes.len()) };
    }

    fn crc32(&self, state: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!state, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    }

    fn sync_instructions(&self) {}
}

/// A TLB that only watches whether what was unmapped is invalidated. ([`crate::tlb::ModelTlb`] judges the sequences.)
impl Tlb for Ram {
    fn dsb_ishst(&self) {}

    fn dsb_ish(&self) {
        if self.0.is_invalidating.replace(false) {
            self.0.is_stale.set(false);
        }
    }

    fn isb(&self) {}

    fn tlbi_ipas2e1is(&self, _ipa: Ipa) {
        self.count(|work| work.invalidations += 1);
        self.0.is_invalidating.set(true);
    }

    fn tlbi_vmalle1is(&self) {
        self.count(|work| work.invalidations += 1);
        self.0.is_invalidating.set(true);
    }

    fn tlbi_vmalls12e1is(&self) {
        self.count(|work| work.invalidations += 1);
        self.0.is_invalidating.set(true);
    }

    fn vttbr(&self) -> Vttbr {
        Vttbr(0)
    }

    fn load_vttbr(&self, _vttbr: Vttbr) {}

    fn needs_repeat(&self) -> bool {
        false
    }
}

/// RAM with its pool and its ledger, as after the boot.
pub struct Machine {
    /// The frames' books.
    pub store: FrameStore<'static, Ram>,
    /// The RAM.
    pub ram: Ram,
    next_id: Cell<u32>,
}

impl Machine {
    /// A machine of `mib` MiB for the bundle's descriptions; `reserved` is what the hypervisor uses.
    #[must_use]
    pub fn new(mib: usize, bundle: &Bundle<'_>, reserved: &[FrameRange]) -> Self {
        let ram = Ram::new(mib);
        let fixed: Vec<_> = bundle
            .partitions()
            .flat_map(|partition| partition.memory())
            .filter_map(|memory| match memory.place {
                Place::At(base) => {
                    Some(FrameRange { base, pages: PageCount::for_bytes(memory.bytes) })
                }
                Place::Any => None,
            })
            .collect();
        // SAFETY: the RAM is the test's own.
        let pool =
            unsafe { FramePool::new(ram.clone(), &[ram.range()], reserved, &fixed) }.unwrap();
        let runs = [FrameRun { base: ram.range().base, pages: ram.range().pages }];
        let storage = Ledger::storage_for(&runs).unwrap();
        // The entries of the frames are whatever was there.
        let frames = vec![0xa5a5_a5a5; storage.frames].leak();
        let areas = Vec::leak((0..AREAS).map(|_| AtomicU64::new(0)).collect());
        let areas = Box::leak(Box::new(AreaRegistry::new(areas)));
        let mut ledger = Ledger::new(&runs, vec![0; storage.blocks].leak(), frames, areas).unwrap();
        for range in reserved.iter().chain([&pool.own_range()]) {
            ledger.reserve(FrameRun { base: range.base, pages: range.pages });
        }
        let store = FrameStore::new(ledger, pool);
        Self { store, ram, next_id: Cell::new(1) }
    }

    /// The format of its tables.
    #[must_use]
    pub fn format() -> Format {
        Format::new(MMFR0, 0).unwrap()
    }

    /// Builds the bundle's partition with this index, in bounded steps; what it has by the end, and whether
    /// it is complete. The first builds and ends are audited after each step.
    pub fn build(
        &self,
        bundle: &Bundle<'_>,
        index: u8,
        hardware: Option<HardwarePage>,
    ) -> (Holdings, Result<(), BuildError>) {
        let id = PartitionId(self.next_id.replace(self.next_id.get() + 1));
        let mut holdings = Holdings::new(id, PartitionSlot(index));
        let mut builder = Builder::new(Self::format(), Vmid(index + 1), hardware);
        let description = bundle.partition(usize::from(index)).unwrap();
        // A test may build one twice, whose frames the ledger does not tell apart.
        let is_alone = self.store.held(holdings.slot()).0 == 0;
        for _ in 0..1_000_000 {
            assert!(!holdings.is_complete());
            self.ram.0.moved.set(0);
            let machine = (&self.ram, &self.ram, &self.store);
            match builder.step(&mut holdings, &description, bundle, machine) {
                Ok(false) => {}
                Ok(true) => return (holdings, Ok(())),
                Err(error) => return (holdings, Err(error)),
            }
            let moved = self.ram.0.moved.get();
            assert!(moved <= STEP_BYTES, "a step has moved {moved} bytes");
            if id.0 < UNAUDITED {
                let audit = self.audit([&holdings]);
                assert!(matches!(audit, Ok(()) | Err(Violation::Pool { .. })), "{audit:?}");
                let steps = self.audit_steps([&holdings]);
                assert!(steps.is_ok() || !is_alone, "{steps:?}");
            }
        }
        panic!("the build does not end");
    }

    /// Takes a partition apart, in bounded steps, and checks that nothing is left of it.
    pub fn end(&self, mut holdings: Holdings) {
        let mut steps = 0;
        self.ram.0.is_stale.set(false);
        while !holdings.tear_down(&self.ram, &self.ram, &self.store) {
            assert!(!self.ram.0.is_stale.get(), "a step leaves an unmapped page in a TLB");
            assert!(!holdings.is_complete());
            steps += 1;
            assert!(steps < 1_000_000, "the end does not come");
            if holdings.account().owner().0 < UNAUDITED {
                assert_eq!(self.audit_steps([&holdings]), Ok(()));
            }
        }
        assert!(holdings.account().is_zero(), "{:?}", holdings.account());
        let slot = holdings.slot();
        self.store.with_books(|ledger, _pool| {
            invariants::audit_ended(ledger, slot).unwrap();
            invariants::audit_count(ledger, slot).unwrap();
        });
    }

    /// Compares all books; these are the partitions that live.
    ///
    /// # Errors
    /// What is wrong.
    pub fn audit<'h>(
        &self,
        living: impl IntoIterator<Item = &'h Holdings>,
    ) -> Result<(), Violation> {
        self.store.with_books(|ledger, pool| {
            for holdings in living {
                invariants::audit_partition(ledger, (&self.ram, &OWN_REGISTERS), holdings)?;
            }
            invariants::audit_frames(ledger, pool).map(drop)
        })
    }

    /// Compares what holds between any two steps; these are the partitions that are being built or taken apart, or have an area that
    /// is not complete, and any of the others.
    ///
    /// # Errors
    /// What is wrong.
    pub fn audit_steps<'h>(
        &self,
        holdings: impl IntoIterator<Item = &'h Holdings>,
    ) -> Result<(), Disagreement> {
        self.store
            .with_books(|ledger, pool| invariants::audit_steps((ledger, pool), &self.ram, holdings))
    }

    /// The state of a frame.
    #[must_use]
    pub fn state(&self, at: Pa) -> FrameState {
        self.store.with_books(|ledger, _pool| ledger.state(at)).unwrap()
    }

    /// Takes free frames until only `left` remain: how much of a machine others have.
    #[must_use]
    pub fn hoard(&self, left: u64) -> Vec<Frames> {
        std::iter::from_fn(|| {
            (self.store.free_pages().0 > left)
                .then(|| self.store.take(FrameState::Hypervisor, PageCount(1), PAGE_BYTES))?
        })
        .collect()
    }

    /// Takes the first frame of each 2 MiB that are free as a whole, so that no larger leaf can be made of what is left.
    #[must_use]
    pub fn scatter(&self) -> Vec<Frames> {
        let block = PageCount(512);
        let whole = std::iter::from_fn(|| {
            self.store.take(FrameState::Hypervisor, block, block.0 * PAGE_BYTES)
        });
        let whole: Vec<Frames> = whole.collect();
        let divided = whole.into_iter().map(|frames| {
            let (kept, rest) = frames.split_at(PageCount(1)).unwrap();
            self.store.give(FrameState::Hypervisor, rest);
            kept
        });
        divided.collect()
    }

    /// Gives hoarded frames back.
    pub fn give(&self, frames: impl IntoIterator<Item = Frames>) {
        frames.into_iter().for_each(|frames| self.store.give(FrameState::Hypervisor, frames));
    }
}
