//! The power manager of the BCM2835 and its successors: the watchdog that resets the machine, and the word behind it that
//! tells the firmware to stay off. It has no public manual; the registers are as Linux uses them
//! (`drivers/watchdog/bcm2835_wdt.c`).
#![expect(unsafe_code, reason = "the constructor takes a device's address")]

use core::ptr::NonNull;

use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The registers, as far as they are used.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(4))]
struct PowerRegisters {
    reserved_00: [u32; 7],
    rstc: ReadPureWrite<u32>,
    rsts: ReadPureWrite<u32>,
    wdog: ReadPureWrite<u32>,
}

const _: () = assert!(core::mem::offset_of!(PowerRegisters, rstc) == 0x1c);

/// Every write needs it.
const PASSWORD: u32 = 0x5a00_0000;
/// RSTS: the partition to boot from is 63, which stands for none. Its bits are 0, 2, 4, 6, 8 and 10.
const HALT: u32 = 0x555;
/// WDOG: ticks of about 15 us until the reset.
const TICKS: u32 = 10;
/// RSTC: what the watchdog does, and that it resets everything.
const CONFIGURATION: u32 = 0x30;
const FULL_RESET: u32 = 0x20;

/// The power manager.
pub struct BcmPower(UniqueMmioPointer<'static, PowerRegisters>);

impl BcmPower {
    /// Takes the device at `base`.
    ///
    /// # Safety
    /// `base` is the address of the power manager's registers, mapped as device memory for as long as the machine runs,
    /// and nothing else uses them.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { UniqueMmioPointer::new(base.cast::<PowerRegisters>()) })
    }

    /// Resets the machine and has the firmware leave it off. It takes some 150 us.
    pub fn halt(&mut self) {
        let kept = field_shared!(self.0, rsts).read() & 0x00ff_ffff;
        field!(self.0, rsts).write(PASSWORD | kept | HALT);
        field!(self.0, wdog).write(PASSWORD | TICKS);
        let kept = field_shared!(self.0, rstc).read() & 0x00ff_ffff & !CONFIGURATION;
        field!(self.0, rstc).write(PASSWORD | kept | FULL_RESET);
    }
}

#[cfg(test)]
mod tests {
    use super::BcmPower;
    use crate::testing::FakeBlock;

    #[test]
    fn halting_names_no_partition_and_starts_the_watchdog() {
        let block = FakeBlock::new(0x1000);
        // SAFETY: a block of the test's own, used through raw pointers only.
        let mut power = unsafe { BcmPower::new(block.base()) };
        block.write(0x1c, 0x112);
        block.write(0x20, 0x1002);
        power.halt();
        assert_eq!(block.read(0x20), 0x5a00_1557);
        assert_eq!((block.read(0x24), block.read(0x1c)), (0x5a00_000a, 0x5a00_0122));
    }
}
