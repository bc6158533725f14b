//! Subtrees: the part of a translation that belongs to a message area and moves with it (C3, design §6).
//!
//! ```text
//!       push, pop, shorten                   (Stage2) link
//!   Growing ───────────▶ Growing ──finish──▶ Subtree ────────▶ Linked
//!      ▲                                      │    ◀────────
//!      └──────────────── open ────────────────┘      unlink
//! ```
//!
//! An area of one leaf is that leaf; any other is a table of its own with what hangs below. Its descriptor is the same
//! wherever it hangs, so that moving an area is one store out and one in, whatever its size and however scattered its
//! frames. Attributes: Normal Write-Back, read-write, never executed, at both ends.
//!
//! Only a [`Growing`] one changes, and no walker can find it: the types keep the two apart.

use shikiri_abi::{AreaClass, PAGE_BYTES, Pa, PageCount, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};

use crate::descriptor::{INVALID, Kind, address, kind, leaf, table};
use crate::reserve::Reserve;
use crate::{Attributes, Format, Level, NoTable, TablePages, invalidate};

/// The level of the descriptor that a class's slots consist of.
pub(crate) const fn level_of(class: AreaClass) -> Level {
    match class {
        AreaClass::Page => Level::Three,
        AreaClass::Block => Level::Two,
        AreaClass::Giant => Level::One,
    }
}

/// The pages under one descriptor.
const fn pages_under(level: Level) -> u64 {
    level.bytes() / PAGE_BYTES
}

/// log2 of the pages of a block of 2 MiB, and the bits of a page's number in one.
const BLOCK_SHIFT: u32 = 9;
const BLOCK_REST: u64 = 511;

/// A run of frames under one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafRun {
    /// The first frame.
    pub pa: Pa,
    /// How many: 1, 512 or 262,144, or what was taken off such a one.
    pub pages: PageCount,
}

/// A subtree that is being put together or taken apart. Linear: its tables are charged.
#[derive(Debug)]
#[must_use = "its tables are charged"]
pub struct Growing {
    class: AreaClass,
    /// The descriptor that a slot will hold; [`INVALID`] while it is empty.
    descriptor: u64,
    pages: u64,
    tables: u32,
}

/// A complete subtree that no walker can find.
#[derive(Debug)]
#[must_use = "its frames and tables belong to somebody"]
pub struct Subtree(Growing);

/// A subtree that hangs in a slot of a partition's window region.
#[derive(Debug)]
#[must_use = "a partition can reach its frames"]
pub struct Linked {
    slot: WindowSlot,
    subtree: Subtree,
}

impl Growing {
    /// An empty one for areas of a class.
    pub const fn new(class: AreaClass) -> Self {
        Self { class, descriptor: INVALID, pages: 0, tables: 0 }
    }

    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        PageCount(self.pages)
    }

    /// How many tables it has.
    #[must_use]
    pub const fn tables(&self) -> u32 {
        self.tables
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> AreaClass {
        self.class
    }

    /// Appends frames from `pa` on with the largest leaves that fit, at most `budget` leaves; answers how many pages
    /// were appended, none if it is full.
    ///
    /// # Errors
    /// [`NoTable`] if there was none for the first leaf; nothing has changed then.
    pub fn push<M: PhysMem, P: TablePages>(
        &mut self,
        (mem, format): (&M, Format),
        tables: &mut P,
        pa: Pa,
        pages: PageCount,
        budget: u32,
    ) -> Result<PageCount, NoTable> {
        let bits = Attributes::RAM_NO_EXECUTE.bits(format);
        let room = self.class.pages().0.saturating_sub(self.pages).min(pages.0);
        let mut done = 0_u64;
        for _ in 0..budget {
            if done >= room {
                break;
            }
            let at = pa.wrapping_add(done.wrapping_mul(PAGE_BYTES));
            match self.push_leaf(mem, tables, (at, bits), room.saturating_sub(done)) {
                Ok(more) => done = done.saturating_add(more),
                Err(reason) if done == 0 => return Err(reason),
                Err(_later) => break,
            }
        }
        Ok(PageCount(done))
    }

    /// Appends one leaf of at most `most` pages, with the tables on the way to it.
    pub(crate) fn push_leaf<M: PhysMem, P: TablePages>(
        &mut self,
        mem: &M,
        tables: &mut P,
        (pa, bits): (Pa, u64),
        most: u64,
    ) -> Result<u64, NoTable> {
        let top = level_of(self.class);
        let offset = self.pages.wrapping_mul(PAGE_BYTES);
        let size = largest(top, offset | pa.0, most);
        let mut reserve = Reserve::take(mem, tables, self.missing(mem, size, offset))?;
        self.tables = self.tables.saturating_add(reserve.count());
        let (mut level, mut holder) = (top, None);
        while level < size {
            let raw = self.read(mem, holder, level, offset);
            let below = if kind(level, raw) == Kind::Table {
                address(raw)
            } else {
                let fresh = reserve.pop(mem);
                self.write(mem, holder, (level, offset), table(fresh));
                fresh
            };
            holder = Some(below);
            level = level.below().unwrap_or(Level::Three);
        }
        self.write(mem, holder, (level, offset), leaf(level, pa.0, bits));
        self.pages = self.pages.saturating_add(pages_under(size));
        Ok(pages_under(size))
    }

    /// How many tables a leaf of level `size` at `offset` needs beside those that are there.
    fn missing<M: PhysMem>(&self, mem: &M, size: Level, offset: u64) -> u32 {
        let (mut level, mut holder, mut missing) = (level_of(self.class), None, 0_u32);
        let mut is_there = true;
        while level < size {
            let raw = if is_there { self.read(mem, holder, level, offset) } else { INVALID };
            is_there = kind(level, raw) == Kind::Table;
            if is_there {
                holder = Some(address(raw));
            } else {
                missing = missing.saturating_add(1);
            }
            level = level.below().unwrap_or(Level::Three);
        }
        missing
    }

    /// The last leaf; `None` if it is empty.
    pub fn last<M: PhysMem>(&self, mem: &M) -> Option<LeafRun> {
        let offset = self.pages.checked_sub(1)?.wrapping_mul(PAGE_BYTES);
        let (level, _, raw) = self.leaf_of(mem, offset);
        Some(LeafRun { pa: address(raw), pages: PageCount(pages_under(level)) })
    }

    /// Takes the last leaf off, and gives the tables back that it leaves empty; `None` if it is empty.
    pub fn pop<M: PhysMem, P: TablePages>(&mut self, mem: &M, tables: &mut P) -> Option<LeafRun> {
        let offset = self.pages.checked_sub(1)?.wrapping_mul(PAGE_BYTES);
        let (level, holder, raw) = self.leaf_of(mem, offset);
        let pages = pages_under(level);
        self.write(mem, holder, (level, offset), INVALID);
        self.pages = self.pages.saturating_sub(pages);
        self.give_emptied(mem, tables);
        Some(LeafRun { pa: address(raw), pages: PageCount(pages) })
    }

    /// Takes up to `most` pages off the end, one leaf or a part of one; `None` if there are none to be taken. A leaf of which a part
    /// stays becomes smaller ones, in one or two tables that are taken first.
    ///
    /// # Errors
    /// [`NoTable`]; nothing has changed then.
    pub fn shorten<M: PhysMem, P: TablePages>(
        &mut self,
        (mem, format): (&M, Format),
        tables: &mut P,
        most: PageCount,
    ) -> Result<Option<LeafRun>, NoTable> {
        let (Some(last), 1..) = (self.pages.checked_sub(1), most.0) else { return Ok(None) };
        let offset = last.wrapping_mul(PAGE_BYTES);
        let (level, holder, raw) = self.leaf_of(mem, offset);
        let pages = pages_under(level);
        let Some(stays) = pages.checked_sub(most.0).filter(|stays| *stays > 0) else {
            return Ok(self.pop(mem, tables));
        };
        // A table of blocks needs one more for the pages behind the last whole block.
        let has_pages = level == Level::One && stays & BLOCK_REST != 0;
        let mut reserve = Reserve::take(mem, tables, if has_pages { 2 } else { 1 })?;
        self.tables = self.tables.saturating_add(reserve.count());
        let (base, bits) = (address(raw), Attributes::RAM_NO_EXECUTE.bits(format));
        let part = part_of(mem, &mut reserve, level, (base, stays), bits);
        self.write(mem, holder, (level, offset), part);
        self.pages = self.pages.saturating_sub(most.0);
        let pa = base.wrapping_add(stays.wrapping_mul(PAGE_BYTES));
        Ok(Some(LeafRun { pa, pages: most }))
    }

    /// The leaf at an offset: its level, the table that it is in, its descriptor.
    fn leaf_of<M: PhysMem>(&self, mem: &M, offset: u64) -> (Level, Option<Pa>, u64) {
        let (mut level, mut holder) = (level_of(self.class), None);
        let mut raw = self.read(mem, holder, level, offset);
        while let (Kind::Table, Some(below)) = (kind(level, raw), level.below()) {
            holder = Some(address(raw));
            level = below;
            raw = self.read(mem, holder, level, offset);
        }
        (level, holder, raw)
    }

    /// Gives the tables back behind the last page: the one of the second level whose first page that was, and the first.
    fn give_emptied<M: PhysMem, P: TablePages>(&mut self, mem: &M, tables: &mut P) {
        let offset = self.pages.wrapping_mul(PAGE_BYTES);
        let top = level_of(self.class);
        let first = kind(top, self.descriptor) == Kind::Table;
        let first = first.then(|| address(self.descriptor));
        if top == Level::One && Level::Two.offset(offset) == 0 {
            let raw = first.map_or(INVALID, |_| self.read(mem, first, Level::Two, offset));
            if kind(Level::Two, raw) == Kind::Table {
                self.write(mem, first, (Level::Two, offset), INVALID);
                self.give(tables, address(raw));
            }
        }
        if let (0, Some(first)) = (self.pages, first) {
            self.descriptor = INVALID;
            self.give(tables, first);
        }
    }

    fn give<P: TablePages>(&mut self, tables: &mut P, page: Pa) {
        tables.give(page);
        self.tables = self.tables.saturating_sub(1);
    }

    /// The descriptor of `level` for `offset`: in the table `holder`, or the subtree's own.
    fn read<M: PhysMem>(&self, mem: &M, holder: Option<Pa>, level: Level, offset: u64) -> u64 {
        holder.map_or(self.descriptor, |table| mem.read_u64(level.slot(table, offset)))
    }

    fn write<M: PhysMem>(
        &mut self,
        mem: &M,
        holder: Option<Pa>,
        (level, offset): (Level, u64),
        raw: u64,
    ) {
        match holder {
            Some(table) => mem.write_u64(level.slot(table, offset), raw),
            None => self.descriptor = raw,
        }
    }

    /// Declares it complete; `None` if it is empty. Its tables are visible to every walker before a descriptor
    /// can lead to them: what a former owner left there could be valid descriptors.
    pub fn finish<T: Tlb>(self, tlb: &T) -> Option<Subtree> {
        if self.pages == 0 {
            return None;
        }
        invalidate::publish(tlb);
        Some(Subtree(self))
    }
}

impl Subtree {
    /// A single page with attributes of its own, for the pages of a message port: it is never an area.
    pub fn page(format: Format, pa: Pa, attributes: Attributes) -> Self {
        let descriptor = leaf(Level::Three, pa.0, attributes.bits(format));
        Self(Growing { class: AreaClass::Page, descriptor, pages: 1, tables: 0 })
    }

    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        self.0.pages()
    }

    /// How many tables it has.
    #[must_use]
    pub const fn tables(&self) -> u32 {
        self.0.tables
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> AreaClass {
        self.0.class
    }

    /// Opens it again, to be taken apart.
    pub fn open(self) -> Growing {
        self.0
    }

    pub(crate) const fn descriptor(&self) -> u64 {
        self.0.descriptor
    }

    /// The same subtree for another partition: `crate::common` counts them, and nobody opens them.
    pub(crate) const fn again(&self) -> Self {
        let Growing { class, descriptor, pages, tables } = self.0;
        Self(Growing { class, descriptor, pages, tables })
    }

    /// The leaf at an offset that a leaf begins at.
    pub(crate) fn leaf_at<M: PhysMem>(&self, mem: &M, offset: u64) -> LeafRun {
        let (mut level, mut raw) = (level_of(self.0.class), self.0.descriptor);
        while let (Kind::Table, Some(below)) = (kind(level, raw), level.below()) {
            raw = mem.read_u64(below.slot(address(raw), offset));
            level = below;
        }
        LeafRun { pa: address(raw), pages: PageCount(pages_under(level)) }
    }

    /// Whether it is more than a leaf.
    pub(crate) fn has_table(&self) -> bool {
        kind(level_of(self.0.class), self.0.descriptor) == Kind::Table
    }
}

impl Linked {
    pub(crate) const fn new(slot: WindowSlot, subtree: Subtree) -> Self {
        Self { slot, subtree }
    }

    pub(crate) fn into_parts(self) -> (WindowSlot, Subtree) {
        (self.slot, self.subtree)
    }

    pub(crate) const fn subtree(&self) -> &Subtree {
        &self.subtree
    }

    /// The slot.
    #[must_use]
    pub const fn slot(&self) -> WindowSlot {
        self.slot
    }

    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> PageCount {
        self.subtree.pages()
    }

    /// How many tables it has.
    #[must_use]
    pub const fn tables(&self) -> u32 {
        self.subtree.tables()
    }
}

/// The descriptor of a table that maps the first `pages` under what was a leaf of `level` at `pa`: with leaves of the level below,
/// and for what is left over another table.
fn part_of<M: PhysMem>(
    mem: &M,
    reserve: &mut Reserve,
    level: Level,
    (pa, pages): (Pa, u64),
    bits: u64,
) -> u64 {
    let below = level.below().unwrap_or(Level::Three);
    let (whole, rest) =
        if below == Level::Two { (pages >> BLOCK_SHIFT, pages & BLOCK_REST) } else { (pages, 0) };
    let at = |index: u64| pa.wrapping_add(index.wrapping_mul(below.bytes()));
    let page = reserve.pop(mem);
    for index in 0..whole {
        mem.write_u64(Pa(page.0 | (index << 3)), leaf(below, at(index).0, bits));
    }
    if rest > 0 {
        let inner = part_of(mem, reserve, below, (at(whole), rest), bits);
        mem.write_u64(Pa(page.0 | (whole << 3)), inner);
    }
    table(page)
}

/// The largest leaf at or below `top` whose alignment `bits` has, and that has no more than `most` pages.
fn largest(top: Level, bits: u64, most: u64) -> Level {
    let fits = |level: &Level| level.offset(bits) == 0 && pages_under(*level) <= most;
    let levels = [Level::One, Level::Two, Level::Three].into_iter();
    levels.filter(|level| *level >= top).find(fits).unwrap_or(Level::Three)
}
