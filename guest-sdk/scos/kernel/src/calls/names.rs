//! Names in the tree of files.

use shikiri_scos_files::abi::fcntl::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW,
};
use shikiri_scos_files::abi::stat::Stat;
use shikiri_scos_files::abi::time::timespec_from;
use shikiri_scos_files::{Caller, Errno, Place};

use super::descriptors::{install, owner};
use crate::user::{Answer, User, done, value};

/// UTIME_NOW and UTIME_OMIT.
const NOW: u64 = 0x3fff_ffff;
const OMIT: u64 = 0x3fff_fffe;

/// Hands a path, where it is looked up, and who calls to an action.
macro_rules! at {
    ($user:ident, $directory:expr, $address:expr, |$caller:ident, $place:ident| $action:expr) => {{
        let (directory, address) = ($directory, $address);
        let path = $user.path(address)?;
        let $caller: Caller = $user.me()?.caller();
        let $place: Place<'_> = $user.place(directory, &path)?;
        $action
    }};
}

pub(super) fn getcwd(user: &mut User<'_>) -> Answer {
    let (address, size) = (user.long(0), user.long(1));
    let directory = user.me()?.directory;
    let mut path = user.kernel.files.path_of(directory)?;
    path.push(0);
    if path.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    user.write(address, &path)?;
    value(path.len())
}

pub(super) fn openat(user: &mut User<'_>) -> Answer {
    let (flags, mode) = (user.word(2), user.word(3));
    let id = at!(user, user.int(0), user.long(1), |caller, place| user
        .kernel
        .files
        .open(&caller, place, flags, mode))?;
    value(install(user, id, flags)?)
}

pub(super) fn mkdirat(user: &mut User<'_>) -> Answer {
    let mode = user.word(2);
    at!(user, user.int(0), user.long(1), |caller, place| user
        .kernel
        .files
        .mkdir(&caller, place, mode))?;
    done()
}

pub(super) fn unlinkat(user: &mut User<'_>) -> Answer {
    let flags = user.word(2);
    at!(user, user.int(0), user.long(1), |caller, place| match flags {
        0 => user.kernel.files.unlink(&caller, place),
        AT_REMOVEDIR => user.kernel.files.rmdir(&caller, place),
        _ => Err(Errno::EINVAL),
    })?;
    done()
}

pub(super) fn symlinkat(user: &mut User<'_>) -> Answer {
    let target = user.path(user.long(0))?;
    at!(user, user.int(1), user.long(2), |caller, place| user
        .kernel
        .files
        .symlink(&caller, &target, place))?;
    done()
}

pub(super) fn linkat(user: &mut User<'_>) -> Answer {
    let flags = user.word(4);
    let from = user.path(user.long(1))?;
    let to = user.path(user.long(3))?;
    if flags & !AT_SYMLINK_FOLLOW != 0 {
        return Err(Errno::EINVAL);
    }
    let caller = user.me()?.caller();
    let (from, to) = (user.place(user.int(0), &from)?, user.place(user.int(2), &to)?);
    user.kernel.files.link(&caller, from, to, flags != 0)?;
    done()
}

pub(super) fn renameat(user: &mut User<'_>) -> Answer {
    rename(user, 0)
}

pub(super) fn renameat2(user: &mut User<'_>) -> Answer {
    let flags = user.word(4);
    rename(user, flags)
}

fn rename(user: &mut User<'_>, flags: u32) -> Answer {
    let from = user.path(user.long(1))?;
    let to = user.path(user.long(3))?;
    let caller = user.me()?.caller();
    let (from, to) = (user.place(user.int(0), &from)?, user.place(user.int(2), &to)?);
    user.kernel.files.rename(&caller, from, to, flags)?;
    done()
}

pub(super) fn statfs(user: &mut User<'_>) -> Answer {
    at!(user, AT_FDCWD, user.long(0), |caller, place| user
        .kernel
        .files
        .stat(&caller, place, true))?;
    let stat = user.kernel.files.statfs();
    user.write(user.long(1), &stat.to_bytes())?;
    done()
}

pub(super) fn truncate(user: &mut User<'_>) -> Answer {
    let bytes = user.long(1);
    if bytes.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    at!(user, AT_FDCWD, user.long(0), |caller, place| user
        .kernel
        .files
        .truncate(&caller, place, bytes))?;
    done()
}

pub(super) fn faccessat(user: &mut User<'_>) -> Answer {
    let wanted = user.word(2);
    at!(user, user.int(0), user.long(1), |caller, place| user
        .kernel
        .files
        .access(&caller, place, wanted))?;
    done()
}

pub(super) fn faccessat2(user: &mut User<'_>) -> Answer {
    // AT_EACCESS changes nothing: who calls is who is asked for.
    faccessat(user)
}

pub(super) fn chdir(user: &mut User<'_>) -> Answer {
    let directory =
        at!(user, AT_FDCWD, user.long(0), |caller, place| user.kernel.files.enter(&caller, place))?;
    user.me()?.directory = directory;
    done()
}

pub(super) fn fchdir(user: &mut User<'_>) -> Answer {
    let id = user.description(user.int(0))?;
    let directory = user.kernel.files.directory(id)?;
    user.me()?.directory = directory;
    done()
}

pub(super) fn fchmodat(user: &mut User<'_>) -> Answer {
    let mode = user.word(2);
    at!(user, user.int(0), user.long(1), |caller, place| user
        .kernel
        .files
        .chmod(&caller, place, mode))?;
    done()
}

pub(super) fn fchownat(user: &mut User<'_>) -> Answer {
    let (new, group) = (owner(user.word(2)), owner(user.word(3)));
    let is_followed = user.word(4) & AT_SYMLINK_NOFOLLOW == 0;
    at!(user, user.int(0), user.long(1), |caller, place| user.kernel.files.chown(
        &caller,
        place,
        is_followed,
        new,
        group
    ))?;
    done()
}

pub(super) fn readlinkat(user: &mut User<'_>) -> Answer {
    let (address, size) = (user.long(2), user.int(3));
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let target = at!(user, user.int(0), user.long(1), |caller, place| user
        .kernel
        .files
        .readlink(&caller, place))?;
    let told = target.get(..target.len().min(size)).unwrap_or(&[]);
    user.write(address, told)?;
    value(told.len())
}

pub(super) fn newfstatat(user: &mut User<'_>) -> Answer {
    let (address, flags) = (user.long(2), user.word(3));
    let stat = stat_at(user, flags)?;
    user.write(address, &stat.to_bytes())?;
    done()
}

pub(super) fn statx(user: &mut User<'_>) -> Answer {
    let (flags, address) = (user.word(2), user.long(4));
    let stat = stat_at(user, flags)?;
    user.write(address, &stat.to_statx())?;
    done()
}

/// What is told about a path, or about a descriptor with AT_EMPTY_PATH.
fn stat_at(user: &mut User<'_>, flags: u32) -> Result<Stat, Errno> {
    let (directory, address) = (user.int(0), user.long(1));
    let path = user.path(address)?;
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 && directory != AT_FDCWD {
        let id = user.description(directory)?;
        return user.kernel.files.fstat(id);
    }
    let path = if path.is_empty() && flags & AT_EMPTY_PATH != 0 { b".".to_vec() } else { path };
    let caller = user.me()?.caller();
    let place = user.place(directory, &path)?;
    user.kernel.files.stat(&caller, place, flags & AT_SYMLINK_NOFOLLOW == 0)
}

pub(super) fn utimensat(user: &mut User<'_>) -> Answer {
    let (directory, address, times) = (user.int(0), user.long(1), user.long(2));
    let is_followed = user.word(3) & AT_SYMLINK_NOFOLLOW == 0;
    let times = times_at(user, times)?;
    if address == 0 {
        let id = user.description(directory)?;
        let caller = user.me()?.caller();
        user.kernel.files.set_times_of(&caller, id, times)?;
        return done();
    }
    at!(user, directory, address, |caller, place| user.kernel.files.set_times(
        &caller,
        place,
        is_followed,
        times
    ))?;
    done()
}

/// The two times that a program gives; 0 is now.
fn times_at(user: &mut User<'_>, address: u64) -> Result<[Option<u64>; 2], Errno> {
    let now = user.kernel.clock.both().realtime_ns;
    if address == 0 {
        return Ok([Some(now); 2]);
    }
    let mut times = [None; 2];
    for (index, time) in times.iter_mut().enumerate() {
        let bytes: [u8; 16] = user.read_array(address.wrapping_add(index as u64 * 16))?;
        let fraction = bytes.last_chunk().map_or(0, |field| u64::from_le_bytes(*field));
        *time = match fraction {
            NOW => Some(now),
            OMIT => None,
            _ => Some(timespec_from(&bytes)?),
        };
    }
    Ok(times)
}

pub(super) fn umask(user: &mut User<'_>) -> Answer {
    let mask = user.word(0) & 0o777;
    value(core::mem::replace(&mut user.me()?.umask, mask))
}
