//! The intermediary of a call over two hops: a server on one leg, a client on the next.
//!
//! ```text
//!   caller ──request──▶ [buffer of leg 1] ──copy──▶ relay ──copy──▶ [buffer of leg 2] ──▶ server
//!   caller ◀──reply──── [buffer of leg 1] ◀──copy── relay ◀──copy── [buffer of leg 2] ◀── server
//! ```
//!
//! The relay gives a buffer of one leg back before it asks for one of the other, so that no leg holds up the other.
//! While the server executes, neither leg has a buffer for the call.
//!
//! It waits for what happens on two legs, and so in a task: [`Relay::run`], for an executor. A thread that is to wait runs that task to
//! its end, or until a deadline (`shikiri_channel::block_on` and `block_on_until`); one that has other work polls: [`Relay::step`].

use core::future::poll_fn;
use core::task::{Context, Poll};

use crate::client::Client;
use crate::codec::Raw;
use crate::error::{CallError, SendError, Shortage as _, Status};
use crate::pending::Pending;
use crate::pool::DEFAULT_BUFFER_BYTES;
use crate::room::Waiting;
use crate::server::{Answer, NotSent, Received, Server};
use crate::transport::{PeerGone, Transport};

/// The most steps in a turn: a caller that sends without end keeps no other task of the executor's waiting.
const BATCH: usize = 64;

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// No call is here, and none has arrived.
    Idle,
    /// A call went on.
    Moved,
    /// A call is here and waits: for a buffer, for room, or for the server.
    Waiting,
}

/// The context of one call at the intermediary, with the copy of its payload. It takes a call, sees it through, and is
/// free for the next. Several serve at the same time, in one thread or in many.
///
/// `U` is the transport of the leg to the caller, `D` of the one to the server.
pub struct Relay<'r, 'u, 'd, U, D, const CALLS: usize, const BYTES: usize = DEFAULT_BUFFER_BYTES>
where
    U: Transport,
    D: Transport,
{
    up: &'r Server<'u, U>,
    down: &'r Client<'d, D, CALLS>,
    copy: [u8; BYTES],
    state: State<'r, 'u, 'd, U, D, CALLS>,
    /// The reply was not sent for want of a buffer.
    lacks_buffer: bool,
}

enum State<'r, 'u, 'd, U: Transport, D: Transport, const CALLS: usize> {
    /// No call.
    Free,
    /// The request is in the copy and has to go to the server.
    Request { answer: Answer<'r, 'u, U>, method: u16, length: usize },
    /// The server has it.
    Called { answer: Answer<'r, 'u, U>, pending: Pending<'r, 'd, D, CALLS, ()> },
    /// The reply is in the copy (or is only a status) and has to go to the caller.
    Reply { answer: Answer<'r, 'u, U>, status: Option<Status>, length: usize },
}

impl<'r, 'u, 'd, U, D, const CALLS: usize, const BYTES: usize> Relay<'r, 'u, 'd, U, D, CALLS, BYTES>
where
    U: Transport,
    D: Transport,
{
    /// A context that is free.
    pub fn new(up: &'r Server<'u, U>, down: &'r Client<'d, D, CALLS>) -> Self {
        Self { up, down, copy: [0; BYTES], state: State::Free, lacks_buffer: false }
    }

    /// Whether it has a call.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Free)
    }

    /// Serves calls in a task, one after the other, until the caller's side is gone. Dropped before, it leaves the call that it has
    /// where it is, and goes on with it when it is run or stepped again.
    pub async fn run(&mut self) {
        let mut waits = None;
        poll_fn(|task| self.poll_run(task, &mut waits)).await;
    }

    /// Steps until there is nothing to do. Who finds something missing counts as one that waits for it, from before the last look.
    fn poll_run(
        &mut self,
        task: &Context<'_>,
        waits: &mut Option<(Waiting<'r>, Waiting<'r>)>,
    ) -> Poll<()> {
        self.up.leg().watch_for(task);
        self.down.leg().watch_for(task);
        for _ in 0..BATCH {
            // Beside the caller's next requests.
            let has_untaken = waits.is_some() && self.up.leg().transport().has_untaken();
            match self.step() {
                Err(PeerGone) => return Poll::Ready(()),
                Ok(Step::Moved) => *waits = None,
                Ok(Step::Waiting) if waits.is_none() => {
                    *waits = Some((self.up.leg().enter(), self.down.leg().enter()));
                }
                Ok(Step::Waiting) => {
                    if has_untaken && self.lacks_buffer {
                        task.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
                Ok(Step::Idle) => return Poll::Pending,
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done without waiting, at most one step of a call.
    ///
    /// # Errors
    /// [`PeerGone`]: the caller's side is gone, and with it the call. That the server is gone is told the caller.
    pub fn step(&mut self) -> Result<Step, PeerGone> {
        if self.is_busy() && self.up.leg().transport().is_peer_gone() {
            // Nobody waits for the call: its slot on the other leg is free with it, its late reply is thrown away.
            self.state = State::Free;
            return Err(PeerGone);
        }
        self.lacks_buffer = false;
        match core::mem::replace(&mut self.state, State::Free) {
            State::Free => self.take_request(),
            State::Request { answer, method, length } => self.forward(answer, method, length),
            State::Called { answer, pending } => Ok(self.take_reply(answer, pending)),
            State::Reply { answer, status, length } => self.give_back(answer, status, length),
        }
    }

    /// Copies the next request, whose buffer is free then.
    fn take_request(&mut self) -> Result<Step, PeerGone> {
        let Some(received) = self.up.receive_raw(&mut self.copy)? else { return Ok(Step::Idle) };
        let Received { method, length, answer } = received;
        self.state = State::Request { answer, method, length };
        Ok(Step::Moved)
    }

    /// Sends the request on, or tries again at the next step.
    fn forward(
        &mut self,
        answer: Answer<'r, 'u, U>,
        method: u16,
        length: usize,
    ) -> Result<Step, PeerGone> {
        let request = self.copy.get(..length).unwrap_or_default();
        let begin = || self.down.begin_with(method, &Raw(request));
        let begun = match begin() {
            Err(why) if why.is_shortage() => {
                // What frees a buffer or a slot may be in what has arrived. Behind that is the last look: what tells of a buffer may have
                // found no room before.
                match self.down.receive_for(None) {
                    Err(PeerGone) => Err(CallError::PeerGone),
                    Ok(has_more) => {
                        if has_more {
                            // Of which nobody tells.
                            self.down.leg().transport().wake();
                        }
                        begin()
                    }
                }
            }
            begun => begun,
        };
        match begun {
            Ok(pending) => {
                self.state = State::Called { answer, pending };
                Ok(Step::Moved)
            }
            Err(why) if why.is_shortage() => {
                self.state = State::Request { answer, method, length };
                Ok(Step::Waiting)
            }
            Err(why) => {
                self.state = State::Reply { answer, status: Some(why.into()), length: 0 };
                Ok(Step::Moved)
            }
        }
    }

    /// Copies the reply, if it is here; its buffer is free then.
    fn take_reply(
        &mut self,
        answer: Answer<'r, 'u, U>,
        mut pending: Pending<'r, 'd, D, CALLS, ()>,
    ) -> Step {
        let (status, length) = match pending.finish_raw(&mut self.copy) {
            None => {
                self.state = State::Called { answer, pending };
                return Step::Waiting;
            }
            Some(Ok(reply)) => (None, reply.len()),
            Some(Err(why)) => (Some(why.into()), 0),
        };
        self.state = State::Reply { answer, status, length };
        Step::Moved
    }

    /// Sends the reply back, or tries again at the next step.
    fn give_back(
        &mut self,
        answer: Answer<'r, 'u, U>,
        status: Option<Status>,
        length: usize,
    ) -> Result<Step, PeerGone> {
        let reply = self.copy.get(..length).unwrap_or_default();
        let Err(NotSent { answer, why }) =
            answer.send_payload(status.map_or(0, Status::code), &Raw(reply))
        else {
            return Ok(Step::Moved);
        };
        match why {
            SendError::NoBuffer | SendError::NoMemory | SendError::Full => {
                self.lacks_buffer = why.is_of_buffers();
                self.state = State::Reply { answer, status, length };
                Ok(Step::Waiting)
            }
            SendError::TooLarge | SendError::NotMarshalled => {
                self.state = State::Reply { answer, status: Some(Status::TooLarge), length: 0 };
                Ok(Step::Moved)
            }
            SendError::PeerGone => Err(PeerGone),
            // Its caller is told that the call is abandoned, as far as the transport lets it.
            SendError::Transport(_) => {
                drop(answer);
                Ok(Step::Moved)
            }
        }
    }
}
