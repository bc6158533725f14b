//! Names in the tree, and what is told about and changed at nodes by their names.

use alloc::vec::Vec;

use super::{Caller, DescriptionId, Files, NodeId, Place};
use crate::Errno;
use crate::abi::fcntl::{PATH_MAX, R_OK, RENAME_NOREPLACE, W_OK, X_OK};
use crate::abi::stat::{Stat, StatFs};
use crate::description::What;
use crate::socket::Channels;
use crate::tree::{Directory, Ending, Kind, Last, Node, Walked};

/// Files in this directory are removed by their owners only.
const S_ISVTX: u32 = 0o1000;

impl<C: Channels> Files<C> {
    /// The root.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        self.tree.root()
    }

    /// The directory that is open (`dirfd`, `fchdir`).
    ///
    /// # Errors
    /// EBADF; ENOTDIR if it is something else.
    pub fn directory(&self, id: DescriptionId) -> Result<NodeId, Errno> {
        let description = self.description(id)?;
        match (&description.what, description.node) {
            (What::Directory | What::Path, Some(node)) => {
                self.tree.node(node)?.directory()?;
                Ok(node)
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The directory at a place (`chdir`).
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EACCES and others of a path.
    pub fn enter(&self, caller: &Caller, place: Place<'_>) -> Result<NodeId, Errno> {
        let id = self.tree.find(caller, place, true)?;
        let node = self.tree.node(id)?;
        node.directory()?;
        node.check(caller, X_OK)?;
        Ok(id)
    }

    /// The path of a directory (`getcwd`), without the byte that ends it.
    ///
    /// # Errors
    /// ENOENT if it was removed; ENAMETOOLONG.
    pub fn path_of(&self, directory: NodeId) -> Result<Vec<u8>, Errno> {
        let path = self.tree.path_of(directory)?;
        if path.len() < PATH_MAX { Ok(path) } else { Err(Errno::ENAMETOOLONG) }
    }

    /// What is told about a file (`fstatat`); of a symbolic link itself if it is not followed.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EACCES and others of a path.
    pub fn stat(
        &self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
    ) -> Result<Stat, Errno> {
        let id = self.tree.find(caller, place, is_followed)?;
        self.stat_of(id)
    }

    /// What is told about a node.
    pub(super) fn stat_of(&self, id: NodeId) -> Result<Stat, Errno> {
        let node = self.tree.node(id)?;
        let area = node.area().and_then(|area| self.areas.get(area).ok());
        let stat = node.stat(id);
        Ok(area.map_or(stat, |area| Stat { bytes: area.place.bytes, ..stat }))
    }

    /// What is told about the file system.
    #[must_use]
    pub const fn statfs(&self) -> StatFs {
        let (blocks, free_blocks) = self.tree.space.state();
        let (nodes, free_nodes) = self.tree.names();
        #[expect(clippy::as_conversions, reason = "widening, in a constant function")]
        StatFs { blocks, free_blocks, nodes: nodes as u64, free_nodes: free_nodes as u64 }
    }

    /// Whether the caller may do this (`faccessat`): R_OK, W_OK, X_OK.
    ///
    /// # Errors
    /// EACCES if not; EINVAL; ENOENT and others of a path.
    pub fn access(&self, caller: &Caller, place: Place<'_>, wanted: u32) -> Result<(), Errno> {
        if wanted & !(R_OK | W_OK | X_OK) != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.tree.find(caller, place, true)?;
        self.tree.node(id)?.check(caller, wanted)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// EEXIST, EACCES, ENOSPC, ENOENT and others of a path.
    pub fn mkdir(&mut self, caller: &Caller, place: Place<'_>, mode: u32) -> Result<(), Errno> {
        let walked = self.tree.walk(caller, place, Ending::Named)?;
        let kind = Kind::Directory(Directory::new(walked.parent));
        self.make(caller, &walked, kind, mode & !caller.umask & 0o1777)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// ENOENT for an empty target, ENAMETOOLONG; EEXIST, EACCES, ENOSPC and others of a path.
    pub fn symlink(
        &mut self,
        caller: &Caller,
        target: &[u8],
        place: Place<'_>,
    ) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let walked = self.tree.walk(caller, place, Ending::Named)?;
        if walked.is_directory_meant {
            return Err(walked.new_name().err().unwrap_or(Errno::ENOENT));
        }
        self.make(caller, &walked, Kind::Link(target.into()), 0o777)
    }

    fn make(
        &mut self,
        caller: &Caller,
        walked: &Walked,
        kind: Kind,
        mode: u32,
    ) -> Result<(), Errno> {
        let name = walked.new_name()?;
        self.check_directory(caller, walked.parent)?;
        let now_ns = self.now.realtime_ns;
        self.tree.insert(walked.parent, name, Node::new(kind, mode, caller, now_ns), now_ns)?;
        Ok(())
    }

    /// # Errors
    /// EACCES if the caller may not change what is in the directory.
    pub(super) fn check_directory(&self, caller: &Caller, id: NodeId) -> Result<(), Errno> {
        self.tree.node(id)?.check(caller, W_OK | X_OK)
    }

    /// Gives a file one more name; of a symbolic link itself if it is not followed.
    ///
    /// # Errors
    /// EPERM for a directory and for an area's file; EEXIST, EACCES, ENOSPC, EMLINK and others of a path.
    pub fn link(
        &mut self,
        caller: &Caller,
        from: Place<'_>,
        to: Place<'_>,
        is_followed: bool,
    ) -> Result<(), Errno> {
        let id = self.tree.find(caller, from, is_followed)?;
        let walked = self.tree.walk(caller, to, Ending::Named)?;
        let name = walked.new_name()?;
        if walked.is_directory_meant {
            return Err(Errno::ENOENT);
        }
        self.check_directory(caller, walked.parent)?;
        let node = self.tree.node(id)?;
        // An area's file has one name, with which the area goes.
        if node.is_directory() || node.area().is_some() {
            return Err(Errno::EPERM);
        }
        self.tree.attach(walked.parent, name, id, self.now.realtime_ns)
    }

    /// Reads a symbolic link.
    ///
    /// # Errors
    /// EINVAL for something else; ENOENT and others of a path.
    pub fn readlink(&self, caller: &Caller, place: Place<'_>) -> Result<Vec<u8>, Errno> {
        let id = self.tree.find(caller, place, false)?;
        match &self.tree.node(id)?.kind {
            Kind::Link(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Takes a name away. The file goes with its last name, as soon as it is not open any more; an area's file goes at once, and the
    /// message is discarded.
    ///
    /// # Errors
    /// EISDIR for a directory; EACCES, EPERM, ENOENT and others of a path.
    pub fn unlink(&mut self, caller: &Caller, place: Place<'_>) -> Result<(), Errno> {
        let walked = self.tree.walk(caller, place, Ending::Named)?;
        let Last::Name(name) = &walked.last else { return Err(Errno::EISDIR) };
        let id = walked.node.ok_or(Errno::ENOENT)?;
        self.check_removal(caller, walked.parent, id)?;
        if self.tree.node(id)?.is_directory() {
            return Err(Errno::EISDIR);
        }
        if walked.is_directory_meant {
            return Err(Errno::ENOTDIR);
        }
        self.detach_file(walked.parent, name, id)
    }

    /// Takes a file's name away. An area goes with its name, even if it is open or mapped.
    fn detach_file(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), Errno> {
        let area = self.tree.node(id)?.area();
        self.tree.detach(parent, name, self.now.realtime_ns)?;
        if let Some(area) = area {
            self.discard(area);
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOTEMPTY, ENOTDIR, EINVAL for `.`, EBUSY for the root; EACCES, EPERM, ENOENT and others of a path.
    pub fn rmdir(&mut self, caller: &Caller, place: Place<'_>) -> Result<(), Errno> {
        let walked = self.tree.walk(caller, place, Ending::Named)?;
        let name = match &walked.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        let id = walked.node.ok_or(Errno::ENOENT)?;
        self.check_removal(caller, walked.parent, id)?;
        self.check_empty(id)?;
        self.tree.detach(walked.parent, name, self.now.realtime_ns)
    }

    fn check_empty(&self, id: NodeId) -> Result<(), Errno> {
        if self.tree.node(id)?.directory()?.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
    }

    /// # Errors
    /// EACCES; EPERM if only the owner may and the caller is not.
    pub(super) fn check_removal(
        &self,
        caller: &Caller,
        parent: NodeId,
        id: NodeId,
    ) -> Result<(), Errno> {
        self.check_directory(caller, parent)?;
        let parent = self.tree.node(parent)?;
        if parent.mode & S_ISVTX == 0 || parent.check_owner(caller).is_ok() {
            return Ok(());
        }
        self.tree.node(id)?.check_owner(caller)
    }

    /// Gives a node another name, over what has it (`renameat2`). Flags: RENAME_NOREPLACE.
    ///
    /// # Errors
    /// As rename(2) has them: EEXIST, EINVAL, EISDIR, ENOTDIR, ENOTEMPTY, EBUSY, EACCES, EPERM, ENOENT and others of a path.
    pub fn rename(
        &mut self,
        caller: &Caller,
        from: Place<'_>,
        to: Place<'_>,
        flags: u32,
    ) -> Result<(), Errno> {
        if flags & !RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let old = self.tree.walk(caller, from, Ending::Named)?;
        let new = self.tree.walk(caller, to, Ending::Named)?;
        let (Last::Name(old_name), Last::Name(new_name)) = (&old.last, &new.last) else {
            return Err(Errno::EBUSY);
        };
        let id = old.node.ok_or(Errno::ENOENT)?;
        if new.node.is_some() && flags & RENAME_NOREPLACE != 0 {
            return Err(Errno::EEXIST);
        }
        let is_directory_meant = old.is_directory_meant || new.is_directory_meant;
        if is_directory_meant && !self.tree.node(id)?.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if new.node == Some(id) {
            return Ok(());
        }
        self.check_rename(caller, id, &old, &new)?;
        let now_ns = self.now.realtime_ns;
        if let Some(over) = new.node {
            self.detach_file(new.parent, new_name, over)?;
        }
        self.tree.unname(old.parent, old_name, now_ns)?;
        self.tree.attach(new.parent, new_name, id, now_ns)
    }

    /// All that can be refused, so that what follows cannot fail half-way.
    fn check_rename(
        &self,
        caller: &Caller,
        id: NodeId,
        old: &Walked,
        new: &Walked,
    ) -> Result<(), Errno> {
        let is_directory = self.tree.node(id)?.is_directory();
        if is_directory && self.tree.is_within(new.parent, id) {
            return Err(Errno::EINVAL);
        }
        self.check_removal(caller, old.parent, id)?;
        match new.node {
            Some(over) => {
                self.check_replaced(caller, is_directory, old.parent, new.parent, over)?
            }
            None => self.check_directory(caller, new.parent)?,
        }
        if is_directory && old.parent != new.parent {
            // Its ".." changes.
            self.tree.node(id)?.check(caller, W_OK)?;
        }
        if self.tree.node(new.parent)?.names == 0 { Err(Errno::ENOENT) } else { Ok(()) }
    }

    fn check_replaced(
        &self,
        caller: &Caller,
        is_directory: bool,
        from: NodeId,
        parent: NodeId,
        over: NodeId,
    ) -> Result<(), Errno> {
        self.check_removal(caller, parent, over)?;
        let over_directory = self.tree.node(over)?.is_directory();
        match (is_directory, over_directory) {
            // What is replaced holds what replaces it: it is not empty.
            (_, true) if self.tree.is_within(from, over) => Err(Errno::ENOTEMPTY),
            (true, true) => self.check_empty(over),
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (false, false) => Ok(()),
        }
    }

    /// Makes a file so long.
    ///
    /// # Errors
    /// EISDIR, EINVAL, EACCES, EFBIG, ENOSPC; ENOENT and others of a path.
    pub fn truncate(&mut self, caller: &Caller, place: Place<'_>, bytes: u64) -> Result<(), Errno> {
        let id = self.tree.find(caller, place, true)?;
        let node = self.tree.node(id)?;
        if node.is_directory() {
            return Err(Errno::EISDIR);
        }
        node.check(caller, W_OK)?;
        self.cut(id, bytes)
    }

    /// Makes a file so long: what is added is 0.
    pub(super) fn cut(&mut self, id: NodeId, bytes: u64) -> Result<(), Errno> {
        if let Some(area) = self.tree.node(id)?.area() {
            return self.cut_area(area, bytes);
        }
        let (content, space) = self.tree.content_mut(id)?;
        content.set_bytes(bytes, space)?;
        let now_ns = self.now.realtime_ns;
        self.tree.node_mut(id)?.touch(now_ns);
        Ok(())
    }

    /// Changes permissions (`fchmodat`).
    ///
    /// # Errors
    /// EPERM; ENOENT and others of a path.
    pub fn chmod(&mut self, caller: &Caller, place: Place<'_>, mode: u32) -> Result<(), Errno> {
        let id = self.tree.find(caller, place, true)?;
        self.change_mode(caller, id, mode)
    }

    /// Changes permissions of what is open.
    ///
    /// # Errors
    /// EPERM; EINVAL for what is in no tree; EBADF.
    pub fn fchmod(&mut self, caller: &Caller, id: DescriptionId, mode: u32) -> Result<(), Errno> {
        let node = self.node_of(id)?;
        self.change_mode(caller, node, mode)
    }

    fn change_mode(&mut self, caller: &Caller, id: NodeId, mode: u32) -> Result<(), Errno> {
        let now_ns = self.now.realtime_ns;
        let node = self.tree.node_mut(id)?;
        node.check_owner(caller)?;
        node.mode = mode & 0o7777;
        node.changed_ns = now_ns;
        Ok(())
    }

    /// Changes owner and group (`fchownat`); `None` leaves it as it is.
    ///
    /// # Errors
    /// EPERM for who may not do everything; ENOENT and others of a path.
    pub fn chown(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(), Errno> {
        let id = self.tree.find(caller, place, is_followed)?;
        self.change_owner(caller, id, user, group)
    }

    /// Changes owner and group of what is open.
    ///
    /// # Errors
    /// EPERM for who may not do everything; EINVAL for what is in no tree; EBADF.
    pub fn fchown(
        &mut self,
        caller: &Caller,
        id: DescriptionId,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(), Errno> {
        let node = self.node_of(id)?;
        self.change_owner(caller, node, user, group)
    }

    fn change_owner(
        &mut self,
        caller: &Caller,
        id: NodeId,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(), Errno> {
        let now_ns = self.now.realtime_ns;
        let node = self.tree.node_mut(id)?;
        if caller.user != 0 {
            return Err(Errno::EPERM);
        }
        node.user = user.unwrap_or(node.user);
        node.group = group.unwrap_or(node.group);
        node.changed_ns = now_ns;
        Ok(())
    }

    /// Sets the times of reading and writing (`utimensat`), in nanoseconds of the time of day; `None` leaves one as it is. Reading does
    /// not set the first.
    ///
    /// # Errors
    /// EPERM; ENOENT and others of a path.
    pub fn set_times(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
        times_ns: [Option<u64>; 2],
    ) -> Result<(), Errno> {
        let id = self.tree.find(caller, place, is_followed)?;
        self.change_times(caller, id, times_ns)
    }

    /// Sets the times of what is open.
    ///
    /// # Errors
    /// EPERM; EINVAL for what is in no tree; EBADF.
    pub fn set_times_of(
        &mut self,
        caller: &Caller,
        id: DescriptionId,
        times_ns: [Option<u64>; 2],
    ) -> Result<(), Errno> {
        let node = self.node_of(id)?;
        self.change_times(caller, node, times_ns)
    }

    fn change_times(
        &mut self,
        caller: &Caller,
        id: NodeId,
        times_ns: [Option<u64>; 2],
    ) -> Result<(), Errno> {
        let now_ns = self.now.realtime_ns;
        let node = self.tree.node_mut(id)?;
        node.check_owner(caller)?;
        let [read_ns, written_ns] = times_ns;
        node.read_ns = read_ns.unwrap_or(node.read_ns);
        node.written_ns = written_ns.unwrap_or(node.written_ns);
        node.changed_ns = now_ns;
        Ok(())
    }

    fn node_of(&self, id: DescriptionId) -> Result<NodeId, Errno> {
        let description = self.description(id)?;
        if matches!(description.what, What::Path) {
            return Err(Errno::EBADF);
        }
        description.node.ok_or(Errno::EINVAL)
    }
}
