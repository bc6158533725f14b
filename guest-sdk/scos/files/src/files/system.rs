//! What the system itself puts into the tree: devices, the archive, files of its own making.

use alloc::collections::BTreeMap;

use super::{Caller, Files, NodeId, Place};
use crate::Errno;
use crate::abi::fcntl::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use crate::cpio::{Archive, Entry};
use crate::socket::Channels;
use crate::tree::{Content, Directory, Ending, Kind, Last, Node};

/// Numbers of devices: major << 8 | minor, as on Linux.
pub(super) mod number {
    /// Takes everything and gives nothing.
    pub(crate) const NULL: u32 = 0x103;
    /// Gives zeros.
    pub(crate) const ZERO: u32 = 0x105;
    /// Gives zeros and has no room.
    pub(crate) const FULL: u32 = 0x107;
    /// The terminal of the process.
    pub(crate) const TTY: u32 = 0x500;
    /// The system's console.
    pub(crate) const CONSOLE: u32 = 0x501;
}

/// What is in `/dev` from the beginning.
const DEVICES: [(&[u8], u32, u32); 5] = [
    (b"/dev/null", number::NULL, 0o666),
    (b"/dev/zero", number::ZERO, 0o666),
    (b"/dev/full", number::FULL, 0o666),
    (b"/dev/tty", number::TTY, 0o666),
    (b"/dev/console", number::CONSOLE, 0o620),
];

/// Where the files of areas are: as in `/tmp`, everyone's are their own.
pub(super) const AREAS: &[u8] = b"/areas";

/// The system, as one who makes files.
const SYSTEM: Caller = Caller { directory: NodeId(1), umask: 0, user: 0, group: 0 };

impl<C: Channels> Files<C> {
    pub(super) fn make_devices(&mut self) {
        // A limit of fewer names than these leaves some of them out.
        for (path, number, mode) in DEVICES {
            let _is_there = self.add_device(path, number, mode);
        }
        let _is_there = self.system_directory(b"/tmp", 0o1777);
        let _is_there = self.system_directory(b"/proc", 0o555);
        if self.channels.is_there() {
            let _is_there = self.system_directory(AREAS, 0o1777);
        }
    }

    /// A device that the kernel carries out itself ([`Files::device`]): made with its directories. The number is major << 8 | minor.
    ///
    /// # Errors
    /// EEXIST, ENOSPC, ENOTDIR.
    pub fn add_device(&mut self, path: &[u8], number: u32, mode: u32) -> Result<(), Errno> {
        let node = Node::new(Kind::Device(number), mode, &SYSTEM, self.now.realtime_ns);
        self.place_node(path, node).map(drop)
    }

    /// A file of the system's own making, as in `/proc`: made with its directories, or shown in the file that is there, since who reads the
    /// folder would meet a new one again and again. It takes nothing of the space for contents, and of the names those that are kept.
    ///
    /// # Errors
    /// ENOSPC if there is no name left, ENOTDIR, EISDIR.
    pub fn publish(&mut self, path: &[u8], contents: &[u8]) -> Result<(), Errno> {
        let kept = core::mem::take(&mut self.tree.kept_names);
        let published = self.show(path, Content::Shown(contents.into()));
        self.tree.kept_names = kept;
        published
    }

    fn show(&mut self, path: &[u8], shown: Content) -> Result<(), Errno> {
        let walked = self.tree.walk(&SYSTEM, self.system_place(path), Ending::Named);
        if let Ok((Some(id), parent, Last::Name(name))) =
            walked.map(|walked| (walked.node, walked.parent, walked.last))
        {
            if self.tree.node(id)?.is_directory() {
                return Err(Errno::EISDIR);
            }
            if let Ok((content, space)) = self.tree.content_mut(id) {
                // Somebody may have written to it.
                content.set_bytes(0, space)?;
                *content = shown;
                self.tree.node_mut(id)?.touch(self.now.realtime_ns);
                return Ok(());
            }
            self.tree.detach(parent, &name, self.now.realtime_ns)?;
        }
        let node = Node::new(Kind::File(shown), 0o444, &SYSTEM, self.now.realtime_ns);
        self.place_node(path, node).map(drop)
    }

    /// Takes a file away, or a directory with all that is in it.
    ///
    /// # Errors
    /// ENOENT, EBUSY for the root.
    pub fn retract(&mut self, path: &[u8]) -> Result<(), Errno> {
        let walked = self.tree.walk(&SYSTEM, self.system_place(path), Ending::Named)?;
        let Last::Name(name) = walked.last else { return Err(Errno::EBUSY) };
        let top = walked.node.ok_or(Errno::ENOENT)?;
        // The deepest first, without recursion: the depth is somebody else's.
        loop {
            let (mut parent, mut last, mut id) = (walked.parent, name.clone(), top);
            while let Some((inner, child)) = self.first_name(id) {
                (parent, last, id) = (id, inner, child);
            }
            self.tree.detach(parent, &last, self.now.realtime_ns)?;
            if id == top {
                return Ok(());
            }
        }
    }

    fn first_name(&self, id: NodeId) -> Option<(alloc::vec::Vec<u8>, NodeId)> {
        let directory = self.tree.node(id).ok()?.directory().ok()?;
        directory.from(Directory::FIRST).next().map(|(_, name, child)| (name.to_vec(), child))
    }

    /// Fills the tree from a cpio archive ("newc"), whose contents are not copied before they are written to: how many entries. What is
    /// there already stays if it is a directory and is replaced if not. Entries of other kinds are left out.
    ///
    /// # Errors
    /// EINVAL for what is no archive; ENOSPC, ENOTDIR; what came before it is in the tree.
    pub fn unpack(&mut self, archive: &'static [u8]) -> Result<usize, Errno> {
        let mut linked = BTreeMap::new();
        let mut count = 0_usize;
        for entry in Archive::new(archive) {
            self.unpack_entry(&entry?, &mut linked)?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    fn unpack_entry(
        &mut self,
        entry: &Entry,
        linked: &mut BTreeMap<(u32, u32, u32), NodeId>,
    ) -> Result<(), Errno> {
        let now_ns = u64::from(entry.written).saturating_mul(1_000_000_000);
        let kind = match entry.mode & S_IFMT {
            S_IFDIR => return self.unpack_directory(entry),
            S_IFREG => Kind::File(Content::Archived(entry.data)),
            S_IFLNK => Kind::Link(entry.data.into()),
            S_IFCHR => Kind::Device(entry.special),
            _ => return Ok(()),
        };
        let identity = (entry.device_major, entry.device_minor, entry.node);
        let path = rooted(entry.name);
        let known = linked.get(&identity).copied().filter(|_| entry.links > 1);
        // A file with several names has its contents with the last one.
        if let Some(id) = known {
            self.attach_system(&path, id)?;
            if !entry.data.is_empty() {
                let (content, _) = self.tree.content_mut(id)?;
                *content = Content::Archived(entry.data);
            }
            return Ok(());
        }
        if let Ok(walked) = self.tree.walk(&SYSTEM, self.system_place(&path), Ending::Named)
            && let (Some(_), Last::Name(name)) = (walked.node, &walked.last)
        {
            self.tree.detach(walked.parent, name, now_ns)?;
        }
        let mut node = Node::new(kind, entry.mode, &SYSTEM, now_ns);
        (node.user, node.group) = (entry.user, entry.group);
        let id = self.place_node(&path, node)?;
        linked.insert(identity, id);
        Ok(())
    }

    fn unpack_directory(&mut self, entry: &Entry) -> Result<(), Errno> {
        let id = self.system_directory(&rooted(entry.name), entry.mode)?;
        let node = self.tree.node_mut(id)?;
        node.mode = entry.mode & 0o7777;
        (node.user, node.group) = (entry.user, entry.group);
        Ok(())
    }

    pub(super) fn system_place<'p>(&self, path: &'p [u8]) -> Place<'p> {
        Place { from: self.tree.root(), path }
    }

    /// Puts a node where nothing is, and makes the directories on the way.
    fn place_node(&mut self, path: &[u8], node: Node) -> Result<NodeId, Errno> {
        let (parent, name) = self.system_parent(path)?;
        self.tree.insert(parent, name, node, self.now.realtime_ns)
    }

    fn attach_system(&mut self, path: &[u8], id: NodeId) -> Result<(), Errno> {
        let (parent, name) = self.system_parent(path)?;
        self.tree.attach(parent, name, id, self.now.realtime_ns)
    }

    /// The directory of a new name, and the name.
    fn system_parent<'p>(&mut self, path: &'p [u8]) -> Result<(NodeId, &'p [u8]), Errno> {
        let slash = path.iter().rposition(|byte| *byte == b'/').ok_or(Errno::EINVAL)?;
        let (above, name) = path.split_at_checked(slash).ok_or(Errno::EINVAL)?;
        let name = name.get(1..).unwrap_or(&[]);
        let parent = self.system_directory(above, 0o755)?;
        match self.tree.walk(&SYSTEM, Place { from: parent, path: name }, Ending::Named)?.new_name()
        {
            Ok(_) => Ok((parent, name)),
            Err(errno) => Err(errno),
        }
    }

    /// The directory at a path, made with those above it.
    pub(super) fn system_directory(&mut self, path: &[u8], mode: u32) -> Result<NodeId, Errno> {
        let mut at = self.tree.root();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            let walked =
                self.tree.walk(&SYSTEM, Place { from: at, path: part }, Ending::Followed)?;
            at = match (walked.node, &walked.last) {
                (Some(id), _) => {
                    self.tree.node(id)?.directory()?;
                    id
                }
                (None, Last::Name(name)) => {
                    let kind = Kind::Directory(Directory::new(walked.parent));
                    let node = Node::new(kind, mode, &SYSTEM, self.now.realtime_ns);
                    self.tree.insert(walked.parent, name, node, self.now.realtime_ns)?
                }
                (None, _) => return Err(Errno::ENOENT),
            };
        }
        Ok(at)
    }
}

/// A name of the archive as a path from the root.
fn rooted(name: &[u8]) -> alloc::vec::Vec<u8> {
    [b"/", name].concat()
}
