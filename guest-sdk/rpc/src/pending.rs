//! A call in flight: to be polled, waited for, or awaited.
//!
//! It can be finished once:
//!
//! ```compile_fail,E0382
//! # use shikiri_rpc::{Pending, Transport};
//! # fn with<T: Transport>(pending: Pending<'_, '_, T, 4, u32>) {
//! let first = pending.wait();
//! let second = pending.wait();
//! # }
//! ```
//!
//! and not later than its client:
//!
//! ```compile_fail,E0505
//! # use shikiri_rpc::{Client, Transport};
//! # fn with<T: Transport>(client: Client<'_, T, 4>) {
//! let pending = client.begin::<_, u32>(1, &());
//! drop(client);
//! drop(pending);
//! # }
//! ```
//!
//! A result that borrows cannot outlive the memory that it was copied to:
//!
//! ```compile_fail,E0597
//! # use shikiri_rpc::{Pending, Transport};
//! # fn with<T: Transport>(pending: Pending<'_, '_, T, 4, ()>) {
//! let text: &str;
//! {
//!     let mut copy = [0; 100];
//!     text = pending.wait_in(&mut copy).unwrap();
//! }
//! assert!(text.is_empty());
//! # }
//! ```

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use serde_core::Deserialize;
use serde_core::de::DeserializeOwned;

use crate::client::Client;
use crate::codec::decode;
use crate::error::{CallError, Status};
use crate::message::{Body, Message};
use crate::pool::DEFAULT_BUFFER_BYTES;
use crate::slot::Slot;
use crate::transport::Transport;

/// How a call ends.
pub type Outcome<R> = Result<R, CallError>;

/// A call in flight that will return an `R`. Dropping it leaves the call: a reply that comes later is thrown away.
#[must_use = "a call that is dropped is left, and its result is lost"]
pub struct Pending<'c, 'a, T: Transport, const CALLS: usize, R> {
    client: &'c Client<'a, T, CALLS>,
    slot: &'c Slot,
    index: usize,
    generation: u32,
    is_over: bool,
    result: PhantomData<fn() -> R>,
}

/// What a look at a call found.
struct Look {
    /// The reply, or why there will be none.
    reply: Option<Result<Message, CallError>>,
    /// Whether there may be more messages to be taken in.
    has_more: bool,
}

impl<'c, 'a, T: Transport, const CALLS: usize, R> Pending<'c, 'a, T, CALLS, R> {
    pub(crate) fn new(
        client: &'c Client<'a, T, CALLS>,
        slot: &'c Slot,
        index: usize,
        generation: u32,
    ) -> Self {
        Self { client, slot, index, generation, is_over: false, result: PhantomData }
    }

    /// Whether the call is over, so that it can be finished without waiting. Takes in what has arrived.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_gone = self.client.receive_for(Some(self.index)).is_err();
        is_gone || self.is_over || self.slot.has_arrived(self.generation)
    }

    /// Finishes the call with a result that may borrow from `copy`, which has to be as large as the reply. Its buffer is
    /// free as soon as it is copied.
    ///
    /// # Errors
    /// The call itself, if it is not over.
    pub fn finish_in<'s, B: Deserialize<'s>>(
        mut self,
        copy: &'s mut [u8],
    ) -> Result<Outcome<B>, Self> {
        match self.look().reply {
            Some(reply) => Ok(self.unmarshal_in(reply, copy)),
            None => Err(self),
        }
    }

    /// Waits for the end of the call, with a result that may borrow from `copy`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait_in<'s, B: Deserialize<'s>>(mut self, copy: &'s mut [u8]) -> Outcome<B> {
        let reply = self.wait_for_reply(None).unwrap_or(Err(CallError::Over));
        self.unmarshal_in(reply, copy)
    }

    /// Finishes the call with the payload as it is.
    pub(crate) fn finish_raw<'s>(&mut self, copy: &'s mut [u8]) -> Option<Outcome<&'s [u8]>> {
        let Look { reply, has_more } = self.look();
        if reply.is_none() && has_more {
            // Of which nobody tells.
            self.client.leg().transport().wake();
        }
        Some(self.payload(reply?, copy))
    }

    /// Takes in what has arrived, and looks whether the reply is among it.
    fn look(&mut self) -> Look {
        if self.is_over {
            return Look { reply: Some(Err(CallError::Over)), has_more: false };
        }
        let received = self.client.receive_for(Some(self.index));
        let arrived = self.slot.take(self.generation);
        let reply = match (arrived, received) {
            (Some(message), _) => Some(Ok(message)),
            (None, Err(_)) => {
                // Not if it comes in this very moment.
                Some(self.slot.leave(self.generation).ok_or(CallError::PeerGone))
            }
            (None, Ok(_)) => None,
        };
        if reply.is_some() {
            self.is_over = true;
            self.client.has_freed_slot();
        }
        Look { reply, has_more: received.unwrap_or(false) }
    }

    /// Waits for the reply; none if it has not come until the deadline.
    fn wait_for_reply(&mut self, until: Option<T::Deadline>) -> Option<Result<Message, CallError>> {
        // Without the announcement that one waits the peer need not ring.
        if let Some(reply) = self.look().reply {
            return Some(reply);
        }
        loop {
            let leg = self.client.leg();
            let seen = leg.transport().watch();
            let look = self.look();
            if look.reply.is_some() || leg.is_over(until) {
                return look.reply;
            }
            if !look.has_more {
                leg.doze(seen, until);
            }
        }
    }

    fn unmarshal_in<'s, B: Deserialize<'s>>(
        &self,
        reply: Result<Message, CallError>,
        copy: &'s mut [u8],
    ) -> Outcome<B> {
        decode(self.payload(reply, copy)?).map_err(|_| CallError::BadReply)
    }

    /// The payload of a reply that is a result, copied.
    fn payload<'s>(
        &self,
        reply: Result<Message, CallError>,
        copy: &'s mut [u8],
    ) -> Outcome<&'s [u8]> {
        let message = reply?;
        if message.code == 0 {
            return Ok(self.client.leg().fetch(&message, copy)?);
        }
        self.client.leg().discard(&message);
        Err(Status::from_code(message.code).map_or(CallError::BadReply, CallError::Refused))
    }
}

impl<T: Transport, const CALLS: usize, R: DeserializeOwned> Pending<'_, '_, T, CALLS, R> {
    /// Finishes the call. A reply in a buffer is copied to 5 KB on the stack; for a larger one use
    /// [`Pending::finish_in`].
    ///
    /// # Errors
    /// The call itself, if it is not over.
    pub fn finish(mut self) -> Result<Outcome<R>, Self> {
        match self.look().reply {
            Some(reply) => Ok(self.unmarshal(reply)),
            None => Err(self),
        }
    }

    /// Waits for the end of the call: as long as the peer likes, or until it is gone.
    ///
    /// Replies to other calls that have come meanwhile keep their buffers until those are finished or dropped. Who waits for one call while
    /// all buffers hold results of others of its own waits for ever, if the result needs a buffer and the server waits for one: there have
    /// to be as many buffers as such calls at a time, or each is waited for in the order of their replies, or in a thread or task of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(mut self) -> Outcome<R> {
        let reply = self.wait_for_reply(None).unwrap_or(Err(CallError::Over));
        self.unmarshal(reply)
    }

    /// Waits for the end of the call, at most until the deadline, whatever the peer does.
    ///
    /// # Errors
    /// The call itself, still in flight.
    pub fn wait_until(mut self, deadline: T::Deadline) -> Result<Outcome<R>, Self> {
        match self.wait_for_reply(Some(deadline)) {
            Some(reply) => Ok(self.unmarshal(reply)),
            None => Err(self),
        }
    }

    fn unmarshal(&self, reply: Result<Message, CallError>) -> Outcome<R> {
        match reply {
            Ok(Message { code: 0, body: Body::Inline(inline), .. }) => {
                decode(inline.as_bytes()).map_err(|_| CallError::BadReply)
            }
            reply => self.unmarshal_on_stack(reply),
        }
    }

    /// Apart, so that only replies in buffers need so much stack.
    #[inline(never)]
    fn unmarshal_on_stack(&self, reply: Result<Message, CallError>) -> Outcome<R> {
        let mut copy = [0; DEFAULT_BUFFER_BYTES];
        self.unmarshal_in(reply, &mut copy)
    }
}

/// Ready when the call is over.
impl<T: Transport, const CALLS: usize, R: DeserializeOwned> Future
    for Pending<'_, '_, T, CALLS, R>
{
    type Output = Outcome<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.client.leg().watch_for(context);
        let look = this.look();
        match look.reply {
            Some(reply) => Poll::Ready(this.unmarshal(reply)),
            None => {
                if look.has_more {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl<T: Transport, const CALLS: usize, R> Drop for Pending<'_, '_, T, CALLS, R> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(reply) = self.slot.leave(self.generation) {
            self.client.leg().discard(&reply);
        }
        self.client.has_freed_slot();
    }
}
