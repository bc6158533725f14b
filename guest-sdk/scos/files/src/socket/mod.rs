//! A socket: a message port, or a service that is listened for (C6).
//!
//! ```text
//! New ──bind──▶ New (with a service) ──listen(n)──▶ Listening ──accept──▶ (another socket, Connected)
//!  │                                  ◀─listen(0)──
//!  └─connect─▶ Asking ──accepted──▶ Connected ──peer leaves, or shutdown──▶ Gone
//!                 └────refused─────▶ New (and why)
//! ```

mod channels;

use alloc::collections::VecDeque;

use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM};
use crate::abi::socket::{Form, Window};
use crate::area::AreaId;
use crate::wakes::Wakes;
use crate::{Errno, Key};

pub use channels::{Arrived, Channels, Connecting, NoChannels, Received, Refusal, Request};

/// The most requests that wait at a listening socket, whatever `listen` asks for.
pub(crate) const BACKLOG: usize = 64;

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) state: State,
    pub(crate) form: Form,
    pub(crate) window: Window,
    /// The service that it is bound to, or was accepted for.
    pub(crate) service: Option<u32>,
    /// Why connecting has failed, until it is told.
    pub(crate) error: Option<Errno>,
    /// Something to read, or to accept.
    pub(crate) readers: Key,
    /// Room to send, or the answer to a request.
    pub(crate) writers: Key,
}

/// How it stands with a socket.
#[derive(Debug)]
pub(crate) enum State {
    New,
    Listening(Listening),
    Asking {
        port: u64,
        peer: Peer,
    },
    Connected(Connected),
    /// It was connected, and its port is closed.
    Gone,
}

/// A socket that listens.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// How many requests may wait.
    pub(crate) backlog: usize,
    pub(crate) requests: VecDeque<Request>,
}

/// The other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The partition's number; [`crate::abi::socket::PARTITION_ANY`] if it is not known.
    pub(crate) partition: u16,
    /// The id of its life when it was connected.
    pub(crate) id: u32,
    pub(crate) service: u32,
    /// What it was called then: whoever has its number later is another.
    pub(crate) name: [u8; 32],
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) port: u64,
    pub(crate) peer: Peer,
    /// The next message, which was taken from the port.
    pub(crate) next: Option<Waiting>,
    /// The peer has gone, and all that it had sent was taken.
    pub(crate) is_ended: bool,
    /// Whoever waits in `connect` was not told yet.
    pub(crate) is_to_tell: bool,
    /// A send has found no room: there will be an event.
    pub(crate) is_full: bool,
    /// SHUT_RD, SHUT_WR.
    pub(crate) is_read_shut: bool,
    pub(crate) is_write_shut: bool,
}

/// A message that waits to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) area: Option<AreaId>,
    pub(crate) short: [u64; 3],
}

impl Socket {
    pub(crate) const fn new(wakes: &mut Wakes) -> Self {
        Self {
            state: State::New,
            form: Form::File,
            window: Window::NEW,
            service: None,
            error: None,
            readers: wakes.key(),
            writers: wakes.key(),
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// ENOTCONN.
    pub(crate) const fn connected(&self) -> Result<&Connected, Errno> {
        match &self.state {
            State::Connected(connected) => Ok(connected),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// ENOTCONN.
    pub(crate) const fn connected_mut(&mut self) -> Result<&mut Connected, Errno> {
        match &mut self.state {
            State::Connected(connected) => Ok(connected),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Its port, if it has one.
    pub(crate) const fn port(&self) -> Option<u64> {
        match &self.state {
            State::Asking { port, .. } => Some(*port),
            State::Connected(connected) => Some(connected.port),
            State::New | State::Listening(_) | State::Gone => None,
        }
    }

    /// Who is or was at the other end.
    pub(crate) const fn peer(&self) -> Option<Peer> {
        match &self.state {
            State::Connected(connected) => Some(connected.peer),
            _ => None,
        }
    }

    pub(crate) fn ready(&self) -> u16 {
        let error = if self.error.is_some() { POLLERR } else { 0 };
        error
            | match &self.state {
                State::New => POLLHUP | POLLOUT | POLLWRNORM,
                State::Listening(listening) if listening.requests.is_empty() => 0,
                State::Listening(_) => POLLIN | POLLRDNORM,
                State::Asking { .. } => 0,
                State::Connected(connected) => connected.ready(),
                State::Gone => POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP,
            }
    }

    pub(crate) const fn keys(&self) -> [Option<Key>; 2] {
        [Some(self.readers), Some(self.writers)]
    }
}

impl Connected {
    pub(crate) const fn new(port: u64, peer: Peer) -> Self {
        Self {
            port,
            peer,
            next: None,
            is_ended: false,
            is_to_tell: false,
            is_full: false,
            is_read_shut: false,
            is_write_shut: false,
        }
    }

    /// Nothing more comes.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.next.is_none() && (self.is_ended || self.is_read_shut)
    }

    const fn ready(&self) -> u16 {
        let is_over = self.is_ended || self.is_read_shut;
        let read = if self.next.is_some() || is_over { POLLIN | POLLRDNORM } else { 0 };
        let ended = if is_over { POLLRDHUP } else { 0 };
        // Who writes after the end is told at once.
        let written = if self.is_full && !self.is_ended { 0 } else { POLLOUT | POLLWRNORM };
        let hung_up = if self.is_ended { POLLHUP } else { 0 };
        read | ended | written | hung_up
    }
}

impl Refusal {
    /// As a system call tells it.
    pub(crate) const fn errno(self) -> Errno {
        match self {
            Self::Full => Errno::EAGAIN,
            Self::PeerGone => Errno::EHOSTDOWN,
            Self::Refused => Errno::ECONNREFUSED,
            Self::NotPermitted => Errno::EACCES,
            Self::OverLimit => Errno::ENOBUFS,
            Self::NoMemory => Errno::ENOMEM,
            Self::Range => Errno::EMSGSIZE,
            Self::Other => Errno::EIO,
        }
    }
}
