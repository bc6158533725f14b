//! Guests that end while something here waits for them (C6).

use std::io::{Error, Read as _, Write as _};
use std::time::Duration;

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, Message, Socket};

use crate::{Guests, Outcome, QUIET, THEIRS, UNANSWERED, end, number, tell};

/// Longer than a child needs to come into its call. If a loaded machine needs more, less is shown, and nothing fails.
const INTO_THE_CALL: Duration = Duration::from_millis(20);

/// A process that waits in a call.
pub(crate) struct Waiting(i32);

impl Waiting {
    /// Begins one, which ends with the number of the call's error, or 0.
    pub(crate) fn begin(call: impl FnOnce() -> Outcome) -> Result<Self, Error> {
        let (mut has_begun, mut begins) = std::io::pipe()?;
        let child = os::in_child(|| match begins.write_all(b"x") {
            Ok(()) => number(call()).unwrap_or(0),
            Err(_) => 255,
        });
        let child = child.map_err(Error::from_raw_os_error)?;
        has_begun.read_exact(&mut [0])?;
        std::thread::sleep(INTO_THE_CALL);
        Ok(Self(child))
    }

    /// Whether it still waits.
    pub(crate) fn state(&self) -> Result<Ended, Error> {
        let state = os::wait(self.0, libc::WNOHANG).map(|(_, ended)| ended);
        state.map_err(Error::from_raw_os_error)
    }

    /// How it ends.
    pub(crate) fn end(self) -> Result<Ended, Error> {
        os::wait(self.0, 0).map(|(_, ended)| ended).map_err(Error::from_raw_os_error)
    }
}

/// Whether a request that the guest's end has met is answered so. A guest with sockets still refuses what has come, and then is
/// down for what comes later.
fn in_vain(guests: &Guests, answer: Option<i32>) -> bool {
    answer == Some(libc::EHOSTDOWN) || guests.have_sockets && answer == Some(libc::ECONNREFUSED)
}

/// A `connect` waits for an answer, and a `read` for a message.
pub(crate) fn asked_in_vain(guests: &Guests) -> Outcome {
    let asking = Waiting::begin(|| Socket::new(0)?.connect(Address::of("one", THEIRS)))?;
    equal("connect waits", asking.state()?, Ended::Not);
    end(&guests.one)?;
    let told = asking.end()?;
    let is_told = matches!(told, Ended::Exit(answer) if in_vain(guests, Some(answer)));
    holds(&format!("and is told: {told:?}"), is_told);
    if !guests.have_sockets {
        let late = Socket::new(0)?.connect(Address::of("one", THEIRS));
        equal("as is who asks later", number(late), Some(libc::EHOSTDOWN));
    }
    Ok(())
}

/// A `write` waits for room, and a `connect` for the answer to a request that was taken.
pub(crate) fn written_in_vain(guests: &Guests) -> Outcome {
    let guest = &guests.two;
    tell(guest, UNANSWERED)?;
    let quiet = Message::short([QUIET, 0, 0]);
    let fill = || {
        // It has no end if the guest takes them.
        for _ in 0..64 {
            guest.send(&quiet)?;
        }
        Ok(())
    };
    let writing = Waiting::begin(fill)?;
    equal("write waits", writing.state()?, Ended::Not);
    let asked = Socket::new(0)?.connect(Address::of("two", THEIRS));
    let answer = number(asked);
    holds(&format!("connect is told: {answer:?}"), in_vain(guests, answer));
    equal("and write", writing.end()?, Ended::Exit(libc::EPIPE));
    holds("nothing more comes", guest.receive()?.is_none());
    equal("nothing goes there", number(guest.send(&quiet)), Some(libc::EPIPE));
    Ok(())
}
