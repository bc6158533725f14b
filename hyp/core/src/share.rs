//! Shared memory areas: one partition offers an area of its own, others attach it (C5).
//!
//! ```text
//!   owner   area ──offer──▶ Copying ──(steps)──▶ Mapped, keeps ──withdraw──▶ Copying ──(steps)──▶ area
//!                                                   │ detach: to one of the users, or freed
//!   user    create ──▶ Idle ──connect, accept──▶ Mapped ──detach──▶ gone
//!                       ▲                          │ ▲
//!                       └──────── revoke ──────────┘ └─ keeps, when the owner has left
//! ```
//!
//! What a partition has of a shared area is a *share*: a row of its table ([`Share`]). One of them, the *keeper's*, has the area
//! itself ([`Keep`]): its two sets of tables and who uses it. That is the owner's; when the owner leaves it passes to a user,
//! and from one to the next, until the last one leaves and the frames go back. The registry says whose it is
//! ([`AreaRegistry::keeper`](crate::frame::AreaRegistry::keeper)), so that nothing changes at the other users.
//!
//! **Charges.** Whoever can reach an area pays for it in full: memory, IPA space, and the tables of both kinds. A user pays when it
//! makes its attachment, before it asks; so an accept asks no account, and whichever user is left as the keeper has paid.
//!
//! A user's operations meet the keeper, the keeper's one user at a time: never more than two partitions, under the locks of both.

mod attach;
mod call;
mod fixed;
mod leave;
mod offer;

use shikiri_abi::{AreaClass, PageCount, PartitionSlot, WindowSlot};
use shikiri_stage2::{Access, Common, Growing, Linked, Mapped};

use crate::area::{Areas, Estate, Home, InSlot, Parts};
use crate::event::area_slot;
use crate::frame::{AreaNumber, AreaRegistry};
use crate::handle::{Handle, Kind, Rights, find};
use crate::party::Refusal;

pub use attach::{Attachment, Shared};
pub use fixed::{Claim, Fixed, Place};

/// A row of the table of shares.
#[derive(Debug, Default)]
pub struct Share {
    used: Option<Used>,
}

/// A row in use.
#[derive(Debug)]
pub(crate) struct Used {
    /// The entry in the handle table: the area's at its owner, the attachment's at a user.
    entry: u16,
    /// Where it hangs, or shall hang.
    slot: WindowSlot,
    /// The pages that a user has paid for; 0 at the owner, whose area is charged as an own one.
    paid: u64,
    /// Which one of the description's it is.
    fixed: Option<u8>,
    state: State,
}

/// How it stands with a share.
#[derive(Debug)]
enum State {
    /// A user's that is not attached.
    Idle,
    /// The owner's, that nobody has attached: the copy of its tables is being made, or taken apart.
    Copying { number: AreaNumber, linked: Linked, copy: Growing },
    /// The partition reaches the area.
    Mapped { number: AreaNumber, view: Mapped, access: Access, keeps: Option<Keep>, is_left: bool },
    /// The last one's: unmapped, the copy of its tables is being taken apart.
    Leaving { number: AreaNumber, tree: Growing, copy: Growing },
}

/// What the keeper has.
#[derive(Debug)]
struct Keep {
    common: Common,
    /// The other partitions that have attached it, by slot.
    users: u64,
    /// Those that know that the owner is leaving.
    told: u64,
    /// The keeper is who offered it; nobody of the description's.
    is_owner: bool,
}

/// A shared area whose copy of tables is being made or taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyUnderWay {
    /// Its number.
    pub(crate) number: AreaNumber,
    /// Its pages.
    pub(crate) pages: u64,
    /// Its tables, with those of the copy.
    pub(crate) tables: u64,
    /// Its owner reaches it.
    pub(crate) is_mapped: bool,
    /// It is one's that has paid for it as a user.
    pub(crate) is_paid_in_advance: bool,
}

impl Share {
    /// A free row.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: None }
    }
}

impl Keep {
    /// Whom the keeper meets next in leaving: as the owner, everybody once.
    const fn next_met(&self) -> Option<PartitionSlot> {
        let left = self.users & !self.told;
        lowest(if left == 0 { self.users } else { left })
    }

    /// The area's pages and tables.
    fn frames(&self) -> (u64, u64) {
        (self.common.pages().0, u64::from(self.common.tables()))
    }

    /// Forgets a user.
    const fn drop_user(&mut self, user: PartitionSlot) {
        self.users &= !bit(user);
        self.told &= !bit(user);
    }
}

/// A partition's bit; none above 63: no description has so many.
const fn bit(PartitionSlot(slot): PartitionSlot) -> u64 {
    if slot < 64 { 1 << slot } else { 0 }
}

/// The first partition of a set.
const fn lowest(set: u64) -> Option<PartitionSlot> {
    let [slot, ..] = set.trailing_zeros().to_le_bytes();
    if set == 0 { None } else { Some(PartitionSlot(slot)) }
}

/// What a user pays in advance: (memory, IPA space, management memory), in pages. The tables are those of the most scattered
/// area of this size, and their copy.
const fn charge_of(pages: u64, class: AreaClass) -> (u64, u64, u64) {
    let tables = class.tables_of(PageCount(pages));
    (pages, pages, tables.saturating_mul(2))
}

impl Used {
    /// The area, if it has one.
    const fn number(&self) -> Option<AreaNumber> {
        match &self.state {
            State::Idle => None,
            State::Copying { number, .. }
            | State::Mapped { number, .. }
            | State::Leaving { number, .. } => Some(*number),
        }
    }

    /// What it keeps, if it is the keeper's.
    const fn keep(&mut self) -> Option<&mut Keep> {
        match &mut self.state {
            State::Mapped { keeps, .. } => keeps.as_mut(),
            State::Idle | State::Copying { .. } | State::Leaving { .. } => None,
        }
    }

    /// What it keeps, to look at.
    const fn kept(&self) -> Option<&Keep> {
        match &self.state {
            State::Mapped { keeps, .. } => keeps.as_ref(),
            State::Idle | State::Copying { .. } | State::Leaving { .. } => None,
        }
    }

    /// Whether nobody else has anything of it, and the copy of its tables is to be taken apart.
    const fn is_copy(&self) -> bool {
        matches!(self.state, State::Copying { .. } | State::Leaving { .. })
    }

    /// The pages of what is mapped.
    const fn pages(&self) -> u64 {
        match &self.state {
            State::Copying { linked, .. } => linked.pages().0,
            State::Mapped { view, .. } => view.pages().0,
            State::Idle | State::Leaving { .. } => 0,
        }
    }
}

impl Areas {
    /// The first free row.
    fn free_share(&self) -> Option<u16> {
        let free = self.shares.iter().position(|share| share.used.is_none())?;
        u16::try_from(free).ok()
    }

    /// A row in use.
    fn share(&mut self, row: u16) -> Option<&mut Used> {
        self.shares.get_mut(usize::from(row))?.used.as_mut()
    }

    /// Puts a share into a free row, or takes it out.
    fn set_share(&mut self, row: u16, used: Option<Used>) -> Option<Used> {
        core::mem::replace(&mut self.shares.get_mut(usize::from(row))?.used, used)
    }

    fn shares(&self) -> impl Iterator<Item = (u16, &Used)> {
        (0..).zip(self.shares.iter()).filter_map(|(row, share)| Some((row, share.used.as_ref()?)))
    }

    /// The share that stands for an area here.
    fn share_of(&self, area: AreaNumber) -> Option<u16> {
        self.shares().find(|(_, used)| used.number() == Some(area)).map(|(row, _)| row)
    }

    /// The first row in use.
    pub(crate) fn used_share(&self) -> Option<u16> {
        self.shares().next().map(|(row, _)| row)
    }

    /// The first row that somebody else may have to do with: not one of which only the copy of the tables is left.
    pub(crate) fn share_to_leave(&self) -> Option<u16> {
        let mut shares = self.shares().filter(|(_, used)| !used.is_copy());
        shares.next().map(|(row, _)| row)
    }

    /// The pages of an area that is shared; `None` if it is left to nobody, and being freed.
    pub(crate) fn shared_pages(&self, row: u16) -> Option<u64> {
        let used = self.shares.get(usize::from(row)).and_then(|share| share.used.as_ref());
        used.map(Used::pages).filter(|pages| *pages > 0)
    }

    /// What an audit finds in a share's slot.
    pub(crate) fn in_share(&self, row: u16) -> InSlot {
        let used = self.shares.get(usize::from(row)).and_then(|share| share.used.as_ref());
        match used.map(|used| &used.state) {
            Some(State::Copying { number, .. }) => InSlot::Area(*number),
            Some(State::Mapped { number, access, keeps, .. }) => {
                InSlot::Shared { area: *number, access: *access, is_kept: keeps.is_some() }
            }
            Some(State::Idle | State::Leaving { .. }) | None => InSlot::Nothing,
        }
    }

    /// Whether tables of this area lead to something here.
    pub(crate) fn has_attached(&self, area: AreaNumber) -> bool {
        self.share_of(area).is_some()
    }

    /// Shows the areas that shares keep, with the frames of each; false if a copy is being made or taken apart.
    pub(crate) fn kept(&self, see: &mut dyn FnMut(AreaNumber, PageCount)) -> bool {
        self.shares().all(|(_, used)| match &used.state {
            State::Mapped { number, keeps: Some(keep), .. } => {
                let (pages, tables) = keep.frames();
                see(*number, PageCount(pages.saturating_add(tables)));
                true
            }
            State::Idle | State::Mapped { keeps: None, .. } => true,
            State::Copying { .. } | State::Leaving { .. } => false,
        })
    }

    /// The shares whose copies of tables are being made or taken apart.
    pub(crate) fn copies(&self) -> impl Iterator<Item = CopyUnderWay> {
        self.shares().filter_map(|(_, used)| {
            let (number, tree, copy, is_mapped) = match &used.state {
                State::Copying { number, linked, copy } => {
                    (number, (linked.pages(), linked.tables()), copy, true)
                }
                State::Leaving { number, tree, copy } => {
                    (number, (tree.pages(), tree.tables()), copy, false)
                }
                State::Idle | State::Mapped { .. } => return None,
            };
            Some(CopyUnderWay {
                number: *number,
                pages: tree.0.0,
                tables: u64::from(tree.1).saturating_add(u64::from(copy.tables())),
                is_mapped,
                is_paid_in_advance: used.paid > 0,
            })
        })
    }

    /// Whether each shared area that is kept here has as many views as users.
    pub(crate) fn counts_users(&self) -> bool {
        self.shares()
            .filter_map(|(_, used)| used.kept())
            .all(|keep| keep.common.views() == keep.users.count_ones().saturating_add(1))
    }

    /// What users have paid for without having it: (memory, management), in pages.
    pub(crate) fn promised_shares(&self) -> (u64, u64) {
        let users = self.shares().filter(|(_, used)| used.paid > 0);
        users.fold((0_u64, 0_u64), |(memory, management), (_, used)| {
            let (pages, _, tables) = charge_of(used.paid, used.slot.class);
            let (has_pages, has_tables) = used.kept().map_or((0, 0), Keep::frames);
            (
                memory.saturating_add(pages.saturating_sub(has_pages)),
                management.saturating_add(tables.saturating_sub(has_tables)),
            )
        })
    }
}

impl Estate<'_> {
    /// The row of a share by the handle of its area, or of its attachment with these rights; the handle's slot if it has no share, or
    /// none any more.
    fn share_at(
        &mut self,
        handle: Handle,
        rights: Rights,
    ) -> Result<Result<u16, WindowSlot>, Refusal> {
        let entries = self.party.shared.entries;
        if let Ok(found) = find(entries, handle, Kind::Attachment, rights) {
            let value = found.entry.value();
            let Parts { areas, .. } = self.holdings.area_parts()?;
            let slot = area_slot(value).filter(|slot| areas.slots.share_at(*slot).is_none());
            let row = self.party.port_row(found.index).ok_or(Refusal::BadHandle);
            return slot.map_or_else(|| row.map(Ok), |slot| Ok(Err(slot)));
        }
        let slot = self.slot_of(handle).map_err(|_| Refusal::BadHandle)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        Ok(areas.slots.share_at(slot).ok_or(slot))
    }

    /// The row of an area that this partition offers and that can be attached.
    fn offered(&mut self, area: Handle) -> Result<u16, Refusal> {
        let slot = self.slot_of(area)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let row = areas.slots.share_at(slot).ok_or(Refusal::WrongState)?;
        let keep = areas.share(row).and_then(Used::keep);
        if keep.is_some_and(|keep| keep.is_owner) { Ok(row) } else { Err(Refusal::WrongState) }
    }

    /// The partition with this number, if it has attached that area of this one's: whoever has nothing to do with it is not
    /// locked for a guess.
    fn user_of(&mut self, area: Handle, partition: u8) -> Option<PartitionSlot> {
        let user = PartitionSlot(partition);
        let row = self.offered(area).ok()?;
        let Parts { areas, .. } = self.holdings.area_parts().ok()?;
        let keep = areas.share(row).and_then(Used::keep)?;
        (keep.users & bit(user) != 0).then_some(user)
    }

    /// Whom a share meets next when it is left.
    fn met_in_leaving(&mut self, row: u16, registry: &AreaRegistry<'_>) -> Option<PartitionSlot> {
        let Parts { areas, .. } = self.holdings.area_parts().ok()?;
        let used = areas.share(row)?;
        match &used.state {
            State::Idle => self.party.met_by(used.entry),
            State::Mapped { keeps: Some(keep), .. } => keep.next_met(),
            State::Mapped { number, keeps: None, .. } => Some(registry.keeper(*number)?.0),
            State::Copying { .. } | State::Leaving { .. } => None,
        }
    }

    /// Ends a share that has nothing any more: its handle, its slot, what was charged for it.
    fn close_share(&mut self, row: u16, charged: (u64, u64, u64)) {
        let Ok(Parts { account, areas, .. }) = self.holdings.area_parts() else { return };
        let Some(used) = areas.set_share(row, None) else { return };
        areas.refund(account, charged);
        areas.slots.set_home(used.slot, Home::Own);
        areas.slots.give(used.slot);
        self.party.untie(used.entry);
        self.party.remove(used.entry);
    }
}
