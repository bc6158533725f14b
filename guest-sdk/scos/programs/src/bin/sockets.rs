//! Channels to other partitions as sockets, with bare-metal guests at the other ends: C6 to C9 and C10. The guests do what short messages
//! tell them (`tests/guests/src/bin/sockets.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use shikiri_scos_programs::os;
use shikiri_scos_programs::report::{equal, holds, ok};
use shikiri_scos_programs::socket::{
    Address, FILE, KERNEL, MAPPING, Message, NON_BLOCKING, Socket, apart, map, peek, poke, poll,
    unmap,
};

/// The service that the guests connect to.
const SERVICE: u32 = 7;
/// What the guests do: close, send an area, send what came back, send a short message, end, ask for a service that is not
/// listened for, serve, say nothing.
const CLOSE: u64 = 0;
const SEND: u64 = 1;
const ECHO: u64 = 2;
const SHORT: u64 = 3;
const END: u64 = 4;
const ASK: u64 = 5;
const SERVE: u64 = 6;
const QUIET: u64 = 7;
/// Services of the guests: one that they accept, one that they refuse.
const THEIRS: u32 = 5;
const REFUSED: u32 = 6;
/// The service that they ask for when they are told to.
const ASKED_FOR: u32 = 99;

const IN: u16 = 1;
const OUT: u16 = 4;
const HUNG_UP: u16 = 16;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

type Outcome = Result<(), Error>;

/// A name, and what is looked at.
type Case = (&'static str, fn(&Guests) -> Outcome);

fn main() -> ExitCode {
    let cases: [Case; 11] = [
        ("files", files),
        ("mappings", mappings),
        ("kernel's form", kernels),
        ("gone while open or mapped", gone),
        ("originated", originated),
        ("two guests", two_guests),
        ("all kinds in one call", all_kinds),
        ("listeners close", closing),
        ("ends", ends),
        ("connecting", connecting),
        ("refusals", refusals),
    ];
    let guests = match Guests::wait() {
        Ok(guests) => guests,
        Err(error) => {
            println!("FAIL the guests have not come: {error}");
            return ExitCode::FAILURE;
        }
    };
    for (name, case) in cases {
        match case(&guests) {
            Ok(()) => println!("case {name}"),
            Err(error) => {
                println!("FAIL {name}: {error}");
                HAS_FAILED.store(true, Ordering::Relaxed);
            }
        }
    }
    for guest in [&guests.one, &guests.two] {
        if let Err(error) = end(guest) {
            println!("FAIL a guest does not end: {error}");
        }
    }
    println!("done");
    if HAS_FAILED.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The guests that have connected.
struct Guests {
    listener: Socket,
    one: Socket,
    two: Socket,
}

impl Guests {
    /// Waits for both: `accept` waits for the first one's request, a poll tells of the second's.
    fn wait() -> Result<Self, Error> {
        let listener = Socket::new(0)?;
        listener.bind(Address::service(SERVICE))?;
        listener.listen(4)?;
        let (first, peer) = listener.accept(0)?;
        equal("the service", peer.service, SERVICE);
        equal("the same name again", first.peer()?, peer);
        let ready = poll(&[(listener.number(), IN)], None)?;
        equal("a request waits", ready, vec![IN]);
        let (second, other) = listener.accept(0)?;
        let mut names = [peer.name(), other.name()];
        let is_first_one = names[0] == "one";
        names.sort();
        equal("both guests, by name", names, ["one".into(), "two".into()]);
        holds("their ids differ", peer.id != other.id && peer.id != 0);
        let (one, two) = if is_first_one { (first, second) } else { (second, first) };
        Ok(Self { listener, one, two })
    }
}

/// A partition that ends while a read waits for it.
fn end(guest: &Socket) -> Outcome {
    tell(guest, END)?;
    equal("its partition has ended", guest.receive()?, None);
    equal("nothing goes there", number(guest.send(&Message::default())), Some(libc::EPIPE));
    Ok(())
}

fn tell(guest: &Socket, command: u64) -> Outcome {
    guest.send(&Message::short([command, 0, 0]))
}

/// Has a guest send an area.
fn sent_by(guest: &Socket) -> Result<Message, Error> {
    tell(guest, SEND)?;
    come(guest)
}

fn come(guest: &Socket) -> Result<Message, Error> {
    guest.receive()?.ok_or(Error::other("the guest has gone"))
}

fn open(path: &str) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// The error's number.
fn number<T>(result: Result<T, Error>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn files(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    // Nothing has been sent yet: the read waits.
    let message = sent_by(guest)?;
    equal("short", message.short, [11, 12, 13]);
    equal("bytes", message.bytes, 8);
    let mut file = open(&message.name)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    equal("read", text.as_str(), "question");
    equal("its length", file.metadata()?.len(), 8);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(b"my answer")?;
    drop(file);
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    equal("the file has disappeared", number(open(&message.name)), Some(libc::ENOENT));
    let back = come(guest)?;
    equal("what the guest has made of it", fs::read(&back.name)?, b"ny answer".to_vec());
    // It waits already: the read does not.
    tell(guest, SHORT)?;
    equal("poll", poll(&[(guest.number(), IN)], None)?, vec![IN]);
    equal("short alone", come(guest)?, Message::short([33, 0, 0]));
    fs::remove_file(&back.name)?;
    equal("unlinked", number(open(&back.name)), Some(libc::ENOENT));
    // More than the window has slots, one after another: each discarded makes room.
    for _ in 0..10 {
        fs::remove_file(sent_by(guest)?.name)?;
    }
    ok("ten areas through a window of four");
    Ok(())
}

fn mappings(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    guest.set_form(MAPPING)?;
    // It waits already: the read does not.
    tell(guest, SEND)?;
    equal("an area waits", poll(&[(guest.number(), IN)], None)?, vec![IN]);
    let message = come(guest)?;
    equal("and is mapped", (message.bytes, peek(message.address)), (8, b'q'));
    guest.send(&Message { short: [QUIET, 0, 0], ..message })?;
    let message = sent_by(guest)?;
    equal("bytes", message.bytes, 8);
    let text: Vec<u8> = (0..8).map(|at| peek(message.address + at)).collect();
    equal("in place", text, b"question".to_vec());
    poke(message.address, b'Q');
    // The kernel copies from it, too.
    let mut copy = File::create("/tmp/copy")?;
    copy.write_all(&[peek(message.address)])?;
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    let stale = apart(|| {
        std::hint::black_box(peek(message.address));
    })?;
    equal("a child does not have it", stale, SIGSEGV);
    let back = come(guest)?;
    equal("sent back changed", peek(back.address), b'R');
    unmap(back.address, 4096)?;
    let next = sent_by(guest)?;
    equal("discarded by unmapping", peek(next.address), b'q');
    unmap(next.address, 4096)?;
    // More than there are places for: what is sent leaves its place.
    for round in 0..600_u64 {
        let message = sent_by(guest)?;
        if peek(message.address) != b'q' {
            return Err(Error::other(format!("no question in round {round}")));
        }
        guest.send(&Message { short: [QUIET, 0, 0], ..message })?;
    }
    ok("six hundred areas, each where the others were");
    equal("no area is mapped there", number(guest.send(&next)), Some(libc::EINVAL));
    guest.set_form(FILE)
}

fn kernels(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    guest.set_form(KERNEL)?;
    let message = sent_by(guest)?;
    holds("a number", message.area != 0 && message.address == 0 && message.name.is_empty());
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    equal("spent", number(guest.send(&message)), Some(libc::EINVAL));
    let back = come(guest)?;
    guest.send(&Message { short: [ECHO, 0, 0], ..back })?;
    guest.set_form(FILE)?;
    let back = come(guest)?;
    equal("twice through the guest", fs::read(&back.name)?, b"suestion".to_vec());
    fs::remove_file(back.name)
}

fn gone(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let name = message.name.clone();
    let child = apart(|| {
        let Ok(address) = map(&file, 4096) else { std::process::exit(1) };
        if peek(address) != b'q' || fs::remove_file(&name).is_err() {
            std::process::exit(1);
        }
        std::hint::black_box(peek(address));
    })?;
    equal("unlinked while it is mapped", child, SIGBUS);
    equal("unlinked while it is open", number(file.read_at(&mut [0; 4], 0)), Some(libc::ESTALE));
    equal("nor written", number(file.write_at(b"x", 0)), Some(libc::ESTALE));
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let child = apart(|| {
        let Ok(address) = map(&file, 4096) else { std::process::exit(1) };
        poke(address, b'a');
        let is_sent = guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() });
        if is_sent.is_err() {
            std::process::exit(1);
        }
        poke(address, b'b');
    })?;
    equal("sent while it is mapped", child, SIGBUS);
    equal("sent while it is open", number(file.read_at(&mut [0; 4], 0)), Some(libc::ESTALE));
    let back = come(guest)?;
    equal("what was written before", fs::read(&back.name)?, b"buestion".to_vec());
    fs::remove_file(back.name)?;
    let child = apart(|| {
        let sent = guest.set_form(MAPPING).and_then(|()| sent_by(guest)).and_then(|message| {
            guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() }).map(|()| message)
        });
        let Ok(message) = sent else { std::process::exit(1) };
        std::hint::black_box(peek(message.address));
    })?;
    equal("unmapped by being sent", child, SIGSEGV);
    let back = come(guest)?;
    equal("what came back is mapped here", peek(back.address), b'r');
    unmap(back.address, 4096)?;
    guest.set_form(FILE)
}

fn originated(guests: &Guests) -> Outcome {
    let guest = &guests.two;
    let message = guest.make(5)?;
    open(&message.name)?.write_all(b"hello")?;
    guest.send(&Message { short: [ECHO, 0, 0], ..message })?;
    let back = come(guest)?;
    equal("a new file", fs::read(&back.name)?, b"iello".to_vec());
    fs::remove_file(back.name)?;
    guest.set_form(MAPPING)?;
    let message = guest.make(4096)?;
    equal("cleared", peek(message.address + 4095), 0);
    poke(message.address, 7);
    guest.send(&Message { short: [ECHO, 0, 0], bytes: 1, ..message })?;
    let back = come(guest)?;
    equal("a new mapping", (peek(back.address), back.bytes), (8, 1));
    unmap(back.address, 4096)?;
    equal("more than its class has", number(guest.make(4097)), Some(libc::EMSGSIZE));
    guest.set_form(FILE)
}

fn two_guests(guests: &Guests) -> Outcome {
    let (mut reader, mut writer) = std::io::pipe()?;
    let pipe = std::os::fd::AsRawFd::as_raw_fd(&reader);
    let numbers = [guests.listener.number(), guests.one.number(), guests.two.number(), pipe];
    let asked = numbers.map(|number| (number, IN));
    equal("nothing is there", poll(&asked, Some(0))?, vec![0; 4]);
    tell(&guests.two, SHORT)?;
    equal("the second guest", poll(&asked, None)?, vec![0, 0, IN, 0]);
    tell(&guests.one, SHORT)?;
    while poll(&asked, None)? != [0, IN, IN, 0] {}
    ok("both guests");
    writer.write_all(b"x")?;
    equal("and the pipe", poll(&asked, None)?, vec![0, IN, IN, IN]);
    equal("one", come(&guests.one)?.short[0], 33);
    equal("two", come(&guests.two)?.short[0], 33);
    reader.read_exact(&mut [0])?;
    equal("writing", poll(&[(guests.one.number(), OUT)], None)?, vec![OUT]);
    selected(guests)
}

/// The console, a timer, a pipe, a pair, a listening socket and two connected ones, all in one `poll` and in one `select` (C9).
fn all_kinds(guests: &Guests) -> Outcome {
    let (mut reader, mut writer) = std::io::pipe()?;
    let (mut near, mut far) = UnixStream::pair()?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    let listener = listening()?;
    let (one, two) = (&guests.one, &guests.two);
    let number = |of: &dyn AsRawFd| of.as_raw_fd();
    let own = [number(&timer.as_fd()), number(&reader), number(&near)];
    let sockets = [listener.number(), one.number(), two.number()];
    let numbers = [&[0], own.as_slice(), &sockets].concat();
    let asked: Vec<(i32, u16)> = numbers.iter().map(|number| (*number, IN)).collect();
    equal("nothing has come", poll(&asked, Some(0))?, vec![0; 7]);
    let only = |index: usize| {
        let expected: Vec<u16> = (0..7).map(|at| if at == index { IN } else { 0 }).collect();
        poll(&asked, None).map(|found| equal(KINDS[index], found, expected))
    };
    let ring = Expiration::OneShot(TimeSpec::from_duration(Duration::from_millis(1)));
    println!("type two lines");
    only(0)?;
    equal("the first line", line()?.as_str(), "typed\n");
    // The second one is there already.
    only(0)?;
    equal("the second line", line()?.as_str(), "again\n");
    timer.set(ring, TimerSetTimeFlags::empty())?;
    only(1)?;
    timer.wait()?;
    writer.write_all(b"x")?;
    only(2)?;
    reader.read_exact(&mut [0])?;
    far.write_all(b"x")?;
    only(3)?;
    near.read_exact(&mut [0])?;
    tell(one, ASK)?;
    only(4)?;
    let (accepted, _) = listener.accept(0)?;
    only(5)?;
    equal("the guest is served", come(one)?.short[1], 0);
    drop(accepted);
    tell(two, SHORT)?;
    only(6)?;
    equal("the second guest's", come(two)?.short[0], 33);
    // And all of them at once.
    timer.set(ring, TimerSetTimeFlags::empty())?;
    writer.write_all(b"x")?;
    far.write_all(b"x")?;
    // The answer comes before the request.
    tell(one, SHORT)?;
    tell(one, ASK)?;
    tell(two, SHORT)?;
    println!("type two lines");
    let all = numbers.iter().fold(0_u128, |set, number| set | 1 << number);
    let end = u64::try_from(numbers.iter().max().unwrap_or(&0) + 1).unwrap_or(0);
    let select = || os::select(end, [all, 0, 0], None).map_err(Error::from_raw_os_error);
    while select()? != (7, [all, 0, 0]) {}
    ok("all of them in one select");
    equal("and in one poll", poll(&asked, None)?, vec![IN; 7]);
    equal("both lines", line()? + &line()?, "typed\nagain\n".to_owned());
    timer.wait()?;
    reader.read_exact(&mut [0])?;
    near.read_exact(&mut [0])?;
    drop(listener.accept(0)?);
    let answers = [come(one)?.short[0], come(one)?.short[1], come(two)?.short[0]];
    equal("what the guests have sent", answers, [33, 0, 33]);
    Ok(())
}

const KINDS: [&str; 7] = [
    "the console",
    "the timer",
    "the pipe",
    "the pair",
    "the listening socket",
    "the first guest's socket",
    "the second guest's socket",
];

/// A line of the console.
fn line() -> Result<String, Error> {
    let mut bytes = [0; 80];
    let count = os::read(0, &mut bytes).map_err(Error::from_raw_os_error)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// A socket that listens for the service that guests ask for when they are told to.
fn listening() -> Result<Socket, Error> {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(ASKED_FOR))?;
    listener.listen(1)?;
    Ok(listener)
}

/// A listener closes, or refuses its service, while a request waits: the guest is told, and so is who asks later.
fn closing(guests: &Guests) -> Outcome {
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

/// The same sockets by `select`.
fn selected(guests: &Guests) -> Outcome {
    let (one, two) = (1_u128 << guests.one.number(), 1_u128 << guests.two.number());
    let end = u64::try_from(guests.one.number().max(guests.two.number()) + 1).unwrap_or(0);
    let select = |sets, timeout| os::select(end, sets, timeout).map_err(Error::from_raw_os_error);
    equal("nothing to read", select([one | two, 0, 0], Some(0))?, (0, [0; 3]));
    tell(&guests.two, SHORT)?;
    equal("the second guest", select([one | two, 0, 0], None)?, (1, [two, 0, 0]));
    tell(&guests.one, SHORT)?;
    while select([one | two, 0, 0], None)?.1 != [one | two, 0, 0] {}
    equal("reading and writing", select([two, one, two], None)?, (2, [two, one, 0]));
    equal("one", come(&guests.one)?.short[0], 33);
    equal("two", come(&guests.two)?.short[0], 33);
    Ok(())
}

fn ends(guests: &Guests) -> Outcome {
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

fn connecting(guests: &Guests) -> Outcome {
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

/// Calls that wait are ended by a signal, or done anew if its handler says so. The signal comes again and again: one that comes before
/// the wait does not count.
fn interrupted(guests: &Guests) -> Outcome {
    const EVERY_MS: i64 = 20;
    os::handle(libc::SIGALRM, nothing, 0).map_err(Error::from_raw_os_error)?;
    os::set_alarm(EVERY_MS, EVERY_MS);
    equal("read is interrupted", number(guests.two.receive()), Some(libc::EINTR));
    equal("accept is interrupted", number(guests.listener.accept(0)), Some(libc::EINTR));
    let asked = [(guests.two.number(), IN), (guests.listener.number(), IN)];
    equal("poll is interrupted", number(poll(&asked, None)), Some(libc::EINTR));
    // Nobody asks for the message but the handler, when the read has been ended a few times.
    ASKED.store(guests.two.number(), Ordering::Relaxed);
    let handled = os::handle(libc::SIGALRM, ask_at_last, libc::SA_RESTART);
    handled.map_err(Error::from_raw_os_error)?;
    let message = guests.two.receive()?;
    os::set_alarm(0, 0);
    equal("read is done anew", message.map(|it| it.short[0]), Some(33));
    Ok(())
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// The socket whose guest is asked for a message, and how many signals come before.
static ASKED: AtomicI32 = AtomicI32::new(-1);
static LEFT: AtomicI32 = AtomicI32::new(5);

extern "C" fn ask_at_last(_signal: libc::c_int) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 0 {
        let message = Message::short([SHORT, 0, 0]).to_bytes();
        // Without an answer the read waits for ever.
        let _sent = os::write(ASKED.load(Ordering::Relaxed), &message);
    }
}

fn refusals(guests: &Guests) -> Outcome {
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
