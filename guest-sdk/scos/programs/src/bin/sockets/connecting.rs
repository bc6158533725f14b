//! Requests for a service, their answers, and what is refused (C6).

use std::fs::File;
use std::io::Error;
use std::time::Duration;

use shikiri_scos_programs::report::equal;
use shikiri_scos_programs::socket::{Address, Message, NON_BLOCKING, Socket, poll};

use crate::waiting::interrupted;
use crate::{
    ASK, CLOSE, Guests, HUNG_UP, IN, OUT, Outcome, REFUSED, SERVE, SERVICE, THEIRS, come,
    listening, number, tell,
};

/// A listener closes, or refuses its service, while a request waits: the guest is told, and so is who asks later.
pub(crate) fn closing(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    let waiting = |listener: &Socket| {
        tell(guest, ASK)?;
        equal("a request waits", poll(&[(listener.number(), IN)], None)?, vec![IN]);
        Ok::<(), Error>(())
    };
    let listener = listening()?;
    waiting(&listener)?;
    drop(listener);
    equal("its listener has closed", come(guest)?.short[1], 1);
    tell(guest, ASK)?;
    equal("there is none", come(guest)?.short[1], 1);
    let listener = listening()?;
    waiting(&listener)?;
    listener.listen(0)?;
    equal("its service was refused", come(guest)?.short[1], 1);
    equal("nothing waits any more", number(listener.accept(0)), Some(libc::EINVAL));
    listener.listen(1)?;
    waiting(&listener)?;
    drop(listener.accept(0)?);
    equal("and then it is served", come(guest)?.short[1], 0);
    Ok(())
}

pub(crate) fn ends(guests: &Guests) -> Outcome {
    // The guest closes and connects again: the read that waits is told.
    tell(&guests.two, CLOSE)?;
    equal("the end", guests.two.receive()?, None);
    let ready = poll(&[(guests.two.number(), IN)], None)?;
    equal("hung up", ready, vec![IN | HUNG_UP]);
    equal("broken", number(guests.two.send(&Message::default())), Some(libc::EPIPE));
    let (again, peer) = guests.listener.accept(0)?;
    equal("it comes again", peer.name().as_str(), "two");
    // This side closes: the guest connects once more.
    drop(again);
    let (again, _) = guests.listener.accept(0)?;
    again.shutdown(2)?;
    equal("after shutdown", again.receive()?, None);
    drop(again);
    let (again, _) = guests.listener.accept(NON_BLOCKING)?;
    equal("nothing to read", number(again.receive()), Some(libc::EAGAIN));
    equal("nobody asks", poll(&[(guests.listener.number(), IN)], Some(20))?, vec![0]);
    tell(&again, ASK)?;
    while poll(&[(again.number(), IN)], None)? != [IN] {}
    equal("a service that is not listened for is refused", come(&again)?.short[1], 1);
    guests.listener.listen(0)?;
    tell(&again, CLOSE)?;
    while poll(&[(again.number(), IN)], None)? != [IN | HUNG_UP] {}
    // The guest asks again meanwhile, and is refused by the kernel: nothing tells this program of that. If it comes later, it is by the next
    // `listen`, and nothing fails.
    std::thread::sleep(Duration::from_millis(20));
    equal("permission was withdrawn", number(guests.listener.accept(0)), Some(libc::EINVAL));
    guests.listener.listen(4)?;
    let (again, _) = guests.listener.accept(0)?;
    replace(&guests.two, &again)
}

/// Has a descriptor stand for another socket.
fn replace(to: &Socket, from: &Socket) -> Outcome {
    // `dup2` closes the former one.
    let done = shikiri_scos_programs::socket::duplicate(from, to);
    equal("duplicated", done.is_ok(), true);
    done
}

pub(crate) fn connecting(guests: &Guests) -> Outcome {
    tell(&guests.one, SERVE)?;
    let socket = Socket::new(0)?;
    equal("refused", number(socket.connect(Address::of("one", REFUSED))), Some(libc::ECONNREFUSED));
    let nobody = socket.connect(Address::of("nobody", THEIRS));
    equal("no such partition", number(nobody), Some(libc::EHOSTUNREACH));
    socket.connect(Address::of("one", THEIRS))?;
    equal("the peer", socket.peer()?.name().as_str(), "one");
    socket.send(&Message::short([50, 0, 0]))?;
    equal("answered", come(&socket)?.short, [51, 0, 0]);
    equal("connected", number(socket.connect(Address::of("one", THEIRS))), Some(libc::EISCONN));
    equal("and closed by it", socket.receive()?, None);
    tell(&guests.one, SERVE)?;
    let socket = Socket::new(NON_BLOCKING)?;
    let first = socket.connect(Address::of("one", REFUSED));
    equal("in progress", number(first), Some(libc::EINPROGRESS));
    while poll(&[(socket.number(), OUT)], None)?[0] & OUT == 0 {}
    equal("why", socket.error()?, libc::ECONNREFUSED as u32);
    let second = socket.connect(Address::of("one", THEIRS));
    equal("in progress again", number(second), Some(libc::EINPROGRESS));
    while poll(&[(socket.number(), OUT)], None)? != [OUT] {}
    equal("no error", socket.error()?, 0);
    socket.send(&Message::short([60, 0, 0]))?;
    while poll(&[(socket.number(), IN)], None)?[0] & IN == 0 {}
    equal("answered again", come(&socket)?.short, [61, 0, 0]);
    Ok(())
}

pub(crate) fn refusals(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    // bind, connect, accept4, getsockname, getpeername, setsockopt, getsockopt, read, write.
    for call in [200, 203, 242, 204, 205, 208, 209, 63, 64] {
        let answer = number(guest.with_bad_address(call));
        equal(&format!("a bad address to call {call}"), answer, Some(libc::EFAULT));
    }
    let second = Socket::new(0)?;
    equal("taken", number(second.bind(Address::service(SERVICE))), Some(libc::EADDRINUSE));
    equal("not bound", number(second.listen(1)), Some(libc::EDESTADDRREQ));
    equal("not connected", number(second.receive()), Some(libc::ENOTCONN));
    interrupted(guests)?;
    // With all descriptors in use a request stays where it is.
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    tell(&guests.two, CLOSE)?;
    equal("the second guest goes", guests.two.receive()?, None);
    let full = loop {
        let answer = number(guests.listener.accept(0));
        if answer != Some(libc::EAGAIN) {
            break answer;
        }
    };
    equal("too many descriptors", full, Some(libc::EMFILE));
    files.clear();
    let (again, peer) = guests.listener.accept(0)?;
    equal("the request has stayed", peer.name().as_str(), "two");
    replace(&guests.two, &again)
}
