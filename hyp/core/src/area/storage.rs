//! Where a partition's areas and message ports are kept: pages that it is charged for, made with its party.

use shikiri_abi::{PAGE_BYTES, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, PageSlice};
use shikiri_stage2::WindowSizes;

use super::slots::Row;
use super::{Areas, Bitmap, Machine, Slots};
use crate::channel::Port;
use crate::partition::{BuildError, FrameStore, Holdings};
use crate::share::Share;

/// The runs of frames: slots, ports, shares.
const RUNS: usize = 3;

/// How much a partition may have, from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaSizes {
    /// Its window slots.
    pub windows: WindowSizes,
    /// Its message ports.
    pub ports: u16,
    /// Its shares: areas that it offers, and areas of others that it attaches.
    pub shares: u16,
}

impl AreaSizes {
    /// What it costs, in pages of management memory: for the description's check.
    #[must_use]
    pub fn pages(self) -> PageCount {
        let runs = self.runs().map(|PageCount(pages)| pages);
        let tables = u64::from(self.windows.tables());
        PageCount(runs.into_iter().fold(tables, u64::saturating_add))
    }

    fn runs(self) -> [PageCount; RUNS] {
        let rows = Slots::count(self.windows);
        [
            PageSlice::<Row>::pages(rows),
            PageSlice::<Port>::pages(usize::from(self.ports)),
            PageSlice::<Share>::pages(usize::from(self.shares)),
        ]
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
        let mut runs = [const { None }; RUNS];
        let mut result = Ok(());
        for (place, pages) in runs.iter_mut().zip(self.runs()) {
            match holdings.take_management(store, pages, PAGE_BYTES) {
                Ok(frames) => *place = Some(frames),
                Err(error) => result = Err(error),
            }
        }
        let result = result.and_then(|()| holdings.make_windows(machine, self.windows));
        let ([Some(_), Some(_), Some(_)], Ok(())) = (&runs, &result) else {
            runs.into_iter().flatten().for_each(|run| holdings.give_management(store, run));
            return result;
        };
        let [Some(rows), Some(ports), Some(shares)] = runs else {
            unreachable!("three runs were taken")
        };
        let count = Slots::count(self.windows);
        let slots = Slots::new(self.windows, |row| PageSlice::from_fn(rows, count, row));
        let ports = PageSlice::from_fn(ports, usize::from(self.ports), |_| Port::new());
        let shares = PageSlice::from_fn(shares, usize::from(self.shares), |_| Share::new());
        holdings.areas = Some(Areas {
            slots,
            ports,
            shares,
            making: None,
            memory: None,
            ipa_space: None,
            management: None,
            bitmap: Bitmap::default(),
        });
        Ok(())
    }
}

impl Areas {
    /// Gives the storage back, and refunds what stands for nothing.
    pub(super) fn give<M: DirectMap>(self, holdings: &mut Holdings, store: &FrameStore<'_, M>) {
        let Self { slots, ports, shares, memory, ipa_space, management, .. } = self;
        holdings.give_management(store, slots.into_rows().into_frames());
        holdings.give_management(store, ports.into_frames());
        holdings.give_management(store, shares.into_frames());
        for charge in [memory, ipa_space, management].into_iter().flatten() {
            assert!(charge.amount() == 0, "a charge outlives its area");
            holdings.account_mut().refund(charge);
        }
    }
}
