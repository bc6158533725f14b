//! The kernel's own heap: a fixed part of the memory, so that programs cannot take it away.
#![expect(unsafe_code, reason = "implements the allocator's interface")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::NonNull;

use buddy_system_allocator::Heap;

use super::KERNEL_BASE;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(UnsafeCell::new(Heap::empty()));

/// Power-of-two blocks.
struct KernelHeap(UnsafeCell<Heap<32>>);

// SAFETY: the kernel runs on one vCPU with interrupts masked, and no allocator function calls another.
unsafe impl Sync for KernelHeap {}

impl KernelHeap {
    fn with<R>(&self, action: impl FnOnce(&mut Heap<32>) -> R) -> R {
        // SAFETY: as for `Sync`: this is the only reference while `action` runs.
        action(unsafe { &mut *self.0.get() })
    }
}

/// Gives the heap its memory, physical.
pub(super) fn init(start: u64, bytes: u64) {
    let start = (start + KERNEL_BASE) as usize;
    // SAFETY: start-up took the memory for the heap.
    HEAP.with(|heap| unsafe { heap.add_to_heap(start, start + bytes as usize) });
}

/// Bytes that are not in use.
pub(crate) fn free_bytes() -> usize {
    HEAP.with(|heap| heap.stats_total_bytes().saturating_sub(heap.stats_alloc_actual()))
}

// SAFETY: the buddy heap hands out disjoint blocks of at least the layout's size and alignment.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|heap| heap.alloc(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr))
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(pointer) else { return };
        // SAFETY: the caller vouches that the block came from `alloc` with this layout.
        self.with(|heap| unsafe { heap.dealloc(pointer, layout) });
    }
}
