//! The tables that the core walks: their entries, the way to an address's leaf, and the end of all of them.

use shikiri_scos_files::Errno;

use super::{Access, Protection, Space};
use crate::{Frame, Memory, PAGE, Pool};

/// Entries of a table.
const ENTRIES: usize = 512;

pub(super) const VALID: u64 = 1;
const TABLE: u64 = 3;
/// A page: attribute 1 (write-back), inner shareable, accessed, not global, never executed by the kernel.
const LEAF: u64 = (1 << 53) | (1 << 11) | (1 << 10) | (3 << 8) | (1 << 2) | 2;
const FOR_PROGRAMS: u64 = 1 << 6;
pub(super) const READ_ONLY: u64 = 1 << 7;
pub(super) const NOT_EXECUTED: u64 = 1 << 54;
/// Ours (bits 58–55 are software's): the entry holds a frame, though it may not be valid.
pub(super) const HELD: u64 = 1 << 55;
pub(super) const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

impl Protection {
    /// The descriptor of a page with this protection.
    pub(crate) fn leaf(self, physical: u64) -> u64 {
        let mut entry = LEAF | HELD | FOR_PROGRAMS | (physical & ADDRESS);
        if self.allows(Access::Read) {
            entry |= VALID;
        }
        if !self.is_writable {
            entry |= READ_ONLY;
        }
        if !self.is_executable {
            entry |= NOT_EXECUTED;
        }
        entry
    }
}

/// A page that has a frame.
pub(super) struct HeldPage {
    /// Its address.
    pub(super) at: u64,
    /// The table of its leaf, and the leaf's place there.
    pub(super) table: Frame,
    pub(super) index: usize,
    /// The leaf.
    pub(super) entry: u64,
}

impl Space {
    /// The table of an address's leaf and its place there; if it has none, the first address that may have one again.
    pub(super) fn leaf_table<M: Memory>(
        &self,
        pool: &Pool<M>,
        address: u64,
    ) -> Result<(Frame, usize), u64> {
        let mut table = self.root;
        for level in [2, 1] {
            let entry = pool.memory.read_entry(table, index(address, level));
            let below = pool.memory.frame_at(entry & ADDRESS).filter(|_| entry & VALID != 0);
            table = below.ok_or_else(|| next_table(address, level))?;
        }
        Ok((table, index(address, 0)))
    }

    /// The first page from `from` on and before `end` that has a frame.
    pub(super) fn next_held<M: Memory>(
        &self,
        pool: &Pool<M>,
        from: u64,
        end: u64,
    ) -> Option<HeldPage> {
        let mut at = from;
        while at < end {
            match self.leaf_table(pool, at) {
                Ok((table, index)) => {
                    let entry = pool.memory.read_entry(table, index);
                    if entry & HELD != 0 {
                        return Some(HeldPage { at, table, index, entry });
                    }
                    at = at.saturating_add(PAGE);
                }
                Err(next) => at = next,
            }
        }
        None
    }

    /// As [`Space::leaf_table`]; tables that are missing are made.
    pub(crate) fn make_leaf_table<M: Memory>(
        &self,
        pool: &mut Pool<M>,
        address: u64,
    ) -> Result<(Frame, usize), Errno> {
        let mut table = self.root;
        for level in [2, 1] {
            let place = index(address, level);
            let entry = pool.memory.read_entry(table, place);
            table = if entry & VALID == 0 {
                let new = pool.take()?;
                let physical = pool.memory.physical(new);
                pool.memory.write_entry(table, place, physical | TABLE);
                new
            } else {
                pool.memory.frame_at(entry & ADDRESS).ok_or(Errno::EFAULT)?
            };
        }
        Ok((table, index(address, 0)))
    }
}

/// Gives back a table and those below it; leaves are gone already.
pub(super) fn give_tables<M: Memory>(pool: &mut Pool<M>, table: Frame, level: u32) {
    if level > 0 {
        for place in 0..ENTRIES {
            let entry = pool.memory.read_entry(table, place);
            if entry & VALID != 0
                && let Some(below) = pool.memory.frame_at(entry & ADDRESS)
            {
                give_tables(pool, below, level.saturating_sub(1));
            }
        }
    }
    pool.give(table);
}

/// The place of an address in the table of a level: 2 is the root.
fn index(address: u64, level: u32) -> usize {
    let shift = level.saturating_mul(9).saturating_add(12);
    usize::try_from((address >> shift) & 511).unwrap_or(0)
}

/// The first address behind what an entry of this level covers.
fn next_table(address: u64, level: u32) -> u64 {
    let span = PAGE << level.saturating_mul(9);
    (address & !span.wrapping_sub(1)).saturating_add(span)
}
