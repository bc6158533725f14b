//! Stage-2 translation tables: 4 KiB granule, 40-bit IPA, leaves of 4 KiB, 2 MiB and 1 GiB.
//!
//! [`Stage2`] is one partition's tables. Every change is *check → prepare → commit*: `prepare_…` computes
//! and reserves the table pages (the partition's account pays, [`TablePages`]) and can be abandoned
//! without a trace; `commit` cannot fail. Tables are read and written through
//! [`PhysMem`](shikiri_arch::hw::PhysMem), translation caches invalidated through
//! [`Tlb`](shikiri_arch::hw::Tlb) by the named sequences of [`invalidate`]. What happens to them when a core changes
//! its vCPU is in [`switch`].
//!
//! Ownership: a `Stage2` is changed under its partition's lock only (`&mut`). The tables are made from the
//! frame ledger, never the other way round (design §5). Guests' cores walk them at any moment: a
//! descriptor changes in one 64-bit store, and a leaf that turns into a table is broken, invalidated and
//! only then made.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod common;
mod descriptor;
mod error;
mod format;
pub mod invalidate;
mod map;
mod protect;
mod range;
mod reserve;
mod split;
mod subtree;
pub mod switch;
mod unmap;
mod walk;
mod window;

pub use common::{Common, Mapped, View};
pub use descriptor::{Access, Attributes, Execute, Level, Memory};
pub use error::{MapError, NoTable};
pub use format::Format;
pub use map::{Mapping, PreparedMap};
pub use protect::PreparedProtect;
pub use range::{IpaRange, Progress};
pub use reserve::TablePages;
pub use subtree::{Growing, LeafRun, Linked, Subtree};
pub use unmap::PreparedUnmap;
pub use walk::{Leaf, Leaves, Step, Walk, WalkEnd};
pub use window::WindowSizes;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount, Vmid, WINDOWS};
use shikiri_arch::hw::{PhysMem, Vttbr};

/// Pages of a root: two concatenated tables, 1,024 descriptors of 1 GiB each.
pub const ROOT_PAGES: PageCount = PageCount(2);
/// A root's alignment in bytes: its size (Arm ARM D8.2.3, concatenated tables).
pub const ROOT_ALIGN: u64 = 2 * PAGE_BYTES;

/// One partition's stage-2 tables.
///
/// Invariants: a table below the root is never empty, so that whatever has a table has a leaf, except for the tables
/// of the window region ([`Stage2::make_windows`]); an invalid descriptor is zero; every leaf has its access flag set.
#[derive(Debug)]
pub struct Stage2 {
    root: Pa,
    format: Format,
    vttbr: Vttbr,
    windows: WindowSizes,
    window_tables: window::WindowTables,
}

impl Stage2 {
    /// Makes an empty address space of a root that the caller owns: [`ROOT_PAGES`] pages, aligned to
    /// [`ROOT_ALIGN`]. The root is zeroed here.
    ///
    /// The VMID must have no entries left in any TLB (see [`invalidate::whole_vmid`]).
    ///
    /// # Errors
    /// [`MapError::Alignment`] if the root is not aligned.
    pub fn new<M: PhysMem>(
        mem: &M,
        root: Pa,
        format: Format,
        vmid: Vmid,
    ) -> Result<Self, MapError> {
        if !root.is_aligned(ROOT_ALIGN) {
            return Err(MapError::Alignment);
        }
        mem.zero(root, ROOT_PAGES);
        let vttbr = Vttbr::new(root, vmid);
        let (windows, window_tables) = Default::default();
        Ok(Self { root, format, vttbr, windows, window_tables })
    }

    /// What VTTBR_EL2 holds while a vCPU of this partition runs.
    #[must_use]
    pub const fn vttbr(&self) -> Vttbr {
        self.vttbr
    }

    /// The format of the tables, the same for all partitions of a machine.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The root's address, to give it back once [`Stage2::is_empty`] holds.
    #[must_use]
    pub const fn root(&self) -> Pa {
        self.root
    }

    /// The whole address space, as a range to unmap at the partition's end; without the window region, if there
    /// is one.
    #[must_use]
    pub fn whole(&self) -> IpaRange {
        let whole = IpaRange::whole(self.format);
        if self.is_in_windows(whole) { whole.up_to(WINDOWS) } else { whole }
    }

    /// Whether nothing is mapped, and so no table page is left but the root.
    #[must_use]
    pub fn is_empty<M: PhysMem>(&self, mem: &M) -> bool {
        self.leaves(mem).next().is_none()
    }
}
