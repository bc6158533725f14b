//! The kernel's own heap: a fixed part of the memory, so that programs cannot take it away.
//!
//! A part of it is a reserve, for what the rest cannot give: programs can have the rest cut up so that no large block is left. As long as
//! [`is_low`] answers no, the reserve is nearly whole, and any call finds what it needs.
#![expect(unsafe_code, reason = "implements the allocator's interface")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::NonNull;

use buddy_system_allocator::Heap;

use super::KERNEL_BASE;

/// Bytes of the reserve; a call takes a quarter of it at most.
const RESERVE_BYTES: usize = 2 << 20;
/// Bytes of the rest that are kept for what is given back.
const LEAST_BYTES: usize = 256 << 10;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(UnsafeCell::new(Parts {
    common: Heap::empty(),
    reserve: Heap::empty(),
    reserve_start: 0,
}));

/// Power-of-two blocks.
struct Parts {
    common: Heap<32>,
    reserve: Heap<32>,
    reserve_start: usize,
}

struct KernelHeap(UnsafeCell<Parts>);

// SAFETY: the kernel runs on one vCPU with interrupts masked, and no allocator function calls another.
unsafe impl Sync for KernelHeap {}

impl KernelHeap {
    fn with<R>(&self, action: impl FnOnce(&mut Parts) -> R) -> R {
        // SAFETY: as for `Sync`: this is the only reference while `action` runs.
        action(unsafe { &mut *self.0.get() })
    }
}

/// Gives the heap its memory, physical.
pub(super) fn init(start: u64, bytes: u64) {
    let start = (start + KERNEL_BASE) as usize;
    let bytes = bytes as usize;
    assert!(bytes > 2 * RESERVE_BYTES, "the memory is too small for the kernel's heap");
    let reserve_start = start + bytes - RESERVE_BYTES;
    HEAP.with(|parts| {
        parts.reserve_start = reserve_start;
        // SAFETY: start-up took the memory for the heap.
        unsafe { parts.common.add_to_heap(start, reserve_start) };
        // SAFETY: as above; this is the other part.
        unsafe { parts.reserve.add_to_heap(reserve_start, start + bytes) };
    });
}

fn free_in(heap: &Heap<32>) -> usize {
    heap.stats_total_bytes().saturating_sub(heap.stats_alloc_actual())
}

/// Bytes that are not in use.
pub(crate) fn free_bytes() -> usize {
    HEAP.with(|parts| free_in(&parts.common))
}

/// Whether calls are to be refused that could take more than they give back.
pub(crate) fn is_low() -> bool {
    HEAP.with(|parts| {
        free_in(&parts.common) < LEAST_BYTES || free_in(&parts.reserve) < RESERVE_BYTES / 4 * 3
    })
}

// SAFETY: each buddy heap hands out disjoint blocks of at least the layout's size and alignment, of memory that only it has.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|parts| {
            let block = parts.common.alloc(layout).or_else(|()| parts.reserve.alloc(layout));
            block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(pointer) else { return };
        self.with(|parts| {
            let is_reserve = pointer.addr() >= parts.reserve_start;
            let heap = if is_reserve { &mut parts.reserve } else { &mut parts.common };
            // SAFETY: the caller vouches that the block came from `alloc` with this layout, and its address says of which part.
            unsafe { heap.dealloc(block, layout) };
        });
    }
}
