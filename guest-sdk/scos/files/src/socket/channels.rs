//! What a socket needs of the hypervisor: its calls about channels and areas, and a look at what has come.

use crate::abi::socket::Window;

/// The hypervisor as the sockets see it. The kernel implements it by hypercalls, the tests by a hypervisor of their own.
///
/// Nothing here waits. When something has happened at a port the kernel calls [`crate::Files::port_event`], and
/// [`crate::Files::signal_event`] for requests: both come by interrupts, once for what has happened since the last look.
pub trait Channels {
    /// Whether there is a hypervisor with these calls.
    fn is_there(&self) -> bool;

    /// The next request for a channel, if there is one. What asks for something else is the implementation's business.
    ///
    /// # Errors
    /// [`Refusal::OverLimit`] if there is no handle left for it: it waits.
    fn take_request(&mut self) -> Result<Option<Request>, Refusal>;

    /// Refuses a request that was taken.
    fn refuse(&mut self, request: u64);

    /// Makes a port that offers to take messages as its window says; its number, never 0.
    ///
    /// # Errors
    /// [`Refusal::OverLimit`], [`Refusal::NoMemory`].
    fn create(&mut self, window: Window) -> Result<u64, Refusal>;

    /// Connects a port to who has made the request, which is spent if that succeeds and is to be refused if not.
    ///
    /// # Errors
    /// [`Refusal::PeerGone`].
    fn accept(&mut self, request: u64, port: u64) -> Result<(), Refusal>;

    /// Asks the partition with this number to connect a port.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`], [`Refusal::PeerGone`], [`Refusal::OverLimit`].
    fn connect(&mut self, port: u64, partition: u16, service: u32) -> Result<(), Refusal>;

    /// How it stands with a port that has asked.
    fn answer(&mut self, port: u64) -> Connecting;

    /// Closes a port. Areas that came to it stay this partition's.
    fn close(&mut self, port: u64);

    /// Takes the next message of a connected port.
    fn receive(&mut self, port: u64) -> Received;

    /// Sends a short message, and with it an area, with how many of its bytes are meant, or none.
    ///
    /// # Errors
    /// [`Refusal::Full`]: there will be an event at the port when there is room. [`Refusal::Range`] for another class than the peer's;
    /// [`Refusal::PeerGone`].
    fn send(&mut self, port: u64, area: Option<(u64, u64)>, short: [u64; 3])
    -> Result<(), Refusal>;

    /// An area that came to this port has gone: there is room for another.
    fn has_room(&mut self, port: u64);

    /// Makes an area, all 0, of a class of [`Window::class`].
    ///
    /// # Errors
    /// [`Refusal::Range`] if the class does not hold it; [`Refusal::OverLimit`], [`Refusal::NoMemory`].
    fn alloc(&mut self, bytes: u64, class: u8) -> Result<Arrived, Refusal>;

    /// Frees an area.
    fn free(&mut self, handle: u64);

    /// Copies from an area; what was asked for lies in it.
    fn read(&self, area: &Arrived, at: u64, out: &mut [u8]);

    /// Copies into an area; what was asked for lies in it.
    fn write(&mut self, area: &Arrived, at: u64, data: &[u8]);

    /// The number of the partition with this name.
    fn number_of_name(&self, name: &[u8]) -> Option<u16>;

    /// The number of the partition whose present life has this id, and its name, padded with 0.
    fn partition_with_id(&self, id: u32) -> Option<(u16, [u8; 32])>;

    /// The id of a partition's present life (0 while it has none), and its name, padded with 0.
    fn partition(&self, number: u16) -> Option<(u32, [u8; 32])>;
}

/// A request for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its handle.
    pub handle: u64,
    /// The id of who asks.
    pub from: u32,
    /// Which service is meant.
    pub service: u32,
}

/// How it stands with a port that has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    /// There is no answer yet.
    Open,
    /// It is connected.
    Connected,
    /// The other partition has refused.
    Refused,
    /// The other partition has ended.
    PeerGone,
}

/// An area: where it is, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its handle.
    pub handle: u64,
    /// Where it is in the partition's address space.
    pub address: u64,
    /// How large it is, in pages of 4096 bytes.
    pub pages: u64,
    /// How many bytes are meant; at most its size.
    pub bytes: u64,
}

/// What a look at a port found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message: an area or none, and the short message.
    Message(Option<Arrived>, [u64; 3]),
    /// Nothing yet.
    Nothing,
    /// Nothing more: the peer has gone.
    Gone,
}

/// Why the hypervisor has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer has no room now.
    Full,
    /// The peer has gone.
    PeerGone,
    /// The peer has refused.
    Refused,
    /// The description does not permit it.
    NotPermitted,
    /// The partition's account has reached a limit.
    OverLimit,
    /// The machine has no more memory.
    NoMemory,
    /// The size or class does not fit.
    Range,
    /// Anything else.
    Other,
}

/// No hypervisor: sockets are EAFNOSUPPORT.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoChannels;

impl Channels for NoChannels {
    fn is_there(&self) -> bool {
        false
    }

    fn take_request(&mut self) -> Result<Option<Request>, Refusal> {
        Ok(None)
    }

    fn refuse(&mut self, _request: u64) {}

    fn create(&mut self, _window: Window) -> Result<u64, Refusal> {
        Err(Refusal::Other)
    }

    fn accept(&mut self, _request: u64, _port: u64) -> Result<(), Refusal> {
        Err(Refusal::Other)
    }

    fn connect(&mut self, _port: u64, _partition: u16, _service: u32) -> Result<(), Refusal> {
        Err(Refusal::Other)
    }

    fn answer(&mut self, _port: u64) -> Connecting {
        Connecting::PeerGone
    }

    fn close(&mut self, _port: u64) {}

    fn receive(&mut self, _port: u64) -> Received {
        Received::Gone
    }

    fn send(
        &mut self,
        _port: u64,
        _area: Option<(u64, u64)>,
        _short: [u64; 3],
    ) -> Result<(), Refusal> {
        Err(Refusal::PeerGone)
    }

    fn has_room(&mut self, _port: u64) {}

    fn alloc(&mut self, _bytes: u64, _class: u8) -> Result<Arrived, Refusal> {
        Err(Refusal::Other)
    }

    fn free(&mut self, _handle: u64) {}

    fn read(&self, _area: &Arrived, _at: u64, out: &mut [u8]) {
        out.fill(0);
    }

    fn write(&mut self, _area: &Arrived, _at: u64, _data: &[u8]) {}

    fn number_of_name(&self, _name: &[u8]) -> Option<u16> {
        None
    }

    fn partition_with_id(&self, _id: u32) -> Option<(u16, [u8; 32])> {
        None
    }

    fn partition(&self, _number: u16) -> Option<(u32, [u8; 32])> {
        None
    }
}
