//! A register block that holds still: what the driver writes stays, what the test writes is read.
#![expect(unsafe_code, reason = "plays a device")]

use core::ptr::NonNull;
use std::vec;

/// The block; never freed, since drivers keep their devices for ever.
#[derive(Clone, Copy)]
pub(crate) struct FakeBlock(NonNull<u32>);

impl FakeBlock {
    /// `bytes` of zeros, aligned to 8.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(NonNull::from(vec![0u64; bytes / 8].leak()).cast())
    }

    /// What the board's description would give the driver.
    pub(crate) fn base(self) -> NonNull<u8> {
        self.0.cast()
    }

    pub(crate) fn read(self, offset: usize) -> u32 {
        // SAFETY: tests name registers inside their block.
        let register = unsafe { self.0.add(offset / 4) };
        // SAFETY: the block lives for ever.
        unsafe { register.read_volatile() }
    }

    pub(crate) fn write(self, offset: usize, value: u32) {
        // SAFETY: tests name registers inside their block.
        let register = unsafe { self.0.add(offset / 4) };
        // SAFETY: the block lives for ever.
        unsafe { register.write_volatile(value) };
    }
}
