//! A vCPU's last exits.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Syndrome;

/// How many exits are kept.
pub const KEPT_EXITS: usize = 16;

/// One exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitRecord {
    /// When, in counter ticks.
    pub time: u64,
    /// The guest's PC.
    pub pc: u64,
    /// The syndrome, or [`Syndrome::INTERRUPT`]'s value.
    pub esr: u64,
    /// What the syndrome's address is: the IPA of an abort, of a permission fault the virtual address, x0 of a call, else 0.
    pub address: u64,
}

/// The last [`KEPT_EXITS`] exits of a vCPU. All zero is an empty ring.
///
/// The core that has the vCPU pushes; anybody may look. Who looks meanwhile from another core can see the oldest record mixed with
/// the one that takes its place: it is for people, and nothing is decided by it.
#[derive(Debug)]
pub struct ExitRing {
    /// Each a record's four words, in its order.
    records: [[AtomicU64; 4]; KEPT_EXITS],
    pushed: AtomicU64,
}

impl ExitRing {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: [const { [const { AtomicU64::new(0) }; 4] }; KEPT_EXITS],
            pushed: AtomicU64::new(0),
        }
    }

    /// Adds an exit, forgetting the oldest: plain stores, no branch.
    #[inline]
    pub fn push(&self, record: ExitRecord) {
        let pushed = self.pushed.load(Ordering::Relaxed);
        if let Some([time, pc, esr, address]) = self.records.get(place(pushed)) {
            time.store(record.time, Ordering::Relaxed);
            pc.store(record.pc, Ordering::Relaxed);
            esr.store(record.esr, Ordering::Relaxed);
            address.store(record.address, Ordering::Relaxed);
        }
        self.pushed.store(pushed.wrapping_add(1), Ordering::Release);
    }

    /// How many exits there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.pushed.load(Ordering::Acquire)
    }

    /// The exit that came `back` before the last; `None` if there was none, or it is not kept any more.
    #[must_use]
    pub fn before_last(&self, back: u8) -> Option<ExitRecord> {
        if usize::from(back) >= KEPT_EXITS {
            return None;
        }
        let number = self.count().checked_sub(u64::from(back).saturating_add(1))?;
        let [time, pc, esr, address] = self.records.get(place(number))?;
        Some(ExitRecord {
            time: time.load(Ordering::Relaxed),
            pc: pc.load(Ordering::Relaxed),
            esr: esr.load(Ordering::Relaxed),
            address: address.load(Ordering::Relaxed),
        })
    }

    /// The kept exits, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = ExitRecord> {
        (0_u8..).map_while(|back| self.before_last(back))
    }
}

impl Default for ExitRing {
    fn default() -> Self {
        Self::new()
    }
}

impl ExitRecord {
    /// The syndrome, for its words.
    #[must_use]
    pub const fn syndrome(&self) -> Syndrome {
        Syndrome(self.esr)
    }
}

#[inline]
fn place(number: u64) -> usize {
    let [low, ..] = number.to_le_bytes();
    usize::from(low & 15)
}

const _: () = assert!(KEPT_EXITS == 16, "`place` masks for 16");

#[cfg(test)]
mod tests {
    use super::{ExitRecord, ExitRing, KEPT_EXITS};
    use std::vec::Vec;

    #[test]
    fn the_last_16_exits_are_kept_newest_first() {
        let ring = ExitRing::new();
        assert_eq!(ring.newest_first().count(), 0);
        for time in 0..3 {
            ring.push(ExitRecord { time, ..ExitRecord::default() });
        }
        let times: Vec<u64> = ring.newest_first().map(|record| record.time).collect();
        assert_eq!(times, [2, 1, 0]);
        for time in 3..40 {
            ring.push(ExitRecord { time, ..ExitRecord::default() });
        }
        let times: Vec<u64> = ring.newest_first().map(|record| record.time).collect();
        let expected: Vec<u64> = (24..40).rev().collect();
        assert_eq!((times, ring.count()), (expected, 40));
        assert_eq!(ring.newest_first().count(), KEPT_EXITS);
    }
}
