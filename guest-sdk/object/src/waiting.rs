//! Objects that can be waited for.

use core::future::poll_fn;
use core::ops::Deref;

use shikiri_hvc::object as calls;
use shikiri_hvc::partition::Refusal;
use shikiri_rt::event::{Awaited, Bound, Receiving as _, Told as _};
use shikiri_rt::sleep::Ticks;

use crate::{Counter, Event, Message, Object, Queue, Semaphore, Unit};

/// An object with the port that is raised for it.
#[derive(Debug)]
pub struct Waiting<T: Object> {
    object: T,
    port: Awaited,
}

impl<T: Object> Waiting<T> {
    /// Ties them together, and enables the port's interrupt.
    ///
    /// A partition is told of an object at one port. Who opens it again has the same object, and a second one of these for it takes the
    /// first one's wake-ups: that would sleep for ever. Tasks and vCPUs that wait for one object share one.
    ///
    /// # Errors
    /// `WrongState` if something else is connected to the port; both come back.
    pub fn new(object: T, port: Bound) -> Result<Self, (T, Bound, Refusal)> {
        match calls::notify(object.handle(), Some(port.handle())) {
            Ok(()) => Ok(Self { object, port: Awaited::of(port) }),
            Err(refusal) => Err((object, port, refusal)),
        }
    }

    /// Parts them again.
    #[must_use]
    pub fn into_parts(self) -> (T, Bound) {
        let Self { object, port } = self;
        // The port stays, so the hypervisor has to be told.
        let _is_free = calls::notify(object.handle(), None);
        (object, port.into_bound())
    }
}

impl<T: Object> Waiting<T> {
    /// Tries until there is something, or a refusal.
    fn until_there<R>(
        &self,
        attempt: impl Fn() -> Result<Option<R>, Refusal>,
    ) -> Result<R, Refusal> {
        self.port.own()?;
        self.port.seat().until_there(|| attempt().transpose())
    }

    /// The same, until the deadline.
    fn until<R>(
        &self,
        deadline: Ticks,
        attempt: impl Fn() -> Result<Option<R>, Refusal>,
    ) -> Result<Option<R>, Refusal> {
        self.port.own()?;
        self.port.seat().until(deadline, || attempt().transpose()).transpose()
    }

    /// The same in a task, which the port's interrupt wakes.
    async fn until_woken<R>(
        &self,
        attempt: impl Fn() -> Result<Option<R>, Refusal>,
    ) -> Result<R, Refusal> {
        poll_fn(|context| self.port.poll_for(context, || attempt().transpose())).await
    }
}

impl<T: Object> Deref for Waiting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl Waiting<Event> {
    /// Waits for a post.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn wait(&self) -> Result<(), Refusal> {
        self.until_there(|| Ok(self.try_wait()?.then_some(())))
    }

    /// Waits for a post, in a task.
    ///
    /// # Errors
    /// None while the value lives.
    pub async fn waited(&self) -> Result<(), Refusal> {
        self.until_woken(|| Ok(self.try_wait()?.then_some(()))).await
    }

    /// Waits for a post; false if none came in time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn wait_until(&self, deadline: Ticks) -> Result<bool, Refusal> {
        self.until(deadline, || Ok(self.try_wait()?.then_some(()))).map(|seen| seen.is_some())
    }
}

impl Waiting<Semaphore> {
    /// Waits for a unit.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn take(&self) -> Result<Unit<'_>, Refusal> {
        self.until_there(|| self.try_take())
    }

    /// Waits for a unit, in a task.
    ///
    /// # Errors
    /// None while the value lives.
    pub async fn taken(&self) -> Result<Unit<'_>, Refusal> {
        self.until_woken(|| self.try_take()).await
    }

    /// Waits for a unit; `None` if there was none in time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn take_until(&self, deadline: Ticks) -> Result<Option<Unit<'_>>, Refusal> {
        self.until(deadline, || self.try_take())
    }
}

impl Waiting<Counter> {
    /// Waits until there is one to take.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn take(&self) -> Result<(), Refusal> {
        self.until_there(|| Ok(self.try_take()?.then_some(())))
    }

    /// Waits until there is one to take, in a task.
    ///
    /// # Errors
    /// None while the value lives.
    pub async fn taken(&self) -> Result<(), Refusal> {
        self.until_woken(|| Ok(self.try_take()?.then_some(()))).await
    }

    /// Waits until there is one to take; false if there was none in time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn take_until(&self, deadline: Ticks) -> Result<bool, Refusal> {
        self.until(deadline, || Ok(self.try_take()?.then_some(()))).map(|taken| taken.is_some())
    }
}

impl Waiting<Queue> {
    /// Waits for a message.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn receive(&self) -> Result<Message, Refusal> {
        self.until_there(|| self.try_receive())
    }

    /// Waits for a message, in a task.
    ///
    /// # Errors
    /// None while the value lives.
    pub async fn received(&self) -> Result<Message, Refusal> {
        self.until_woken(|| self.try_receive()).await
    }

    /// Waits for a message; `None` if there was none in time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn receive_until(&self, deadline: Ticks) -> Result<Option<Message>, Refusal> {
        self.until(deadline, || self.try_receive())
    }

    /// Waits for room, and appends a message.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn send(&self, message: Message) -> Result<(), Refusal> {
        self.until_there(|| Ok(self.try_send(message)?.then_some(())))
    }

    /// Waits for room, and appends a message, in a task.
    ///
    /// # Errors
    /// None while the value lives.
    pub async fn sent(&self, message: Message) -> Result<(), Refusal> {
        self.until_woken(|| Ok(self.try_send(message)?.then_some(()))).await
    }

    /// Waits for room, and appends a message; false if there was none in time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn send_until(&self, message: Message, deadline: Ticks) -> Result<bool, Refusal> {
        self.until(deadline, || Ok(self.try_send(message)?.then_some(())))
            .map(|sent| sent.is_some())
    }
}
