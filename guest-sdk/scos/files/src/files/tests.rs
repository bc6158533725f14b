//! The calls as programs see them.

mod epoll;
mod names;
mod open;
mod process;
mod ready;
mod sockets;
mod system;
mod transfer;

use super::{Caller, DescriptionId, Files, Limits, NodeId, Now, Place};
use crate::abi::fcntl::{O_CREAT, O_EXCL, O_RDWR, O_WRONLY};
use crate::socket::Channels;
use crate::{Answer, Errno, Step};
use std::vec;
use std::vec::Vec;

pub(in crate::files) const LIMITS: Limits =
    Limits { bytes: 64 * 4096, nodes: 64, kept_names: 0, descriptions: 16 };

pub(super) const ROOT: Caller = Caller { directory: NodeId(1), umask: 0o022, user: 0, group: 0 };

pub(super) const USER: Caller = Caller { user: 5, group: 6, ..ROOT };

pub(super) fn files() -> Files {
    let mut files = Files::new(LIMITS);
    files.set_now(Now { monotonic_ns: 1, realtime_ns: 9_000_000_000 });
    files
}

/// From the root.
pub(super) fn at(path: &str) -> Place<'_> {
    Place { from: NodeId(1), path: path.as_bytes() }
}

pub(super) fn done<T>(answer: Answer<T>) -> Result<T, Errno> {
    answer.map(|step| match step {
        Step::Done(done) => done,
        Step::Wait(key) => panic!("waits for {key:?}"),
    })
}

impl<C: Channels> Files<C> {
    pub(super) fn opened(&mut self, path: &str, flags: u32) -> Result<DescriptionId, Errno> {
        self.open(&ROOT, at(path), flags, 0o666)
    }

    /// Makes a file of these bytes.
    pub(super) fn made(&mut self, path: &str, data: &[u8]) -> NodeId {
        let id = self.opened(path, O_CREAT | O_EXCL | O_WRONLY).unwrap();
        assert_eq!(done(self.write(id, None, data)), Ok(data.len()));
        let node = self.description(id).unwrap().node.unwrap();
        self.release(id);
        node
    }

    pub(super) fn read_all(&mut self, id: DescriptionId) -> Result<Vec<u8>, Errno> {
        let mut all = Vec::new();
        loop {
            let mut out = vec![0; 100];
            match done(self.read(id, None, &mut out))? {
                0 => return Ok(all),
                count => all.extend(&out[..count]),
            }
        }
    }

    pub(super) fn contents(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let id = self.opened(path, O_RDWR)?;
        let all = self.read_all(id);
        self.release(id);
        all
    }

    /// Everything back: no description, no pipe.
    pub(super) fn is_closed(&self) -> bool {
        self.descriptions.is_empty() && self.pipes.is_empty()
    }
}
