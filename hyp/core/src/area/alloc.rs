//! Making an area, in bounded steps: take frames, claim them, clear them, hang them into the subtree; then map it.

use shikiri_abi::{AreaClass, PAGE_BYTES, PageCount, Resource, WindowSlot};
use shikiri_arch::hw::Tlb;
use shikiri_pages::{DirectMap, Frames};
use shikiri_stage2::{Growing, NoTable};

use super::tables::AreaTables;
use super::{Area, Areas, Body, Estate, Home, Machine, Parts, Progress, STEP};
use crate::event::area;
use crate::frame::{AreaNumber, FrameRun, FrameState};
use crate::handle::{Handle, Kind};
use crate::partition::{FrameStore, Loader, run_of};
use crate::party::Refusal;

/// What a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many pages; at least one, at most what the class holds.
    pub pages: PageCount,
    /// The slot's class: the same as that of the windows that it shall be sent to.
    pub class: AreaClass,
}

/// An area that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its handle.
    pub handle: Handle,
    /// Where it is.
    pub slot: WindowSlot,
    /// Its size.
    pub pages: PageCount,
}

/// An area that is being made.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) slot: WindowSlot,
    number: AreaNumber,
    growing: Growing,
    wanted: u64,
    run: Option<Run>,
}

/// Frames on their way into the subtree.
#[derive(Debug)]
struct Run {
    frames: Frames,
    claimed: u64,
    cleared: u64,
    pushed: u64,
}

impl Estate<'_> {
    /// Begins to make an area, and does the first step. Small ones are complete then.
    ///
    /// # Errors
    /// `NotSupported`; `Range` if the class does not hold it; `Busy` if another one is being made; `OverLimit` of memory, IPA space
    /// (of the account, or no slot is left) or management memory (of the account, or the handle table is full);
    /// `NoMemory`. Nothing has changed then.
    pub fn alloc<M: DirectMap, L: Loader, T: Tlb>(
        &mut self,
        machine: Machine<'_, '_, L, T, M>,
        Wanted { pages, class }: Wanted,
    ) -> Result<Progress<Made>, Refusal> {
        let own = self.holdings.slot();
        let Parts { account, areas, .. } = self.holdings.area_parts()?;
        if pages.0 == 0 || pages > class.pages() {
            return Err(Refusal::Range);
        }
        if areas.making.is_some() {
            return Err(Refusal::Busy);
        }
        self.party.check_room()?;
        areas.slots.check_free(class, 1)?;
        areas.charge(account, (pages.0, pages.0, 0))?;
        let Some(number) = machine.2.begin_area(own) else {
            areas.refund(account, (pages.0, pages.0, 0));
            return Err(Refusal::NoMemory);
        };
        let slot = areas.slots.take(class, Home::Own);
        let (index, handle) = self.party.insert(Kind::Area, area(slot));
        areas.slots.set_handle(slot, index);
        areas.slots.put(slot, Body::Making);
        let growing = Growing::new(class);
        areas.making = Some(Making { slot, number, growing, wanted: pages.0, run: None });
        let result = self.alloc_more(machine, handle);
        if result.is_err() {
            // Nothing was got: as if it had not been asked for.
            let freed = self.free(machine, handle);
            assert!(matches!(freed, Ok(Progress::Done(()))), "an empty area is freed at once");
        }
        result
    }

    /// Does the next step of making an area.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if it is complete, or being freed; `OverLimit` of management memory (its tables);
    /// `NoMemory`. What was made so far stays; the guest may try again, or free it.
    pub fn alloc_more<M: DirectMap, L: Loader, T: Tlb>(
        &mut self,
        (loader, tlb, store): Machine<'_, '_, L, T, M>,
        handle: Handle,
    ) -> Result<Progress<Made>, Refusal> {
        let slot = self.slot_of(handle)?;
        let Parts { account, space, areas } = self.holdings.area_parts()?;
        let Areas { making, management, slots, .. } = areas;
        let Some(now) = making.as_mut().filter(|making| making.slot == slot) else {
            return Err(Refusal::WrongState);
        };
        let payer = Some((account, management));
        let mut tables = AreaTables { store, area: now.number, payer };
        let format = space.format();
        let mut left = STEP;
        let mut has_begun = false;
        while left > 0 && now.growing.pages().0 < now.wanted {
            match now.step(loader, format, store, &mut tables, left) {
                Ok(work) => left = left.saturating_sub(work.max(1)),
                Err(refusal) if !has_begun => return Err(refusal),
                Err(_later) => break,
            }
            has_begun = true;
        }
        if now.growing.pages().0 < now.wanted {
            return Ok(Progress::Again(handle));
        }
        let Some(Making { number, growing, .. }) = making.take() else {
            unreachable!("it is being made");
        };
        let pages = growing.pages();
        let Some(subtree) = growing.finish(tlb) else { unreachable!("it has a page") };
        let linked = space.link(loader, tlb, slot, subtree);
        slots.put(slot, Body::Area(Area { number, linked }));
        Ok(Progress::Done(Made { handle, slot, pages }))
    }

    /// Takes back the area that is being made, so that what it has got can be freed.
    pub(super) fn stop_making<M: DirectMap>(
        &mut self,
        store: &FrameStore<'_, M>,
        slot: WindowSlot,
    ) {
        let Ok(Parts { areas, .. }) = self.holdings.area_parts() else { return };
        let Some(making) = areas.making.take_if(|making| making.slot == slot) else { return };
        let Making { number, growing, wanted, run, .. } = making;
        if let Some(Run { frames, claimed, pushed, .. }) = run {
            give_rest(store, number, frames, (claimed, pushed));
        }
        areas.slots.put(slot, Body::Ending { number, growing, charged: wanted });
    }
}

impl Making {
    /// Its number, and its pages and tables in the ledger.
    pub(super) fn claimed(&self) -> (AreaNumber, u64, u64) {
        let on_their_way = |run: &Run| run.claimed.saturating_sub(run.pushed);
        let on_their_way = self.run.as_ref().map_or(0, on_their_way);
        let pages = self.growing.pages().0.saturating_add(on_their_way);
        (self.number, pages, u64::from(self.growing.tables()))
    }

    /// Frames that were taken, and are not its in the ledger yet.
    pub(super) fn unclaimed(&self) -> u64 {
        let rest = |run: &Run| run.frames.pages().0.saturating_sub(run.claimed);
        self.run.as_ref().map_or(0, rest)
    }

    /// Pages that are charged, and not its in the ledger yet.
    pub(super) fn missing(&self) -> u64 {
        self.wanted.saturating_sub(self.claimed().1)
    }

    /// The next stage of the run at hand, at most `most` leaves or pages of clearing; answers how many it were.
    fn step<M: DirectMap, L: Loader>(
        &mut self,
        loader: &L,
        format: shikiri_stage2::Format,
        store: &FrameStore<'_, M>,
        tables: &mut AreaTables<'_, '_, M>,
        most: u64,
    ) -> Result<u64, Refusal> {
        let state = FrameState::Area(self.number);
        let Some(run) = &mut self.run else {
            let left = PageCount(self.wanted.saturating_sub(self.growing.pages().0));
            let frames = store.take_up_to(left).ok_or(Refusal::NoMemory)?;
            self.run = Some(Run { frames, claimed: 0, cleared: 0, pushed: 0 });
            return Ok(1);
        };
        let pages = run.frames.pages().0;
        if run.claimed < pages {
            let rest = run_of(run.frames.range()).after(PageCount(run.claimed));
            let PageCount(claimed) = store.change_some(rest, FrameState::Free, state);
            run.claimed = run.claimed.saturating_add(claimed);
            // The ledger may have gone over an entry for each frame.
            return Ok((claimed / STEP).clamp(1, most));
        }
        if run.cleared < pages {
            let part = pages.saturating_sub(run.cleared).min(most);
            let at = run.frames.base().wrapping_add(run.cleared.saturating_mul(PAGE_BYTES));
            loader.clear(at, PageCount(part));
            run.cleared = run.cleared.saturating_add(part);
            return Ok(part);
        }
        let at = run.frames.base().wrapping_add(run.pushed.saturating_mul(PAGE_BYTES));
        let rest = PageCount(pages.saturating_sub(run.pushed));
        let budget = u32::try_from(most).unwrap_or(u32::MAX);
        let PageCount(pushed) =
            self.growing.push((loader, format), tables, at, rest, budget).map_err(refusal)?;
        run.pushed = run.pushed.saturating_add(pushed);
        if run.pushed >= pages
            && let Some(Run { frames, .. }) = self.run.take()
        {
            store.park(frames);
        }
        Ok(pushed.min(most))
    }
}

/// Gives frames back that are on their way: those that hang in the subtree are parked, to be found there.
fn give_rest<M: DirectMap>(
    store: &FrameStore<'_, M>,
    number: AreaNumber,
    frames: Frames,
    (claimed, pushed): (u64, u64),
) {
    let rest = match frames.split_at(PageCount(pushed)) {
        Ok((hung, rest)) => {
            store.park(hung);
            rest
        }
        Err(whole) => whole,
    };
    let claimed = PageCount(claimed.saturating_sub(pushed));
    if claimed.0 > 0 {
        let run = FrameRun { base: rest.base(), pages: claimed };
        store.release_all(run, FrameState::Area(number));
    }
    store.return_unclaimed(rest);
}

/// Why there was no table.
pub(crate) const fn refusal(reason: NoTable) -> Refusal {
    match reason {
        NoTable::OverLimit => Refusal::OverLimit(Resource::ManagementMemory),
        NoTable::NoMemory => Refusal::NoMemory,
    }
}
