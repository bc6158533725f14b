//! A process that has the kernel hold all that it can for it, and others that work beside it.
#![expect(unsafe_code, reason = "makes a call by number")]

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds, ok};

/// The most descriptors of a process.
const DESCRIPTORS: u64 = 1024;
/// What must be left of the kernel's heap.
const LEAST_KIB: u64 = 1024;
/// What may be missing afterwards: the tables that grew for what others had meanwhile.
const LOST_KIB: u64 = 64;

pub(crate) fn check() {
    let before = heap_kib();
    let (told, tell) = os::pipe(0).unwrap();
    let hog = os::in_child(|| {
        os::close(told).unwrap();
        take_all();
        os::write(tell, b"!").unwrap();
        loop {
            thread::park();
        }
    });
    let hog = hog.unwrap();
    os::close(tell).unwrap();
    // Nothing comes if it has ended.
    equal("one_process_holds_all_it_can", os::read(told, &mut [0]), Ok(1));
    let left = heap_kib();
    holds(&format!("the_kernel_has_{left}_kib_left"), left >= LEAST_KIB);
    beside();
    os::kill(hog, libc::SIGKILL).unwrap();
    equal("it_can_be_ended", os::wait(hog, 0), Ok((hog, Ended::Signal(libc::SIGKILL))));
    fs::remove_dir_all("/tmp/hog").unwrap();
    os::close(told).unwrap();
    let lost = before.saturating_sub(heap_kib());
    holds(&format!("all_comes_back_but_for_{lost}_kib"), lost <= LOST_KIB);
}

/// What is left of the kernel's heap.
fn heap_kib() -> u64 {
    let text = fs::read_to_string("/proc/scos").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("heap_free_kib "));
    line.and_then(|number| number.parse().ok()).unwrap()
}

/// What anybody may want.
fn beside() {
    let hello = Command::new("/bin/hello").output().unwrap();
    holds("a_program_runs_beside_it", hello.status.success());
    let shell = Command::new("/bin/sh").args(["-c", "hello | cat"]).stdin(Stdio::null()).output();
    let text = String::from_utf8(shell.unwrap().stdout).unwrap();
    equal("and_a_shell_with_a_pipe", text.as_str(), "hello from a std program []\n");
    let (reader, writer) = os::pipe(libc::O_NONBLOCK).unwrap();
    equal("a_pipe_has_its_size", os::write(writer, &[1; 65_536]), Ok(65_536));
    equal("a_thread_runs", thread::spawn(|| 7).join().unwrap(), 7);
    let list = Epoll::new(EpollCreateFlags::empty()).unwrap();
    equal("a_list_watches", watch(&list, reader), Ok(()));
    for end in [reader, writer] {
        os::close(end).unwrap();
    }
}

/// Takes all of everything, and keeps it.
fn take_all() {
    // SAFETY: the limits are two numbers of this program's.
    let raised = unsafe {
        let limits = [DESCRIPTORS; 2];
        os::call(261, [0, 7, limits.as_ptr() as u64, 0, 0, 0])
    };
    equal("so_many_descriptors", raised, 0);
    let polled = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    threads(&polled);
    names();
    let lists = descriptors();
    watches(&lists);
    // The threads wait for each of them, until there is no room for what they wait for.
    let (asked, is_there) = &*polled;
    *asked.lock().unwrap() = (3..DESCRIPTORS).map(|number| number as i32).collect();
    is_there.notify_all();
    std::mem::forget(lists);
}

/// Threads that poll what they are told to.
fn threads(polled: &Arc<(Mutex<Vec<i32>>, Condvar)>) {
    let mut count = 0;
    let refused = loop {
        let polled = Arc::clone(polled);
        let thread = thread::Builder::new().stack_size(16 << 10).spawn(move || {
            let (asked, is_there) = &*polled;
            let asked = is_there.wait_while(asked.lock().unwrap(), |asked| asked.is_empty());
            let asked: Vec<(i32, i16)> = asked.unwrap().iter().map(|fd| (*fd, 0)).collect();
            if os::poll(&asked, -1) == Err(libc::ENOMEM) {
                thread::park();
            }
        });
        match thread {
            Ok(_) => count += 1,
            Err(error) => break error.raw_os_error(),
        }
    };
    equal("threads_of_one_process", (count, refused), (63, Some(libc::EAGAIN)));
}

/// Files and links, until there is no room for their contents, and then for their names.
fn names() {
    fs::create_dir("/tmp/hog").unwrap();
    let long = "n".repeat(240);
    let name = |number: u32| format!("/tmp/hog/{long}{number}");
    let target = "t".repeat(4000);
    let mut number = 0;
    while symlink(&target, name(number)).is_ok() {
        number += 1;
    }
    while fs::write(name(number), b"x").is_ok() {
        number += 1;
    }
    while fs::write(name(number), b"").is_ok() {
        number += 1;
    }
    holds("names_have_an_end", number < 20_000);
}

/// Descriptors of all kinds, full if they hold something.
fn descriptors() -> Vec<Epoll> {
    let lists: Vec<Epoll> =
        (0..8).map(|_| Epoll::new(EpollCreateFlags::empty()).unwrap()).collect();
    for _ in 0..8 {
        std::mem::forget(EventFd::new().unwrap());
        let (one, other) = UnixStream::pair().unwrap();
        for end in [one, other] {
            end.set_nonblocking(true).unwrap();
            fill(end.as_raw_fd());
            std::mem::forget(end);
        }
    }
    let refused = loop {
        match os::pipe(libc::O_NONBLOCK) {
            Ok((_, writer)) => fill(writer),
            Err(error) => break error,
        }
    };
    equal("descriptors_have_an_end", refused, libc::EMFILE);
    lists
}

fn fill(writer: i32) {
    while os::write(writer, &[1; 65_536]).is_ok() {}
    while os::write(writer, &[1]).is_ok() {}
}

fn watch(list: &Epoll, number: i32) -> Result<(), Errno> {
    // SAFETY: nothing is closed while it is borrowed.
    let watched = unsafe { BorrowedFd::borrow_raw(number) };
    list.add(watched, EpollEvent::new(EpollFlags::EPOLLIN, 1))
}

/// Has lists watch all that is open, until they may watch no more.
fn watches(lists: &[Epoll]) {
    for list in lists {
        let own = list.0.as_fd().as_raw_fd();
        for number in (3..DESCRIPTORS as i32).filter(|number| *number != own) {
            if watch(list, number) == Err(Errno::ENOSPC) {
                return ok("watches_have_an_end");
            }
        }
    }
    holds("watches_have_an_end", false);
}
