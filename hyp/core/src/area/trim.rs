//! Trimming an area: what lies behind its first pages is freed, in bounded steps; the rest stays where it is (C3).
//!
//! Each step takes the area out of its slot, takes leaves off its end while no walker can find it, and puts it back: so it is
//! a complete area after each, only smaller, and whatever comes between two steps finds nothing unusual.

use shikiri_abi::PageCount;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::{Format, Growing};

use super::alloc::refusal;
use super::tables::AreaTables;
use super::{Area, Areas, Body, Estate, Machine, Parts, Progress, STEP, give_leaf};
use crate::frame::AreaNumber;
use crate::handle::Handle;
use crate::partition::FrameStore;
use crate::party::Refusal;

impl Estate<'_> {
    /// Frees all but the first pages of an own area, up to [`STEP`] leaves in each call. The last leaf that stays may have to be
    /// made of smaller ones, 1,022 at most, in two tables.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if it is being made or freed, or lies in a window; `Range` if no page would stay, or
    /// it has fewer; `OverLimit` of management memory, `NoMemory` (those tables). What was freed before stays freed.
    pub fn trim<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
        handle: Handle,
        wanted: PageCount,
    ) -> Result<Progress<()>, Refusal> {
        let slot = self.slot_of(handle)?;
        let Parts { account, space, areas } = self.holdings.area_parts()?;
        let pages = areas.slots.complete(slot)?.linked.pages();
        if areas.slots.window_of(slot).is_some() {
            return Err(Refusal::WrongState);
        }
        if wanted.0 == 0 || wanted > pages {
            return Err(Refusal::Range);
        }
        if wanted == pages {
            return Ok(Progress::Done(()));
        }
        let Body::Area(Area { number, linked }) = areas.slots.clear(slot) else {
            unreachable!("it is complete");
        };
        let mut growing = space.unlink(mem, tlb, linked).open();
        let format = space.format();
        let Areas { management, slots, .. } = areas;
        let mut tables =
            AreaTables { store, area: number, payer: Some((&mut *account, management)) };
        let result = take_off((mem, format), &mut growing, &mut tables, (store, number, wanted));
        let left = growing.pages();
        let Some(subtree) = growing.finish(tlb) else { unreachable!("a page stays") };
        let linked = space.link(mem, tlb, slot, subtree);
        slots.put(slot, Body::Area(Area { number, linked }));
        let freed = pages.0.saturating_sub(left.0);
        areas.refund(account, (freed, freed, 0));
        match result {
            Err(refusal) if freed == 0 => Err(refusal),
            _ if left > wanted => Ok(Progress::Again(handle)),
            _ => Ok(Progress::Done(())),
        }
    }
}

/// Takes leaves off the end of an area that no walker can find, until it has so many pages or the step is over.
fn take_off<M: DirectMap, P: PhysMem>(
    hw: (&P, Format),
    growing: &mut Growing,
    tables: &mut AreaTables<'_, '_, M>,
    (store, number, wanted): (&FrameStore<'_, M>, AreaNumber, PageCount),
) -> Result<(), Refusal> {
    for _ in 0..STEP {
        let most = PageCount(growing.pages().0.saturating_sub(wanted.0));
        match growing.shorten(hw, tables, most).map_err(refusal)? {
            Some(run) => give_leaf(store, number, run),
            None => break,
        }
    }
    Ok(())
}
