//! The table of a partition's window slots: what is in each, and for whom it is kept.

use shikiri_abi::{AreaClass, Resource, WindowSlot};
use shikiri_pages::PageSlice;
use shikiri_stage2::{Growing, Linked, WindowSizes};

use crate::frame::AreaNumber;
use crate::party::Refusal;

/// A complete area: all that moves with it.
#[derive(Debug)]
pub(crate) struct Area {
    /// Its number in the ledger's registry.
    pub(crate) number: AreaNumber,
    /// Its subtree, in the slot.
    pub(crate) linked: Linked,
}

/// For whom a slot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Nobody; the next free one of its class follows, index + 1.
    Free(u16),
    /// An area of the partition's own.
    Own,
    /// The window of a message port: its row, and the slot's bit there.
    Window { port: u16, bit: u8 },
    /// A page of a message port.
    PortPage,
    /// A shared area: its row in the table of shares.
    Share(u16),
}

/// What is in a slot.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing that this table knows of.
    Empty,
    /// An area that is being made.
    Making,
    /// A complete area.
    Area(Area),
    /// An area that is being freed, unlinked already.
    Ending { number: AreaNumber, growing: Growing, charged: u64 },
}

/// A row: a slot.
#[derive(Debug)]
pub(crate) struct Row {
    home: Home,
    /// The area's entry in the handle table, or the one that is kept for it.
    handle: u16,
    body: Body,
}

/// The row of a complete area: looked up once, for the check and for what follows.
#[derive(Debug)]
pub(crate) struct Source<'s>(&'s mut Row);

impl Source<'_> {
    /// How large the area is.
    #[inline(always)]
    pub(crate) fn pages(&self) -> u64 {
        if let Body::Area(area) = &self.0.body { area.linked.pages().0 } else { 0 }
    }

    /// Takes the area out; for whom the slot is kept, and its entry in the handle table.
    #[inline(always)]
    pub(crate) fn take(self) -> (Area, Home, u16) {
        let Self(Row { home, handle, body }) = self;
        match core::mem::replace(body, Body::Empty) {
            Body::Area(area) => (area, *home, *handle),
            Body::Empty | Body::Making | Body::Ending { .. } => {
                unreachable!("the area was checked")
            }
        }
    }
}

/// The row of a vacant slot of a window.
#[derive(Debug)]
pub(crate) struct Target<'s>(&'s mut Row);

impl Target<'_> {
    /// The entry in the handle table that is kept for the slot.
    #[inline(always)]
    pub(crate) const fn handle(&self) -> u16 {
        self.0.handle
    }

    /// Fills it.
    #[inline(always)]
    pub(crate) fn put(self, area: Area) {
        self.0.body = Body::Area(area);
    }
}

/// Why a slot has no area that can be sent.
#[cold]
fn no_area(row: Option<&mut Row>) -> Refusal {
    match row.map(|row| (&row.body, row.home)) {
        Some((Body::Making | Body::Ending { .. }, _)) | Some((Body::Empty, Home::Share(_))) => {
            Refusal::WrongState
        }
        Some((Body::Empty | Body::Area(_), _)) | None => Refusal::NotOwner,
    }
}

/// All slots of a partition.
#[derive(Debug)]
pub(crate) struct Slots {
    rows: PageSlice<Row>,
    sizes: WindowSizes,
    free: [Free; 3],
}

/// The free slots of a class.
#[derive(Clone, Copy, Debug, Default)]
struct Free {
    /// The first one, index + 1.
    first: u16,
    count: u16,
}

impl Slots {
    /// How many rows these sizes have.
    pub(super) fn count(sizes: WindowSizes) -> usize {
        AreaClass::ALL.into_iter().map(|class| usize::from(sizes.of(class))).sum()
    }

    /// All free, in rows that `fill` makes of what each shall be.
    pub(super) fn new(
        sizes: WindowSizes,
        fill: impl FnOnce(&dyn Fn(usize) -> Row) -> PageSlice<Row>,
    ) -> Self {
        let row = |at: usize| {
            let (class, index) = Self::place(sizes, at);
            // The last one of a class has none behind it.
            let next = index.saturating_add(1);
            let next = if next < sizes.of(class) { next.saturating_add(1) } else { 0 };
            Row { home: Home::Free(next), handle: 0, body: Body::Empty }
        };
        let free = AreaClass::ALL.map(|class| {
            let count = sizes.of(class);
            Free { first: count.min(1), count }
        });
        Self { rows: fill(&row), sizes, free }
    }

    /// The class of row `at`, and its index there.
    fn place(sizes: WindowSizes, at: usize) -> (AreaClass, u16) {
        let mut left = at;
        for class in AreaClass::ALL {
            match left.checked_sub(usize::from(sizes.of(class))) {
                Some(behind) => left = behind,
                None => return (class, u16::try_from(left).unwrap_or(u16::MAX)),
            }
        }
        (AreaClass::Giant, u16::MAX)
    }

    pub(super) fn into_rows(self) -> PageSlice<Row> {
        self.rows
    }

    #[inline]
    fn row(&self, slot: WindowSlot) -> Option<&Row> {
        self.rows.get(self.index(slot)?)
    }

    /// The row of a slot that this partition has.
    #[inline]
    fn row_mut(&mut self, slot: WindowSlot) -> &mut Row {
        let index = self.index(slot);
        match index.and_then(|index| self.rows.get_mut(index)) {
            Some(row) => row,
            None => unreachable!("there is no slot {}", slot.index),
        }
    }

    #[inline(always)]
    fn index(&self, WindowSlot { class, index }: WindowSlot) -> Option<usize> {
        let WindowSizes { pages, blocks, giants } = self.sizes;
        let (before, count) = match class {
            AreaClass::Page => (0, pages),
            AreaClass::Block => (usize::from(pages), blocks),
            AreaClass::Giant => (usize::from(pages).saturating_add(usize::from(blocks)), giants),
        };
        (index < count).then_some(before.saturating_add(usize::from(index)))
    }

    fn free_of(&mut self, class: AreaClass) -> &mut Free {
        let [page, block, giant] = &mut self.free;
        match class {
            AreaClass::Page => page,
            AreaClass::Block => block,
            AreaClass::Giant => giant,
        }
    }

    /// Whether so many slots of a class are free.
    pub(crate) fn check_free(&mut self, class: AreaClass, count: u16) -> Result<(), Refusal> {
        let is_there = self.free_of(class).count >= count;
        if is_there { Ok(()) } else { Err(Refusal::OverLimit(Resource::IpaSpace)) }
    }

    /// Takes a free slot; there is one.
    pub(crate) fn take(&mut self, class: AreaClass, home: Home) -> WindowSlot {
        let Some(index) = self.free_of(class).first.checked_sub(1) else {
            unreachable!("a free slot was counted");
        };
        let slot = WindowSlot { class, index };
        let row = self.row_mut(slot);
        let Home::Free(next) = row.home else { unreachable!("a slot in use is in the list") };
        row.home = home;
        let free = self.free_of(class);
        *free = Free { first: next, count: free.count.saturating_sub(1) };
        slot
    }

    /// Frees an empty slot.
    pub(crate) fn give(&mut self, slot: WindowSlot) {
        let first = self.free_of(slot.class).first;
        let row = self.row_mut(slot);
        assert!(matches!(row.body, Body::Empty), "a slot is freed with an area in it");
        row.home = Home::Free(first);
        let free = self.free_of(slot.class);
        *free = Free { first: slot.index.saturating_add(1), count: free.count.saturating_add(1) };
    }

    /// The complete area in a slot.
    #[inline]
    pub(crate) fn complete(&self, slot: WindowSlot) -> Result<&Area, Refusal> {
        match self.row(slot).map(|row| &row.body) {
            Some(Body::Area(area)) => Ok(area),
            Some(Body::Making | Body::Ending { .. }) => Err(Refusal::WrongState),
            Some(Body::Empty) if self.share_at(slot).is_some() => Err(Refusal::WrongState),
            Some(Body::Empty) | None => Err(Refusal::NotOwner),
        }
    }

    /// The port's row and the bit there, if the slot is in a window.
    #[inline]
    pub(crate) fn window_of(&self, slot: WindowSlot) -> Option<(u16, u8)> {
        match self.row(slot)?.home {
            Home::Window { port, bit } => Some((port, bit)),
            Home::Free(_) | Home::Own | Home::PortPage | Home::Share(_) => None,
        }
    }

    /// The row of the share that a slot is kept for.
    pub(crate) fn share_at(&self, slot: WindowSlot) -> Option<u16> {
        match self.row(slot)?.home {
            Home::Share(row) => Some(row),
            Home::Free(_) | Home::Own | Home::PortPage | Home::Window { .. } => None,
        }
    }

    pub(crate) fn body(&self, slot: WindowSlot) -> Option<&Body> {
        self.row(slot).map(|row| &row.body)
    }

    pub(crate) fn body_mut(&mut self, slot: WindowSlot) -> &mut Body {
        &mut self.row_mut(slot).body
    }

    /// Takes a slot's content out.
    #[inline]
    pub(crate) fn clear(&mut self, slot: WindowSlot) -> Body {
        core::mem::replace(&mut self.row_mut(slot).body, Body::Empty)
    }

    /// The complete area in a slot, to be taken out.
    ///
    /// # Errors
    /// `NotOwner`; `WrongState` if it is shared, or being made or freed.
    #[inline(always)]
    pub(crate) fn source(&mut self, slot: WindowSlot) -> Result<Source<'_>, Refusal> {
        let index = self.index(slot);
        match index.and_then(|index| self.rows.get_mut(index)) {
            Some(row) if matches!(row.body, Body::Area(_)) => Ok(Source(row)),
            other => Err(no_area(other)),
        }
    }

    /// A slot that is empty, to be filled.
    #[inline(always)]
    pub(crate) fn target(&mut self, slot: WindowSlot) -> Option<Target<'_>> {
        let index = self.index(slot)?;
        self.rows.get_mut(index).map(Target)
    }

    /// Fills an empty slot.
    #[inline]
    pub(crate) fn put(&mut self, slot: WindowSlot, body: Body) {
        self.row_mut(slot).body = body;
    }

    pub(crate) fn set_home(&mut self, slot: WindowSlot, home: Home) {
        self.row_mut(slot).home = home;
    }

    /// The entry in the handle table.
    #[inline]
    pub(crate) fn handle(&self, slot: WindowSlot) -> u16 {
        self.row(slot).map_or(0, |row| row.handle)
    }

    pub(crate) fn set_handle(&mut self, slot: WindowSlot, handle: u16) {
        self.row_mut(slot).handle = handle;
    }

    /// Pages and tables of what has come into windows.
    pub(super) fn arrived(&self) -> impl Iterator<Item = (u64, u64)> {
        let in_windows = self.rows.iter().filter(|row| matches!(row.home, Home::Window { .. }));
        in_windows.filter_map(|row| match &row.body {
            Body::Area(area) => Some((area.linked.pages().0, u64::from(area.linked.tables()))),
            Body::Ending { growing, .. } => Some((growing.pages().0, u64::from(growing.tables()))),
            Body::Empty | Body::Making => None,
        })
    }

    /// The slots from row `at` on that hold something, each with its row's number: for the end and for audits.
    pub(crate) fn filled(&self, at: usize) -> impl Iterator<Item = (usize, WindowSlot)> {
        let rows = self.rows.iter().enumerate().skip(at);
        rows.filter(|(_, row)| !matches!(row.body, Body::Empty)).map(|(at, _)| {
            let (class, index) = Self::place(self.sizes, at);
            (at, WindowSlot { class, index })
        })
    }

    /// Whether all slots are free.
    #[inline(always)]
    pub(super) fn are_free(&self) -> bool {
        AreaClass::ALL
            .into_iter()
            .zip(self.free)
            .all(|(class, free)| free.count == self.sizes.of(class))
    }
}
