//! Another partition, which sends back what children send it: the test guest `messages`.

use std::io::{Error, Result};

use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, Message, Socket};

/// Its name, its service that sends messages back, and the one where the message 1 ends it.
const NAME: &str = "echo";
const ECHO: u32 = 1;
const SILENT: u32 = 2;

/// The channel of the child that is next, or none without such a partition.
pub(crate) struct Peer {
    is_there: bool,
    socket: Option<Socket>,
}

impl Peer {
    pub(crate) fn find() -> Self {
        let answer = Socket::new(0).and_then(|socket| socket.connect(Address::of(NAME, ECHO)));
        let is_there = answer.err().and_then(|error| error.raw_os_error());
        Self { is_there: is_there != Some(libc::EHOSTUNREACH), socket: None }
    }

    pub(crate) const fn is_none(&self) -> bool {
        !self.is_there
    }

    /// The descriptor of a new channel; no descriptor without the partition. The former channel may be in any state, and holds areas.
    pub(crate) fn tend(&mut self) -> u64 {
        self.socket = None;
        if !self.is_there {
            return u64::MAX;
        }
        let socket = connected(ECHO);
        if let Err(error) = socket.set_non_blocking() {
            holds(&format!("the_channel_does_not_wait: {error}"), false);
        }
        let number = socket.number();
        self.socket = Some(socket);
        u64::try_from(number).unwrap_or(u64::MAX)
    }

    /// It still sends back what it is sent; then it is told to end.
    pub(crate) fn end(self) {
        if !self.is_there {
            return;
        }
        drop(self.socket);
        let answer = echoed(&connected(ECHO)).map(|message| (message.short, message.bytes));
        equal("the_peer_answers", answer.ok(), Some(([8, 1, 1], 64)));
        // What is left behind it does not read: its end is waited for.
        let last = connected(SILENT);
        let answer = last.send(&Message::short([1, 0, 0])).and_then(|()| last.receive());
        equal("and_ends_when_it_is_told", answer.ok(), Some(None));
    }
}

/// A message with an area, sent back; the area is discarded.
fn echoed(socket: &Socket) -> Result<Message> {
    let message = socket.make(64)?;
    socket.send(&Message { short: [7, 0, 0], ..message })?;
    let message = socket.receive()?.ok_or_else(|| Error::other("the peer has gone"))?;
    std::fs::remove_file(&message.name)?;
    Ok(message)
}

/// A channel to a service, however often it is asked for: what a child has asked for may be served first, or last.
fn connected(service: u32) -> Socket {
    loop {
        let Ok(socket) = Socket::new(0) else { continue };
        if socket.connect(Address::of(NAME, service)).is_ok() {
            return socket;
        }
    }
}
