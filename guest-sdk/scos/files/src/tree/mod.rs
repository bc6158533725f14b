//! The tree of files in memory.
//!
//! Whoever names something gets its [`NodeId`], which is never used again: a directory that was removed under somebody's feet is
//! not found any more. A file that was removed stays as long as it is open. Contents are charged in blocks ([`Space`]); each name
//! counts as one of [`crate::Limits::nodes`].

mod content;
mod node;
mod walk;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub(crate) use content::{Content, LONGEST, Space};
pub(crate) use node::{Directory, Kind, Node};
pub(crate) use walk::{Ending, Last, Walked};

use crate::{Caller, Errno, NodeId};

/// The most names of one node.
const MOST_NAMES: u32 = 65_000;

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    pub(crate) space: Space,
    next: u64,
    all_names: u32,
    free_names: u32,
    /// Those that only the system takes.
    pub(crate) kept_names: u32,
}

/// The root's number.
const ROOT: NodeId = NodeId(1);

impl Tree {
    /// A root, and room for so many names, some of which are kept for the system, and bytes.
    pub(crate) fn new(names: u32, kept_names: u32, bytes: u64) -> Self {
        let caller = Caller { directory: ROOT, umask: 0, user: 0, group: 0 };
        let mut root = Node::new(Kind::Directory(Directory::new(ROOT)), 0o755, &caller, 0);
        root.names = 1;
        let nodes = BTreeMap::from([(ROOT, root)]);
        let space = Space::new(bytes);
        Self { nodes, space, next: 2, all_names: names, free_names: names, kept_names }
    }

    #[expect(clippy::unused_self, reason = "whose root it is")]
    pub(crate) const fn root(&self) -> NodeId {
        ROOT
    }

    /// Names that there may be, and those that are free.
    pub(crate) const fn names(&self) -> (u32, u32) {
        (self.all_names, self.free_names)
    }

    /// A node.
    ///
    /// # Errors
    /// ENOENT.
    pub(crate) fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::ENOENT)
    }

    /// A node.
    ///
    /// # Errors
    /// ENOENT.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::ENOENT)
    }

    /// A file's contents, and the space that they take.
    ///
    /// # Errors
    /// EINVAL for what has none.
    pub(crate) fn content_mut(&mut self, id: NodeId) -> Result<(&mut Content, &mut Space), Errno> {
        match &mut self.nodes.get_mut(&id).ok_or(Errno::ENOENT)?.kind {
            Kind::File(content) => Ok((content, &mut self.space)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Puts a new node into a directory, under a name that is not there.
    ///
    /// # Errors
    /// ENOSPC, ENOENT; nothing has changed then.
    pub(crate) fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        node: Node,
        now_ns: u64,
    ) -> Result<NodeId, Errno> {
        let blocks = node.blocks();
        self.space.take(blocks)?;
        let id = NodeId(self.next);
        self.nodes.insert(id, node);
        if let Err(errno) = self.attach(parent, name, id, now_ns) {
            self.nodes.remove(&id);
            self.space.give(blocks);
            return Err(errno);
        }
        self.next = self.next.saturating_add(1);
        Ok(id)
    }

    /// Gives a node a name in a directory where the name is not there.
    ///
    /// # Errors
    /// ENOSPC, ENOENT, ENOTDIR, EMLINK; nothing has changed then.
    pub(crate) fn attach(
        &mut self,
        parent: NodeId,
        name: &[u8],
        id: NodeId,
        now_ns: u64,
    ) -> Result<(), Errno> {
        let is_directory = self.node(id)?.is_directory();
        let into = self.node(parent)?;
        into.directory()?;
        if into.names == 0 {
            // It was removed, and is open still.
            return Err(Errno::ENOENT);
        }
        if self.node(id)?.names >= MOST_NAMES {
            return Err(Errno::EMLINK);
        }
        let is_left = self.free_names > self.kept_names;
        self.free_names =
            self.free_names.checked_sub(1).filter(|_| is_left).ok_or(Errno::ENOSPC)?;
        let into = self.node_mut(parent)?;
        into.directory_mut()?.add(name, id, is_directory);
        into.touch(now_ns);
        let node = self.node_mut(id)?;
        node.names = node.names.saturating_add(1);
        node.changed_ns = now_ns;
        if let Kind::Directory(directory) = &mut node.kind {
            directory.parent = parent;
        }
        Ok(())
    }

    /// Takes a name away. The node goes with its last name, unless it is open.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub(crate) fn detach(&mut self, parent: NodeId, name: &[u8], now_ns: u64) -> Result<(), Errno> {
        let id = self.unname(parent, name, now_ns)?;
        self.drop_unused(id);
        Ok(())
    }

    /// Takes a name away, and keeps the node.
    pub(crate) fn unname(
        &mut self,
        parent: NodeId,
        name: &[u8],
        now_ns: u64,
    ) -> Result<NodeId, Errno> {
        let id = self.node(parent)?.directory()?.get(name).ok_or(Errno::ENOENT)?;
        let is_directory = self.node(id)?.is_directory();
        let from = self.node_mut(parent)?;
        from.directory_mut()?.remove(name, is_directory);
        from.touch(now_ns);
        self.free_names = self.free_names.saturating_add(1);
        let node = self.node_mut(id)?;
        node.names = node.names.saturating_sub(1);
        node.changed_ns = now_ns;
        Ok(id)
    }

    /// One more description has it open.
    pub(crate) fn hold(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.opens = node.opens.saturating_add(1);
        }
    }

    /// One fewer: it goes if it has no name either.
    pub(crate) fn release(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.opens = node.opens.saturating_sub(1);
        }
        self.drop_unused(id);
    }

    fn drop_unused(&mut self, id: NodeId) {
        let is_unused = self.nodes.get(&id).is_some_and(|node| node.names == 0 && node.opens == 0);
        if let Some(node) = is_unused.then(|| self.nodes.remove(&id)).flatten() {
            self.space.give(node.blocks());
        }
    }

    /// The path of a directory.
    ///
    /// # Errors
    /// ENOENT if it was removed.
    pub(crate) fn path_of(&self, directory: NodeId) -> Result<Vec<u8>, Errno> {
        let mut parts = Vec::new();
        let mut at = directory;
        if self.node(at)?.names == 0 {
            return Err(Errno::ENOENT);
        }
        while at != ROOT {
            let parent = self.node(at)?.directory()?.parent;
            let entries = self.node(parent)?.directory()?;
            let mut names = entries.from(Directory::FIRST);
            let (_, name, _) = names.find(|(_, _, node)| *node == at).ok_or(Errno::ENOENT)?;
            parts.push(name);
            at = parent;
        }
        let path: Vec<u8> =
            parts.into_iter().rev().flat_map(|part| [b"/".as_slice(), part].concat()).collect();
        Ok(if path.is_empty() { b"/".to_vec() } else { path })
    }

    /// Whether a directory is another one or lies below it.
    pub(crate) fn is_within(&self, directory: NodeId, other: NodeId) -> bool {
        let mut at = directory;
        while at != other {
            let parent = self.node(at).and_then(|node| Ok(node.directory()?.parent));
            match parent {
                Ok(parent) if at != ROOT => at = parent,
                _ => return false,
            }
        }
        true
    }
}
