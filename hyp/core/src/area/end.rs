//! The end of what a partition has of others and for others, in bounded steps that have names.
//!
//! First all that somebody else has to do with: whoever can be told is told before an area goes back. A large area takes as
//! many steps as it has leaves, 64 by 64, and nobody waits for those who has something else to do with the partition.

use shikiri_abi::WindowSlot;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;

use super::{Areas, Body, Estate, Machine};
use crate::event::Raise;
use crate::object::{Objects, Wake};
use crate::partition::Holdings;
use crate::party::{EndStep, Stage};

/// What the next step of the end does. A partition's peers see it between any two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaveStep {
    /// Closes a message port: nothing arrives there from then on, and its peer is told.
    ClosePort,
    /// Leaves a shared area, or closes what one would be attached with.
    LeaveShare,
    /// Closes a named object, or finds that there is none left.
    LeaveObject,
    /// Closes handles, and then withdraws requests of others. The last one finds none left: everybody knows.
    CloseHandles,
    /// Gives back tables that a shared area had for others.
    GiveCopy,
    /// Unmaps an area.
    Unmap(WindowSlot),
    /// Gives back frames of an area that is unmapped.
    Free(WindowSlot),
    /// Unmaps the bitmap of pending ports.
    HideBitmap,
    /// Nothing is left.
    Done,
}

/// What a step leaves to be done when no lock is held.
#[derive(Debug)]
#[must_use]
pub struct Left {
    /// How the end goes on.
    pub step: EndStep,
    /// What to raise.
    pub raise: Option<Raise>,
    /// Who waited for a named object, and is to be told.
    pub wake: Option<Wake>,
}

impl Left {
    /// There is more, and nobody is to be told.
    const AGAIN: Self = Self { step: EndStep::Again, raise: None, wake: None };

    /// How a part of the end goes on: whatever that says, there may be more of the whole.
    fn of((step, raise): (EndStep, Option<Raise>)) -> Self {
        let step = if step == EndStep::Done { EndStep::Again } else { step };
        Self { step, raise, wake: None }
    }
}

impl<'a> Estate<'a> {
    /// What [`Estate::leave`] does next.
    #[must_use]
    pub fn next_leave_step(&self) -> LeaveStep {
        let areas = self.holdings.areas();
        if areas.and_then(Areas::used_port).is_some() {
            return LeaveStep::ClosePort;
        }
        if areas.and_then(Areas::share_to_leave).is_some() {
            return LeaveStep::LeaveShare;
        }
        match self.party.state.end {
            Stage::Objects(_) => LeaveStep::LeaveObject,
            Stage::Handles(_) => LeaveStep::CloseHandles,
            Stage::Over => areas.map_or(LeaveStep::Done, Areas::next_to_give),
        }
    }

    /// One step of the end: no vCPU of the partition runs any more. `peer` is the partition that the last step said. First all
    /// ports are closed, so that nothing arrives any more, and shared areas are left to those who use them; then the party
    /// ends. Last of all the areas are freed, those that have arrived among them: never does one go back to its sender.
    pub fn leave<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        objects: &Objects<'_>,
    ) -> Left {
        match self.next_leave_step() {
            LeaveStep::Done => return Left { step: EndStep::Done, ..Left::AGAIN },
            LeaveStep::ClosePort => return Left::of(self.leave_port(peer, machine)),
            LeaveStep::LeaveShare => {
                let row = self.holdings.areas().and_then(Areas::share_to_leave).unwrap_or(0);
                return Left::of(self.leave_share(peer, machine, row));
            }
            LeaveStep::LeaveObject => {
                let wake = objects.end_step(&mut self.party, self.holdings);
                return Left { wake, ..Left::AGAIN };
            }
            LeaveStep::CloseHandles => {
                let peer = peer.map(|peer| &mut peer.party);
                return Left::of(self.party.end_step(peer, self.holdings.account_mut()));
            }
            LeaveStep::GiveCopy => {
                let row = self.holdings.areas().and_then(Areas::used_share).unwrap_or(0);
                self.give_copy(machine, row);
            }
            LeaveStep::Unmap(slot) => self.unmap_area(machine, slot),
            LeaveStep::Free(slot) => {
                self.free_some(machine, slot);
            }
            LeaveStep::HideBitmap => self.hide_bitmap(machine),
        }
        Left::AGAIN
    }
}

impl Areas {
    /// What goes back next, of that which nobody else has anything to do with.
    fn next_to_give(&self) -> LeaveStep {
        if self.used_share().is_some() {
            return LeaveStep::GiveCopy;
        }
        match self.slots.filled(0).next() {
            None if self.shows_bitmap() => LeaveStep::HideBitmap,
            None => LeaveStep::Done,
            Some((_, slot)) => match self.slots.body(slot) {
                Some(Body::Ending { .. }) => LeaveStep::Free(slot),
                _ => LeaveStep::Unmap(slot),
            },
        }
    }
}

impl Holdings {
    /// Gives back the tables of the window region and the storage of areas and ports, once [`Estate::leave`] is done.
    ///
    /// # Panics
    /// If a slot is not free: our bug.
    pub(crate) fn drop_areas<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
    ) {
        let Some(areas) = self.areas.take() else { return };
        assert!(areas.slots.are_free(), "an area outlives its partition");
        if let (Some(space), Some(arena)) = (self.stage2.as_mut(), self.arena.as_mut()) {
            space.drop_windows(mem, tlb, arena);
        }
        areas.give(self, store);
    }
}
