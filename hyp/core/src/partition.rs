//! What a partition owns while it lives, how it is put together from its description, and how it is taken
//! apart again.
//!
//! [`Holdings`] is one incarnation's account and everything that was charged to it: frames of memory, table
//! pages, management frames, the stage-2 tables. [`build::Builder`] fills it in bounded steps, [`Holdings::tear_down`]
//! empties it in bounded steps; both are work that the partition's own core does in the partition's own
//! time. Nothing is shared here but the [`FrameStore`]: the caller holds the partition's lifecycle.
//!
//! Each frame is taken once in three books: out of the pool, on the account, in the ledger; and leaves them in the
//! reverse order. `crate::invariants` compares them.

mod arena;
pub mod build;
mod error;
mod extents;
mod kept;
mod plan;
mod store;
mod tear_down;

pub use arena::TableArena;
pub use error::BuildError;
pub use extents::Extent;
pub use store::{FrameStore, run_of};

use shikiri_abi::{
    Ipa, PAGE_BYTES, Pa, PageCount, PartitionId, PartitionSlot, Resource, WINDOWS, WindowSlot,
};
use shikiri_arch::exit::Abort;
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, Frames};
use shikiri_stage2::{Stage2, WindowSizes};

use crate::account::{Account, Charge, OverLimit};
use crate::area::Areas;
use crate::frame::FrameState;
use extents::Extents;

/// What a builder needs of the machine besides memory: bytes into frames, checksums, instruction caches.
pub trait Loader: PhysMem {
    /// Fills whole pages with zero and cleans them to the point of coherency: what a frame goes through
    /// before a partition gets it.
    fn clear(&self, at: Pa, pages: PageCount);

    /// Copies bytes of the bundle into frames of the partition and cleans them to the point of coherency.
    fn copy_in(&self, to: Pa, bytes: &[u8]);

    /// Continues a CRC-32 (IEEE); the first `state` is 0.
    fn crc32(&self, state: u32, bytes: &[u8]) -> u32;

    /// Makes loaded code visible to instruction fetches of all cores (IC IALLUIS, DSB ISH).
    fn sync_instructions(&self);
}

/// One incarnation's account with all that stands on it.
pub struct Holdings {
    pub(crate) account: Account,
    slot: PartitionSlot,
    memory: Option<Charge>,
    ipa_space: Option<Charge>,
    management: Option<Charge>,
    core_time: Option<Charge>,
    devices: Option<Charge>,
    shares: Option<Charge>,
    extents: Extents,
    pub(crate) arena: Option<TableArena>,
    pub(crate) stage2: Option<Stage2>,
    /// Its message areas and ports, if the description gives it any.
    pub(crate) areas: Option<Areas>,
    /// A device of it masters the bus: its memory is quarantined at the end.
    has_dma: bool,
    is_complete: bool,
}

impl Holdings {
    /// An incarnation that owns nothing.
    #[must_use]
    pub const fn new(id: PartitionId, slot: PartitionSlot) -> Self {
        Self {
            account: Account::new(id),
            slot,
            memory: None,
            ipa_space: None,
            management: None,
            core_time: None,
            devices: None,
            shares: None,
            extents: Extents::new(),
            arena: None,
            stage2: None,
            areas: None,
            has_dma: false,
            is_complete: false,
        }
    }

    /// Its account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Its account, to charge what is made at its guest's request.
    #[must_use]
    pub const fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// The name under which the ledger knows it.
    #[must_use]
    pub const fn slot(&self) -> PartitionSlot {
        self.slot
    }

    /// Its stage-2 tables, once they exist.
    #[must_use]
    pub const fn stage2(&self) -> Option<&Stage2> {
        self.stage2.as_ref()
    }

    /// Whether it is built, and its end has not begun: all that it owns is mapped.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The runs of memory that it owns.
    pub fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.extents.iter()
    }

    /// The physical address behind an address of its memory, and how many bytes follow it in one run.
    #[must_use]
    pub fn translate(&self, ipa: Ipa) -> Option<(Pa, u64)> {
        self.extents().find_map(|extent| {
            let offset = ipa.offset_from(extent.ipa)?;
            let bytes = extent.frames.pages().bytes()?;
            let left = bytes.checked_sub(offset).filter(|left| *left > 0)?;
            Some((extent.frames.base().wrapping_add(offset), left))
        })
    }

    /// The same for an address of a complete message area that it has, and shares with nobody.
    #[must_use]
    pub fn translate_in_area<P: PhysMem>(&self, mem: &P, ipa: Ipa) -> Option<(Pa, u64)> {
        self.areas.as_ref()?.slots.complete(WindowSlot::at(ipa)?).ok()?;
        let leaf = self.stage2.as_ref()?.leaf_at(mem, ipa)?;
        Some((leaf.translate(ipa), leaf.bytes_from(ipa)))
    }

    /// Whether what an access did not find is in the tables by now.
    ///
    /// A core may walk long before it makes the access: one without FEAT_ETS2 may report a translation fault of a walk that was
    /// made before the descriptor was written, although the access comes behind the load that told of it. Whoever
    /// has just received an area would take an abort for it. And while an area is trimmed it is not in its slot for a moment.
    /// The access is made again: EL2's exit has synchronized, and a translation fault is cached by no TLB (Arm ARM D8.16.1). If it
    /// is one that the leaf does not permit, it comes back as a permission fault.
    #[must_use]
    pub fn has_by_now<P: PhysMem>(&self, mem: &P, abort: &Abort) -> bool {
        let is_mapped = |tables: &Stage2| tables.leaf_at(mem, abort.ipa).is_some();
        abort.is_translation_fault() && self.stage2.as_ref().is_some_and(is_mapped)
    }

    /// Takes frames for the hypervisor's own records of this partition, charged to it.
    ///
    /// # Errors
    /// [`BuildError::OverLimit`] or [`BuildError::NoMemory`]; nothing is charged then.
    pub fn take_management<M: DirectMap>(
        &mut self,
        store: &FrameStore<'_, M>,
        pages: PageCount,
        align_bytes: u64,
    ) -> Result<Frames, BuildError> {
        let charge = self.account.charge(Resource::ManagementMemory, pages.0)?;
        let owner = FrameState::Management(self.slot);
        let Some(frames) = store.take(owner, pages, align_bytes) else {
            self.account.refund(charge);
            return Err(BuildError::NoMemory(pages));
        };
        absorb(&mut self.management, charge);
        Ok(frames)
    }

    /// The same for two single pages, for which the account has room. None if there is no memory: then its high-water mark has not moved.
    pub(crate) fn take_two_pages<M: DirectMap>(
        &mut self,
        store: &FrameStore<'_, M>,
    ) -> Option<[Frames; 2]> {
        let owner = FrameState::Management(self.slot);
        let take = || store.take(owner, PageCount(1), PAGE_BYTES);
        let first = take()?;
        let Some(second) = take() else {
            store.give(owner, first);
            return None;
        };
        match self.account.charge(Resource::ManagementMemory, 2) {
            Ok(charge) => absorb(&mut self.management, charge),
            Err(_over_limit) => unreachable!("the account was asked"),
        }
        Some([first, second])
    }

    /// Makes the tables of the window region.
    ///
    /// # Errors
    /// As [`Holdings::take_management`], or [`BuildError::Map`] if the address space is too small; nothing is charged then.
    pub(crate) fn make_windows<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): (&P, &T, &FrameStore<'_, M>),
        sizes: WindowSizes,
    ) -> Result<(), BuildError> {
        let tables = u64::from(sizes.tables());
        if tables > 0 {
            let frames = self.take_management(store, PageCount(tables), PAGE_BYTES)?;
            let full = match self.arena.as_mut() {
                Some(arena) => arena.add(frames).err(),
                None => Some(frames),
            };
            if let Some(frames) = full {
                self.give_management(store, frames);
                return Err(BuildError::TooManyTables(tables));
            }
        }
        let (Some(space), Some(arena)) = (self.stage2.as_mut(), self.arena.as_mut()) else {
            return Err(BuildError::TooManyTables(tables));
        };
        let made = space.make_windows(mem, tlb, arena, sizes);
        if made.is_err()
            && tables > 0
            && let Some(frames) = arena.pop()
        {
            self.give_management(store, frames);
        }
        made.map_err(|error| BuildError::Map(WINDOWS, error))
    }

    /// Gives management frames back.
    ///
    /// # Panics
    /// If they are not management frames of this partition: our bug.
    pub fn give_management<M: DirectMap>(&mut self, store: &FrameStore<'_, M>, frames: Frames) {
        let pages = frames.pages().0;
        store.give(FrameState::Management(self.slot), frames);
        refund_part(&mut self.account, self.management.as_mut(), pages);
    }

    /// Sets the limit of core time, and charges so much more of it.
    ///
    /// # Errors
    /// [`OverLimit`]; nothing is charged then.
    pub fn add_core_time(&mut self, limit: u64, ppm: u64) -> Result<(), OverLimit> {
        self.account.set_limit(Resource::CoreTime, Some(limit));
        let charge = self.account.charge(Resource::CoreTime, ppm)?;
        absorb(&mut self.core_time, charge);
        Ok(())
    }

    /// Charges a page of management memory for a share of the hypervisor's own: a named object that the partition opens.
    ///
    /// # Errors
    /// [`OverLimit`]; nothing is charged then.
    pub fn charge_share(&mut self) -> Result<(), OverLimit> {
        let charge = self.account.charge(Resource::ManagementMemory, 1)?;
        absorb(&mut self.shares, charge);
        Ok(())
    }

    /// Refunds a share.
    pub fn refund_share(&mut self) {
        refund_part(&mut self.account, self.shares.as_mut(), 1);
    }

    /// Pages that it is charged for without having them.
    #[must_use]
    pub fn shares(&self) -> u64 {
        self.shares.as_ref().map_or(0, Charge::amount)
    }

    /// Adds a run of memory, charged already; the ledger does not have it as the partition's yet.
    ///
    /// # Errors
    /// As [`Holdings::take_management`], for another frame of the list. The frames are back in the pool then, and the charge is
    /// refunded.
    fn add_extent<M: DirectMap>(
        &mut self,
        store: &FrameStore<'_, M>,
        ipa: Ipa,
        frames: Frames,
    ) -> Result<(), BuildError> {
        if let Err(error) = self.make_room(store) {
            self.refund_memory(frames.pages().0);
            store.return_unclaimed(frames);
            return Err(error);
        }
        self.extents.push(Extent { ipa, frames, claimed: PageCount(0) });
        Ok(())
    }

    /// Makes sure that one more extent fits the list.
    fn make_room<M: DirectMap>(&mut self, store: &FrameStore<'_, M>) -> Result<(), BuildError> {
        if self.extents.is_full() {
            let frame = self.take_management(store, PageCount(1), PAGE_BYTES)?;
            self.extents.grow(frame);
        }
        Ok(())
    }

    /// Takes memory, and the address space that it fills, off the account.
    fn refund_memory(&mut self, pages: u64) {
        refund_part(&mut self.account, self.memory.as_mut(), pages);
        refund_part(&mut self.account, self.ipa_space.as_mut(), pages);
    }
}

/// Adds a charge to the one that stands already.
pub(crate) fn absorb(standing: &mut Option<Charge>, more: Charge) {
    match standing {
        Some(charge) => charge.absorb(more),
        None => *standing = Some(more),
    }
}

/// Refunds a part of the charge that stands.
pub(crate) fn refund_part(account: &mut Account, standing: Option<&mut Charge>, amount: u64) {
    if let Some(charge) = standing {
        account.refund(charge.split(amount));
    }
}
