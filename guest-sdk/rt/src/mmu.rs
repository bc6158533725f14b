//! Translation tables: an identity map with RAM cacheable, the image's parts protected, and all else device.
//!
//! 4 KiB granule, 39-bit addresses, tables from the free memory. [`map`] makes further mappings later.
#![expect(unsafe_code, reason = "translation tables decide what every pointer means")]

use crate::memory::{self, FreeMemory, PAGE_BYTES};
use crate::reg;

/// Bits of a virtual address; the tables start at level 1.
const ADDRESS_BITS: u32 = 39;
const ENTRIES: u64 = 512;

const VALID: u64 = 1;
/// In a level 1 or 2 descriptor: a table, not a block. In a level 3 descriptor: always set.
const TABLE_OR_PAGE: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const PRIVILEGED_XN: u64 = 1 << 53;
const UNPRIVILEGED_XN: u64 = 1 << 54;
const ADDRESS_MASK: u64 = 0x0000_ffff_ffff_f000;

/// MAIR_EL1: attribute 0 is Device-nGnRE, attribute 1 Normal Write-Back, read- and write-allocate.
const MAIR: u64 = 0xff04;
const NORMAL: u64 = (1 << 2) | INNER_SHAREABLE;
/// SCTLR_EL1: the RES1 bits of Armv8.0, the caches and the MMU on, SP alignment checked.
const SCTLR: u64 = 0x30d0_0800 | (1 << 12) | (1 << 3) | (1 << 2) | 1;

/// What a mapping allows; nothing is accessible to EL0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: any access is a translation fault.
    Nothing,
    /// Normal memory: read and execute.
    Code,
    /// Normal memory: read.
    Constant,
    /// Normal memory: read and write.
    Data,
    /// Normal memory: read, write and execute, for code that is made at run time.
    Anything,
    /// Device memory: read and write.
    Device,
}

impl Access {
    /// The attribute bits of a leaf.
    const fn bits(self) -> u64 {
        const LEAF: u64 = VALID | ACCESS_FLAG | UNPRIVILEGED_XN;
        match self {
            Self::Nothing => 0,
            Self::Code => LEAF | NORMAL | READ_ONLY,
            Self::Constant => LEAF | NORMAL | READ_ONLY | PRIVILEGED_XN,
            Self::Data => LEAF | NORMAL | PRIVILEGED_XN,
            Self::Anything => LEAF | NORMAL,
            Self::Device => LEAF | PRIVILEGED_XN,
        }
    }
}

/// There is no memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// The registers that turn a set of tables on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Regime {
    pub(crate) ttbr0: u64,
    pub(crate) tcr: u64,
    pub(crate) mair: u64,
    pub(crate) sctlr: u64,
}

impl Regime {
    /// The regime whose tables start at `root`.
    pub(crate) fn new(root: u64) -> Self {
        const T0SZ: u64 = 25;
        const WALKS_CACHED: u64 = (1 << 8) | (1 << 10) | (3 << 12);
        const NO_TTBR1: u64 = 1 << 23;
        // Output addresses up to 48 bits: a wider PARange needs FEAT_LPA2's other descriptor format.
        let output_bits = (reg::id_aa64mmfr0() & 0xf).min(5);
        Self {
            ttbr0: root,
            tcr: T0SZ | WALKS_CACHED | NO_TTBR1 | (output_bits << 32),
            mair: MAIR,
            sctlr: SCTLR,
        }
    }
}

/// Maps `bytes` from virtual address `va` to physical address `pa`; all are multiples of 4 KiB, and `va` is
/// below 2^39.
///
/// # Errors
/// [`NoMemory`] if a table is needed and no free page is left; a part of the range may then be mapped.
///
/// # Safety
/// Nothing that Rust knows of lies in the range, nor does any code or stack in use, and no other vCPU uses it
/// meanwhile.
pub unsafe fn map(va: u64, pa: u64, bytes: u64, access: Access) -> Result<(), NoMemory> {
    let root = reg::ttbr0() & ADDRESS_MASK;
    memory::with_free(|free| Tables { root, free }.map(va, pa, bytes, access))
}

/// Tables under construction or in use.
pub(crate) struct Tables<'a> {
    root: u64,
    free: &'a mut FreeMemory,
}

impl<'a> Tables<'a> {
    /// New tables that map every address to itself as a device.
    pub(crate) fn new(free: &'a mut FreeMemory) -> Result<Self, NoMemory> {
        let root = free.take(1).ok_or(NoMemory)?;
        let mut tables = Self { root, free };
        fill(root, |_| 0);
        tables.map(0, 0, 1 << ADDRESS_BITS, Access::Device)?;
        Ok(tables)
    }

    /// The first table's address.
    pub(crate) const fn root(&self) -> u64 {
        self.root
    }

    /// Where tables come from.
    pub(crate) const fn free(&mut self) -> &mut FreeMemory {
        self.free
    }

    /// Maps a range with the largest leaves that fit.
    pub(crate) fn map(
        &mut self,
        mut va: u64,
        mut pa: u64,
        mut bytes: u64,
        access: Access,
    ) -> Result<(), NoMemory> {
        while bytes != 0 {
            let level = (1..3).find(|level| fits(*level, va, pa, bytes)).unwrap_or(3);
            let entry = self.entry(va, level)?;
            replace(entry, leaf(pa, level, access.bits()));
            let step = leaf_bytes(level);
            va = va.wrapping_add(step);
            pa = pa.wrapping_add(step);
            bytes = bytes.saturating_sub(step);
        }
        Ok(())
    }

    /// The descriptor for `va` at `level`; blocks above it are split.
    fn entry(&mut self, va: u64, level: u32) -> Result<u64, NoMemory> {
        let mut table = self.root;
        for above in 1..level {
            let entry = entry_address(table, va, above);
            let old = load(entry);
            if old & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE {
                table = old & ADDRESS_MASK;
                continue;
            }
            table = self.free.take(1).ok_or(NoMemory)?;
            let below = above.saturating_add(1);
            let attributes = old & !ADDRESS_MASK;
            fill(table, |index| {
                let offset = index.wrapping_mul(leaf_bytes(below));
                leaf((old & ADDRESS_MASK).wrapping_add(offset), below, attributes)
            });
            replace(entry, table | VALID | TABLE_OR_PAGE);
        }
        Ok(entry_address(table, va, level))
    }
}

/// How many bytes a leaf at `level` maps: 1 GiB, 2 MiB, 4 KiB.
const fn leaf_bytes(level: u32) -> u64 {
    match level {
        1 => 1 << 30,
        2 => 1 << 21,
        _ => PAGE_BYTES,
    }
}

/// Whether a leaf at `level` can start a mapping of `bytes` from `va` to `pa`.
const fn fits(level: u32, va: u64, pa: u64, bytes: u64) -> bool {
    let size = leaf_bytes(level);
    (va | pa).is_multiple_of(size) && bytes >= size
}

/// A leaf descriptor; attributes without VALID make an invalid one.
const fn leaf(pa: u64, level: u32, attributes: u64) -> u64 {
    match (attributes & VALID, level) {
        (0, _) => 0,
        (_, 3) => pa | attributes | TABLE_OR_PAGE,
        _ => pa | attributes,
    }
}

fn entry_address(table: u64, va: u64, level: u32) -> u64 {
    let index = (va >> leaf_bytes(level).trailing_zeros()) % ENTRIES;
    table.wrapping_add(index.wrapping_mul(8))
}

/// Writes all entries of a table that nothing points to yet.
fn fill(table: u64, entry: impl Fn(u64) -> u64) {
    for index in 0..ENTRIES {
        store(table.wrapping_add(index.wrapping_mul(8)), entry(index));
    }
}

/// Changes a descriptor by break-before-make (Arm ARM D8.17.1).
fn replace(entry: u64, new: u64) {
    let old = load(entry);
    if old == new {
        return;
    }
    if old & VALID != 0 {
        store(entry, 0);
        reg::dsb_ishst();
        reg::tlbi_vmalle1is();
        reg::dsb_ish();
        reg::isb();
    }
    store(entry, new);
    reg::dsb_ishst();
    reg::isb();
}

fn load(entry: u64) -> u64 {
    // SAFETY: `entry` lies in a table that this module took from the free memory.
    unsafe { entry_pointer(entry).read_volatile() }
}

fn store(entry: u64, value: u64) {
    // SAFETY: `entry` lies in a table that this module took from the free memory; what the new value means for
    // pointers is the promise of `map`'s caller.
    unsafe { entry_pointer(entry).write_volatile(value) }
}

fn entry_pointer(entry: u64) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(usize::try_from(entry).unwrap_or(0))
}
