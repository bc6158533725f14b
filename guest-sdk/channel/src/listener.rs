//! Requests of other partitions for channels.

use core::future::{Future, poll_fn};
use core::mem;
use core::task::{Context, Poll, Waker};

use shikiri_abi::{PartitionId, Status};
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{self, Handle, Sharing, Signal, SignalKind};
use shikiri_rt::event::{self, Bound, Claim, Notified, ReceivePort, Told};
use shikiri_rt::gic;
use shikiri_rt::seat::Seat;
use shikiri_rt::sleep::Ticks;

use crate::channel::Channel;
use crate::port::Port;
use crate::{table, windows};

/// Gets the requests of other partitions, for all services: there is one at a time, or one object of the run-time's that is told of
/// requests for events (`shikiri_rt::event::Notices`).
///
/// Requests for other things than channels are refused by what waits for a [`Request`]. A partition that takes those, too, waits for a
/// [`Signal`] and makes a request of it: [`Request::of`], `shikiri_rt::event::Request::of`, `shikiri_shared::Request::of`. It is told of the
/// answers to this partition's requests for event connections as well ([`Notified`]).
#[derive(Debug)]
pub struct Listener {
    events: Bound,
    // Given up after the port.
    claim: Claim,
}

/// A request for a channel. Dropped, it is refused.
#[derive(Debug)]
pub struct Request {
    handle: Handle,
    /// Who asks.
    pub from: PartitionId,
    /// Which service is meant.
    pub service: u32,
    /// The sender's word.
    pub word: u64,
}

impl Listener {
    /// Makes one that is told by the interrupt `intid` on this vCPU: an SPI that nothing else has.
    ///
    /// # Errors
    /// `OverLimit`, of the run-time's hooks to interrupts, too; `InvalidParameter` if `intid` is no SPI for events, `WrongState` if it is used otherwise,
    /// or if another one is told of requests.
    pub fn new(intid: u32) -> Result<Self, Refusal> {
        let events = ReceivePort::new()?;
        let events = events.bind(intid, Sharing::Alone).map_err(|(_, refusal)| refusal)?;
        let claim = Claim::new(&events)?;
        // Whatever is missing from here on: the port goes first.
        let listener = Self { events, claim };
        if !windows::take_interrupts() {
            return Err(Refusal { code: Status::OverLimit.code(), which: 0 });
        }
        table::own_by_listener(intid);
        gic::enable(intid);
        Ok(listener)
    }

    /// The next request of any kind, if there is one: [`Request::of`] tells those for channels apart.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn try_signal(&self) -> Result<Option<Signal>, Refusal> {
        event::take_signal()
    }

    /// Waits for the next request of any kind.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn signal(&self) -> Result<Signal, Refusal> {
        self.seat().until_there(|| self.try_signal().transpose())
    }

    /// Waits for the next request of any kind; none if there was none in time.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn signal_until(&self, deadline: Ticks) -> Result<Option<Signal>, Refusal> {
        self.seat().until(deadline, || self.try_signal().transpose()).transpose()
    }

    /// Waits for the next request of any kind.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn signalled(&self) -> impl Future<Output = Result<Signal, Refusal>> + '_ {
        poll_fn(|context| self.poll_for(context, || self.try_signal().transpose()))
    }

    /// The next request, if there is one. What asks for something else is refused, so many at a time: if more may wait behind those, the
    /// answer is none, and this is told once more.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn try_next(&self) -> Result<Option<Request>, Refusal> {
        event::next_of(Request::of, self.events.intid())
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn next(&self) -> Result<Request, Refusal> {
        self.seat().until_there(|| self.try_next().transpose())
    }

    /// Waits for the next request; none if there was none in time.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn next_until(&self, deadline: Ticks) -> Result<Option<Request>, Refusal> {
        self.seat().until(deadline, || self.try_next().transpose()).transpose()
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn came(&self) -> impl Future<Output = Result<Request, Refusal>> + '_ {
        poll_fn(|context| self.poll_next(context))
    }

    /// The next request, if there is one; else the task is woken when it is worth asking again.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn poll_next(&self, context: &Context<'_>) -> Poll<Result<Request, Refusal>> {
        self.poll_for(context, || self.try_next().transpose())
    }
}

impl Told for Listener {
    fn seat(&self) -> Seat {
        self.events.seat()
    }

    fn register(&self, waker: &Waker) {
        table::register_for_requests(waker);
    }
}

impl Notified for Listener {
    fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        table::disown(self.events.intid());
    }
}

impl Request {
    /// Makes a request of a control signal that was taken.
    ///
    /// # Errors
    /// The signal, if it asks for something else.
    pub fn of(signal: Signal) -> Result<Self, Signal> {
        let Signal { request, kind, from, service, word } = signal;
        if kind == Some(SignalKind::ChannelConnect) {
            Ok(Self { handle: request, from, service, word })
        } else {
            Err(signal)
        }
    }

    /// Connects the sender's port to `port`.
    ///
    /// # Errors
    /// `PeerGone` if the sender has ended or withdrawn it; the port comes back.
    pub fn accept(self, port: Port) -> Result<Channel, (Port, Refusal)> {
        match message::accept(self.handle, port.0.handle) {
            Ok(()) => {
                // The handle was spent.
                mem::forget(self);
                Ok(Channel(port.0))
            }
            Err(refusal) => Err((port, refusal)),
        }
    }

    /// Refuses it, as dropping it does.
    pub fn refuse(self) {}
}

impl Drop for Request {
    fn drop(&mut self) {
        // It is ours until here; one that was withdrawn is only closed.
        let _refused = talk::refuse(self.handle);
    }
}
