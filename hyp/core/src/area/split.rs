//! Splitting an area: what lies behind its first pages becomes another area of the same partition, in bounded steps (C3).
//!
//! Each step takes both areas out of their slots, moves leaves from the end of one to the end of the other while no walker can
//! find either, and puts them back: so both are complete areas after each, and whatever comes between two steps finds
//! nothing unusual. The pages stay charged as they are, and nothing is cleared: they were the partition's own, and stay so.

use shikiri_abi::{AreaClass, PAGE_BYTES, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::{Format, Growing, LeafRun};

use super::alloc::refusal;
use super::tables::AreaTables;
use super::{Estate, Home, Machine, Made, Open, STEP, Wanted};
use crate::account::{Account, Charge};
use crate::event::area;
use crate::frame::FrameState;
use crate::handle::{Handle, Kind};
use crate::partition::{FrameStore, run_of};
use crate::party::Refusal;

impl Estate<'_> {
    /// Moves all but the first pages of an own area to the end of another own one, up to [`STEP`] leaves in each call; without
    /// one (handle 0) a new one in a slot of the wanted class is made for them. Answers what the other one is now, and whether all have gone.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if one of the two is being made or freed, or lies in a window, or is shared; `Range` if no
    /// page would stay, the area has fewer, none is left for a new one, the other does not hold them, or both are the same; `OverLimit` of
    /// IPA space (no slot of the class is left) or management memory (tables; the handle table is full), `NoMemory` (tables, areas).
    /// What was moved before stays moved.
    pub fn split<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
        [from, to]: [Handle; 2],
        Wanted { pages: wanted, class }: Wanted,
    ) -> Result<(Made, bool), Refusal> {
        let owner = self.holdings.slot();
        let slot = self.slot_of(from)?;
        let tail = if to.0 == 0 { None } else { Some(self.slot_of(to)?) };
        let mut parts = self.holdings.area_parts()?;
        let areas = &mut parts.areas;
        let pages = areas.own(slot)?;
        let (class, there) = match tail {
            None => (class, PageCount(0)),
            Some(tail) => (tail.class, areas.own(tail)?),
        };
        let moving = pages.0.checked_sub(wanted.0).ok_or(Refusal::Range)?;
        let grown = there.0.saturating_add(moving);
        if wanted.0 == 0 || grown == 0 || grown > class.pages().0 || tail == Some(slot) {
            return Err(Refusal::Range);
        }
        if let (Some(tail), 0) = (tail, moving) {
            return Ok((Made { handle: to, slot: tail, pages: there }, true));
        }
        let number = match tail {
            Some(_) => None,
            None => {
                self.party.check_room()?;
                areas.slots.check_free(class, 1)?;
                Some(store.begin_area(owner).ok_or(Refusal::NoMemory)?)
            }
        };
        // Nothing is in the way from here on but tables: what is taken out is put back whatever happens.
        let format = parts.space.format();
        let mut head = parts.open((mem, tlb), slot);
        let mut last = match (tail, number) {
            (Some(tail), _) => parts.open((mem, tlb), tail),
            (None, Some(number)) => Open { number, growing: Growing::new(class) },
            (None, None) => unreachable!("a new area has a number"),
        };
        let payer = (&mut *parts.account, &mut parts.areas.management);
        let result = move_some((mem, format, store), payer, (&mut head, &mut last), wanted);
        let is_done = head.growing.pages() == wanted;
        parts.close((mem, tlb), slot, head);
        let grown = last.growing.pages();
        if grown.0 == 0 {
            store.end_area(last.number);
            return Err(result.err().unwrap_or(Refusal::NoMemory));
        }
        let (tail, handle) = tail.map_or_else(
            || {
                let tail = parts.areas.slots.take(class, Home::Own);
                let (index, handle) = self.party.insert(Kind::Area, area(tail));
                parts.areas.slots.set_handle(tail, index);
                (tail, handle)
            },
            |tail| (tail, to),
        );
        parts.close((mem, tlb), tail, last);
        match result {
            Err(refusal) if grown == there => Err(refusal),
            _ => Ok((Made { handle, slot: tail, pages: grown }, is_done)),
        }
    }
}

/// Moves leaves from the end of an area to the end of another until so many pages are left, or the step is over.
fn move_some<M: DirectMap, P: PhysMem>(
    hw: (&P, Format, &FrameStore<'_, M>),
    (account, management): (&mut Account, &mut Option<Charge>),
    (head, tail): (&mut Open, &mut Open),
    wanted: PageCount,
) -> Result<(), Refusal> {
    for _ in 0..STEP {
        let most = head.growing.pages().0.saturating_sub(wanted.0);
        let Some(last) = head.growing.last(hw.0).filter(|_| most > 0) else { break };
        let piece = piece_of(last, most, &tail.growing);
        move_leaf(hw, (&mut *account, &mut *management), (&mut *head, &mut *tail), piece)?;
    }
    Ok(())
}

/// What of an area's last leaf can be one leaf at the end of another: a block of it, or a page.
fn piece_of(last: LeafRun, most: u64, tail: &Growing) -> LeafRun {
    let block = AreaClass::Block.pages().0;
    let is_block = last.pages.0 >= block
        && most >= block
        && tail.class() != AreaClass::Page
        && tail.pages().0.is_multiple_of(block);
    let pages = if is_block { block } else { 1 };
    let before = last.pages.0.saturating_sub(pages);
    LeafRun { pa: last.pa.wrapping_add(before.wrapping_mul(PAGE_BYTES)), pages: PageCount(pages) }
}

/// Moves one leaf: it hangs in both until each has the tables that it needs.
///
/// # Errors
/// There was no table; nothing has changed then.
fn move_leaf<M: DirectMap, P: PhysMem>(
    (mem, format, store): (&P, Format, &FrameStore<'_, M>),
    (account, management): (&mut Account, &mut Option<Charge>),
    (head, tail): (&mut Open, &mut Open),
    LeafRun { pa, pages }: LeafRun,
) -> Result<(), Refusal> {
    let (from, to) = (head.number, tail.number);
    let mut tables = AreaTables { store, area: to, payer: Some((account, management)) };
    tail.growing.push((mem, format), &mut tables, pa, pages, 1).map_err(refusal)?;
    tables.area = from;
    let taken = head.growing.shorten((mem, format), &mut tables, pages);
    if let Err(reason) = taken {
        tables.area = to;
        tail.growing.pop(mem, &mut tables);
        return Err(refusal(reason));
    }
    let mut left = run_of(shikiri_pages::FrameRange { base: pa, pages });
    while left.pages.0 > 0 {
        left = left.after(store.change_some(left, FrameState::Area(from), FrameState::Area(to)));
    }
    Ok(())
}
