//! What a partition's place has beside its life: who describes it, where its vCPUs live, whom it may talk to.
//!
//! Of a partition of the description all that is fixed. At a spare place it changes with each partition that is made there, and
//! cores read it without a lock. So it changes only while nobody has anything of the partition: a *draft* in phase `Created`, under the
//! lifecycle's lock, as long as no core has a reference to it; `publish` and `withdraw` are the two ends of the time in which they may.
#![expect(unsafe_code, reason = "what describes a partition is read without a lock while it lives")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use shikiri_abi::CoreId;
use shikiri_config::{DRAFT_VCPUS, Draft, GicVersion, Partition, PartitionSet, Talk};
use shikiri_core::lifecycle::{Lifecycle, Phase};
use shikiri_core::sched::Seat;
use shikiri_pages::PageSlice;

/// A draft, and the partition that is read of it.
pub(crate) struct DraftCell(UnsafeCell<Draft>);

// SAFETY: reached by `Described` only, as its comments say.
unsafe impl Sync for DraftCell {}

impl DraftCell {
    /// With nothing in it.
    pub(crate) fn new(gic: GicVersion) -> Self {
        Self(UnsafeCell::new(Draft::new(gic)))
    }
}

/// What describes the partition of a place.
pub(crate) struct Described {
    current: UnsafeCell<Partition<'static>>,
    draft: Option<&'static DraftCell>,
}

// SAFETY: `current` is written by `publish` and `withdraw` only, when no core reads it.
unsafe impl Sync for Described {}

impl Described {
    /// A partition of the description: for ever this one.
    pub(crate) const fn fixed(partition: Partition<'static>) -> Self {
        Self { current: UnsafeCell::new(partition), draft: None }
    }

    /// A spare place.
    pub(crate) const fn draft(draft: &'static DraftCell) -> Self {
        Self { current: UnsafeCell::new(Partition::nobody()), draft: Some(draft) }
    }

    pub(crate) const fn is_draft(&self) -> bool {
        self.draft.is_some()
    }

    /// The partition, for those whom `Slot::description` names.
    #[inline]
    pub(crate) const fn get(&self) -> &Partition<'static> {
        // SAFETY: the callers hold the lifecycle's lock, or something of an incarnation; it is written under that lock in phases
        // in which there is none: `Created`, and `Leaving` when all seats are empty.
        unsafe { &*self.current.get() }
    }

    /// The draft, in phase `Created`; the place's lifecycle is locked.
    pub(crate) fn draft_of<'l>(&'l self, lifecycle: &'l mut Lifecycle) -> Option<&'l mut Draft> {
        let draft = self.draft.filter(|_| lifecycle.phase() == Phase::Created)?;
        // SAFETY: the lock gives the only `&mut Lifecycle`, which this borrows; in phase `Created` nothing is published.
        Some(unsafe { &mut *draft.0.get() })
    }

    /// From here on the draft is read, and not written; the place's lifecycle is locked.
    pub(crate) fn publish(&self, lifecycle: &mut Lifecycle) {
        if let Some(draft) = self.draft.filter(|_| lifecycle.phase() == Phase::Created) {
            // SAFETY: it lies in pages of the hypervisor's for ever, and is not written before `withdraw`.
            let view = unsafe { &*draft.0.get() }.view();
            // SAFETY: in phase `Created` nobody reads it but under the lock that the caller has.
            unsafe { *self.current.get() = view };
        }
    }

    /// Nobody reads the draft any more; the place's lifecycle is locked.
    pub(crate) fn withdraw(&self, lifecycle: &mut Lifecycle) {
        if self.draft.is_some() && lifecycle.phase() == Phase::Leaving {
            // SAFETY: the partition has ended, and its worker's core has let go of its seat; others read it under the lock.
            unsafe { *self.current.get() = Partition::nobody() };
        }
    }
}

/// A vCPU's home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// The core.
    pub(crate) core: CoreId,
    /// The seat there.
    pub(crate) seat: Seat,
    /// Whether it shares the core with others.
    pub(crate) is_shared: bool,
}

/// The homes of a partition's vCPUs: a word each, so that whoever wakes one reads it as it is. A word that is too late names a
/// seat that is another's, which is then woken for nothing. In its upper half is what the vCPU was granted above its description.
///
/// At a spare place the rest of the page is what the policy program has noted at the partition. Nobody but it is told of that.
pub(crate) struct Homes {
    cells: PageSlice<AtomicU64>,
    count: AtomicU8,
}

/// The words of a spare place: a page of homes and of a note.
pub(crate) const SPARE_WORDS: usize = 512;

/// In a home's word: its core has let go of the seat.
const VACATED: u8 = 2;

impl Homes {
    /// All of these are homes.
    pub(crate) fn full(cells: PageSlice<AtomicU64>) -> Self {
        let count = AtomicU8::new(u8::try_from(cells.len()).unwrap_or(u8::MAX));
        Self { cells, count }
    }

    /// None of them is, yet.
    pub(crate) const fn empty(cells: PageSlice<AtomicU64>) -> Self {
        Self { cells, count: AtomicU8::new(0) }
    }

    /// The word of a home.
    pub(crate) const fn encode(home: Home) -> u64 {
        let flags = if home.is_shared { 1 } else { 0 };
        u64::from_le_bytes([home.core.0, home.seat.number(), flags, 0, 0, 0, 0, 0])
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count.load(Ordering::Acquire))
    }

    /// One of them.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Home> {
        let cell = self.cells.get(index)?;
        let [core, seat, flags, ..] = cell.load(Ordering::Relaxed).to_le_bytes();
        Some(Home { core: CoreId(core), seat: Seat::new(seat)?, is_shared: flags & 1 != 0 })
    }

    /// All of them, by vCPU.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Home> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// One more; there is room, and the lifecycle is locked.
    pub(crate) fn push(&self, home: Home) {
        if let Some(cell) = self.cells.get(self.len()) {
            cell.store(Self::encode(home), Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Release);
        }
    }

    /// None any more; the lifecycle is locked.
    pub(crate) fn clear(&self) {
        self.count.store(0, Ordering::Release);
    }

    /// A piece of the note at a spare place.
    pub(crate) fn note(&self, piece: u8) -> Option<&[AtomicU64; 2]> {
        self.cells.get(DRAFT_VCPUS..)?.as_chunks().0.get(usize::from(piece))
    }

    /// Nothing is noted at a spare place any more.
    pub(crate) fn forget_note(&self) {
        self.cells.iter().skip(DRAFT_VCPUS).for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// How many us of budget a vCPU has in its period above what describes it.
    pub(crate) fn extra_us(&self, index: usize) -> u32 {
        let word = self.cells.get(index).map_or(0, |cell| cell.load(Ordering::Relaxed));
        let [_, _, _, _, a, b, c, d] = word.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Says so; the lifecycle is locked. Its core is still to be told.
    pub(crate) fn set_extra_us(&self, index: usize, extra_us: u32) {
        if let Some(cell) = self.cells.get(index) {
            let changed = self.extra_us(index) ^ extra_us;
            cell.fetch_xor(u64::from(changed) << 32, Ordering::Relaxed);
        }
    }

    /// The core has let go of the seat.
    pub(crate) fn vacate(&self, index: usize) {
        if let Some(cell) = self.cells.get(index) {
            cell.fetch_or(u64::from(VACATED) << 16, Ordering::Release);
        }
    }

    /// Whether every core has.
    pub(crate) fn are_vacated(&self) -> bool {
        self.cells.iter().take(self.len()).all(|cell| {
            let [_, _, flags, ..] = cell.load(Ordering::Acquire).to_le_bytes();
            flags & VACATED != 0
        })
    }
}

/// Whom a place may ask for connections, and whose requests it gets.
pub(crate) struct Peers {
    asks: AtomicU64,
    accepts: AtomicU64,
}

impl Peers {
    /// As the description says.
    pub(crate) const fn new(talk: Talk) -> Self {
        Self {
            asks: AtomicU64::new(talk.connect_to.0),
            accepts: AtomicU64::new(talk.accept_from.0),
        }
    }

    /// Whom it may ask.
    #[inline]
    pub(crate) fn asks(&self) -> PartitionSet {
        PartitionSet(self.asks.load(Ordering::Relaxed))
    }

    /// Who may ask it.
    pub(crate) fn accepts(&self) -> PartitionSet {
        PartitionSet(self.accepts.load(Ordering::Relaxed))
    }

    /// Permits or forbids that `self` asks `other`; their places are `own` and `to`.
    pub(crate) fn set(&self, other: &Self, (own, to): (usize, usize), is_permitted: bool) {
        let change = |word: &AtomicU64, PartitionSet(bit): PartitionSet| {
            if is_permitted {
                word.fetch_or(bit, Ordering::Relaxed);
            } else {
                word.fetch_and(!bit, Ordering::Relaxed);
            }
        };
        change(&self.asks, PartitionSet::one(to));
        change(&other.accepts, PartitionSet::one(own));
    }

    /// Forgets what was permitted with the place `index`.
    pub(crate) fn forget(&self, index: usize) {
        let PartitionSet(bit) = PartitionSet::one(index);
        self.asks.fetch_and(!bit, Ordering::Relaxed);
        self.accepts.fetch_and(!bit, Ordering::Relaxed);
    }

    /// Nobody, from here on.
    pub(crate) fn clear(&self) {
        self.asks.store(0, Ordering::Relaxed);
        self.accepts.store(0, Ordering::Relaxed);
    }
}
