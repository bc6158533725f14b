//! From a path to a node (path_resolution(7)).

use alloc::vec::Vec;

use super::{Kind, Tree};
use crate::abi::fcntl::{NAME_MAX, PATH_MAX, X_OK};
use crate::{Caller, Errno, NodeId, Place};

/// The most symbolic links on the way.
const MOST_LINKS: u32 = 40;

/// Where a path has led.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The directory where its last part is looked up.
    pub(crate) parent: NodeId,
    /// That part.
    pub(crate) last: Last,
    /// What is there, if anything is.
    pub(crate) node: Option<NodeId>,
    /// Whether it ended in `/`: only a directory will do.
    pub(crate) is_directory_meant: bool,
}

/// What becomes of a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is followed.
    Followed,
    /// It is followed only if a directory is meant (`link/`).
    Looked,
    /// It is what is meant, whatever follows it: for what changes names.
    Named,
}

/// The last part of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Last {
    Name(Vec<u8>),
    Dot,
    DotDot,
    Root,
}

impl Ending {
    const fn follows(self, is_directory_meant: bool) -> bool {
        match self {
            Self::Followed => true,
            Self::Looked => is_directory_meant,
            Self::Named => false,
        }
    }
}

impl Walked {
    /// The name, for whoever makes one.
    ///
    /// # Errors
    /// EEXIST: a path that is no name is always there.
    pub(crate) fn new_name(&self) -> Result<&[u8], Errno> {
        match (&self.last, self.node) {
            (Last::Name(name), None) => Ok(name),
            _ => Err(Errno::EEXIST),
        }
    }
}

impl Tree {
    /// Follows a path.
    ///
    /// # Errors
    /// ENOENT for an empty path or one through what is not there; ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
    pub(crate) fn walk(
        &self,
        caller: &Caller,
        place: Place<'_>,
        ending: Ending,
    ) -> Result<Walked, Errno> {
        if place.path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if place.path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut at = self.start(place.path, place.from);
        let mut path = place.path.to_vec();
        let mut links = 0_u32;
        loop {
            let (part, rest) = split(&path);
            let is_last = rest.iter().all(|byte| *byte == b'/');
            let is_directory_meant = is_last && !rest.is_empty();
            let child = self.step(caller, at, part)?;
            let target = child.and_then(|child| self.target(child));
            match target {
                Some(target) if !is_last || ending.follows(is_directory_meant) => {
                    links = links.saturating_add(1);
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    at = self.start(target, at);
                    path = [target, rest].concat();
                }
                _ if is_last => {
                    return Ok(Walked {
                        parent: at,
                        last: last(part),
                        node: child,
                        is_directory_meant,
                    });
                }
                _ => {
                    at = child.ok_or(Errno::ENOENT)?;
                    path = rest.to_vec();
                }
            }
        }
    }

    /// The node at the end of a path.
    ///
    /// # Errors
    /// As [`Tree::walk`]; ENOENT, ENOTDIR.
    pub(crate) fn find(
        &self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
    ) -> Result<NodeId, Errno> {
        let ending = if is_followed { Ending::Followed } else { Ending::Looked };
        let walked = self.walk(caller, place, ending)?;
        let id = walked.node.ok_or(Errno::ENOENT)?;
        if walked.is_directory_meant {
            self.node(id)?.directory()?;
        }
        Ok(id)
    }

    fn start(&self, path: &[u8], from: NodeId) -> NodeId {
        if path.starts_with(b"/") { self.root() } else { from }
    }

    /// What is in a directory under this name.
    fn step(&self, caller: &Caller, at: NodeId, part: &[u8]) -> Result<Option<NodeId>, Errno> {
        let node = self.node(at)?;
        let directory = node.directory()?;
        node.check(caller, X_OK)?;
        if part.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(match part {
            b"" | b"." => Some(at),
            b".." => Some(directory.parent),
            name => directory.get(name),
        })
    }

    fn target(&self, id: NodeId) -> Option<&[u8]> {
        match &self.node(id).ok()?.kind {
            Kind::Link(target) => Some(target),
            _ => None,
        }
    }
}

/// The first part of a path, and what follows it, with its `/`.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let first = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let path = path.get(first..).unwrap_or(&[]);
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, &[]))
}

fn last(part: &[u8]) -> Last {
    match part {
        b"" => Last::Root,
        b"." => Last::Dot,
        b".." => Last::DotDot,
        name => Last::Name(name.to_vec()),
    }
}
