//! Those of one side who wait for a buffer, for room in the transport, or for a call slot.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;

use crate::client::Client;
use crate::error::CallError;
use crate::facade::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::transport::Transport;

/// How many tasks can be told that there is room. One more is not lost: it looks each time it is polled, and asks to
/// be polled again.
const TASKS: usize = 16;

/// Who waits. Whoever enters does so before its last look; whoever frees something does that before it looks here.
pub(crate) struct Waiters {
    /// How many threads and tasks wait.
    count: AtomicU32,
    /// Which of `tasks` are somebody's.
    claimed: AtomicU64,
    tasks: [AtomicWaker; TASKS],
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU32::new(0),
            claimed: AtomicU64::new(0),
            tasks: [const { AtomicWaker::new() }; TASKS],
        }
    }

    /// Waits from here on, until the result is dropped.
    pub(crate) fn enter(&self) -> Waiting<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiting { waiters: self }
    }

    /// Wakes the tasks that wait; whether there may be threads to be woken too.
    pub(crate) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        for task in &self.tasks {
            task.wake();
        }
        true
    }

    /// A place for a task's waker, if there is one left.
    fn claim(&self) -> Option<usize> {
        (0..TASKS).find(|index| {
            let bit = 1u64.unbounded_shl(u32::try_from(*index).unwrap_or(u32::MAX));
            self.claimed.fetch_or(bit, Ordering::Relaxed) & bit == 0
        })
    }

    fn unclaim(&self, index: usize) {
        let bit = 1u64.unbounded_shl(u32::try_from(index).unwrap_or(u32::MAX));
        self.claimed.fetch_and(!bit, Ordering::Relaxed);
    }

    fn register(&self, index: usize, waker: &Waker) {
        if let Some(task) = self.tasks.get(index) {
            task.register(waker);
        }
    }
}

/// The fact that somebody waits.
pub(crate) struct Waiting<'w> {
    waiters: &'w Waiters,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt to begin a call that is repeated whenever there may be a buffer, room or a slot again. The future of
/// [`Client::when_room`].
#[must_use = "futures do nothing unless they are polled"]
pub struct WhenRoom<'c, 'a, T: Transport, const CALLS: usize, F> {
    client: &'c Client<'a, T, CALLS>,
    attempt: F,
    waiting: Option<(Waiting<'c>, Option<usize>)>,
}

impl<'c, 'a, T: Transport, const CALLS: usize, F> WhenRoom<'c, 'a, T, CALLS, F> {
    pub(crate) fn new(client: &'c Client<'a, T, CALLS>, attempt: F) -> Self {
        Self { client, attempt, waiting: None }
    }
}

impl<T: Transport, const CALLS: usize, F, R> Future for WhenRoom<'_, '_, T, CALLS, F>
where
    F: FnMut() -> Result<R, CallError> + Unpin,
{
    type Output = Result<R, CallError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let leg = this.client.leg();
        let (_, place) =
            this.waiting.get_or_insert_with(|| (leg.waiters().enter(), leg.waiters().claim()));
        match place {
            Some(place) => leg.waiters().register(*place, context.waker()),
            None => context.waker().wake_by_ref(),
        }
        leg.transport().watch();
        let received = this.client.receive_for(None);
        if received == Ok(true) {
            context.waker().wake_by_ref();
        }
        match (this.attempt)() {
            Err(why) if why.is_shortage() && received.is_ok() => Poll::Pending,
            result => Poll::Ready(result),
        }
    }
}

impl<T: Transport, const CALLS: usize, F> Drop for WhenRoom<'_, '_, T, CALLS, F> {
    fn drop(&mut self) {
        if let Some((_, Some(place))) = self.waiting.take() {
            self.client.leg().waiters().unclaim(place);
        }
    }
}
