//! Leaving a shared area, by its owner or a user, at the guest's wish or at the partition's end: in bounded steps, each of
//! which meets one other partition at most.

use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;

use super::{State, Used, charge_of};
use crate::area::{Body, Estate, Machine, Parts, Progress};
use crate::event::Raise;
use crate::handle::{Handle, Rights};
use crate::party::{EndStep, Refusal};

impl<'a> Estate<'a> {
    /// Detaches an attachment, whether it has its area or not, or leaves an area that this partition offers. Its handle is stale
    /// when it is done. Users of an area whose owner leaves are told and go on; the memory goes back with the last one.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`; `WrongState` of an area that is not offered; `Moved`.
    pub fn detach<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        handle: Handle,
    ) -> Result<(Progress<()>, Option<Raise>), Refusal> {
        self.holdings.area_parts()?;
        let again = Progress::Again(handle);
        let row = match self.share_at(handle, Rights::CHANGE)? {
            Ok(row) => row,
            Err(slot) => {
                let Parts { areas, .. } = self.holdings.area_parts()?;
                if !matches!(areas.slots.body(slot), Some(Body::Ending { .. })) {
                    return Err(Refusal::WrongState);
                }
                let is_gone = self.free_some(machine, slot);
                return Ok((if is_gone { Progress::Done(()) } else { again }, None));
            }
        };
        let Parts { areas, .. } = self.holdings.area_parts()?;
        if matches!(areas.share(row), Some(Used { state: State::Copying { .. }, .. })) {
            return Err(Refusal::WrongState);
        }
        match self.leave_share(peer, machine, row) {
            (EndStep::Meet(_), _) => Err(Refusal::Moved),
            (EndStep::Again, raise) => Ok((again, raise)),
            (EndStep::Done, raise) => Ok((Progress::Done(()), raise)),
        }
    }

    /// One step of leaving a share: `Done` when nothing is left of it. An area that is left to nobody is its own then, and is being
    /// freed: `Again`.
    pub(crate) fn leave_share<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        row: u16,
    ) -> (EndStep, Option<Raise>) {
        let (mem, tlb, store) = machine;
        let met = self.met_in_leaving(row, store.areas());
        let peer = peer.filter(|peer| met == Some(peer.party.slot()));
        if let (Some(slot), None) = (met, &peer) {
            return (EndStep::Meet(slot), None);
        }
        let Ok(Parts { space, areas, .. }) = self.holdings.area_parts() else {
            return (EndStep::Done, None);
        };
        let Some(used) = areas.share(row) else { return (EndStep::Done, None) };
        let has_paid = used.paid > 0;
        let paid = charge_of(used.paid, used.slot.class);
        let entry = used.entry;
        match (core::mem::replace(&mut used.state, State::Idle), peer) {
            (State::Idle, peer) => {
                self.party.cut_send(peer.map(|peer| &mut peer.party), entry);
                self.close_share(row, paid);
                (EndStep::Done, None)
            }
            (State::Mapped { number, view, access, keeps: Some(mut keep), is_left }, None) => {
                // Nobody else uses it.
                let _ = (access, is_left);
                keep.common.take_back(space.unlink_view((mem, tlb), view));
                let (tree, copy) = keep.common.open();
                used.state = State::Leaving { number, tree, copy };
                self.give_copy(machine, row);
                (EndStep::Again, None)
            }
            (
                State::Mapped { number, view, access, keeps: Some(mut keep), is_left },
                Some(peer),
            ) => {
                let user = peer.party.slot();
                let Some((their_row, their_entry)) = peer.share_for(number) else {
                    unreachable!("a user without a share");
                };
                keep.told |= super::bit(user);
                if keep.is_owner && keep.told != keep.users {
                    used.state = State::Mapped { number, view, access, keeps: Some(keep), is_left };
                    peer.be_left(their_row, None);
                    return (EndStep::Again, peer.party.tell_about(their_entry));
                }
                // The last one that is told keeps it.
                let was_owner = keep.is_owner;
                keep.common.take_back(space.unlink_view((mem, tlb), view));
                keep.drop_user(user);
                keep.is_owner = false;
                let own =
                    (keep.common.pages().0, keep.common.pages().0, u64::from(keep.common.tables()));
                store.areas().pass_on(number, self.party.slot(), (user, Some(their_row)));
                peer.be_left(their_row, Some(keep));
                self.close_share(row, if has_paid { paid } else { own });
                (EndStep::Done, was_owner.then(|| peer.party.tell_about(their_entry)).flatten())
            }
            (State::Mapped { number, view, keeps: None, .. }, Some(peer)) => {
                let view = space.unlink_view((mem, tlb), view);
                let raise = peer.lose_user(number, self.party.slot(), view);
                self.close_share(row, paid);
                (EndStep::Done, raise)
            }
            (State::Mapped { keeps: None, .. }, None) => {
                unreachable!("a shared area that nobody keeps")
            }
            (state @ (State::Copying { .. } | State::Leaving { .. }), _) => {
                used.state = state;
                self.give_copy(machine, row);
                (EndStep::Again, None)
            }
        }
    }

    /// The row and the entry of the share that stands for an area.
    fn share_for(&mut self, number: crate::frame::AreaNumber) -> Option<(u16, u16)> {
        let Parts { areas, .. } = self.holdings.area_parts().ok()?;
        let row = areas.share_of(number)?;
        Some((row, areas.share(row)?.entry))
    }

    /// The owner of an area that this partition uses has left it, and has left it to this one if `keep` is there.
    fn be_left(&mut self, row: u16, keep: Option<super::Keep>) {
        let Ok(Parts { areas, .. }) = self.holdings.area_parts() else { return };
        if let Some(Used { fixed, state: State::Mapped { keeps, is_left, .. }, .. }) =
            areas.share(row)
        {
            // The description's have no owner.
            *is_left = fixed.is_none();
            *keeps = keep;
        }
    }

    /// A user of an area that is kept here has left it. Answers what to raise, if this is the owner.
    fn lose_user(
        &mut self,
        number: crate::frame::AreaNumber,
        user: shikiri_abi::PartitionSlot,
        view: shikiri_stage2::View,
    ) -> Option<Raise> {
        let (row, entry) = self.share_for(number)?;
        let Parts { areas, .. } = self.holdings.area_parts().ok()?;
        let keep = areas.share(row)?.keep()?;
        keep.common.take_back(view);
        keep.drop_user(user);
        let is_owner = keep.is_owner;
        if is_owner { self.party.tell_about(entry) } else { None }
    }
}
