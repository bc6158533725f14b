//! `epoll`: which descriptors a list watches, and what it tells.

use alloc::vec::Vec;

use super::{DescriptionId, Files};
use crate::abi::fcntl::{O_CLOEXEC, O_RDWR};
use crate::description::{Description, What};
use crate::epoll::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, Epoll, EpollEvent, Watched};
use crate::socket::Channels;
use crate::{Descriptors, Errno, Key};

/// The most descriptors that all lists watch together, as Linux's max_user_watches.
const MOST_WATCHED: usize = 4096;

impl<C: Channels> Files<C> {
    /// A list that watches nothing yet (`epoll_create1`). Flags: O_CLOEXEC, which is [`Files::install`]'s.
    ///
    /// # Errors
    /// EINVAL for other flags; ENFILE.
    pub fn epoll_create(&mut self, flags: u32) -> Result<DescriptionId, Errno> {
        if flags & !O_CLOEXEC != 0 {
            return Err(Errno::EINVAL);
        }
        let list = Epoll::new(&mut self.wakes);
        let id = self.add(Description::new(What::Epoll(list.into()), None, O_RDWR))?;
        self.lists.insert(id);
        Ok(id)
    }

    /// Changes what a list watches (`epoll_ctl`).
    ///
    /// # Errors
    /// EBADF; EINVAL for what is no list, for a list as what is watched, other operations and unknown bits; EPERM for what is always
    /// ready: files and directories; EEXIST, ENOENT; ENOSPC if all lists together watch too many.
    pub fn epoll_control(
        &mut self,
        descriptors: &Descriptors,
        list: i32,
        operation: u32,
        (number, event): (i32, EpollEvent),
    ) -> Result<(), Errno> {
        let (id, watched) = (descriptors.get(list)?, descriptors.get(number)?);
        let which = Watched { number, description: watched.0 };
        match self.description(watched)?.what {
            What::File | What::Directory | What::Path => return Err(Errno::EPERM),
            What::Epoll(_) => return Err(Errno::EINVAL),
            _ => {}
        }
        let is_full = self.watches >= MOST_WATCHED;
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        let What::Epoll(list) = &mut description.what else { return Err(Errno::EINVAL) };
        match operation {
            EPOLL_CTL_ADD if is_full => return Err(Errno::ENOSPC),
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
        // Out of its place meanwhile, so that the others can be looked at.
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        let What::Epoll(place) = &mut description.what else { return Err(Errno::EINVAL) };
        let mut list = core::mem::replace(place.as_mut(), Epoll::new(&mut self.wakes));
        let mut told = Vec::new();
        list.take(most, |watched| self.ready(DescriptionId(watched)), |event| told.push(event));
        if let Some(What::Epoll(place)) = self.descriptions.get_mut(&id).map(|it| &mut it.what) {
            **place = list;
        }
        Ok(told)
    }

    /// Whether a list has something to tell.
    pub(super) fn is_list_ready(&self, list: &Epoll) -> bool {
        list.is_ready(|watched| self.ready(DescriptionId(watched)))
    }

    /// What is woken when a list may have more to tell.
    pub(super) fn list_keys(&self, list: &Epoll) -> Vec<Key> {
        let watched = list.iter().flat_map(|which| self.own_keys(DescriptionId(which.description)));
        watched.chain([list.key()]).collect()
    }

    /// A key is woken: at what it is of something may have come.
    pub(super) fn note_woken(&mut self, key: Key) {
        let mut noted = Vec::new();
        for id in &self.lists {
            let Some(What::Epoll(list)) = self.descriptions.get(id).map(|it| &it.what) else {
                continue;
            };
            for which in list.iter() {
                let mut keys = self.own_keys(DescriptionId(which.description));
                if keys.any(|own| own == key) {
                    noted.push((*id, which.description));
                }
            }
        }
        for (id, description) in noted {
            if let Some(What::Epoll(list)) = self.descriptions.get_mut(&id).map(|it| &mut it.what) {
                list.note(description);
            }
        }
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
