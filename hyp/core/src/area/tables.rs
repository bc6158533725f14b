//! The tables of an area: frames of the area, charged to whoever has it.

use shikiri_abi::{PAGE_BYTES, Pa, PageCount, Resource};
use shikiri_pages::{DirectMap, FrameRange};
use shikiri_stage2::{NoTable, TablePages};

use crate::account::{Account, Charge};
use crate::frame::{AreaNumber, FrameState};
use crate::partition::{FrameStore, absorb, refund_part};

/// Where the tables of one area come from and go to.
pub(crate) struct AreaTables<'t, 'l, M: DirectMap> {
    pub(crate) store: &'t FrameStore<'l, M>,
    pub(crate) area: AreaNumber,
    /// The account and what stands on it for tables; `None` if they are paid by a window's promise.
    pub(crate) payer: Option<(&'t mut Account, &'t mut Option<Charge>)>,
}

impl<M: DirectMap> TablePages for AreaTables<'_, '_, M> {
    fn take(&mut self) -> Result<Pa, NoTable> {
        let Some((account, standing)) = &mut self.payer else { return Err(NoTable::OverLimit) };
        let charge =
            account.charge(Resource::ManagementMemory, 1).map_err(|_| NoTable::OverLimit)?;
        let state = FrameState::AreaTable(self.area);
        match self.store.take(state, PageCount(1), PAGE_BYTES) {
            Some(frame) => {
                absorb(standing, charge);
                let at = frame.base();
                self.store.park(frame);
                Ok(at)
            }
            None => {
                account.refund(charge);
                Err(NoTable::NoMemory)
            }
        }
    }

    fn give(&mut self, page: Pa) {
        let range = FrameRange { base: page, pages: PageCount(1) };
        self.store.give_parked(FrameState::AreaTable(self.area), range);
        if let Some((account, standing)) = &mut self.payer {
            refund_part(account, standing.as_mut(), 1);
        }
    }
}
