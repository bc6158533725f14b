//! Where a partition's areas and message ports are kept: pages that it is charged for, made with its party.

use shikiri_abi::{PAGE_BYTES, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, PageSlice};
use shikiri_stage2::WindowSizes;

use super::slots::Row;
use super::{Areas, Machine, Slots};
use crate::channel::Port;
use crate::partition::{BuildError, FrameStore, Holdings};

/// How much a partition may have, from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaSizes {
    /// Its window slots.
    pub windows: WindowSizes,
    /// Its message ports.
    pub ports: u16,
}

impl AreaSizes {
    /// What it costs, in pages of management memory: for the description's check.
    #[must_use]
    pub fn pages(self) -> PageCount {
        let [rows, ports] = self.runs();
        PageCount(rows.0.saturating_add(ports.0).saturating_add(u64::from(self.windows.tables())))
    }

    fn runs(self) -> [PageCount; 2] {
        let rows = Slots::count(self.windows);
        [PageSlice::<Row>::pages(rows), PageSlice::<Port>::pages(usize::from(self.ports))]
    }

    /// Gives a complete partition its window region and the storage for areas and ports.
    ///
    /// # Errors
    /// Over the limit of management memory, no memory in the machine, or an IPA space that is too small; nothing is charged then.
    pub fn build<M: DirectMap, P: PhysMem, T: Tlb>(
        self,
        holdings: &mut Holdings,
        machine: Machine<'_, '_, P, T, M>,
    ) -> Result<(), BuildError> {
        let (_, _, store) = machine;
        let [rows_pages, ports_pages] = self.runs();
        let rows = holdings.take_management(store, rows_pages, PAGE_BYTES)?;
        let ports = match holdings.take_management(store, ports_pages, PAGE_BYTES) {
            Ok(ports) => ports,
            Err(error) => {
                holdings.give_management(store, rows);
                return Err(error);
            }
        };
        if let Err(error) = holdings.make_windows(machine, self.windows) {
            holdings.give_management(store, rows);
            holdings.give_management(store, ports);
            return Err(error);
        }
        let count = Slots::count(self.windows);
        let slots = Slots::new(self.windows, |row| PageSlice::from_fn(rows, count, row));
        let ports = PageSlice::from_fn(ports, usize::from(self.ports), |_| Port::new());
        holdings.areas = Some(Areas {
            slots,
            ports,
            making: None,
            memory: None,
            ipa_space: None,
            management: None,
        });
        Ok(())
    }
}

impl Areas {
    /// Gives the storage back, and refunds what stands for nothing.
    pub(super) fn give<M: DirectMap>(self, holdings: &mut Holdings, store: &FrameStore<'_, M>) {
        let Self { slots, ports, memory, ipa_space, management, .. } = self;
        holdings.give_management(store, slots.into_rows().into_frames());
        holdings.give_management(store, ports.into_frames());
        for charge in [memory, ipa_space, management].into_iter().flatten() {
            assert!(charge.amount() == 0, "a charge outlives its area");
            holdings.account_mut().refund(charge);
        }
    }
}
