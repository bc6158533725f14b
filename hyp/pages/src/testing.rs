//! Memory for the tests: an allocation that plays a machine's RAM.
#![expect(unsafe_code, reason = "plays the memory that the pool is about")]

use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc};

use shikiri_abi::{Pa, PageCount};

use crate::direct_map::DirectMap;
use crate::range::FrameRange;

/// Where the machine's RAM starts, as on QEMU's `virt`.
pub(crate) const RAM: u64 = 0x4000_0000;
/// The pattern that fills fresh RAM: nobody may take it for zero.
const DIRT: u8 = 0xa5;

/// RAM of a machine, aligned to its size.
pub(crate) struct Ram {
    base: Pa,
    start: NonNull<u8>,
    layout: Layout,
}

impl Ram {
    /// `blocks` (a power of two) times 2 MiB, full of dirt.
    pub(crate) fn new(blocks: usize) -> Self {
        Self::at(Pa(RAM), blocks)
    }

    /// The same at another physical address. The frame at 0, which no pointer of a machine leads to, has none here.
    pub(crate) fn at(base: Pa, blocks: usize) -> Self {
        let ram = Self::untouched(base, blocks);
        // SAFETY: as many bytes as were allocated.
        unsafe { ram.start.write_bytes(DIRT, ram.layout.size()) };
        ram
    }

    /// As much, of which the system gives only what is written: for large machines.
    pub(crate) fn untouched(base: Pa, blocks: usize) -> Self {
        let layout = Layout::from_size_align(blocks << 21, blocks << 21).unwrap();
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap();
        start.as_ptr().expose_provenance();
        Self { base, start, layout }
    }

    pub(crate) fn range(&self) -> FrameRange {
        FrameRange {
            base: self.base,
            pages: PageCount::for_bytes(u64::try_from(self.layout.size()).unwrap()),
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: the distance is constant, a multiple of the allocation's size, and its provenance is exposed.
unsafe impl DirectMap for &Ram {
    fn pointer(&self, at: Pa) -> NonNull<u8> {
        assert!(at.0 != 0, "a pointer to address 0");
        let offset = usize::try_from(at.offset_from(self.base).unwrap()).unwrap();
        assert!(offset < self.layout.size(), "{at} is not RAM");
        // SAFETY: inside the allocation.
        unsafe { self.start.add(offset) }
    }
}
