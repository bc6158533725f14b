//! Descriptors and what they stand for.

use alloc::vec::Vec;

use shikiri_scos_files::abi::fcntl::{O_CLOEXEC, O_NONBLOCK};
use shikiri_scos_files::abi::ioctl::{FIOCLEX, FIONCLEX, TIOCSCTTY, TIOCSPGRP, transfer};
use shikiri_scos_files::abi::socket::{SHIKIRI_DISCARD, SHIKIRI_NEW};
use shikiri_scos_files::abi::time::Itimerspec;
use shikiri_scos_files::{DescriptionId, Errno, Transfer};

use crate::policy;
use crate::user::{Answer, User, done, value};

/// F_GETFD and its like for FIOCLEX.
const F_SETFD: u32 = 2;
const FD_CLOEXEC: u64 = 1;

/// The files and the descriptors of the process at once.
macro_rules! with_descriptors {
    ($user:ident, $files:ident, $descriptors:ident, $action:expr) => {{
        let kernel = &mut *$user.kernel;
        let $files = &mut kernel.files;
        let process = kernel.processes.get_mut(&$user.process).ok_or(Errno::ESRCH)?;
        let $descriptors = &mut process.descriptors;
        $action
    }};
}

pub(crate) fn install(user: &mut User<'_>, id: DescriptionId, flags: u32) -> Result<i32, Errno> {
    with_descriptors!(user, files, descriptors, files.install(descriptors, id, flags))
}

pub(super) fn close(user: &mut User<'_>) -> Answer {
    let number = user.int(0);
    with_descriptors!(user, files, descriptors, files.close(descriptors, number))?;
    done()
}

pub(super) fn dup(user: &mut User<'_>) -> Answer {
    let number = user.int(0);
    value(with_descriptors!(user, files, descriptors, files.dup(descriptors, number))?)
}

pub(super) fn dup3(user: &mut User<'_>) -> Answer {
    let (from, to, flags) = (user.int(0), user.int(1), user.word(2));
    value(with_descriptors!(user, files, descriptors, files.dup3(descriptors, from, to, flags))?)
}

pub(super) fn fcntl(user: &mut User<'_>) -> Answer {
    let (number, command, argument) = (user.int(0), user.word(1), user.long(2));
    value(with_descriptors!(
        user,
        files,
        descriptors,
        files.fcntl(descriptors, number, command, argument)
    )?)
}

pub(super) fn pipe2(user: &mut User<'_>) -> Answer {
    let (address, flags) = (user.long(0), user.word(1));
    if flags & !(O_NONBLOCK | O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    user.check_writable(address, 8)?;
    let (reader, writer) = user.kernel.files.pipe(flags & O_NONBLOCK)?;
    let first = match install(user, reader, flags) {
        Ok(first) => first,
        Err(error) => {
            user.kernel.files.release(writer);
            return Err(error);
        }
    };
    let second = match install(user, writer, flags) {
        Ok(second) => second,
        Err(error) => {
            with_descriptors!(user, files, descriptors, files.close(descriptors, first))?;
            return Err(error);
        }
    };
    let numbers: Vec<u8> = [first, second].iter().flat_map(|number| number.to_le_bytes()).collect();
    user.write(address, &numbers)?;
    done()
}

pub(super) fn eventfd2(user: &mut User<'_>) -> Answer {
    let (initial, flags) = (user.word(0), user.word(1));
    let id = user.kernel.files.eventfd(initial, flags)?;
    value(install(user, id, flags)?)
}

pub(super) fn timerfd_create(user: &mut User<'_>) -> Answer {
    let (clock, flags) = (user.word(0), user.word(1));
    let id = user.kernel.files.timerfd_create(clock, flags)?;
    value(install(user, id, flags)?)
}

pub(super) fn timerfd_settime(user: &mut User<'_>) -> Answer {
    let (number, flags, new, old) = (user.int(0), user.word(1), user.long(2), user.long(3));
    let setting = Itimerspec::from_bytes(&user.read_array(new)?)?;
    if old != 0 {
        user.check_writable(old, 32)?;
    }
    let id = user.description(number)?;
    let former = user.kernel.files.timerfd_settime(id, flags, setting)?;
    if old != 0 {
        user.write(old, &former.to_bytes())?;
    }
    done()
}

pub(super) fn timerfd_gettime(user: &mut User<'_>) -> Answer {
    let id = user.description(user.int(0))?;
    let setting = user.kernel.files.timerfd_gettime(id)?;
    user.write(user.long(1), &setting.to_bytes())?;
    done()
}

pub(super) fn lseek(user: &mut User<'_>) -> Answer {
    let (offset, whence) = (user.long(1).cast_signed(), user.word(2));
    let id = user.description(user.int(0))?;
    value(user.kernel.files.seek(id, offset, whence)?)
}

pub(super) fn fstat(user: &mut User<'_>) -> Answer {
    let id = user.description(user.int(0))?;
    let stat = user.kernel.files.fstat(id)?;
    user.write(user.long(1), &stat.to_bytes())?;
    done()
}

pub(super) fn fstatfs(user: &mut User<'_>) -> Answer {
    user.description(user.int(0))?;
    let stat = user.kernel.files.statfs();
    user.write(user.long(1), &stat.to_bytes())?;
    done()
}

pub(super) fn ftruncate(user: &mut User<'_>) -> Answer {
    let bytes = user.long(1);
    let id = user.description(user.int(0))?;
    if bytes.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    user.kernel.files.ftruncate(id, bytes)?;
    done()
}

pub(super) fn fchmod(user: &mut User<'_>) -> Answer {
    let mode = user.word(1);
    let id = user.description(user.int(0))?;
    let caller = user.me()?.caller();
    user.kernel.files.fchmod(&caller, id, mode)?;
    done()
}

pub(super) fn fchown(user: &mut User<'_>) -> Answer {
    let (owner, group) = (owner(user.word(1)), owner(user.word(2)));
    let id = user.description(user.int(0))?;
    let caller = user.me()?.caller();
    user.kernel.files.fchown(&caller, id, owner, group)?;
    done()
}

/// An owner, or what leaves it as it is.
pub(super) fn owner(number: u32) -> Option<u32> {
    (number != u32::MAX).then_some(number)
}

pub(super) fn fsync(user: &mut User<'_>) -> Answer {
    user.description(user.int(0))?;
    done()
}

pub(super) fn fdatasync(user: &mut User<'_>) -> Answer {
    fsync(user)
}

pub(super) fn sync(_user: &mut User<'_>) -> Answer {
    done()
}

pub(super) fn ioctl(user: &mut User<'_>) -> Answer {
    let (number, request, argument) = (user.int(0), user.word(1), user.long(2));
    let id = user.description(number)?;
    if matches!(request, FIOCLEX | FIONCLEX) {
        let flag = if request == FIOCLEX { FD_CLOEXEC } else { 0 };
        with_descriptors!(
            user,
            files,
            descriptors,
            files.fcntl(descriptors, number, F_SETFD, flag)
        )?;
        return done();
    }
    if matches!(request, SHIKIRI_NEW | SHIKIRI_DISCARD) {
        return super::sockets::control(user, id, request);
    }
    if user.kernel.files.device(id) == Some(policy::DEVICE) {
        return policy::control(user, request, argument);
    }
    let mut data = match transfer(request).ok_or(Errno::ENOTTY)? {
        Transfer::Nothing => Vec::new(),
        Transfer::FromProgram(bytes) => user.read_bytes(argument, bytes as u64)?,
        Transfer::ToProgram(bytes) => {
            user.check_writable(argument, bytes as u64)?;
            alloc::vec![0; bytes]
        }
    };
    if request == TIOCSPGRP {
        check_group(user, &data)?;
    }
    let answer = user.kernel.files.ioctl(id, request, argument, &mut data)?;
    let me = user.me()?;
    if request == TIOCSCTTY && me.session == me.group {
        let (session, group) = (me.session, me.group);
        user.kernel.files.set_console_owner(session, group);
    }
    if let Some(Transfer::ToProgram(_)) = transfer(request) {
        user.write(argument, &data)?;
    }
    value(answer)
}

/// The foreground group is one of the caller's session.
fn check_group(user: &mut User<'_>, data: &[u8]) -> Result<(), Errno> {
    let group = data.first_chunk().map_or(0, |group| u32::from_le_bytes(*group));
    let session = user.me()?.session;
    let mut members = user.kernel.processes.values().filter(|process| process.group == group);
    if members.any(|process| process.session == session) { Ok(()) } else { Err(Errno::EPERM) }
}
