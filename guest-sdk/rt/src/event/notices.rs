//! Waiting for other partitions' requests for event connections, and for the answers to one's own.

use core::future::{Future, poll_fn};
use core::task::{Context, Poll, Waker};

use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{self, Signal};

use super::{
    Answer, Asking, Awaited, Claim, NotConnected, Request, SendPort, Sender, Told, take_signal,
};
use crate::gic;
use crate::seat::Seat;
use crate::sleep::Ticks;

/// Gets the requests of other partitions for event connections, and is told of the answers to this one's. Requests for other things
/// are refused: a partition that serves channels or shared areas as well has the channels' listener instead.
/// There is one at a time, or such a listener.
#[derive(Debug)]
pub struct Notices {
    told: Awaited,
    // Given up after the port.
    claim: Claim,
}

impl Notices {
    /// Makes one that is told by the interrupt `intid` on this vCPU.
    ///
    /// # Errors
    /// As [`Awaited::new`]; `WrongState` if there is one already, or a channels' listener.
    pub fn new(intid: u32) -> Result<Self, Refusal> {
        let told = Awaited::new(intid)?;
        let claim = Claim::new(&told)?;
        Ok(Self { told, claim })
    }

    /// The next request, if there is one. What asks for something else is refused, so many at a time: if more may wait behind those, the
    /// answer is none, and this is told once more.
    ///
    /// # Errors
    /// `OverLimit` if there is no handle left for it.
    pub fn try_next(&self) -> Result<Option<Request>, Refusal> {
        next_of(Request::of, self.told.intid())
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

/// The most requests for other things that one look refuses.
const MOST_REFUSED: usize = 16;

/// One look for a request of a kind, for whoever is told of requests by the interrupt `intid`. An asker that asks again as often as it is
/// refused does not hold it up: behind so many refusals it answers none and raises the interrupt, since nobody else tells of what
/// waits already. Who sleeps is woken by that, and who looks at a deadline has done so.
///
/// # Errors
/// `OverLimit` if there is no handle left for the request.
pub fn next_of<T>(
    of: impl Fn(Signal) -> Result<T, Signal>,
    intid: u32,
) -> Result<Option<T>, Refusal> {
    for _ in 0..MOST_REFUSED {
        let Some(signal) = take_signal()? else { return Ok(None) };
        match of(signal) {
            Ok(request) => return Ok(Some(request)),
            Err(other) => talk::refuse(other.request)?,
        }
    }
    gic::set_pending(intid);
    Ok(None)
}

/// What is told of the answers to this partition's requests: [`Notices`], the channels' listener.
pub trait Notified: Told {
    /// The proof that it was chosen.
    fn claim(&self) -> &Claim;
}

impl Notified for Notices {
    fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Told for Notices {
    fn seat(&self) -> Seat {
        self.told.seat()
    }

    fn register(&self, waker: &Waker) {
        self.told.register(waker);
    }
}

impl SendPort {
    /// Asks the partition with this number, and waits for the answer, of which `told` is told.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub fn connect_to(
        self,
        told: &impl Notified,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Sender, (Self, NotConnected)> {
        self.ask(partition, service, word)?.wait(told)
    }
}

impl Asking {
    /// Waits for the answer, of which `told` is told.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub fn wait(self, told: &impl Notified) -> Result<Sender, (SendPort, NotConnected)> {
        let answer = told.seat().until_there(|| self.look());
        self.end(answer)
    }

    /// Waits for the answer; [`Answer::Open`] if there was none in time.
    #[must_use]
    pub fn wait_until(self, told: &impl Notified, deadline: Ticks) -> Answer {
        let _answer = told.seat().until(deadline, || self.look());
        self.answer()
    }

    /// Waits for the answer, of which `told` is told.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub async fn answered(self, told: &impl Notified) -> Result<Sender, (SendPort, NotConnected)> {
        let answer = poll_fn(|context| told.poll_for(context, || self.look())).await;
        self.end(answer)
    }
}
