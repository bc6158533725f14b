//! Reading, writing and seeking.

use super::pair::Pair;
use super::{DescriptionId, Files, Mappable, NodeId};
use crate::abi::fcntl::{
    O_ACCMODE, O_APPEND, O_RDWR, S_IFIFO, S_IFSOCK, SEEK_CUR, SEEK_END, SEEK_SET,
};
use crate::abi::stat::{Stat, put_dirent};
use crate::description::{Description, What};
use crate::number::wide;
use crate::socket::Channels;
use crate::tree::{Content, Directory, Kind, LONGEST};
use crate::{Answer, Errno, Step};

impl<C: Channels> Files<C> {
    /// Reads; with `at` from there, and the position stays (`pread`). 0 is the end.
    ///
    /// # Errors
    /// EBADF, EISDIR, EINVAL; ESPIPE with `at` for what has no position; EAGAIN in non-blocking mode.
    pub fn read(&mut self, id: DescriptionId, at: Option<u64>, out: &mut [u8]) -> Answer<usize> {
        let now = self.now;
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        description.check_readable()?;
        check_position(description, at)?;
        let answer = match &mut description.what {
            What::File => return self.read_file(id, at, out).map(Step::Done),
            What::Directory => Err(Errno::EISDIR),
            What::Null => Ok(Step::Done(0)),
            What::Zero | What::Full => {
                out.fill(0);
                Ok(Step::Done(out.len()))
            }
            What::Terminal => self.terminal.read(out, now),
            What::Pipe(number, _) => {
                self.pipes.get_mut(number).ok_or(Errno::EBADF)?.read(out, &mut self.wakes)
            }
            // What was shut is at its end.
            What::Pair(Pair { from, .. }) => match self.pipes.get_mut(from) {
                Some(pipe) => pipe.read(out, &mut self.wakes),
                None => Ok(Step::Done(0)),
            },
            What::Counter(counter) => counter.read(out, &mut self.wakes),
            What::Timer(timer) => timer.read(out),
            // A socket's messages are [`Files::receive`]'s.
            What::Path | What::Device(_) | What::Socket(_) | What::Epoll(_) => Err(Errno::EINVAL),
        };
        description.waiting(answer)
    }

    /// Writes; with `at` there, and the position stays (`pwrite`). Fewer bytes than there are, of a pipe or terminal that is not in
    /// non-blocking mode: the kernel goes on with the rest, and tells the sum if a signal comes in between.
    ///
    /// # Errors
    /// EPIPE: the kernel raises SIGPIPE. EBADF, EINVAL, ENOSPC, EFBIG; ESPIPE with `at` for what has no position; EAGAIN in
    /// non-blocking mode.
    pub fn write(&mut self, id: DescriptionId, at: Option<u64>, data: &[u8]) -> Answer<usize> {
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        description.check_writable()?;
        check_position(description, at)?;
        let answer = match &mut description.what {
            What::File => return self.write_file(id, at, data).map(Step::Done),
            What::Null | What::Zero => Ok(Step::Done(data.len())),
            What::Full => Err(Errno::ENOSPC),
            What::Terminal => self.terminal.write(data),
            What::Pipe(number, _) => {
                self.pipes.get_mut(number).ok_or(Errno::EBADF)?.write(data, &mut self.wakes)
            }
            What::Pair(Pair { to, .. }) => match self.pipes.get_mut(to) {
                Some(pipe) => pipe.write(data, &mut self.wakes),
                None => Err(Errno::EPIPE),
            },
            What::Counter(counter) => counter.write(data, &mut self.wakes),
            What::Timer(_)
            | What::Path
            | What::Directory
            | What::Device(_)
            | What::Socket(_)
            | What::Epoll(_) => Err(Errno::EINVAL),
        };
        description.waiting(answer)
    }

    fn read_file(
        &mut self,
        id: DescriptionId,
        at: Option<u64>,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        let (node, position) = self.file(id)?;
        let start = at.unwrap_or(position);
        let count = match &self.tree.node(node)?.kind {
            Kind::File(content) => content.read(start, out),
            Kind::Area(area) => self.read_area(*area, start, out)?,
            _ => return Err(Errno::EINVAL),
        };
        self.advance(id, at, position, count)
    }

    fn write_file(
        &mut self,
        id: DescriptionId,
        at: Option<u64>,
        data: &[u8],
    ) -> Result<usize, Errno> {
        let is_appended = self.description(id)?.flags & O_APPEND != 0;
        let (node, position) = self.file(id)?;
        let now_ns = self.now.realtime_ns;
        let end = self.stat_of(node)?.bytes;
        let start = if is_appended { end } else { at.unwrap_or(position) };
        let count = match self.tree.node(node)?.area() {
            Some(area) => self.write_area(area, start, data)?,
            None => {
                let (content, space) = self.tree.content_mut(node)?;
                content.write(start, data, space)?
            }
        };
        if count > 0 {
            self.tree.node_mut(node)?.touch(now_ns);
        }
        self.advance(id, at, start, count)
    }

    /// The node and the position of an open file.
    fn file(&self, id: DescriptionId) -> Result<(NodeId, u64), Errno> {
        let description = self.description(id)?;
        Ok((description.node.ok_or(Errno::EBADF)?, description.position))
    }

    /// Moves the position behind what was read or written, unless it was said where.
    fn advance(
        &mut self,
        id: DescriptionId,
        at: Option<u64>,
        start: u64,
        count: usize,
    ) -> Result<usize, Errno> {
        if at.is_none() {
            self.description_mut(id)?.position = start.saturating_add(wide(count));
        }
        Ok(count)
    }

    /// Sets the position (`lseek`); where it is then.
    ///
    /// # Errors
    /// ESPIPE for what has none; EINVAL for a position that is none or for an unknown `whence`.
    pub fn seek(&mut self, id: DescriptionId, offset: i64, whence: u32) -> Result<u64, Errno> {
        let description = self.description(id)?;
        let end = match description.what {
            What::File => {
                let node = description.node.ok_or(Errno::EBADF)?;
                self.check_area(node)?;
                self.stat_of(node)?.bytes
            }
            What::Directory => LONGEST,
            What::Null | What::Zero | What::Full => return Ok(0),
            What::Path => return Err(Errno::EBADF),
            _ => return Err(Errno::ESPIPE),
        };
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => description.position,
            SEEK_END => end,
            _ => return Err(Errno::EINVAL),
        };
        let position = base.checked_add_signed(offset).filter(|position| *position <= LONGEST);
        let position = position.ok_or(Errno::EINVAL)?;
        self.description_mut(id)?.position = position;
        Ok(position)
    }

    /// Reads a directory: how many bytes of `struct linux_dirent64`; 0 at the end.
    ///
    /// # Errors
    /// ENOTDIR; EINVAL if not even one entry fits; ENOENT for one that was removed.
    pub fn getdents64(&mut self, id: DescriptionId, out: &mut [u8]) -> Result<usize, Errno> {
        let description = self.description(id)?;
        let (What::Directory, Some(node)) = (&description.what, description.node) else {
            return Err(Errno::ENOTDIR);
        };
        let open = self.tree.node(node)?;
        if open.names == 0 {
            return Err(Errno::ENOENT);
        }
        let directory = open.directory()?;
        let dots = [(b".".as_slice(), node), (b"..".as_slice(), directory.parent)];
        let dots = (1_u64..).zip(dots).map(|(next, (name, node))| (next, name, node));
        let entries = dots.chain(directory.from(Directory::FIRST.max(description.position)));
        let mut position = description.position;
        let mut used = 0_usize;
        for (next, name, child) in entries.filter(|(next, ..)| *next > description.position) {
            let mode = self.tree.node(child)?.stat(child).mode;
            let rest = out.get_mut(used..).unwrap_or(&mut []);
            let Some(bytes) = put_dirent(rest, child.0, next, mode, name) else {
                if used == 0 {
                    return Err(Errno::EINVAL);
                }
                break;
            };
            used = used.saturating_add(bytes);
            position = next;
        }
        self.description_mut(id)?.position = position;
        Ok(used)
    }

    /// What is told about what is open.
    ///
    /// # Errors
    /// EBADF.
    pub fn fstat(&self, id: DescriptionId) -> Result<Stat, Errno> {
        let description = self.description(id)?;
        if let Some(node) = description.node {
            return self.stat_of(node);
        }
        let mode = match description.what {
            What::Pipe(..) => S_IFIFO | 0o600,
            What::Socket(_) | What::Pair(_) => S_IFSOCK | 0o777,
            _ => 0o600,
        };
        Ok(Stat { node: id.0, mode, links: 1, ..Stat::default() })
    }

    /// Makes an open file so long.
    ///
    /// # Errors
    /// EBADF, EINVAL for what is no file or not open for writing, EFBIG, ENOSPC.
    pub fn ftruncate(&mut self, id: DescriptionId, bytes: u64) -> Result<(), Errno> {
        let description = self.description(id)?;
        let (What::File, Some(node)) = (&description.what, description.node) else {
            return Err(Errno::EINVAL);
        };
        description.check_writable().map_err(|_| Errno::EINVAL)?;
        self.cut(node, bytes)
    }

    /// What a mapping of it would be; `is_shared` with MAP_SHARED, `is_written` with PROT_WRITE.
    ///
    /// # Errors
    /// ENODEV for what cannot be mapped so; EACCES if it is not open for it; ESTALE for an area that has gone; EBADF.
    pub fn mappable(
        &self,
        id: DescriptionId,
        is_shared: bool,
        is_written: bool,
    ) -> Result<Mappable, Errno> {
        let description = self.description(id)?;
        description.check_readable().map_err(|_| Errno::EACCES)?;
        if !matches!(description.what, What::File) {
            return Err(Errno::ENODEV);
        }
        let area = match description.node {
            Some(node) => self.tree.node(node)?.area(),
            None => None,
        };
        if let Some(area) = area {
            self.areas.get(area)?;
        }
        if is_shared && is_written && description.flags & O_ACCMODE != O_RDWR {
            return Err(Errno::EACCES);
        }
        match area {
            Some(area) if is_shared => Ok(Mappable::Area(area, self.areas.get(area)?.place)),
            None if is_shared && is_written => Err(Errno::ENODEV),
            _ => Ok(Mappable::Copy),
        }
    }

    /// The contents, if they are as the archive has them: a program can be loaded from there.
    #[must_use]
    pub fn archived(&self, id: DescriptionId) -> Option<&'static [u8]> {
        let node = self.description(id).ok()?.node?;
        match &self.tree.node(node).ok()?.kind {
            Kind::File(Content::Archived(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

/// # Errors
/// ESPIPE for a position where there is none.
fn check_position(description: &Description, at: Option<u64>) -> Result<(), Errno> {
    match description.what {
        _ if at.is_none() => Ok(()),
        What::Pipe(..)
        | What::Terminal
        | What::Counter(_)
        | What::Timer(_)
        | What::Socket(_)
        | What::Pair(_)
        | What::Epoll(_) => Err(Errno::ESPIPE),
        _ if at > Some(LONGEST) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
