//! EL2's own stage 1: an identity map, W^X, with a guard page under each stack.
//!
//! Built once by the boot core with the MMU off and never changed afterwards. Text is read-only and
//! executable, read-only data neither writable nor executable, all else execute-never, and SCTLR_EL2.WXN
//! makes the rule the hardware's. RAM is Normal Write-Back, what the tree names as device registers is
//! Device-nGnRE.
#![expect(unsafe_code, reason = "hands out table frames and turns the MMU on")]

use aarch64_cpu::registers::{MAIR_EL2, SCTLR_EL2, TCR_EL2};
use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_arch::el2_map::{Content, MAIR, Map};
use shikiri_arch::hw::PhysMem;

use super::image::{self, Span};
use super::log::refuse;
use crate::hw::mem::Ram;
use shikiri_arch::board::Range;

/// Memory while MMU and caches are off: plain stores, no DC ZVA.
struct Uncached;

impl PhysMem for Uncached {
    fn read_u64(&self, at: Pa) -> u64 {
        // SAFETY: the map reads its own tables, in the image's table area; aligned words.
        unsafe { pointer(at).read_volatile() }
    }

    fn write_u64(&self, at: Pa, value: u64) {
        // SAFETY: as above; nobody else uses the area.
        unsafe { pointer(at).write_volatile(value) };
    }

    /// Drops what the caches may still hold of the frames from before: the stores go past them, and the table walks,
    /// which are cacheable, would find the old lines (Arm ARM D8.5.6, mismatched attributes). With the MMU off no new lines come.
    fn zero(&self, at: Pa, pages: PageCount) {
        Ram.clean_invalidate(at, pages.0.saturating_mul(PAGE_BYTES));
        let words = usize::try_from(pages.0.saturating_mul(PAGE_BYTES / 8)).unwrap_or(0);
        // SAFETY: as above; whole pages.
        unsafe { pointer(at).write_bytes(0, words) };
    }

    fn clean_invalidate(&self, _at: Pa, _bytes: u64) {}
}

fn pointer(at: Pa) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(to_usize(at.0))
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

/// Collects mappings; nothing is live before [`MmuRegisters::enable`].
pub(crate) struct MapBuilder {
    map: Map<Uncached>,
}

impl MapBuilder {
    /// An empty map over the image's table frames.
    pub(crate) fn new() -> Self {
        let tables = image::tables();
        match Map::new(Uncached, pa(tables.start), pa(tables.end)) {
            Ok(map) => Self { map },
            Err(error) => refuse(format_args!("EL2 map: {error}")),
        }
    }

    /// Maps RAM outside the image. What the stacks of cores that the board does not have would take is
    /// plain RAM.
    pub(crate) fn ram(&mut self, range: Range, cores: usize) {
        let image = image::used(cores);
        let (start, end) = (to_usize(range.start), to_usize(range.end));
        self.map(Span { start, end: end.min(image.start) }, Content::Data);
        self.map(Span { start: start.max(image.end), end }, Content::Data);
    }

    /// Takes RAM back that the firmware lets nobody map (Devicetree Specification, 3.5.4): not even speculation may
    /// reach it.
    pub(crate) fn unmapped(&mut self, range: Range) {
        let (start, end) = (to_usize(range.start), to_usize(range.end));
        self.map(Span { start, end }, Content::Unmapped);
    }

    /// Maps device registers.
    pub(crate) fn device(&mut self, start: u64, bytes: u64) {
        let start = to_usize(start);
        self.map(Span { start, end: start.saturating_add(to_usize(bytes)) }, Content::Device);
    }

    /// Maps the image: text, read-only data, data, tables, and the stacks of `cores` cores without their
    /// guard pages.
    pub(crate) fn image(&mut self, cores: usize) {
        self.map(image::text(), Content::Text);
        self.map(image::rodata(), Content::Constants);
        let data = Span { start: image::rodata().end, end: image::tables().end };
        self.map(data, Content::Data);
        for core in 0..cores {
            self.map(image::stack(core), Content::Data);
        }
    }

    /// 48 tables map the RAM of any board that `Ranges` can hold, unless its tree names addresses that no board has; the
    /// ends of `no-map` ranges take one each where they are no multiple of 2 MiB and have no neighbour.
    fn map(&mut self, span: Span, content: Content) {
        if let Err(error) = self.map.add(pa(span.start), pa(span.end), content) {
            let Span { start, end } = span;
            refuse(format_args!("EL2 map: {error} for {start:#x}..{end:#x}"));
        }
    }

    /// The register values; the tables stay where they are for ever.
    pub(crate) fn finish(self, pa_range: u64) -> MmuRegisters {
        MmuRegisters { ttbr0: self.map.root().0, tcr: tcr(pa_range), mair: MAIR, sctlr: sctlr() }
    }
}

fn pa(address: usize) -> Pa {
    Pa(u64::try_from(address).unwrap_or(u64::MAX))
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
