//! Unmapping, in bounded steps.

use crate::descriptor::{INVALID, Kind, address, kind};
use crate::invalidate::Stale;
use crate::reserve::Reserve;
use crate::split::is_empty;
use crate::{IpaRange, Level, MapError, Progress, Stage2, TablePages};
use shikiri_abi::{Ipa, Pa};
use shikiri_arch::hw::{PhysMem, Tlb};

/// An unmapping that has the tables it needs to split the leaves at its ends;
/// [`PreparedUnmap::commit`] cannot fail.
#[derive(Debug)]
#[must_use = "commit it or abandon it: its table pages are charged"]
pub struct PreparedUnmap<'a> {
    tables: &'a mut Stage2,
    range: IpaRange,
    reserve: Reserve,
}

impl Stage2 {
    /// Checks an unmapping and reserves the tables that its ends need: four at most, none if no leaf
    /// crosses an end. Holes in the range are allowed.
    ///
    /// # Errors
    /// [`MapError::Range`] in the window region, [`MapError::NoTable`]; nothing has changed then, and nothing is charged.
    pub fn prepare_unmap<M: PhysMem, P: TablePages>(
        &mut self,
        mem: &M,
        pages: &mut P,
        range: IpaRange,
    ) -> Result<PreparedUnmap<'_>, MapError> {
        if self.is_in_windows(range) {
            return Err(MapError::Range);
        }
        let needed = self.tables_to_split(mem, range);
        let reserve = Reserve::take(mem, pages, needed)?;
        Ok(PreparedUnmap { tables: self, range, reserve })
    }

    /// Prepares and commits one step of an unmapping ([`PreparedUnmap::commit`]).
    ///
    /// # Errors
    /// As [`Stage2::prepare_unmap`]; never for the range from where a step stopped.
    pub fn unmap<M: PhysMem, T: Tlb, P: TablePages>(
        &mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
        range: IpaRange,
        budget: u32,
    ) -> Result<Progress, MapError> {
        Ok(self.prepare_unmap(mem, pages, range)?.commit(mem, tlb, pages, budget))
    }
}

impl PreparedUnmap<'_> {
    /// Unmaps from the start of the range on, until it ends or `budget` leaves and holes (at least
    /// one) were looked at. When it returns, no core can reach what was unmapped, and only then the emptied tables
    /// went back to `pages`.
    pub fn commit<M: PhysMem, T: Tlb, P: TablePages>(
        mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
        budget: u32,
    ) -> Progress {
        self.tables.split_ends(mem, tlb, self.range, &mut self.reserve);
        assert!(self.reserve.count() == 0, "stage 2: a split needed fewer tables than counted");
        let left = budget.max(1);
        let mut clear = Clear { mem, left, stale: Stale::Nothing, freed: Reserve::EMPTY };
        let (start, end) = (self.range.start().0, self.range.end().0);
        let stopped = clear.table(self.tables.root, Level::One, start, end);
        clear.stale.invalidate(tlb, self.tables.vttbr);
        clear.freed.give_all(mem, pages);
        if stopped == end { Progress::Done } else { Progress::StoppedAt(Ipa(stopped)) }
    }

    /// Gives the reserved pages back: as if it had not been prepared.
    pub fn abandon<M: PhysMem, P: TablePages>(self, mem: &M, pages: &mut P) {
        self.reserve.give_all(mem, pages);
    }
}

/// Clears descriptors, and remembers what that makes stale and which tables it empties.
struct Clear<'a, M> {
    mem: &'a M,
    left: u32,
    stale: Stale,
    freed: Reserve,
}

impl<M: PhysMem> Clear<'_, M> {
    /// Clears the part of one table; returns where it stopped. Depth is bounded by the levels.
    fn table(&mut self, table_at: Pa, level: Level, start: u64, end: u64) -> u64 {
        let mut ipa = start;
        while ipa < end && self.left > 0 {
            let here_end = (ipa | level.bytes().wrapping_sub(1)).wrapping_add(1).min(end);
            let slot = level.slot(table_at, ipa);
            let raw = self.mem.read_u64(slot);
            match (kind(level, raw), level.below()) {
                (Kind::Table, Some(below)) => {
                    let stopped = self.table(address(raw), below, ipa, here_end);
                    self.free_if_empty(slot, address(raw), below);
                    if stopped < here_end {
                        return stopped;
                    }
                }
                // No leaf crosses the range's ends any more: this one lies inside.
                (Kind::Leaf, _) => {
                    self.left = self.left.saturating_sub(1);
                    self.mem.write_u64(slot, INVALID);
                    self.stale = self.stale.and_leaf(Ipa(ipa));
                }
                (Kind::Invalid | Kind::Table, _) => self.left = self.left.saturating_sub(1),
            }
            ipa = here_end;
        }
        ipa
    }

    /// Takes an emptied table out of its parent. Its page is given back only after the invalidation.
    fn free_if_empty(&mut self, slot: Pa, child: Pa, below: Level) {
        if is_empty(self.mem, child, below) {
            self.mem.write_u64(slot, INVALID);
            self.stale = Stale::Several;
            self.freed.push(self.mem, child);
        }
    }
}
