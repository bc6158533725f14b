//! What holds between any two steps: of those that build a partition and take it apart, and of calls that make and free areas.
//!
//! [`super::audit_partition`] compares in full what is complete. Here is the rest, at a moment when nobody is in the middle of a step:
//! each frame that a step has in hand between two books is counted where it waits (an extent, the area that is being made), so that
//! sums agree in every phase. For tests and for a hypervisor with checks; `hyp/doc/memory.md` has the table of phases.

use shikiri_abi::{PAGE_BYTES, PageCount, PartitionSlot, Resource};
use shikiri_arch::hw::PhysMem;
use shikiri_pages::{DirectMap, FramePool};

use super::in_slot;
use crate::area::{Areas, InSlot, UnderWay};
use crate::frame::{Charged, FrameRun, FrameState, Ledger};
use crate::partition::Holdings;

/// What is wrong: whose books (`None`: the machine's own), and a sentence.
pub type Disagreement = (Option<PartitionSlot>, &'static str);

/// Compares the books of all partitions that own anything, whatever they are at, and then the machine's. The caller has all their
/// locks, the tables' included: no step is under way.
///
/// # Errors
/// The first [`Disagreement`].
pub fn audit_steps<'h, M: DirectMap>(
    (ledger, pool): (&Ledger<'_>, &FramePool<M>),
    mem: &impl PhysMem,
    holdings: impl IntoIterator<Item = &'h Holdings>,
) -> Result<(), Disagreement> {
    let mut in_hand = 0_u64;
    for holdings in holdings {
        audit_step(ledger, mem, holdings).map_err(|says| (Some(holdings.slot()), says))?;
        in_hand = in_hand.saturating_add(unclaimed(holdings));
        in_hand = in_hand.saturating_add(holdings.areas().map_or(0, |areas| areas.unclaimed().0));
    }
    let here = pool.free_pages().0.saturating_add(pool.resting_pages().0).saturating_add(in_hand);
    let mut idle = 0_u64;
    ledger.for_each_run(&mut |run, state| {
        if is_nobodys(state) {
            idle = idle.saturating_add(run.pages.0);
        }
    });
    says(here == idle, "a frame is in no book, or in two").map_err(|says| (None, says))
}

fn says(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

const fn is_nobodys(state: FrameState) -> bool {
    matches!(state, FrameState::Free | FrameState::Quarantined(_))
}

/// Frames of its list that the ledger does not have as its: they are being claimed, or the claim was refused.
fn unclaimed(holdings: &Holdings) -> u64 {
    holdings.extents().fold(0, |sum, extent| sum.saturating_add(extent.unclaimed().pages.0))
}

fn audit_step(
    ledger: &Ledger<'_>,
    mem: &impl PhysMem,
    holdings: &Holdings,
) -> Result<(), &'static str> {
    let slot = holdings.slot();
    super::audit_count(ledger, slot).map_err(|_| "the ledger's counter is not its entries")?;
    audit_extents(ledger, holdings)?;
    let owned = ledger.owned(slot);
    let areas = holdings.areas();
    let (ahead, tables_ahead) = areas.map_or((0, 0), Areas::charged_without_frames);
    let line = |resource| holdings.account().line(resource).used;
    let memory = owned.memory.saturating_add(unclaimed(holdings)).saturating_add(ahead);
    says(line(Resource::Memory) == memory, "memory is charged otherwise than it is owned")?;
    let management = owned.management.saturating_add(tables_ahead);
    let management = management.saturating_add(holdings.shares());
    says(
        line(Resource::ManagementMemory) == management,
        "management memory is charged otherwise than it is owned",
    )?;
    let mut hidden = 0_u64;
    for UnderWay { number, pages, tables, is_mapped } in
        areas.into_iter().flat_map(Areas::under_way)
    {
        let registry = ledger.areas();
        let is_known = registry.owner(number) == Some(slot)
            && registry.pages(number).0 == pages.saturating_add(tables);
        says(is_known, "an area on its way has other frames in the registry")?;
        hidden = hidden.saturating_add(if is_mapped { 0 } else { pages });
    }
    audit_leaves(ledger, mem, holdings, owned, hidden)
}

/// What the list says is the partition's is; what it does not yet say so of is nobody's; and there are no tables before all is.
fn audit_extents(ledger: &Ledger<'_>, holdings: &Holdings) -> Result<(), &'static str> {
    let own = FrameState::Private(holdings.slot());
    for extent in holdings.extents() {
        says(ledger.are_all(extent.claimed(), own), "memory of its list is another's")?;
        let mut left = extent.unclaimed();
        while left.pages.0 > 0 {
            let found = ledger.first_of(left);
            let free = found.filter(|(_, state)| is_nobodys(*state));
            let (run, _) = free.ok_or("what it is about to claim is another's")?;
            left = left.after(run.pages);
        }
    }
    let is_early = holdings.stage2().is_some() && unclaimed(holdings) > 0;
    says(!is_early, "there are tables before all memory is claimed")
}

/// Each leaf leads to a frame of its own, each at its own place (`super::audit_partition`): so their number says whether all are
/// mapped once, or, of one that is being built or taken apart, none twice. `hidden` pages are of areas that are not mapped.
fn audit_leaves(
    ledger: &Ledger<'_>,
    mem: &impl PhysMem,
    holdings: &Holdings,
    owned: Charged,
    hidden: u64,
) -> Result<(), &'static str> {
    let Some(stage2) = holdings.stage2() else {
        return says(!holdings.is_complete(), "it is complete and has no tables");
    };
    let own = stage2.leaves(mem).filter(|leaf| {
        let there = in_slot(holdings, leaf.ipa);
        !matches!(there, Some(InSlot::Page { .. } | InSlot::Shared { is_kept: false, .. }))
    });
    let own =
        own.map(|leaf| FrameRun { base: leaf.pa, pages: PageCount(leaf.bytes() / PAGE_BYTES) });
    let mapped = ledger.tally_table(holdings.slot(), own);
    let mapped = mapped.map_err(|_| "a leaf leads to a frame that is not its own")?.pages();
    let all = owned.memory.saturating_sub(hidden);
    let holds = if holdings.is_complete() { mapped == all } else { mapped <= all };
    says(holds, "its frames and what its tables map are not the same")
}
