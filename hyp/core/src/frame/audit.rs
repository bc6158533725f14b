//! The audit: the ledger against a partition's stage-2 table and its account.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount, PartitionSlot};

use super::{FrameRun, FrameState, Ledger};

/// A set of frames by its size and a sum over its members: equal sets have equal tallies, and different
/// ones of the same size differ but for one chance in 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pages: u64,
    sum: u64,
}

impl Tally {
    /// Adds the frames of a run; one that is added twice counts twice.
    pub fn add(&mut self, run: FrameRun) {
        self.pages = self.pages.wrapping_add(run.pages.0);
        let first = run.base.0 / PAGE_BYTES;
        for offset in 0..run.pages.0 {
            self.sum = self.sum.wrapping_add(mix(first.wrapping_add(offset)));
        }
    }

    /// How many frames were added.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }
}

/// Spreads a frame's number over 64 bits (multiply and fold, twice).
const fn mix(number: u64) -> u64 {
    let once = (number ^ (number >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let twice = (once ^ (once >> 32)).wrapping_mul(0xd1b5_4a32_d192_ed03);
    twice ^ (twice >> 29)
}

/// What stands on a partition's account for frames that it has, in pages: without what is promised to it only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// [`shikiri_abi::Resource::Memory`].
    pub memory: u64,
    /// [`shikiri_abi::Resource::ManagementMemory`].
    pub management: u64,
}

/// What an audit found wrong first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The partition's table maps a frame that is not its own.
    Foreign {
        /// The frame.
        frame: Pa,
        /// Whose it is.
        found: FrameState,
    },
    /// The frames that it owns and those that its table maps are not the same, each once.
    NotMappedOnce {
        /// Frames of its own in the ledger.
        owned: u64,
        /// Frames of its own in the table, with repetition.
        mapped: u64,
    },
    /// The account's memory is not what the ledger says.
    Memory {
        /// On the account.
        charged: u64,
        /// In the ledger.
        owned: u64,
    },
    /// The account's management memory is not what the ledger says.
    Management {
        /// On the account.
        charged: u64,
        /// In the ledger.
        owned: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { frame, found } => write!(f, "maps frame {frame}, which is {found}"),
            Self::NotMappedOnce { owned, mapped } => {
                write!(f, "owns {owned} frames and maps {mapped}, not each once")
            }
            Self::Memory { charged, owned } => {
                write!(f, "memory: {charged} pages on the account, {owned} in the ledger")
            }
            Self::Management { charged, owned } => {
                write!(
                    f,
                    "management memory: {charged} pages on the account, {owned} in the ledger"
                )
            }
        }
    }
}

impl Ledger<'_> {
    /// Compares three books on one partition: this ledger, the frames that its stage-2 table maps (every
    /// leaf; those outside RAM are devices and not looked at), and its account. For quiet moments: a partition
    /// that is being built or ended has frames that are not mapped.
    ///
    /// Takes time in proportion to the machine's RAM; for tests, the operator and the soak runs.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn audit(
        &self,
        slot: PartitionSlot,
        mapped: impl Iterator<Item = FrameRun>,
        charged: Charged,
    ) -> Result<(), Finding> {
        let table = self.tally_table(slot, mapped)?;
        let (mut own, mut management) = (Tally::default(), 0_u64);
        self.for_each_run(&mut |run, state| match state {
            FrameState::Private(owner) if owner == slot => own.add(run),
            FrameState::Area(area) if self.areas.owner(area) == Some(slot) => own.add(run),
            FrameState::AreaTable(area) if self.areas.owner(area) == Some(slot) => {
                management = management.saturating_add(run.pages.0);
            }
            FrameState::Management(owner) if owner == slot => {
                management = management.saturating_add(run.pages.0);
            }
            FrameState::Free
            | FrameState::Hypervisor
            | FrameState::Private(_)
            | FrameState::Management(_)
            | FrameState::Area(_)
            | FrameState::AreaTable(_)
            | FrameState::Device(_)
            | FrameState::Quarantined(_) => {}
        });
        if own != table {
            return Err(Finding::NotMappedOnce { owned: own.pages, mapped: table.pages });
        }
        if own.pages != charged.memory {
            return Err(Finding::Memory { charged: charged.memory, owned: own.pages });
        }
        if management != charged.management {
            return Err(Finding::Management { charged: charged.management, owned: management });
        }
        Ok(())
    }

    /// How many frames a partition has: those of its memory and its areas, and those of its management and its areas' tables.
    pub(crate) fn owned(&self, slot: PartitionSlot) -> Charged {
        let mut owned = Charged::default();
        self.for_each_run(&mut |run, state| {
            if self.owner(state) != Some(slot) {
                return;
            }
            match state {
                FrameState::Private(_) | FrameState::Area(_) => {
                    owned.memory = owned.memory.saturating_add(run.pages.0);
                }
                FrameState::Management(_) | FrameState::AreaTable(_) => {
                    owned.management = owned.management.saturating_add(run.pages.0);
                }
                FrameState::Free
                | FrameState::Hypervisor
                | FrameState::Device(_)
                | FrameState::Quarantined(_) => {}
            }
        });
        owned
    }

    /// The frames of the partition's own that its table maps.
    pub(crate) fn tally_table(
        &self,
        slot: PartitionSlot,
        mapped: impl Iterator<Item = FrameRun>,
    ) -> Result<Tally, Finding> {
        let mut table = Tally::default();
        for run in mapped {
            let mut left = run;
            while left.pages.0 > 0 {
                let Some((frames, found)) = self.first_of(left) else {
                    left = left.after(PageCount(1));
                    continue;
                };
                let is_own = match found {
                    FrameState::Private(owner) | FrameState::Device(owner) => owner == slot,
                    FrameState::Area(area) => self.areas.owner(area) == Some(slot),
                    FrameState::Free
                    | FrameState::Hypervisor
                    | FrameState::Management(_)
                    | FrameState::AreaTable(_)
                    | FrameState::Quarantined(_) => false,
                };
                if !is_own {
                    return Err(Finding::Foreign { frame: frames.base, found });
                }
                if !matches!(found, FrameState::Device(_)) {
                    table.add(frames);
                }
                left = left.after(frames.pages);
            }
        }
        Ok(table)
    }
}
