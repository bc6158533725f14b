//! A receive port that is waited for, and nothing else.

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::Handle;

use super::{Bound, ReceivePort, Receiving, Sharing, Status};
use crate::seat::Seat;
use crate::sleep::Ticks;
use crate::{gic, wakers};

/// What is told of something by an interrupt, so that it can be waited for.
pub trait Told {
    /// The vCPU that the interrupt goes to: there who waits sleeps.
    fn seat(&self) -> Seat;

    /// Has a task woken when it is told of something.
    fn register(&self, waker: &Waker);

    /// Looks for something; if it is not there yet, the task is woken when it is worth looking again.
    fn poll_for<T>(&self, context: &Context<'_>, attempt: impl Fn() -> Option<T>) -> Poll<T> {
        if let Some(found) = attempt() {
            return Poll::Ready(found);
        }
        self.register(context.waker());
        // What came before the waker was there has woken nobody.
        attempt().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A receive port whose interrupt ends sleeps and wakes tasks, and does not come to the guest's handler. That is the run-time's doing: a guest that
/// takes all interrupts itself (`trap::set_handler`) has taken the event with the interrupt.
#[derive(Debug)]
pub struct Awaited {
    // Given up before the port, whose interrupt may be another's as soon as it is closed.
    owned: Owned,
    port: Bound,
}

/// An interrupt that does not come to the guest's handler, or not once a task has waited for it.
#[derive(Debug)]
struct Owned(u32);

impl Drop for Owned {
    fn drop(&mut self) {
        wakers::disown(self.0);
    }
}

impl Awaited {
    /// Makes one with the interrupt `intid` on this vCPU: an SPI that nothing else has.
    ///
    /// # Errors
    /// `OverLimit`, of the run-time's hooks to interrupts, too; `InvalidParameter` if `intid` is no SPI for events, `WrongState` if it
    /// is used otherwise.
    pub fn new(intid: u32) -> Result<Self, Refusal> {
        let port = ReceivePort::new()?.bind(intid, Sharing::Alone).map_err(|(_, why)| why)?;
        let awaited = Self::of(port);
        awaited.own().map(|()| awaited)
    }

    /// Makes one of a port that is bound, alone to its interrupt: that is enabled, and comes to the guest's handler until somebody
    /// waits for it.
    #[must_use]
    pub fn of(port: Bound) -> Self {
        // What came to a former port of this interrupt.
        let _former = wakers::has_come(port.intid());
        gic::enable(port.intid());
        let owned = Owned(port.intid());
        Self { port, owned }
    }

    /// Takes the event, if one has arrived since the last was taken. Of several that came meanwhile one is left, as always.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_wait(&self) -> Result<bool, Refusal> {
        // It is either in the port still, or was the interrupt.
        let has_come = wakers::has_come(self.owned.0);
        Ok(self.port.poll()? || has_come)
    }

    /// Sleeps until an event arrives, and takes it.
    ///
    /// # Errors
    /// As [`Awaited::try_wait`].
    pub fn wait(&self) -> Result<(), Refusal> {
        self.own()?;
        self.seat().until_there(|| self.attempt())
    }

    /// The same, until the deadline at most; false if none has arrived by then.
    ///
    /// # Errors
    /// As [`Awaited::try_wait`].
    pub fn wait_until(&self, deadline: Ticks) -> Result<bool, Refusal> {
        self.own()?;
        let taken = self.seat().until(deadline, || self.attempt()).transpose()?;
        Ok(taken.is_some())
    }

    /// Comes with the next event, which is taken.
    ///
    /// # Errors
    /// As [`Awaited::try_wait`].
    pub async fn arrived(&self) -> Result<(), Refusal> {
        self.own()?;
        poll_fn(|context| self.poll_for(context, || self.attempt())).await
    }

    /// Its interrupt.
    pub(crate) const fn intid(&self) -> u32 {
        self.owned.0
    }

    fn attempt(&self) -> Option<Result<(), Refusal>> {
        match self.try_wait() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// The interrupt does not come to the guest's handler from here on, as the waits themselves see to.
    ///
    /// # Errors
    /// `OverLimit` of the run-time's hooks to interrupts.
    pub fn own(&self) -> Result<(), Refusal> {
        let has_room = wakers::own(self.owned.0);
        let none = Refusal { code: Status::OverLimit.code(), which: 0 };
        if has_room { Ok(()) } else { Err(none) }
    }

    /// The port, whose interrupt comes to the guest's handler again. An event that has come and was not taken is gone.
    #[must_use]
    pub fn into_bound(self) -> Bound {
        let Self { port, owned } = self;
        drop(owned);
        port
    }
}

impl Receiving for Awaited {
    fn handle(&self) -> Handle {
        self.port.handle()
    }
}

impl Told for Awaited {
    fn seat(&self) -> Seat {
        self.port.seat()
    }

    fn register(&self, waker: &Waker) {
        wakers::register(self.owned.0, waker);
    }
}
