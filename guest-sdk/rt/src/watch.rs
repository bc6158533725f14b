//! Sleeping until another observer's store: a load-exclusive, then WFE (Arm ARM B2.17, D1.6.1).
//!
//! A load-exclusive marks the word for this core's global monitor. A store to it by any other observer, the hypervisor among them, clears
//! that, which is an event to this core's WFE: whoever stores executes nothing for it. It needs the right to read, and memory that has a
//! global monitor: Normal, inner shareable, Write-Back, as the run-time maps RAM and libraries the window region; with the MMU off
//! there may be none.
#![expect(unsafe_code, reason = "the load and the sleep are one sequence of instructions")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::irq;

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

    /// Sleeps until the word has come to the number or an interrupt is pending, or for a shorter time without a reason.
    ///
    /// Masked, a pending interrupt does not end a WFE as it ends a WFI, hence the look at ISR_EL1. One that becomes pending behind that
    /// look does end it: a virtual interrupt comes by an exception that EL2 takes, and the return from each exception is an event.
    /// Such an event is left by each call of the hypervisor's, too: it is taken first (SEVL, WFE), or each sleep would begin with a look in vain.
    /// What comes after that is seen by the two looks that follow, or is an event again.
    #[inline]
    pub fn doze(self) {
        // SAFETY: the word is valid and aligned; it is only loaded, and the rest only waits. Nothing accesses memory between the
        // load-exclusive and the WFE.
        unsafe {
            asm!(
                "sevl",
                "wfe",
                "ldaxr {seen}, [{word}]",
                "cmp {seen}, {number}",
                "b.hs 2f",
                "mrs {seen}, isr_el1",
                "tbnz {seen}, {irq}, 2f",
                "wfe",
                "2:",
                seen = out(reg) _,
                word = in(reg) self.word.as_ptr(),
                number = in(reg) self.number,
                irq = const irq::PENDING,
                options(nostack),
            );
        }
    }
}
