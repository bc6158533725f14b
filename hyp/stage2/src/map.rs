//! Mapping: a run of physical memory becomes visible where nothing was.

use crate::descriptor::{INVALID, Kind, address, kind, leaf, table};
use crate::invalidate;
use crate::reserve::Reserve;
use crate::{Attributes, Format, IpaRange, Level, MapError, Stage2, TablePages};
use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb};

/// What to map: `pages` pages at `ipa`, with the physical run at `pa` behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first IPA, a page's.
    pub ipa: Ipa,
    /// The first physical address, a page's; the caller has it from the frame ledger.
    pub pa: Pa,
    /// The size. The largest leaves are used that both addresses allow.
    pub pages: PageCount,
    /// What the guest may do.
    pub attributes: Attributes,
}

impl Mapping {
    /// Whether the sizes of the addresses allow it: which range it is.
    ///
    /// # Errors
    /// [`MapError::Alignment`] if an address is no page's, [`MapError::Range`] if it is empty or passes the end of either.
    #[inline]
    pub fn fits(&self, format: Format) -> Result<IpaRange, MapError> {
        let range = IpaRange::new(format, self.ipa, self.pages)?;
        if !self.pa.is_aligned(PAGE_BYTES) {
            return Err(MapError::Alignment);
        }
        let length = range.end().0.wrapping_sub(range.start().0);
        match self.pa.0.checked_add(length) {
            Some(end) if end <= format.pa_end() => Ok(range),
            Some(_) | None => Err(MapError::Range),
        }
    }
}

/// A part of a mapping: IPAs from `ipa` up to `end`, backed from `pa` on.
#[derive(Clone, Copy)]
struct Part {
    ipa: u64,
    end: u64,
    pa: u64,
}

impl Part {
    /// Cuts off what one descriptor of `level` covers; the second is the rest, perhaps empty.
    #[inline]
    fn cut(self, level: Level) -> (Self, Self) {
        let next = (self.ipa | level.bytes().wrapping_sub(1)).wrapping_add(1).min(self.end);
        let step = next.wrapping_sub(self.ipa);
        let rest = Self { ipa: next, end: self.end, pa: self.pa.wrapping_add(step) };
        (Self { end: next, ..self }, rest)
    }

    /// Whether this part is exactly one leaf of `level`.
    #[inline]
    const fn is_leaf(self, level: Level) -> bool {
        self.end.wrapping_sub(self.ipa) == level.bytes() && level.offset(self.ipa | self.pa) == 0
    }

    #[inline]
    const fn is_empty(self) -> bool {
        self.ipa == self.end
    }
}

/// A mapping that was checked and has its table pages; [`PreparedMap::commit`] cannot fail.
///
/// It borrows the address space, so that nothing can change in between.
#[derive(Debug)]
#[must_use = "commit it or abandon it: its table pages are charged"]
pub struct PreparedMap<'a> {
    tables: &'a mut Stage2,
    mapping: Mapping,
    range: IpaRange,
    reserve: Reserve,
}

impl Stage2 {
    /// Checks a mapping and reserves its table pages. Nothing is visible to the guest yet. The cost grows
    /// with the number of leaves: 64 for 128 MiB of aligned memory, 32,768 for unaligned.
    ///
    /// # Errors
    /// [`MapError::Alignment`], [`MapError::Range`], [`MapError::Overlap`] or [`MapError::NoTable`];
    /// nothing has changed then, and nothing is charged.
    pub fn prepare_map<M: PhysMem, P: TablePages>(
        &mut self,
        mem: &M,
        pages: &mut P,
        mapping: Mapping,
    ) -> Result<PreparedMap<'_>, MapError> {
        let range = mapping.fits(self.format)?;
        if self.is_in_windows(range) {
            return Err(MapError::Range);
        }
        let needed = check(mem, Some(self.root), Level::One, part_of(range, mapping))?;
        let reserve = Reserve::take(mem, pages, needed)?;
        Ok(PreparedMap { tables: self, mapping, range, reserve })
    }

    /// Prepares and commits a mapping.
    ///
    /// # Errors
    /// As [`Stage2::prepare_map`].
    pub fn map<M: PhysMem, T: Tlb, P: TablePages>(
        &mut self,
        mem: &M,
        tlb: &T,
        pages: &mut P,
        mapping: Mapping,
    ) -> Result<(), MapError> {
        self.prepare_map(mem, pages, mapping)?.commit(mem, tlb);
        Ok(())
    }
}

impl PreparedMap<'_> {
    /// How many table pages are reserved and charged.
    #[must_use]
    pub const fn table_pages(&self) -> u32 {
        self.reserve.count()
    }

    /// Makes the mapping visible to every core. Invalid descriptors are not cached, so nothing is
    /// invalidated.
    pub fn commit<M: PhysMem, T: Tlb>(self, mem: &M, tlb: &T) {
        let bits = self.mapping.attributes.bits(self.tables.format);
        if self.reserve.count() > 0 {
            // Whoever finds a new table finds it clean: what a former owner left there could be valid
            // descriptors. The mapping's own stores may be seen in any order.
            invalidate::publish(tlb);
        }
        let mut fill = Fill { mem, bits, reserve: self.reserve };
        fill.table(self.tables.root, Level::One, part_of(self.range, self.mapping));
        assert!(fill.reserve.count() == 0, "stage 2: a mapping needed fewer tables than counted");
        invalidate::publish(tlb);
    }

    /// Gives the reserved pages back: as if it had not been prepared.
    pub fn abandon<M: PhysMem, P: TablePages>(self, mem: &M, pages: &mut P) {
        self.reserve.give_all(mem, pages);
    }
}

const fn part_of(range: IpaRange, mapping: Mapping) -> Part {
    Part { ipa: range.start().0, end: range.end().0, pa: mapping.pa.0 }
}

/// Counts the tables that a part needs at and below `level`; refuses if anything is mapped there. `table`
/// is `None` below a table that does not exist yet. Depth is bounded by the levels.
fn check<M: PhysMem>(
    mem: &M,
    table: Option<Pa>,
    level: Level,
    part: Part,
) -> Result<u32, MapError> {
    let mut needed = 0_u32;
    let mut rest = part;
    while !rest.is_empty() {
        let (here, after) = rest.cut(level);
        rest = after;
        let raw = table.map_or(INVALID, |table| mem.read_u64(level.slot(table, here.ipa)));
        let taken = MapError::Overlap { at: Ipa(here.ipa) };
        let child = match (kind(level, raw), level.below()) {
            (Kind::Leaf, _) => return Err(taken),
            (Kind::Invalid, Some(below)) if !here.is_leaf(level) => {
                needed = needed.saturating_add(1);
                if below == Level::Three { None } else { Some((None, below)) }
            }
            // A table is never empty, so a leaf of its size always meets something below it.
            (Kind::Table, Some(below)) => Some((Some(address(raw)), below)),
            (Kind::Invalid | Kind::Table, _) => None,
        };
        if let Some((child, below)) = child {
            let has_child = child.is_some();
            needed = needed.saturating_add(check(mem, child, below, here)?);
            if has_child && here.is_leaf(level) {
                return Err(taken);
            }
        }
    }
    Ok(needed)
}

/// Writes the descriptors of a checked mapping.
struct Fill<'a, M> {
    mem: &'a M,
    bits: u64,
    reserve: Reserve,
}

impl<M: PhysMem> Fill<'_, M> {
    /// Fills the part of one table; depth is bounded by the levels.
    fn table(&mut self, table_at: Pa, level: Level, part: Part) {
        let mut rest = part;
        while !rest.is_empty() {
            let (here, after) = rest.cut(level);
            rest = after;
            let slot = level.slot(table_at, here.ipa);
            match level.below() {
                Some(below) if !here.is_leaf(level) => self.below(slot, level, below, here),
                Some(_) | None => self.mem.write_u64(slot, leaf(level, here.pa, self.bits)),
            }
        }
    }

    /// Fills a part through the table that `slot` points to, which is made if it is missing.
    fn below(&mut self, slot: Pa, level: Level, below: Level, here: Part) {
        let raw = self.mem.read_u64(slot);
        if kind(level, raw) == Kind::Table {
            return self.table(address(raw), below, here);
        }
        let child = self.reserve.pop(self.mem);
        self.table(child, below, here);
        self.mem.write_u64(slot, table(child));
    }
}
