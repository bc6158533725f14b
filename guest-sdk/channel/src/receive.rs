//! Receiving, in four forms: they are one look at the arrivals page, and no call unless the peer waits for room.

use core::future::{Future, poll_fn};
use core::task::{Context, Poll};

use shikiri_rt::event::Told as _;
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
        self.take().transpose()
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    #[inline]
    pub fn receive(&self) -> Result<Message, PeerGone> {
        loop {
            let next = self.0.next();
            self.0.seat().until_there_by(|| next.doze(), || next.is_settled().then_some(()));
            if let Some(result) = self.take() {
                return result;
            }
        }
    }

    /// Waits for the next message; none if there was none in time.
    ///
    /// # Errors
    /// [`PeerGone`], after the last message.
    pub fn receive_until(&self, deadline: Ticks) -> Result<Option<Message>, PeerGone> {
        loop {
            let next = self.0.next();
            let settled = || next.is_settled().then_some(());
            let in_time = self.0.seat().until_by(deadline, || next.doze(), settled);
            match (self.try_receive()?, in_time) {
                // Another vCPU has taken it.
                (None, Some(())) => {}
                (message, _) => return Ok(message),
            }
        }
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
        let received = self.0.poll_for(context, || self.try_receive().transpose());
        // No interrupt wakes it: the task looks again and again.
        if received.is_pending() && self.0.polls() {
            context.waker().wake_by_ref();
        }
        received
    }

    /// The next message, if one has come, or that no more will. Inlined, so that a message is written once, where it is wanted.
    #[inline(always)]
    fn take(&self) -> Option<Result<Message, PeerGone>> {
        let port = &self.0;
        let Some(look) = port.home.look() else { return Some(Err(PeerGone)) };
        match look.arrival {
            Some(arrival) => {
                let place = (port.windows, port.class, port.home);
                let area = arrival.parcel.as_ref().map(|parcel| Area::received(place, parcel));
                Some(Ok(Message { area, short: arrival.short }))
            }
            None if look.peer.is_there => None,
            None => Some(Err(PeerGone)),
        }
    }
}
