//! Changing what a guest may do with memory that stays where it is.

use crate::descriptor::leaf;
use crate::invalidate::Stale;
use crate::reserve::Reserve;
use crate::{
    Access, Attributes, Execute, IpaRange, MapError, Memory, Progress, Stage2, TablePages,
};
use shikiri_arch::hw::{PhysMem, Tlb};

/// A change of access that was checked and has its table pages; [`PreparedProtect::commit`] cannot fail.
#[derive(Debug)]
#[must_use = "commit it or abandon it: its table pages are charged"]
pub struct PreparedProtect<'a> {
    tables: &'a mut Stage2,
    range: IpaRange,
    progress: Progress,
    attributes: Attributes,
    reserve: Reserve,
}

impl Stage2 {
    /// Checks a change of access to normal memory, and reserves the tables that its ends need.
    ///
    /// One step looks at `budget` leaves at most (at least one) and covers the range from its start as far
    /// as they reach: [`PreparedProtect::commit`] says how far.
    ///
    /// # Errors
    /// [`MapError::NotMapped`], [`MapError::DeviceMemory`], [`MapError::Range`] in the window region, or
    /// [`MapError::NoTable`]; nothing of this step has changed then, and nothing is charged.
    pub fn prepare_protect<M: PhysMem, P: TablePages>(
        &mut self,
        mem: &M,
        pages: &mut P,
        range: IpaRange,
        rights: (Access, Execute),
        budget: u32,
    ) -> Result<PreparedProtect<'_>, MapError> {
        let (range, progress) = self.check_protect(mem, range, budget)?;
        let needed = self.tables_to_split(mem, range);
        let reserve = Reserve::take(mem, pages, needed)?;
        let (access, execute) = rights;
        let attributes = Attributes { memory: Memory::Normal, access, execute };
        Ok(PreparedProtect { tables: self, range, progress, attributes, reserve })
    }

    /// Prepares and commits one step of a change of access.
    ///
    /// # Errors
    /// As [`Stage2::prepare_protect`].
    pub fn protect<M: PhysMem, T: Tlb, P: TablePages>(
        &mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
        range: IpaRange,
        rights: (Access, Execute),
        budget: u32,
    ) -> Result<Progress, MapError> {
        Ok(self.prepare_protect(mem, pages, range, rights, budget)?.commit(mem, tlb))
    }

    /// Checks the leaves of one step; answers the step's range and how far it comes.
    fn check_protect<M: PhysMem>(
        &self,
        mem: &M,
        range: IpaRange,
        budget: u32,
    ) -> Result<(IpaRange, Progress), MapError> {
        if self.is_in_windows(range) {
            return Err(MapError::Range);
        }
        let mut at = range.start();
        for _ in 0..budget.max(1) {
            let leaf = self.leaf_at(mem, at).ok_or(MapError::NotMapped { at })?;
            if leaf.attributes.memory == Memory::Device {
                return Err(MapError::DeviceMemory { at });
            }
            at = at.wrapping_add(leaf.bytes_from(at));
            if at >= range.end() {
                return Ok((range, Progress::Done));
            }
        }
        Ok((range.up_to(at), Progress::StoppedAt(at)))
    }
}

impl PreparedProtect<'_> {
    /// Changes the leaves. When it returns, every core obeys the new rights. Rights change in place: only
    /// a change of size, address or memory type needs break-before-make (Arm ARM D8.17.1).
    pub fn commit<M: PhysMem, T: Tlb>(mut self, mem: &M, tlb: &T) -> Progress {
        self.tables.split_ends(mem, tlb, self.range, &mut self.reserve);
        assert!(self.reserve.count() == 0, "stage 2: a split needed fewer tables than counted");
        let bits = self.attributes.bits(self.tables.format);
        let mut stale = Stale::Nothing;
        let mut at = self.range.start();
        while at < self.range.end() {
            let Some((slot, _raw, old)) = self.tables.slot_of(mem, at) else { break };
            mem.write_u64(slot, leaf(old.level, old.pa.0, bits));
            stale = stale.and_leaf(at);
            at = at.wrapping_add(old.bytes());
        }
        stale.invalidate(tlb, self.tables.vttbr);
        self.progress
    }

    /// Gives the reserved pages back: as if it had not been prepared.
    pub fn abandon<M: PhysMem, P: TablePages>(self, mem: &M, pages: &mut P) {
        self.reserve.give_all(mem, pages);
    }
}
