//! The memory that programs and their tables live in: read and written by frame number, bounds checked, never a
//! reference. No program's address is ever used by the kernel.
#![expect(unsafe_code, reason = "copies to and from memory by its address")]

use shikiri_scos_core::{FRAME_BYTES, Frame, Memory};

use super::{KERNEL_BASE, cpu, window};

/// A range of physical memory that nothing else of the kernel lies in.
#[derive(Debug)]
pub(crate) struct Ram {
    start: u64,
    frames: u32,
}

impl Ram {
    /// The frames from `start` to `end`, physical; only start-up makes one, and one only.
    pub(super) fn new(start: u64, end: u64) -> Self {
        let frames = end.saturating_sub(start) / FRAME_BYTES as u64;
        Self { start, frames: u32::try_from(frames).unwrap_or(u32::MAX) }
    }

    /// How many frames there are.
    pub(crate) const fn frames(&self) -> u32 {
        self.frames
    }

    /// Where `bytes` bytes at `offset` of a frame are; they must lie in it.
    fn pointer(&self, frame: Frame, offset: usize, bytes: usize) -> *mut u8 {
        let end = offset.checked_add(bytes);
        assert!(frame.0 < self.frames && end.is_some_and(|end| end <= FRAME_BYTES));
        let physical = self.physical(frame) + offset as u64;
        core::ptr::with_exposed_provenance_mut((physical + KERNEL_BASE) as usize)
    }
}

impl Memory for Ram {
    fn physical(&self, frame: Frame) -> u64 {
        self.start + u64::from(frame.0) * FRAME_BYTES as u64
    }

    fn frame_at(&self, physical: u64) -> Option<Frame> {
        let index = physical.checked_sub(self.start)? / FRAME_BYTES as u64;
        u32::try_from(index).ok().filter(|index| *index < self.frames).map(Frame)
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        let from = self.pointer(frame, offset, bytes.len());
        // SAFETY: the source is in this range, which holds no Rust object, so it does not overlap `bytes`.
        unsafe {
            core::ptr::copy_nonoverlapping(from.cast_const(), bytes.as_mut_ptr(), bytes.len())
        };
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        let to = self.pointer(frame, offset, bytes.len());
        // SAFETY: as above, the other way round.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn clear(&mut self, frame: Frame) {
        let to = self.pointer(frame, 0, FRAME_BYTES);
        // SAFETY: the frame is in this range, which holds no Rust object.
        unsafe { to.write_bytes(0, FRAME_BYTES) };
    }

    fn copy(&mut self, from: Frame, to: Frame) {
        let source = self.pointer(from, 0, FRAME_BYTES).cast_const();
        let target = self.pointer(to, 0, FRAME_BYTES);
        // SAFETY: both are in this range, which holds no Rust object; `copy` allows that they are the same.
        unsafe { core::ptr::copy(source, target, FRAME_BYTES) };
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        let from = self.pointer(table, index * 8, 8).cast::<u64>();
        // SAFETY: aligned and in this range; the walker reads it at the same time, hence volatile.
        unsafe { from.read_volatile() }
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        let to = self.pointer(table, index * 8, 8).cast::<u64>();
        // SAFETY: as above.
        unsafe { to.write_volatile(entry) };
    }

    fn read_guest(&self, physical: u64, bytes: &mut [u8]) {
        window::read(physical, bytes);
    }

    fn write_guest(&mut self, physical: u64, bytes: &[u8]) {
        window::write(physical, bytes);
    }

    fn clean_code(&mut self, frame: Frame) {
        cpu::sync_code(self.physical(frame) + KERNEL_BASE, FRAME_BYTES as u64);
    }

    fn forget(&mut self, asid: u16, address: u64) {
        cpu::forget_page(asid, address);
    }
}
