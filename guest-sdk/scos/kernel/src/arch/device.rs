//! Registers of a device.
#![expect(unsafe_code, reason = "device registers exist by address")]

use core::arch::asm;

use super::KERNEL_BASE;

/// A block of registers. The accesses are single instructions without write-back: such a one traps without a syndrome
/// that a hypervisor could read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers(u64);

impl Registers {
    /// The registers at a physical address.
    ///
    /// # Safety
    /// It is a device's, it is mapped, and its registers cannot harm the kernel's memory.
    pub(super) const unsafe fn new(physical: u64) -> Self {
        Self(physical + KERNEL_BASE)
    }

    pub(super) fn read(self, offset: u64) -> u32 {
        let value: u32;
        // SAFETY: `new` vouches for the device.
        unsafe {
            asm!("ldr {:w}, [{}]", out(reg) value, in(reg) self.0 + offset, options(nostack, preserves_flags))
        };
        value
    }

    pub(super) fn write(self, offset: u64, value: u32) {
        // SAFETY: `new` vouches for the device.
        unsafe {
            asm!("str {:w}, [{}]", in(reg) value, in(reg) self.0 + offset, options(nostack, preserves_flags))
        };
    }

    pub(super) fn write_byte(self, offset: u64, value: u8) {
        // SAFETY: `new` vouches for the device.
        unsafe {
            asm!("strb {:w}, [{}]", in(reg) u32::from(value), in(reg) self.0 + offset, options(nostack, preserves_flags))
        };
    }
}
