//! All that is open, and the calls on it.
//!
//! One file for each topic: names in the tree ([`names`]), opening ([`open`]), descriptors of a process ([`process`]), reading and writing
//! ([`transfer`]), readiness ([`ready`]), controls ([`control`]), what the system itself puts into the tree ([`system`]); sockets
//! ([`sockets`]) and the areas that are read from and written to them ([`areas`]).

mod areas;
mod control;
mod epoll;
mod names;
mod open;
mod pair;
mod pay;
mod process;
mod ready;
mod sockets;
mod system;
#[cfg(test)]
mod tests;
mod transfer;

use alloc::collections::{BTreeMap, BTreeSet};

use crate::area::{AreaId, Areas};
use crate::description::{Description, What};
use crate::number::wide;
use crate::pipe::{End, Pipe};
use crate::socket::{Arrived, Channels, NoChannels};
use crate::tree::Tree;
use crate::tty::Terminal;
use crate::wakes::Wakes;
use crate::{Errno, Key};

pub use areas::Message;
pub use epoll::Looks;
pub(crate) use pair::Pair;

pub use crate::abi::ioctl::Transfer;

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
    /// Bytes of files' contents, in blocks of 4096. What is read from the archive takes none.
    pub bytes: u64,
    /// Names in the tree.
    pub nodes: u32,
    /// Those of them that only what the system publishes can take.
    pub kept_names: u32,
    /// Descriptions, each with its pipe, timer or whatever it is.
    pub descriptions: u32,
}

/// What of a file can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mappable {
    /// A file's contents, to be copied with [`Files::read`]: private mappings only.
    Copy,
    /// An area: its own pages, for shared mappings. Told to [`Files::map_area`] when it is done, and taken away as [`Files::revoked`] says.
    Area(AreaId, Arrived),
}

/// All open descriptions, the tree of files, pipes and the console: one for the whole system.
#[derive(Debug)]
pub struct Files<C = NoChannels> {
    tree: Tree,
    descriptions: BTreeMap<DescriptionId, Description>,
    pipes: BTreeMap<u64, Pipe>,
    terminal: Terminal,
    wakes: Wakes,
    now: Now,
    next: u64,
    most_descriptions: u32,
    channels: C,
    areas: Areas,
    /// Those that are timers.
    timers: BTreeSet<DescriptionId>,
    /// Whose each port is.
    ports: BTreeMap<u64, DescriptionId>,
    /// Those that are lists of `epoll`.
    lists: BTreeSet<DescriptionId>,
    /// How many descriptors they watch together.
    watches: usize,
    /// Who pays for what is made.
    payer: u32,
}

impl Files {
    /// A tree with `/dev` (console, tty, null, zero, full), `/tmp` and `/proc`, and nothing open. There are no sockets.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_channels(limits, NoChannels)
    }
}

impl<C: Channels> Files<C> {
    /// The same with sockets, and `/areas` for the files of areas.
    #[must_use]
    pub fn with_channels(limits: Limits, channels: C) -> Self {
        let mut wakes = Wakes::default();
        let mut files = Self {
            tree: Tree::new(limits.nodes, limits.kept_names, limits.bytes),
            descriptions: BTreeMap::new(),
            pipes: BTreeMap::new(),
            terminal: Terminal::new(&mut wakes),
            wakes,
            now: Now::default(),
            next: 1,
            most_descriptions: limits.descriptions,
            channels,
            areas: Areas::default(),
            timers: BTreeSet::new(),
            ports: BTreeMap::new(),
            lists: BTreeSet::new(),
            watches: 0,
            payer: 0,
        };
        files.make_devices();
        files
    }

    /// What time it is: to be told at each system call and timer interrupt. Wakes who waits for a timer that has expired.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
        self.terminal.pass(now, &mut self.wakes);
        for id in &self.timers {
            let description = self.descriptions.get_mut(id);
            if let Some(Description { what: What::Timer(timer), .. }) = description {
                timer.pass(now, &mut self.wakes);
            }
        }
    }

    /// Who calls, and pays for the pipes and lists of `epoll` that it makes as long as they are there: to be told before each system call.
    pub const fn set_payer(&mut self, payer: u32) {
        self.payer = payer;
    }

    /// When the next timer expires, on the monotonic clock: the latest time for the next [`Files::set_now`].
    #[must_use]
    pub fn next_alarm(&self) -> Option<u64> {
        let timers = self.timers.iter().filter_map(|id| self.descriptions.get(id));
        let alarms = timers.filter_map(|description| match &description.what {
            What::Timer(timer) => timer.alarm(),
            _ => None,
        });
        alarms.chain(self.terminal.alarm()).min()
    }

    /// The next key whose waiters are to try again, until there is none.
    pub fn woken(&mut self) -> Option<Key> {
        if self.watches > 0 {
            self.note_woken();
        }
        self.wakes.take()
    }

    /// Takes up a description.
    ///
    /// # Errors
    /// ENFILE: [`Files::check_room`] comes first where something is made with it.
    fn add(&mut self, description: Description) -> Result<DescriptionId, Errno> {
        self.check_room(1)?;
        if let Some(node) = description.node {
            self.tree.hold(node);
        }
        let id = DescriptionId(self.next);
        self.next = self.next.saturating_add(1);
        self.descriptions.insert(id, description);
        Ok(id)
    }

    /// # Errors
    /// ENFILE if there is no room for so many descriptions.
    fn check_room(&self, count: u64) -> Result<(), Errno> {
        let then = wide(self.descriptions.len()).saturating_add(count);
        if then <= u64::from(self.most_descriptions) { Ok(()) } else { Err(Errno::ENFILE) }
    }

    fn description(&self, id: DescriptionId) -> Result<&Description, Errno> {
        self.descriptions.get(&id).ok_or(Errno::EBADF)
    }

    fn description_mut(&mut self, id: DescriptionId) -> Result<&mut Description, Errno> {
        self.descriptions.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// One more that has a description.
    pub fn retain(&mut self, id: DescriptionId) {
        if let Some(description) = self.descriptions.get_mut(&id) {
            description.references = description.references.saturating_add(1);
        }
    }

    /// Whether more than one have a description.
    #[must_use]
    pub fn is_shared(&self, id: DescriptionId) -> bool {
        self.descriptions.get(&id).is_some_and(|description| description.references > 1)
    }

    /// One fewer; with the last one it goes.
    pub fn release(&mut self, id: DescriptionId) {
        let Some(description) = self.descriptions.get_mut(&id) else { return };
        description.references = description.references.saturating_sub(1);
        if description.references > 0 {
            return;
        }
        let Some(gone) = self.descriptions.remove(&id) else { return };
        if let Some(node) = gone.node {
            self.tree.release(node);
        }
        if self.watches > 0 {
            self.forget_watched(id);
        }
        match gone.what {
            What::Pair(pair) => self.close_pair(pair),
            What::Epoll(list) => {
                self.lists.remove(&id);
                self.watches = self.watches.saturating_sub(list.len());
            }
            What::Pipe(number, end) => self.close_pipe(number, end),
            What::Socket(socket) => self.close_socket(id, *socket),
            What::Timer(_) => {
                self.timers.remove(&id);
            }
            _ => {}
        }
    }

    fn close_pipe(&mut self, number: u64, end: End) {
        let pipe = self.pipes.get_mut(&number);
        if pipe.is_some_and(|pipe| pipe.close(end, &mut self.wakes)) {
            self.pipes.remove(&number);
        }
    }
}
