//! The registers of each interrupt: one layout for three blocks.
//!
//! The GICv2 distributor (IHI 0048, 4.3), the GICv3 distributor (IHI 0069, 12.9) for SPIs, and the GICv3
//! redistributor's SGI_base frame (IHI 0069, 12.11) for SGIs and PPIs have these registers at the same offsets.
//! Each function here is one load or one store that the controller makes atomic between cores, so none needs a
//! lock, with one exception that says so. An INTID that the block does not have reads as zero and ignores
//! writes.
#![expect(unsafe_code, reason = "a device that several cores use at the same time")]

use core::ptr::NonNull;

use arm_gic::Trigger;
use arm_gic::gicv2::registers::Gicd;
use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field};
use shikiri_abi::IntId;

/// The registers of the interrupts of one block.
pub struct InterruptBank {
    registers: NonNull<Gicd>,
}

// SAFETY: device registers have no thread, and the controller orders the accesses of several cores.
unsafe impl Send for InterruptBank {}
// SAFETY: as above: each access through `&self` is one volatile load or store.
unsafe impl Sync for InterruptBank {}

impl InterruptBank {
    /// Takes the block at `base`.
    ///
    /// # Safety
    /// `base` is the address of one of the three blocks that the module names, 4 KiB, mapped as device memory
    /// for as long as the machine runs, and only the GIC drivers of this crate use it.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Self { registers: base.cast() }
    }

    /// Lets the interrupt through to the cores (ISENABLER).
    #[inline]
    pub fn enable(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, isenabler), intid);
    }

    /// Holds the interrupt back (ICENABLER). It can still be taken until the controller has seen the write
    /// (CTLR.RWP).
    #[inline]
    pub fn disable(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, icenabler), intid);
    }

    /// Whether the interrupt is enabled.
    #[inline]
    #[must_use]
    pub fn is_enabled(&self, intid: IntId) -> bool {
        let mut block = self.block();
        is_set(field!(block, isenabler), intid)
    }

    /// Makes the interrupt pending (ISPENDR).
    #[inline]
    pub fn set_pending(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, ispendr), intid);
    }

    /// Ends the pending state (ICPENDR); a level that is still asserted stays pending.
    #[inline]
    pub fn clear_pending(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, icpendr), intid);
    }

    /// Whether the interrupt is pending.
    #[inline]
    #[must_use]
    pub fn is_pending(&self, intid: IntId) -> bool {
        let mut block = self.block();
        is_set(field!(block, ispendr), intid)
    }

    /// Makes the interrupt active (ISACTIVER): it is not taken again until it is deactivated.
    #[inline]
    pub fn set_active(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, isactiver), intid);
    }

    /// Ends the active state (ICACTIVER).
    #[inline]
    pub fn clear_active(&self, intid: IntId) {
        let mut block = self.block();
        set(field!(block, icactiver), intid);
    }

    /// Whether the interrupt is active.
    #[inline]
    #[must_use]
    pub fn is_active(&self, intid: IntId) -> bool {
        let mut block = self.block();
        is_set(field!(block, isactiver), intid)
    }

    /// Sets the priority, 0 (first) to 255 (IPRIORITYR, a byte access).
    #[inline]
    pub fn set_priority(&self, intid: IntId, priority: u8) {
        let mut block = self.block();
        let mut words = field!(block, ipriorityr);
        let start = words.ptr_nonnull().cast::<Bytes>();
        // SAFETY: IPRIORITYR can be accessed by byte (IHI 0048, 4.1.4; IHI 0069, 12.1.3): 1,024 bytes here.
        let mut bytes = unsafe { words.child(start) };
        if let Some(mut byte) = bytes.get(usize::from(intid.0)) {
            byte.write(priority);
        }
    }

    /// Whether the interrupt is taken on an edge.
    #[must_use]
    pub fn is_edge(&self, intid: IntId) -> bool {
        let mut block = self.block();
        let mut words = field!(block, icfgr);
        let bit = 2u32 << (u32::from(intid.0 & 15) << 1);
        words.get(usize::from(intid.0 >> 4)).is_some_and(|word| word.read() & bit != 0)
    }

    /// Sets whether the interrupt is taken on an edge or while its line is asserted (ICFGR).
    ///
    /// The interrupt is disabled at that time (the change is unpredictable otherwise). Reads, changes and writes
    /// the word of 16 interrupts: one core at a time may do this (the lock of rank `Gic`), or another's change
    /// may be lost.
    pub fn set_trigger(&self, intid: IntId, trigger: Trigger) {
        let mut block = self.block();
        let mut words = field!(block, icfgr);
        if let Some(mut word) = words.get(usize::from(intid.0 >> 4)) {
            let bit = 2u32 << (u32::from(intid.0 & 15) << 1);
            word.modify(|word| match trigger {
                Trigger::Edge => word | bit,
                Trigger::Level => word & !bit,
            });
        }
    }

    /// Disables the interrupts `first` to `end − 1` (both multiples of 32) and ends their pending and active
    /// states: what a firmware or an earlier system left behind.
    pub(crate) fn reset_states(&self, first: IntId, end: IntId) {
        let mut block = self.block();
        for word in usize::from(first.0 >> 5)..usize::from(end.0.div_ceil(32)) {
            write_all(field!(block, icenabler), word);
            write_all(field!(block, icpendr), word);
            write_all(field!(block, icactiver), word);
        }
    }

    /// Sets the priority of the interrupts `first` to `end − 1` (both multiples of 4).
    pub(crate) fn reset_priorities(&self, first: IntId, end: IntId, priority: u8) {
        let mut block = self.block();
        let mut words = field!(block, ipriorityr);
        for word in usize::from(first.0 >> 2)..usize::from(end.0.div_ceil(4)) {
            if let Some(mut word) = words.get(word) {
                word.write(u32::from_ne_bytes([priority; 4]));
            }
        }
    }

    /// The whole block, for one access.
    #[inline]
    pub(crate) fn block(&self) -> UniqueMmioPointer<'_, Gicd> {
        // SAFETY: `new`'s caller promised a mapped block. Other cores may hold such a pointer too: the rule that
        // `UniqueMmioPointer` asks for exists so that a read-modify-write is not torn, and the only one is in
        // `set_trigger`; every other access is a single store or load that the controller arbitrates. No reference
        // to the registers is ever made.
        unsafe { UniqueMmioPointer::new(self.registers) }
    }
}

/// IPRIORITYR and ITARGETSR as bytes.
pub(crate) type Bytes = [ReadPureWrite<u8>; 0x400];

type Bits<'a> = UniqueMmioPointer<'a, [ReadPureWrite<u32>; 0x20]>;

/// Writes one bit of a register in which zeros have no effect.
#[inline]
fn set(mut bits: Bits<'_>, intid: IntId) {
    if let Some(mut word) = bits.get(usize::from(intid.0 >> 5)) {
        word.write(1 << (intid.0 & 31));
    }
}

#[inline]
fn is_set(mut bits: Bits<'_>, intid: IntId) -> bool {
    bits.get(usize::from(intid.0 >> 5)).is_some_and(|word| word.read() & 1 << (intid.0 & 31) != 0)
}

fn write_all(mut bits: Bits<'_>, word: usize) {
    if let Some(mut word) = bits.get(word) {
        word.write(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use arm_gic::Trigger;
    use shikiri_abi::IntId;

    use super::InterruptBank;
    use crate::testing::FakeBlock;

    fn fake() -> (FakeBlock, InterruptBank) {
        let block = FakeBlock::new(0x1000);
        // SAFETY: a block of the test's own, used through raw pointers only.
        (block, unsafe { InterruptBank::new(block.base()) })
    }

    #[test]
    fn each_operation_is_one_bit_in_its_own_register() {
        type Operation = fn(&InterruptBank, IntId);
        let operations: [(Operation, usize); 6] = [
            (InterruptBank::enable, 0x100),
            (InterruptBank::disable, 0x180),
            (InterruptBank::set_pending, 0x200),
            (InterruptBank::clear_pending, 0x280),
            (InterruptBank::set_active, 0x300),
            (InterruptBank::clear_active, 0x380),
        ];
        for (operation, offset) in operations {
            for (intid, word, bit) in [(0, 0, 0), (31, 0, 31), (33, 1, 1), (1019, 31, 27)] {
                let (block, bank) = fake();
                operation(&bank, IntId(intid));
                for register in (0x80..0x400).step_by(4) {
                    let expected = if register == offset + 4 * word { 1 << bit } else { 0 };
                    assert_eq!(block.read(register), expected, "INTID {intid}, {register:#x}");
                }
            }
        }
    }

    #[test]
    fn states_are_read_where_they_are_set() {
        let (block, bank) = fake();
        let intid = IntId(70);
        block.write(0x108, 1 << 6);
        assert!(bank.is_enabled(intid) && !bank.is_pending(intid) && !bank.is_active(intid));
        block.write(0x208, 1 << 6);
        block.write(0x308, 1 << 6);
        assert!(bank.is_pending(intid) && bank.is_active(intid) && !bank.is_active(IntId(71)));
    }

    #[test]
    fn a_priority_changes_no_neighbour() {
        let (block, bank) = fake();
        block.write(0x420, 0x4433_2211);
        bank.set_priority(IntId(34), 0xa0);
        assert_eq!(block.read(0x420), 0x44a0_2211);
    }

    #[test]
    fn a_trigger_changes_no_neighbour() {
        let (block, bank) = fake();
        block.write(0xc08, 0x8000_0002);
        bank.set_trigger(IntId(35), Trigger::Edge);
        assert_eq!(block.read(0xc08), 0x8000_0082);
        assert_eq!([32, 33, 35, 47].map(|it| bank.is_edge(IntId(it))), [true, false, true, true]);
        bank.set_trigger(IntId(32), Trigger::Level);
        assert_eq!(block.read(0xc08), 0x8000_0080);
    }

    #[test]
    fn interrupts_that_the_block_does_not_have_are_ignored() {
        let (block, bank) = fake();
        for intid in [IntId(1024), IntId(u16::MAX)] {
            bank.enable(intid);
            bank.set_priority(intid, 1);
            bank.set_trigger(intid, Trigger::Edge);
            assert!(!bank.is_enabled(intid));
        }
        assert!((0..0x1000).step_by(4).all(|offset| block.read(offset) == 0));
    }

    #[test]
    fn a_reset_reaches_its_interrupts_only() {
        let (block, bank) = fake();
        bank.reset_states(IntId(32), IntId(96));
        bank.reset_priorities(IntId(32), IntId(96), 0x80);
        for base in [0x180, 0x280, 0x380] {
            let words = [0, 4, 8, 12].map(|word| block.read(base + word));
            assert_eq!(words, [0, u32::MAX, u32::MAX, 0], "{base:#x}");
        }
        assert_eq!(
            [0x41c, 0x420, 0x45c, 0x460].map(|at| block.read(at)),
            [0, 0x8080_8080, 0x8080_8080, 0]
        );
    }
}
