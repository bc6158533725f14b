//! Thousands of event ports that are connected between two partitions, and share one interrupt of the receiver's.

use shikiri_abi::Status;
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::talk::{self, Handle, Sharing, Signal, State};
use shikiri_rt::reg;

/// Asks the partition with this number to connect so many send ports, and waits until it has: the last of them, if there is one.
///
/// # Errors
/// What a port or its request was refused for.
pub fn connect(peer: u8, count: usize) -> Result<Option<Handle>, Refusal> {
    let mut last = None;
    for _ in 0..count {
        let port = talk::create_send()?;
        while let Err(refusal) = talk::ask(port, peer, 0, 0) {
            // As many wait as may, or it has not started yet.
            match refusal.status() {
                Some(Status::OverLimit | Status::PeerGone) => reg::yield_now(),
                _ => return Err(refusal),
            }
        }
        last = Some(port);
    }
    if let Some(last) = last {
        while talk::state(last)? != State::Connected {
            reg::yield_now();
        }
    }
    Ok(last)
}

/// Connects what a request asks for to a new port, which shares `intid` with the others.
///
/// # Errors
/// What the port was refused for; the peer has gone.
pub fn accept(request: &Signal, intid: u32) -> Result<(), Refusal> {
    let port = talk::create_receive()?;
    talk::bind(port, intid, 0, Sharing::Grouped)?;
    talk::accept(request.request, port)
}
