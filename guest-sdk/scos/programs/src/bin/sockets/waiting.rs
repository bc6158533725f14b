//! Waiting for sockets beside descriptors of all other kinds, and being interrupted (C9).

use std::io::{Error, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use shikiri_scos_programs::os;
use shikiri_scos_programs::report::{equal, ok};
use shikiri_scos_programs::socket::{Message, poll};

use crate::{ASK, Guests, IN, OUT, Outcome, SHORT, come, listening, number, tell};

pub(crate) fn two_guests(guests: &Guests) -> Outcome {
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
pub(crate) fn all_kinds(guests: &Guests) -> Outcome {
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

/// The same kinds in one list of `epoll`, each of them and all at once; and the edges of a guest's socket.
pub(crate) fn listed(guests: &Guests) -> Outcome {
    let (mut reader, mut writer) = std::io::pipe()?;
    let (mut near, mut far) = UnixStream::pair()?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    let listener = listening()?;
    let (one, two) = (&guests.one, &guests.two);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let all: [&dyn AsFd; 6] = [&timer, &reader, &near, &listener, one, two];
    for (index, each) in all.into_iter().enumerate() {
        epoll.add(each.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let only = |index: usize| told(&epoll).map(|told| equal(KINDS[index + 1], told, vec![index]));
    let ring = Expiration::OneShot(TimeSpec::from_duration(Duration::from_millis(1)));
    timer.set(ring, TimerSetTimeFlags::empty())?;
    only(0)?;
    timer.wait()?;
    writer.write_all(b"x")?;
    only(1)?;
    reader.read_exact(&mut [0])?;
    far.write_all(b"x")?;
    only(2)?;
    near.read_exact(&mut [0])?;
    tell(one, ASK)?;
    only(3)?;
    drop(listener.accept(0)?);
    only(4)?;
    equal("the guest is served", come(one)?.short[1], 0);
    tell(two, SHORT)?;
    only(5)?;
    equal("the second guest's", come(two)?.short[0], 33);
    timer.set(ring, TimerSetTimeFlags::empty())?;
    writer.write_all(b"x")?;
    far.write_all(b"x")?;
    // The answer comes before the request.
    tell(one, SHORT)?;
    tell(one, ASK)?;
    tell(two, SHORT)?;
    while told(&epoll)?.len() < 6 {}
    ok("all of them in one list");
    timer.wait()?;
    reader.read_exact(&mut [0])?;
    near.read_exact(&mut [0])?;
    drop(listener.accept(0)?);
    let answers = [come(one)?.short[0], come(one)?.short[1], come(two)?.short[0]];
    equal("what the guests have sent", answers, [33, 0, 33]);
    let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.modify(two, &mut EpollEvent::new(edge, 5))?;
    for _ in 0..2 {
        tell(two, SHORT)?;
        equal("an edge", told(&epoll)?, vec![5]);
        equal("once", told_within(&epoll, EpollTimeout::ZERO)?, vec![]);
    }
    equal("both messages", [come(two)?.short[0], come(two)?.short[0]], [33, 33]);
    // What was closed is in the list no more.
    drop(listener);
    tell(one, ASK)?;
    only(4)?;
    equal("refused", come(one)?.short[1], 1);
    Ok(())
}

/// What a list tells, when it tells something: the numbers, in order.
fn told(epoll: &Epoll) -> Result<Vec<usize>, Error> {
    told_within(epoll, EpollTimeout::NONE)
}

fn told_within(epoll: &Epoll, time: EpollTimeout) -> Result<Vec<usize>, Error> {
    let mut events = [EpollEvent::empty(); 8];
    let count = epoll.wait(&mut events, time)?;
    let mut told: Vec<usize> = events[..count].iter().map(|event| event.data() as usize).collect();
    told.sort_unstable();
    Ok(told)
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

/// Calls that wait are ended by a signal, or done anew if its handler says so. The signal comes again and again: one that comes before
/// the wait does not count.
pub(crate) fn interrupted(guests: &Guests) -> Outcome {
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
