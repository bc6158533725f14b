//! The numbers by which a process names what it has open.

use alloc::collections::BTreeMap;

use crate::Errno;
use crate::files::DescriptionId;

/// The most descriptors of a process, whatever its limit.
const MOST: u32 = 1024;

/// A process's descriptors. It owns a reference to each description: who drops one gives those back to [`Files`](crate::Files).
#[derive(Debug)]
pub struct Descriptors {
    open: BTreeMap<u32, Descriptor>,
    limit: u32,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) description: DescriptionId,
    pub(crate) is_closed_on_exec: bool,
}

impl Descriptors {
    /// None, and room for so many (RLIMIT_NOFILE), at most 1024.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { open: BTreeMap::new(), limit: limit.min(MOST) }
    }

    /// How many there may be: each number is below it.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Changes how many there may be. Those that are open stay.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.min(MOST);
    }

    /// What a descriptor stands for.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, number: i32) -> Result<DescriptionId, Errno> {
        Ok(self.descriptor(number)?.description)
    }

    /// Those that are open, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, DescriptionId)> + '_ {
        self.open.iter().map(|(&number, descriptor)| (number, descriptor.description))
    }

    pub(crate) fn descriptor(&self, number: i32) -> Result<Descriptor, Errno> {
        let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
        self.open.get(&number).copied().ok_or(Errno::EBADF)
    }

    /// Gives a description the lowest free number from `least` on.
    ///
    /// # Errors
    /// EMFILE.
    pub(crate) fn add(&mut self, least: u32, descriptor: Descriptor) -> Result<i32, Errno> {
        let number = self.lowest_free(least)?;
        self.open.insert(number, descriptor);
        i32::try_from(number).map_err(|_| Errno::EMFILE)
    }

    /// The lowest free number from `least` on.
    pub(crate) fn lowest_free(&self, least: u32) -> Result<u32, Errno> {
        let mut free = least;
        for &number in self.open.range(least..).map(|(number, _)| number) {
            if number != free {
                break;
            }
            free = free.saturating_add(1);
        }
        if free < self.limit { Ok(free) } else { Err(Errno::EMFILE) }
    }

    /// Puts a description at this number; what was there is the answer.
    ///
    /// # Errors
    /// EBADF if the number is not below the limit.
    pub(crate) fn put(
        &mut self,
        number: i32,
        descriptor: Descriptor,
    ) -> Result<Option<DescriptionId>, Errno> {
        let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
        if number >= self.limit {
            return Err(Errno::EBADF);
        }
        Ok(self.open.insert(number, descriptor).map(|former| former.description))
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// EBADF.
    pub(crate) fn remove(&mut self, number: i32) -> Result<DescriptionId, Errno> {
        let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
        self.open.remove(&number).map(|former| former.description).ok_or(Errno::EBADF)
    }

    /// Takes out those that are closed when a program is executed, one after another.
    pub(crate) fn remove_closed_on_exec(&mut self) -> Option<DescriptionId> {
        let found = self.open.iter().find(|(_, descriptor)| descriptor.is_closed_on_exec);
        let number = *found?.0;
        self.open.remove(&number).map(|former| former.description)
    }

    /// Takes out any, until there is none.
    pub(crate) fn remove_first(&mut self) -> Option<DescriptionId> {
        self.open.pop_first().map(|(_, former)| former.description)
    }

    pub(crate) fn set_closed_on_exec(&mut self, number: i32, is_closed: bool) -> Result<(), Errno> {
        let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
        let descriptor = self.open.get_mut(&number).ok_or(Errno::EBADF)?;
        descriptor.is_closed_on_exec = is_closed;
        Ok(())
    }

    pub(crate) fn copy(&self) -> Self {
        Self { open: self.open.clone(), limit: self.limit }
    }
}
