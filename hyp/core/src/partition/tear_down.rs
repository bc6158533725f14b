//! Taking a partition apart, in bounded steps.

use shikiri_abi::{PAGE_BYTES, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::{IpaRange, Progress, Stage2};

use super::store::run_of;
use super::{Extent, FrameStore, Holdings, TableArena};
use crate::frame::{FrameRun, FrameState};

/// Descriptors that one step of an unmapping looks at.
const UNMAP_STEP: u32 = 512;

impl Holdings {
    /// One bounded step of taking the partition apart. No vCPU of it runs any more, and none will.
    ///
    /// Message areas and ports have gone before (`Estate::leave`). First the storage for them goes, then every mapping (with its TLB sequence), then the memory, then the tables, then what
    /// is recorded only. True when nothing is left: the account is zero, and the ledger knows nothing of the
    /// partition but what is in quarantine.
    pub fn tear_down<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        mem: &P,
        tlb: &T,
        store: &FrameStore<'_, M>,
    ) -> bool {
        self.is_complete = false;
        if self.areas.is_some() {
            self.drop_areas((mem, tlb, store));
            return false;
        }
        if let (Some(stage2), Some(arena)) = (self.stage2.as_mut(), self.arena.as_mut()) {
            if unmap_some(stage2, arena, mem, tlb) == Progress::Done {
                // Empty, and no TLB holds anything under the VMID: the root's frames can go.
                arena.give_root(stage2.root());
                self.stage2 = None;
            }
            return false;
        }
        if let Some(extent) = self.extents.pop() {
            self.give_extent(store, extent);
            return false;
        }
        if let Some(frame) = self.extents.shrink() {
            self.give_management(store, frame);
            return false;
        }
        while let Some(run) = self.arena.as_mut().and_then(TableArena::pop) {
            self.give_management(store, run);
        }
        self.arena = None;
        self.refund_rest();
        true
    }

    /// Gives the start of a run of memory back, as much as the ledger releases in one step; the rest stays
    /// on the list.
    fn give_extent<M: DirectMap>(&mut self, store: &FrameStore<'_, M>, extent: Extent) {
        let Extent { ipa, frames, claimed } = extent;
        let after = if self.has_dma {
            // A device may still write there: nobody else's until it was reset.
            FrameState::Quarantined(self.slot)
        } else {
            FrameState::Free
        };
        let step = if claimed.0 > 0 {
            let run = FrameRun { pages: claimed, ..run_of(frames.range()) };
            store.change_some(run, FrameState::Private(self.slot), after)
        } else {
            frames.pages()
        };
        let part = match frames.split_at(step) {
            Ok((part, rest)) => {
                let ipa = ipa.wrapping_add(step.bytes().unwrap_or(0));
                let claimed = PageCount(claimed.0.saturating_sub(step.0));
                self.extents.push(Extent { ipa, frames: rest, claimed });
                part
            }
            Err(whole) => whole,
        };
        self.refund_memory(part.pages().0);
        store.return_unclaimed(part);
    }

    /// Refunds what stands for no frames. What is left of the others then is our bug, and shows on the account.
    fn refund_rest(&mut self) {
        let charges = [self.ipa_space.take(), self.core_time.take(), self.devices.take()];
        for charge in charges.into_iter().flatten() {
            self.account.refund(charge);
        }
        for place in [&mut self.memory, &mut self.management] {
            if let Some(charge) = place.take_if(|charge| charge.amount() == 0) {
                self.account.refund(charge);
            }
        }
    }
}

fn unmap_some<P: PhysMem, T: Tlb>(
    stage2: &mut Stage2,
    arena: &mut TableArena,
    mem: &P,
    tlb: &T,
) -> Progress {
    let Some(start) = stage2.leaves(mem).next().map(|leaf| leaf.ipa) else { return Progress::Done };
    let pages = PageCount(stage2.format().ipa_end().saturating_sub(start.0) / PAGE_BYTES);
    // No leaf crosses the ends of the range, so that no table is needed and nothing is refused.
    let progress = IpaRange::new(stage2.format(), start, pages)
        .and_then(|range| stage2.unmap(mem, tlb, arena, range, UNMAP_STEP));
    match progress {
        Ok(progress) => progress,
        Err(error) => unreachable!("the end of a partition was refused: {error}"),
    }
}
