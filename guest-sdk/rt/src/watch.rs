//! Sleeping until another observer's store: a load-exclusive, then WFE (Arm ARM B2.17, D1.6.1).
//!
//! A load-exclusive marks the word for this core's global monitor. A store to it by any other observer, the hypervisor among them, clears
//! that, which is an event to this core's WFE: whoever stores executes nothing for it. It needs the right to read, and memory that has a
//! global monitor: Normal, inner shareable, Write-Back, as the run-time maps RAM and libraries the window region; with the MMU off
//! there may be none.
#![expect(unsafe_code, reason = "the load and the sleep are one sequence of instructions")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::{gic, irq};

/// A word that another observer counts up, and the number that it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'w> {
    /// The word. The other side's stores release what belongs to a number.
    pub word: &'w AtomicU64,
    /// What it has to be at least.
    pub number: u64,
}

impl Watch<'_> {
    /// Whether the word has come to the number; then what was stored before it is there, too.
    #[inline]
    #[must_use]
    pub fn is_over(self) -> bool {
        self.word.load(Ordering::Acquire) >= self.number
    }

    /// Sleeps until the word has come to the number or an interrupt is pending, or for a shorter time without a reason. With an interrupt
    /// pending that this vCPU's priorities keep out it may not sleep at all.
    ///
    /// Masked, a pending interrupt does not end a WFE as it ends a WFI, hence the look at ISR_EL1. That alone would miss one that waits behind
    /// another whose end (GICv2: a store, of which nobody waits for the arrival) is still on its way: it is signalled once the end has
    /// arrived, without an exception and so without an event. Hence the look at the interface's highest pending interrupt, which
    /// does not depend on the running priority, and which the device answers after the stores that precede it. One that becomes pending behind
    /// that look does end the sleep: it comes by an exception that EL2 takes, and the return from each exception is an event.
    /// Such an event is left by each call of the hypervisor's, too: it is taken first (SEVL, WFE), or each sleep would begin with a look in vain.
    /// What comes after that is seen by the looks that follow, or is an event again. If a core loses one in spite of all, the event
    /// stream ends the sleep ([`timer`](crate::timer)).
    #[inline]
    pub fn doze(self) {
        // SAFETY: the word is valid and aligned; it and the GIC's version are only loaded, loading GICC_HPPIR has no effect, and the rest only
        // waits. Nothing is stored between the load-exclusive and the WFE, which could take the mark away.
        unsafe {
            asm!(
                "sevl",
                "wfe",
                "ldaxr {seen}, [{word}]",
                "cmp {seen}, {number}",
                "b.hs 2f",
                "mrs {seen}, isr_el1",
                "tbnz {seen}, {irq}, 2f",
                "adrp {seen}, {version}",
                "ldrb {seen:w}, [{seen}, :lo12:{version}]",
                "cmp {seen:w}, #2",
                "b.eq 3f",
                "mrs {seen}, S3_0_C12_C12_2", // ICC_HPPIR1_EL1
                "b 4f",
                "3:",
                "movz {seen}, #{hppir_low}",
                "movk {seen}, #{hppir_high}, lsl #16",
                "ldr {seen:w}, [{seen}]",
                "4:",
                // 1020 to 1023: nothing is pending.
                "sub {seen}, {seen}, #1020",
                "cmp {seen}, #4",
                "b.hs 2f",
                "wfe",
                "2:",
                seen = out(reg) _,
                word = in(reg) self.word.as_ptr(),
                number = in(reg) self.number,
                irq = const irq::PENDING,
                version = sym gic::VERSION,
                hppir_low = const gic::HPPIR & 0xffff,
                hppir_high = const gic::HPPIR >> 16,
                options(nostack),
            );
        }
    }
}
