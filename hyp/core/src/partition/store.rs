//! The machine's frames: the ledger that says whose they are, and the pool of the free ones.
//!
//! [`FrameStore`] is the only door to both. A frame leaves the pool first and is then claimed in the ledger; it is
//! released in the ledger first and then goes back to the pool. In between it is in its taker's hands alone (the
//! [`Frames`] token). No lock is held across both, and none for longer than one bounded step of the ledger.

use shikiri_abi::{PAGE_BYTES, PageCount, PartitionSlot};
use shikiri_pages::{DirectMap, FramePool, FrameRange, Frames};
use shikiri_sync::{TicketLock, rank};

use crate::frame::{AreaNumber, AreaRegistry, FrameRun, FrameState, Ledger, Refusal};

/// All frames of the machine, shared by all cores.
pub struct FrameStore<'l, M: DirectMap> {
    ledger: TicketLock<Ledger<'l>, rank::Ledger>,
    /// Who has which message area: no lock.
    areas: &'l AreaRegistry<'l>,
    pool: TicketLock<FramePool<M>, rank::Pool>,
}

impl<'l, M: DirectMap> FrameStore<'l, M> {
    /// Puts a ledger and a pool of the same RAM together; what the pool does not have is reserved in the ledger, or
    /// one of the pool's fixed ranges.
    #[must_use]
    pub fn new(ledger: Ledger<'l>, pool: FramePool<M>) -> Self {
        let areas = ledger.areas();
        Self { ledger: TicketLock::new(ledger), areas, pool: TicketLock::new(pool) }
    }

    /// Takes free frames for the hypervisor or a partition's management ([`FramePool::take`] says which shapes
    /// exist); `None` if there are none.
    ///
    /// # Panics
    /// If the ledger knows another owner: our bug, and going on would give a frame to two.
    pub fn take(&self, owner: FrameState, pages: PageCount, align_bytes: u64) -> Option<Frames> {
        let frames = self.pool.lock().take(pages, align_bytes)?;
        self.change(run_of(frames.range()), FrameState::Free, owner);
        Some(frames)
    }

    /// Gives frames back that were taken for `owner`.
    ///
    /// # Panics
    /// If they are not that owner's.
    pub fn give(&self, owner: FrameState, frames: Frames) {
        self.change(run_of(frames.range()), owner, FrameState::Free);
        self.pool.lock().give(frames);
    }

    /// Frames that are free now.
    #[must_use]
    pub fn free_pages(&self) -> PageCount {
        self.pool.lock().free_pages()
    }

    /// How many frames a partition has ([`Ledger::held`]).
    #[must_use]
    pub fn held(&self, slot: PartitionSlot) -> PageCount {
        self.ledger.lock().held(slot)
    }

    /// Who has which message area.
    #[must_use]
    pub const fn areas(&self) -> &'l AreaRegistry<'l> {
        self.areas
    }

    /// Makes a message area without frames; `None` if the machine has numbers for no more.
    pub(crate) fn begin_area(&self, owner: PartitionSlot) -> Option<AreaNumber> {
        self.ledger.lock().begin_area(owner)
    }

    /// Ends a message area that has no frames any more.
    pub(crate) fn end_area(&self, area: AreaNumber) {
        self.ledger.lock().end_area(area);
    }

    /// Takes the token of frames in keeping that only tables remember from here on.
    pub(crate) fn park(&self, frames: Frames) {
        self.pool.lock().park(frames);
    }

    /// Gives frames back that are in keeping, and in this state.
    ///
    /// # Panics
    /// If they are not: our bug.
    pub(crate) fn give_parked(&self, state: FrameState, range: FrameRange) {
        self.release_all(run_of(range), state);
        let mut pool = self.pool.lock();
        let frames = pool.unpark(range);
        pool.give(frames);
    }

    /// Releases frames that are in this state.
    ///
    /// # Panics
    /// If they are not: our bug.
    pub(crate) fn release_all(&self, run: FrameRun, state: FrameState) {
        self.change(run, state, FrameState::Free);
    }

    /// Shows both books at one moment: for audits and reports, which take as long as they take.
    pub fn with_books<R>(&self, see: impl FnOnce(&Ledger<'l>, &FramePool<M>) -> R) -> R {
        let ledger = self.ledger.lock();
        let pool = self.pool.lock();
        see(&ledger, &pool)
    }

    /// Whether somebody has had a book to write since this was last asked (`TicketLock::take_written`).
    pub fn take_written(&self) -> bool {
        let has_ledger = self.ledger.take_written();
        self.pool.take_written() || has_ledger
    }

    /// Whether a run that should be a device's registers touches RAM.
    pub(super) fn touches_ram(&self, range: FrameRange) -> bool {
        self.ledger.lock().touches_ram(run_of(range))
    }

    /// Takes the largest free piece up to `pages`, to be claimed in steps.
    pub(crate) fn take_up_to(&self, pages: PageCount) -> Option<Frames> {
        self.pool.lock().take_up_to(pages)
    }

    /// Takes a range that the description names, to be claimed in steps.
    pub(super) fn adopt(&self, range: FrameRange) -> Option<Frames> {
        self.pool.lock().adopt(range)
    }

    /// Gives frames back that were not claimed, or were released.
    pub(crate) fn return_unclaimed(&self, frames: Frames) {
        self.pool.lock().give(frames);
    }

    /// One bounded step of making a run a partition's memory; answers how many frames were claimed from its
    /// start. What the partition's own devices left in quarantine is its own again: they can still write there, to
    /// nobody's harm but that of the partition that they belong to.
    ///
    /// # Errors
    /// [`Refusal`] about the run's first frame; nothing has changed.
    pub(super) fn claim(&self, run: FrameRun, slot: PartitionSlot) -> Result<PageCount, Refusal> {
        let (own, quarantined) = (FrameState::Private(slot), FrameState::Quarantined(slot));
        let mut ledger = self.ledger.lock();
        match change_prefix(&mut ledger, run, FrameState::Free, own) {
            Err(Refusal::WrongState { found, .. }) if found == quarantined => {
                let pages = change_prefix(&mut ledger, run, quarantined, FrameState::Free)?;
                ledger.claim(FrameRun { pages, ..run }, own)
            }
            other => other,
        }
    }

    /// One bounded step of a change that was checked long ago; answers how many frames it reached.
    ///
    /// # Panics
    /// If a frame is not in state `from`.
    pub(crate) fn change_some(&self, run: FrameRun, from: FrameState, to: FrameState) -> PageCount {
        match self.ledger.lock().transfer(run, from, to) {
            Ok(pages) => pages,
            Err(refusal) => {
                unreachable!("the frame ledger disagrees with its own books: {refusal}")
            }
        }
    }

    fn change(&self, run: FrameRun, from: FrameState, to: FrameState) {
        let mut left = run;
        while left.pages.0 > 0 {
            left = left.after(self.change_some(left, from, to));
        }
    }
}

/// Changes the frames from the run's start on that are in state `from`, up to one step.
fn change_prefix(
    ledger: &mut Ledger<'_>,
    run: FrameRun,
    from: FrameState,
    to: FrameState,
) -> Result<PageCount, Refusal> {
    match ledger.transfer(run, from, to) {
        Err(Refusal::WrongState { frame, .. } | Refusal::NotRam { frame }) if frame > run.base => {
            let pages = PageCount(frame.0.saturating_sub(run.base.0) / PAGE_BYTES);
            ledger.transfer(FrameRun { pages, ..run }, from, to)
        }
        other => other,
    }
}

/// A range of the pool as a run of the ledger.
#[must_use]
pub const fn run_of(range: FrameRange) -> FrameRun {
    FrameRun { base: range.base, pages: range.pages }
}
