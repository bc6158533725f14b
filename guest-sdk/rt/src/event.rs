//! Event ports as values: what cannot work does not compile, and what is dropped is closed. C1, P9.
//!
//! ```text
//! SendPort ──connect────────────────────────▶ Sender        (within the partition)
//!          ──ask──▶ Asking ──answer──▶ Sender, or the SendPort again
//! ReceivePort ──bind──▶ Bound ──intid──▶ an interrupt, for gic::enable and the handler
//! Request ──accept, refuse──▶               (of another partition, from take_request)
//! ```
//!
//! A [`Sender`] whose peer has closed or ended says so on the next send. Nothing here waits: whoever waits for an answer or a
//! request binds a port, names it by [`notify`], and sleeps until its interrupt.

use core::mem;

use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{self, Handle, State};

use crate::smp;

pub use shikiri_abi::PartitionId;
pub use shikiri_hvc::talk::Sharing;

/// Closes its handle when it goes.
#[derive(Debug)]
struct Owned(Handle);

impl Drop for Owned {
    fn drop(&mut self) {
        // It is ours until here; a table that was taken apart has closed it already.
        let _closed = talk::close(self.0);
    }
}

/// A send port that is not connected.
#[derive(Debug)]
pub struct SendPort(Owned);

/// A connected send port.
#[derive(Debug)]
pub struct Sender(Owned);

/// A send port whose request was not answered yet.
#[derive(Debug)]
pub struct Asking(Owned);

/// A receive port without an interrupt.
#[derive(Debug)]
pub struct ReceivePort(Owned);

/// A receive port with an interrupt.
#[derive(Debug)]
pub struct Bound {
    port: Owned,
    intid: u32,
}

/// A request of another partition's that was taken. Dropped, it is refused.
#[derive(Debug)]
pub struct Request {
    handle: Owned,
    /// Who asks.
    pub from: PartitionId,
    /// Which service is meant.
    pub service: u32,
    /// The sender's word.
    pub word: u64,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// Nothing yet.
    Open(Asking),
    /// It was accepted.
    Accepted(Sender),
    /// It was refused, and the port can ask again.
    Refused(SendPort),
    /// The other partition has ended, and the port can ask again.
    Gone(SendPort),
}

/// What was refused, and the port again.
pub type Failed<Port> = (Port, Refusal);

impl SendPort {
    /// Makes one.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn new() -> Result<Self, Refusal> {
        talk::create_send().map(|handle| Self(Owned(handle)))
    }

    /// Connects it to a port of this partition.
    ///
    /// # Errors
    /// `WrongState` if something is connected to that port.
    pub fn connect(self, to: &impl Receiving) -> Result<Sender, Failed<Self>> {
        match talk::connect(self.0.0, to.handle()) {
            Ok(()) => Ok(Sender(self.0)),
            Err(refusal) => Err((self, refusal)),
        }
    }

    /// Asks the partition with this number (its place among the device tree's peers) to connect it.
    ///
    /// # Errors
    /// `NotPermitted`, `OverLimit`, `PeerGone`.
    pub fn ask(self, partition: u8, service: u32, word: u64) -> Result<Asking, Failed<Self>> {
        match talk::ask(self.0.0, partition, service, word) {
            Ok(()) => Ok(Asking(self.0)),
            Err(refusal) => Err((self, refusal)),
        }
    }
}

impl Asking {
    /// Looks for the answer.
    #[must_use]
    pub fn answer(self) -> Answer {
        match talk::state(self.0.0) {
            Ok(State::Asked) => Answer::Open(self),
            Ok(State::Connected) => Answer::Accepted(Sender(self.0)),
            Err(refusal) if refusal.status() == Some(shikiri_abi::Status::Refused) => {
                Answer::Refused(SendPort(self.0))
            }
            Err(_) => Answer::Gone(SendPort(self.0)),
        }
    }
}

impl Sender {
    /// Sends an event; whether it made no difference, since one was pending.
    ///
    /// # Errors
    /// `PeerGone`.
    pub fn send(&self) -> Result<bool, Refusal> {
        talk::send(self.0.0)
    }
}

impl ReceivePort {
    /// Makes one.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn new() -> Result<Self, Refusal> {
        talk::create_receive().map(|handle| Self(Owned(handle)))
    }

    /// Gives it the interrupt `intid`, which comes to this vCPU unless it is routed otherwise.
    ///
    /// # Errors
    /// `InvalidParameter` if that is no SPI for events; `WrongState` if it is used otherwise.
    pub fn bind(self, intid: u32, sharing: Sharing) -> Result<Bound, Failed<Self>> {
        let vcpu = u64::try_from(smp::index()).unwrap_or(0);
        match talk::bind(self.0.0, intid, vcpu, sharing) {
            Ok(()) => Ok(Bound { port: self.0, intid }),
            Err(refusal) => Err((self, refusal)),
        }
    }
}

impl Bound {
    /// Its interrupt.
    #[must_use]
    pub const fn intid(&self) -> u32 {
        self.intid
    }
}

/// What events arrive at.
pub trait Receiving {
    /// Its handle.
    fn handle(&self) -> Handle;

    /// Its place in the pending bitmap: what [`take`] answers for it.
    fn index(&self) -> u16 {
        let [low, high, ..] = self.handle().0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Keeps what arrives from here on.
    ///
    /// # Errors
    /// None while the value lives.
    fn mask(&self) -> Result<(), Refusal> {
        talk::mask(self.handle())
    }

    /// Lets events through, and what arrived meanwhile.
    ///
    /// # Errors
    /// None while the value lives.
    fn unmask(&self) -> Result<(), Refusal> {
        talk::unmask(self.handle())
    }

    /// Whether an event has arrived that was not taken; it is taken now.
    ///
    /// # Errors
    /// None while the value lives.
    fn poll(&self) -> Result<bool, Refusal> {
        talk::poll(self.handle())
    }
}

impl Receiving for ReceivePort {
    fn handle(&self) -> Handle {
        self.0.0
    }
}

impl Receiving for Bound {
    fn handle(&self) -> Handle {
        self.port.0
    }
}

impl Request {
    /// Connects its sender to a port.
    ///
    /// # Errors
    /// `WrongState` if something is connected to that port; `PeerGone`.
    pub fn accept(self, receive: &impl Receiving) -> Result<(), Failed<Self>> {
        match talk::accept(self.handle.0, receive.handle()) {
            // The handle was spent.
            Ok(()) => {
                mem::forget(self);
                Ok(())
            }
            Err(refusal) => Err((self, refusal)),
        }
    }

    /// Refuses it, as dropping it does.
    pub fn refuse(self) {}
}

/// A signal's kind: it asks for an event connection.
const EVENT: u8 = 0;

/// Takes the next request for an event connection; `None` if none waits. What asks for something else is refused: who serves channels
/// or shared areas as well looks for requests with `shikiri-channel`'s listener.
///
/// # Errors
/// `OverLimit` if there is no handle left for it.
pub fn take_request() -> Result<Option<Request>, Refusal> {
    loop {
        let signal = match talk::take_signal() {
            Ok(signal) => signal,
            Err(refusal) if refusal.status() == Some(shikiri_abi::Status::Empty) => {
                return Ok(None);
            }
            Err(refusal) => return Err(refusal),
        };
        if signal.kind != EVENT {
            talk::refuse(signal.request)?;
            continue;
        }
        let talk::Signal { request, from, service, word, .. } = signal;
        return Ok(Some(Request { handle: Owned(request), from, service, word }));
    }
}

/// Chooses the port that is told of requests, when none waits, and of answers; now, if a request waits already.
///
/// One event may stand for several of them, and one may come when nothing is left. Whoever waits looks after each wake-up: takes
/// requests until there is none ([`take_request`]), and asks each [`Asking`] for its answer.
///
/// # Errors
/// `WrongState` if something is connected to it.
pub fn notify(port: &impl Receiving) -> Result<(), Refusal> {
    talk::notify(port.handle())
}

/// Takes the pending ports among 64 neighbours, of those that share an interrupt: bit n stands for [`Receiving::index`]
/// 64 × `word` + n.
#[must_use]
pub fn take(word: u16) -> u64 {
    talk::take(word).unwrap_or(0)
}
