//! Freeing an area: unmapped at once, its frames and tables given back in bounded steps.

use shikiri_abi::WindowSlot;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;

use super::tables::AreaTables;
use super::{Area, Areas, Body, Estate, Machine, Parts, Progress, STEP, give_leaf, vacate};
use crate::handle::Handle;
use crate::party::Refusal;

impl Estate<'_> {
    /// Frees an area, or goes on with it: the first call unmaps it, each gives back up to [`STEP`] leaves. An area in a window
    /// slot is a message that was read: the slot is vacant when the area is gone.
    ///
    /// # Errors
    /// `NotSupported`; `NotOwner`; `WrongState` if it is shared.
    pub fn free<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        machine: Machine<'_, '_, P, T, M>,
        handle: Handle,
    ) -> Result<Progress<()>, Refusal> {
        let slot = self.slot_of(handle)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        if let None | Some(Body::Empty) = areas.slots.body(slot) {
            return Err(areas.slots.complete(slot).err().unwrap_or(Refusal::NotOwner));
        }
        self.unmap_area(machine, slot);
        Ok(if self.free_some(machine, slot) { Progress::Done(()) } else { Progress::Again(handle) })
    }

    /// Takes an area away from the guest: from here on it is only freed.
    pub(super) fn unmap_area<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
        slot: WindowSlot,
    ) {
        self.stop_making(store, slot);
        let Ok(Parts { space, areas, .. }) = self.holdings.area_parts() else { return };
        match areas.slots.clear(slot) {
            Body::Area(Area { number, linked }) => {
                let growing = space.unlink(mem, tlb, linked).open();
                let charged = growing.pages().0;
                areas.slots.put(slot, Body::Ending { number, growing, charged });
            }
            other @ (Body::Empty | Body::Making | Body::Ending { .. }) => {
                areas.slots.put(slot, other);
            }
        }
    }

    /// Gives back up to [`STEP`] leaves of an area that is being freed; true when it is gone.
    pub(crate) fn free_some<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, _, store): Machine<'_, '_, P, T, M>,
        slot: WindowSlot,
    ) -> bool {
        let Ok(Parts { account, areas, .. }) = self.holdings.area_parts() else { return true };
        let is_own = areas.slots.window_of(slot).is_none();
        let Areas { slots, management, .. } = areas;
        let Body::Ending { number, growing, charged } = slots.body_mut(slot) else { return true };
        let (number, charged) = (*number, *charged);
        let payer = is_own.then_some((&mut *account, management));
        let mut tables = AreaTables { store, area: number, payer };
        for _ in 0..STEP {
            match growing.pop(mem, &mut tables) {
                Some(run) => give_leaf(store, number, run),
                None => break,
            }
        }
        if growing.pages().0 > 0 {
            return false;
        }
        store.end_area(number);
        slots.clear(slot);
        if is_own {
            areas.refund(account, (charged, charged, 0));
        }
        vacate(&mut self.party, areas, slot);
        true
    }
}
