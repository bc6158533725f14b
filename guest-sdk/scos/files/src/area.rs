//! The message areas that this partition has through its sockets, and who holds each of them (C7, C8, C8b).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::socket::Arrived;
use crate::{DescriptionId, Errno, NodeId};

/// The most mappings of one area.
const MAPPINGS: usize = 16;

/// An area's number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaId(pub(crate) u64);

impl AreaId {
    /// The one with this number.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        Self(number)
    }

    /// As the kernel's form tells it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Where an area is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Whose address space: a number of the kernel's.
    pub space: u64,
    /// Where the mapping begins.
    pub address: u64,
}

/// A mapping to be taken away before anything of that process runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Which area was mapped.
    pub area: AreaId,
    /// Where.
    pub mapping: Mapping,
    /// Whether the place stays taken, and later accesses there are SIGBUS: it was a file's. An area that was taken as a mapping is
    /// unmapped by being sent.
    pub is_place_kept: bool,
}

/// An area.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) place: Arrived,
    /// The port in whose window it lies, while that is open.
    pub(crate) home: Option<u64>,
    pub(crate) holder: Holder,
    mappings: Vec<Mapping>,
}

/// Who holds an area: with whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The socket to which it came or for which it was made: nobody has taken it yet.
    Socket(DescriptionId),
    /// The kernel, by the form of this socket.
    Kernel(DescriptionId),
    /// A file.
    File(NodeId),
    /// Its mappings: it goes with the last of them.
    Mappings,
}

/// All areas.
#[derive(Debug, Default)]
pub(crate) struct Areas {
    areas: BTreeMap<AreaId, Area>,
    given: u64,
    revoked: VecDeque<Revoked>,
}

impl Areas {
    /// Takes an area up.
    pub(crate) fn add(&mut self, place: Arrived, home: Option<u64>, holder: Holder) -> AreaId {
        self.given = self.given.saturating_add(1);
        let id = AreaId(self.given);
        self.areas.insert(id, Area { place, home, holder, mappings: Vec::new() });
        id
    }

    /// An area.
    ///
    /// # Errors
    /// ESTALE if it was sent or discarded.
    pub(crate) fn get(&self, id: AreaId) -> Result<&Area, Errno> {
        self.areas.get(&id).ok_or(Errno::ESTALE)
    }

    /// An area.
    ///
    /// # Errors
    /// ESTALE if it was sent or discarded.
    pub(crate) fn get_mut(&mut self, id: AreaId) -> Result<&mut Area, Errno> {
        self.areas.get_mut(&id).ok_or(Errno::ESTALE)
    }

    /// The area that is mapped here.
    pub(crate) fn mapped_at(&self, mapping: Mapping) -> Option<AreaId> {
        let mut areas = self.areas.iter();
        areas.find(|(_, area)| area.mappings.contains(&mapping)).map(|(id, _)| *id)
    }

    /// Takes an area out, with its mappings: they are revoked.
    pub(crate) fn remove(&mut self, id: AreaId) -> Option<Area> {
        let area = self.areas.remove(&id)?;
        let is_place_kept = area.holder != Holder::Mappings;
        self.revoked.extend(area.mappings.iter().map(|mapping| Revoked {
            area: id,
            mapping: *mapping,
            is_place_kept,
        }));
        Some(area)
    }

    /// Remembers a mapping.
    ///
    /// # Errors
    /// ENOMEM for one more than there may be; ESTALE.
    pub(crate) fn map(&mut self, id: AreaId, mapping: Mapping) -> Result<(), Errno> {
        let area = self.get_mut(id)?;
        if area.mappings.len() >= MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        area.mappings.push(mapping);
        Ok(())
    }

    /// Forgets a mapping: whether the area goes with it.
    pub(crate) fn unmap(&mut self, id: AreaId, mapping: Mapping) -> bool {
        let Some(area) = self.areas.get_mut(&id) else { return false };
        area.mappings.retain(|other| *other != mapping);
        area.holder == Holder::Mappings && area.mappings.is_empty()
    }

    /// The next mapping to be taken away.
    pub(crate) fn revoked(&mut self) -> Option<Revoked> {
        self.revoked.pop_front()
    }

    /// A port was closed: what came to it is the partition's own.
    pub(crate) fn forget_home(&mut self, port: u64) {
        for area in self.areas.values_mut().filter(|area| area.home == Some(port)) {
            area.home = None;
        }
    }

    /// Any area that a socket holds.
    pub(crate) fn held_by(&self, socket: DescriptionId) -> Option<AreaId> {
        let mut areas = self.areas.iter();
        let held = [Holder::Socket(socket), Holder::Kernel(socket)];
        areas.find(|(_, area)| held.contains(&area.holder)).map(|(id, _)| *id)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.areas.len()
    }
}
