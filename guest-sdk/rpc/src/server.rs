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
use core::future::poll_fn;
use core::task::Poll;

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
        Ok(received.map(|received| received.request(&context.copy)))
    }

    /// As [`Server::receive`], but waits for a request.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub fn wait<'c, const BYTES: usize>(
        &self,
        context: &'c mut Context<BYTES>,
    ) -> Result<Request<'_, 'c, 'a, T>, PeerGone> {
        let received = loop {
            if let Some(received) = self.wait_raw(&mut context.copy, None)? {
                break received;
            }
        };
        Ok(received.request(&context.copy))
    }

    /// The same; none if none has come until the deadline.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub fn wait_until<'c, const BYTES: usize>(
        &self,
        context: &'c mut Context<BYTES>,
        deadline: T::Deadline,
    ) -> Result<Option<Request<'_, 'c, 'a, T>>, PeerGone> {
        let received = self.wait_raw(&mut context.copy, Some(deadline))?;
        Ok(received.map(|received| received.request(&context.copy)))
    }

    /// The same in a task, without a deadline.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub async fn received<'c, const BYTES: usize>(
        &self,
        context: &'c mut Context<BYTES>,
    ) -> Result<Request<'_, 'c, 'a, T>, PeerGone> {
        let copy = &mut context.copy;
        let received = poll_fn(|task| {
            self.leg.watch_for(task);
            self.receive_raw(copy).transpose().map_or(Poll::Pending, Poll::Ready)
        });
        let received = received.await?;
        Ok(received.request(&context.copy))
    }

    /// Serves calls with this context until the peer is gone.
    pub fn serve<const BYTES: usize>(&self, context: &mut Context<BYTES>, service: &impl Dispatch) {
        while let Ok(request) = self.wait(context) {
            service.dispatch(request);
        }
    }

    /// Serves calls with this context until the deadline. A reply that waits for a buffer or for room then becomes a refusal.
    ///
    /// # Errors
    /// [`PeerGone`], before that.
    pub fn serve_until<const BYTES: usize>(
        &self,
        context: &mut Context<BYTES>,
        service: &impl Dispatch,
        deadline: T::Deadline,
    ) -> Result<(), PeerGone> {
        // A peer that calls without end is no reason to go on.
        while !self.leg.transport().is_over(deadline)
            && let Some(mut request) = self.wait_until(context, deadline)?
        {
            request.answer.until = Some(deadline);
            service.dispatch(request);
        }
        Ok(())
    }

    /// Serves calls with this context until the peer is gone, in a task: also where a reply waits for a buffer or for room.
    pub async fn served<const BYTES: usize>(
        &self,
        context: &mut Context<BYTES>,
        service: &impl Dispatch,
    ) {
        while let Ok(request) = self.received(context).await {
            service.dispatched(request).await;
        }
    }

    /// How many messages were refused: no requests, buffers that do not exist, arguments that are too large.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Waits for a good request; none if none has come until the deadline.
    fn wait_raw(
        &self,
        copy: &mut [u8],
        until: Option<T::Deadline>,
    ) -> Result<Option<Received<'_, 'a, T>>, PeerGone> {
        // Without the announcement that one waits the peer need not ring.
        let mut received = self.receive_raw(copy)?;
        while received.is_none() {
            let seen = self.leg.transport().watch();
            received = self.receive_raw(copy)?;
            if received.is_some() || self.leg.is_over(until) {
                break;
            }
            self.leg.doze(seen, until);
        }
        Ok(received)
    }

    /// The next good request.
    pub(crate) fn receive_raw(
        &self,
        copy: &mut [u8],
    ) -> Result<Option<Received<'_, 'a, T>>, PeerGone> {
        for _ in 0..BATCH {
            if !self.owes_nothing() {
                return Ok(None);
            }
            let Some(message) = self.leg.receive()? else { return Ok(None) };
            if let Some(length) = self.accept(&message, copy) {
                let answer = Answer::due(self, message.call);
                return Ok(Some(Received { method: message.code, length, answer }));
            }
        }
        // There may be more, of which nobody tells.
        self.leg.transport().wake();
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
        let answer = Answer::due(self, message.call);
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
    /// How long it may wait for a buffer or for room.
    until: Option<T::Deadline>,
}

/// A request whose arguments were copied.
pub(crate) struct Received<'s, 'a, T: Transport> {
    pub(crate) method: u16,
    /// The arguments' length.
    pub(crate) length: usize,
    pub(crate) answer: Answer<'s, 'a, T>,
}

impl<'s, 'a, T: Transport> Received<'s, 'a, T> {
    /// The request with its arguments, which lie at the copy's begin.
    fn request(self, copy: &[u8]) -> Request<'s, '_, 'a, T> {
        let Self { method, length, answer } = self;
        Request { method, arguments: copy.get(..length).unwrap_or_default(), answer }
    }
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
    fn due(server: &'s Server<'a, T>, call: CallId) -> Self {
        Self { server, call, is_due: true, until: None }
    }

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

    /// As [`Answer::settle`], for a task.
    pub async fn settled<R: Serialize + ?Sized>(self, result: &R) {
        if let Err(NotSent { answer, why }) = self.sent_patiently(0, &Value(result)).await {
            answer.refused(refusal(why)).await;
        }
    }

    /// As [`Answer::refuse`], for a task.
    pub async fn refused(self, status: Status) {
        if let Err(NotSent { answer, why }) = self.sent_patiently(status.code(), &Raw(&[])).await {
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
        let Err(NotSent { answer, why }) = self.send_payload(code, payload) else { return Ok(()) };
        if !answer.may_wait(why) {
            return Err(NotSent { answer, why });
        }
        let (leg, call) = (&answer.server.leg, answer.call);
        let sent =
            leg.persist(|| leg.send(Kind::Reply, code, call, payload), answer.until, || false);
        answer.end(sent)
    }

    /// The same for a task.
    async fn sent_patiently(
        self,
        code: u16,
        payload: &impl Payload,
    ) -> Result<(), NotSent<'s, 'a, T>> {
        let Err(NotSent { answer, why }) = self.send_payload(code, payload) else { return Ok(()) };
        if !answer.may_wait(why) {
            return Err(NotSent { answer, why });
        }
        let (leg, call) = (&answer.server.leg, answer.call);
        let attempt = || leg.send(Kind::Reply, code, call, payload);
        let sent = leg.persisted(attempt, || false).await;
        answer.end(sent)
    }

    /// Whether it waits for what is missing.
    fn may_wait(&self, why: SendError) -> bool {
        why.is_shortage() && self.server.patience == Patience::Wait
    }

    /// Answers with this payload.
    pub(crate) fn send_payload(
        self,
        code: u16,
        payload: &impl Payload,
    ) -> Result<(), NotSent<'s, 'a, T>> {
        let sent = self.server.leg.send(Kind::Reply, code, self.call, payload);
        self.end(sent)
    }

    /// It is no longer due if it was sent.
    fn end(self, sent: Result<(), SendError>) -> Result<(), NotSent<'s, 'a, T>> {
        match sent {
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
        SendError::NotMarshalled | SendError::PeerGone | SendError::Transport(_) => {
            Status::Abandoned
        }
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
