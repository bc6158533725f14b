//! A vCPU's last exits.

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
    /// What the syndrome's address is: the IPA of an abort, x0 of a call, else 0.
    pub address: u64,
}

/// The last [`KEPT_EXITS`] exits of a vCPU. All zero is an empty ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRing {
    records: [ExitRecord; KEPT_EXITS],
    pushed: u64,
}

impl ExitRing {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self { records: [ExitRecord { time: 0, pc: 0, esr: 0, address: 0 }; KEPT_EXITS], pushed: 0 }
    }

    /// Adds an exit, forgetting the oldest: six stores, no branch.
    #[inline]
    pub fn push(&mut self, record: ExitRecord) {
        if let Some(place) = self.records.get_mut(place(self.pushed)) {
            *place = record;
        }
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// How many exits there have been.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.pushed
    }

    /// The kept exits, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &ExitRecord> {
        let kept = usize::try_from(self.pushed).unwrap_or(KEPT_EXITS).min(KEPT_EXITS);
        (1_u64..)
            .take(kept)
            .filter_map(|back| self.records.get(place(self.pushed.wrapping_sub(back))))
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
        let mut ring = ExitRing::new();
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
