//! Work that one core leaves for another: pending bits, and the set of cores to kick.
//!
//! The protocol (checked by loom in `tests/loom.rs`): the sender stores its data, raises a bit in the
//! receiver's [`Pending`], and sends one SGI if the word was empty before; the receiver takes the whole word
//! *before* it looks at the data. So no bit is lost, and as many raises as fit between two takes cost one SGI.
//! An event is a pending bit, never an entry in a queue that can be full.

use shikiri_abi::{CoreId, CoreSet};

use crate::facade::atomic::{AtomicU64, Ordering};

/// Up to 64 kinds of work for one receiver, pending or not.
pub struct Pending(AtomicU64);

impl Pending {
    /// Nothing pending.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Nothing pending.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Makes `bits` pending, after everything that the caller stored before (release), and returns whether
    /// the receiver must be kicked: nothing was pending, so nobody has kicked it since it last took its work.
    #[inline]
    #[must_use = "a receiver that is not kicked may sleep on its work"]
    pub fn raise(&self, bits: u64) -> bool {
        self.0.fetch_or(bits, Ordering::Release) == 0
    }

    /// Takes all pending bits and sees what their senders had stored (acquire). One load when there are none.
    #[inline]
    pub fn take(&self) -> u64 {
        if self.0.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.0.swap(0, Ordering::Acquire)
    }

    /// What is pending at this moment; it stays so.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Makes `bits` not pending any more, and returns what was pending until then. A kick for them may still come. Who has
    /// peeked and withdraws what was served has to look at the rest of that: it may have come in between, without a kick.
    #[inline]
    pub fn withdraw(&self, bits: u64) -> u64 {
        self.0.fetch_and(!bits, Ordering::AcqRel)
    }

    /// Whether anything is pending: a hint, to be followed by [`Pending::take`].
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

/// A set of cores that several cores change at the same time: [`CoreSet`] as two atomic words.
///
/// Each core's bit is atomic by itself; the two halves are not read at one instant.
pub struct KickSet([AtomicU64; 2]);

impl KickSet {
    /// The empty set.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self([AtomicU64::new(0), AtomicU64::new(0)])
    }

    /// The empty set.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self([AtomicU64::new(0), AtomicU64::new(0)])
    }

    /// Adds a core, after what the caller stored before (release); returns whether it was absent. A core
    /// number out of range changes nothing and answers `false`.
    #[inline]
    pub fn insert(&self, core: CoreId) -> bool {
        let (word, bit) = self.place(core);
        bit != 0 && word.fetch_or(bit, Ordering::Release) & bit == 0
    }

    /// Removes a core and sees what was stored before it was added (acquire); returns whether it was there.
    #[inline]
    pub fn remove(&self, core: CoreId) -> bool {
        let (word, bit) = self.place(core);
        word.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Empties the set and returns what it held (acquire).
    #[inline]
    pub fn take(&self) -> CoreSet {
        let [low, high] = &self.0;
        CoreSet(join(low.swap(0, Ordering::Acquire), high.swap(0, Ordering::Acquire)))
    }

    /// What the set holds now.
    #[inline]
    #[must_use]
    pub fn load(&self) -> CoreSet {
        let [low, high] = &self.0;
        CoreSet(join(low.load(Ordering::Acquire), high.load(Ordering::Acquire)))
    }

    /// Whether the core is in the set now.
    #[inline]
    #[must_use]
    pub fn contains(&self, core: CoreId) -> bool {
        let (word, bit) = self.place(core);
        word.load(Ordering::Acquire) & bit != 0
    }

    /// The word and the bit of a core; no bit for a number from 128 up.
    #[inline]
    fn place(&self, core: CoreId) -> (&AtomicU64, u64) {
        let [low, high] = &self.0;
        let bit = 1u64 << (core.0 & 63);
        match core.0 >> 6 {
            0 => (low, bit),
            1 => (high, bit),
            _ => (high, 0),
        }
    }
}

impl Default for KickSet {
    fn default() -> Self {
        Self::new()
    }
}

/// One 128-bit word of two halves.
#[inline]
fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use shikiri_abi::{CoreId, CoreSet};

    use super::{KickSet, Pending};

    #[test]
    fn only_the_first_raise_asks_for_a_kick() {
        let pending = Pending::default();
        assert!(pending.is_empty() && pending.take() == 0);
        assert!(pending.raise(1));
        assert!(!pending.raise(2) && !pending.raise(2));
        assert_eq!(pending.take(), 3);
        assert!(pending.raise(4), "a taken word is empty: the next raise kicks again");
    }

    #[test]
    fn a_kick_set_holds_cores_0_to_127_and_no_other() {
        let set = KickSet::default();
        for core in [0, 63, 64, 127] {
            assert!(set.insert(CoreId(core)) && !set.insert(CoreId(core)));
            assert!(set.contains(CoreId(core)));
        }
        assert!(!set.insert(CoreId(128)) && !set.contains(CoreId(128)) && !set.remove(CoreId(255)));
        assert_eq!(set.load(), CoreSet(1 | 1 << 63 | 1 << 64 | 1 << 127));
        assert!(set.remove(CoreId(64)) && !set.remove(CoreId(64)));
        assert_eq!(set.take(), CoreSet(1 | 1 << 63 | 1 << 127));
        assert!(set.take().is_empty());
    }
}
