//! Which frames the pages have: one when a page is first touched, a shared one before that; and what gives them back.

use shikiri_scos_files::Errno;

use super::tables::{ADDRESS, HELD, HeldPage};
use super::{Access, Protection, Space};
use crate::{Frame, Memory, PAGE, Pool};

impl Space {
    /// The frame of a page that a program or the kernel touches; it gets one if it has none.
    ///
    /// # Errors
    /// EFAULT if nothing is there that may be used so; ENOMEM.
    pub fn touch<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        access: Access,
    ) -> Result<Frame, Errno> {
        let protection = self.area_of(address).ok_or(Errno::EFAULT)?.protection;
        if !protection.allows(access) {
            return Err(Errno::EFAULT);
        }
        self.frame_of(pool, address, protection)
    }

    /// Gives all mapped pages from `start` to `end` their frames: shared ones have them before anybody could have others.
    ///
    /// # Errors
    /// EFAULT if a part is not mapped; ENOMEM.
    pub fn populate<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        start: u64,
        end: u64,
    ) -> Result<(), Errno> {
        let mut at = start;
        while at < end {
            let protection = self.area_of(at).ok_or(Errno::EFAULT)?.protection;
            self.frame_of(pool, at, protection)?;
            at = at.saturating_add(PAGE);
        }
        Ok(())
    }

    /// Has a page that is mapped use this frame, which becomes the space's: for pages that several spaces have.
    ///
    /// # Errors
    /// EFAULT if nothing is mapped there; ENOMEM.
    pub fn lend<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        frame: Frame,
    ) -> Result<(), Errno> {
        let protection = self.area_of(address).ok_or(Errno::EFAULT)?.protection;
        let (table, index) = self.make_leaf_table(pool, address)?;
        pool.share(frame)?;
        let physical = pool.memory.physical(frame);
        pool.memory.write_entry(table, index, protection.leaf(physical));
        self.resident = self.resident.saturating_add(1);
        Ok(())
    }

    /// The frame of a mapped page; it gets one if it has none.
    pub(super) fn frame_of<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        protection: Protection,
    ) -> Result<Frame, Errno> {
        if self.guest_at(address).is_some() {
            return Err(Errno::EFAULT);
        }
        let (table, index) = self.make_leaf_table(pool, address)?;
        let entry = pool.memory.read_entry(table, index);
        if entry & HELD != 0 {
            return pool.memory.frame_at(entry & ADDRESS).ok_or(Errno::EFAULT);
        }
        let frame = pool.take()?;
        let physical = pool.memory.physical(frame);
        if protection.is_executable {
            pool.memory.clean_code(frame);
        }
        pool.memory.write_entry(table, index, protection.leaf(physical));
        self.resident = self.resident.saturating_add(1);
        Ok(frame)
    }

    /// Gives back the frames of the pages from `start` to `end`.
    pub(crate) fn give_pages<M: Memory>(&mut self, pool: &mut Pool<M>, start: u64, end: u64) {
        let mut from = start;
        while let Some(HeldPage { at, table, index, entry }) = self.next_held(pool, from, end) {
            pool.memory.write_entry(table, index, 0);
            pool.memory.forget(self.asid, at);
            if let Some(frame) = pool.memory.frame_at(entry & ADDRESS) {
                self.resident = self.resident.saturating_sub(1);
                pool.give(frame);
            }
            from = at.saturating_add(PAGE);
        }
    }
}
