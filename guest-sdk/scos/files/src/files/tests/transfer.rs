//! Reading, writing, seeking, directories, controls.

use super::{ROOT, at, done, files};
use crate::abi::fcntl::{
    O_APPEND, O_CREAT, O_PATH, O_RDONLY, O_RDWR, O_WRONLY, S_IFIFO, SEEK_CUR, SEEK_END, SEEK_SET,
};
use crate::abi::ioctl::{FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ, Transfer, transfer};
use crate::files::Files;
use crate::{DescriptionId, Errno, Mappable, Step};
use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

#[test]
fn a_file_is_read_and_written_where_the_position_is() {
    let mut files = files();
    let id = files.opened("/f", O_CREAT | O_RDWR).unwrap();
    assert_eq!(done(files.write(id, None, b"abcdef")), Ok(6));
    assert_eq!(files.seek(id, -4, SEEK_CUR), Ok(2));
    let mut out = [0; 3];
    assert_eq!((done(files.read(id, None, &mut out)), out), (Ok(3), *b"cde"));
    assert_eq!((done(files.read(id, Some(1), &mut out)), out), (Ok(3), *b"bcd"));
    assert_eq!(done(files.write(id, None, b"XY")), Ok(2));
    assert_eq!(files.contents("/f").unwrap(), b"abcdeXY");
    assert_eq!(files.seek(id, 2, SEEK_END), Ok(9));
    assert_eq!(done(files.read(id, None, &mut out)), Ok(0));
    assert_eq!(done(files.write(id, None, b"Z")), Ok(1));
    assert_eq!(files.contents("/f").unwrap(), b"abcdeXY\0\0Z");
}

#[test]
fn what_is_appended_goes_to_the_end() {
    let mut files = files();
    files.made("/f", b"abc");
    let id = files.opened("/f", O_WRONLY | O_APPEND).unwrap();
    assert_eq!(done(files.write(id, None, b"d")), Ok(1));
    assert_eq!(done(files.write(id, Some(0), b"e")), Ok(1));
    assert_eq!(files.contents("/f").unwrap(), b"abcde");
}

#[test]
fn positions_that_are_none_are_refused() {
    let mut files = files();
    files.made("/f", b"abc");
    let id = files.opened("/f", O_RDWR).unwrap();
    assert_eq!(files.seek(id, -1, SEEK_SET), Err(Errno::EINVAL));
    assert_eq!(files.seek(id, i64::MIN, SEEK_END), Err(Errno::EINVAL));
    assert_eq!(files.seek(id, i64::MAX, SEEK_END), Err(Errno::EINVAL));
    assert_eq!(files.seek(id, 0, 9), Err(Errno::EINVAL));
    assert_eq!(files.read(id, Some(u64::MAX), &mut [0; 4]), Err(Errno::EINVAL));
    assert_eq!(files.write(id, Some(u64::MAX), b"x"), Err(Errno::EINVAL));
    assert_eq!(files.ftruncate(id, u64::MAX), Err(Errno::EFBIG));
    let (read, write) = files.pipe(0).unwrap();
    assert_eq!(files.seek(read, 0, SEEK_CUR), Err(Errno::ESPIPE));
    assert_eq!(files.read(read, Some(0), &mut [0; 4]), Err(Errno::ESPIPE));
    assert_eq!(files.write(write, Some(0), b"x"), Err(Errno::ESPIPE));
}

#[test]
fn what_is_not_open_for_it_is_ebadf() {
    let mut files = files();
    files.made("/f", b"abc");
    let (read, write) =
        (files.opened("/f", O_RDONLY).unwrap(), files.opened("/f", O_WRONLY).unwrap());
    assert_eq!(files.write(read, None, b"x"), Err(Errno::EBADF));
    assert_eq!(files.read(write, None, &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(files.ftruncate(read, 0), Err(Errno::EINVAL));
    let path = files.opened("/f", O_PATH).unwrap();
    assert_eq!(files.read(path, None, &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(files.seek(path, 0, SEEK_SET), Err(Errno::EBADF));
    assert_eq!(files.fchmod(&ROOT, path, 0), Err(Errno::EBADF));
    assert_eq!(files.ioctl(path, FIONREAD, 0, &mut [0; 4]), Err(Errno::EBADF));
    files.release(read);
    assert_eq!(files.read(read, None, &mut [0; 4]), Err(Errno::EBADF));
    let directory = files.opened("/", O_RDONLY).unwrap();
    assert_eq!(files.read(directory, None, &mut [0; 4]), Err(Errno::EISDIR));
    assert_eq!(files.directory(write), Err(Errno::ENOTDIR));
    let (read, write) = files.pipe(0).unwrap();
    assert_eq!(files.write(read, None, b"x"), Err(Errno::EBADF));
    assert_eq!(files.read(write, None, &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(files.fstat(read).unwrap().mode, S_IFIFO | 0o600);
    assert_eq!(files.fchmod(&ROOT, read, 0), Err(Errno::EINVAL));
}

/// The names of `struct linux_dirent64` records.
fn names(records: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let length = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
        let name = rest[19..length].split(|byte| *byte == 0).next().unwrap();
        names.push(String::from_utf8(name.to_vec()).unwrap());
        rest = &rest[length..];
    }
    names
}

fn list(files: &mut Files, id: DescriptionId, room: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut out = vec![0; room];
        match files.getdents64(id, &mut out).unwrap() {
            0 => return all,
            count => all.extend(names(&out[..count])),
        }
    }
}

#[test]
fn a_directory_is_listed_in_parts_and_again() {
    let mut files = files();
    files.mkdir(&ROOT, at("/d"), 0o777).unwrap();
    for number in 0..9 {
        files.made(&format!("/d/file-{number}"), b"");
    }
    let id = files.opened("/d", O_RDONLY).unwrap();
    assert_eq!(files.getdents64(id, &mut [0; 23]), Err(Errno::EINVAL));
    let all = list(&mut files, id, 60);
    assert_eq!((all.len(), &all[..3]), (11, &[".".into(), "..".into(), "file-0".into()][..]));
    assert_eq!(list(&mut files, id, 999), [""; 0]);
    files.seek(id, 0, SEEK_SET).unwrap();
    assert_eq!(list(&mut files, id, 999), all);
    // What is removed while it is read does not hide others.
    files.seek(id, 0, SEEK_SET).unwrap();
    let mut seen = BTreeSet::new();
    loop {
        let mut out = [0; 40];
        let count = files.getdents64(id, &mut out).unwrap();
        for name in names(&out[..count]).into_iter().filter(|name| !name.starts_with('.')) {
            files.unlink(&ROOT, at(&format!("/d/{name}"))).unwrap();
            seen.insert(name);
        }
        if count == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 9);
    let file = files.opened("/dev/null", O_RDONLY).unwrap();
    assert_eq!(files.getdents64(file, &mut [0; 99]), Err(Errno::ENOTDIR));
}

#[test]
fn controls_are_copied_as_their_table_says() {
    let mut files = files();
    files.made("/f", b"abc");
    let id = files.opened("/f", O_RDONLY).unwrap();
    let mut data = [0; 4];
    assert_eq!(files.ioctl(id, FIONREAD, 0, &mut data), Ok(0));
    assert_eq!((data, transfer(FIONREAD)), ([3, 0, 0, 0], Some(Transfer::ToProgram(4))));
    assert_eq!(files.ioctl(id, TIOCGWINSZ, 0, &mut [0; 8]), Err(Errno::ENOTTY));
    assert_eq!((files.ioctl(id, 0x1234, 0, &mut []), transfer(0x1234)), (Err(Errno::ENOTTY), None));
    let (read, write) = files.pipe(0).unwrap();
    files.write(write, None, b"12345").unwrap();
    files.ioctl(read, FIONREAD, 0, &mut data).unwrap();
    assert_eq!(data, [5, 0, 0, 0]);
    assert_eq!(files.ioctl(read, TCGETS, 0, &mut [0; 36]), Err(Errno::ENOTTY));
    assert_eq!(files.ioctl(read, FIONBIO, 0, &mut [1, 0, 0, 0]), Ok(0));
    files.read(read, None, &mut [0; 9]).unwrap();
    assert_eq!(files.read(read, None, &mut [0; 9]), Err(Errno::EAGAIN));
    files.ioctl(read, FIONBIO, 0, &mut [0; 4]).unwrap();
    assert!(matches!(files.read(read, None, &mut [0; 9]), Ok(Step::Wait(_))));
    let console = files.opened("/dev/tty", O_RDWR).unwrap();
    assert_eq!(files.ioctl(console, TCGETS, 0, &mut [0; 36]), Ok(0));
}

#[test]
fn files_are_mapped_as_copies_only() {
    let mut files = files();
    files.made("/f", b"abc");
    let (read, write) =
        (files.opened("/f", O_RDONLY).unwrap(), files.opened("/f", O_WRONLY).unwrap());
    let both = files.opened("/f", O_RDWR).unwrap();
    assert_eq!(files.mappable(read, false, true), Ok(Mappable::Copy));
    assert_eq!(files.mappable(read, true, false), Ok(Mappable::Copy));
    assert_eq!(files.mappable(write, false, false), Err(Errno::EACCES));
    assert_eq!(files.mappable(read, true, true), Err(Errno::EACCES));
    assert_eq!(files.mappable(both, true, true), Err(Errno::ENODEV));
    let (pipe, _) = files.pipe(0).unwrap();
    assert_eq!(files.mappable(pipe, false, false), Err(Errno::ENODEV));
}
