//! Device registers: each access is one plain load or store.
//!
//! A hypervisor that emulates a device quickly needs the access's syndrome, which the architecture gives only for
//! loads and stores of one register without writeback (Arm ARM, ESR_EL2, ISS of a data abort, ISV). What a
//! compiler makes of a volatile access is not bound to that; these are.
#![expect(unsafe_code, reason = "device registers are raw addresses")]

use core::arch::asm;

/// A block of device registers at a fixed address. **Panics** at an access outside it: what is there may be memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    base: u64,
    bytes: u64,
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $load:literal, $store:literal, $register:tt) => {
        #[doc = concat!("Loads a `", stringify!($type), "` from byte `offset`.")]
        #[inline]
        #[must_use]
        pub fn $read(self, offset: u64) -> $type {
            let address = self.address(offset, size_of::<$type>());
            let value: $type;
            // SAFETY: `new` vouches for the block, in which the address is.
            unsafe {
                asm!(concat!($load, " {value:", $register, "}, [{address}]"), value = out(reg) value,
                    address = in(reg) address, options(nostack, preserves_flags));
            }
            value
        }

        #[doc = concat!("Stores a `", stringify!($type), "` to byte `offset`.")]
        #[inline]
        pub fn $write(self, offset: u64, value: $type) {
            let address = self.address(offset, size_of::<$type>());
            // SAFETY: `new` vouches for the block, in which the address is.
            unsafe {
                asm!(concat!($store, " {value:", $register, "}, [{address}]"), value = in(reg) value,
                    address = in(reg) address, options(nostack, preserves_flags));
            }
        }
    };
}

impl Registers {
    /// The `bytes` bytes of registers from `base` on.
    ///
    /// # Safety
    /// All of them are a device's, whose registers cannot harm this program's memory (no DMA), or nothing is there.
    #[must_use]
    pub const unsafe fn new(base: u64, bytes: u64) -> Self {
        Self { base, bytes }
    }

    /// Where the block starts.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.base
    }

    /// The address of a register of so many bytes. Folded where block and offset are constants, as nearly everywhere.
    #[inline(always)]
    fn address(self, offset: u64, size: usize) -> u64 {
        let last = u64::try_from(size).ok().and_then(|size| self.bytes.checked_sub(size));
        assert!(last.is_some_and(|last| offset <= last), "no register is there");
        self.base.wrapping_add(offset)
    }

    access!(read8, write8, u8, "ldrb", "strb", "w");
    access!(read16, write16, u16, "ldrh", "strh", "w");
    access!(read32, write32, u32, "ldr", "str", "w");
    access!(read64, write64, u64, "ldr", "str", "x");
}
