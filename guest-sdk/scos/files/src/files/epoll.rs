//! `epoll`: which descriptors a list watches, and what it tells.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{DescriptionId, Files};
use crate::abi::fcntl::{O_CLOEXEC, O_RDWR};
use crate::abi::poll::{POLLIN, POLLRDNORM};
use crate::description::{Description, What};
use crate::epoll::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLEXCLUSIVE, Epoll, EpollEvent, Watched,
};
use crate::socket::Channels;
use crate::{Descriptors, Errno};

/// The most descriptors that all lists watch together, as Linux's max_user_watches.
const MOST_WATCHED: usize = 4096;

/// And those of the lists that one process has made.
const MOST_WATCHED_OF_ONE: usize = MOST_WATCHED / 2;

/// The most lists that watch one another in a row (epoll_ctl(2), ELOOP).
const MOST_NESTED: usize = 5;

/// What one call has found out about lists: each is looked into once, however many descriptors and lists lead to it.
#[derive(Debug, Default)]
pub struct Looks {
    lists: BTreeMap<DescriptionId, u16>,
    /// How many looks that were.
    #[cfg(test)]
    pub(super) count: usize,
}

impl<C: Channels> Files<C> {
    /// A list that watches nothing yet (`epoll_create1`). Flags: O_CLOEXEC, which is [`Files::install`]'s.
    ///
    /// # Errors
    /// EINVAL for other flags; ENFILE.
    pub fn epoll_create(&mut self, flags: u32) -> Result<DescriptionId, Errno> {
        if flags & !O_CLOEXEC != 0 {
            return Err(Errno::EINVAL);
        }
        let list = Epoll::new(self.payer, &mut self.wakes);
        let id = self.add(Description::new(What::Epoll(list.into()), None, O_RDWR))?;
        self.lists.insert(id);
        Ok(id)
    }

    /// Changes what a list watches (`epoll_ctl`).
    ///
    /// # Errors
    /// In this order: EBADF; EPERM for what is always ready: files and directories; EINVAL for what is no list, for a list that is to watch
    /// itself and for what cannot be EPOLLEXCLUSIVE; ELOOP for lists that would watch one another in a circle, or more than five in a row;
    /// EEXIST, ENOENT; EINVAL for unknown bits and operations; ENOSPC if all lists together watch too many, or those of who has made the list.
    pub fn epoll_control(
        &mut self,
        descriptors: &Descriptors,
        list: i32,
        operation: u32,
        (number, event): (i32, EpollEvent),
    ) -> Result<(), Errno> {
        let (id, watched) = (descriptors.get(list)?, descriptors.get(number)?);
        let which = Watched { number, description: watched.0 };
        let what = &self.description(watched)?.what;
        let is_path =
            matches!(what, What::Path) || matches!(self.description(id)?.what, What::Path);
        let is_list = matches!(what, What::Epoll(_));
        let is_exclusive = event.events & EPOLLEXCLUSIVE != 0
            && (operation == EPOLL_CTL_MOD || operation == EPOLL_CTL_ADD && is_list);
        match what {
            _ if is_path => return Err(Errno::EBADF),
            What::File | What::Directory => return Err(Errno::EPERM),
            _ if watched == id || self.list(id).is_none() || is_exclusive => {
                return Err(Errno::EINVAL);
            }
            What::Epoll(_) if operation == EPOLL_CTL_ADD => self.check_nesting(id, watched)?,
            _ => {}
        }
        let payer = self.list(id).map_or(0, Epoll::payer);
        let is_full = self.watches >= MOST_WATCHED
            || operation == EPOLL_CTL_ADD && self.watched_of(payer) >= MOST_WATCHED_OF_ONE;
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        let What::Epoll(list) = &mut description.what else { return Err(Errno::EINVAL) };
        match operation {
            EPOLL_CTL_ADD if is_full && !list.watches(which) => return Err(Errno::ENOSPC),
            EPOLL_CTL_ADD => {
                list.add(which, event, &mut self.wakes)?;
                self.watches = self.watches.saturating_add(1);
            }
            EPOLL_CTL_MOD => list.change(which, event, &mut self.wakes)?,
            EPOLL_CTL_DEL => {
                list.remove(which)?;
                self.watches = self.watches.saturating_sub(1);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// What a list tells now, at most so many; none if nothing has come (`epoll_pwait`).
    ///
    /// # Errors
    /// EINVAL for what is no list; EBADF.
    pub fn epoll_take(&mut self, id: DescriptionId, most: usize) -> Result<Vec<EpollEvent>, Errno> {
        self.note_woken();
        // Out of its place meanwhile, so that the others can be looked at.
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        let What::Epoll(place) = &mut description.what else { return Err(Errno::EINVAL) };
        let mut list = core::mem::replace(place.as_mut(), Epoll::new(0, &mut self.wakes));
        let mut told = Vec::new();
        let mut looks = Looks::default();
        let ready = |watched| self.ready_with(DescriptionId(watched), &mut looks);
        list.take(most, ready, |event| told.push(event));
        if let Some(What::Epoll(place)) = self.descriptions.get_mut(&id).map(|it| &mut it.what) {
            **place = list;
        }
        Ok(told)
    }

    /// What could be done with a list: it can be read if it has something to tell.
    pub(super) fn list_ready(&self, id: DescriptionId, list: &Epoll, looks: &mut Looks) -> u16 {
        if let Some(ready) = looks.lists.get(&id) {
            return *ready;
        }
        let is_ready = list.is_ready(|watched| self.ready_with(DescriptionId(watched), looks));
        let ready = if is_ready { POLLIN | POLLRDNORM } else { 0 };
        looks.lists.insert(id, ready);
        ready
    }

    fn list(&self, id: DescriptionId) -> Option<&Epoll> {
        match self.descriptions.get(&id).map(|it| &it.what) {
            Some(What::Epoll(list)) => Some(list),
            _ => None,
        }
    }

    pub(super) fn all_lists(&self) -> impl Iterator<Item = (DescriptionId, &Epoll)> {
        self.lists.iter().filter_map(|id| Some((*id, self.list(*id)?)))
    }

    /// What a list watches; nothing if it is none.
    pub(super) fn watched_by(&self, id: DescriptionId) -> impl Iterator<Item = DescriptionId> {
        let watched = self.list(id).into_iter().flat_map(Epoll::iter);
        watched.map(|it| DescriptionId(it.description))
    }

    /// The lists that one of these watches.
    fn nested_in(&self, lists: &BTreeSet<DescriptionId>) -> BTreeSet<DescriptionId> {
        let lists = lists.iter().filter_map(|id| self.list(*id));
        let watched = lists.flat_map(|list| list.iter()).map(|it| DescriptionId(it.description));
        watched.filter(|id| self.list(*id).is_some()).collect()
    }

    /// The lists that watch one of these.
    fn nesting(&self, lists: &BTreeSet<DescriptionId>) -> BTreeSet<DescriptionId> {
        let watches = |id: &DescriptionId| {
            let mut watched = self.list(*id).into_iter().flat_map(|list| list.iter());
            watched.any(|it| lists.contains(&DescriptionId(it.description)))
        };
        self.lists.iter().copied().filter(watches).collect()
    }

    /// # Errors
    /// ELOOP.
    fn check_nesting(&self, list: DescriptionId, watched: DescriptionId) -> Result<(), Errno> {
        let mut rows = 2_usize;
        let mut below = BTreeSet::from([watched]);
        loop {
            below = self.nested_in(&below);
            if below.is_empty() {
                break;
            }
            rows = rows.saturating_add(1);
            if below.contains(&list) || rows > MOST_NESTED {
                return Err(Errno::ELOOP);
            }
        }
        let mut above = BTreeSet::from([list]);
        loop {
            above = self.nesting(&above);
            if above.is_empty() {
                return Ok(());
            }
            rows = rows.saturating_add(1);
            if rows > MOST_NESTED {
                return Err(Errno::ELOOP);
            }
        }
    }

    /// Keys were woken: at what they are of something may have come, and lists are told of all of it at once. How many watches were looked at
    /// for it: a few times as many at most as there are.
    pub(super) fn note_woken(&mut self) -> usize {
        let Some(keys) = self.wakes.unnoted() else { return 0 };
        let mut steps = 0_usize;
        let mut noted: BTreeMap<DescriptionId, BTreeSet<u64>> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for (id, list) in self.all_lists() {
            if keys.contains(&list.key()) {
                touched.insert(id);
            }
            for which in list.iter() {
                steps = steps.saturating_add(1);
                let own = self.own_keys(DescriptionId(which.description));
                if own.iter().flatten().any(|key| keys.contains(key)) {
                    noted.entry(id).or_default().insert(which.description);
                    touched.insert(id);
                }
            }
        }
        // And at the lists of which it is one, up to those that none watches: five rows at most.
        while !touched.is_empty() {
            let mut above = BTreeSet::new();
            for (id, list) in self.all_lists() {
                for which in list.iter() {
                    steps = steps.saturating_add(1);
                    if touched.contains(&DescriptionId(which.description))
                        && noted.entry(id).or_default().insert(which.description)
                    {
                        above.insert(id);
                    }
                }
            }
            touched = above;
        }
        self.wakes.set_noted();
        for (id, descriptions) in noted {
            if let Some(What::Epoll(list)) = self.descriptions.get_mut(&id).map(|it| &mut it.what) {
                steps = steps.saturating_add(list.note(&descriptions));
            }
        }
        steps
    }

    /// A description has gone: no list watches it any more.
    pub(super) fn forget_watched(&mut self, gone: DescriptionId) {
        for id in &self.lists {
            if let Some(What::Epoll(list)) = self.descriptions.get_mut(id).map(|it| &mut it.what) {
                self.watches = self.watches.saturating_sub(list.forget(gone.0));
            }
        }
    }
}
