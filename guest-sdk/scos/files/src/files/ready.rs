//! What could be done without waiting (`poll`, `select`), and what to wait for.

use alloc::vec::Vec;

use super::pair::Pair;
use super::{DescriptionId, Files};
use crate::Key;
use crate::abi::poll::{POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM};
use crate::description::What;
use crate::pipe::End;
use crate::socket::Channels;

/// What never waits.
const ALWAYS: u16 = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

impl<C: Channels> Files<C> {
    /// What could be done now: bits of [`crate::abi::poll`]; [`PollFd::of_interest`](crate::abi::poll::PollFd::of_interest) picks those
    /// that a program is told.
    #[must_use]
    pub fn ready(&self, id: DescriptionId) -> u16 {
        self.description(id).map_or(POLLNVAL, |description| self.ready_of(&description.what))
    }

    /// The same of what a description is of.
    pub(super) fn ready_of(&self, what: &What) -> u16 {
        match what {
            What::Terminal => self.terminal.ready(),
            What::Pipe(number, end) => {
                self.pipes.get(number).map_or(POLLNVAL, |pipe| pipe.ready(*end))
            }
            What::Counter(counter) => counter.ready(),
            What::Timer(timer) => timer.ready(),
            What::Socket(socket) => socket.ready(),
            What::Pair(pair) => self.pair_ready(*pair),
            What::Epoll(list) if self.is_list_ready(list) => POLLIN | POLLRDNORM,
            What::Epoll(_) => 0,
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
        let of_list = match what {
            Some(What::Epoll(list)) => self.list_keys(list),
            _ => Vec::new(),
        };
        self.keys_of(what).into_iter().flatten().chain(of_list)
    }

    /// The same without those of what a list watches.
    pub(super) fn own_keys(&self, id: DescriptionId) -> impl Iterator<Item = Key> + use<C> {
        let what = self.descriptions.get(&id).map(|description| &description.what);
        self.keys_of(what).into_iter().flatten()
    }

    pub(super) fn keys_of(&self, what: Option<&What>) -> [Option<Key>; 2] {
        match what {
            Some(What::Terminal) => self.terminal.keys(),
            Some(What::Pipe(number, end)) => {
                [self.pipes.get(number).map(|pipe| pipe.key(*end)), None]
            }
            Some(What::Counter(counter)) => counter.keys(),
            Some(What::Socket(socket)) => socket.keys(),
            Some(What::Timer(timer)) => [Some(timer.key()), None],
            Some(What::Pair(Pair { from, to })) => [
                self.pipes.get(from).map(|pipe| pipe.key(End::Read)),
                self.pipes.get(to).map(|pipe| pipe.key(End::Write)),
            ],
            _ => [None, None],
        }
    }
}
