//! What client and server share.

use shikiri_rt::event::{self, Bound, ReceivePort, Sharing};
use shikiri_rt::gic;
use shikiri_test_guests::Failure;
pub(crate) use shikiri_test_guests::answers::{joined, made, refused, soon};
pub(crate) use shikiri_test_guests::interrupts::{came, count};

/// The interrupt for requests and answers.
pub(crate) const NOTICE: u32 = 64;
/// The first interrupt for events.
pub(crate) const EVENT: u32 = 65;

/// What the client may ask for: the service says what the server does.
pub(crate) mod service {
    /// Accept, and answer each event with one, by a connection that the server asks for.
    pub(crate) const ECHO: u32 = 1;
    /// The connection that the server asks for.
    pub(crate) const BACK: u32 = 2;
    /// Refuse.
    pub(crate) const REFUSE: u32 = 3;
    /// Take, and never answer.
    pub(crate) const KEEP: u32 = 4;
    /// Accept, and close the port at the first event.
    pub(crate) const CLOSE: u32 = 5;
    /// End the partition as soon as it is taken.
    pub(crate) const END: u32 = 6;
    /// Refuse, and then take nothing more, until the event of an earlier connection with `CLOSE`.
    pub(crate) const SLEEP: u32 = 7;
}

/// A port with an interrupt of its own, which is enabled.
pub(crate) fn port(intid: u32) -> Result<Bound, Failure> {
    let bound = joined(made(ReceivePort::new())?.bind(intid, Sharing::Alone))?;
    gic::enable(intid);
    Ok(bound)
}

/// The port for requests and answers.
pub(crate) fn notice() -> Result<Bound, Failure> {
    let port = port(NOTICE)?;
    made(event::notify(&port))?;
    Ok(port)
}
