//! Waiting for whatever happens at a port, for libraries that look for themselves what it was.

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
        self.0.seat.until_there(|| (self.moment() != seen).then_some(()));
    }

    /// Ends the waits of [`Channel::wait_since`], on whichever vCPU.
    pub fn wake(&self) {
        self.0.home.pass();
        if let Some(elsewhere) = self.0.seat.elsewhere() {
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
