//! A process's address space: its areas, and the tables that the core walks (TTBR0_EL1: 39 bits, 4 KiB pages, three
//! levels; Arm ARM D8.3).
//!
//! Areas say what may be; pages get their frames when they are first touched, by the program or by a copy of the kernel.
//! Every copy goes through the tables here and checks as the core would, so that the kernel never uses a program's
//! address itself.

mod copy;
mod pages;
mod protection;
mod tables;

pub use protection::{Access, Protection};

use alloc::vec::Vec;

use shikiri_scos_files::Errno;
use tables::{ADDRESS, HeldPage, give_tables};

use crate::{Frame, Guest, Memory, PAGE, Pool};

/// The first address above a program's part.
pub const USER_END: u64 = 1 << 39;
/// Segments of a program lie below this.
pub(crate) const PROGRAM_END: u64 = 0x40_0000_0000;
/// Mappings without an address go below this.
const MAPPINGS_END: u64 = 0x7f_0000_0000;
/// Nothing is mapped below this: what is near a null pointer faults.
const LOWEST: u64 = 0x1_0000;
/// The most areas of a space.
const MOST_AREAS: usize = 1024;

/// A run of pages with one protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its first address.
    pub start: u64,
    /// The first address above it.
    pub end: u64,
    /// What may be done with it.
    pub protection: Protection,
    /// Whether a fork shares its pages.
    pub is_shared: bool,
}

/// An address space. Who drops one has cleared it and given its root back ([`Space::end`]).
#[derive(Debug)]
pub struct Space {
    root: Frame,
    asid: u16,
    areas: Vec<Area>,
    resident: usize,
    /// Memory that is not of the frames, and what of it was unmapped and not told yet.
    pub(crate) guests: Vec<Guest>,
    pub(crate) unmapped: Vec<Guest>,
    /// Where the heap of `brk` starts.
    pub heap_start: u64,
    /// Where it ends.
    pub heap_end: u64,
}

impl Space {
    /// An empty one, known to the core by this ASID.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new<M: Memory>(pool: &mut Pool<M>, asid: u16) -> Result<Self, Errno> {
        let root = pool.take()?;
        Ok(Self {
            root,
            asid,
            areas: Vec::new(),
            resident: 0,
            guests: Vec::new(),
            unmapped: Vec::new(),
            heap_start: 0,
            heap_end: 0,
        })
    }

    /// What the core is told: the root's frame and the ASID.
    #[must_use]
    pub const fn root(&self) -> (Frame, u16) {
        (self.root, self.asid)
    }

    /// The areas by ascending addresses.
    #[must_use]
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// How many pages have a frame.
    #[must_use]
    pub const fn resident(&self) -> usize {
        self.resident
    }

    /// Makes an area of whole pages, in place of what was there.
    ///
    /// # Errors
    /// EINVAL if it is empty, not of whole pages or not in the program's part; ENOMEM if there are too many.
    pub fn map<M: Memory>(&mut self, pool: &mut Pool<M>, area: Area) -> Result<(), Errno> {
        check_range(area.start, area.end)?;
        if area.start < LOWEST {
            return Err(Errno::EPERM);
        }
        self.unmap(pool, area.start, area.end)?;
        if self.areas.len() >= MOST_AREAS {
            return Err(Errno::ENOMEM);
        }
        let at = self.areas.partition_point(|other| other.start < area.start);
        self.areas.insert(at, area);
        self.join(at);
        Ok(())
    }

    /// Joins the area at this place with its neighbours, where they are alike.
    fn join(&mut self, at: usize) {
        for first in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            let Some(second) = first.checked_add(1) else { continue };
            let (Some(lower), Some(upper)) =
                (self.areas.get(first).copied(), self.areas.get(second).copied())
            else {
                continue;
            };
            let is_alike =
                lower.protection == upper.protection && lower.is_shared == upper.is_shared;
            if lower.end == upper.start && is_alike {
                self.areas.remove(second);
                if let Some(joined) = self.areas.get_mut(first) {
                    joined.end = upper.end;
                }
            }
        }
    }

    /// Takes away what is mapped from `start` to `end`.
    ///
    /// # Errors
    /// EINVAL as [`Space::map`]; ENOMEM if a hole would make too many areas.
    pub fn unmap<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        start: u64,
        end: u64,
    ) -> Result<(), Errno> {
        check_range(start, end)?;
        // Other memory than the frames goes as a whole.
        let (start, end) = self.with_whole_guests(start, end);
        self.split(start)?;
        self.split(end)?;
        self.forget_guests(start, end);
        let gone: Vec<Area> =
            self.areas.extract_if(.., |area| area.start >= start && area.end <= end).collect();
        for area in gone {
            self.give_pages(pool, area.start, area.end);
        }
        Ok(())
    }

    /// Makes an area begin at `at`, if one goes across it.
    fn split(&mut self, at: u64) -> Result<(), Errno> {
        let Some(index) = self.areas.iter().position(|area| area.start < at && at < area.end)
        else {
            return Ok(());
        };
        if self.areas.len() >= MOST_AREAS {
            return Err(Errno::ENOMEM);
        }
        let Some(lower) = self.areas.get_mut(index) else { return Ok(()) };
        let upper = Area { start: at, ..*lower };
        lower.end = at;
        self.areas.insert(index.saturating_add(1), upper);
        Ok(())
    }

    /// Takes the frames of private pages from `start` to `end` away: they are zero when they are touched again.
    ///
    /// # Errors
    /// EINVAL as [`Space::map`]; ENOMEM if a part is not mapped.
    pub fn discard<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        start: u64,
        end: u64,
    ) -> Result<(), Errno> {
        check_range(start, end)?;
        if !self.is_covered(start, end) {
            return Err(Errno::ENOMEM);
        }
        let private: Vec<Area> =
            self.areas.iter().filter(|area| !area.is_shared).copied().collect();
        for area in private {
            self.give_pages(pool, area.start.max(start), area.end.min(end));
        }
        Ok(())
    }

    /// Changes the protection from `start` to `end`.
    ///
    /// # Errors
    /// EINVAL as [`Space::map`]; ENOMEM if a part is not mapped, or too many areas come of it.
    pub fn protect<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        start: u64,
        end: u64,
        protection: Protection,
    ) -> Result<(), Errno> {
        check_range(start, end)?;
        if !self.is_covered(start, end) {
            return Err(Errno::ENOMEM);
        }
        self.check_guests(start, end, protection)?;
        self.split(start)?;
        self.split(end)?;
        for area in self.areas.iter_mut().filter(|area| area.start >= start && area.end <= end) {
            area.protection = protection;
        }
        let mut from = start;
        while let Some(HeldPage { at, table, index, entry }) = self.next_held(pool, from, end) {
            // Break before make (Arm ARM D8.16.1) is not asked for by a change of permissions.
            pool.memory.write_entry(table, index, protection.leaf(entry & ADDRESS));
            pool.memory.forget(self.asid, at);
            if protection.is_executable
                && let Some(frame) = pool.memory.frame_at(entry & ADDRESS)
            {
                pool.memory.clean_code(frame);
            }
            from = at.saturating_add(PAGE);
        }
        Ok(())
    }

    /// Whether everything from `start` to `end` is mapped.
    #[must_use]
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        while at < end {
            match self.area_of(at) {
                Some(area) => at = area.end,
                None => return false,
            }
        }
        true
    }

    /// Whether nothing from `start` to `end` is mapped.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        !self.areas.iter().any(|area| area.start < end && start < area.end)
    }

    /// The area of an address.
    #[must_use]
    pub fn area_of(&self, address: u64) -> Option<&Area> {
        let after = self.areas.partition_point(|area| area.start <= address);
        self.areas.get(after.checked_sub(1)?).filter(|area| address < area.end)
    }

    /// Where `bytes` of whole pages fit: the highest place below the mappings' end.
    #[must_use]
    pub fn find_room(&self, bytes: u64) -> Option<u64> {
        let mut end = MAPPINGS_END;
        for area in self.areas.iter().rev() {
            if area.end <= end && end.checked_sub(area.end)? >= bytes {
                break;
            }
            end = end.min(area.start);
        }
        end.checked_sub(bytes).filter(|start| *start >= PROGRAM_END)
    }

    /// A copy for a new process: shared areas share their frames. What is not of the frames it does not have.
    ///
    /// # Errors
    /// ENOMEM; what was made so far has been given back.
    pub fn fork<M: Memory>(&mut self, pool: &mut Pool<M>, asid: u16) -> Result<Self, Errno> {
        let mut new = Self::new(pool, asid)?;
        new.areas.clone_from(&self.areas);
        (new.heap_start, new.heap_end) = (self.heap_start, self.heap_end);
        let copied = self.areas.iter().try_for_each(|area| self.copy_area(pool, &mut new, area));
        let ranges = self.guests.iter().map(|guest| (guest.start, guest.end));
        let copied = copied
            .and_then(|()| ranges.clone().try_for_each(|(start, end)| new.unmap(pool, start, end)));
        match copied {
            Ok(()) => Ok(new),
            Err(error) => {
                new.end(pool);
                Err(error)
            }
        }
    }

    fn copy_area<M: Memory>(
        &self,
        pool: &mut Pool<M>,
        new: &mut Self,
        area: &Area,
    ) -> Result<(), Errno> {
        let mut from = area.start;
        while let Some(HeldPage { at, entry, .. }) = self.next_held(pool, from, area.end) {
            if let Some(frame) = pool.memory.frame_at(entry & ADDRESS) {
                // What nobody can write is never told apart from a copy.
                if area.is_shared {
                    new.lend(pool, at, frame)?;
                } else {
                    let copy = new.frame_of(pool, at, area.protection)?;
                    pool.memory.copy(frame, copy);
                    if area.protection.is_executable {
                        pool.memory.clean_code(copy);
                    }
                }
            }
            from = at.saturating_add(PAGE);
        }
        Ok(())
    }

    /// Gives everything back.
    pub fn end<M: Memory>(mut self, pool: &mut Pool<M>) {
        for area in core::mem::take(&mut self.areas) {
            self.give_pages(pool, area.start, area.end);
        }
        give_tables(pool, self.root, 2);
    }
}

pub(crate) fn check_range(start: u64, end: u64) -> Result<(), Errno> {
    let is_right =
        start < end && end <= USER_END && start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE);
    if is_right { Ok(()) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests;
