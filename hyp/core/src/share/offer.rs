//! The owner's side: offering an area, and taking it back from one user or from all.

use shikiri_abi::PartitionSlot;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::{Access, Common, Growing};

use super::{Keep, State, Used, bit};
use crate::area::{
    Area, AreaTables, Areas, Body, Estate, Home, Machine, Parts, Progress, STEP, refusal,
};
use crate::event::{Raise, Send};
use crate::handle::{Handle, Kind, Rights, find};
use crate::party::Refusal;
use shikiri_abi::Resource;

impl<'a> Estate<'a> {
    /// Offers an own area, or goes on with it: its tables are copied, [`STEP`] leaves at a time, and then others can be accepted.
    /// From the first step on it is neither sent nor freed. It tells at `events` when a user comes to leave.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `BadHandle` and `WrongState` of the receive port; `WrongState` if the area is not complete, lies
    /// in a window, or is offered already; `OverLimit` of management memory (the account's, or the table of shares is full);
    /// `NoMemory`. At the first call nothing has changed then; later what was copied stays, to be gone on with or withdrawn.
    pub fn offer<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        machine: Machine<'_, '_, P, T, M>,
        area: Handle,
        events: Option<Handle>,
    ) -> Result<Progress<()>, Refusal> {
        let slot = self.slot_of(area)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        if let Some(row) = areas.slots.share_at(slot) {
            return self.copy_some(machine, row, area);
        }
        areas.slots.complete(slot)?;
        if areas.slots.window_of(slot).is_some() {
            return Err(Refusal::WrongState);
        }
        let row = areas.free_share().ok_or(Refusal::OverLimit(Resource::ManagementMemory))?;
        let entry = areas.slots.handle(slot);
        if let Some(events) = events {
            let events = find(self.party.shared.entries, events, Kind::Receive, Rights::CHANGE)?;
            self.party.check_unconnected(events)?;
            self.party.tie(entry, events.index, row);
        }
        let Body::Area(Area { number, linked }) = areas.slots.clear(slot) else {
            unreachable!("the area was checked");
        };
        machine.2.areas().set_share(number, self.party.slot(), Some(row));
        areas.slots.set_home(slot, Home::Share(row));
        let state = State::Copying { number, linked, copy: Growing::new(slot.class) };
        areas.set_share(row, Some(Used { entry, slot, paid: 0, fixed: None, state }));
        let result = self.copy_some(machine, row, area);
        if result.is_err() {
            // No leaf was copied: as if it had not been offered.
            let is_back = self.give_copy(machine, row);
            assert!(is_back, "an empty copy is given back at once");
        }
        result
    }

    /// Copies up to [`STEP`] leaves; when all are, the area can be attached.
    fn copy_some<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
        row: u16,
        area: Handle,
    ) -> Result<Progress<()>, Refusal> {
        let Parts { account, space, areas } = self.holdings.area_parts()?;
        let Areas { shares, management, .. } = areas;
        let used = shares.get_mut(usize::from(row)).and_then(|share| share.used.as_mut());
        let Some(used) = used else { return Err(Refusal::WrongState) };
        let State::Copying { number, linked, copy } = &mut used.state else {
            return Err(Refusal::WrongState);
        };
        let payer = Some((account, management));
        let mut tables = AreaTables { store, area: *number, payer };
        let budget = u32::try_from(STEP).unwrap_or(u32::MAX);
        if !copy.copy((mem, space.format()), &mut tables, linked, budget).map_err(refusal)? {
            return Ok(Progress::Again(area));
        }
        let State::Copying { number, linked, copy } =
            core::mem::replace(&mut used.state, State::Idle)
        else {
            unreachable!("it is being copied");
        };
        let (common, view) = Common::new(tlb, linked, copy);
        let keeps = Some(Keep { common, users: 0, told: 0, is_owner: true });
        let access = Access::ReadWrite;
        used.state = State::Mapped { number, view, access, keeps, is_left: false };
        Ok(Progress::Done(()))
    }

    /// Takes an offered area from one of its users: when this returns, no core reaches it for that partition any more. Answers what
    /// to raise there.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if the area is not offered; `PeerGone` if `user` has not attached it; `Moved`.
    pub fn revoke<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
        (area, user): (Handle, PartitionSlot),
    ) -> Result<Option<Raise>, Refusal> {
        let row = self.offered(area)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let number = areas.share(row).and_then(|used| used.number());
        let keep = areas.share(row).and_then(Used::keep);
        let (Some(number), Some(keep)) = (number, keep) else { return Err(Refusal::WrongState) };
        if keep.users & bit(user) == 0 {
            return Err(Refusal::PeerGone);
        }
        let peer = peer.filter(|peer| peer.party.slot() == user).ok_or(Refusal::Moved)?;
        let Parts { space, areas: theirs, .. } = peer.holdings.area_parts()?;
        let share = theirs.share_of(number).and_then(|row| theirs.share(row));
        let Some(share) = share else { unreachable!("a user without a share") };
        let State::Mapped { view, .. } = core::mem::replace(&mut share.state, State::Idle) else {
            unreachable!("a user that has not attached it");
        };
        let entry = share.entry;
        keep.common.take_back(space.unlink_view((mem, tlb), view));
        keep.drop_user(user);
        peer.party.set_value(entry, Send::Gone.encode());
        Ok(peer.party.tell_about(entry))
    }

    /// Takes an offered area from all of its users, one in each call, and makes it the partition's alone again: then it can be
    /// sent and freed.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if the area is not offered, or its owner has left it to nobody; `Moved`.
    pub fn withdraw<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        area: Handle,
    ) -> Result<(Progress<()>, Option<Raise>), Refusal> {
        let slot = self.slot_of(area)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let row = areas.slots.share_at(slot).ok_or(Refusal::WrongState)?;
        if matches!(areas.share(row), Some(Used { state: State::Leaving { .. }, .. })) {
            // It is unmapped, and only freed from here on.
            return Err(Refusal::WrongState);
        }
        let keep = areas.share(row).and_then(Used::keep);
        if keep.as_ref().is_some_and(|keep| !keep.is_owner) {
            return Err(Refusal::WrongState);
        }
        if let Some(user) = keep.and_then(|keep| keep.next_met()) {
            let raise = self.revoke(peer, machine, (area, user))?;
            return Ok((Progress::Again(area), raise));
        }
        let used = areas.share(row).ok_or(Refusal::WrongState)?;
        used.state = match core::mem::replace(&mut used.state, State::Idle) {
            State::Mapped { number, view, keeps: Some(keep), .. } => {
                let (linked, copy) = keep.common.into_linked(view);
                State::Copying { number, linked, copy }
            }
            other @ (State::Idle
            | State::Copying { .. }
            | State::Mapped { .. }
            | State::Leaving { .. }) => other,
        };
        let is_done = self.give_copy(machine, row);
        Ok((if is_done { Progress::Done(()) } else { Progress::Again(area) }, None))
    }

    /// Takes up to [`STEP`] leaves off the copy of a shared area's tables. When nothing is left of it, true: the area is the
    /// partition's own then, complete, or being freed if it is unmapped.
    pub(crate) fn give_copy<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, _, store): Machine<'_, '_, P, T, M>,
        row: u16,
    ) -> bool {
        let own = self.party.slot();
        let Ok(Parts { account, areas, .. }) = self.holdings.area_parts() else { return true };
        let Areas { shares, management, .. } = areas;
        let used = shares.get_mut(usize::from(row)).and_then(|share| share.used.as_mut());
        let Some(used) = used else { return true };
        let (State::Copying { number, copy, .. } | State::Leaving { number, copy, .. }) =
            &mut used.state
        else {
            return true;
        };
        let payer = (used.paid == 0).then_some((&mut *account, management));
        let mut tables = AreaTables { store, area: *number, payer };
        for _ in 0..STEP {
            if copy.pop(mem, &mut tables).is_none() {
                break;
            }
        }
        if copy.pages().0 > 0 {
            return false;
        }
        store.areas().set_share(*number, own, None);
        let Some(Used { entry, slot, paid, state, .. }) = areas.set_share(row, None) else {
            return true;
        };
        let body = match state {
            State::Leaving { number, tree: growing, .. } => {
                let charged = growing.pages().0;
                if paid > 0 {
                    let (pages, ipa_space, tables) = super::charge_of(paid, slot.class);
                    let kept = u64::from(growing.tables());
                    let rest = (
                        pages.saturating_sub(charged),
                        ipa_space.saturating_sub(charged),
                        tables.saturating_sub(kept),
                    );
                    areas.refund(account, rest);
                }
                Body::Ending { number, growing, charged }
            }
            State::Copying { number, linked, .. } => Body::Area(Area { number, linked }),
            State::Idle | State::Mapped { .. } => return true,
        };
        areas.slots.put(slot, body);
        areas.slots.set_home(slot, Home::Own);
        self.party.untie(entry);
        true
    }
}
