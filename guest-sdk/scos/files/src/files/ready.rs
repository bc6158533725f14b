//! What could be done without waiting (`poll`, `select`), and what to wait for.

use alloc::collections::BTreeSet;

use super::pair::Pair;
use super::{DescriptionId, Files, Looks};
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
        self.ready_with(id, &mut Looks::default())
    }

    /// The same for one of several that a call asks about.
    #[must_use]
    pub fn ready_with(&self, id: DescriptionId, looks: &mut Looks) -> u16 {
        #[cfg(test)]
        {
            looks.count = looks.count.saturating_add(1);
        }
        let Ok(description) = self.description(id) else { return POLLNVAL };
        match &description.what {
            What::Terminal => self.terminal.ready(),
            What::Pipe(number, end) => {
                self.pipes.get(number).map_or(POLLNVAL, |pipe| pipe.ready(*end))
            }
            What::Counter(counter) => counter.ready(),
            What::Timer(timer) => timer.ready(),
            What::Socket(socket) => socket.ready(),
            What::Pair(pair) => self.pair_ready(*pair),
            What::Epoll(list) => self.list_ready(id, list, looks),
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
        self.keys_of([id]).into_iter()
    }

    /// Those of several: each once, and so many at most as two for each description that there is.
    #[must_use]
    pub fn keys_of(&self, ids: impl IntoIterator<Item = DescriptionId>) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut unseen: BTreeSet<DescriptionId> = ids.into_iter().collect();
        while let Some(id) = unseen.pop_first() {
            seen.insert(id);
            keys.extend(self.own_keys(id).into_iter().flatten());
            unseen.extend(self.watched_by(id).filter(|watched| !seen.contains(watched)));
        }
        keys
    }

    /// Those of a description without those of what it watches.
    pub(super) fn own_keys(&self, id: DescriptionId) -> [Option<Key>; 2] {
        match self.descriptions.get(&id).map(|description| &description.what) {
            Some(What::Terminal) => self.terminal.keys(),
            Some(What::Pipe(number, end)) => {
                [self.pipes.get(number).map(|pipe| pipe.key(*end)), None]
            }
            Some(What::Counter(counter)) => counter.keys(),
            Some(What::Socket(socket)) => socket.keys(),
            Some(What::Timer(timer)) => [Some(timer.key()), None],
            Some(What::Epoll(list)) => [Some(list.key()), None],
            Some(What::Pair(Pair { from, to })) => [
                self.pipes.get(from).map(|pipe| pipe.key(End::Read)),
                self.pipes.get(to).map(|pipe| pipe.key(End::Write)),
            ],
            _ => [None, None],
        }
    }
}
