//! Keys, and those that were woken.

use alloc::collections::BTreeSet;

use crate::Key;

/// Gives keys out and remembers which were woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    given: u64,
    woken: BTreeSet<Key>,
    /// Lists of `epoll` were told of all of them.
    is_noted: bool,
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
        self.is_noted = false;
    }

    /// Those that were woken, if lists of `epoll` were not told of one of them.
    pub(crate) fn unnoted(&self) -> Option<&BTreeSet<Key>> {
        (!self.is_noted && !self.woken.is_empty()).then_some(&self.woken)
    }

    /// They were told of all.
    pub(crate) const fn set_noted(&mut self) {
        self.is_noted = true;
    }

    /// The next one that was woken.
    pub(crate) fn take(&mut self) -> Option<Key> {
        self.woken.pop_first()
    }
}
