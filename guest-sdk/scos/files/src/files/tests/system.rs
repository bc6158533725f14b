//! The archive, and files of the system's own making.

use super::{LIMITS, ROOT, at, done, files};
use crate::abi::fcntl::{O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFDIR, S_IFREG};
use crate::cpio::tests::archive;
use crate::{Errno, Files, Limits};

#[test]
fn the_archive_fills_the_tree_and_takes_no_space() {
    let mut files = files();
    let free = files.statfs().free_blocks;
    let bytes = archive(&[
        (".", 0o040_755, b""),
        ("bin", 0o040_711, b""),
        ("bin/sh", 0o100_755, b"program"),
        ("etc/deep/rc", 0o100_644, b"script"),
        ("init", 0o120_777, b"bin/sh"),
        ("dev/own", 0o020_600, b""),
        ("dev/null", 0o020_640, b""),
    ]);
    assert_eq!(files.unpack(bytes), Ok(7));
    assert_eq!(files.contents("/init").unwrap(), b"program");
    assert_eq!(files.contents("/etc/deep/rc").unwrap(), b"script");
    let stat = |path: &str| files.stat(&ROOT, at(path), true).unwrap();
    let (sh, bin) = (stat("/bin/sh"), stat("/bin"));
    assert_eq!((sh.mode, sh.user, sh.group), (S_IFREG | 0o755, 3, 4));
    assert_eq!((sh.written_ns, sh.bytes, sh.blocks), (77_000_000_000, 7, 0));
    assert_eq!(bin.mode, S_IFDIR | 0o711);
    assert_eq!((stat("/dev/null").mode & 0o777, stat("/dev/own").special), (0o640, 0x506));
    assert_eq!(files.statfs().free_blocks, free - 1, "one for the symbolic link");
}

#[test]
fn what_the_archive_has_is_copied_when_it_is_written_to() {
    let mut files = files();
    files.unpack(archive(&[("f", 0o100_644, b"original")])).unwrap();
    let id = files.opened("/f", O_RDWR).unwrap();
    assert_eq!(files.archived(id).unwrap(), b"original");
    assert_eq!(done(files.write(id, Some(2), b"X")), Ok(1));
    assert_eq!((files.archived(id), files.contents("/f").unwrap()), (None, b"orXginal".to_vec()));
}

#[test]
fn an_archive_with_errors_or_without_end_is_refused() {
    let mut files = files();
    assert_eq!(files.unpack(b"what is this"), Err(Errno::EINVAL));
    assert_eq!(files.unpack(b""), Err(Errno::EINVAL));
    let under_a_file = archive(&[("f", 0o100_644, b""), ("f/g", 0o100_644, b"")]);
    assert_eq!(files.unpack(under_a_file), Err(Errno::ENOTDIR));
    let mut files = Files::new(Limits { nodes: 10, ..LIMITS });
    let many = archive(&[("a/b/c/d/e/f/g/h/i/j", 0o100_644, b"")]);
    assert_eq!(files.unpack(many), Err(Errno::ENOSPC));
}

#[test]
fn what_is_published_is_replaced_and_retracted() {
    let mut files = files();
    let before = files.statfs();
    files.publish(b"/proc/7/stat", b"one").unwrap();
    let id = files.opened("/proc/7/stat", O_RDONLY).unwrap();
    files.publish(b"/proc/7/stat", b"two").unwrap();
    assert_eq!(files.contents("/proc/7/stat").unwrap(), b"two");
    assert_eq!(files.read_all(id).unwrap(), b"two", "it is the same file");
    let written = files.opened("/proc/7/stat", O_WRONLY | O_TRUNC).unwrap();
    assert_eq!(done(files.write(written, None, b"three")), Ok(5));
    files.release(written);
    files.publish(b"/proc/7/stat", b"four").unwrap();
    assert_eq!(files.contents("/proc/7/stat").unwrap(), b"four");
    files.publish(b"/proc/7/fd/x", b"").unwrap();
    assert_eq!(files.publish(b"/proc/7", b""), Err(Errno::EISDIR));
    files.retract(b"/proc/7").unwrap();
    assert_eq!(files.retract(b"/proc/7"), Err(Errno::ENOENT));
    assert_eq!(files.retract(b"/"), Err(Errno::EBUSY));
    files.release(id);
    assert_eq!(files.statfs(), before);
}

#[test]
fn what_is_published_has_its_place_when_programs_have_taken_all() {
    let mut files = Files::new(Limits { kept_names: 3, ..LIMITS });
    let mut made = 0;
    while files
        .opened(&std::format!("/tmp/{made}"), O_CREAT | O_EXCL | O_WRONLY)
        .map(|id| files.release(id))
        .is_ok()
    {
        made += 1;
    }
    assert!(made > 10);
    let full = files.opened("/tmp/0", O_WRONLY).unwrap();
    while files.write(full, None, &[1; 4096]).is_ok() {}
    assert_eq!(files.statfs().free_blocks, 0);
    files.publish(b"/proc/7/stat", &[7; 5000]).unwrap();
    files.publish(b"/proc/7/cmdline", b"sh").unwrap();
    files.publish(b"/proc/7/stat", &[8; 6000]).unwrap();
    assert_eq!(files.contents("/proc/7/stat").unwrap(), [8; 6000]);
    assert_eq!(files.publish(b"/proc/uptime", b"1"), Err(Errno::ENOSPC));
    // To be written to it would have to be copied.
    assert_eq!(
        files.opened("/proc/7/stat", O_WRONLY).and_then(|id| done(files.write(id, None, b"x"))),
        Err(Errno::ENOSPC)
    );
}
