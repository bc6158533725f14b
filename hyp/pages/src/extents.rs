//! The free extents: a buddy system whose lists go through the records of the blocks.
//!
//! An extent is a power of two of 2 MiB blocks, aligned to its size; the record of its first block says how large it
//! is, and who stands before and behind it in the list of its class. So an extent leaves a list without a search, and
//! what a release costs does not grow with what lies free. Free memory itself is never touched.

use crate::table::Table;

/// Classes of extents: the largest has 2^9 blocks, 1 GiB, what a level-1 descriptor maps.
const CLASSES: usize = 10;
/// The class of the largest extent.
pub(crate) const LARGEST: u32 = 9;
/// The number that no block has.
const NONE: usize = usize::MAX;

/// The first extent of each class's list.
pub(crate) struct Extents([usize; CLASSES]);

impl Extents {
    pub(crate) const fn new() -> Self {
        Self([NONE; CLASSES])
    }

    /// Takes an extent of 2^`class` blocks off the smallest one that is large enough; answers its first block.
    pub(crate) fn take(&mut self, table: &mut Table, class: u32) -> Option<usize> {
        let (mut larger, index) = (class..)
            .zip(self.0.iter().skip(to_usize(class)).copied())
            .find(|(_, index)| *index != NONE)?;
        self.remove(table, index, larger);
        while larger > class {
            larger = larger.saturating_sub(1);
            self.insert(table, index.saturating_add(1 << larger), larger);
        }
        Some(index)
    }

    /// Takes an extent back, whose records say already that it is free, and joins it with its buddy, and the two with
    /// theirs, as long as they are free.
    pub(crate) fn give(&mut self, table: &mut Table, index: usize, class: u32) {
        let (mut index, mut class) = (index, class);
        while class < LARGEST
            && let Some(buddy) = table.buddy(index, class)
            // A free block at such an address is the first of its extent: if it stood inside one, so would this.
            && table.block(buddy).extent_class() == Some(class)
        {
            self.remove(table, buddy, class);
            index = index.min(buddy);
            class = class.saturating_add(1);
        }
        self.insert(table, index, class);
    }

    /// Puts an extent at the front of its list.
    fn insert(&mut self, table: &mut Table, index: usize, class: u32) {
        let first = self.replace_first(class, index);
        table.block(index).enter(class, (NONE, first));
        if first != NONE {
            table.block(first).set_previous(index);
        }
    }

    /// Takes an extent out of its list.
    fn remove(&mut self, table: &mut Table, index: usize, class: u32) {
        let (previous, next) = table.block(index).links();
        if previous == NONE {
            self.replace_first(class, next);
        } else {
            table.block(previous).set_next(next);
        }
        if next != NONE {
            table.block(next).set_previous(previous);
        }
    }

    fn replace_first(&mut self, class: u32, index: usize) -> usize {
        let first = self.0.get_mut(to_usize(class));
        first.map_or(NONE, |first| core::mem::replace(first, index))
    }
}

fn to_usize(class: u32) -> usize {
    usize::try_from(class).unwrap_or(CLASSES)
}
