//! A connected message port.

use shikiri_hvc::talk::Handle;

use crate::area::Area;
use crate::port::{Owned, Port};
use crate::wait::Wait;

/// A connected message port. Dropped, it is closed and its peer told; areas that came to it and were received stay, others are freed.
#[derive(Debug)]
pub struct Channel(pub(crate) Owned);

/// A message that was received.
#[derive(Debug)]
pub struct Message {
    /// The area, if one came with it. Dropped, it is freed.
    pub area: Option<Area>,
    /// The short message.
    pub short: [u64; 3],
}

/// The peer has closed its port or has ended, and all that it had sent was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerGone;

impl Channel {
    /// Whether the peer is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.home.peer().is_there
    }

    /// Says how messages are waited for from here on: it is a word in the port's page, and an interrupt for the vCPU that may sleep, if that
    /// is another one. Who waits already looks again, and goes on as is said here. Futures have no form of their own for [`Wait::Event`]:
    /// they look again and again.
    pub fn set_wait(&self, wait: Wait) {
        self.0.home.set_polls(wait == Wait::Event);
        self.wake();
    }

    /// Its handle in calls.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.0.handle
    }

    /// The port, to be connected again, once the peer has gone; what is left of its messages is dropped. A channel whose peer is
    /// still there comes back, with its messages.
    ///
    /// # Errors
    /// The channel.
    pub fn into_port(self) -> Result<Port, Self> {
        // What a peer has sent that is still there is not thrown away.
        if self.is_connected() {
            return Err(self);
        }
        loop {
            match self.try_receive() {
                Ok(Some(_message)) => {}
                Ok(None) => return Err(self),
                Err(PeerGone) => return Ok(Port(self.0)),
            }
        }
    }
}
