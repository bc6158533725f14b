//! What `epoll` is asked to watch (epoll(7)).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::abi::poll::{POLLERR, POLLHUP, POLLNVAL};
use crate::wakes::Wakes;
use crate::{Errno, Key};

/// Only what has come since the last look is told.
pub const EPOLLET: u32 = 1 << 31;
/// What was told is not watched again before EPOLL_CTL_MOD.
pub const EPOLLONESHOT: u32 = 1 << 30;
/// Accepted: nobody sleeps here.
const EPOLLWAKEUP: u32 = 1 << 29;
/// Accepted: all that wait are woken, and the first takes what is there.
pub(crate) const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// The bits that `poll` has, too.
const READY: u32 = 0xffff;

/// Adds a descriptor.
pub const EPOLL_CTL_ADD: u32 = 1;
/// Takes one out.
pub const EPOLL_CTL_DEL: u32 = 2;
/// Changes what is looked for.
pub const EPOLL_CTL_MOD: u32 = 3;

/// What is looked for at a descriptor, and what its program is told then (`struct epoll_event`, 16 bytes on AArch64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// The bits of `poll`, and EPOLLET, EPOLLONESHOT.
    pub events: u32,
    /// The program's own.
    pub data: u64,
}

impl EpollEvent {
    /// Bytes of the structure.
    pub const BYTES: usize = 16;

    /// As a program gives it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        let [a, b, c, d, _, _, _, _, data @ ..] = *bytes;
        Self { events: u32::from_le_bytes([a, b, c, d]), data: u64::from_le_bytes(data) }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let words = u128::from(self.events) | u128::from(self.data) << 64;
        words.to_le_bytes()
    }

    /// What of `ready` is told.
    fn of_interest(self, ready: u16) -> u32 {
        let always = u32::from(POLLERR | POLLHUP);
        u32::from(ready & !POLLNVAL) & (self.events & READY | always)
    }
}

/// A descriptor that is watched: its number and its description, as both name it (epoll(7), question 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watched {
    pub(crate) number: i32,
    pub(crate) description: u64,
}

/// How it is watched.
#[derive(Clone, Copy, Debug)]
struct Watch {
    event: EpollEvent,
    /// Something may have come since the last look.
    is_new: bool,
    /// It was told once, and that was to be all.
    is_off: bool,
}

/// The list of a descriptor that `epoll_create1` has made.
#[derive(Debug)]
pub(crate) struct Epoll {
    watched: BTreeMap<Watched, Watch>,
    /// Whose turn it is first, so that who is always ready does not stand before the others.
    next: Option<Watched>,
    /// Woken when the list changes.
    changes: Key,
    /// Who has made it.
    payer: u32,
}

impl Epoll {
    pub(crate) const fn new(payer: u32, wakes: &mut Wakes) -> Self {
        Self { watched: BTreeMap::new(), next: None, changes: wakes.key(), payer }
    }

    /// Who has made it.
    pub(crate) const fn payer(&self) -> u32 {
        self.payer
    }

    pub(crate) const fn key(&self) -> Key {
        self.changes
    }

    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether this is watched.
    pub(crate) fn watches(&self, which: Watched) -> bool {
        self.watched.contains_key(&which)
    }

    /// What is watched.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Watched> + '_ {
        self.watched.keys().copied()
    }

    /// # Errors
    /// EEXIST; EINVAL for bits that there are not.
    pub(crate) fn add(
        &mut self,
        which: Watched,
        event: EpollEvent,
        wakes: &mut Wakes,
    ) -> Result<(), Errno> {
        check(event)?;
        if self.watched.contains_key(&which) {
            return Err(Errno::EEXIST);
        }
        self.watched.insert(which, Watch { event, is_new: true, is_off: false });
        wakes.wake(self.changes);
        Ok(())
    }

    /// # Errors
    /// ENOENT; EINVAL for bits that there are not.
    pub(crate) fn change(
        &mut self,
        which: Watched,
        event: EpollEvent,
        wakes: &mut Wakes,
    ) -> Result<(), Errno> {
        check(event)?;
        let watch = self.watched.get_mut(&which).ok_or(Errno::ENOENT)?;
        *watch = Watch { event, is_new: true, is_off: false };
        wakes.wake(self.changes);
        Ok(())
    }

    /// # Errors
    /// ENOENT.
    pub(crate) fn remove(&mut self, which: Watched) -> Result<(), Errno> {
        self.watched.remove(&which).map(drop).ok_or(Errno::ENOENT)
    }

    /// A description has gone, with all descriptors that stood for it; how many were watched.
    pub(crate) fn forget(&mut self, description: u64) -> usize {
        let before = self.watched.len();
        self.watched.retain(|which, _| which.description != description);
        before.saturating_sub(self.watched.len())
    }

    /// Something may have come at these descriptions; how many watches were looked at.
    pub(crate) fn note(&mut self, descriptions: &BTreeSet<u64>) -> usize {
        for (which, watch) in &mut self.watched {
            watch.is_new |= descriptions.contains(&which.description);
        }
        self.watched.len()
    }

    /// Whether something would be told now.
    pub(crate) fn is_ready(&self, mut ready: impl FnMut(u64) -> u16) -> bool {
        self.watched.iter().any(|(which, watch)| watch.told(ready(which.description)) != 0)
    }

    /// What is told now, at most so many; each in its turn.
    pub(crate) fn take(
        &mut self,
        most: usize,
        mut ready: impl FnMut(u64) -> u16,
        mut tell: impl FnMut(EpollEvent),
    ) -> usize {
        let first = self.next.take();
        let mut count = 0_usize;
        // From whose turn it is to the last, and then those before.
        let turns = first.map_or(0, |first| self.watched.range(..first).count());
        let all = self.watched.len();
        let mut order: Vec<(&Watched, &mut Watch)> = self.watched.iter_mut().collect();
        order.rotate_left(turns.min(all));
        for (which, watch) in order {
            let events = watch.told(ready(which.description));
            if events == 0 {
                continue;
            }
            if count >= most {
                self.next = Some(*which);
                break;
            }
            watch.is_new = false;
            watch.is_off = watch.event.events & EPOLLONESHOT != 0;
            tell(EpollEvent { events, data: watch.event.data });
            count = count.saturating_add(1);
        }
        count
    }
}

impl Watch {
    fn told(&self, ready: u16) -> u32 {
        let is_quiet = self.is_off || (self.event.events & EPOLLET != 0 && !self.is_new);
        if is_quiet { 0 } else { self.event.of_interest(ready) }
    }
}

fn check(event: EpollEvent) -> Result<(), Errno> {
    let known = READY | EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
    if event.events & !known == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}
