//! The check of the lock order: which locks the running thread holds.
//!
//! Only in host builds with debug assertions (loom apart, whose threads share one thread's record), where every
//! path of the core is tested; and on the target with the feature `checks`, where EL2's own paths are
//! (`cargo xtask checked`). In what is shipped [`Held`] is empty and its functions are nothing, so that a lock costs no
//! instruction more.

/// One acquisition, forgotten when it is dropped.
pub(crate) struct Held {
    #[cfg(any(
        all(not(any(loom, target_os = "none")), debug_assertions),
        all(target_os = "none", feature = "checks")
    ))]
    entry: checked::Entry,
}

impl Held {
    /// Notes that a lock is being taken.
    ///
    /// # Panics
    /// On the host with debug assertions: when a held lock has the same or a later place in the order.
    #[inline(always)]
    pub(crate) fn acquire(_level: u8, _key: u32, _name: &'static str) -> Self {
        Self {
            #[cfg(any(
                all(not(any(loom, target_os = "none")), debug_assertions),
                all(target_os = "none", feature = "checks")
            ))]
            entry: checked::push(_level, _key, _name, checked::Order::Checked),
        }
    }

    /// Notes that a lock is being taken whose place among those of its own level does not matter.
    ///
    /// # Panics
    /// On the host with debug assertions: when a held lock has a later level.
    #[inline(always)]
    pub(crate) fn acquire_among_equals(_level: u8, _key: u32, _name: &'static str) -> Self {
        Self {
            #[cfg(any(
                all(not(any(loom, target_os = "none")), debug_assertions),
                all(target_os = "none", feature = "checks")
            ))]
            entry: checked::push(_level, _key, _name, checked::Order::OfLevels),
        }
    }

    /// Notes that a lock was taken without waiting, which cannot deadlock in any order.
    #[inline(always)]
    pub(crate) fn acquired_without_waiting(_level: u8, _key: u32, _name: &'static str) -> Self {
        Self {
            #[cfg(any(
                all(not(any(loom, target_os = "none")), debug_assertions),
                all(target_os = "none", feature = "checks")
            ))]
            entry: checked::push(_level, _key, _name, checked::Order::Free),
        }
    }
}

#[cfg(any(
    all(not(any(loom, target_os = "none")), debug_assertions),
    all(target_os = "none", feature = "checks")
))]
impl Drop for Held {
    fn drop(&mut self) {
        checked::remove(self.entry);
    }
}

#[cfg(all(not(any(loom, target_os = "none")), debug_assertions))]
mod checked {
    use core::cell::RefCell;
    use std::vec::Vec;

    /// A held lock: its place in the order, and a number that tells it from all others of its thread.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Entry {
        level: u8,
        key: u32,
        name: &'static str,
        serial: u64,
    }

    /// Whether an acquisition must follow the order.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Order {
        Checked,
        /// As far as levels go, and not twice.
        OfLevels,
        Free,
    }

    std::thread_local! {
        static HELD: RefCell<(u64, Vec<Entry>)> = const { RefCell::new((0, Vec::new())) };
    }

    /// Adds an entry, after the check of its order.
    pub(crate) fn push(level: u8, key: u32, name: &'static str, order: Order) -> Entry {
        let is_later = |other: &&Entry| match order {
            Order::Checked => (other.level, other.key) >= (level, key),
            Order::OfLevels => other.level > level || (other.level, other.key) == (level, key),
            Order::Free => false,
        };
        let later = HELD.with_borrow(|(_, held)| held.iter().find(is_later).copied());
        if let Some(other) = later {
            refuse((name, key), (other.name, other.key));
        }
        HELD.with_borrow_mut(|(next, held)| {
            let entry = Entry { level, key, name, serial: *next };
            *next = next.wrapping_add(1);
            held.push(entry);
            entry
        })
    }

    /// Forgets an entry, in whatever order guards end.
    pub(crate) fn remove(entry: Entry) {
        HELD.with_borrow_mut(|(_, held)| held.retain(|other| *other != entry));
    }

    #[expect(clippy::panic, reason = "our own bug, found on the host; not compiled for the target")]
    fn refuse(wanted: (&str, u32), held: (&str, u32)) {
        panic!(
            "lock order: {} {} is taken while {} {} is held (hyp/sync/src/rank.rs)",
            wanted.0, wanted.1, held.0, held.1
        );
    }
}

/// The same without threads: a record for each core, which that core alone touches.
#[cfg(all(target_os = "none", feature = "checks"))]
mod checked {
    use core::sync::atomic::{AtomicU64, Ordering};

    /// The most locks that a core holds: a comparison of what partitions say takes two of each of 64.
    const DEPTH: usize = 144;
    /// MPIDR_EL1.Aff0 below 16, Aff1 below 4.
    const CORES: usize = 64;

    /// A held lock: level and key.
    pub(crate) type Entry = u64;

    /// Whether an acquisition must follow the order.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Order {
        Checked,
        /// As far as levels go, and not twice.
        OfLevels,
        Free,
    }

    /// By core; 0 is no entry.
    static HELD: [[AtomicU64; DEPTH]; CORES] =
        [const { [const { AtomicU64::new(0) }; DEPTH] }; CORES];

    /// Adds an entry, after the check of its order.
    pub(crate) fn push(level: u8, key: u32, name: &'static str, order: Order) -> Entry {
        let entry = u64::from(level) << 32 | u64::from(key);
        let held = own();
        let is_later = |other: &u64| match order {
            Order::Checked => *other >= entry,
            Order::OfLevels => *other >> 32 > u64::from(level) || *other == entry,
            Order::Free => false,
        };
        let later = held.iter().map(|place| place.load(Ordering::Relaxed)).find(is_later);
        if let Some(other) = later {
            refuse((name, key), other);
        }
        let free = held.iter().find(|place| place.load(Ordering::Relaxed) == 0);
        assert!(free.is_some(), "a core holds more than {DEPTH} locks");
        if let Some(place) = free {
            place.store(entry, Ordering::Relaxed);
        }
        entry
    }

    /// Forgets an entry, in whatever order guards end.
    pub(crate) fn remove(entry: Entry) {
        let place = own().iter().find(|place| place.load(Ordering::Relaxed) == entry);
        if let Some(place) = place {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// This core's record.
    #[expect(unsafe_code, reason = "which core this is, is in a register")]
    fn own() -> &'static [AtomicU64] {
        let mpidr: u64;
        // SAFETY: MPIDR_EL1 can be read at EL1 and EL2, without effects (Arm ARM D24.2.126).
        unsafe {
            core::arch::asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags));
        };
        let index = (mpidr & 15) | (mpidr >> 8 & 3) << 4;
        HELD.get(usize::try_from(index).unwrap_or(0)).map_or(&[], |held| held)
    }

    #[expect(
        clippy::panic,
        reason = "our own bug, found by a test; not compiled in what is shipped"
    )]
    fn refuse(wanted: (&str, u32), held: u64) {
        panic!(
            "lock order: {} {} is taken while level {} key {} is held (hyp/sync/src/rank.rs)",
            wanted.0,
            wanted.1,
            held >> 32,
            held & 0xffff_ffff
        );
    }
}
