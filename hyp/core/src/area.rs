//! Message areas: memory that belongs to exactly one partition at any moment and moves as a whole (C3).
//!
//! An area is a run of IPAs in a slot of its owner's window region, with the subtree that translates them
//! (`shikiri_stage2::Subtree`) and a number in the ledger's registry. All that moves with it is one row's content
//! ([`slots::Area`]); nothing of it is looked for anywhere else.
//!
//! ```text
//!   alloc ──▶ Making ──(steps)──▶ Area ──▶ send: to a window slot of another partition
//!                │                  │ ▲
//!                └──── free ────────┤ └── keep: out of a window slot, to be the partition's own; trim: with fewer pages;
//!                                   │     split: with fewer pages, and the others in another one
//!                                   ▼
//!                                Ending ──(steps)──▶ vacant
//! ```
//!
//! **Charges.** An own area is charged to its owner: memory and IPA space for its pages, management memory for its tables.
//! A window slot is charged in full (the most that can come into it) when its message port is made, so that an arrival
//! charges nothing and cannot be refused; `used` on an account counts such promises.
//!
//! Contents are cleared before a guest sees them. What is freed is cleared when it is given out again, as all frames are.
//!
//! Everything here runs under the partition's lock and its tables' ([`Estate`]); each call is bounded.

mod alloc;
mod bitmap;
mod end;
mod free;
mod page;
mod slots;
mod split;
mod storage;
mod tables;
mod trim;
mod under_way;

use shikiri_abi::{Pa, PageCount, Resource, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, PageSlice};
use shikiri_stage2::{Access, Growing, Stage2, Subtree};

pub(crate) use alloc::refusal;
pub use alloc::{Made, Wanted};
use bitmap::Bitmap;
pub use end::{LeaveStep, Left};
pub(crate) use slots::{Area, Body, Home, Slots, Source, Target};
pub use storage::AreaSizes;
pub(crate) use tables::AreaTables;
pub(crate) use under_way::UnderWay;

use crate::account::{Account, Charge};
use crate::channel::Port;
use crate::event::{area, area_slot};
use crate::frame::AreaNumber;
use crate::handle::{Handle, HandleBook, Kind, Rights, find_in_place};
use crate::partition::{FrameStore, Holdings, absorb, refund_part};
use crate::party::{Party, Refusal};
use crate::share::Share;
use alloc::Making;

/// Leaves, or pages to be cleared, that one call handles: 256 KiB of clearing at most.
pub const STEP: u64 = 64;

/// The hardware and the frames that an operation works with.
pub(crate) type Machine<'m, 'l, L, T, M> = (&'m L, &'m T, &'m FrameStore<'l, M>);

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress<R> {
    /// It is done.
    Done(R),
    /// The bounded step is over: call again with this handle.
    Again(Handle),
}

/// What a guest can ask about an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaInfo {
    /// Where it is; its class says how large the slot is.
    pub slot: WindowSlot,
    /// Its size.
    pub pages: PageCount,
}

/// A partition's areas, message ports and shares: one of its holdings.
#[derive(Debug)]
pub struct Areas {
    pub(crate) slots: Slots,
    pub(crate) ports: PageSlice<Port>,
    pub(crate) shares: PageSlice<Share>,
    /// The area that is being made: one at a time.
    making: Option<Making>,
    memory: Option<Charge>,
    ipa_space: Option<Charge>,
    pub(crate) management: Option<Charge>,
    /// The bitmap of pending ports.
    bitmap: Bitmap,
}

/// A partition's party and its holdings, opened together for one operation.
pub struct Estate<'a> {
    /// Its handles and connections.
    pub party: Party<'a>,
    /// Its account, its memory, its areas.
    pub holdings: &'a mut Holdings,
}

/// The parts of [`Holdings`] that operations on areas change.
pub(crate) struct Parts<'h> {
    pub(crate) account: &'h mut Account,
    pub(crate) space: &'h mut Stage2,
    pub(crate) areas: &'h mut Areas,
}

/// An area that was taken out of its slot, so that no walker can find it and it can change.
struct Open {
    number: AreaNumber,
    growing: Growing,
}

impl Parts<'_> {
    /// Takes a complete area out of its slot.
    fn open<P: PhysMem, T: Tlb>(&mut self, (mem, tlb): (&P, &T), slot: WindowSlot) -> Open {
        let Body::Area(Area { number, linked }) = self.areas.slots.clear(slot) else {
            unreachable!("it is complete");
        };
        Open { number, growing: self.space.unlink(mem, tlb, linked).open() }
    }

    /// Puts an area that has a page into an empty slot.
    fn close<P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb): (&P, &T),
        slot: WindowSlot,
        Open { number, growing }: Open,
    ) {
        let Some(subtree) = growing.finish(tlb) else { unreachable!("it has a page") };
        let linked = self.space.link(mem, tlb, slot, subtree);
        self.areas.slots.put(slot, Body::Area(Area { number, linked }));
    }
}

impl Areas {
    /// Charges an own area, or the window of a port, in pages: memory and IPA space, and management memory.
    pub(crate) fn charge(
        &mut self,
        account: &mut Account,
        (memory, ipa_space, management): (u64, u64, u64),
    ) -> Result<(), Refusal> {
        let wanted = [
            (Resource::Memory, memory),
            (Resource::IpaSpace, ipa_space),
            (Resource::ManagementMemory, management),
        ];
        let [memory, ipa_space, management] = account.charge_all(wanted)?;
        absorb(&mut self.memory, memory);
        absorb(&mut self.ipa_space, ipa_space);
        absorb(&mut self.management, management);
        Ok(())
    }

    /// Undoes [`Areas::charge`], or a part of it.
    pub(crate) fn refund(
        &mut self,
        account: &mut Account,
        (memory, ipa_space, management): (u64, u64, u64),
    ) {
        refund_part(account, self.memory.as_mut(), memory);
        refund_part(account, self.ipa_space.as_mut(), ipa_space);
        refund_part(account, self.management.as_mut(), management);
    }

    /// How large a complete area of the partition's own is.
    ///
    /// # Errors
    /// `NotOwner`; `WrongState` if it is being made or freed, lies in a window, or is shared.
    fn own(&self, slot: WindowSlot) -> Result<PageCount, Refusal> {
        let pages = self.slots.complete(slot)?.linked.pages();
        if self.slots.window_of(slot).is_some() { Err(Refusal::WrongState) } else { Ok(pages) }
    }

    /// What is charged for more than lies in the partition's windows, or has come to it with a shared area, at this moment: (memory,
    /// management), in pages.
    pub(crate) fn promised(&self) -> (u64, u64) {
        let windows = self.ports.iter().filter_map(Port::window);
        let all = windows.fold((0_u64, 0_u64), |(memory, management), (class, slots)| {
            let slots = u64::from(slots);
            let pages = class.pages().0.saturating_mul(slots);
            let tables = class.most_tables().saturating_mul(slots);
            (memory.saturating_add(pages), management.saturating_add(tables))
        });
        let shares = self.promised_shares();
        let all = (all.0.saturating_add(shares.0), all.1.saturating_add(shares.1));
        self.slots.arrived().fold(all, |(memory, management), (pages, tables)| {
            (memory.saturating_sub(pages), management.saturating_sub(tables))
        })
    }
}

/// What an audit finds in a slot of the window region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InSlot {
    /// Nothing may be mapped here.
    Nothing,
    /// A complete area.
    Area(AreaNumber),
    /// A page of a message port, or the bitmap of pending ports.
    Page {
        /// Its frame.
        at: Pa,
        /// The guest writes its credits; the others it only reads.
        is_writable: bool,
    },
    /// A shared area.
    Shared {
        /// Which.
        area: AreaNumber,
        /// What the partition may do there.
        access: Access,
        /// The partition keeps it: its frames are counted here.
        is_kept: bool,
    },
}

impl Areas {
    /// What is mapped at a slot.
    pub(crate) fn in_slot(&self, slot: WindowSlot) -> InSlot {
        if let Some(Body::Area(Area { number, .. })) = self.slots.body(slot) {
            return InSlot::Area(*number);
        }
        if let Some(row) = self.slots.share_at(slot) {
            return self.in_share(row);
        }
        let page =
            self.bitmap.at(slot).or_else(|| self.ports.iter().find_map(|port| port.page_at(slot)));
        page.map_or(InSlot::Nothing, |(at, is_writable)| InSlot::Page { at, is_writable })
    }

    /// The entry of the area that is being made.
    pub(crate) fn making_entry(&self) -> Option<u16> {
        self.making.as_ref().map(|making| self.slots.handle(making.slot))
    }

    /// Whether no area is being made or freed, or its tables copied.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.complete(&mut |_, _| {})
    }

    /// Shows the complete areas, with the frames of each, those that shares keep among them; false if one is being made or freed, so
    /// that its frames are in nobody's tables.
    pub(crate) fn complete(&self, see: &mut dyn FnMut(AreaNumber, PageCount)) -> bool {
        for (_, slot) in self.slots.filled(0) {
            match self.slots.body(slot) {
                Some(Body::Area(Area { number, linked })) => {
                    let frames = linked.pages().0.saturating_add(u64::from(linked.tables()));
                    see(*number, PageCount(frames));
                }
                Some(Body::Making | Body::Ending { .. }) => return false,
                Some(Body::Empty) | None => {}
            }
        }
        self.kept(see)
    }
}

impl Estate<'_> {
    /// Tells where an area is and how large.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if it is being made or freed.
    pub fn info(&mut self, handle: Handle) -> Result<AreaInfo, Refusal> {
        let slot = self.slot_of(handle)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let pages = match areas.slots.share_at(slot) {
            Some(row) => PageCount(areas.shared_pages(row).ok_or(Refusal::WrongState)?),
            None => areas.slots.complete(slot)?.linked.pages(),
        };
        Ok(AreaInfo { slot, pages })
    }

    /// Makes an area that came into a window slot the partition's own, with a charge of its own. It stays where it is; its
    /// window gets another slot in exchange.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if it is its own already, shared, or being freed; `OverLimit` of memory, IPA space (of the
    /// account, or no slot of this class is left) or management memory (of the account, or the handle table is full).
    pub fn keep(&mut self, handle: Handle) -> Result<(), Refusal> {
        let slot = self.slot_of(handle)?;
        let Parts { account, areas, .. } = self.holdings.area_parts()?;
        let linked = &areas.slots.complete(slot)?.linked;
        let (pages, tables) = (linked.pages().0, u64::from(linked.tables()));
        let Some((port, bit)) = areas.slots.window_of(slot) else {
            return Err(Refusal::WrongState);
        };
        self.party.check_room_for(1)?;
        areas.slots.check_free(slot.class, 1)?;
        areas.charge(account, (pages, pages, tables))?;
        areas.slots.set_home(slot, Home::Own);
        let fresh = areas.slots.take(slot.class, Home::Window { port, bit });
        let (index, _) = self.party.insert(Kind::Vacant, area(fresh));
        areas.slots.set_handle(fresh, index);
        areas.exchange(port, bit, fresh);
        Ok(())
    }

    /// The slot of an area that this partition has; not every one is complete.
    #[inline(always)]
    pub(crate) fn slot_of(&self, handle: Handle) -> Result<WindowSlot, Refusal> {
        let entries = self.party.shared.entries;
        let found = find_in_place(entries, handle, Kind::Area, Rights::USE);
        let slot = found.ok().and_then(|found| area_slot(found.entry.value()));
        slot.ok_or(Refusal::NotOwner)
    }
}

/// Makes an empty slot vacant again: an own one is free, a window's waits for the next area. The area's handle is stale from
/// here on.
fn vacate(party: &mut Party<'_>, areas: &mut Areas, slot: WindowSlot) {
    let home = match areas.slots.window_of(slot) {
        None => Home::Own,
        Some((port, bit)) => Home::Window { port, bit },
    };
    let index = areas.slots.handle(slot);
    vacate_as(party, areas, (slot, home, index));
}

/// Lets go of an area that was taken out of its slot and unmapped: its charge is refunded, or its window slot vacant again.
#[inline(always)]
pub(crate) fn let_go(
    party: &mut Party<'_>,
    (areas, account): (&mut Areas, &mut Account),
    (slot, home, index): (WindowSlot, Home, u16),
    subtree: &Subtree,
) {
    if !matches!(home, Home::Window { .. }) {
        let (pages, tables) = (subtree.pages().0, u64::from(subtree.tables()));
        areas.refund(account, (pages, pages, tables));
    }
    vacate_as(party, areas, (slot, home, index));
}

/// The same, of a slot of which it is known for whom it is kept, and its entry in the handle table.
#[inline(always)]
fn vacate_as(
    party: &mut Party<'_>,
    areas: &mut Areas,
    (slot, home, index): (WindowSlot, Home, u16),
) {
    match home {
        Home::Window { port, bit } => {
            // A slot whose entry has used up its generations is not offered again.
            let entries = party.shared.entries;
            if HandleBook::renew(entries, index, Kind::Vacant, area(slot)).is_some() {
                areas.offer(port, bit);
            }
        }
        Home::Own | Home::Free(_) | Home::PortPage | Home::Share(_) => {
            party.remove(index);
            areas.slots.give(slot);
        }
    }
}

impl Holdings {
    /// What operations on areas change.
    ///
    /// # Errors
    /// `NotSupported` if the partition has no areas.
    #[inline(always)]
    pub(crate) fn area_parts(&mut self) -> Result<Parts<'_>, Refusal> {
        match (self.areas.as_mut(), self.stage2.as_mut()) {
            (Some(areas), Some(space)) => Ok(Parts { account: &mut self.account, space, areas }),
            (None, _) | (_, None) => Err(Refusal::NotSupported),
        }
    }

    /// The partition's areas and message ports.
    #[must_use]
    pub const fn areas(&self) -> Option<&Areas> {
        self.areas.as_ref()
    }
}

/// Puts a freed area's frames back.
pub(crate) fn give_leaf<M: DirectMap>(
    store: &FrameStore<'_, M>,
    number: AreaNumber,
    run: shikiri_stage2::LeafRun,
) {
    let state = crate::frame::FrameState::Area(number);
    store.give_parked(state, shikiri_pages::FrameRange { base: run.pa, pages: run.pages });
}
