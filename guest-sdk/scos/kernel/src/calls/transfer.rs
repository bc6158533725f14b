//! Reading and writing.

use alloc::vec::Vec;

use shikiri_scos_core::signal::{Info, SIGPIPE};
use shikiri_scos_files::{Errno, Step};

use super::sockets;
use crate::thread::{On, Wait};
use crate::trigger;
use crate::user::{Answer, MOST_BYTES, Outcome, User, buffer, value};

/// IOV_MAX.
const MOST_PIECES: u64 = 1024;
/// Bytes of `struct iovec`.
const PIECE_BYTES: u64 = 16;

pub(super) fn read(user: &mut User<'_>) -> Answer {
    let (address, count) = (user.long(1), user.long(2));
    read_to(user, None, &[(address, count)])
}

pub(super) fn pread64(user: &mut User<'_>) -> Answer {
    let (address, count, at) = (user.long(1), user.long(2), user.long(3));
    let at = position(at)?;
    read_to(user, Some(at), &[(address, count)])
}

pub(super) fn readv(user: &mut User<'_>) -> Answer {
    let pieces = pieces(user)?;
    read_to(user, None, &pieces)
}

pub(super) fn write(user: &mut User<'_>) -> Answer {
    let (address, count) = (user.long(1), user.long(2));
    write_from(user, None, &[(address, count)])
}

pub(super) fn pwrite64(user: &mut User<'_>) -> Answer {
    let (address, count, at) = (user.long(1), user.long(2), user.long(3));
    let at = position(at)?;
    write_from(user, Some(at), &[(address, count)])
}

pub(super) fn writev(user: &mut User<'_>) -> Answer {
    let pieces = pieces(user)?;
    write_from(user, None, &pieces)
}

pub(super) fn getdents64(user: &mut User<'_>) -> Answer {
    let id = user.description(user.int(0))?;
    let (address, count) = (user.long(1), u64::from(user.word(2)).min(MOST_BYTES));
    user.check_writable(address, count)?;
    let mut entries = buffer(count);
    let bytes = user.kernel.files.getdents64(id, &mut entries)?;
    user.write(address, entries.get(..bytes).unwrap_or(&[]))?;
    value(bytes)
}

/// An offset, which is not negative.
fn position(at: u64) -> Result<u64, Errno> {
    if at.cast_signed() < 0 { Err(Errno::EINVAL) } else { Ok(at) }
}

/// The pieces of the vector that is a call's second and third argument.
fn pieces(user: &mut User<'_>) -> Result<Vec<(u64, u64)>, Errno> {
    let (address, count) = (user.long(1), user.long(2));
    if count > MOST_PIECES {
        return Err(Errno::EINVAL);
    }
    // A bad descriptor is told before a bad vector.
    user.description(user.int(0))?;
    pieces_at(user, address, count)
}

/// The pieces of a vector, as far as one call moves them.
///
/// # Errors
/// EMSGSIZE for too many.
pub(super) fn pieces_at(
    user: &mut User<'_>,
    address: u64,
    count: u64,
) -> Result<Vec<(u64, u64)>, Errno> {
    if count > MOST_PIECES {
        return Err(Errno::EMSGSIZE);
    }
    let bytes = user.read_bytes(address, count * PIECE_BYTES)?;
    let mut left = MOST_BYTES;
    let mut pieces = Vec::new();
    for piece in bytes.chunks_exact(PIECE_BYTES as usize) {
        let long = |at: usize| {
            let field = piece.get(at..).and_then(<[u8]>::first_chunk);
            field.map_or(0, |field| u64::from_le_bytes(*field))
        };
        if long(8).cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let count = long(8).min(left);
        left -= count;
        if count > 0 {
            pieces.push((long(0), count));
        }
    }
    Ok(pieces)
}

pub(super) fn read_to(user: &mut User<'_>, at: Option<u64>, pieces: &[(u64, u64)]) -> Answer {
    let id = user.description(user.int(0))?;
    let mut wanted = 0_u64;
    for (address, count) in pieces {
        let count = (*count).min(MOST_BYTES);
        user.check_writable(*address, count)?;
        wanted = wanted.saturating_add(count);
    }
    let mut bytes = buffer(wanted);
    let read = match (user.kernel.files.socket_form(id), at) {
        (Some(_), None) => sockets::receive(user, id, &mut bytes)?,
        _ => user.kernel.files.read(id, at, &mut bytes)?,
    };
    let count = match read {
        Step::Done(count) => count,
        Step::Wait(key) => return Ok(Outcome::Wait(Wait::on(On::Key(key)))),
    };
    let mut rest = bytes.get(..count).unwrap_or(&[]);
    for (address, size) in pieces {
        let length = rest.len().min(usize::try_from(*size).unwrap_or(usize::MAX));
        let (now, later) = rest.split_at(length);
        user.write(*address, now)?;
        rest = later;
    }
    value(count)
}

pub(super) fn write_from(user: &mut User<'_>, at: Option<u64>, pieces: &[(u64, u64)]) -> Answer {
    let answer = write_silently(user, at, pieces);
    if matches!(answer, Err(Errno::EPIPE)) {
        let info = Info::from_process(user.process);
        user.kernel.signal_thread(user.thread, SIGPIPE, info);
    }
    answer
}

/// The same without the signal where nobody reads.
pub(super) fn write_silently(
    user: &mut User<'_>,
    at: Option<u64>,
    pieces: &[(u64, u64)],
) -> Answer {
    let id = user.description(user.int(0))?;
    let mut bytes = Vec::new();
    for (address, count) in pieces {
        let count = (*count).min(MOST_BYTES - bytes.len() as u64);
        bytes.append(&mut user.read_bytes(*address, count)?);
    }
    let written = match (user.kernel.files.socket_form(id), at) {
        (Some(_), None) => sockets::send(user, id, &bytes)?,
        _ => match user.kernel.files.write(id, at, &bytes) {
            Err(Errno::EINVAL) if user.kernel.files.device(id) == Some(trigger::DEVICE) => {
                trigger::write(&bytes)?
            }
            written => written?,
        },
    };
    match written {
        Step::Done(count) => {
            user.kernel.print();
            value(count)
        }
        Step::Wait(key) => Ok(Outcome::Wait(Wait::on(On::Key(key)))),
    }
}
