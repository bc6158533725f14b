//! Readiness: whatever changes it wakes the keys that are told for it.

use super::files;
use crate::abi::fcntl::{O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR};
use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};
use crate::abi::time::{CLOCK_MONOTONIC, Itimerspec};
use crate::files::{DescriptionId, Files, Now};
use crate::{Errno, Key, Step};
use std::collections::BTreeSet;
use std::vec::Vec;

const BITS: u16 = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLNVAL;

impl Files {
    fn bits(&self, id: DescriptionId) -> u16 {
        self.ready(id) & BITS
    }

    /// Whether one who waits for this description is woken.
    fn wakes(&mut self, id: DescriptionId) -> bool {
        let keys: Vec<Key> = self.keys(id).collect();
        let woken: BTreeSet<Key> = core::iter::from_fn(|| self.woken()).collect();
        keys.iter().any(|key| woken.contains(key))
    }
}

#[test]
fn a_pipes_ends_tell_what_they_can() {
    let mut files = files();
    let (read, write) = files.pipe(0).unwrap();
    assert_eq!((files.bits(read), files.bits(write)), (0, POLLOUT));
    let waits = files.read(read, None, &mut [0; 4]);
    assert!(matches!(waits, Ok(Step::Wait(key)) if files.keys(read).any(|other| other == key)));
    files.write(write, None, b"data").unwrap();
    assert!(files.wakes(read));
    assert_eq!(files.bits(read), POLLIN);
    files.read(read, None, &mut [0; 4]).unwrap();
    assert!(files.wakes(write));
    files.release(write);
    assert!(files.wakes(read));
    assert_eq!(files.bits(read), POLLHUP);
    let (read, write) = files.pipe(0).unwrap();
    files.release(read);
    assert!(files.wakes(write));
    assert_eq!(files.bits(write), POLLERR | POLLOUT);
}

#[test]
fn in_non_blocking_mode_the_answer_is_eagain() {
    let mut files = files();
    let (read, write) = files.pipe(O_NONBLOCK).unwrap();
    assert_eq!(files.read(read, None, &mut [0; 4]), Err(Errno::EAGAIN));
    for _ in 0..16 {
        files.write(write, None, &[0; 4096]).unwrap();
    }
    assert_eq!(files.write(write, None, b"x"), Err(Errno::EAGAIN));
    let counter = files.eventfd(0, O_NONBLOCK).unwrap();
    assert_eq!(files.read(counter, None, &mut [0; 8]), Err(Errno::EAGAIN));
    let timer = files.timerfd_create(CLOCK_MONOTONIC, O_NONBLOCK).unwrap();
    assert_eq!(files.read(timer, None, &mut [0; 8]), Err(Errno::EAGAIN));
}

#[test]
fn a_timer_is_an_alarm_and_wakes_when_time_has_come() {
    let mut files = files();
    let timer = files.timerfd_create(CLOCK_MONOTONIC, 0).unwrap();
    let other = files.timerfd_create(CLOCK_MONOTONIC, 0).unwrap();
    let set = |files: &mut Files, id, value_ns| {
        files.timerfd_settime(id, 0, Itimerspec { interval_ns: 0, value_ns }).unwrap()
    };
    set(&mut files, other, 500);
    set(&mut files, timer, 99);
    assert_eq!(files.next_alarm(), Some(100));
    files.set_now(Now { monotonic_ns: 99, realtime_ns: 0 });
    assert!(!files.wakes(timer));
    files.set_now(Now { monotonic_ns: 100, realtime_ns: 0 });
    assert_eq!((files.bits(timer), files.next_alarm()), (POLLIN, Some(501)));
    assert!(files.wakes(timer));
    files.release(other);
    assert_eq!(files.next_alarm(), None);
}

#[test]
fn counters_terminals_and_files_tell_what_they_can() {
    let mut files = files();
    let counter = files.eventfd(0, 0).unwrap();
    assert_eq!(files.bits(counter), POLLOUT);
    files.write(counter, None, &1_u64.to_le_bytes()).unwrap();
    assert!(files.wakes(counter));
    assert_eq!(files.bits(counter), POLLIN | POLLOUT);
    let console = files.opened("/dev/console", O_RDWR).unwrap();
    assert_eq!(files.bits(console), POLLOUT);
    files.console_input(b"x\n");
    assert!(files.wakes(console));
    assert_eq!(files.bits(console), POLLIN | POLLOUT);
    files.made("/f", b"");
    let file = files.opened("/f", O_RDONLY).unwrap();
    assert_eq!((files.bits(file), files.keys(file).count()), (POLLIN | POLLOUT, 0));
    let path = files.opened("/f", O_PATH).unwrap();
    assert_eq!(files.bits(path), POLLNVAL);
    files.release(path);
    assert_eq!(files.bits(path), POLLNVAL);
}
