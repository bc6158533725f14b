//! Device registers: each access is one plain load or store.
//!
//! A hypervisor that emulates a device quickly needs the access's syndrome, which the architecture gives only for
//! loads and stores of one register without writeback (Arm ARM, ESR_EL2, ISS of a data abort, ISV). What a
//! compiler makes of a volatile access is not bound to that; these are.
#![expect(unsafe_code, reason = "device registers are raw addresses")]

use core::arch::asm;

/// A block of device registers at a fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    base: u64,
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $load:literal, $store:literal, $register:tt) => {
        #[doc = concat!("Loads a `", stringify!($type), "` from byte `offset`.")]
        #[inline]
        #[must_use]
        pub fn $read(self, offset: u64) -> $type {
            let address = self.base.wrapping_add(offset);
            let value: $type;
            // SAFETY: `new` vouches for the block; an access outside faults and is reported.
            unsafe {
                asm!(concat!($load, " {value:", $register, "}, [{address}]"), value = out(reg) value,
                    address = in(reg) address, options(nostack, preserves_flags));
            }
            value
        }

        #[doc = concat!("Stores a `", stringify!($type), "` to byte `offset`.")]
        #[inline]
        pub fn $write(self, offset: u64, value: $type) {
            let address = self.base.wrapping_add(offset);
            // SAFETY: `new` vouches for the block; an access outside faults and is reported.
            unsafe {
                asm!(concat!($store, " {value:", $register, "}, [{address}]"), value = in(reg) value,
                    address = in(reg) address, options(nostack, preserves_flags));
            }
        }
    };
}

impl Registers {
    /// The registers at `base`.
    ///
    /// # Safety
    /// `base` is a device's, whose registers cannot harm this program's memory (no DMA).
    #[must_use]
    pub const unsafe fn new(base: u64) -> Self {
        Self { base }
    }

    /// Where the block starts.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.base
    }

    access!(read8, write8, u8, "ldrb", "strb", "w");
    access!(read16, write16, u16, "ldrh", "strh", "w");
    access!(read32, write32, u32, "ldr", "str", "w");
    access!(read64, write64, u64, "ldr", "str", "x");
}
