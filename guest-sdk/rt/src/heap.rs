//! The optional heap: a global allocator over the memory that the image leaves free (feature `heap`).
//!
//! Call [`init`] once before the first allocation; until then every allocation fails.
#![expect(unsafe_code, reason = "implements the allocator's interface")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use buddy_system_allocator::Heap;

use crate::lock::Lock;
use crate::memory;

#[global_allocator]
static HEAP: GuestHeap = GuestHeap(Lock::new(Heap::empty()));

/// Power-of-two blocks up to 2 GiB, behind a lock that masks interrupts.
struct GuestHeap(Lock<Heap<32>>);

/// Gives `pages` pages of the free memory to the heap (fewer if there are not so many); how many it got.
pub fn init(pages: u64) -> u64 {
    let pages = pages.min(memory::free_pages());
    let Some(start) = memory::take(pages) else { return 0 };
    let bytes = pages.saturating_mul(memory::PAGE_BYTES);
    let (Ok(start), Ok(bytes)) = (usize::try_from(start), usize::try_from(bytes)) else { return 0 };
    // SAFETY: the pages were just taken, so nothing else uses them, and they are mapped read-write.
    unsafe { HEAP.0.lock().add_to_heap(start, start.saturating_add(bytes)) };
    pages
}

// SAFETY: the buddy heap hands out disjoint blocks of at least the layout's size and alignment.
unsafe impl GlobalAlloc for GuestHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(pointer) else { return };
        // SAFETY: the caller vouches that the block came from `alloc` with this layout.
        unsafe { self.0.lock().dealloc(pointer, layout) };
    }
}
