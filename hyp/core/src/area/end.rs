//! The end of a partition's message ports and areas, in bounded steps that have names.

use shikiri_abi::WindowSlot;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;

use super::{Areas, Body, Estate, Machine};
use crate::event::Raise;
use crate::partition::Holdings;
use crate::party::EndStep;

/// What the next step of the end does. A partition's peers see it between any two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaveStep {
    /// Closes a message port: nothing arrives there from then on, and its peer is told.
    ClosePort,
    /// Leaves a shared area, or closes what one would be attached with.
    LeaveShare,
    /// Unmaps an area.
    Unmap(WindowSlot),
    /// Gives back frames of an area that is unmapped.
    Free(WindowSlot),
    /// Unmaps the bitmap of pending ports.
    HideBitmap,
    /// Nothing is left.
    Done,
}

impl<'a> Estate<'a> {
    /// What [`Estate::leave`] does next.
    #[must_use]
    pub fn next_leave_step(&self) -> LeaveStep {
        let Some(areas) = self.holdings.areas() else { return LeaveStep::Done };
        if areas.used_port().is_some() {
            return LeaveStep::ClosePort;
        }
        if areas.used_share().is_some() {
            return LeaveStep::LeaveShare;
        }
        match areas.slots.filled(0).next() {
            None if areas.shows_bitmap() => LeaveStep::HideBitmap,
            None => LeaveStep::Done,
            Some((_, slot)) => match areas.slots.body(slot) {
                Some(Body::Ending { .. }) => LeaveStep::Free(slot),
                _ => LeaveStep::Unmap(slot),
            },
        }
    }

    /// One step of the end: no vCPU of the partition runs any more. `peer` is the partition that the last step said. First all
    /// ports are closed, so that nothing arrives any more, then shared areas are left to those who use them, then all areas are
    /// freed, those that have arrived among them: never does one go back to its sender.
    pub fn leave<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
    ) -> (EndStep, Option<Raise>) {
        match self.next_leave_step() {
            LeaveStep::Done => return (EndStep::Done, None),
            LeaveStep::ClosePort => return self.leave_port(peer, machine),
            LeaveStep::LeaveShare => {
                let row = self.holdings.areas().and_then(Areas::used_share).unwrap_or(0);
                let (step, raise) = self.leave_share(peer, machine, row);
                // There may be another one, or an area to free.
                return (if step == EndStep::Done { EndStep::Again } else { step }, raise);
            }
            LeaveStep::Unmap(slot) => self.unmap_area(machine, slot),
            LeaveStep::Free(slot) => {
                self.free_some(machine, slot);
            }
            LeaveStep::HideBitmap => self.hide_bitmap(machine),
        }
        (EndStep::Again, None)
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
