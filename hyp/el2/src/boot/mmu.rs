//! EL2's own stage 1: an identity map, W^X, with a guard page under each stack.
//!
//! Built once by the boot core with the MMU off and never changed afterwards. Text is read-only and
//! executable, read-only data neither writable nor executable, all else execute-never, and SCTLR_EL2.WXN
//! makes the rule the hardware's. RAM is Normal Write-Back, what the tree names as device registers is
//! Device-nGnRE.
#![expect(unsafe_code, reason = "hands out table frames and turns the MMU on")]

use core::ptr::NonNull;

use aarch64_cpu::registers::{MAIR_EL2, SCTLR_EL2, TCR_EL2};
use aarch64_paging::descriptor::{El23Attributes as Attributes, PhysicalAddress};
use aarch64_paging::paging::{Constraints, El2, MemoryRegion, PageTable, RootTable, Translation};

use super::image::{self, Span};
use super::tree::Range;

const PAGE: usize = 4096;
/// MAIR attribute 0: Device-nGnRE; attribute 1: Normal Write-Back, read- and write-allocate.
const MAIR: u64 = 0xff04;
const DEVICE: Attributes = Attributes::ATTRIBUTE_INDEX_0.union(Attributes::XN);
const NORMAL: Attributes = Attributes::ATTRIBUTE_INDEX_1.union(Attributes::INNER_SHAREABLE);
const LIVE: Attributes = Attributes::VALID.union(Attributes::ACCESSED);
const TEXT: Attributes = NORMAL.union(LIVE).union(Attributes::READ_ONLY);
const RODATA: Attributes = TEXT.union(Attributes::XN);
const DATA: Attributes = NORMAL.union(LIVE).union(Attributes::XN);

/// Hands out the image's table frames, zeroed. The image, and so each frame, is identity-mapped.
struct TableFrames {
    next: usize,
    end: usize,
}

impl Translation<Attributes> for TableFrames {
    fn allocate_table(&mut self) -> (NonNull<PageTable<Attributes>>, PhysicalAddress) {
        // 48 tables map any board that `Ranges` can hold; more is our bug, found at the first boot.
        assert!(self.next < self.end, "no EL2 table frame left");
        let at = self.next;
        self.next = at.saturating_add(PAGE);
        let table = core::ptr::with_exposed_provenance_mut::<u64>(at);
        for word in 0..PAGE / 8 {
            // SAFETY: the frame lies in the image's table area, which nobody else uses.
            unsafe { table.wrapping_add(word).write_volatile(0) };
        }
        (self.physical_to_virtual(PhysicalAddress(at)), PhysicalAddress(at))
    }

    unsafe fn deallocate_table(&mut self, _table: NonNull<PageTable<Attributes>>) {}

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<Attributes>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(pa.0)).unwrap_or(NonNull::dangling())
    }
}

/// What a core needs to turn its MMU on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct MmuRegisters {
    /// TTBR0_EL2.
    pub(crate) ttbr0: u64,
    /// TCR_EL2.
    pub(crate) tcr: u64,
    /// MAIR_EL2.
    pub(crate) mair: u64,
    /// SCTLR_EL2.
    pub(crate) sctlr: u64,
}

/// Collects mappings; nothing is live before [`MapBuilder::finish`].
pub(crate) struct MapBuilder {
    root: RootTable<El2, TableFrames>,
}

impl MapBuilder {
    /// An empty map over the image's table frames.
    pub(crate) fn new() -> Self {
        let Span { start, end } = image::tables();
        Self { root: RootTable::new(TableFrames { next: start, end }, 0, El2) }
    }

    /// Maps RAM outside the image. What the stacks of cores that the board does not have would take is
    /// plain RAM.
    pub(crate) fn ram(&mut self, range: Range, cores: usize) {
        let image = image::used(cores);
        let (start, end) = (to_usize(range.start), to_usize(range.end));
        self.map(Span { start, end: end.min(image.start) }, DATA);
        self.map(Span { start: start.max(image.end), end }, DATA);
    }

    /// Maps device registers.
    pub(crate) fn device(&mut self, start: u64, bytes: u64) {
        let start = to_usize(start) & !(PAGE - 1);
        let end = start.saturating_add(to_usize(bytes)).next_multiple_of(PAGE);
        self.map(Span { start, end }, DEVICE.union(LIVE));
    }

    /// Maps the image: text, read-only data, data, tables, and the stacks of `cores` cores without their
    /// guard pages.
    pub(crate) fn image(&mut self, cores: usize) {
        self.map(image::text(), TEXT);
        self.map(image::rodata(), RODATA);
        self.map(Span { start: image::rodata().end, end: image::tables().end }, DATA);
        for core in 0..cores {
            self.map(image::stack(core), DATA);
        }
    }

    fn map(&mut self, span: Span, attributes: Attributes) {
        if span.start >= span.end {
            return;
        }
        let region = MemoryRegion::new(span.start, span.end);
        let result = self.root.map_range(
            &region,
            PhysicalAddress(span.start),
            attributes,
            Constraints::empty(),
        );
        assert!(result.is_ok(), "EL2 map: {result:?}");
    }

    /// The register values; the tables stay where they are for ever.
    pub(crate) fn finish(self, pa_range: u64) -> MmuRegisters {
        let ttbr0 = u64::try_from(self.root.to_physical().0).unwrap_or(0);
        core::mem::forget(self.root);
        MmuRegisters { ttbr0, tcr: tcr(pa_range), mair: MAIR, sctlr: sctlr() }
    }
}

/// 48-bit VA, 4 KiB granule, Write-Back inner-shareable walks, PS as the core has it but at most 48 bits
/// (52 bits need LPA2 tables).
#[expect(clippy::arithmetic_side_effects, reason = "the library's + of register fields is a union")]
fn tcr(pa_range: u64) -> u64 {
    let res1 = (1 << 31) | (1 << 23);
    res1 | (TCR_EL2::TG0::KiB_4
        + TCR_EL2::SH0::Inner
        + TCR_EL2::ORGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable
        + TCR_EL2::IRGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable
        + TCR_EL2::PS.val(pa_range.min(5))
        + TCR_EL2::T0SZ.val(16))
    .value
}

/// RES1 bits, MMU and caches on, write implies execute-never, alignment checks of SP.
#[expect(clippy::arithmetic_side_effects, reason = "the library's + of register fields is a union")]
fn sctlr() -> u64 {
    let wxn = 1 << 19;
    0x30c5_0830
        | wxn
        | (SCTLR_EL2::M::Enable
            + SCTLR_EL2::C::Cacheable
            + SCTLR_EL2::I::Cacheable
            + SCTLR_EL2::SA::Enable)
            .value
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

unsafe extern "C" {
    /// `start.s`: loads the registers and turns the MMU on; x0 is unused.
    fn mmu_on(unused: u64, ttbr0: u64, tcr: u64, mair: u64, sctlr: u64);
}

impl MmuRegisters {
    /// Turns this core's MMU and caches on.
    pub(crate) fn enable(&self) {
        // SAFETY: the map is an identity map of all that runs and is used here: image, stacks, RAM, UART.
        unsafe { mmu_on(0, self.ttbr0, self.tcr, self.mair, self.sctlr) };
    }
}

const _: () =
    assert!(MAIR_EL2::Attr1_Normal_Outer::WriteBack_NonTransient_ReadWriteAlloc.value == 0xf000);
