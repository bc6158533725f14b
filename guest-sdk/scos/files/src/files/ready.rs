//! What could be done without waiting (`poll`, `select`), and what to wait for.

use super::{DescriptionId, Files};
use crate::Key;
use crate::abi::poll::{POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM};
use crate::description::What;
use crate::socket::Channels;

/// What never waits.
const ALWAYS: u16 = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

impl<C: Channels> Files<C> {
    /// What could be done now: bits of [`crate::abi::poll`]; [`PollFd::of_interest`](crate::abi::poll::PollFd::of_interest) picks those
    /// that a program is told.
    #[must_use]
    pub fn ready(&self, id: DescriptionId) -> u16 {
        let Ok(description) = self.description(id) else { return POLLNVAL };
        match &description.what {
            What::Terminal => self.terminal.ready(),
            What::Pipe(number, end) => {
                self.pipes.get(number).map_or(POLLNVAL, |pipe| pipe.ready(*end))
            }
            What::Counter(counter) => counter.ready(),
            What::Timer(timer) => timer.ready(),
            What::Socket(socket) => socket.ready(),
            What::Path => POLLNVAL,
            What::File
            | What::Directory
            | What::Null
            | What::Zero
            | What::Full
            | What::Device(_) => ALWAYS,
        }
    }

    /// The keys that are woken when that may have changed: none for what never changes.
    pub fn keys(&self, id: DescriptionId) -> impl Iterator<Item = Key> + use<C> {
        let what = self.descriptions.get(&id).map(|description| &description.what);
        let keys = match what {
            Some(What::Terminal) => self.terminal.keys(),
            Some(What::Pipe(number, end)) => {
                [self.pipes.get(number).map(|pipe| pipe.key(*end)), None]
            }
            Some(What::Counter(counter)) => counter.keys(),
            Some(What::Socket(socket)) => socket.keys(),
            Some(What::Timer(timer)) => [Some(timer.key()), None],
            _ => [None, None],
        };
        keys.into_iter().flatten()
    }
}
