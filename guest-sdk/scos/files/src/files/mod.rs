//! All that is open, and the calls on it.

mod skeleton;

use crate::Key;

/// A description: what `open` and its like make, and descriptors share. A number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DescriptionId(pub(crate) u64);

/// A node of the tree. A number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u64);

impl NodeId {
    /// As `st_ino` tells it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What time it is, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the system has started.
    pub monotonic_ns: u64,
    /// Since 1970.
    pub realtime_ns: u64,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its working directory.
    pub directory: NodeId,
    /// Permissions that what it makes does not get.
    pub umask: u32,
    /// Who it is; 0 may do everything.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

/// Where a path is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// Where a path that does not begin with `/` begins: [`Caller::directory`] for AT_FDCWD, else [`Files::directory`].
    pub from: NodeId,
    /// The path, without the byte that ends it.
    pub path: &'p [u8],
}

/// A signal for a process group, from a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The process group; never 0.
    pub group: u32,
    /// The signal's number.
    pub number: u8,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of files' contents, in blocks of 4096.
    pub bytes: u64,
    /// Nodes of the tree.
    pub nodes: u32,
    /// Descriptions, each with its pipe, timer or whatever it is.
    pub descriptions: u32,
}

/// What of a file can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mappable {
    /// A file's contents, to be copied with [`Files::read`]: private mappings only.
    Copy,
}

/// All open descriptions, the tree of files, pipes and the console: one for the whole system.
#[derive(Debug)]
pub struct Files {
    woken: Option<Key>,
}

pub use crate::abi::ioctl::Transfer;
