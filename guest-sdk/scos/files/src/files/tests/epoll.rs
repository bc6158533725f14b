//! `epoll` and pairs.

use super::{LIMITS, done, files};
use crate::abi::fcntl::O_RDWR;
use crate::abi::poll::{POLLHUP, POLLIN, POLLOUT, POLLRDHUP};
use crate::abi::socket::{AF_UNIX, SHUT_RD, SHUT_WR, SOCK_NONBLOCK, SOCK_STREAM};
use crate::epoll::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EpollEvent};
use crate::files::{DescriptionId, Files, Looks};
use crate::{Descriptors, Errno, Limits, Step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

struct Process {
    files: Files,
    descriptors: Descriptors,
}

impl Process {
    fn new() -> Self {
        let limits = Limits { descriptions: 8000, ..LIMITS };
        Self { files: Files::new(limits), descriptors: Descriptors::new(1024) }
    }

    fn add(&mut self, id: DescriptionId) -> i32 {
        self.files.install(&mut self.descriptors, id, 0).unwrap()
    }

    fn list(&mut self) -> i32 {
        let id = self.files.epoll_create(0).unwrap();
        self.add(id)
    }

    fn counter(&mut self, value: u32) -> i32 {
        let id = self.files.eventfd(value, 0).unwrap();
        self.add(id)
    }

    fn control(
        &mut self,
        list: i32,
        operation: u32,
        number: i32,
        events: u32,
    ) -> Result<(), Errno> {
        let event = EpollEvent { events, data: number as u64 };
        self.files.epoll_control(&self.descriptors, list, operation, (number, event))
    }

    fn told(&mut self, list: i32, most: usize) -> Vec<i32> {
        let id = self.descriptors.get(list).unwrap();
        let told = self.files.epoll_take(id, most).unwrap();
        told.iter().map(|event| event.data as i32).collect()
    }

    /// Wakes whoever is to be woken.
    fn settle(&mut self) {
        while self.files.woken().is_some() {}
    }

    fn write(&mut self, number: i32) {
        let id = self.descriptors.get(number).unwrap();
        done(self.files.write(id, None, &1_u64.to_le_bytes())).unwrap();
        self.settle();
    }

    fn read(&mut self, number: i32) {
        let id = self.descriptors.get(number).unwrap();
        done(self.files.read(id, None, &mut [0; 8])).unwrap();
        self.settle();
    }
}

const IN: u32 = POLLIN as u32;

#[test]
fn what_is_watched_goes_with_its_description_and_the_count_with_it() {
    let mut it = Process::new();
    let (list, counter) = (it.list(), it.counter(1));
    it.control(list, EPOLL_CTL_ADD, counter, IN).unwrap();
    let copy = it.files.dup(&mut it.descriptors, counter).unwrap();
    it.files.close(&mut it.descriptors, counter).unwrap();
    assert_eq!(it.told(list, 9), [counter]);
    assert_eq!(it.control(list, EPOLL_CTL_DEL, copy, 0), Err(Errno::ENOENT), "under its number");
    it.files.close(&mut it.descriptors, copy).unwrap();
    assert_eq!(it.told(list, 9), [] as [i32; 0]);
    assert_eq!(it.files.watches, 0);
    let counter = it.counter(1);
    it.control(list, EPOLL_CTL_ADD, counter, IN).unwrap();
    it.files.close(&mut it.descriptors, list).unwrap();
    assert_eq!((it.files.watches, it.files.lists.len()), (0, 0));
}

#[test]
fn there_is_an_end_to_what_all_lists_watch() {
    let mut it = Process::new();
    let counters: Vec<i32> = (0..600).map(|_| it.counter(0)).collect();
    let mut added = 0;
    let refused = loop {
        // Each is another process's.
        it.files.set_payer(added);
        let list = it.list();
        let refused = counters.iter().find_map(|counter| {
            let answer = it.control(list, EPOLL_CTL_ADD, *counter, IN);
            added += u32::from(answer.is_ok());
            answer.err()
        });
        if let Some(refused) = refused {
            break refused;
        }
    };
    assert_eq!((refused, added), (Errno::ENOSPC, 4096));
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let mut it = Process::new();
    let (list, other, counter) = (it.list(), it.list(), it.counter(0));
    let file = it.files.opened("/tmp", 0).unwrap();
    let file = it.add(file);
    for (list, operation, number, events, error) in [
        (counter, EPOLL_CTL_ADD, counter, IN, Errno::EINVAL),
        (list, EPOLL_CTL_ADD, other, IN | 1 << 28, Errno::EINVAL),
        (list, EPOLL_CTL_ADD, list, IN, Errno::EINVAL),
        (list, EPOLL_CTL_ADD, file, IN, Errno::EPERM),
        (list, EPOLL_CTL_ADD, 77, IN, Errno::EBADF),
        (77, EPOLL_CTL_ADD, counter, IN, Errno::EBADF),
        (list, EPOLL_CTL_ADD, counter, 1 << 20, Errno::EINVAL),
        (list, EPOLL_CTL_MOD, counter, IN, Errno::ENOENT),
        (list, 4, counter, IN, Errno::EINVAL),
    ] {
        assert_eq!(it.control(list, operation, number, events), Err(error), "{operation} {number}");
    }
    let id = it.descriptors.get(counter).unwrap();
    assert_eq!(it.files.epoll_take(id, 1), Err(Errno::EINVAL));
    assert_eq!(it.files.epoll_create(1), Err(Errno::EINVAL));
}

#[test]
fn an_event_is_the_structure_of_linux() {
    let event = EpollEvent { events: 0x8000_0001, data: 0x1122_3344_5566_7788 };
    let bytes = [1, 0, 0, 0x80, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11];
    assert_eq!((event.to_bytes(), EpollEvent::from_bytes(&bytes)), (bytes, event));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A list tells what `poll` would, of those whose edges count each once.
    #[test]
    fn a_list_agrees_with_poll(
        kinds in prop::collection::vec(any::<bool>(), 1..6),
        steps in prop::collection::vec((0..3_u8, 0..6_usize, 1..4_usize), 0..40),
    ) {
        let mut it = Process::new();
        let list = it.list();
        let counters: Vec<i32> = kinds.iter().map(|_| it.counter(0)).collect();
        let mut values = BTreeMap::new();
        let mut edges = BTreeMap::new();
        for (counter, is_edge) in counters.iter().zip(&kinds) {
            it.control(list, EPOLL_CTL_ADD, *counter, IN | if *is_edge { EPOLLET } else { 0 }).unwrap();
            values.insert(*counter, 0);
            edges.insert(*counter, *is_edge);
        }
        it.settle();
        let mut fresh: BTreeMap<i32, bool> = counters.iter().map(|it| (*it, true)).collect();
        for (what, which, most) in steps {
            let counter = counters[which % counters.len()];
            match what {
                0 => {
                    it.write(counter);
                    *values.get_mut(&counter).unwrap() += 1;
                    fresh.insert(counter, true);
                }
                1 if values[&counter] > 0 => {
                    it.read(counter);
                    values.insert(counter, 0);
                    // Who could write is told of as well: an edge for who reads, too, and no more than that.
                    fresh.insert(counter, true);
                }
                1 => {}
                _ => {
                    let expected: Vec<i32> = counters
                        .iter()
                        .copied()
                        .filter(|it| values[it] > 0 && (!edges[it] || fresh[it]))
                        .collect();
                    let told = it.told(list, most);
                    prop_assert_eq!(told.len(), expected.len().min(most));
                    prop_assert!(told.iter().all(|it| expected.contains(it)));
                    for counter in told {
                        fresh.insert(counter, false);
                    }
                }
            }
        }
    }
}

fn pair(files: &mut Files) -> (DescriptionId, DescriptionId) {
    files.socketpair(AF_UNIX, SOCK_STREAM, 0).unwrap()
}

#[test]
fn what_is_written_to_one_end_is_read_from_the_other_and_goes_with_both() {
    let mut files = files();
    let (one, other) = pair(&mut files);
    assert_eq!(files.description(one).unwrap().flags & O_RDWR, O_RDWR);
    let mut bytes = [0; 8];
    for (from, to, text) in [(one, other, b"ab"), (other, one, b"cd")] {
        done(files.write(from, None, text)).unwrap();
        assert_eq!(done(files.read(to, None, &mut bytes)), Ok(2));
        assert_eq!(&bytes[..2], text);
    }
    assert!(matches!(files.read(one, None, &mut bytes), Ok(Step::Wait(_))));
    assert_eq!(files.ready(one) & (POLLIN | POLLOUT | POLLHUP), POLLOUT);
    files.release(other);
    assert_eq!(done(files.read(one, None, &mut bytes)), Ok(0));
    assert_eq!(files.write(one, None, b"x"), Err(Errno::EPIPE));
    let all = POLLIN | POLLOUT | POLLHUP | POLLRDHUP;
    assert_eq!(files.ready(one) & all, all);
    files.release(one);
    assert!(files.is_closed());
}

#[test]
fn one_direction_can_be_shut() {
    let mut files = files();
    let (one, other) = pair(&mut files);
    done(files.write(one, None, b"last")).unwrap();
    files.shutdown(one, SHUT_WR).unwrap();
    assert_eq!(files.write(one, None, b"x"), Err(Errno::EPIPE));
    let mut bytes = [0; 8];
    assert_eq!(done(files.read(other, None, &mut bytes)), Ok(4));
    assert_eq!(done(files.read(other, None, &mut bytes)), Ok(0));
    assert_eq!(files.ready(other) & (POLLIN | POLLOUT | POLLHUP), POLLIN | POLLOUT);
    done(files.write(other, None, b"still")).unwrap();
    assert_eq!(done(files.read(one, None, &mut bytes)), Ok(5));
    files.shutdown(one, SHUT_RD).unwrap();
    assert_eq!(done(files.read(one, None, &mut bytes)), Ok(0));
    assert_eq!(files.write(other, None, b"x"), Err(Errno::EPIPE));
    assert_eq!(files.shutdown(one, 3), Err(Errno::EINVAL));
    files.release(one);
    files.release(other);
    assert!(files.is_closed());
}

#[test]
fn only_streams_of_the_system_itself_come_in_pairs() {
    let mut files = files();
    for (family, kind, protocol, error) in [
        (77, SOCK_STREAM, 0, Errno::EAFNOSUPPORT),
        (AF_UNIX, 5, 0, Errno::ESOCKTNOSUPPORT),
        (AF_UNIX, SOCK_STREAM | 1 << 20, 0, Errno::EINVAL),
        (AF_UNIX, SOCK_STREAM, 1, Errno::EPROTONOSUPPORT),
    ] {
        assert_eq!(files.socketpair(family, kind, protocol), Err(error));
    }
    assert!(files.is_closed());
    let (one, _) = files.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0).unwrap();
    assert_eq!(files.read(one, None, &mut [0; 8]), Err(Errno::EAGAIN));
}

#[test]
fn a_list_can_be_watched_and_what_comes_goes_through() {
    let mut it = Process::new();
    let lists: Vec<i32> = (0..5).map(|_| it.list()).collect();
    let counter = it.counter(0);
    for pair in lists.windows(2) {
        it.control(pair[0], EPOLL_CTL_ADD, pair[1], IN | EPOLLET).unwrap();
    }
    it.settle();
    let outer = it.descriptors.get(lists[0]).unwrap();
    assert_eq!(it.files.ready(outer), 0);
    // What is added to the last one counts as something that has come, and so does each event behind it.
    it.control(lists[4], EPOLL_CTL_ADD, counter, IN).unwrap();
    it.settle();
    let key = it.files.keys(it.descriptors.get(counter).unwrap()).next().unwrap();
    assert!(it.files.keys(outer).any(|own| own == key), "who waits for the first is woken");
    assert_eq!(it.told(lists[0], 9), [] as [i32; 0]);
    for _ in 0..2 {
        it.write(counter);
        assert_eq!(it.files.ready(outer) & POLLIN, POLLIN);
        assert_eq!(it.told(lists[0], 9), [lists[1]]);
        assert_eq!(it.told(lists[0], 9), [] as [i32; 0], "an edge is told once");
    }
    assert_eq!(it.told(lists[4], 9), [counter]);
    it.read(counter);
    it.control(lists[0], EPOLL_CTL_MOD, lists[1], IN).unwrap();
    assert_eq!(it.files.ready(outer), 0);
    it.control(lists[0], EPOLL_CTL_DEL, lists[1], 0).unwrap();
    it.files.close(&mut it.descriptors, lists[2]).unwrap();
    it.write(counter);
    assert_eq!(it.told(lists[1], 9), [] as [i32; 0], "the row is cut");
    assert_eq!(it.files.watches, 2);
}

#[test]
fn lists_in_a_circle_or_in_too_long_a_row_are_refused() {
    let mut it = Process::new();
    let lists: Vec<i32> = (0..6).map(|_| it.list()).collect();
    let mut watch =
        |list: usize, watched: usize| it.control(lists[list], EPOLL_CTL_ADD, lists[watched], IN);
    assert_eq!(watch(0, 0), Err(Errno::EINVAL));
    for (list, watched) in [(0, 1), (1, 2), (3, 4), (2, 3)] {
        assert_eq!(watch(list, watched), Ok(()));
        assert_eq!(watch(watched, list), Err(Errno::ELOOP));
    }
    assert_eq!(watch(4, 0), Err(Errno::ELOOP), "round all");
    assert_eq!(watch(4, 5), Err(Errno::ELOOP), "the sixth below");
    assert_eq!(watch(5, 0), Err(Errno::ELOOP), "the sixth above");
    assert_eq!(watch(5, 1), Ok(()), "beside");
    assert_eq!(watch(0, 2), Ok(()), "also past one");
    let counter = it.counter(0);
    assert_eq!(it.control(counter, EPOLL_CTL_ADD, lists[0], IN), Err(Errno::EINVAL), "no list");
}

#[test]
fn many_ways_to_a_list_are_one_look() {
    let mut it = Process::new();
    // Each of a row watches the next under forty numbers: 40^4 ways to the last.
    let lists: Vec<i32> = (0..5).map(|_| it.list()).collect();
    for pair in lists.windows(2) {
        for _ in 0..40 {
            let copy = it.files.dup(&mut it.descriptors, pair[1]).unwrap();
            it.control(pair[0], EPOLL_CTL_ADD, copy, IN).unwrap();
        }
    }
    for _ in 0..600 {
        let counter = it.counter(0);
        it.control(lists[4], EPOLL_CTL_ADD, counter, IN).unwrap();
    }
    let outer = it.descriptors.get(lists[0]).unwrap();
    assert_eq!((it.files.ready(outer), it.told(lists[0], 9)), (0, vec![]));
    assert_eq!(it.files.keys(outer).count(), 5 + 2 * 600);
    it.settle();
}

#[test]
fn a_call_waits_for_each_key_once_and_looks_at_each_list_once() {
    let mut it = Process::new();
    let (inner, counter) = (it.list(), it.counter(0));
    for _ in 0..600 {
        let copy = it.files.dup(&mut it.descriptors, counter).unwrap();
        it.control(inner, EPOLL_CTL_ADD, copy, IN).unwrap();
    }
    let outer: Vec<i32> = (0..400).map(|_| it.list()).collect();
    for list in &outer {
        it.control(*list, EPOLL_CTL_ADD, inner, IN).unwrap();
    }
    // Each list thrice, as `ppoll` may have it.
    let asked: Vec<DescriptionId> = [outer.clone(), outer.clone(), outer, vec![inner]]
        .concat()
        .iter()
        .map(|number| it.descriptors.get(*number).unwrap())
        .collect();
    let mut looks = Looks::default();
    assert!(asked.iter().all(|id| it.files.ready_with(*id, &mut looks) == 0));
    assert_eq!(looks.count, asked.len() + 400 + 600, "those, and what each list watches");
    let keys = it.files.keys_of(asked);
    assert_eq!(keys.len(), 400 + 1 + 2, "of the lists and the counter");
    it.settle();
    let id = it.descriptors.get(counter).unwrap();
    done(it.files.write(id, None, &1_u64.to_le_bytes())).unwrap();
    assert!(it.files.woken().is_some_and(|key| keys.contains(&key)));
}

#[test]
fn what_has_come_is_noted_in_a_few_looks_at_each_watch() {
    let mut it = Process::new();
    // A row of lists, each of which watches the next, and the last the same counter, under two hundred numbers.
    let (lists, counter): (Vec<i32>, _) = ((0..5).map(|_| it.list()).collect(), it.counter(0));
    for (list, watched) in lists.iter().zip(lists[1..].iter().chain([&counter])) {
        for _ in 0..190 {
            let copy = it.files.dup(&mut it.descriptors, *watched).unwrap();
            it.control(*list, EPOLL_CTL_ADD, copy, IN | EPOLLET).unwrap();
        }
    }
    it.settle();
    assert_eq!(it.told(lists[0], 1000).len(), 0);
    let id = it.descriptors.get(counter).unwrap();
    done(it.files.write(id, None, &1_u64.to_le_bytes())).unwrap();
    // Once for the key, five times for the rows, and once for each list that is told.
    assert_eq!(it.files.note_woken(), 7 * it.files.watches);
    assert_eq!(it.files.note_woken(), 0, "all was noted");
    for list in [lists[0], lists[4]] {
        assert_eq!(it.told(list, 1000).len(), 190, "each number is told");
    }
}

#[test]
fn all_that_has_come_is_noted_at_once() {
    let mut it = Process::new();
    let list = it.list();
    let counters: Vec<i32> = (0..500).map(|_| it.counter(0)).collect();
    for counter in &counters {
        it.control(list, EPOLL_CTL_ADD, *counter, IN | EPOLLET).unwrap();
    }
    it.settle();
    assert_eq!(it.told(list, 1000).len(), 0);
    for counter in &counters {
        let id = it.descriptors.get(*counter).unwrap();
        done(it.files.write(id, None, &1_u64.to_le_bytes())).unwrap();
    }
    assert!(it.files.note_woken() <= 4 * it.files.watches);
    it.settle();
    assert_eq!(it.told(list, 1000), counters);
}

#[test]
fn what_came_before_a_look_is_no_second_edge() {
    let mut it = Process::new();
    let (list, counter) = (it.list(), it.counter(0));
    it.control(list, EPOLL_CTL_ADD, counter, IN | EPOLLET).unwrap();
    let id = it.descriptors.get(counter).unwrap();
    done(it.files.write(id, None, &1_u64.to_le_bytes())).unwrap();
    assert_eq!(it.told(list, 9), [counter], "whether it was settled meanwhile or not");
    it.settle();
    assert_eq!(it.told(list, 9), [] as [i32; 0]);
}
