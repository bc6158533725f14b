//! The registry of message areas: who has each, in one word (C3).
//!
//! A frame of an area names only the area; which partition has the area stands here. So an area of 1 GiB changes hands
//! by one store, and the ledger's 262,144 entries stay as they are.
//!
//! Numbers are given out and taken back under the ledger's lock, pages are counted there too; [`AreaRegistry::hand_over`]
//! takes no lock of the machine: only the partition that has the area does that, under its own and the other's.
//! Each area stands in one slot of one partition's window region, so that as many rows as there are such slots in
//! the machine are always enough.

use shikiri_abi::{PageCount, PartitionSlot};
use shikiri_sync::atomic::{AtomicU64, Ordering};

use super::SLOTS;

/// A message area's number, unique in the machine while the area exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaNumber(pub u16);

/// All message areas of the machine.
///
/// A row is 0 if nobody has the area, or: bits 0–7 owner's slot, bit 8 set, bits 32–63 pages, its tables included. Of a
/// shared area (C5): bit 9 set, bits 16–31 its row in its owner's table of shares; such an area cannot be handed over.
#[derive(Debug)]
pub struct AreaRegistry<'a> {
    rows: &'a [AtomicU64],
    /// By slot: the frames of all areas that a partition has.
    held: [AtomicU64; SLOTS],
}

const OWNED: u64 = 1 << 8;
const SHARED: u64 = 1 << 9;
const SHARE_SHIFT: u32 = 16;
const PAGES_SHIFT: u32 = 32;
const ONE_PAGE: u64 = 1 << PAGES_SHIFT;

/// Which numbers are free; behind the ledger's lock.
#[derive(Debug, Default)]
pub(super) struct FreeNumbers {
    /// The first number that was given back, + 1; its row holds the next one's.
    first: u64,
    /// The first that was never given out.
    fresh: usize,
}

impl<'a> AreaRegistry<'a> {
    /// A registry of no areas, in zeroed rows; 65,535 at most are used.
    #[must_use]
    pub fn new(rows: &'a [AtomicU64]) -> Self {
        let rows = rows.get(..usize::from(u16::MAX)).unwrap_or(rows);
        Self { rows, held: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Who has an area; `None` if it does not exist.
    #[must_use]
    #[inline]
    pub fn owner(&self, area: AreaNumber) -> Option<PartitionSlot> {
        let row = self.row(area)?.load(Ordering::Relaxed);
        let [owner, ..] = row.to_le_bytes();
        (row & OWNED != 0).then_some(PartitionSlot(owner))
    }

    /// The frames of an area, with those of its tables.
    #[must_use]
    pub fn pages(&self, area: AreaNumber) -> PageCount {
        let row = self.row(area).map_or(0, |row| row.load(Ordering::Relaxed));
        PageCount(row >> PAGES_SHIFT)
    }

    /// The frames of all areas that a partition has.
    #[must_use]
    pub fn held(&self, slot: PartitionSlot) -> PageCount {
        let held = self.held.get(usize::from(slot.0));
        PageCount(held.map_or(0, |held| held.load(Ordering::Relaxed)))
    }

    /// Gives an area to another partition: two additions and a store, whatever its size. The caller holds the locks of both.
    ///
    /// # Panics
    /// If the area is not `from`'s: our bug.
    #[inline(always)]
    pub fn hand_over(&self, area: AreaNumber, from: PartitionSlot, to: PartitionSlot) {
        let Some(row) = self.row(area) else { unreachable!("there is no area {}", area.0) };
        let word = row.load(Ordering::Relaxed);
        let own = u64::from(from.0) | OWNED;
        assert!(word & (ONE_PAGE - 1) == own, "area {} is not partition #{}'s", area.0, from.0);
        row.store(word & !(ONE_PAGE - 1) | OWNED | u64::from(to.0), Ordering::Relaxed);
        self.count(from, |held| held.fetch_sub(word >> PAGES_SHIFT, Ordering::Relaxed));
        self.count(to, |held| held.fetch_add(word >> PAGES_SHIFT, Ordering::Relaxed));
    }

    /// Who keeps a shared area, and which of its shares that is; `None` if the area is not shared.
    #[must_use]
    pub fn keeper(&self, area: AreaNumber) -> Option<(PartitionSlot, u16)> {
        let row = self.row(area)?.load(Ordering::Relaxed);
        let [owner, _, low, high, ..] = row.to_le_bytes();
        let share = u16::from_le_bytes([low, high]);
        (row & SHARED != 0).then_some((PartitionSlot(owner), share))
    }

    /// Notes that `owner` shares its area, as its share `share`; `None`: no more. The caller holds the owner's locks.
    ///
    /// # Panics
    /// If the area is not `owner`'s: our bug.
    pub(crate) fn set_share(&self, area: AreaNumber, owner: PartitionSlot, share: Option<u16>) {
        self.pass_on(area, owner, (owner, share));
    }

    /// Gives a shared area to another of its users, as that one's share. The caller holds the locks of both.
    ///
    /// # Panics
    /// If the area is not `from`'s: our bug.
    pub(crate) fn pass_on(
        &self,
        area: AreaNumber,
        from: PartitionSlot,
        (to, share): (PartitionSlot, Option<u16>),
    ) {
        let Some(row) = self.row(area) else { unreachable!("there is no area {}", area.0) };
        let word = row.load(Ordering::Relaxed);
        assert!(self.owner(area) == Some(from), "area {} is not partition #{}'s", area.0, from.0);
        let how = share.map_or(0, |share| SHARED | u64::from(share) << SHARE_SHIFT);
        row.store(word & !(ONE_PAGE - 1) | OWNED | how | u64::from(to.0), Ordering::Relaxed);
        self.count(from, |held| held.fetch_sub(word >> PAGES_SHIFT, Ordering::Relaxed));
        self.count(to, |held| held.fetch_add(word >> PAGES_SHIFT, Ordering::Relaxed));
    }

    /// Counts frames that became an area's, or are it no more.
    pub(super) fn add(&self, area: AreaNumber, pages: PageCount) {
        if let (Some(row), Some(owner)) = (self.row(area), self.owner(area)) {
            row.fetch_add(pages.0 << PAGES_SHIFT, Ordering::Relaxed);
            self.count(owner, |held| held.fetch_add(pages.0, Ordering::Relaxed));
        }
    }

    /// Counts frames that are an area's no more.
    pub(super) fn subtract(&self, area: AreaNumber, pages: PageCount) {
        if let (Some(row), Some(owner)) = (self.row(area), self.owner(area)) {
            row.fetch_sub(pages.0 << PAGES_SHIFT, Ordering::Relaxed);
            self.count(owner, |held| held.fetch_sub(pages.0, Ordering::Relaxed));
        }
    }

    fn row(&self, AreaNumber(number): AreaNumber) -> Option<&AtomicU64> {
        self.rows.get(usize::from(number))
    }

    fn count(&self, slot: PartitionSlot, change: impl FnOnce(&AtomicU64) -> u64) {
        if let Some(held) = self.held.get(usize::from(slot.0)) {
            change(held);
        }
    }
}

impl FreeNumbers {
    /// Takes a number for an area of `owner`'s without frames; `None` if all are in use.
    pub(super) fn take(
        &mut self,
        registry: &AreaRegistry<'_>,
        owner: PartitionSlot,
    ) -> Option<AreaNumber> {
        let index = match self.first.checked_sub(1) {
            Some(first) => usize::try_from(first).ok()?,
            None => self.fresh,
        };
        let row = registry.rows.get(index)?;
        match self.first {
            0 => self.fresh = self.fresh.saturating_add(1),
            _ => self.first = row.load(Ordering::Relaxed) >> PAGES_SHIFT,
        }
        row.store(u64::from(owner.0) | OWNED, Ordering::Relaxed);
        u16::try_from(index).ok().map(AreaNumber)
    }

    /// Takes a number back.
    ///
    /// # Panics
    /// If the area does not exist or has frames: our bug.
    pub(super) fn give(&mut self, registry: &AreaRegistry<'_>, area: AreaNumber) {
        let Some(row) = registry.row(area) else { unreachable!("there is no area {}", area.0) };
        let word = row.load(Ordering::Relaxed);
        assert!(word & OWNED != 0 && word < ONE_PAGE, "area {} is not empty", area.0);
        row.store(self.first << PAGES_SHIFT, Ordering::Relaxed);
        self.first = u64::from(area.0).saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{AreaNumber, AreaRegistry, FreeNumbers};
    use shikiri_abi::{PageCount, PartitionSlot};
    use shikiri_sync::atomic::AtomicU64;

    const P: PartitionSlot = PartitionSlot(0);
    const Q: PartitionSlot = PartitionSlot(255);

    #[test]
    fn an_area_has_one_owner_whatever_happens_to_it() {
        let rows: Vec<_> = (0..2).map(|_| AtomicU64::new(0)).collect();
        let (registry, mut free) = (AreaRegistry::new(&rows), FreeNumbers::default());
        let area = free.take(&registry, P).unwrap();
        let other = free.take(&registry, Q).unwrap();
        assert_eq!((area, other, free.take(&registry, P)), (AreaNumber(0), AreaNumber(1), None));
        registry.add(area, PageCount(0x4_0201));
        registry.add(other, PageCount(1));
        assert_eq!((registry.held(P), registry.held(Q)), (PageCount(0x4_0201), PageCount(1)));
        registry.hand_over(area, P, Q);
        assert_eq!((registry.owner(area), registry.pages(area)), (Some(Q), PageCount(0x4_0201)));
        assert_eq!((registry.held(P), registry.held(Q)), (PageCount(0), PageCount(0x4_0202)));
        registry.subtract(area, PageCount(0x4_0201));
        free.give(&registry, area);
        assert_eq!((registry.owner(area), registry.pages(other)), (None, PageCount(1)));
        assert_eq!(free.take(&registry, P), Some(area));
        assert_eq!((registry.owner(area), registry.pages(area)), (Some(P), PageCount(0)));
        assert_eq!(registry.owner(AreaNumber(2)), None);
    }

    #[test]
    fn numbers_go_round() {
        let rows: Vec<_> = (0..5).map(|_| AtomicU64::new(0)).collect();
        let (registry, mut free) = (AreaRegistry::new(&rows), FreeNumbers::default());
        let mut out = Vec::new();
        for round in 0..100 {
            while let Some(area) = free.take(&registry, P) {
                assert!(!out.contains(&area));
                out.push(area);
            }
            assert_eq!(out.len(), 5);
            for _ in 0..=round % 5 {
                free.give(&registry, out.remove(round % out.len()));
            }
        }
    }

    #[test]
    #[should_panic(expected = "area 0 is not partition #0's")]
    fn nobody_gives_away_anothers_area() {
        let rows = [AtomicU64::new(0)];
        let (registry, mut free) = (AreaRegistry::new(&rows), FreeNumbers::default());
        let area = free.take(&registry, Q).unwrap();
        registry.hand_over(area, P, Q);
    }

    #[test]
    #[should_panic(expected = "area 0 is not empty")]
    fn no_number_is_free_while_a_frame_has_it() {
        let rows = [AtomicU64::new(0)];
        let (registry, mut free) = (AreaRegistry::new(&rows), FreeNumbers::default());
        let area = free.take(&registry, Q).unwrap();
        registry.add(area, PageCount(1));
        free.give(&registry, area);
    }
}
