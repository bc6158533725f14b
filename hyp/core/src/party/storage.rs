//! Where a party lives: pages that its partition is charged for.
//!
//! Two parts, since two kinds of access reach them. [`Tables`] stand with what all cores may look at while the
//! partition lives; [`Locked`] behind the party's lock. Both come and go together.

use shikiri_abi::{PAGE_BYTES, PageCount};
use shikiri_pages::{DirectMap, Frames, PageBox, PageSlice};
use shikiri_sync::atomic::AtomicU64;

use super::{Cold, Party, PartyState, Record};
use crate::event::Shared;
use crate::handle::HandleEntry;
use crate::partition::{BuildError, FrameStore, Holdings};

/// How much a partition may have, from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Handles: ports, and requests of others that it has taken.
    pub handles: u16,
    /// Requests of its own that wait at others.
    pub requests: u16,
}

/// What all cores may look at.
#[derive(Debug)]
pub struct Tables {
    entries: PageSlice<HandleEntry>,
    pending: PageSlice<AtomicU64>,
}

/// What lies behind the party's lock.
#[derive(Debug)]
pub struct Locked {
    state: PageBox<PartyState>,
    cold: PageSlice<Cold>,
    records: PageSlice<Record>,
}

/// Words of a page.
const WORDS: usize = 512;

/// The five runs of frames.
const RUNS: usize = 5;

impl Sizes {
    /// What it costs, in pages of management memory: for the description's check.
    #[must_use]
    pub fn pages(self) -> PageCount {
        let runs = self.runs().map(|PageCount(pages)| pages);
        PageCount(runs.into_iter().fold(0, u64::saturating_add))
    }

    fn runs(self) -> [PageCount; RUNS] {
        let (handles, requests) = (usize::from(self.handles), usize::from(self.requests));
        [
            PageSlice::<HandleEntry>::pages(handles),
            PageSlice::<AtomicU64>::pages(Shared::words(handles)),
            PageBox::<PartyState>::PAGES,
            PageSlice::<Cold>::pages(handles),
            PageSlice::<Record>::pages(requests),
        ]
    }

    /// Makes a party's storage, charged to its partition.
    ///
    /// # Errors
    /// Over the limit of management memory, or no memory in the machine; nothing is charged then.
    pub fn build<M: DirectMap>(
        self,
        holdings: &mut Holdings,
        store: &FrameStore<'_, M>,
        state: PartyState,
    ) -> Result<(Tables, Locked), BuildError> {
        let mut runs = [const { None }; RUNS];
        for (place, pages) in runs.iter_mut().zip(self.runs()) {
            match holdings.take_management(store, pages, PAGE_BYTES) {
                Ok(frames) => *place = Some(frames),
                Err(error) => {
                    for frames in runs.into_iter().flatten() {
                        holdings.give_management(store, frames);
                    }
                    return Err(error);
                }
            }
        }
        let [Some(entries), Some(pending), Some(own), Some(cold), Some(records)] = runs else {
            unreachable!("five runs were taken");
        };
        holdings.note_bitmap(pending.base());
        Ok(self.place([entries, pending, own, cold, records], state))
    }

    fn place(self, runs: [Frames; RUNS], state: PartyState) -> (Tables, Locked) {
        let [entries, pending, own, cold, records] = runs;
        let (handles, requests) = (usize::from(self.handles), usize::from(self.requests));
        // Whole pages: a guest may read the first.
        let words = Shared::words(handles).next_multiple_of(WORDS);
        let tables = Tables {
            entries: PageSlice::from_fn(entries, handles, |_| HandleEntry::new()),
            pending: PageSlice::from_fn(pending, words, |_| AtomicU64::new(0)),
        };
        let locked = Locked {
            state: PageBox::new(own, state),
            cold: PageSlice::from_fn(cold, handles, |_| Cold::default()),
            records: PageSlice::from_fn(records, requests, |_| Record::new()),
        };
        (tables, locked)
    }
}

impl Tables {
    /// The view for sending, polling and taking.
    #[must_use]
    #[inline]
    pub fn shared(&self) -> Shared<'_> {
        Shared::new(&self.entries, &self.pending)
    }

    /// Opens the party.
    #[must_use]
    pub fn party<'a>(&'a self, locked: &'a mut Locked) -> Party<'a> {
        Party::open(&mut locked.state, self.shared(), &mut locked.cold, &mut locked.records)
    }

    /// Gives the pages back: when the party has ended and nobody visits.
    pub fn give<M: DirectMap>(
        self,
        locked: Locked,
        holdings: &mut Holdings,
        store: &FrameStore<'_, M>,
    ) {
        let Locked { state, cold, records } = locked;
        let runs = [
            self.entries.into_frames(),
            self.pending.into_frames(),
            state.into_frames(),
            cold.into_frames(),
            records.into_frames(),
        ];
        for frames in runs {
            holdings.give_management(store, frames);
        }
    }
}
