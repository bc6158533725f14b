//! One leg of a call: a transport, the areas that go with it, and who waits for either.

use core::future::poll_fn;
use core::task::{Context, Poll};

use crate::codec::Payload;
use crate::error::{FetchError, SendError, Shortage};
use crate::facade::atomic::{AtomicBool, Ordering, fence};
use crate::message::{Body, CallId, INLINE_BYTES, Inline, Kind, Message};
use crate::pool::Buffer;
use crate::pools::Pools;
use crate::room::{Waiters, Waiting};
use crate::transport::{Epoch, PeerGone, Transport};

/// What to do when there is no buffer, no room or no call slot at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Say so.
    Fail,
    /// Wait until there is, or the peer is gone. The peer decides how long.
    Wait,
}

/// One side's end of a connection between two partitions.
pub struct Leg<'a, T> {
    transport: T,
    pools: Pools<'a>,
    /// Payloads up to this size travel in the message.
    threshold: usize,
    waiters: Waiters,
    /// Somebody found no buffer, and may wait for one that another one has taken in vain.
    is_missing_buffer: AtomicBool,
}

impl<'a, T: Transport> Leg<'a, T> {
    /// A leg without an area. Payloads up to 128 bytes travel without a buffer, or less if the transport's messages
    /// are shorter.
    pub fn new(transport: T) -> Self {
        Self::with_threshold(transport, INLINE_BYTES)
    }

    /// A leg with another threshold: the most bytes that travel without a buffer; 0: only what is empty.
    pub fn with_threshold(transport: T, threshold: usize) -> Self {
        let threshold = threshold.min(transport.inline_bytes()).min(INLINE_BYTES);
        let (pools, waiters) = (Pools::new(), Waiters::new());
        Self { transport, pools, threshold, waiters, is_missing_buffer: AtomicBool::new(false) }
    }

    /// Its areas.
    pub fn pools(&self) -> &Pools<'a> {
        &self.pools
    }

    /// Its transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Whoever has the result waits for a buffer, for room or for a slot: what this side frees from here on wakes it.
    pub(crate) fn enter(&self) -> Waiting<'_> {
        self.waiters.enter()
    }

    /// Waits until something has happened since `seen`, at most until a deadline.
    pub(crate) fn doze(&self, seen: Epoch, until: Option<T::Deadline>) {
        match until {
            Some(deadline) => self.transport.wait_until(seen, deadline),
            None => self.transport.wait(seen),
        }
    }

    /// Whether there is a deadline and it has come.
    pub(crate) fn is_over(&self, until: Option<T::Deadline>) -> bool {
        until.is_some_and(|deadline| self.transport.is_over(deadline))
    }

    /// Sends a message with this payload: in the message if it is small, else in a buffer.
    pub(crate) fn send(
        &self,
        kind: Kind,
        code: u16,
        call: CallId,
        payload: &impl Payload,
    ) -> Result<(), SendError> {
        let bytes = payload.bytes().ok_or(SendError::NotMarshalled)?;
        if bytes <= self.threshold {
            let body = Body::Inline(inline(payload)?);
            return self.transport.send(&Message { kind, code, call, body });
        }
        let (area, mut buffer) = self.take(bytes, kind)?;
        let length = payload.to_area(buffer.area()).and_then(|length| u32::try_from(length).ok());
        let Some(bytes) = length else {
            drop(buffer);
            self.has_freed();
            return Err(SendError::NotMarshalled);
        };
        // Before it is sent: the peer may give it back before this side comes to anything else.
        let reference = buffer.hand_over();
        let body = Body::Buffer { area, reference, bytes };
        self.transport.send(&Message { kind, code, call, body }).inspect_err(|_| {
            // It is this side's again.
            drop(self.pools.adopt(area, reference));
            self.has_taken_in_vain();
        })
    }

    /// The next message. What was passed over may have been taken so soon that nothing told of it, and be meant for whoever waits for a buffer.
    #[inline(always)]
    pub(crate) fn receive(&self) -> Result<Option<Message>, PeerGone> {
        let mut others = 0;
        let received = self.transport.receive(&mut others);
        if others != 0 {
            self.transport.wake();
        }
        received
    }

    /// Takes a buffer. Who finds none says so and looks again, so that who gives back in this moment what it had in vain wakes it.
    fn take(&self, bytes: usize, kind: Kind) -> Result<(u8, Buffer<'_>), SendError> {
        match self.pools.take(bytes, kind) {
            Err(why) if why.is_shortage() => {
                self.is_missing_buffer.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                self.pools.take(bytes, kind)
            }
            taken => taken,
        }
    }

    /// A buffer is free again for whose message there was no room. Of this side only those are woken that found it taken: else who waits
    /// for room would wake itself by each try.
    #[cold]
    fn has_taken_in_vain(&self) {
        self.transport.notify();
        fence(Ordering::SeqCst);
        if self.is_missing_buffer.swap(false, Ordering::Relaxed) {
            self.transport.wake();
        }
    }

    /// Copies a message's payload to memory of one's own, and gives its buffer back, in any case.
    pub(crate) fn fetch<'c>(
        &self,
        message: &Message,
        copy: &'c mut [u8],
    ) -> Result<&'c [u8], FetchError> {
        match &message.body {
            Body::Inline(inline) => {
                let payload = inline.as_bytes();
                let copy = copy.get_mut(..payload.len()).ok_or(FetchError::TooLarge)?;
                copy.copy_from_slice(payload);
                Ok(copy)
            }
            Body::Buffer { area, reference, bytes } => {
                let buffer = self.pools.adopt(*area, *reference)?;
                let bytes = usize::try_from(*bytes).map_err(|_| FetchError::BadReference)?;
                // More bytes than the buffer has are not read.
                let copied = copy.get_mut(..bytes).ok_or(FetchError::TooLarge);
                let copied = copied.and_then(|copy| {
                    buffer.read(copy).ok_or(FetchError::BadReference)?;
                    Ok(&*copy)
                });
                drop(buffer);
                self.has_freed();
                copied
            }
        }
    }

    /// Gives back the buffer of a message that nobody wants.
    pub(crate) fn discard(&self, message: &Message) {
        if let Body::Buffer { area, reference, .. } = message.body
            && let Ok(buffer) = self.pools.adopt(area, reference)
        {
            drop(buffer);
            self.has_freed();
        }
    }

    /// Something has become free: tells whoever waits for it, on either side.
    pub(crate) fn has_freed(&self) {
        self.transport.notify();
        self.has_freed_here();
    }

    /// Something that only this side uses has become free.
    pub(crate) fn has_freed_here(&self) {
        if self.waiters.are_there() {
            self.transport.wake();
        }
    }

    /// Tries until it succeeds, fails otherwise than by a shortage, a deadline has come, or the peer is gone; waits in between.
    /// `receive` has to take in what has arrived, so that the peer can go on, and says whether there is more.
    pub(crate) fn persist<R, E: Shortage>(
        &self,
        mut attempt: impl FnMut() -> Result<R, E>,
        until: Option<T::Deadline>,
        mut receive: impl FnMut() -> bool,
    ) -> Result<R, E> {
        let _waits = self.enter();
        loop {
            let seen = self.transport.watch();
            // The end first: the attempt after it is the last.
            let is_gone = self.transport.is_peer_gone();
            let has_more = receive();
            let has_untaken = self.transport.has_untaken();
            let why = match attempt() {
                Err(why) if why.is_shortage() && !is_gone && !self.is_over(until) => why,
                result => return result,
            };
            if has_more {
                continue;
            }
            if has_untaken && why.is_of_buffers() {
                self.transport.wait_beside(seen, until);
            } else {
                self.doze(seen, until);
            }
        }
    }

    /// The same for a task, without a deadline.
    pub(crate) async fn persisted<R, E: Shortage>(
        &self,
        mut attempt: impl FnMut() -> Result<R, E>,
        mut receive: impl FnMut() -> bool,
    ) -> Result<R, E> {
        let _waits = self.enter();
        poll_fn(|task| {
            self.watch_for(task);
            let is_gone = self.transport.is_peer_gone();
            if receive() {
                task.waker().wake_by_ref();
            }
            let has_untaken = self.transport.has_untaken();
            match attempt() {
                Err(why) if why.is_shortage() && !is_gone => {
                    if has_untaken && why.is_of_buffers() {
                        task.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// What happens from here on wakes the task.
    pub(crate) fn watch_for(&self, task: &Context<'_>) {
        self.transport.register(task.waker());
        self.transport.watch();
    }
}

/// A small payload.
#[inline]
fn inline(payload: &impl Payload) -> Result<Inline, SendError> {
    Inline::with(|bytes| payload.to_slice(bytes)).ok_or(SendError::NotMarshalled)
}
