//! What a call that may have to wait answers.

use crate::Errno;

/// What a call answers that may have to wait.
pub type Answer<T> = Result<Step<T>, Errno>;

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<T> {
    /// It is done.
    Done(T),
    /// Nothing has changed: to be tried again, with the same arguments, once this key is woken. A description in non-blocking mode
    /// answers EAGAIN instead.
    Wait(Key),
}

/// What is waited for: one per end of a pipe, console, timer and so on. A number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) u64);

impl Key {
    /// A number that no other key has.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}
