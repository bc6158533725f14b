//! `socketpair`: two descriptions, each of which reads what is written to the other.

use super::{DescriptionId, Files};
use crate::Errno;
use crate::abi::fcntl::{O_NONBLOCK, O_RDWR};
use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM};
use crate::abi::socket::{
    AF_UNIX, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM,
};
use crate::description::{Description, What};
use crate::pipe::End;
use crate::socket::Channels;

/// One end of a pair: the pipes that it reads from and writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl<C: Channels> Files<C> {
    /// A pair of connected stream sockets of AF_UNIX. SOCK_CLOEXEC is [`Files::install`]'s.
    ///
    /// # Errors
    /// EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL; ENFILE.
    pub fn socketpair(
        &mut self,
        family: u32,
        kind: u32,
        protocol: u32,
    ) -> Result<(DescriptionId, DescriptionId), Errno> {
        if family != AF_UNIX {
            return Err(Errno::EAFNOSUPPORT);
        }
        if kind & !(0xf | SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
            return Err(Errno::EINVAL);
        }
        if kind & 0xf != SOCK_STREAM {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if protocol != 0 {
            return Err(Errno::EPROTONOSUPPORT);
        }
        self.check_room(2)?;
        // Numbers of descriptions are never used twice: those of both ends name the pipes.
        let (one, other) = (self.next, self.next.saturating_add(1));
        for number in [one, other] {
            self.add_pipe(number);
        }
        let flags = if kind & SOCK_NONBLOCK == 0 { O_RDWR } else { O_RDWR | O_NONBLOCK };
        let end = |from, to| Description::new(What::Pair(Pair { from, to }), None, flags);
        Ok((self.add(end(one, other))?, self.add(end(other, one))?))
    }

    /// Whether it is a socket, of whichever family.
    #[must_use]
    pub fn is_socket(&self, id: DescriptionId) -> bool {
        self.description(id).is_ok_and(|it| matches!(it.what, What::Socket(_) | What::Pair(_)))
    }

    /// What could be done at an end. As Linux has it for sockets: the end of what comes can be read, and is told by POLLRDHUP as well.
    pub(super) fn pair_ready(&self, pair: Pair) -> u16 {
        let from = self.pipes.get(&pair.from).map_or(POLLHUP, |pipe| pipe.ready(End::Read));
        let to = self.pipes.get(&pair.to).map_or(POLLERR, |pipe| pipe.ready(End::Write));
        let (has_ended, is_deaf) = (from & POLLHUP != 0, to & POLLERR != 0);
        let mut ready = from & (POLLIN | POLLRDNORM) | to & (POLLOUT | POLLWRNORM);
        if has_ended {
            ready |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if is_deaf {
            ready |= POLLOUT | POLLWRNORM;
        }
        if has_ended && is_deaf { ready | POLLHUP } else { ready }
    }

    /// Closes an end, or one direction of it.
    pub(super) fn close_pair(&mut self, Pair { from, to }: Pair) {
        self.close_pipe(from, End::Read);
        self.close_pipe(to, End::Write);
    }

    /// `shutdown` of an end: what it has written can still be read.
    ///
    /// # Errors
    /// EINVAL.
    pub(super) fn shut_pair(&mut self, Pair { from, to }: Pair, how: u32) -> Result<(), Errno> {
        let (is_read, is_write) = match how {
            SHUT_RD => (true, false),
            SHUT_WR => (false, true),
            SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        if is_write {
            self.close_pipe(to, End::Write);
        }
        if is_read {
            // Who writes to it is told, and so is who reads from it.
            self.close_pipe(from, End::Read);
            if let Some(pipe) = self.pipes.get_mut(&from) {
                pipe.close(End::Write, &mut self.wakes);
            }
        }
        Ok(())
    }
}
