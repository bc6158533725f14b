//! The audit: the machine's books compared with one another (P3, P4).
//!
//! Five books say who has which frame: the pool, the ledger, the accounts, the lists of extents and the stage-2 tables.
//! [`audit_partition`] compares those of one partition, [`audit_ended`] says that nothing is left of one,
//! [`audit_frames`] compares the machine's, [`audit_steps`] what holds while partitions and areas are built and taken apart.
//! The tables are read by a walker of its own, which shares no code with `shikiri_stage2`, and which no leaf passes that leads to the
//! interrupt controller or the console: guests have virtual ones.
//!
//! A full audit takes time in proportion to the machine's RAM (a few tens of instructions for each frame that a
//! partition has, and a few for each 2 MiB that it has not): it is for the operator, tests and soak runs.
//! [`audit_ended`] is a load and a comparison, and is done after every end.

mod steps;

use core::fmt;

pub use steps::{Disagreement, audit_steps};

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, PartitionSlot, Resource, WindowSlot};
use shikiri_arch::board::OwnRegisters;
use shikiri_arch::hw::PhysMem;
use shikiri_pages::{DirectMap, FramePool};
use shikiri_stage2::{Access, Leaf};

use crate::area::InSlot;
use crate::frame::{AreaNumber, Charged, Finding, FrameRun, FrameState, Ledger};
use crate::partition::Holdings;

/// What an audit found wrong first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The ledger disagrees with the partition's table or account.
    Books(PartitionSlot, Finding),
    /// A table that cores walk for the partition is not among its management frames.
    Table {
        /// Whose.
        slot: PartitionSlot,
        /// The table.
        table: Pa,
        /// What the ledger says; `None`: it is not RAM.
        found: Option<FrameState>,
    },
    /// Guest memory does not lead to the frame that its extent says.
    Translation {
        /// Whose.
        slot: PartitionSlot,
        /// The guest's address.
        ipa: Ipa,
        /// Where its table leads.
        pa: Pa,
    },
    /// Guest memory leads to registers that are the hypervisor's alone.
    Registers {
        /// Whose.
        slot: PartitionSlot,
        /// The guest's address.
        ipa: Ipa,
        /// Where its table leads.
        pa: Pa,
    },
    /// The registry knows a message area otherwise than the partition that has it.
    Area {
        /// Whose.
        slot: PartitionSlot,
        /// Which.
        area: AreaNumber,
        /// Its frames by the registry.
        counted: PageCount,
        /// Its pages and tables.
        there: PageCount,
    },
    /// A shared area that the partition keeps has other users than views.
    Users(PartitionSlot),
    /// An ended partition has frames.
    LeftOver {
        /// Whose.
        slot: PartitionSlot,
        /// How many.
        pages: PageCount,
    },
    /// The ledger's counter of a partition's frames is not the number of its entries.
    Count {
        /// Whose.
        slot: PartitionSlot,
        /// The counter.
        counted: PageCount,
        /// The entries.
        entries: PageCount,
    },
    /// The pool's frames are not those that nobody has.
    Pool {
        /// Free in the pool, or at rest for the description's fixed places.
        pool: PageCount,
        /// Free or quarantined in the ledger.
        ledger: PageCount,
    },
}

impl Violation {
    /// Whose books are wrong; `None` for the machine's own.
    #[must_use]
    pub const fn slot(&self) -> Option<PartitionSlot> {
        match self {
            Self::Books(slot, _)
            | Self::Users(slot)
            | Self::Table { slot, .. }
            | Self::Translation { slot, .. }
            | Self::Registers { slot, .. }
            | Self::Area { slot, .. }
            | Self::LeftOver { slot, .. }
            | Self::Count { slot, .. } => Some(*slot),
            Self::Pool { .. } => None,
        }
    }
}

/// What is wrong, without whose it is: whoever shows it has the name ([`Violation::slot`]).
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Books(_, finding) => write!(f, "{finding}"),
            Self::Table { table, found: Some(found), .. } => {
                write!(f, "its table at {table} is {found}")
            }
            Self::Table { table, found: None, .. } => {
                write!(f, "its table at {table} is not RAM")
            }
            Self::Translation { ipa, pa, .. } | Self::Registers { ipa, pa, .. } => {
                let is_frame = matches!(self, Self::Translation { .. });
                let not = if is_frame { "not its extent's frame" } else { "not a guest's" };
                write!(f, "{ipa} leads to {pa}, which is {not}")
            }
            Self::Area { area, counted, there, .. } => {
                let (area, counted, there) = (area.0, counted.0, there.0);
                write!(f, "its area {area} has {there} frames, and {counted} in the registry")
            }
            Self::Users(_) => f.write_str("a shared area has not as many views as users"),
            Self::LeftOver { pages, .. } => {
                write!(f, "it has ended and has {} frames", pages.0)
            }
            Self::Count { counted, entries, .. } => {
                write!(f, "the ledger counts {} frames and has {} entries", counted.0, entries.0)
            }
            Self::Pool { pool, ledger } => {
                write!(f, "{} frames are free in the pool and {} in the ledger", pool.0, ledger.0)
            }
        }
    }
}

/// What an audit of the whole machine has compared, up to its end or to the first thing that is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Complete partitions: ledger, tables, extents and account were compared.
    pub complete: usize,
    /// Partitions that have ended: the ledger has no frame of theirs.
    pub ended: usize,
    /// Partitions that are being built or taken apart: only that their tables and leaves are their own was
    /// compared.
    pub changing: usize,
    /// Frames of all partitions, by the ledger.
    pub held: PageCount,
    /// Frames that nobody has, by pool and ledger alike; `None` if they could not be compared, because a partition
    /// was being built or taken apart, or an area made.
    pub free: Option<PageCount>,
    /// The first thing that is wrong.
    pub violation: Option<Violation>,
}

impl Audit {
    /// Compares one partition's books and counts it; false if something is wrong. `holdings` is `None` while it has
    /// none. `own` are the hypervisor's registers.
    #[inline(never)]
    pub fn partition<P: PhysMem>(
        &mut self,
        ledger: &Ledger<'_>,
        (mem, own): (&P, &OwnRegisters),
        slot: PartitionSlot,
        holdings: Option<&Holdings>,
    ) -> bool {
        let (count, result) = match holdings {
            None => (&mut self.ended, audit_ended(ledger, slot)),
            Some(holdings) if holdings.is_complete() => {
                (&mut self.complete, audit_partition(ledger, (mem, own), holdings))
            }
            Some(holdings) => (&mut self.changing, audit_partition(ledger, (mem, own), holdings)),
        };
        *count = count.saturating_add(1);
        self.held = PageCount(self.held.0.saturating_add(ledger.held(slot).0));
        self.violation = result.err();
        self.violation.is_none()
    }

    /// Compares the machine's books, at a moment when no partition is being built or taken apart.
    pub fn frames<M: DirectMap>(&mut self, ledger: &Ledger<'_>, pool: &FramePool<M>) {
        match audit_frames(ledger, pool) {
            Ok(idle) => self.free = Some(idle),
            Err(violation) => self.violation = Some(violation),
        }
    }

    /// Takes back what [`Audit::frames`] has found: a partition was being built or taken apart meanwhile, so that
    /// frames were in its worker's hands, or an area was being made.
    pub fn forget_frames(&mut self) {
        self.free = None;
        if matches!(self.violation, Some(Violation::Pool { .. })) {
            self.violation = None;
        }
    }
}

/// Compares one partition's books. While it is being built or taken apart only what holds at every moment is
/// compared: that its tables are its own, and lead to its own frames, and to none of the hypervisor's registers (`own`).
///
/// # Errors
/// The first [`Violation`].
pub fn audit_partition<P: PhysMem>(
    ledger: &Ledger<'_>,
    (mem, own): (&P, &OwnRegisters),
    holdings: &Holdings,
) -> Result<(), Violation> {
    let slot = holdings.slot();
    let Some(stage2) = holdings.stage2() else { return Ok(()) };
    let tables = [stage2.root(), stage2.root().wrapping_add(PAGE_BYTES)];
    let is_own: &Look<'_> = &|table: Pa| match ledger.state(table) {
        Some(FrameState::Management(owner)) if owner == slot => Ok(()),
        Some(FrameState::AreaTable(area)) if ledger.areas().owner(area) == Some(slot) => Ok(()),
        Some(FrameState::AreaTable(area))
            if holdings.areas().is_some_and(|areas| areas.has_attached(area)) =>
        {
            Ok(())
        }
        found => Err(Violation::Table { slot, table, found }),
    };
    tables.into_iter().try_for_each(is_own)?;
    let see = &|ipa, run, raw| check_leaf((ledger, own), holdings, (ipa, run), raw);
    let walk = Walk { mem, is_own, see };
    walk.table(tables[0], 0, 30, 1024)?;
    if !holdings.is_complete() {
        return Ok(());
    }
    let Some(promised) = audit_areas(ledger, holdings)? else { return Ok(()) };
    // Pages of message ports are management memory, and what is shared is its keeper's.
    let is_anothers = |leaf: &Leaf| {
        let there = in_slot(holdings, leaf.ipa);
        matches!(there, Some(InSlot::Page { .. } | InSlot::Shared { is_kept: false, .. }))
    };
    let leaves = stage2
        .leaves(mem)
        .filter(|leaf| !is_anothers(leaf))
        .map(|leaf| FrameRun { base: leaf.pa, pages: PageCount(leaf.bytes() / PAGE_BYTES) });
    let used = |resource| holdings.account().line(resource).used;
    // A share of the hypervisor's own memory is charged, and no frame stands for it.
    let without_frames = promised.1.saturating_add(holdings.shares());
    let charged = Charged {
        memory: used(Resource::Memory).saturating_sub(promised.0),
        management: used(Resource::ManagementMemory).saturating_sub(without_frames),
    };
    ledger.audit(slot, leaves, charged).map_err(|finding| Violation::Books(slot, finding))?;
    audit_count(ledger, slot)
}

/// Compares the numbers of a partition's areas with the registry; answers what its account holds for areas that have not come
/// yet, in pages: (memory, management). `None` if an area is being made or freed.
fn audit_areas(ledger: &Ledger<'_>, holdings: &Holdings) -> Result<Option<(u64, u64)>, Violation> {
    let Some(areas) = holdings.areas() else { return Ok(Some((0, 0))) };
    let slot = holdings.slot();
    if !areas.counts_users() {
        return Err(Violation::Users(slot));
    }
    let registry = ledger.areas();
    let mut wrong = None;
    let is_quiet = areas.complete(&mut |area, frames| {
        if registry.owner(area) != Some(slot) || registry.pages(area) != frames {
            wrong = Some((area, frames));
        }
    });
    if !is_quiet {
        return Ok(None);
    }
    match wrong {
        Some((area, there)) => {
            let counted = registry.pages(area);
            Err(Violation::Area { slot, area, counted, there })
        }
        None => Ok(Some(areas.promised())),
    }
}

/// What is in the slot of the window region that an address lies in; `None` outside the region.
fn in_slot(holdings: &Holdings, ipa: Ipa) -> Option<InSlot> {
    let slot = WindowSlot::at(ipa)?;
    holdings.areas().map(|areas| areas.in_slot(slot))
}

/// Says that an ended partition has no frame: a few instructions.
///
/// # Errors
/// [`Violation::LeftOver`].
pub fn audit_ended(ledger: &Ledger<'_>, slot: PartitionSlot) -> Result<(), Violation> {
    match ledger.held(slot) {
        PageCount(0) => Ok(()),
        pages => Err(Violation::LeftOver { slot, pages }),
    }
}

/// Compares the ledger's counter for a partition with its entries.
///
/// # Errors
/// [`Violation::Count`].
pub fn audit_count(ledger: &Ledger<'_>, slot: PartitionSlot) -> Result<(), Violation> {
    let mut entries = 0_u64;
    ledger.for_each_run(&mut |run, state| {
        let is_held = !matches!(state, FrameState::Quarantined(_));
        if is_held && ledger.owner(state) == Some(slot) {
            entries = entries.saturating_add(run.pages.0);
        }
    });
    let (counted, entries) = (ledger.held(slot), PageCount(entries));
    if counted == entries { Ok(()) } else { Err(Violation::Count { slot, counted, entries }) }
}

/// Compares the pool with the ledger: what nobody has is in the pool, and the rest is not; answers how many frames
/// nobody has. For moments in which no partition is being built or taken apart (a frame in its taker's hands is in
/// neither).
///
/// # Errors
/// [`Violation::Pool`].
pub fn audit_frames<M: DirectMap>(
    ledger: &Ledger<'_>,
    pool: &FramePool<M>,
) -> Result<PageCount, Violation> {
    let mut idle = 0_u64;
    ledger.for_each_run(&mut |run, state| {
        if matches!(state, FrameState::Free | FrameState::Quarantined(_)) {
            idle = idle.saturating_add(run.pages.0);
        }
    });
    let here = PageCount(pool.free_pages().0.saturating_add(pool.resting_pages().0));
    let ledger = PageCount(idle);
    if here == ledger { Ok(here) } else { Err(Violation::Pool { pool: here, ledger }) }
}

/// S2AP\[1\] and XN\[1\] of a leaf.
const WRITABLE: u64 = 1 << 7;
const NEVER_EXECUTED: u64 = 1 << 54;

/// Whether a leaf of the window region lets its guest do what it should: write or not, and never execute.
const fn has_rights(raw: u64, is_writable: bool) -> bool {
    (raw & WRITABLE != 0) == is_writable && raw & NEVER_EXECUTED != 0
}

/// A leaf of guest memory leads where the extents say; one that is not RAM is a device, which the bundle's check
/// has given to one partition only, and never one of the hypervisor's own.
fn check_leaf(
    (ledger, own): (&Ledger<'_>, &OwnRegisters),
    holdings: &Holdings,
    (ipa, run): (Ipa, FrameRun),
    raw: u64,
) -> Result<(), Violation> {
    let wrong = Violation::Translation { slot: holdings.slot(), ipa, pa: run.base };
    let bytes = run.pages.bytes().unwrap_or(u64::MAX);
    match in_slot(holdings, ipa) {
        Some(InSlot::Nothing) => return Err(wrong),
        Some(InSlot::Page { at, is_writable }) => {
            let is_its = ledger.state(run.base) == Some(FrameState::Management(holdings.slot()));
            let is_it = at == run.base && is_its && has_rights(raw, is_writable);
            return if is_it { Ok(()) } else { Err(wrong) };
        }
        Some(found @ (InSlot::Area(area) | InSlot::Shared { area, .. })) => {
            let is_writable = !matches!(found, InSlot::Shared { access: Access::ReadOnly, .. });
            let is_all = ledger.are_all(run, FrameState::Area(area));
            return if is_all && has_rights(raw, is_writable) { Ok(()) } else { Err(wrong) };
        }
        None => {}
    }
    match holdings.translate(ipa) {
        Some((pa, room)) if pa == run.base && bytes <= room => Ok(()),
        Some(_) => Err(wrong),
        None if ledger.touches_ram(run) => Err(wrong),
        None if own.iter().any(|registers| touches(*registers, run.base, bytes)) => {
            Err(Violation::Registers { slot: holdings.slot(), ipa, pa: run.base })
        }
        None => Ok(()),
    }
}

/// Whether some of the registers are among so many bytes from `at` on.
const fn touches((start, size): (Pa, u64), at: Pa, bytes: u64) -> bool {
    at.0 < start.0.saturating_add(size) && start.0 < at.0.saturating_add(bytes)
}

/// Whether a table is the partition's: by a call, so that it is in the code once.
type Look<'a> = dyn Fn(Pa) -> Result<(), Violation> + 'a;

/// A reader of stage-2 tables (Arm ARM D8.3: 4 KiB granule, start at level 1).
struct Walk<'a, P, S> {
    mem: &'a P,
    is_own: &'a Look<'a>,
    see: &'a S,
}

impl<P, S> Walk<'_, P, S>
where
    P: PhysMem,
    S: Fn(Ipa, FrameRun, u64) -> Result<(), Violation>,
{
    /// Reads one table of `entries` descriptors of 2^`shift` bytes each; at most three deep.
    fn table(&self, at: Pa, ipa: u64, shift: u32, entries: u64) -> Result<(), Violation> {
        let size = 1_u64.checked_shl(shift).unwrap_or(0);
        for index in 0..entries {
            let raw = self.mem.read_u64(at.wrapping_add(index.wrapping_mul(8)));
            let to = Pa(raw & 0x0000_ffff_ffff_f000);
            let here = ipa.wrapping_add(index.wrapping_mul(size));
            match (raw & 3, shift) {
                (3, 21 | 30) => {
                    (self.is_own)(to)?;
                    self.table(to, here, shift.saturating_sub(9), 512)?;
                }
                (1, 21 | 30) | (3, 12) => {
                    (self.see)(
                        Ipa(here),
                        FrameRun { base: to, pages: PageCount(size / PAGE_BYTES) },
                        raw,
                    )?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
