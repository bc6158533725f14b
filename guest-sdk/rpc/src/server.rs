//! The server's side: requests are copied to a context, their buffers given back, and only then executed.
//!
//! One context serves one call at a time:
//!
//! ```compile_fail,E0499
//! # use shikiri_rpc::{Context, Server, Transport};
//! # fn with<T: Transport>(server: &Server<'_, T>, context: &mut Context) {
//! let first = server.receive(context);
//! let second = server.receive(context);
//! drop((first, second));
//! # }
//! ```
//!
//! and a call is answered once:
//!
//! ```compile_fail,E0382
//! # use shikiri_rpc::{Answer, Transport};
//! # fn with<T: Transport>(answer: Answer<'_, '_, T>) {
//! answer.send(&1).ok();
//! answer.send(&2).ok();
//! # }
//! ```

use core::fmt;

use serde_core::Serialize;

use crate::codec::{Payload, Raw, Value};
use crate::error::{FetchError, SendError, Status};
use crate::facade::atomic::{AtomicU64, Ordering};
use crate::leg::{Leg, Patience};
use crate::message::{CallId, Kind, Message};
use crate::owed::Owed;
use crate::pool::DEFAULT_BUFFER_BYTES;
use crate::service::Dispatch;
use crate::transport::{PeerGone, Transport};

/// How many malformed requests are passed over in one look.
const BATCH: usize = 64;

/// What a server has for one call: memory of its own that the arguments are copied to. As many calls are executed at
/// a time as there are contexts; further ones wait in the transport.
pub struct Context<const BYTES: usize = DEFAULT_BUFFER_BYTES> {
    copy: [u8; BYTES],
}

impl<const BYTES: usize> Context<BYTES> {
    /// A context for arguments of up to `BYTES` bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { copy: [0; BYTES] }
    }
}

impl<const BYTES: usize> Default for Context<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// A server's end of a leg. Any number of threads or vCPUs may serve, each with a context of its own.
pub struct Server<'a, T> {
    leg: Leg<'a, T>,
    patience: Patience,
    rejected: AtomicU64,
    owed: Owed,
}

/// A call to be executed. Its arguments are here, and none of it is in shared memory any more.
pub struct Request<'s, 'c, 'a, T: Transport> {
    /// Which method.
    pub method: u16,
    /// The arguments, marshalled.
    pub arguments: &'c [u8],
    /// What has to be given.
    pub answer: Answer<'s, 'a, T>,
}

impl<'a, T: Transport> Server<'a, T> {
    /// A server on this leg. `patience` is for replies that find no buffer or no room: with `Fail` the caller gets
    /// [`Status::NoBuffer`].
    pub fn new(leg: Leg<'a, T>, patience: Patience) -> Self {
        Self { leg, patience, rejected: AtomicU64::new(0), owed: Owed::new() }
    }

    /// Its leg.
    pub fn leg(&self) -> &Leg<'a, T> {
        &self.leg
    }

    /// Takes the next request: copies its arguments to the context and gives its buffer back. Does not wait. What is
    /// malformed or too large for the context is refused here. A caller that leaves no room for refusals has none of its requests
    /// taken until these are sent.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub fn receive<'c, const BYTES: usize>(
        &self,
        context: &'c mut Context<BYTES>,
    ) -> Result<Option<Request<'_, 'c, 'a, T>>, PeerGone> {
        let received = self.receive_raw(&mut context.copy)?;
        Ok(received.map(|(method, length, answer)| {
            let arguments = context.copy.get(..length).unwrap_or_default();
            Request { method, arguments, answer }
        }))
    }

    /// As [`Server::receive`], but waits for a request.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub fn wait<'c, const BYTES: usize>(
        &self,
        context: &'c mut Context<BYTES>,
    ) -> Result<Request<'_, 'c, 'a, T>, PeerGone> {
        let (method, length, answer) = loop {
            if let Some(received) = self.receive_raw(&mut context.copy)? {
                break received;
            }
            let seen = self.leg.transport().watch();
            if let Some(received) = self.receive_raw(&mut context.copy)? {
                break received;
            }
            self.leg.transport().wait(seen);
        };
        let arguments = context.copy.get(..length).unwrap_or_default();
        Ok(Request { method, arguments, answer })
    }

    /// Serves calls with this context until the peer is gone.
    pub fn serve<const BYTES: usize>(&self, context: &mut Context<BYTES>, service: &impl Dispatch) {
        while let Ok(request) = self.wait(context) {
            service.dispatch(request);
        }
    }

    /// How many messages were refused: no requests, buffers that do not exist, arguments that are too large.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// The next good request: method, length of the copied arguments, and the answer that is due.
    pub(crate) fn receive_raw(
        &self,
        copy: &mut [u8],
    ) -> Result<Option<(u16, usize, Answer<'_, 'a, T>)>, PeerGone> {
        for _ in 0..BATCH {
            if !self.owes_nothing() {
                return Ok(None);
            }
            let Some(message) = self.leg.transport().receive()? else { return Ok(None) };
            if let Some(length) = self.accept(&message, copy) {
                let answer = Answer { server: self, call: message.call, is_due: true };
                return Ok(Some((message.code, length, answer)));
            }
        }
        Ok(None)
    }

    /// Copies a request's arguments, or refuses it.
    fn accept(&self, message: &Message, copy: &mut [u8]) -> Option<usize> {
        if message.kind != Kind::Request {
            self.leg.discard(message);
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let why = match self.leg.fetch(message, copy) {
            Ok(arguments) => return Some(arguments.len()),
            Err(FetchError::BadReference) => Status::BadMessage,
            Err(FetchError::TooLarge) => Status::TooLarge,
        };
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let answer = Answer { server: self, call: message.call, is_due: true };
        // Without waiting: who sends what is malformed holds nobody up.
        answer.refuse_now(why);
        None
    }

    /// Keeps a refusal that found no room. Whoever serves may have fallen asleep before: it is woken, and looks whether there is some.
    fn owe(&self, call: CallId, status: Status) {
        self.owed.keep(call, status);
        self.leg.transport().wake();
    }

    /// Sends the refusals that found no room, as far as there is some now.
    #[inline]
    fn owes_nothing(&self) -> bool {
        let mut has_sent = false;
        let is_settled = self.owed.settle(|call, code| {
            let sent = self.leg.send(Kind::Reply, code, call, &Raw(&[]));
            has_sent = sent != Err(SendError::Full) || self.leg.transport().is_peer_gone();
            has_sent
        });
        if is_settled && has_sent {
            // Who looked for requests meanwhile took none, and may have fallen asleep.
            self.leg.transport().wake();
        }
        is_settled
    }
}

/// The answer that a call waits for. Dropping it tells the caller that the call was abandoned.
#[must_use = "a call that is not answered is abandoned"]
pub struct Answer<'s, 'a, T: Transport> {
    server: &'s Server<'a, T>,
    call: CallId,
    is_due: bool,
}

/// An answer that was not sent, and why; it can be tried again.
pub struct NotSent<'s, 'a, T: Transport> {
    /// The answer, still due.
    pub answer: Answer<'s, 'a, T>,
    /// Why.
    pub why: SendError,
}

impl<T: Transport> fmt::Debug for NotSent<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotSent").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<'s, 'a, T: Transport> Answer<'s, 'a, T> {
    /// Answers with a result, in a fresh buffer if it is not small. Does not wait.
    ///
    /// # Errors
    /// [`NotSent`], with the answer.
    pub fn send<R: Serialize + ?Sized>(self, result: &R) -> Result<(), NotSent<'s, 'a, T>> {
        self.send_payload(0, &Value(result))
    }

    /// Answers with a result, as the server's patience says; what cannot be sent becomes a refusal.
    pub fn settle<R: Serialize + ?Sized>(self, result: &R) {
        if let Err(NotSent { answer, why }) = self.send_patiently(0, &Value(result)) {
            answer.refuse(refusal(why));
        }
    }

    /// Answers without a result, as the server's patience says. If even that finds no room it is sent when the server next looks for
    /// requests.
    pub fn refuse(self, status: Status) {
        if let Err(NotSent { answer, why }) = self.send_patiently(status.code(), &Raw(&[])) {
            answer.owe(status, why);
        }
    }

    /// The same without waiting.
    fn refuse_now(self, status: Status) {
        if let Err(NotSent { answer, why }) = self.send_payload(status.code(), &Raw(&[])) {
            answer.owe(status, why);
        }
    }

    /// The server sends the refusal later, if room was all that was missing.
    fn owe(self, status: Status, why: SendError) {
        if why == SendError::Full {
            self.server.owe(self.call, status);
        }
        self.forget();
    }

    /// Sends, and waits for a buffer or for room if the server's patience says so.
    fn send_patiently(self, code: u16, payload: &impl Payload) -> Result<(), NotSent<'s, 'a, T>> {
        let first = self.send_payload(code, payload);
        let Err(NotSent { answer, why }) = first else { return Ok(()) };
        if !why.is_shortage() || answer.server.patience == Patience::Fail {
            return Err(NotSent { answer, why });
        }
        let (leg, call) = (&answer.server.leg, answer.call);
        let sent = leg.persist(
            || leg.send(Kind::Reply, code, call, payload),
            |why| why.is_shortage(),
            || false,
            || false,
        );
        match sent {
            Ok(()) => {
                answer.forget();
                Ok(())
            }
            Err(why) => Err(NotSent { answer, why }),
        }
    }

    /// Answers with this payload.
    pub(crate) fn send_payload(
        self,
        code: u16,
        payload: &impl Payload,
    ) -> Result<(), NotSent<'s, 'a, T>> {
        match self.server.leg.send(Kind::Reply, code, self.call, payload) {
            Ok(()) => {
                self.forget();
                Ok(())
            }
            Err(why) => Err(NotSent { answer: self, why }),
        }
    }

    /// It is no longer due.
    fn forget(mut self) {
        self.is_due = false;
    }
}

/// What the caller is told if its result cannot be sent.
fn refusal(why: SendError) -> Status {
    match why {
        SendError::NoBuffer | SendError::NoMemory | SendError::Full => Status::NoBuffer,
        SendError::TooLarge => Status::TooLarge,
        SendError::NotMarshalled | SendError::PeerGone => Status::Abandoned,
    }
}

impl<T: Transport> Drop for Answer<'_, '_, T> {
    fn drop(&mut self) {
        if self.is_due {
            let status = Status::Abandoned;
            let sent = self.server.leg.send(Kind::Reply, status.code(), self.call, &Raw(&[]));
            if sent == Err(SendError::Full) {
                self.server.owe(self.call, status);
            }
        }
    }
}
