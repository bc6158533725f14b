//! Receiving, in four forms: they are one look at the arrivals page, and no call unless the peer waits for room.

use core::future::{Future, poll_fn};
use core::task::{Context, Poll};

use shikiri_rt::sleep::Ticks;

use crate::area::Area;
use crate::channel::{Channel, Message, PeerGone};

impl Channel {
    /// The next message, if one has come.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    #[inline]
    pub fn try_receive(&self) -> Result<Option<Message>, PeerGone> {
        let port = &self.0;
        let look = port.home.look().ok_or(PeerGone)?;
        match look.arrival {
            Some(arrival) => {
                let place = (port.windows, port.class, port.home);
                let area = arrival.parcel.as_ref().map(|parcel| Area::received(place, parcel));
                Ok(Some(Message { area, short: arrival.short }))
            }
            None if look.peer.is_there => Ok(None),
            None => Err(PeerGone),
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    #[inline]
    pub fn receive(&self) -> Result<Message, PeerGone> {
        self.0.seat.until_there(|| self.try_receive().transpose())
    }

    /// Waits for the next message; none if there was none in time.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    pub fn receive_until(&self, deadline: Ticks) -> Result<Option<Message>, PeerGone> {
        self.0.seat.until(deadline, || self.try_receive().transpose()).transpose()
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    pub fn received(&self) -> impl Future<Output = Result<Message, PeerGone>> + '_ {
        poll_fn(|context| self.poll_receive(context))
    }

    /// The next message, if one has come; else the task is woken when it is worth asking again.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    pub fn poll_receive(&self, context: &Context<'_>) -> Poll<Result<Message, PeerGone>> {
        if let Some(result) = self.try_receive().transpose() {
            return Poll::Ready(result);
        }
        self.0.home.register(context.waker());
        // What came before the waker was there has woken nobody.
        self.try_receive().transpose().map_or(Poll::Pending, Poll::Ready)
    }
}
