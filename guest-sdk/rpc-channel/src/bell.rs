//! A channel as the doorbell of a ring in shared memory: messages of up to 128 bytes of payload without a buffer, and a call to the
//! hypervisor only where the other side sleeps.

use core::task::Waker;

use shikiri_channel::{Channel, MOST_MESSAGES, Moment, Ticks};
use shikiri_rpc::{Doorbell, Epoch};

/// One end of a channel as a doorbell, for `shikiri_rpc::Ring::join` with an area that both sides share. A ring is a short message, of which
/// nothing is read but that it has come. The port's interrupt has to tell of it: `Wait::Event` is not for this.
pub struct Bell(Channel);

impl Bell {
    /// A doorbell for who is at the channel's other end.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self(channel)
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.0
    }
}

impl Doorbell for Bell {
    type Deadline = Ticks;

    fn ring(&self) {
        // A peer whose port is full has rings to take before it sleeps, and looks behind them.
        let _sent = self.0.try_send((), [0; 3]);
    }

    fn epoch(&self) -> Epoch {
        let Moment(moment) = self.0.moment();
        Epoch(moment)
    }

    fn take_rings(&self) -> bool {
        // Not more than a port holds: a peer that rings without end keeps nobody here.
        let taken = (0..MOST_MESSAGES).take_while(|_| matches!(self.0.try_receive(), Ok(Some(_))));
        taken.count() != 0
    }

    fn wait(&self, Epoch(seen): Epoch) {
        self.0.wait_since(Moment(seen));
    }

    fn wait_until(&self, Epoch(seen): Epoch, deadline: Ticks) {
        let _has_happened = self.0.wait_since_until(Moment(seen), deadline);
    }

    fn is_over(&self, deadline: Ticks) -> bool {
        deadline.is_over()
    }

    fn register(&self, waker: &Waker) {
        self.0.register(waker);
    }

    fn wake(&self) {
        self.0.wake();
    }

    fn is_peer_gone(&self) -> bool {
        !self.0.is_connected()
    }
}
