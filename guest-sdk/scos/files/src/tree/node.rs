//! Nodes of the tree: files, directories, symbolic links and devices.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::Content;
use crate::abi::fcntl::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, X_OK};
use crate::abi::stat::Stat;
use crate::area::AreaId;
use crate::number::wide;
use crate::{Caller, Errno, NodeId};

/// The file system's number, as `st_dev` has it.
const FILE_SYSTEM: u64 = 1;

/// Blocks of 512 bytes in one of ours.
const SECTORS: u64 = 8;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permissions: 12 bits.
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Names that it has; a directory's own and those of its directories are not counted here.
    pub(crate) names: u32,
    /// Descriptions that have it open.
    pub(crate) opens: u32,
    pub(crate) read_ns: u64,
    pub(crate) written_ns: u64,
    pub(crate) changed_ns: u64,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Content),
    Directory(Directory),
    Link(Box<[u8]>),
    Device(u32),
    /// A file that stands for a message area.
    Area(AreaId),
}

/// The names in a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: NodeId,
    names: BTreeMap<Arc<[u8]>, (NodeId, u64)>,
    /// In the order in which they were added: where reading a directory goes on does not depend on what was removed meanwhile.
    order: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
    directories: u32,
}

impl Directory {
    /// The first position behind "." and "..".
    pub(crate) const FIRST: u64 = 2;

    /// An empty one.
    pub(crate) const fn new(parent: NodeId) -> Self {
        Self {
            parent,
            names: BTreeMap::new(),
            order: BTreeMap::new(),
            next: Self::FIRST,
            directories: 0,
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<NodeId> {
        self.names.get(name).map(|entry| entry.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a name that is not there.
    pub(crate) fn add(&mut self, name: &[u8], node: NodeId, is_directory: bool) {
        let name: Arc<[u8]> = Arc::from(name);
        self.order.insert(self.next, Arc::clone(&name));
        self.names.insert(name, (node, self.next));
        self.next = self.next.saturating_add(1);
        self.directories = self.directories.saturating_add(u32::from(is_directory));
    }

    /// Takes a name out.
    pub(crate) fn remove(&mut self, name: &[u8], is_directory: bool) -> Option<NodeId> {
        let (node, at) = self.names.remove(name)?;
        self.order.remove(&at);
        self.directories = self.directories.saturating_sub(u32::from(is_directory));
        Some(node)
    }

    /// The names from a position on, each with the position behind it.
    pub(crate) fn from(&self, at: u64) -> impl Iterator<Item = (u64, &[u8], NodeId)> {
        self.order.range(at..).filter_map(|(&at, name)| {
            let node = self.names.get(name)?.0;
            Some((at.saturating_add(1), name.as_ref(), node))
        })
    }
}

impl Node {
    /// A new one of the caller's.
    pub(crate) const fn new(kind: Kind, mode: u32, caller: &Caller, now_ns: u64) -> Self {
        Self {
            kind,
            mode: mode & 0o7777,
            user: caller.user,
            group: caller.group,
            names: 0,
            opens: 0,
            read_ns: now_ns,
            written_ns: now_ns,
            changed_ns: now_ns,
        }
    }

    pub(crate) const fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// As a directory.
    ///
    /// # Errors
    /// ENOTDIR.
    pub(crate) const fn directory(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// As a directory.
    ///
    /// # Errors
    /// ENOTDIR.
    pub(crate) const fn directory_mut(&mut self) -> Result<&mut Directory, Errno> {
        match &mut self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Blocks that are charged for it: a symbolic link is charged one.
    pub(crate) fn blocks(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.blocks(),
            Kind::Link(_) => 1,
            Kind::Directory(_) | Kind::Device(_) | Kind::Area(_) => 0,
        }
    }

    /// The area that it stands for.
    pub(crate) const fn area(&self) -> Option<AreaId> {
        match self.kind {
            Kind::Area(area) => Some(area),
            _ => None,
        }
    }

    /// Its contents were changed.
    pub(crate) const fn touch(&mut self, now_ns: u64) {
        self.written_ns = now_ns;
        self.changed_ns = now_ns;
    }

    /// Whether the caller may do what `wanted` says: R_OK, W_OK, X_OK.
    ///
    /// # Errors
    /// EACCES.
    pub(crate) const fn check(&self, caller: &Caller, wanted: u32) -> Result<(), Errno> {
        let granted = if caller.user == 0 {
            // Whoever may do everything may not execute what nobody may.
            let is_executable = self.is_directory() || self.mode & 0o111 != 0;
            if is_executable { 7 } else { 7 & !X_OK }
        } else if caller.user == self.user {
            self.mode >> 6
        } else if caller.group == self.group {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & 7 & !granted == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether the caller is its owner, or may do everything.
    ///
    /// # Errors
    /// EPERM.
    pub(crate) const fn check_owner(&self, caller: &Caller) -> Result<(), Errno> {
        if caller.user == 0 || caller.user == self.user { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// What is told about it.
    pub(crate) fn stat(&self, id: NodeId) -> Stat {
        let (kind, bytes, special, links) = match &self.kind {
            Kind::File(content) => (S_IFREG, content.bytes(), 0, self.names),
            // A name of its own, ".", and ".." of each of its directories.
            Kind::Directory(directory) => (
                S_IFDIR,
                0,
                0,
                if self.names == 0 { 0 } else { directory.directories.saturating_add(2) },
            ),
            Kind::Link(target) => (S_IFLNK, wide(target.len()), 0, self.names),
            Kind::Device(number) => (S_IFCHR, 0, u64::from(*number), self.names),
            // Its length is the area's.
            Kind::Area(_) => (S_IFREG, 0, 0, self.names),
        };
        Stat {
            device: FILE_SYSTEM,
            node: id.0,
            mode: kind | self.mode,
            links,
            user: self.user,
            group: self.group,
            special,
            bytes,
            blocks: self.blocks().saturating_mul(SECTORS),
            read_ns: self.read_ns,
            written_ns: self.written_ns,
            changed_ns: self.changed_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Directory, Kind, Node};
    use crate::{Caller, Errno, NodeId};

    const fn caller(user: u32, group: u32) -> Caller {
        Caller { directory: NodeId(1), umask: 0, user, group }
    }

    #[test]
    fn permissions_are_the_owners_the_groups_or_everyones_and_never_several() {
        let file = Node::new(Kind::File(Content::new()), 0o640, &caller(5, 6), 0);
        let answers = [(5, 6, 6), (9, 6, 4), (9, 9, 0), (5, 9, 6), (0, 9, 6)];
        for (user, group, granted) in answers {
            for wanted in 0..8 {
                let answer = file.check(&caller(user, group), wanted);
                let expected = if wanted & !granted == 0 { Ok(()) } else { Err(Errno::EACCES) };
                assert_eq!(answer, expected, "{user} {group} {wanted}");
            }
        }
    }

    #[test]
    fn reading_a_directory_goes_on_behind_what_was_removed() {
        let mut directory = Directory::new(NodeId(1));
        for (name, node) in [(b"c", 10), (b"a", 11), (b"b", 12)] {
            directory.add(name, NodeId(node), false);
        }
        let (next, name, _) = directory.from(Directory::FIRST).next().unwrap();
        assert_eq!(name, b"c");
        directory.remove(b"c", false);
        directory.remove(b"a", false);
        directory.add(b"c", NodeId(13), false);
        let rest: std::vec::Vec<_> = directory.from(next).map(|(_, _, node)| node).collect();
        assert_eq!(rest, [NodeId(12), NodeId(13)]);
    }
}
