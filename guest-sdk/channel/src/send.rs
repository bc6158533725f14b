//! Sending, in four forms. The area goes with the call, or comes back with the reason.

use core::future::poll_fn;
use core::task::{Context, Poll};

use shikiri_abi::Status;
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::Handle;
use shikiri_rt::sleep::Ticks;

use crate::area::Area;
use crate::channel::Channel;

/// What goes with a short message: an [`Area`], an `Option` of one, or `()` for nothing.
pub trait Cargo: sealed::Cargo + Sized {}

impl<C: sealed::Cargo> Cargo for C {}

mod sealed {
    use super::{Area, Handle};

    /// What a send needs of its cargo.
    pub trait Cargo {
        /// The area's handle, and how many bytes are meant.
        fn parts(&self) -> Option<(Handle, u64)>;

        /// It is the peer's.
        fn has_gone(self);
    }

    impl Cargo for () {
        fn parts(&self) -> Option<(Handle, u64)> {
            None
        }

        fn has_gone(self) {}
    }

    impl Cargo for Area {
        fn parts(&self) -> Option<(Handle, u64)> {
            // No area has more than 1 GiB.
            Some((self.handle(), u64::try_from(self.len()).unwrap_or(0)))
        }

        fn has_gone(self) {
            Area::has_gone(self);
        }
    }

    impl Cargo for Option<Area> {
        fn parts(&self) -> Option<(Handle, u64)> {
            self.as_ref().and_then(Cargo::parts)
        }

        fn has_gone(self) {
            if let Some(area) = self {
                area.has_gone();
            }
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
    pub fn try_send<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        match message::send(self.0.handle, cargo.parts(), short) {
            Ok(()) => {
                cargo.has_gone();
                Ok(())
            }
            Err(refusal) => Err(NotSent { why: why(refusal), cargo }),
        }
    }

    /// Sends as soon as there is room.
    ///
    /// # Errors
    /// [`NotSent`], never for [`Why::Full`].
    pub fn send<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        let mut outgoing = Outgoing::new(cargo, short);
        self.0.seat.until_there(|| outgoing.attempt(self))
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
        let mut outgoing = Outgoing::new(cargo, short);
        let sent = self.0.seat.until(deadline, || outgoing.attempt(self));
        sent.unwrap_or_else(|| outgoing.end())
    }

    /// Sends as soon as there is room. Dropped before that, the future drops what was to go.
    ///
    /// # Errors
    /// [`NotSent`], never for [`Why::Full`].
    pub async fn sent<C: Cargo>(&self, cargo: C, short: [u64; 3]) -> Result<(), NotSent<C>> {
        let mut outgoing = Outgoing::new(cargo, short);
        poll_fn(|context| self.poll_outgoing(&mut outgoing, context)).await
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
        let mut outgoing = Outgoing { cargo: cargo.take(), short };
        let result = self.poll_outgoing(&mut outgoing, context);
        *cargo = outgoing.cargo;
        result
    }

    fn poll_outgoing<C: Cargo>(
        &self,
        outgoing: &mut Outgoing<C>,
        context: &Context<'_>,
    ) -> Poll<Result<(), NotSent<C>>> {
        if let Some(result) = outgoing.attempt(self) {
            return Poll::Ready(result);
        }
        self.0.home.register(context.waker());
        // Room that came before the waker was there has woken nobody.
        outgoing.attempt(self).map_or(Poll::Pending, Poll::Ready)
    }
}

/// A message that waits for room.
struct Outgoing<C> {
    cargo: Option<C>,
    short: [u64; 3],
}

impl<C: Cargo> Outgoing<C> {
    const fn new(cargo: C, short: [u64; 3]) -> Self {
        Self { cargo: Some(cargo), short }
    }

    /// Tries to send; none if there is no room. What was sent before is not sent again.
    fn attempt(&mut self, channel: &Channel) -> Option<Result<(), NotSent<C>>> {
        let Some(cargo) = self.cargo.take() else { return Some(Ok(())) };
        match channel.try_send(cargo, self.short) {
            Err(NotSent { why: Why::Full, cargo }) => {
                self.cargo = Some(cargo);
                None
            }
            result => Some(result),
        }
    }

    /// There was no room in time.
    fn end(self) -> Result<(), NotSent<C>> {
        self.cargo.map_or(Ok(()), |cargo| Err(NotSent { why: Why::Full, cargo }))
    }
}

fn why(refusal: Refusal) -> Why {
    match refusal.status() {
        Some(Status::Full) => Why::Full,
        Some(Status::Range) => Why::NoSuchWindow,
        Some(Status::PeerGone) => Why::PeerGone,
        _ => Why::Other(refusal),
    }
}
