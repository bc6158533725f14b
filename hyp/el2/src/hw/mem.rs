//! Physical memory through EL2's identity map.
#![expect(unsafe_code, reason = "physical addresses become pointers here")]

use core::ptr::NonNull;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_arch::hw::PhysMem;
use shikiri_core::partition::Loader;
use shikiri_pages::DirectMap;

use crate::regs;

/// RAM as EL2 sees it: Normal Write-Back, VA = PA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ram;

impl PhysMem for Ram {
    #[inline]
    fn read_u64(&self, at: Pa) -> u64 {
        // SAFETY: the frame ledger gave the address; RAM is mapped, aligned words are read volatile because
        // a table walker or another core may change them.
        unsafe { pointer(at).read_volatile() }
    }

    #[inline]
    fn write_u64(&self, at: Pa, value: u64) {
        // SAFETY: as above; the caller owns the frame.
        unsafe { pointer(at).write_volatile(value) };
    }

    fn zero(&self, at: Pa, pages: PageCount) {
        let bytes = pages.bytes().unwrap_or(0);
        let end = at.0.saturating_add(bytes);
        let mut next = at.0;
        let Some(block) = zva_bytes() else {
            while next < end {
                // SAFETY: whole pages that the caller owns.
                unsafe { pointer(Pa(next)).write_volatile(0) };
                next = next.wrapping_add(8);
            }
            return;
        };
        while next < end {
            // SAFETY: as above, Normal memory, a multiple of the block size.
            unsafe { regs::dc_zva(next) };
            next = next.wrapping_add(block);
        }
    }

    fn clean_invalidate(&self, at: Pa, bytes: u64) {
        let line = data_line_bytes();
        let end = at.0.saturating_add(bytes);
        let mut next = at.0 & !line.saturating_sub(1);
        while next < end {
            // SAFETY: RAM is mapped.
            unsafe { regs::dc_civac(next) };
            next = next.saturating_add(line);
        }
        regs::dsb_sy();
    }
}

impl Ram {
    /// Copies words that others may change meanwhile: a guest's. All is aligned to words.
    pub(crate) fn copy_words(self, to: Pa, from: Pa, bytes: u64) {
        let lines = bytes & !63;
        let [target, start, end] = [to, from, from.wrapping_add(lines)].map(pointer);
        // SAFETY: the caller found both in frames of partitions, `bytes` in one run each, aligned to words; assembly cares for
        // nobody who writes there meanwhile, and gets one value or the other of each word.
        unsafe { copy_lines(target.cast(), start.cast(), end.cast()) };
        let mut at = lines;
        while at < bytes {
            self.write_u64(to.wrapping_add(at), self.read_u64(from.wrapping_add(at)));
            at = at.saturating_add(8);
        }
    }
}

unsafe extern "C" {
    /// `clear.s`.
    fn clear_lines(start: u64, end: u64);
    /// `clear.s`.
    fn copy_lines(to: *mut u8, start: *const u8, end: *const u8);
    /// `clear.s`.
    fn crc32_bytes(state: u32, start: *const u8, end: *const u8) -> u32;
}

core::arch::global_asm!(include_str!("clear.s"));

impl Loader for Ram {
    fn clear(&self, at: Pa, pages: PageCount) {
        let bytes = pages.bytes().unwrap_or(0);
        if zva_bytes() == Some(64) && data_line_bytes() == 64 {
            // SAFETY: whole pages that the caller owns; the block and the line have the routine's size.
            unsafe { clear_lines(at.0, at.0.saturating_add(bytes)) };
        } else {
            self.zero(at, pages);
            self.clean_invalidate(at, bytes);
        }
    }

    fn copy_in(&self, to: Pa, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        let target = pointer(to).cast::<u8>();
        let is_aligned = (bytes.as_ptr().addr() | target.addr()) & 7 == 0;
        let lines = if is_aligned { bytes.len() & !63 } else { 0 };
        let (whole, rest) = bytes.split_at_checked(lines).unwrap_or((&[], bytes));
        let range = whole.as_ptr_range();
        // SAFETY: the builder found the target in the partition's own frames, `length` bytes in one run; the
        // source is the bundle, which lies apart. Whole lines of 64 bytes, 8-byte aligned.
        unsafe { copy_lines(target, range.start, range.end) };
        // SAFETY: as above; the rest follows the lines.
        unsafe {
            core::ptr::copy_nonoverlapping(rest.as_ptr(), target.wrapping_add(lines), rest.len())
        };
        self.clean_invalidate(to, length);
    }

    fn crc32(&self, state: u32, bytes: &[u8]) -> u32 {
        crc32(state, bytes)
    }

    fn sync_instructions(&self) {
        regs::dsb_ish();
        regs::ic_ialluis();
        regs::dsb_ish();
        regs::isb();
    }
}

// SAFETY: VA = PA for all RAM, mapped for ever; the provenance of RAM is exposed by nobody but used as such.
unsafe impl DirectMap for Ram {
    fn pointer(&self, at: Pa) -> NonNull<u8> {
        NonNull::new(pointer(at).cast()).unwrap_or(NonNull::dangling())
    }

    unsafe fn zero(start: NonNull<u8>, bytes: usize) {
        let at = u64::try_from(start.as_ptr().expose_provenance()).unwrap_or(0);
        Self.zero(Pa(at), PageCount::for_bytes(u64::try_from(bytes).unwrap_or(0)));
    }
}

/// Continues a CRC-32 (IEEE 802.3); starts with 0.
pub(crate) fn crc32(state: u32, bytes: &[u8]) -> u32 {
    let lead = if has_crc32() { bytes.as_ptr().addr().wrapping_neg() & 7 } else { bytes.len() };
    let (lead, rest) = bytes.split_at_checked(lead).unwrap_or((bytes, &[]));
    let crc = lead.iter().fold(!state, |crc, byte| shikiri_config::crc32_step(crc, *byte));
    if rest.is_empty() {
        return !crc;
    }
    let range = rest.as_ptr_range();
    // SAFETY: the range is a slice, aligned to words at its start; the core has the instructions.
    !unsafe { crc32_bytes(crc, range.start, range.end) }
}

/// ID_AA64ISAR0_EL1.CRC32.
fn has_crc32() -> bool {
    (regs::id_aa64isar0_el1() >> 16) & 15 != 0
}

/// A range of RAM as bytes.
///
/// # Safety
/// The range must be RAM that nobody ever writes: the bundle or the device tree, never a guest's memory.
pub(crate) unsafe fn bytes(at: Pa, length: u64) -> &'static [u8] {
    let count = usize::try_from(length).unwrap_or(0);
    // SAFETY: the caller's promise; VA = PA.
    unsafe { core::slice::from_raw_parts(pointer(at).cast::<u8>().cast_const(), count) }
}

#[inline]
fn pointer(at: Pa) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(usize::try_from(at.0).unwrap_or(0))
}

/// DC ZVA's block, if the instruction may be used (DCZID_EL0.DZP = 0): 4 bytes << BS, at most a page.
fn zva_bytes() -> Option<u64> {
    let id = regs::dczid_el0();
    let bytes = 4_u64.checked_shl(u32::try_from(id & 15).unwrap_or(0)).unwrap_or(0);
    (id & 16 == 0 && bytes <= PAGE_BYTES).then_some(bytes)
}

/// The smallest data cache line of the machine (CTR_EL0.DminLine, log2 of words).
fn data_line_bytes() -> u64 {
    4_u64.checked_shl(u32::try_from((regs::ctr_el0() >> 16) & 15).unwrap_or(4)).unwrap_or(64)
}
