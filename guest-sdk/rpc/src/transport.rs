//! What carries messages: the two traits that connect this crate to the world.

use core::task::Waker;

use crate::error::SendError;
use crate::message::Message;

/// The peer has ended, or has left the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerGone;

/// A moment in the life of a [`Doorbell`]: what happens later changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(pub u32);

/// One end of a connection that carries messages both ways, in order, each once. Any number of threads or vCPUs of one
/// side may use it at the same time.
///
/// How one waits without missing anything: `watch`, look once more, then `wait` or `wait_until`; a task: `register`, `watch`, look once
/// more. What can happen is a message, room, a free buffer, the peer's end, or [`Transport::wake`]. A message of which nothing is told
/// counts as told if others wait before it: who waits for something else and leaves those there asks [`Transport::has_untaken`].
/// So does one that somebody takes the moment it comes: what is meant for others, too, is told to them by whoever takes it.
pub trait Transport: Sync {
    /// A moment of this side's clock.
    type Deadline: Copy;

    /// The most bytes of payload that a message itself can carry: at most [`INLINE_BYTES`](crate::INLINE_BYTES).
    fn inline_bytes(&self) -> usize;

    /// Sends a message and wakes the peer if it waits. Never blocks.
    ///
    /// # Errors
    /// `Full` when there is no room now, `PeerGone`, `TooLarge` for an inline payload above
    /// [`Transport::inline_bytes`], `Transport` for anything else.
    fn send(&self, message: &Message) -> Result<(), SendError>;

    /// The next message that has arrived. What is none is passed over and counted in `others`, a bounded number of them: word that a buffer is
    /// free is meant for all that wait here. Behind so many there may be more, of which nothing is told.
    ///
    /// # Errors
    /// [`PeerGone`], once there is nothing left of what the peer sent before.
    fn receive(&self, others: &mut u32) -> Result<Option<Message>, PeerGone>;

    /// Wakes the peer if it waits: a buffer is free again, or there is room for a message.
    fn notify(&self);

    /// Announces that this side is about to wait; from here on the peer wakes it.
    fn watch(&self) -> Epoch;

    /// Waits until something has happened since `seen`, or returns early.
    fn wait(&self, seen: Epoch);

    /// The same, but not beyond the deadline: also if nothing happens at all.
    fn wait_until(&self, seen: Epoch, deadline: Self::Deadline);

    /// Whether messages lie here untaken, so that of the next one nothing may be told. Who waits for something else than a message, and may
    /// leave messages where they are, asks behind `watch` and *before* its last look: if so it waits by `wait_beside`, and a task is woken at
    /// once. Asked behind it, the answer says nothing of a message that has found no room meanwhile. Never so where each message is told of.
    fn has_untaken(&self) -> bool {
        false
    }

    /// Waits a short time only, at most until the deadline: for transports that say [`Transport::has_untaken`].
    fn wait_beside(&self, seen: Epoch, until: Option<Self::Deadline>) {
        match until {
            Some(deadline) => self.wait_until(seen, deadline),
            None => self.wait(seen),
        }
    }

    /// Whether the deadline has come.
    fn is_over(&self, deadline: Self::Deadline) -> bool;

    /// Has a task woken once, by the next that happens. A transport that has no room for one more task wakes one of them at once.
    fn register(&self, waker: &Waker);

    /// Wakes what waits on this side, threads and tasks: another one has made something happen.
    fn wake(&self);

    /// Whether the peer has ended or has left. Stays so; what it sent before may still be here.
    fn is_peer_gone(&self) -> bool;
}

/// How two sides that share memory wake each other: an event port, a channel, or a condition variable in a test.
///
/// A doorbell does not count and does not carry anything. An implementation for a guest: `ring` sends an event; the
/// handler of the peer's event, and `wake`, add one to a word, execute SEV, and wake the tasks that have registered; `wait` executes WFE
/// until the word differs.
pub trait Doorbell: Sync {
    /// A moment of this side's clock.
    type Deadline: Copy;

    /// Wakes the peer's waiters. Whether the peer still exists shows in [`Doorbell::is_peer_gone`].
    fn ring(&self);

    /// The present moment.
    fn epoch(&self) -> Epoch;

    /// Takes the rings that lie here, behind a look at the moment; whether there were any. Where rings leave something behind, of the next one
    /// nothing may be told before, and one that is taken the moment it comes may have been told to nobody.
    fn take_rings(&self) -> bool {
        false
    }

    /// Waits until the peer rings, the peer is gone, or somebody calls [`Doorbell::wake`], unless one of these has
    /// happened since `seen`. May return early.
    fn wait(&self, seen: Epoch);

    /// The same, but not beyond the deadline.
    fn wait_until(&self, seen: Epoch, deadline: Self::Deadline);

    /// Whether the deadline has come.
    fn is_over(&self, deadline: Self::Deadline) -> bool;

    /// Has a task woken once, by the next that ends a wait. A doorbell that has no room for one more task wakes one of them at once.
    fn register(&self, waker: &Waker);

    /// Wakes the waiters of this side, threads and tasks.
    fn wake(&self);

    /// Whether the peer has ended or has left. Stays so.
    fn is_peer_gone(&self) -> bool;
}

impl<D: Doorbell> Doorbell for &D {
    type Deadline = D::Deadline;

    fn ring(&self) {
        (**self).ring();
    }

    fn epoch(&self) -> Epoch {
        (**self).epoch()
    }

    fn take_rings(&self) -> bool {
        (**self).take_rings()
    }

    fn wait(&self, seen: Epoch) {
        (**self).wait(seen);
    }

    fn wait_until(&self, seen: Epoch, deadline: D::Deadline) {
        (**self).wait_until(seen, deadline);
    }

    fn is_over(&self, deadline: D::Deadline) -> bool {
        (**self).is_over(deadline)
    }

    fn register(&self, waker: &Waker) {
        (**self).register(waker);
    }

    fn wake(&self) {
        (**self).wake();
    }

    fn is_peer_gone(&self) -> bool {
        (**self).is_peer_gone()
    }
}
