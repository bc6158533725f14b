//! What a partition owns while it lives, how it is put together from its description, and how it is taken
//! apart again.
//!
//! [`Holdings`] is one incarnation's account and everything that was charged to it: frames of memory, table
//! pages, management frames, the stage-2 tables. [`build::Builder`] fills it in bounded steps, [`Holdings::tear_down`]
//! empties it in bounded steps; both are work that the partition's own core does in the partition's own
//! time. Nothing is shared here: the caller holds the partition's lifecycle.

mod arena;
pub mod build;
mod error;

pub use arena::TableArena;
pub use error::BuildError;

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, PartitionId, Resource};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, FramePool, Frames, PageSlice};
use shikiri_stage2::{IpaRange, Progress, Stage2, TablePages};
use shikiri_sync::{TicketLock, rank};

use crate::account::{Account, Charge};

/// The pool of free frames, shared by all cores.
pub type SharedPool<M> = TicketLock<FramePool<M>, rank::Pool>;

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

/// A run of the partition's memory and where the guest sees it.
#[derive(Debug)]
pub struct Extent {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// The frames.
    pub frames: Frames,
}

/// One incarnation's account with all that stands on it.
pub struct Holdings {
    account: Account,
    memory: Option<Charge>,
    ipa_space: Option<Charge>,
    management: Option<Charge>,
    core_time: Option<Charge>,
    devices: Option<Charge>,
    extents: Option<PageSlice<Option<Extent>>>,
    arena: Option<TableArena>,
    stage2: Option<Stage2>,
}

impl Holdings {
    /// An incarnation that owns nothing.
    #[must_use]
    pub const fn new(id: PartitionId) -> Self {
        Self {
            account: Account::new(id),
            memory: None,
            ipa_space: None,
            management: None,
            core_time: None,
            devices: None,
            extents: None,
            arena: None,
            stage2: None,
        }
    }

    /// Its account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Its stage-2 tables, once they exist.
    #[must_use]
    pub const fn stage2(&self) -> Option<&Stage2> {
        self.stage2.as_ref()
    }

    /// The runs of memory that it owns.
    pub fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.extents.iter().flat_map(|list| list.iter()).flatten()
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

    /// Takes frames for the hypervisor's own records of this partition, charged to it.
    ///
    /// # Errors
    /// [`BuildError::OverLimit`] or [`BuildError::NoMemory`]; nothing is charged then.
    pub fn take_management<M: DirectMap>(
        &mut self,
        pool: &SharedPool<M>,
        pages: PageCount,
        align_bytes: u64,
    ) -> Result<Frames, BuildError> {
        let charge = self.account.charge(Resource::ManagementMemory, pages.0)?;
        let Some(frames) = pool.lock().take(pages, align_bytes) else {
            self.account.refund(charge);
            return Err(BuildError::NoMemory(pages));
        };
        absorb(&mut self.management, charge);
        Ok(frames)
    }

    /// Gives management frames back.
    pub fn give_management<M: DirectMap>(&mut self, pool: &SharedPool<M>, frames: Frames) {
        if let Some(charge) = self.management.as_mut() {
            let part = charge.split(frames.pages().0);
            self.account.refund(part);
        }
        pool.lock().give(frames);
    }

    /// One bounded step of taking the partition apart. No vCPU of it runs any more, and none will.
    ///
    /// First every mapping goes (with its TLB sequence), then the memory, then the tables, then what
    /// is recorded only. True when nothing is left: the account is zero.
    pub fn tear_down<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        mem: &P,
        tlb: &T,
        pool: &SharedPool<M>,
    ) -> bool {
        if let (Some(stage2), Some(arena)) = (self.stage2.as_mut(), self.arena.as_mut()) {
            if unmap_some(stage2, arena, mem, tlb) == Progress::Done {
                // Empty, and no TLB holds anything under the VMID: the root's frames can go.
                let root = stage2.root();
                arena.give(root);
                arena.give(root.wrapping_add(PAGE_BYTES));
                self.stage2 = None;
            }
            return false;
        }
        if self.give_one_extent(pool) {
            return false;
        }
        if let Some(list) = self.extents.take() {
            self.give_management(pool, list.into_frames());
        }
        if let Some(arena) = self.arena.take() {
            self.give_management(pool, arena.into_frames());
        }
        let charges = [
            self.memory.take(),
            self.ipa_space.take(),
            self.core_time.take(),
            self.devices.take(),
        ];
        for charge in charges.into_iter().flatten() {
            self.account.refund(charge);
        }
        if self.management.as_ref().is_some_and(|charge| charge.amount() == 0)
            && let Some(charge) = self.management.take()
        {
            self.account.refund(charge);
        }
        true
    }

    /// Gives one run of memory back to the pool; whether there was one.
    fn give_one_extent<M: DirectMap>(&mut self, pool: &SharedPool<M>) -> bool {
        let extent = self.extents.as_mut().and_then(|list| list.iter_mut().find_map(Option::take));
        let Some(Extent { frames, .. }) = extent else { return false };
        for charge in [self.memory.as_mut(), self.ipa_space.as_mut()].into_iter().flatten() {
            let part = charge.split(frames.pages().0);
            self.account.refund(part);
        }
        pool.lock().give(frames);
        true
    }
}

/// Descriptors that one step of an unmapping looks at.
const UNMAP_STEP: u32 = 512;

fn unmap_some<P: PhysMem, T: Tlb>(
    stage2: &mut Stage2,
    arena: &mut TableArena,
    mem: &P,
    tlb: &T,
) -> Progress {
    let first = stage2.leaves(mem).next().map(|leaf| leaf.ipa);
    let Some(start) = first else { return Progress::Done };
    let end = stage2.format().ipa_end();
    let pages = PageCount(end.saturating_sub(start.0) / PAGE_BYTES);
    let Ok(range) = IpaRange::new(stage2.format(), start, pages) else { return Progress::Done };
    // No leaf crosses the ends of the whole space, so that no table is needed and nothing is refused.
    stage2.unmap(mem, tlb, arena, range, UNMAP_STEP).unwrap_or(Progress::Done)
}

/// Adds a charge to the one that stands already.
fn absorb(standing: &mut Option<Charge>, more: Charge) {
    match standing {
        Some(charge) => charge.absorb(more),
        None => *standing = Some(more),
    }
}
