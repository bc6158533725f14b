//! A register block that holds still: what the driver writes stays, what the test writes is read.
#![expect(unsafe_code, reason = "plays a device")]

use core::ptr::NonNull;
use core::sync::atomic::AtomicPtr;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;

/// All blocks, so that Miri does not take them for leaks.
static ALL: Mutex<Vec<AtomicPtr<u64>>> = Mutex::new(Vec::new());

/// The block; never freed, since drivers keep their devices for ever.
#[derive(Clone, Copy)]
pub(crate) struct FakeBlock(NonNull<u32>);

impl FakeBlock {
    /// `bytes` of zeros, aligned to 8.
    pub(crate) fn new(bytes: usize) -> Self {
        let block = NonNull::from(vec![0u64; bytes / 8].leak()).cast::<u64>();
        ALL.lock().unwrap().push(AtomicPtr::new(block.as_ptr()));
        Self(block.cast())
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
