//! Descriptors: the lowest free one, sharing, closing; a map as the reference.

use super::{ROOT, at, done, files};
use crate::abi::fcntl::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_GETPIPE_SZ, F_SETFD, F_SETFL, F_SETPIPE_SZ,
    O_APPEND, O_CLOEXEC, O_CREAT, O_LARGEFILE, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY,
};
use crate::{Descriptors, Errno};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn a_description_is_shared_and_goes_with_its_last_descriptor() {
    let mut files = files();
    let mut parent = Descriptors::new(8);
    files.made("/f", b"abcdef");
    let id = files.opened("/f", O_RDONLY).unwrap();
    assert_eq!(files.install(&mut parent, id, 0), Ok(0));
    assert_eq!(files.dup(&mut parent, 0), Ok(1));
    let mut child = files.fork(&parent);
    let mut out = [0; 2];
    for (descriptors, number, expected) in
        [(&parent, 0, b"ab"), (&parent, 1, b"cd"), (&child, 0, b"ef")]
    {
        let id = descriptors.get(number).unwrap();
        done(files.read(id, None, &mut out)).unwrap();
        assert_eq!(&out, expected);
    }
    files.exit(&mut parent);
    files.close(&mut child, 0).unwrap();
    assert!(!files.is_closed());
    assert_eq!(files.close(&mut child, 0), Err(Errno::EBADF));
    files.close(&mut child, 1).unwrap();
    assert!(files.is_closed());
}

#[test]
fn those_with_cloexec_are_closed_when_a_program_is_executed() {
    let mut files = files();
    let mut descriptors = Descriptors::new(8);
    let (read, write) = files.pipe(0).unwrap();
    assert_eq!(files.install(&mut descriptors, read, O_CLOEXEC), Ok(0));
    assert_eq!(files.install(&mut descriptors, write, 0), Ok(1));
    assert_eq!(files.fcntl(&mut descriptors, 1, F_DUPFD_CLOEXEC, 5), Ok(5));
    assert_eq!(files.dup3(&mut descriptors, 0, 3, 0), Ok(3));
    assert_eq!(files.fcntl(&mut descriptors, 0, F_GETFD, 0), Ok(1));
    assert_eq!(files.fcntl(&mut descriptors, 3, F_SETFD, 1), Ok(0));
    files.exec(&mut descriptors);
    let left: std::vec::Vec<_> = descriptors.iter().map(|(number, _)| number).collect();
    assert_eq!(left, [1]);
    assert_eq!(files.write(write, None, b"x"), Err(Errno::EPIPE));
}

#[test]
fn a_table_that_is_full_is_emfile_and_nothing_leaks() {
    let mut files = files();
    let mut descriptors = Descriptors::new(2);
    for expected in [Ok(0), Ok(1), Err(Errno::EMFILE)] {
        let id = files.eventfd(0, 0).unwrap();
        assert_eq!(files.install(&mut descriptors, id, 0), expected);
    }
    assert_eq!(files.dup(&mut descriptors, 0), Err(Errno::EMFILE));
    assert_eq!(files.fcntl(&mut descriptors, 0, F_DUPFD, 2), Err(Errno::EINVAL));
    assert_eq!(files.fcntl(&mut descriptors, 0, F_DUPFD, u64::MAX), Err(Errno::EINVAL));
    for (from, to, expected) in
        [(0, 2, Errno::EBADF), (0, -1, Errno::EBADF), (5, 1, Errno::EBADF), (1, 1, Errno::EINVAL)]
    {
        assert_eq!(files.dup3(&mut descriptors, from, to, 0), Err(expected));
    }
    assert_eq!(files.dup3(&mut descriptors, 0, 1, O_NONBLOCK), Err(Errno::EINVAL));
    files.exit(&mut descriptors);
    assert!(files.is_closed());
}

#[test]
fn flags_of_a_description_are_told_and_some_can_be_set() {
    let mut files = files();
    let mut descriptors = Descriptors::new(8);
    let id = files.open(&ROOT, at("/f"), O_CREAT | O_WRONLY | O_CLOEXEC, 0o666).unwrap();
    files.install(&mut descriptors, id, 0).unwrap();
    let kept = O_WRONLY | O_LARGEFILE;
    assert_eq!(files.fcntl(&mut descriptors, 0, F_GETFL, 0), Ok(kept as i32));
    let asked = u64::from(O_RDWR | O_APPEND | O_NONBLOCK | O_CREAT);
    assert_eq!(files.fcntl(&mut descriptors, 0, F_SETFL, asked), Ok(0));
    let kept = kept | O_APPEND | O_NONBLOCK;
    assert_eq!(files.fcntl(&mut descriptors, 0, F_GETFL, 0), Ok(kept as i32));
    assert_eq!(files.fcntl(&mut descriptors, 0, 999, 0), Err(Errno::EINVAL));
    assert_eq!(files.fcntl(&mut descriptors, 0, F_GETPIPE_SZ, 0), Err(Errno::EBADF));
    let path = files.opened("/f", O_PATH).unwrap();
    let path = files.install(&mut descriptors, path, 0).unwrap();
    assert_eq!(files.fcntl(&mut descriptors, path, F_GETFL, 0), Ok(O_PATH as i32));
    let (read, _) = files.pipe(0).unwrap();
    let read = files.install(&mut descriptors, read, 0).unwrap();
    assert_eq!(files.fcntl(&mut descriptors, read, F_GETPIPE_SZ, 0), Ok(65_536));
    assert_eq!(files.fcntl(&mut descriptors, read, F_SETPIPE_SZ, 4097), Ok(8192));
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Close(i32),
    Dup(i32),
    DupFrom(i32, u64),
    DupTo(i32, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let number = -1..10_i32;
    prop_oneof![
        Just(Step::Open),
        number.clone().prop_map(Step::Close),
        number.clone().prop_map(Step::Dup),
        (number.clone(), 0..10_u64).prop_map(|(number, least)| Step::DupFrom(number, least)),
        (number.clone(), number).prop_map(|(from, to)| Step::DupTo(from, to)),
    ]
}

/// The lowest free number, of 8.
fn free(map: &BTreeMap<i32, u64>, least: i32) -> Result<i32, Errno> {
    (least..8).find(|number| !map.contains_key(number)).ok_or(Errno::EMFILE)
}

proptest! {
    #[test]
    fn descriptors_are_a_map(steps in prop::collection::vec(step(), 0..60)) {
        let mut files = files();
        let mut descriptors = Descriptors::new(8);
        let mut map = BTreeMap::new();
        for step in steps {
            let there = |number: i32| map.get(&number).copied().ok_or(Errno::EBADF);
            let (answer, expected, what) = match step {
                Step::Open => {
                    let id = files.eventfd(0, 0).unwrap();
                    (files.install(&mut descriptors, id, 0), free(&map, 0), Some(id.0))
                }
                Step::Close(number) => {
                    let answer = files.close(&mut descriptors, number).map(|()| number);
                    let expected = there(number).map(|_| number);
                    map.remove(&number);
                    (answer, expected, None)
                }
                Step::Dup(from) => {
                    let expected = there(from).and_then(|_| free(&map, 0));
                    (files.dup(&mut descriptors, from), expected, there(from).ok())
                }
                Step::DupFrom(from, least) => {
                    let answer = files.fcntl(&mut descriptors, from, F_DUPFD, least);
                    let expected = match there(from) {
                        Ok(_) if least >= 8 => Err(Errno::EINVAL),
                        Ok(_) => free(&map, least as i32),
                        Err(errno) => Err(errno),
                    };
                    (answer, expected, there(from).ok())
                }
                Step::DupTo(from, to) => {
                    let expected = match there(from) {
                        _ if from == to => Err(Errno::EINVAL),
                        Ok(_) if !(0..8).contains(&to) => Err(Errno::EBADF),
                        other => other.map(|_| to),
                    };
                    (files.dup3(&mut descriptors, from, to, 0), expected, there(from).ok())
                }
            };
            prop_assert_eq!(answer, expected);
            if let (Ok(number), Some(what)) = (answer, what) {
                map.insert(number, what);
            }
            let open: BTreeMap<_, _> =
                descriptors.iter().map(|(number, id)| (number as i32, id.0)).collect();
            prop_assert_eq!(&open, &map);
            let distinct: std::collections::BTreeSet<_> = map.values().collect();
            prop_assert_eq!(files.descriptions.len(), distinct.len());
        }
        files.exit(&mut descriptors);
        prop_assert!(files.is_closed());
    }
}
