//! Open file descriptions: what several descriptors may share.

use alloc::boxed::Box;

use crate::abi::fcntl::{O_ACCMODE, O_APPEND, O_NONBLOCK, O_RDONLY, O_WRONLY};
use crate::counter::Counter;
use crate::epoll::Epoll;
use crate::files::Pair;
use crate::pipe::End;
use crate::socket::Socket;
use crate::timer::Timer;
use crate::{Answer, Errno, NodeId, Step};

/// A description.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) what: What,
    /// The node that it was opened by; it is held.
    pub(crate) node: Option<NodeId>,
    /// The access mode, and what F_SETFL changes.
    pub(crate) flags: u32,
    pub(crate) position: u64,
    /// How many have it.
    pub(crate) references: u32,
}

/// What is open.
#[derive(Debug)]
pub(crate) enum What {
    File,
    Directory,
    /// A place in the tree (O_PATH).
    Path,
    Null,
    Zero,
    /// Zeros, and no room.
    Full,
    Terminal,
    /// A device that the kernel carries out itself.
    Device(u32),
    Pipe(u64, End),
    Counter(Counter),
    Timer(Timer),
    Socket(Box<Socket>),
    Pair(Pair),
    Epoll(Box<Epoll>),
}

/// Flags that a description keeps.
const KEPT: u32 = O_ACCMODE | SETTABLE;

/// Flags that F_SETFL changes.
const SETTABLE: u32 = O_APPEND | O_NONBLOCK;

impl Description {
    /// One that nobody has yet but who made it.
    pub(crate) const fn new(what: What, node: Option<NodeId>, flags: u32) -> Self {
        Self { what, node, flags: flags & KEPT, position: 0, references: 1 }
    }

    /// # Errors
    /// EBADF if it is not open for reading.
    pub(crate) const fn check_readable(&self) -> Result<(), Errno> {
        let is_path = matches!(self.what, What::Path);
        if self.flags & O_ACCMODE == O_WRONLY || is_path { Err(Errno::EBADF) } else { Ok(()) }
    }

    /// # Errors
    /// EBADF if it is not open for writing.
    pub(crate) const fn check_writable(&self) -> Result<(), Errno> {
        let is_path = matches!(self.what, What::Path);
        if self.flags & O_ACCMODE == O_RDONLY || is_path { Err(Errno::EBADF) } else { Ok(()) }
    }

    pub(crate) const fn is_non_blocking(&self) -> bool {
        self.flags & O_NONBLOCK != 0
    }

    /// Changes what F_SETFL changes.
    pub(crate) const fn set_flags(&mut self, flags: u32) {
        self.flags = self.flags & !SETTABLE | flags & SETTABLE;
    }

    /// EAGAIN instead of waiting, in non-blocking mode.
    pub(crate) fn waiting<T>(&self, answer: Answer<T>) -> Answer<T> {
        match answer {
            Ok(Step::Wait(_)) if self.is_non_blocking() => Err(Errno::EAGAIN),
            answer => answer,
        }
    }
}
