//! Trimming an area: what lies behind its first pages is freed, in bounded steps; the rest stays where it is (C3).
//!
//! Each step takes the area out of its slot, takes leaves off its end while no walker can find it, and puts it back: so it is
//! a complete area after each, only smaller, and whatever comes between two steps finds nothing unusual.

use shikiri_abi::PageCount;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::Format;

use super::alloc::refusal;
use super::tables::AreaTables;
use super::{Estate, Machine, Open, Progress, STEP, give_leaf};
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
        let mut parts = self.holdings.area_parts()?;
        let pages = parts.areas.own(slot)?;
        if wanted.0 == 0 || wanted > pages {
            return Err(Refusal::Range);
        }
        if wanted == pages {
            return Ok(Progress::Done(()));
        }
        let mut open = parts.open((mem, tlb), slot);
        let payer = (&mut *parts.account, &mut parts.areas.management);
        let mut tables = AreaTables { store, area: open.number, payer: Some(payer) };
        let hw = (mem, parts.space.format());
        let result = take_off(hw, &mut open, &mut tables, (store, wanted));
        let left = open.growing.pages();
        parts.close((mem, tlb), slot, open);
        let freed = pages.0.saturating_sub(left.0);
        parts.areas.refund(parts.account, (freed, freed, 0));
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
    Open { number, growing }: &mut Open,
    tables: &mut AreaTables<'_, '_, M>,
    (store, wanted): (&FrameStore<'_, M>, PageCount),
) -> Result<(), Refusal> {
    for _ in 0..STEP {
        let most = PageCount(growing.pages().0.saturating_sub(wanted.0));
        match growing.shorten(hw, tables, most).map_err(refusal)? {
            Some(run) => give_leaf(store, *number, run),
            None => break,
        }
    }
    Ok(())
}
