//! Sending, in four forms. The area goes with the call, or comes back with the reason.
#![expect(unsafe_code, reason = "gives an area's memory away")]

use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll};

use shikiri_abi::Status;
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_rt::event::Told as _;
use shikiri_rt::sleep::Ticks;

use crate::area::Area;
use crate::channel::Channel;

/// What goes with a short message: an [`Area`], an `Option` of one, or `()` for nothing.
pub trait Cargo: sealed::Cargo + Sized {}

impl<C: sealed::Cargo> Cargo for C {}

mod sealed {
    use super::Area;

    /// What a send needs of its cargo.
    pub trait Cargo {
        /// The area, if there is one.
        fn area(&self) -> Option<&Area>;
    }

    impl Cargo for () {
        fn area(&self) -> Option<&Area> {
            None
        }
    }

    impl Cargo for Area {
        fn area(&self) -> Option<&Area> {
            Some(self)
        }
    }

    impl Cargo for Option<Area> {
        fn area(&self) -> Option<&Area> {
            self.as_ref()
        }
    }
}

/// A message that was not sent: why, and what was to go.
#[derive(Debug)]
pub struct NotSent<C> {
    /// Why.
    pub why: Why,
    /// What was to go: it is here as it was.
    pub cargo: C,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The peer has no credit or no vacant slot now: it will have again.
    Full,
    /// The peer's window has no such areas: it has none at all, or of another class.
    NoSuchWindow,
    /// The peer has closed its port or has ended.
    PeerGone,
    /// Anything else; there is nothing that this library knows of.
    Other(Refusal),
}

impl Channel {
    /// Sends a short message, and with it an area or nothing. When it returns `Ok`, the area is the peer's alone.
    ///
    /// # Errors
    /// [`NotSent`], with what was to go.
    #[inline]
    pub fn try_send<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        let result = self.offer(&cargo, short);
        self.done(cargo, result)
    }

    /// Sends as soon as there is room.
    ///
    /// # Errors
    /// [`NotSent`], never for [`Why::Full`].
    #[inline]
    pub fn send<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        let result = match self.offer(&cargo, short) {
            Err(Why::Full) => self.offer_when_there_is_room(&cargo, short),
            other => other,
        };
        self.done(cargo, result)
    }

    /// Sends as soon as there is room.
    ///
    /// # Errors
    /// [`NotSent`], for [`Why::Full`] if there was no room in time.
    pub fn send_until<C: Cargo>(
        &self,
        cargo: C,
        short: [u64; 3],
        deadline: Ticks,
    ) -> Result<(), NotSent<C>> {
        let sent = self.0.seat().until(deadline, || unless_full(self.offer(&cargo, short)));
        self.done(cargo, sent.unwrap_or(Err(Why::Full)))
    }

    /// Sends as soon as there is room. Dropped before that, the future drops what was to go.
    ///
    /// # Errors
    /// [`NotSent`], never for [`Why::Full`].
    pub async fn sent<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        let result = poll_fn(|context| self.poll_offer(&cargo, short, context)).await;
        self.done(cargo, result)
    }

    /// Sends `cargo`, which is taken out then, if there is room; else the task is woken when it is worth trying again. Without cargo it
    /// is ready at once, and nothing is sent.
    ///
    /// # Errors
    /// [`NotSent`], never for [`Why::Full`].
    pub fn poll_send<C: Cargo>(
        &self,
        cargo: &mut Option<C>,
        short: [u64; 3],
        context: &Context<'_>,
    ) -> Poll<Result<(), NotSent<C>>> {
        let Some(offered) = cargo.as_ref() else { return Poll::Ready(Ok(())) };
        match self.poll_offer(offered, short, context) {
            Poll::Ready(result) => {
                Poll::Ready(cargo.take().map_or(Ok(()), |cargo| self.done(cargo, result)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_offer<C: Cargo>(
        &self,
        cargo: &C,
        short: [u64; 3],
        context: &Context<'_>,
    ) -> Poll<Result<(), Why>> {
        self.0.poll_for(context, || unless_full(self.offer(cargo, short)))
    }

    /// Ends a send: the cargo has gone, or comes back.
    #[inline]
    fn done<C: Cargo>(&self, cargo: C, result: Result<(), Why>) -> Result<(), NotSent<C>> {
        if let Err(why) = result {
            return Err(NotSent { why, cargo });
        }
        let vacated = cargo.area().and_then(Area::home);
        // It is the peer's.
        mem::forget(cargo);
        match vacated {
            // It goes back where it came from, to a peer that does not wait: this port is there, and its page can be looked at as it is.
            Some(home) if home == self.0.home && !self.0.is_starved() => {}
            Some(home) => home.has_room(),
            None => {}
        }
        Ok(())
    }

    #[cold]
    fn offer_when_there_is_room<C: Cargo>(&self, cargo: &C, short: [u64; 3]) -> Result<(), Why> {
        self.0.seat().until_there(|| unless_full(self.offer(cargo, short)))
    }

    /// Tries to send. On success the cargo is the peer's: what is left here of it is to be forgotten at once, by [`Channel::done`].
    #[inline]
    fn offer<C: Cargo>(&self, cargo: &C, short: [u64; 3]) -> Result<(), Why> {
        let area = cargo.area().map(|area| (area.handle(), area.length()));
        // SAFETY: the cargo is its area's only owner, and is forgotten if this succeeds; its memory is never looked at before that.
        unsafe { message::send(self.0.handle, area, short) }.map_err(why)
    }
}

/// What is no reason to wait.
fn unless_full(result: Result<(), Why>) -> Option<Result<(), Why>> {
    (result != Err(Why::Full)).then_some(result)
}

fn why(refusal: Refusal) -> Why {
    match refusal.status() {
        Some(Status::Full) => Why::Full,
        Some(Status::Range) => Why::NoSuchWindow,
        Some(Status::PeerGone) => Why::PeerGone,
        _ => Why::Other(refusal),
    }
}
