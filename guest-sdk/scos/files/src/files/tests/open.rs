//! Opening: flags, devices, and what was removed while it is open.

use super::{LIMITS, ROOT, USER, at, done, files};
use crate::abi::fcntl::{
    O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC,
    O_WRONLY, R_OK,
};
use crate::abi::time::{CLOCK_MONOTONIC, Itimerspec};
use crate::{Errno, Files, Limits};

#[test]
fn flags_decide_as_open_says() {
    let mut files = files();
    files.made("/f", b"data");
    files.mkdir(&ROOT, at("/d"), 0o777).unwrap();
    files.symlink(&ROOT, b"f", at("/l")).unwrap();
    files.symlink(&ROOT, b"new", at("/dangling")).unwrap();
    for (path, flags, expected) in [
        ("/none", O_RDONLY, Err(Errno::ENOENT)),
        ("/f", 3, Err(Errno::EINVAL)),
        ("/f", O_CREAT | O_EXCL, Err(Errno::EEXIST)),
        ("/l", O_CREAT | O_EXCL, Err(Errno::EEXIST)),
        ("/dangling", O_CREAT | O_EXCL, Err(Errno::EEXIST)),
        ("/l", O_NOFOLLOW, Err(Errno::ELOOP)),
        ("/l", O_NOFOLLOW | O_PATH, Ok(())),
        ("/d", O_WRONLY, Err(Errno::EISDIR)),
        ("/d", O_CREAT, Err(Errno::EISDIR)),
        ("/x/", O_CREAT, Err(Errno::EISDIR)),
        ("/", O_CREAT, Err(Errno::EISDIR)),
        ("/d", O_CREAT | O_DIRECTORY, Err(Errno::EINVAL)),
        ("/f", O_DIRECTORY, Err(Errno::ENOTDIR)),
        ("/f/", O_RDONLY, Err(Errno::ENOTDIR)),
        ("/dangling/", O_CREAT, Err(Errno::EISDIR)),
        ("/d/", O_DIRECTORY, Ok(())),
        ("/d", O_PATH, Ok(())),
        ("/f", O_PATH | O_DIRECTORY, Err(Errno::ENOTDIR)),
        ("/dangling", O_CREAT, Ok(())),
        ("/new", O_RDONLY, Ok(())),
    ] {
        let opened = files.opened(path, flags);
        assert_eq!(opened.map(drop), expected, "{path} {flags:#o}");
        opened.into_iter().for_each(|id| files.release(id));
    }
    assert!(files.is_closed());
}

#[test]
fn a_new_file_is_its_makers_with_the_mode_that_umask_leaves() {
    let mut files = files();
    files.chmod(&ROOT, at("/"), 0o777).unwrap();
    let id = files.open(&USER, at("/x"), O_CREAT | O_RDWR, 0o6_777).unwrap();
    let stat = files.fstat(id).unwrap();
    assert_eq!((stat.user, stat.group, stat.mode), (5, 6, 0o106_755));
    assert_eq!((stat.links, stat.written_ns), (1, 9_000_000_000));
}

#[test]
fn cutting_needs_permission_to_write() {
    let mut files = files();
    files.made("/f", b"data");
    assert_eq!(files.open(&USER, at("/f"), O_TRUNC, 0), Err(Errno::EACCES));
    assert_eq!(files.contents("/f").unwrap(), b"data");
    let id = files.opened("/f", O_TRUNC | O_WRONLY).unwrap();
    assert_eq!(files.fstat(id).unwrap().bytes, 0);
    let id = files.opened("/dev/null", O_TRUNC | O_WRONLY).unwrap();
    files.release(id);
}

#[test]
fn a_file_that_was_removed_stays_as_long_as_it_is_open() {
    let mut files = files();
    let free = files.statfs();
    files.made("/f", b"data");
    let id = files.opened("/f", O_RDWR).unwrap();
    files.unlink(&ROOT, at("/f")).unwrap();
    assert_eq!(
        (files.read_all(id).unwrap(), files.fstat(id).unwrap().links),
        (b"data".to_vec(), 0)
    );
    assert!(files.statfs().free_blocks < free.free_blocks);
    files.release(id);
    assert_eq!(files.statfs(), free);
}

#[test]
fn devices_do_what_their_names_say() {
    let mut files = files();
    let mut out = [1; 4];
    let id = files.opened("/dev/null", O_RDWR).unwrap();
    assert_eq!(done(files.write(id, None, b"gone")), Ok(4));
    assert_eq!(done(files.read(id, None, &mut out)), Ok(0));
    assert_eq!(files.fstat(id).unwrap().special, 0x103);
    let id = files.opened("/dev/zero", O_RDWR).unwrap();
    assert_eq!((done(files.read(id, None, &mut out)), out), (Ok(4), [0; 4]));
    let id = files.opened("/dev/full", O_RDWR).unwrap();
    assert_eq!(files.write(id, None, b"x"), Err(Errno::ENOSPC));
    let id = files.opened("/dev/console", O_RDWR | O_NONBLOCK).unwrap();
    assert_eq!(files.read(id, None, &mut out), Err(Errno::EAGAIN));
    files.console_input(b"hi\n");
    assert_eq!(done(files.read(id, None, &mut out)), Ok(3));
    assert_eq!(done(files.write(id, None, b"yo\n")), Ok(3));
    let mut screen = [0; 20];
    let count = files.console_output(&mut screen);
    assert_eq!(&screen[..count], b"hi\r\nyo\r\n");
    files.add_device(b"/dev/sub/own", 0xa01, 0o600).unwrap();
    let id = files.opened("/dev/sub/own", O_RDWR).unwrap();
    assert_eq!(
        (files.device(id), files.read(id, None, &mut out)),
        (Some(0xa01), Err(Errno::EINVAL))
    );
    assert_eq!(files.open(&USER, at("/dev/sub/own"), O_RDONLY, 0), Err(Errno::EACCES));
    assert_eq!(files.access(&USER, at("/dev/null"), R_OK), Ok(()));
}

#[test]
fn too_many_descriptions_are_enfile_and_change_nothing() {
    let mut files = Files::new(Limits { descriptions: 3, ..LIMITS });
    let first = files.opened("/x", O_CREAT).unwrap();
    let second = files.opened("/x", O_CREAT).unwrap();
    assert_eq!(files.pipe(0), Err(Errno::ENFILE));
    assert!(files.pipes.is_empty());
    files.opened("/x", O_CREAT).unwrap();
    assert_eq!(files.opened("/y", O_CREAT), Err(Errno::ENFILE));
    assert_eq!(files.stat(&ROOT, at("/y"), true), Err(Errno::ENOENT));
    assert_eq!(files.eventfd(0, 0), Err(Errno::ENFILE));
    assert_eq!(files.timerfd_create(CLOCK_MONOTONIC, 0), Err(Errno::ENFILE));
    files.release(first);
    files.release(second);
    assert!(files.pipe(0).is_ok());
}

#[test]
fn unknown_flags_of_pipes_counters_and_timers_are_einval() {
    let mut files = files();
    assert_eq!(files.pipe(O_RDWR), Err(Errno::EINVAL));
    assert_eq!(files.eventfd(0, 2), Err(Errno::EINVAL));
    assert_eq!(files.timerfd_create(CLOCK_MONOTONIC, 1), Err(Errno::EINVAL));
    assert_eq!(files.timerfd_create(99, 0), Err(Errno::EINVAL));
    let id = files.eventfd(0, 0).unwrap();
    assert_eq!(files.timerfd_gettime(id), Err(Errno::EINVAL));
    assert_eq!(files.timerfd_settime(id, 0, Itimerspec::default()), Err(Errno::EINVAL));
}
