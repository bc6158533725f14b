//! Opening files, and what else makes a description: pipes, event counters, timers.

use super::system::number;
use super::{Caller, DescriptionId, Files, NodeId, Place};
use crate::Errno;
use crate::abi::fcntl::{
    O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY,
    O_RDWR, O_TRUNC, O_WRONLY, R_OK, W_OK,
};
use crate::abi::time::Itimerspec;
use crate::counter::{Counter, EFD_SEMAPHORE};
use crate::description::{Description, What};
use crate::pipe::End;
use crate::socket::Channels;
use crate::timer::Timer;
use crate::tree::{Content, Ending, Kind, Last, Node, Walked};

impl<C: Channels> Files<C> {
    /// Opens a file (`openat`): `flags` of [`crate::abi::fcntl`] (O_CLOEXEC is [`Files::install`]'s), `mode` for what is made.
    ///
    /// # Errors
    /// As open(2) has them: ENOENT, EEXIST, EACCES, EISDIR, ENOTDIR, ELOOP, ENAMETOOLONG, ENOSPC, EINVAL; ENFILE.
    pub fn open(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        flags: u32,
        mode: u32,
    ) -> Result<DescriptionId, Errno> {
        self.check_room(1)?;
        let wanted = wanted(flags)?;
        if flags & O_PATH != 0 {
            return self.open_path(caller, place, flags);
        }
        let is_made = flags & O_CREAT != 0;
        let is_new = is_made && flags & O_EXCL != 0;
        let ending = if is_new {
            Ending::Named
        } else if flags & O_NOFOLLOW != 0 {
            Ending::Looked
        } else {
            Ending::Followed
        };
        let walked = self.tree.walk(caller, place, ending)?;
        if is_made && walked.is_directory_meant {
            return Err(Errno::EISDIR);
        }
        let id = match walked.node {
            Some(_) if is_new => return Err(Errno::EEXIST),
            Some(id) => self.check_open(caller, id, &walked, flags, wanted)?,
            None if is_made => self.make_file(caller, &walked, mode)?,
            None => return Err(Errno::ENOENT),
        };
        let what = self.what_of(id)?;
        if let (What::File, true) = (&what, flags & O_TRUNC != 0) {
            self.cut(id, 0)?;
        }
        self.add(Description::new(what, Some(id), flags))
    }

    fn open_path(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        flags: u32,
    ) -> Result<DescriptionId, Errno> {
        let id = self.tree.find(caller, place, flags & O_NOFOLLOW == 0)?;
        if flags & O_DIRECTORY != 0 {
            self.tree.node(id)?.directory()?;
        }
        self.add(Description::new(What::Path, Some(id), 0))
    }

    /// What has to be so for a node to be opened.
    fn check_open(
        &self,
        caller: &Caller,
        id: NodeId,
        walked: &Walked,
        flags: u32,
        wanted: u32,
    ) -> Result<NodeId, Errno> {
        let node = self.tree.node(id)?;
        let is_directory = node.is_directory();
        if matches!(node.kind, Kind::Link(_)) {
            return Err(Errno::ELOOP);
        }
        if is_directory && (wanted & W_OK != 0 || flags & O_CREAT != 0) {
            return Err(Errno::EISDIR);
        }
        if !is_directory && (flags & O_DIRECTORY != 0 || walked.is_directory_meant) {
            return Err(Errno::ENOTDIR);
        }
        node.check(caller, wanted)?;
        Ok(id)
    }

    fn make_file(&mut self, caller: &Caller, walked: &Walked, mode: u32) -> Result<NodeId, Errno> {
        let Last::Name(name) = &walked.last else { return Err(Errno::EISDIR) };
        self.check_directory(caller, walked.parent)?;
        let now_ns = self.now.realtime_ns;
        let node = Node::new(Kind::File(Content::new()), mode & !caller.umask, caller, now_ns);
        self.tree.insert(walked.parent, name, node, now_ns)
    }

    /// What a description of a node is.
    fn what_of(&self, id: NodeId) -> Result<What, Errno> {
        Ok(match &self.tree.node(id)?.kind {
            Kind::File(_) | Kind::Area(_) => What::File,
            Kind::Directory(_) => What::Directory,
            Kind::Link(_) => What::Path,
            Kind::Device(number::NULL) => What::Null,
            Kind::Device(number::ZERO) => What::Zero,
            Kind::Device(number::FULL) => What::Full,
            Kind::Device(number::TTY | number::CONSOLE) => What::Terminal,
            Kind::Device(other) => What::Device(*other),
        })
    }

    /// A pipe (`pipe2`): the end for reading and the one for writing. Flags: O_NONBLOCK; O_CLOEXEC is [`Files::install`]'s.
    ///
    /// # Errors
    /// EINVAL for other flags; ENFILE.
    pub fn pipe(&mut self, flags: u32) -> Result<(DescriptionId, DescriptionId), Errno> {
        check_flags(flags, O_NONBLOCK | O_CLOEXEC)?;
        self.check_room(2)?;
        let number = self.next;
        self.add_pipe(number);
        let flags = flags & O_NONBLOCK;
        let read = Description::new(What::Pipe(number, End::Read), None, flags | O_RDONLY);
        let write = Description::new(What::Pipe(number, End::Write), None, flags | O_WRONLY);
        Ok((self.add(read)?, self.add(write)?))
    }

    /// An event counter (`eventfd2`). Flags: EFD_SEMAPHORE (1), O_NONBLOCK; O_CLOEXEC is [`Files::install`]'s.
    ///
    /// # Errors
    /// EINVAL for other flags; ENFILE.
    pub fn eventfd(&mut self, initial: u32, flags: u32) -> Result<DescriptionId, Errno> {
        check_flags(flags, EFD_SEMAPHORE | O_NONBLOCK | O_CLOEXEC)?;
        let is_semaphore = flags & EFD_SEMAPHORE != 0;
        let counter = Counter::new(u64::from(initial), is_semaphore, &mut self.wakes);
        self.add(Description::new(What::Counter(counter), None, flags & O_NONBLOCK | O_RDWR))
    }

    /// A timer. Flags: O_NONBLOCK; O_CLOEXEC is [`Files::install`]'s.
    ///
    /// # Errors
    /// EINVAL for other flags or an unknown clock; ENFILE.
    pub fn timerfd_create(&mut self, clock: u32, flags: u32) -> Result<DescriptionId, Errno> {
        check_flags(flags, O_NONBLOCK | O_CLOEXEC)?;
        let timer = Timer::new(clock, &mut self.wakes)?;
        let flags = flags & O_NONBLOCK | O_RDWR;
        let id = self.add(Description::new(What::Timer(timer), None, flags))?;
        self.timers.insert(id);
        Ok(id)
    }

    /// Sets a timer: the former setting is the answer.
    ///
    /// # Errors
    /// EINVAL for unknown flags or what is no timer.
    pub fn timerfd_settime(
        &mut self,
        id: DescriptionId,
        flags: u32,
        new: Itimerspec,
    ) -> Result<Itimerspec, Errno> {
        let now = self.now;
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        match &mut description.what {
            What::Timer(timer) => timer.set(flags, new, now, &mut self.wakes),
            _ => Err(Errno::EINVAL),
        }
    }

    /// How a timer is set.
    ///
    /// # Errors
    /// EINVAL for what is no timer.
    pub fn timerfd_gettime(&self, id: DescriptionId) -> Result<Itimerspec, Errno> {
        match &self.description(id)?.what {
            What::Timer(timer) => Ok(timer.get(self.now)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What has to be permitted for these flags.
fn wanted(flags: u32) -> Result<u32, Errno> {
    let cut = if flags & O_TRUNC != 0 { W_OK } else { 0 };
    if flags & O_CREAT != 0 && flags & O_DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    match flags & O_ACCMODE {
        O_RDONLY => Ok(R_OK | cut),
        O_WRONLY => Ok(W_OK),
        O_RDWR => Ok(R_OK | W_OK),
        _ => Err(Errno::EINVAL),
    }
}

fn check_flags(flags: u32, known: u32) -> Result<(), Errno> {
    if flags & !known == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}
