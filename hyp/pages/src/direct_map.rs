//! How a physical address becomes a pointer.
#![expect(
    unsafe_code,
    reason = "the trait's contract is about memory that the compiler cannot see"
)]

use core::ptr::NonNull;

use shikiri_abi::Pa;

/// A view of physical memory at a constant distance: identity at EL2, an offset into an allocation in tests.
///
/// # Safety
/// For every address in the ranges that a [`crate::FramePool`] over this map is made of, `pointer` returns the
/// address of memory that is readable and writable for as long as the pool lives, with exposed provenance; the
/// distance to the physical address is the same for all, and a multiple of 4 KiB.
pub unsafe trait DirectMap {
    /// The pointer to the byte at `at`.
    fn pointer(&self, at: Pa) -> NonNull<u8>;

    /// Fills memory with zero. The target may override this with DC ZVA.
    ///
    /// # Safety
    /// `start` and the `bytes` bytes from there are valid for writes, page-aligned, and used by nobody else.
    unsafe fn zero(start: NonNull<u8>, bytes: usize) {
        let lines = bytes >> LINE_SHIFT;
        for line in 0..lines {
            // SAFETY: inside the caller's memory.
            let place = unsafe { start.cast::<Line>().add(line) };
            // Hidden from the optimiser, which would make the loop a call of `memset`: four times the instructions.
            let place = core::hint::black_box(place);
            // SAFETY: inside the caller's memory, and aligned, since lines divide a page.
            unsafe { place.write([0; 8]) };
        }
        let done = lines << LINE_SHIFT;
        // SAFETY: what is left of the caller's memory.
        let rest = unsafe { start.add(done) };
        // SAFETY: what is left of the caller's memory.
        unsafe { rest.write_bytes(0, bytes.saturating_sub(done)) };
    }
}

/// What is cleared at once.
type Line = [u64; 1 << (LINE_SHIFT - 3)];
/// log2 of its bytes.
const LINE_SHIFT: u32 = 6;
