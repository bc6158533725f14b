//! Keys, and those that were woken.

use alloc::collections::BTreeSet;

use crate::Key;

/// Gives keys out and remembers which were woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    given: u64,
    woken: BTreeSet<Key>,
}

impl Wakes {
    /// A key that was never given before.
    pub(crate) const fn key(&mut self) -> Key {
        self.given = self.given.wrapping_add(1);
        Key(self.given)
    }

    /// Whoever waits for this is to try again.
    pub(crate) fn wake(&mut self, key: Key) {
        self.woken.insert(key);
    }

    /// The next one that was woken.
    pub(crate) fn take(&mut self) -> Option<Key> {
        self.woken.pop_first()
    }
}
