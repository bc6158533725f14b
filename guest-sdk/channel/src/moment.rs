//! Waiting for whatever happens at a port, for libraries that look for themselves what it was.

use shikiri_rt::event::Told as _;
use shikiri_rt::gic;

use crate::channel::Channel;
use crate::executor;
use crate::listener::Listener;
use crate::table;

/// A moment in a port's life: what happens later changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u32);

impl Channel {
    /// The present moment. Who takes it, looks for what it wants, and then waits with it misses nothing.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.0.home.moment())
    }

    /// Waits until something has happened since `seen`: a message to an empty port, room for one, the peer's end,
    /// [`Channel::wake`].
    pub fn wait_since(&self, seen: Moment) {
        let port = &self.0;
        // A message of which no interrupt tells.
        let has_come = || port.polls() && port.next().has_come();
        let attempt = || (self.moment() != seen || has_come()).then_some(());
        port.seat().until_there_by(|| port.doze(), attempt);
    }

    /// Ends the waits of [`Channel::wait_since`], on whichever vCPU.
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
