//! Event ports as values: what cannot work does not compile, and what is dropped is closed. C1, P9.
//!
//! ```text
//! SendPort ──connect────────────────────────▶ Sender        (within the partition)
//!          ──ask──▶ Asking ──answer──▶ Sender, or the SendPort again
//!          ──connect_to─────────────────────▶ Sender, or the SendPort again and why
//! ReceivePort ──bind──▶ Bound ──intid──▶ an interrupt, for gic::enable and the handler
//! Notices ──next──▶ Request ──accept──▶     (of another partition; dropped, it is refused)
//! Sender, Bound ──seal──▶ Sealed            (used, and not changed or closed any more)
//! ```
//!
//! | form | an event | a request of another partition | the answer to one's own |
//! |---|---|---|---|
//! | polling | [`Receiving::poll`], [`Awaited::try_wait`] | [`take_request`], [`Notices::try_next`] | [`SendPort::ask`], [`Asking::answer`] |
//! | blocking | [`Awaited::wait`] | [`Notices::next`] | [`SendPort::connect_to`], [`Asking::wait`] |
//! | timed | [`Awaited::wait_until`] | [`Notices::next_until`] | [`Asking::wait_until`] |
//! | `async` | [`Awaited::arrived`] | [`Notices::came`], [`Notices::poll_next`] | [`Asking::answered`] |
//!
//! A [`Sender`] whose peer has closed or ended says so on the next send. Who waits needs something that is told: [`Notices`], or the
//! channels' listener. There is one of them at a time. Who polls may do without, or name a port of its own by [`notify`].

use core::mem;

use shikiri_abi::Status;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{self, Handle, Signal, SignalKind, State};

use crate::seat::Seat;

mod awaited;
mod claim;
mod notices;
mod sealed;

pub use awaited::{Awaited, Told};
pub use claim::{Claim, notify};
pub use notices::{Notices, Notified, next_of};
pub use sealed::{Sealed, rights};
pub use shikiri_abi::PartitionId;
pub use shikiri_hvc::talk::{Rights, Sharing};

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
    seat: Seat,
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
    Connected(Sender),
    /// It was not, and the port can ask again.
    NotConnected(SendPort, NotConnected),
}

/// Why nothing is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotConnected {
    /// The other partition has refused.
    Refused,
    /// The other partition does not live, or has ended before it answered.
    PeerGone,
    /// The request could not be made: `NotPermitted`, `OverLimit`.
    NotAsked(Refusal),
}

impl From<Refusal> for NotConnected {
    fn from(refusal: Refusal) -> Self {
        match refusal.status() {
            Some(Status::Refused) => Self::Refused,
            Some(Status::PeerGone) => Self::PeerGone,
            _ => Self::NotAsked(refusal),
        }
    }
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

    /// Asks the partition with this number (its place among the device tree's peers) to connect it: does not wait.
    ///
    /// # Errors
    /// [`NotConnected::NotAsked`], [`NotConnected::PeerGone`]; the port comes back.
    pub fn ask(
        self,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Asking, (Self, NotConnected)> {
        match talk::ask(self.0.0, partition, service, word) {
            Ok(()) => Ok(Asking(self.0)),
            Err(refusal) => Err((self, refusal.into())),
        }
    }
}

impl Asking {
    /// Looks for the answer.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self.look() {
            None => Answer::Open(self),
            Some(Ok(())) => Answer::Connected(Sender(self.0)),
            Some(Err(why)) => Answer::NotConnected(SendPort(self.0), why),
        }
    }

    /// The answer, if there is one.
    fn look(&self) -> Option<Result<(), NotConnected>> {
        match talk::state(self.0.0) {
            Ok(State::Asked) => None,
            Ok(State::Connected) => Some(Ok(())),
            Err(refusal) => Some(Err(refusal.into())),
        }
    }

    fn end(self, answer: Result<(), NotConnected>) -> Result<Sender, (SendPort, NotConnected)> {
        match answer {
            Ok(()) => Ok(Sender(self.0)),
            Err(why) => Err((SendPort(self.0), why)),
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
        let seat = Seat::here();
        match talk::bind(self.0.0, intid, seat.number(), sharing) {
            Ok(()) => Ok(Bound { port: self.0, intid, seat }),
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

    /// The vCPU that it was bound on, to which the interrupt goes.
    #[must_use]
    pub const fn seat(&self) -> Seat {
        self.seat
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
    /// Makes a request of a control signal that was taken.
    ///
    /// # Errors
    /// The signal, if it asks for something else.
    pub fn of(signal: Signal) -> Result<Self, Signal> {
        if signal.kind != Some(SignalKind::EventConnect) {
            return Err(signal);
        }
        let Signal { request, from, service, word, .. } = signal;
        Ok(Self { handle: Owned(request), from, service, word })
    }

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

/// Takes the next control signal, whatever it asks for; `None` if none waits.
///
/// # Errors
/// `OverLimit` if there is no handle left for it.
pub fn take_signal() -> Result<Option<Signal>, Refusal> {
    match talk::take_signal() {
        Ok(signal) => Ok(Some(signal)),
        Err(refusal) if refusal.status() == Some(Status::Empty) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Takes the next request for an event connection; `None` if none waits. What asks for something else is refused: who serves channels
/// or shared areas as well looks for requests with `shikiri-channel`'s listener. It goes on as long as others come; [`take_signal`] takes one.
///
/// # Errors
/// `OverLimit` if there is no handle left for it.
pub fn take_request() -> Result<Option<Request>, Refusal> {
    while let Some(signal) = take_signal()? {
        match Request::of(signal) {
            Ok(request) => return Ok(Some(request)),
            Err(other) => talk::refuse(other.request)?,
        }
    }
    Ok(None)
}

/// Takes the pending ports among 64 neighbours, of those that share an interrupt: bit n stands for [`Receiving::index`]
/// 64 × `word` + n. Which words have any tells `shikiri_channel::PendingPage` without a call.
#[must_use]
pub fn take(word: u16) -> u64 {
    talk::take(word).unwrap_or(0)
}
