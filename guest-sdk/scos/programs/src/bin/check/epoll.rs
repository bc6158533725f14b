//! `epoll`, `socketpair`, and messages of pieces.
#![expect(unsafe_code, reason = "makes calls with headers of its own")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use shikiri_scos_programs::os;
use shikiri_scos_programs::report::{equal, holds};

use crate::processes::beside;

pub(crate) fn check() {
    level();
    edge();
    turns();
    list();
    nested();
    refusals();
    waiting();
    pairs();
    messages();
    through_a_child();
}

fn new() -> Epoll {
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap()
}

/// What a list tells now, at most `most`: its numbers.
fn told(epoll: &Epoll, most: usize) -> Vec<u64> {
    let mut events = vec![EpollEvent::empty(); most];
    let count = epoll.wait(&mut events, EpollTimeout::ZERO).unwrap();
    events[..count].iter().map(EpollEvent::data).collect()
}

fn level() {
    let epoll = new();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    epoll.add(&one, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    equal("nothing_has_come", told(&epoll, 4), vec![]);
    other.write_all(b"ab").unwrap();
    equal("what_has_come_is_told", told(&epoll, 4), vec![7]);
    equal("until_it_is_taken", told(&epoll, 4), vec![7]);
    let mut bytes = [0; 2];
    one.read_exact(&mut bytes).unwrap();
    equal("and_then_no_more", told(&epoll, 4), vec![]);
    let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
    epoll.modify(&one, &mut EpollEvent::new(both, 8)).unwrap();
    let mut events = [EpollEvent::empty()];
    epoll.wait(&mut events, EpollTimeout::ZERO).unwrap();
    equal("it_can_be_changed", (events[0].data(), events[0].events()), (8, EpollFlags::EPOLLOUT));
    drop(other);
    epoll.wait(&mut events, EpollTimeout::ZERO).unwrap();
    holds("the_end_is_always_told", events[0].events().contains(EpollFlags::EPOLLHUP));
    epoll.delete(&one).unwrap();
    equal("what_was_taken_out_is_not_told", told(&epoll, 4), vec![]);
}

fn edge() {
    let epoll = new();
    let counter = EventFd::new().unwrap();
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.add(&counter, EpollEvent::new(flags, 1)).unwrap();
    counter.write(1).unwrap();
    equal("an_edge_is_told", told(&epoll, 4), vec![1]);
    equal("once", told(&epoll, 4), vec![]);
    counter.write(1).unwrap();
    equal("and_the_next_again", told(&epoll, 4), vec![1]);
    let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
    epoll.modify(&counter, &mut EpollEvent::new(once, 2)).unwrap();
    equal("one_shot_is_told", told(&epoll, 4), vec![2]);
    counter.write(1).unwrap();
    equal("and_then_not", told(&epoll, 4), vec![]);
    epoll.modify(&counter, &mut EpollEvent::new(once, 3)).unwrap();
    equal("before_it_is_wanted_again", told(&epoll, 4), vec![3]);
}

/// Who is always ready does not stand before the others.
fn turns() {
    let epoll = new();
    let counters: Vec<EventFd> = (0..5).map(|_| EventFd::from_value(1).unwrap()).collect();
    for (number, counter) in (0..).zip(&counters) {
        epoll.add(counter, EpollEvent::new(EpollFlags::EPOLLIN, number)).unwrap();
    }
    let mut seen: Vec<u64> = (0..3).flat_map(|_| told(&epoll, 2)).collect();
    seen.sort_unstable();
    seen.dedup();
    equal("each_has_its_turn", seen, vec![0, 1, 2, 3, 4]);
}

fn list() {
    let epoll = new();
    let counter = EventFd::from_value(1).unwrap();
    let event = || EpollEvent::new(EpollFlags::EPOLLIN, 0);
    equal("what_is_not_there", epoll.delete(&counter), Err(Errno::ENOENT));
    equal("nor_changed", epoll.modify(&counter, &mut event()), Err(Errno::ENOENT));
    epoll.add(&counter, event()).unwrap();
    equal("twice", epoll.add(&counter, event()), Err(Errno::EEXIST));
    let file = std::fs::File::open("/tmp").unwrap();
    equal("a_directory", epoll.add(&file, event()), Err(Errno::EPERM));
    equal("no_room", epoll.wait(&mut [], EpollTimeout::ZERO), Err(Errno::EINVAL));
    let copy = counter.as_fd().try_clone_to_owned().unwrap();
    drop(counter);
    equal("as_long_as_anybody_has_it", told(&epoll, 4), vec![0]);
    drop(copy);
    equal("and_no_longer", told(&epoll, 4), vec![]);
}

/// A list in a list, and lists that would watch one another.
fn nested() {
    let (outer, inner, counter) = (new(), new(), EventFd::new().unwrap());
    let event = |data| EpollEvent::new(EpollFlags::EPOLLIN, data);
    outer.add(&inner.0, event(1)).unwrap();
    inner.add(&counter, event(2)).unwrap();
    equal("an_empty_list_is_not_ready", told(&outer, 4), vec![]);
    counter.write(1).unwrap();
    equal("one_that_would_tell_is", told(&outer, 4), vec![1]);
    equal("and_tells_it_itself", told(&inner, 4), vec![2]);
    counter.read().unwrap();
    equal("as_long_as_it_is_so", told(&outer, 4), vec![]);
    equal("a_circle_is_eloop", inner.add(&outer.0, event(3)), Err(Errno::ELOOP));
    equal("itself_is_einval", inner.add(&inner.0, event(3)), Err(Errno::EINVAL));
    let mut events = [EpollEvent::empty()];
    let count = thread::scope(|scope| {
        let waits = scope.spawn(|| outer.wait(&mut events, EpollTimeout::NONE));
        // The answer is the same if this comes before the wait; the pause is for it to come behind.
        thread::sleep(Duration::from_millis(10));
        counter.write(1).unwrap();
        waits.join().unwrap()
    });
    equal("who_waits_for_the_outer_one_is_woken", count, Ok(1));
}

/// What is refused first.
fn refusals() {
    const EXCLUSIVE: u32 = 1 << 28;
    let (add, change) = (1, 3);
    let control = |list: i32, operation: u64, number: i32, events: u32| {
        let mut event = [u64::from(events), 0];
        let numbers = [list, number].map(|number| u64::from(number.unsigned_abs()));
        let event = event.as_mut_ptr() as u64;
        // SAFETY: the event is only read.
        unsafe { os::call(21, [numbers[0], operation, numbers[1], event, 0, 0]) }
    };
    let (outer, inner, counter) = (new(), new(), EventFd::new().unwrap());
    inner.add(&outer.0, EpollEvent::new(EpollFlags::EPOLLIN, 1)).unwrap();
    let [outer, inner] = [&outer, &inner].map(|list| list.0.as_fd().as_raw_fd());
    let counter = counter.as_fd().as_raw_fd();
    let file = std::fs::File::open("/").unwrap();
    equal("what_is_no_list_watches_none", control(counter, add, inner, 1), -22);
    equal("but_what_it_watches_comes_first", control(counter, add, file.as_raw_fd(), 1), -1);
    equal("and_a_list_is_no_circle", control(outer, add, inner, 1), -40);
    equal(
        "there_already",
        (control(outer, add, counter, 1), control(outer, add, counter, 1)),
        (0, -17),
    );
    equal("no_exclusive_list", control(outer, add, inner, 1 | EXCLUSIVE), -22);
    equal("nor_a_change_to_it", control(outer, change, counter, 1 | EXCLUSIVE), -22);
}

fn waiting() {
    let epoll = new();
    let (one, mut other) = UnixStream::pair().unwrap();
    epoll.add(&one, EpollEvent::new(EpollFlags::EPOLLIN, 5)).unwrap();
    let mut events = [EpollEvent::empty()];
    let start = Instant::now();
    equal("the_time_is_over", epoll.wait(&mut events, 30_u16), Ok(0));
    holds("and_not_before", start.elapsed() >= Duration::from_millis(30));
    let writer = thread::spawn(move || {
        // The answer is the same if this comes before the wait; the pause is for it to come behind.
        thread::sleep(Duration::from_millis(10));
        other.write_all(b"x").unwrap();
        other
    });
    equal("who_waits_is_woken", epoll.wait(&mut events, EpollTimeout::NONE), Ok(1));
    drop(writer.join().unwrap());
    let late = EventFd::from_value(1).unwrap();
    let outer = new();
    let watched = thread::scope(|scope| {
        let waits = scope.spawn(|| outer.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE));
        // As above.
        thread::sleep(Duration::from_millis(10));
        outer.add(&late, EpollEvent::new(EpollFlags::EPOLLIN, 6)).unwrap();
        waits.join().unwrap()
    });
    equal("also_by_what_is_added_meanwhile", watched, Ok(1));
    let mut ready = [nix::poll::PollFd::new(outer.0.as_fd(), nix::poll::PollFlags::POLLIN)];
    let found = nix::poll::poll(&mut ready, nix::poll::PollTimeout::ZERO);
    equal("a_list_can_be_polled_itself", found, Ok(1));
}

fn pairs() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"there").unwrap();
    other.write_all(b"back").unwrap();
    let mut bytes = [0; 5];
    other.read_exact(&mut bytes).unwrap();
    equal("it_goes_there", bytes, *b"there");
    one.read_exact(&mut bytes[..4]).unwrap();
    equal("and_back", &bytes[..4], b"back");
    one.set_nonblocking(true).unwrap();
    let kind = one.read(&mut bytes).map_err(|error| error.kind());
    equal("nothing_there_is_eagain", kind, Err(ErrorKind::WouldBlock));
    one.write_all(b"last").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    other.read_to_end(&mut rest).unwrap();
    equal("what_was_written_before_the_end", rest, b"last".to_vec());
    other.write_all(b"still").unwrap();
    one.set_nonblocking(false).unwrap();
    one.read_exact(&mut bytes).unwrap();
    equal("the_other_direction_is_open", bytes, *b"still");
    drop(one);
    let kind = other.write(b"x").map_err(|error| error.kind());
    equal("nobody_there_is_epipe", kind, Err(ErrorKind::BrokenPipe));
}

/// A message of several pieces, and what is not a message.
fn messages() {
    const SENDMSG: u64 = 211;
    const RECVMSG: u64 = 212;
    let (one, other) = UnixStream::pair().unwrap();
    let (one, other) = (one.as_raw_fd() as u64, other.as_raw_fd() as u64);
    let message = |call: u64, socket: u64, header: &mut [u64; 7], flags: u64| {
        // SAFETY: the header names pieces of this program's that are written to by nobody else.
        unsafe { os::call(call, [socket, header.as_mut_ptr() as u64, flags, 0, 0, 0]) }
    };
    // `struct msghdr`: a name and its length, pieces and how many, ancillary data and its length, flags.
    let with =
        |pieces: &mut [[u64; 2]]| [0, 0, pieces.as_mut_ptr() as u64, pieces.len() as u64, 0, 0, 0];
    let text = b"of three pieces";
    let piece = |from: usize, to: usize| [text[from..].as_ptr() as u64, (to - from) as u64];
    let mut pieces = [piece(0, 3), piece(3, 3), piece(3, 15)];
    let sent = message(SENDMSG, one, &mut with(&mut pieces), 0);
    equal("pieces_are_sent_as_one", sent, 15);
    let (mut first, mut rest) = ([0_u8; 4], [0_u8; 32]);
    let mut room = [[first.as_mut_ptr() as u64, 4], [rest.as_mut_ptr() as u64, 32]];
    let mut header = with(&mut room);
    (header[1], header[6]) = (77, 0xff);
    equal("and_received_in_others", message(RECVMSG, other, &mut header, 0), 15);
    equal("one_behind_the_other", [first.as_slice(), &rest[..11]].concat(), text.to_vec());
    equal("with_nothing_to_say_about_it", (header[1], header[5], header[6]), (77, 0, 0));
    names(one, other);
    let dont_wait = 0x40;
    equal("nothing_there", message(RECVMSG, other, &mut with(&mut room), dont_wait), -11);
    // A `struct cmsghdr` of a level and a type that nobody knows.
    let mut control = [16_u64, 1 | 99 << 32];
    let mut header = with(&mut pieces);
    (header[4], header[5]) = (control.as_mut_ptr() as u64, 16);
    equal("ancillary_data_is_einval", message(SENDMSG, one, &mut header, 0), -22);
    let mut header = with(&mut pieces);
    header[3] = 1025;
    equal("too_many_pieces_are_emsgsize", message(SENDMSG, one, &mut header, 0), -90);
    let mut bad = [piece(0, 3), [0x7000_0000, 5]];
    equal("a_bad_piece_is_efault", message(SENDMSG, one, &mut with(&mut bad), 0), -14);
    let mut header = with(&mut pieces);
    header[2] = 0x7000_0000;
    equal("and_so_are_bad_pieces", message(SENDMSG, one, &mut header, 0), -14);
    equal("what_is_no_socket", message(SENDMSG, 0, &mut with(&mut pieces), 0), -88);
}

/// Names of messages between the ends of a pair, which have none.
fn names(one: u64, other: u64) {
    const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;
    const MINUS_ONE: u64 = 0xffff_ffff;
    let mut name = [0_u8; 16];
    let mut byte = [0_u8];
    let mut pieces = [[byte.as_mut_ptr() as u64, 1]];
    let mut call = |call: u64, socket: u64, (at, bytes): (u64, u64), flags: u64| {
        let mut header = [at, bytes, pieces.as_mut_ptr() as u64, 1, 0, 0, 0];
        // SAFETY: the header names a byte and a name of this program's that are written to by nobody else.
        let answer =
            unsafe { os::call(call, [socket, header.as_mut_ptr() as u64, flags, 0, 0, 0]) };
        (answer, header[1], header[6])
    };
    let name = name.as_mut_ptr() as u64;
    let (send, receive) = (211, 212);
    equal("no_name_has_no_length", call(send, one, (0, MINUS_ONE), 0).0, 1);
    equal("a_length_is_not_negative", call(receive, other, (name, MINUS_ONE), 0).0, -22);
    equal("nor_is_a_sender_s", call(send, one, (name, MINUS_ONE), 0).0, -22);
    equal("its_name_is_empty", call(receive, other, (name, 16), 0), (1, 0, 0));
    equal("again", call(send, one, (0, 0), 0).0, 1);
    let told = call(receive, other, (0, MINUS_ONE), MSG_CMSG_CLOEXEC);
    equal("who_asks_for_no_name_is_told_none", told, (1, MINUS_ONE, MSG_CMSG_CLOEXEC));
}

/// A program that this one starts talks to it through a pair.
fn through_a_child() {
    let (mut own, its) = UnixStream::pair().unwrap();
    let its: std::os::fd::OwnedFd = its.into();
    let input = Stdio::from(its.try_clone().unwrap());
    let mut child =
        Command::new(beside("cat")).stdin(input).stdout(Stdio::from(its)).spawn().unwrap();
    own.write_all(b"through a child").unwrap();
    own.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    own.read_to_string(&mut text).unwrap();
    equal("a_pair_leads_to_a_child", text.as_str(), "through a child");
    holds("which_ends", child.wait().unwrap().success());
}
