//! Subtrees that several partitions reach at a time: shared memory areas (C5).
//!
//! Stage 2 has no rights in its table descriptors. So a common subtree is two: the area's own, with read-write leaves, and
//! a copy of its tables with read-only ones. What a partition has of it is a [`View`]: the descriptor of one of the
//! two, linked at a slot of that partition. All views of a kind lead to the same tables, which do not change while there is one.
//!
//! ```text
//!   Linked + copy (Growing) ──Common::new──▶ Common + Mapped ──unlink_view──▶ View ──take_back──▶ Common
//!                                              │  ▲ link_view                                       │
//!                                              └──┴── view(access) ◀────────────────────────────────┘
//! ```
//!
//! A view cannot be opened, and a common subtree only when all its views have come back.

use shikiri_abi::{PAGE_BYTES, PageCount, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};

use crate::descriptor::{Access, Attributes};
use crate::subtree::{Growing, Linked, Subtree};
use crate::{Format, NoTable, Stage2, TablePages};

/// A subtree that several partitions can reach.
#[derive(Debug)]
#[must_use = "its frames and tables belong to somebody"]
pub struct Common {
    tree: Subtree,
    copy: Subtree,
    views: u32,
}

/// What a partition may link of a common subtree.
#[derive(Debug)]
#[must_use = "a common subtree counts its views"]
pub struct View(Subtree);

/// A view that hangs in a slot of a partition's window region.
#[derive(Debug)]
#[must_use = "a partition can reach its frames"]
pub struct Mapped(Linked);

impl Growing {
    /// Makes this a copy of a subtree with read-only leaves: at most `budget` leaves more; true when it is complete.
    ///
    /// # Errors
    /// [`NoTable`] if there was none for the first leaf; nothing has changed then.
    pub fn copy<M: PhysMem, P: TablePages>(
        &mut self,
        (mem, format): (&M, Format),
        tables: &mut P,
        from: &Linked,
        budget: u32,
    ) -> Result<bool, NoTable> {
        let bits = Attributes::RAM_READ_ONLY.bits(format);
        let mut has_begun = false;
        for _ in 0..budget {
            if self.pages() >= from.pages() {
                break;
            }
            let offset = self.pages().0.wrapping_mul(PAGE_BYTES);
            let leaf = from.subtree().leaf_at(mem, offset);
            match self.push_leaf(mem, tables, (leaf.pa, bits), leaf.pages.0) {
                Err(reason) if !has_begun => return Err(reason),
                Err(_later) => return Ok(false),
                Ok(_pages) => has_begun = true,
            }
        }
        Ok(self.pages() >= from.pages())
    }
}

impl Common {
    /// Makes a subtree common; where it hangs it is a view from here on. `copy` is a complete copy of it.
    ///
    /// # Panics
    /// If it is not: our bug.
    pub fn new<T: Tlb>(tlb: &T, linked: Linked, copy: Growing) -> (Self, Mapped) {
        let (slot, tree) = linked.into_parts();
        let Some(copy) = copy.finish(tlb).filter(|copy| copy.pages() == tree.pages()) else {
            unreachable!("stage 2: half a copy")
        };
        let mut common = Self { tree, copy, views: 0 };
        let View(subtree) = common.view(Access::ReadWrite);
        (common, Mapped(Linked::new(slot, subtree)))
    }

    /// A view for one more partition.
    pub fn view(&mut self, access: Access) -> View {
        self.views = self.views.saturating_add(1);
        View(match access {
            Access::ReadWrite => self.tree.again(),
            Access::ReadOnly => self.copy.again(),
        })
    }

    /// Takes a view back that hangs nowhere any more.
    pub fn take_back(&mut self, View(_hangs_nowhere): View) {
        self.views = self.views.saturating_sub(1);
    }

    /// Ends the sharing: what is left is the one view, as the subtree that it was, and the copy, to be taken apart.
    ///
    /// # Panics
    /// If there are other views: our bug.
    pub fn into_linked(self, Mapped(view): Mapped) -> (Linked, Growing) {
        assert!(self.views == 1, "stage 2: a common subtree has other views");
        (Linked::new(view.slot(), self.tree), self.copy.open())
    }

    /// Opens it and its copy, to be taken apart.
    ///
    /// # Panics
    /// If there is a view: our bug, and going on would free tables that lead to an area.
    pub fn open(self) -> (Growing, Growing) {
        assert!(self.views == 0, "stage 2: a common subtree has views");
        (self.tree.open(), self.copy.open())
    }

    /// How many views there are.
    #[must_use]
    pub const fn views(&self) -> u32 {
        self.views
    }

    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        self.tree.pages()
    }

    /// How many tables it has, with those of the copy.
    #[must_use]
    pub const fn tables(&self) -> u32 {
        self.tree.tables().saturating_add(self.copy.tables())
    }
}

impl Mapped {
    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        self.0.pages()
    }
}

impl Stage2 {
    /// [`Stage2::link`] for a view.
    ///
    /// # Panics
    /// As [`Stage2::link`].
    pub fn link_view<M: PhysMem, T: Tlb>(
        &mut self,
        hw: (&M, &T),
        slot: WindowSlot,
        View(subtree): View,
    ) -> Mapped {
        Mapped(self.link(hw.0, hw.1, slot, subtree))
    }

    /// [`Stage2::unlink`] for a view: the other partitions' stay as they are.
    ///
    /// # Panics
    /// As [`Stage2::unlink`].
    pub fn unlink_view<M: PhysMem, T: Tlb>(
        &mut self,
        hw: (&M, &T),
        Mapped(linked): Mapped,
    ) -> View {
        View(self.unlink(hw.0, hw.1, linked))
    }
}
