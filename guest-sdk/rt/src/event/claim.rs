//! Who is told of requests and answers: one at a time.

use shikiri_abi::Status;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk;

use super::Receiving;
use crate::Lock;

static IS_CLAIMED: Lock<bool> = Lock::new(false);

/// A port is told of requests, when none waits, and of answers, and no other one is chosen until this goes.
#[derive(Debug)]
pub struct Claim(());

impl Claim {
    /// Chooses the port.
    ///
    /// # Errors
    /// `WrongState` if another one has been chosen for good, or if something is connected to it.
    pub fn new(port: &impl Receiving) -> Result<Self, Refusal> {
        let mut is_claimed = IS_CLAIMED.lock();
        if *is_claimed {
            return Err(IN_USE);
        }
        talk::notify(port.handle())?;
        *is_claimed = true;
        Ok(Self(()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        *IS_CLAIMED.lock() = false;
    }
}

const IN_USE: Refusal = Refusal { code: Status::WrongState.code(), which: 0 };

/// Chooses the port that is told of requests, when none waits, and of answers, until another one is chosen; it is told now, if a request
/// waits already.
///
/// One event may stand for several of them, and one may come when nothing is left. Whoever waits looks after each wake-up: takes
/// requests until there is none ([`take_request`](super::take_request)), and asks each [`Asking`](super::Asking) for its answer.
///
/// # Errors
/// `WrongState` if something is connected to it, or while there are [`Notices`](super::Notices) or a channels' listener.
pub fn notify(port: &impl Receiving) -> Result<(), Refusal> {
    // Nobody claims it meanwhile.
    let is_claimed = IS_CLAIMED.lock();
    if *is_claimed { Err(IN_USE) } else { talk::notify(port.handle()) }
}
