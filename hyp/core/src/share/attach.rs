//! The user's side: making an attachment, asking for an area with it, and what the owner's answer does.

use shikiri_abi::{Ipa, PageCount, Resource, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::Access;

use super::{State, Used, bit, charge_of};
use crate::area::{Estate, Home, Machine, Parts, Wanted};
use crate::event::{Raise, Send, area, asker};
use crate::handle::{Handle, Kind, Rights, find};
use crate::party::{Ask, Refusal, SignalKind};

/// An attachment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its handle.
    pub handle: Handle,
    /// Where the area will be.
    pub address: Ipa,
    /// The most pages that it can have.
    pub pages: PageCount,
}

/// How it stands with a share that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Where the area is.
    pub address: Ipa,
    /// Its size.
    pub pages: PageCount,
    /// Whether the partition may write there.
    pub access: Access,
    /// Whether the owner has left, or is leaving.
    pub is_left: bool,
}

impl<'a> Estate<'a> {
    /// Makes an attachment for an area of up to `pages` pages in a slot of a class, and pays for it. It tells what happens at
    /// `events`.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`, and `WrongState` if something is connected to the receive port; `Range` if the class does not
    /// hold the pages; `OverLimit` of memory, IPA space (of the account, or no slot is left) or management memory (of the
    /// account, or the tables of handles or shares are full). Nothing has changed then.
    pub fn create_attachment(
        &mut self,
        events: Handle,
        wanted: Wanted,
    ) -> Result<Attachment, Refusal> {
        self.holdings.area_parts()?;
        let events = find(self.party.shared.entries, events, Kind::Receive, Rights::CHANGE)?;
        self.party.check_unconnected(events)?;
        let (row, entry, slot, handle) = self.new_attachment(wanted)?;
        self.party.tie(entry, events.index, row);
        Ok(Attachment { handle, address: slot.ipa(), pages: wanted.pages })
    }

    /// An attachment that tells its events nowhere: its row, its entry, its slot, its handle.
    pub(super) fn new_attachment(
        &mut self,
        Wanted { pages, class }: Wanted,
    ) -> Result<(u16, u16, WindowSlot, Handle), Refusal> {
        let Parts { account, areas, .. } = self.holdings.area_parts()?;
        if pages.0 == 0 || pages > class.pages() {
            return Err(Refusal::Range);
        }
        let row = areas.free_share().ok_or(Refusal::OverLimit(Resource::ManagementMemory))?;
        self.party.check_room_for(1)?;
        areas.slots.check_free(class, 1)?;
        areas.charge(account, charge_of(pages.0, class))?;
        let slot = areas.slots.take(class, Home::Share(row));
        let (entry, handle) = self.party.insert(Kind::Attachment, Send::Idle.encode());
        areas.slots.set_handle(slot, entry);
        let used = Used { entry, slot, paid: pages.0, fixed: None, state: State::Idle };
        areas.set_share(row, Some(used));
        self.party.set_row(entry, row);
        Ok((row, entry, slot, handle))
    }

    /// Asks `peer`, another partition (`None`: it has ended), for a shared area. Otherwise as [`Party::ask`](crate::party::Party::ask).
    ///
    /// # Errors
    /// As there; `NotSupported`; `WrongState` if the attachment has its area.
    pub fn ask_area(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        ask: Ask,
    ) -> Result<Option<Raise>, Refusal> {
        self.holdings.area_parts()?;
        let peer = peer.ok_or(Refusal::PeerGone)?;
        self.party.ask_for(SignalKind::AreaAttach, Some(&mut peer.party), ask)
    }

    /// Accepts a request with an offered area: from here on the asker reaches it as `access` says. Answers what to raise there.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle` of the request; `NotOwner` and `WrongState` of the area, the latter as well if its owner is
    /// leaving it; `PeerGone` if the asker has closed its attachment or ended; `Exists` if it has attached this area with another
    /// one; `Range` if its attachment is for another class or a smaller area; `Moved`.
    pub fn accept_attachment<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
        (request, offered): (Handle, Handle),
        access: Access,
    ) -> Result<Option<Raise>, Refusal> {
        self.holdings.area_parts()?;
        let entries = self.party.shared.entries;
        let request = find(entries, request, Kind::AttachRequest, Rights::USE)?;
        let row = self.offered(offered)?;
        let from = asker(request.entry.value()).ok_or(Refusal::PeerGone)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let own = areas.share(row).ok_or(Refusal::WrongState)?;
        let (pages, class, number) = (own.pages(), own.slot.class, own.number());
        let (Some(number), Some(keep)) = (number, own.keep()) else {
            return Err(Refusal::WrongState);
        };
        if keep.told != 0 || bit(from.slot) == 0 {
            return Err(Refusal::WrongState);
        }
        if keep.users & bit(from.slot) != 0 {
            return Err(Refusal::Exists);
        }
        let peer = peer.filter(|peer| peer.party.slot() == from.slot).ok_or(Refusal::Moved)?;
        let their_row = peer.party.port_row(from.index).ok_or(Refusal::PeerGone)?;
        let Parts { space, areas: theirs, .. } = peer.holdings.area_parts()?;
        let share = theirs.share(their_row).ok_or(Refusal::PeerGone)?;
        if share.slot.class != class || share.paid < pages {
            return Err(Refusal::Range);
        }
        // Commit.
        let view = space.link_view((mem, tlb), share.slot, keep.common.view(access));
        share.state = State::Mapped { number, view, access, keeps: None, is_left: false };
        keep.users |= bit(from.slot);
        peer.party.set_value(from.index, area(share.slot));
        self.party.remove(request.index);
        Ok(peer.party.tell_about(from.index))
    }

    /// Tells how it stands with an attachment, or with an area that this partition offers.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`; `WrongState` if the attachment has not asked, or the area is not offered; `Busy` if it waits for
    /// an answer; `Refused`; `PeerGone` if the area was revoked, or the partition that was asked has ended.
    pub fn shared(&mut self, handle: Handle) -> Result<Shared, Refusal> {
        self.holdings.area_parts()?;
        let Ok(row) = self.share_at(handle, Rights::USE)? else { return Err(Refusal::WrongState) };
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let used = areas.share(row).ok_or(Refusal::WrongState)?;
        match &used.state {
            State::Mapped { view, access, is_left, .. } => Ok(Shared {
                address: used.slot.ipa(),
                pages: view.pages(),
                access: *access,
                is_left: *is_left,
            }),
            State::Idle => Err(match Send::decode(self.party.value(used.entry)) {
                Some(Send::Queued { .. } | Send::Taken { .. }) => Refusal::Busy,
                Some(Send::Refused) => Refusal::Refused,
                Some(Send::Gone) => Refusal::PeerGone,
                Some(Send::Idle | Send::Connected(_)) | None => Refusal::WrongState,
            }),
            State::Copying { .. } | State::Leaving { .. } => Err(Refusal::WrongState),
        }
    }
}
