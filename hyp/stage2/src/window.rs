//! The window region: where message areas hang, one descriptor each (C3, design §6).
//!
//! The tables that lead to a slot's descriptor are made when the partition is built, and stay as long as it has its
//! address space: they may be empty, alone among our tables. So moving an area takes no table, and cannot fail.
//!
//! Moving is [`Stage2::unlink`] at the loser (break, invalidate, complete) and then [`Stage2::link`] at the winner, which
//! only writes. Ordinary mappings never reach into the region.

use shikiri_abi::{AreaClass, Pa, WINDOWS, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};

use crate::descriptor::{INVALID, Kind, address, kind, table};
use crate::reserve::Reserve;
use crate::split::is_empty;
use crate::subtree::{Linked, Subtree};
use crate::{IpaRange, Level, MapError, Stage2, TablePages, invalidate};

/// How many slots of each class a partition has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSizes {
    /// Slots of 4 KiB, 4,096 at most.
    pub pages: u16,
    /// Slots of 2 MiB, 512 at most.
    pub blocks: u16,
    /// Slots of 1 GiB, 510 at most.
    pub giants: u16,
}

impl WindowSizes {
    /// The slots of one class.
    #[must_use]
    pub const fn of(self, class: AreaClass) -> u16 {
        match class {
            AreaClass::Page => self.pages,
            AreaClass::Block => self.blocks,
            AreaClass::Giant => self.giants,
        }
    }

    /// Whether there are any.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.pages == 0 && self.blocks == 0 && self.giants == 0
    }

    /// The tables that lead to the slots: 10 at most.
    #[must_use]
    pub const fn tables(self) -> u32 {
        let pages = match self.lowest_tables() {
            0 => 0,
            below => below.saturating_add(1),
        };
        pages.saturating_add(if self.blocks == 0 { 0 } else { 1 })
    }

    /// The tables of the lowest level, with the slots of 4 KiB.
    const fn lowest_tables(self) -> u32 {
        // Widening, in a constant context.
        #[expect(clippy::as_conversions, reason = "u16 to u32 in a constant, widening")]
        let pages = self.pages as u32;
        pages.div_ceil(512)
    }

    fn is_possible(self) -> bool {
        AreaClass::ALL.into_iter().all(|class| self.of(class) <= class.most_slots())
    }
}

/// The IPA bits that the region needs.
const IPA_BITS: u32 = 40;

/// The tables of the lowest level that a region can have, with 512 slots of 4 KiB each.
const MOST_LOWEST: usize = 8;

/// The tables that hold the slots' descriptors, so that none of them is looked for when an area moves. They are made with the
/// region and stay as long as it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WindowTables {
    pages: [Pa; MOST_LOWEST],
    blocks: Pa,
}

impl Stage2 {
    /// Makes the tables that lead to the slots of a window region, once, before anything is mapped there.
    ///
    /// # Errors
    /// [`MapError::Range`] if the address space is too small or there are too many slots, [`MapError::NoTable`];
    /// nothing has changed then.
    pub fn make_windows<M: PhysMem, T: Tlb, P: TablePages>(
        &mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
        sizes: WindowSizes,
    ) -> Result<(), MapError> {
        let has_room = self.format.ipa_bits() == IPA_BITS && sizes.is_possible();
        if !has_room || !self.windows.is_none() {
            return Err(MapError::Range);
        }
        if let Some(leaf) = self.leaves_from(mem, WINDOWS).next() {
            return Err(MapError::Overlap { at: leaf.ipa });
        }
        let mut reserve = Reserve::take(mem, pages, sizes.tables())?;
        let [pages, blocks] = [AreaClass::Page, AreaClass::Block]
            .map(|class| (sizes.of(class) > 0).then(|| (class, reserve.pop(mem))));
        let blocks_table = blocks.map_or(Pa(0), |(_, blocks)| blocks);
        let mut tables = WindowTables { blocks: blocks_table, ..WindowTables::default() };
        for (index, place) in (0..u64::from(sizes.lowest_tables())).zip(&mut tables.pages) {
            let upper = pages.map_or(Pa(0), |(_, upper)| upper);
            *place = reserve.pop(mem);
            mem.write_u64(Pa(upper.0 | (index << 3)), table(*place));
        }
        // Whoever finds the tables finds them clean, down to the last.
        invalidate::publish(tlb);
        for (class, upper) in pages.into_iter().chain(blocks) {
            let at = Level::One.slot(self.root, WindowSlot { class, index: 0 }.ipa().0);
            mem.write_u64(at, table(upper));
        }
        invalidate::publish(tlb);
        (self.windows, self.window_tables) = (sizes, tables);
        Ok(())
    }

    /// Takes the region's tables away again: when no slot holds anything.
    ///
    /// # Panics
    /// If one does: our bug, and going on would free a table that leads to an area.
    pub fn drop_windows<M: PhysMem, T: Tlb, P: TablePages>(
        &mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
    ) {
        let mut freed = Reserve::EMPTY;
        for class in [AreaClass::Page, AreaClass::Block] {
            let at = Level::One.slot(self.root, WindowSlot { class, index: 0 }.ipa().0);
            let raw = mem.read_u64(at);
            if kind(Level::One, raw) == Kind::Table {
                mem.write_u64(at, INVALID);
                free_below(mem, address(raw), &mut freed);
            }
        }
        assert!(
            self.leaves_from(mem, WINDOWS).next().is_none(),
            "stage 2: an area outlives its window"
        );
        (self.windows, self.window_tables) = (WindowSizes::default(), WindowTables::default());
        if freed.count() > 0 {
            invalidate::whole_vmid(tlb, self.vttbr);
        }
        freed.give_all(mem, pages);
    }

    /// The slots of the window region.
    #[must_use]
    pub const fn windows(&self) -> WindowSizes {
        self.windows
    }

    /// Maps an area at a vacant slot of its class: one store. Nothing was cached there, since whatever was there
    /// before was unlinked to the end.
    ///
    /// # Panics
    /// If the partition has no such slot, or it is taken: our bug.
    #[inline(always)]
    pub fn link<M: PhysMem, T: Tlb>(
        &mut self,
        mem: &M,
        tlb: &T,
        slot: WindowSlot,
        subtree: Subtree,
    ) -> Linked {
        let at = self.place(slot);
        assert!(subtree.class() == slot.class, "stage 2: an area in a slot of another class");
        assert!(mem.read_u64(at) == INVALID, "stage 2: two areas in one slot");
        mem.write_u64(at, subtree.descriptor());
        invalidate::publish(tlb);
        Linked::new(slot, subtree)
    }

    /// Unmaps an area. When it returns, no core can reach it through this partition's tables, not even one that was
    /// in the middle of a walk.
    ///
    /// # Panics
    /// If it does not hang there: our bug.
    #[inline(always)]
    pub fn unlink<M: PhysMem, T: Tlb>(&mut self, mem: &M, tlb: &T, linked: Linked) -> Subtree {
        let (slot, subtree) = linked.into_parts();
        let at = self.place(slot);
        assert!(mem.read_u64(at) == subtree.descriptor(), "stage 2: an area is not in its slot");
        mem.write_u64(at, INVALID);
        if subtree.has_table() {
            // Walk-cache entries lead into the subtree whatever the IPA.
            invalidate::whole_vmid(tlb, self.vttbr);
        } else {
            invalidate::one_leaf(tlb, self.vttbr, slot.ipa());
        }
        subtree
    }

    /// Whether a range reaches into the window region.
    pub(crate) const fn is_in_windows(&self, range: IpaRange) -> bool {
        !self.windows.is_none() && range.end().0 > WINDOWS.0
    }

    /// Where a slot's descriptor is.
    ///
    /// # Panics
    /// If the partition has no such slot: our bug.
    #[inline(always)]
    fn place(&self, slot: WindowSlot) -> Pa {
        assert!(slot.index < self.windows.of(slot.class), "stage 2: there is no such slot");
        let WindowTables { pages, blocks } = &self.window_tables;
        let index = u64::from(slot.index);
        match slot.class {
            AreaClass::Page => {
                let lowest = pages.get(usize::from(slot.index >> 9));
                Level::Three.slot(lowest.copied().unwrap_or_default(), index << 12)
            }
            AreaClass::Block => Level::Two.slot(*blocks, index << 21),
            AreaClass::Giant => Level::One.slot(self.root, slot.ipa().0),
        }
    }
}

/// Collects a table that was taken out of the root, and those below it. None of them has a leaf.
fn free_below<M: PhysMem>(mem: &M, upper: Pa, freed: &mut Reserve) {
    for index in 0..512_u64 {
        let at = Pa(upper.0 | (index << 3));
        let raw = mem.read_u64(at);
        if kind(Level::Two, raw) == Kind::Table {
            let is_vacant = is_empty(mem, address(raw), Level::Three);
            assert!(is_vacant, "stage 2: an area outlives its window");
            mem.write_u64(at, INVALID);
            freed.push(mem, address(raw));
        } else {
            assert!(raw == INVALID, "stage 2: an area outlives its window");
        }
    }
    freed.push(mem, upper);
}
