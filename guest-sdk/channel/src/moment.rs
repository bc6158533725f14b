//! Waiting for whatever happens at a port, for libraries that look for themselves what it was.

use core::task::Waker;

use shikiri_rt::event::Told as _;
use shikiri_rt::gic;
use shikiri_rt::sleep::{self, Ticks};

use crate::channel::Channel;
use crate::executor;
use crate::listener::Listener;
use crate::table;

/// How long a vCPU sleeps at a time that the port's interrupt does not go to.
const SLICE_US: u64 = 2000;

/// A moment in a port's life: what happens later changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u32);

impl Channel {
    /// The present moment. Who takes it, looks for what it wants, and then waits with it misses nothing.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.0.home.moment())
    }

    /// Whether a message has come that was not taken. Of those that come behind it nothing is told: who waits for something else and leaves
    /// it there does not learn of them. If there is none, the next is told, unless somebody takes it the moment it comes, or messages are polled
    /// for ([`Wait::Event`](crate::Wait::Event)).
    #[must_use]
    pub fn has_message(&self) -> bool {
        self.0.next().has_come()
    }

    /// Waits until something has happened since `seen`: a message to an empty port, room for one, the peer's end,
    /// [`Channel::wake`]. It may return before, so that the caller looks again: on another vCPU than the port's that is so each few
    /// milliseconds, since the port's may be off, or take no interrupts, and call nobody.
    ///
    /// A message that somebody takes the moment it comes may be told to nobody else. Whoever takes one that is meant for others, too, calls
    /// [`Channel::wake`].
    pub fn wait_since(&self, seen: Moment) {
        let port = &self.0;
        if let Some(called) = self.called_here() {
            let slice = Ticks::from_now_us(SLICE_US);
            sleep::until_by(slice, || port.doze(), || self.has_passed(seen, Some(&called)));
        } else {
            sleep::until_there_by(|| port.doze(), || self.has_passed(seen, None));
        }
    }

    /// The same, until the deadline at most; false if nothing has happened by then, or if it returns before.
    pub fn wait_since_until(&self, seen: Moment, deadline: Ticks) -> bool {
        let (port, called) = (&self.0, self.called_here());
        let most = called.as_ref().map_or(deadline, |_| deadline.min(Ticks::from_now_us(SLICE_US)));
        let attempt = || self.has_passed(seen, called.as_ref());
        sleep::until_by(most, || port.doze(), attempt).is_some()
    }

    /// What a vCPU sleeps by that the port's interrupt does not go to: the one that it goes to calls it, as it wakes a task.
    fn called_here(&self) -> Option<Waker> {
        self.0.seat().elsewhere().map(|_| executor::waker_here())
    }

    /// Whether something has happened since. Who has itself called says so first, and again after each call.
    fn has_passed(&self, seen: Moment, called: Option<&Waker>) -> Option<()> {
        let port = &self.0;
        called.into_iter().for_each(|waker| port.home.register(waker));
        // A message of which no interrupt tells.
        let has_come = || port.polls() && port.next().has_come();
        (self.moment() != seen || has_come()).then_some(())
    }

    /// Has a task woken by the next that happens: what ends [`Channel::wait_since`]. Who registers, then looks for what it wants, misses
    /// nothing. Where messages are polled for ([`Wait::Event`](crate::Wait::Event)) no interrupt wakes the task: it is woken at once,
    /// and looks again and again.
    pub fn register(&self, waker: &Waker) {
        self.0.home.register(waker);
        if self.0.polls() {
            waker.wake_by_ref();
        }
    }

    /// Ends the waits of [`Channel::wait_since`], on whichever vCPU, and wakes the tasks that have registered.
    pub fn wake(&self) {
        self.0.home.pass();
        if let Some(elsewhere) = self.0.seat().elsewhere() {
            gic::send_sgi(executor::SGI, elsewhere);
        }
    }
}

impl Listener {
    /// The present moment: it changes with each request that comes when none waits.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(table::requests())
    }
}
