//! A peer that takes nothing for a while: its window is full (C6, C9).

use std::fs;
use std::io::Error;
use std::os::unix::fs::FileExt as _;

use shikiri_scos_programs::os::Ended;
use shikiri_scos_programs::report::{equal, ok};
use shikiri_scos_programs::socket::{Address, Message, Socket, poll};

use crate::ends::Waiting;
use crate::{ECHO, Guests, HOLD, OUT, Outcome, THEIRS, come, number, open, tell};

/// The messages that wait at a guest, and the areas that its window takes.
const DEPTH: usize = 4;
const SLOTS: usize = 2;

/// As many messages as the guest lets wait; the next one waits here.
pub(crate) fn full(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    hold(guest)?;
    let echo = Message::short([ECHO, 0, 0]);
    for _ in 0..DEPTH {
        guest.send_now(&echo)?;
    }
    equal("one more", number(guest.send_now(&echo)), Some(libc::EAGAIN));
    equal("nor is there room by poll", poll(&[(guest.number(), OUT)], Some(0))?, vec![0]);
    let message = question(guest)?;
    equal("an area neither", number(guest.send_now(&message)), Some(libc::EAGAIN));
    equal("its file is there", fs::read(&message.name)?, b"question".to_vec());
    let writer = Waiting::begin(|| guest.send(&message))?;
    let poller = Waiting::begin(|| poll(&[(guest.number(), OUT)], None).map(drop))?;
    equal("a write waits", writer.state()?, Ended::Not);
    equal("and a poll", poller.state()?, Ended::Not);
    release()?;
    equal("the write is done", writer.end()?, Ended::Exit(0));
    equal("and the poll", poller.end()?, Ended::Exit(0));
    equal("the file is gone", number(open(&message.name)), Some(libc::ENOENT));
    for _ in 0..DEPTH {
        equal("an answer", come(guest)?, Message::short([34, 0, 0]));
    }
    equal("the area's", discarded(&come(guest)?)?, b"ruestion".to_vec());
    equal("room again", poll(&[(guest.number(), OUT)], None)?, vec![OUT]);
    Ok(())
}

/// As many areas as the guest has places for; what has none goes on.
pub(crate) fn no_slots(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    hold(guest)?;
    for _ in 0..SLOTS {
        guest.send_now(&question(guest)?)?;
    }
    let third = question(guest)?;
    equal("one more area", number(guest.send_now(&third)), Some(libc::EAGAIN));
    guest.send_now(&Message::short([ECHO, 0, 0]))?;
    ok("a message without an area");
    let writer = Waiting::begin(|| guest.send(&third))?;
    equal("its write waits", writer.state()?, Ended::Not);
    release()?;
    equal("and is done", writer.end()?, Ended::Exit(0));
    for _ in 0..SLOTS {
        equal("an area's answer", discarded(&come(guest)?)?, b"ruestion".to_vec());
    }
    equal("the short one's", come(guest)?, Message::short([34, 0, 0]));
    equal("the third area's", discarded(&come(guest)?)?, b"ruestion".to_vec());
    Ok(())
}

/// From its answer on the guest takes nothing.
fn hold(guest: &Socket) -> Outcome {
    tell(guest, HOLD)?;
    equal("it takes no more", come(guest)?, Message::short([HOLD, 0, 0]));
    Ok(())
}

/// Lets the guest serve a request, and go on.
fn release() -> Outcome {
    let socket = Socket::new(0)?;
    socket.connect(Address::of("one", THEIRS))?;
    socket.send(&Message::short([70, 0, 0]))?;
    equal("served", come(&socket)?.short[0], 71);
    Ok(())
}

/// A new area to be sent back.
fn question(guest: &Socket) -> Result<Message, Error> {
    let message = guest.make(8)?;
    open(&message.name)?.write_all_at(b"question", 0)?;
    Ok(Message { short: [ECHO, 0, 0], ..message })
}

/// What is in an area, which goes.
fn discarded(message: &Message) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(&message.name)?;
    fs::remove_file(&message.name)?;
    Ok(bytes)
}
