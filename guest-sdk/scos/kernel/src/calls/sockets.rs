//! Sockets of the family AF_SHIKIRI: message channels to other partitions (C6–C8b).

use alloc::vec::Vec;

use shikiri_scos_core::PAGE;
use shikiri_scos_files::abi::socket::{Address, Form, Record, SHIKIRI_NEW};
use shikiri_scos_files::{AreaId, DescriptionId, Errno, Mapping, Step, socket::Arrived};

use super::{descriptors, transfer};
use crate::areas::View;
use crate::thread::{On, Wait};
use crate::user::{Answer, Outcome, User, done, value};

/// The longest address that is looked at.
const MOST_ADDRESS: u64 = 128;
/// Bytes of all options.
const OPTION_BYTES: u32 = 4;

pub(super) fn socket(user: &mut User<'_>) -> Answer {
    let (family, kind, protocol) = (user.word(0), user.word(1), user.word(2));
    let id = user.kernel.files.socket(family, kind, protocol)?;
    value(descriptors::install(user, id, kind)?)
}

pub(super) fn socketpair(user: &mut User<'_>) -> Answer {
    let (family, kind, protocol) = (user.word(0), user.word(1), user.word(2));
    let address = user.long(3);
    user.check_writable(address, 8)?;
    let (one, other) = user.kernel.files.socketpair(family, kind, protocol)?;
    let first = match descriptors::install(user, one, kind) {
        Ok(first) => first,
        Err(error) => {
            user.kernel.files.release(other);
            return Err(error);
        }
    };
    let second = match descriptors::install(user, other, kind) {
        Ok(second) => second,
        Err(error) => {
            let kernel = &mut *user.kernel;
            if let Some(process) = kernel.processes.get_mut(&user.process) {
                // It was just made.
                let _closed = kernel.files.close(&mut process.descriptors, first);
            }
            return Err(error);
        }
    };
    user.write(address, &[first.to_le_bytes(), second.to_le_bytes()].concat())?;
    done()
}

/// EAGAIN instead of waiting, for one call.
const MSG_DONTWAIT: u32 = 0x40;
/// No SIGPIPE.
const MSG_NOSIGNAL: u32 = 0x4000;
/// Descriptors that come beside a message are to be closed on exec: none come. As on Linux it is told back.
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

pub(super) fn sendto(user: &mut User<'_>) -> Answer {
    let (piece, flags) = ((user.long(1), user.long(2)), user.word(3));
    check_flags(user, flags)?;
    if user.long(4) != 0 {
        return Err(Errno::EISCONN);
    }
    let answer = if flags & MSG_NOSIGNAL != 0 {
        transfer::write_silently(user, None, &[piece])
    } else {
        transfer::write_from(user, None, &[piece])
    };
    or_again(answer, flags)
}

pub(super) fn recvfrom(user: &mut User<'_>) -> Answer {
    let (piece, flags) = ((user.long(1), user.long(2)), user.word(3));
    check_flags(user, flags & !MSG_CMSG_CLOEXEC)?;
    let answer = transfer::read_to(user, None, &[piece]);
    or_again(answer, flags)
}

/// A `struct msghdr` that was copied in.
struct Header([u64; HEADER_BYTES / 8]);

/// Its bytes.
const HEADER_BYTES: usize = 56;

impl Header {
    /// The one that is a call's second argument.
    fn read(user: &mut User<'_>) -> Result<Self, Errno> {
        let bytes: [u8; HEADER_BYTES] = user.read_array(user.long(1))?;
        let mut words = [0; HEADER_BYTES / 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let header = Self(words);
        // Without a name its length means nothing.
        if header.has_name() && header.name_bytes().cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(header)
    }

    const fn has_name(&self) -> bool {
        let [name, ..] = self.0;
        name != 0
    }

    /// An `int`, beside bytes that mean nothing.
    const fn name_bytes(&self) -> u32 {
        let [_, bytes, ..] = self.0;
        (bytes & 0xffff_ffff) as u32
    }

    /// The pieces of the message.
    fn pieces(&self, user: &mut User<'_>) -> Result<Vec<(u64, u64)>, Errno> {
        let [_, _, pieces, count, ..] = self.0;
        transfer::pieces_at(user, pieces, count)
    }
}

pub(super) fn sendmsg(user: &mut User<'_>) -> Answer {
    let flags = user.word(2);
    check_flags(user, flags)?;
    let header = Header::read(user)?;
    let [_, _, _, _, _, control_bytes, _] = header.0;
    if header.has_name() && header.name_bytes() != 0 {
        return Err(Errno::EISCONN);
    }
    if control_bytes != 0 {
        return Err(Errno::EINVAL);
    }
    let pieces = header.pieces(user)?;
    let answer = if flags & MSG_NOSIGNAL != 0 {
        transfer::write_silently(user, None, &pieces)
    } else {
        transfer::write_from(user, None, &pieces)
    };
    or_again(answer, flags)
}

pub(super) fn recvmsg(user: &mut User<'_>) -> Answer {
    let (address, flags) = (user.long(1), user.word(2));
    check_flags(user, flags & !MSG_CMSG_CLOEXEC)?;
    let mut header = Header::read(user)?;
    user.check_writable(address, HEADER_BYTES as u64)?;
    let pieces = header.pieces(user)?;
    let answer = or_again(transfer::read_to(user, None, &pieces), flags)?;
    if matches!(answer, Outcome::Value(_)) {
        let has_name = header.has_name();
        let [_, name_bytes, _, _, _, control_bytes, told] = &mut header.0;
        // No sender, if somebody asks, and nothing beside the message; what is no field's stays.
        if has_name {
            *name_bytes &= !0xffff_ffff;
        }
        *control_bytes = 0;
        *told = *told & !0xffff_ffff | u64::from(flags & MSG_CMSG_CLOEXEC);
        user.write(address, &header.0.map(u64::to_le_bytes).concat())?;
    }
    Ok(answer)
}

fn check_flags(user: &mut User<'_>, flags: u32) -> Result<(), Errno> {
    let id = user.description(user.int(0))?;
    if !user.kernel.files.is_socket(id) {
        return Err(Errno::ENOTSOCK);
    }
    let is_known = flags & !(MSG_DONTWAIT | MSG_NOSIGNAL) == 0;
    if is_known { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

fn or_again(answer: Answer, flags: u32) -> Answer {
    match answer {
        Ok(Outcome::Wait(_)) if flags & MSG_DONTWAIT != 0 => Err(Errno::EAGAIN),
        answer => answer,
    }
}

pub(super) fn bind(user: &mut User<'_>) -> Answer {
    let address = address(user)?;
    let id = user.description(user.int(0))?;
    user.kernel.files.bind(id, &address)?;
    done()
}

pub(super) fn listen(user: &mut User<'_>) -> Answer {
    let backlog = user.int(1);
    let id = user.description(user.int(0))?;
    user.kernel.files.listen(id, backlog)?;
    done()
}

pub(super) fn accept(user: &mut User<'_>) -> Answer {
    accept_with(user, 0)
}

pub(super) fn accept4(user: &mut User<'_>) -> Answer {
    let flags = user.word(3);
    accept_with(user, flags)
}

fn accept_with(user: &mut User<'_>, flags: u32) -> Answer {
    let number = user.int(0);
    if user.long(1) != 0 {
        check_room(user)?;
    }
    let kernel = &mut *user.kernel;
    let process = kernel.processes.get_mut(&user.process).ok_or(Errno::ESRCH)?;
    match kernel.files.accept(&mut process.descriptors, number, flags)? {
        Step::Wait(key) => Ok(Outcome::Wait(Wait::on(On::Key(key)))),
        Step::Done((new, peer)) => {
            if user.long(1) != 0 {
                tell(user, &peer)?;
            }
            value(new)
        }
    }
}

pub(super) fn connect(user: &mut User<'_>) -> Answer {
    let address = address(user)?;
    let id = user.description(user.int(0))?;
    match user.kernel.files.connect(id, &address)? {
        Step::Wait(key) => Ok(Outcome::Wait(Wait::on(On::Key(key)))),
        Step::Done(()) => done(),
    }
}

pub(super) fn shutdown(user: &mut User<'_>) -> Answer {
    let how = user.word(1);
    let id = user.description(user.int(0))?;
    user.kernel.files.shutdown(id, how)?;
    done()
}

pub(super) fn getsockname(user: &mut User<'_>) -> Answer {
    check_room(user)?;
    let id = user.description(user.int(0))?;
    let name = user.kernel.files.socket_name(id)?;
    tell(user, &name)?;
    done()
}

pub(super) fn getpeername(user: &mut User<'_>) -> Answer {
    check_room(user)?;
    let id = user.description(user.int(0))?;
    let name = user.kernel.files.peer_name(id)?;
    tell(user, &name)?;
    done()
}

pub(super) fn setsockopt(user: &mut User<'_>) -> Answer {
    let (level, name, bytes) = (user.word(1), user.word(2), user.word(4));
    let option = user.read_array(user.long(3))?;
    let id = user.description(user.int(0))?;
    if bytes < OPTION_BYTES {
        return Err(Errno::EINVAL);
    }
    let caller = user.me()?.caller();
    user.kernel.files.set_socket_option(&caller, id, level, name, option)?;
    done()
}

pub(super) fn getsockopt(user: &mut User<'_>) -> Answer {
    let (level, name, to, length) = (user.word(1), user.word(2), user.long(3), user.long(4));
    user.check_writable(length, 4)?;
    let room = u32::from_le_bytes(user.read_array(length)?);
    user.check_writable(to, u64::from(room.min(OPTION_BYTES)))?;
    let id = user.description(user.int(0))?;
    let option = user.kernel.files.socket_option(id, level, name)?;
    let told = room.min(OPTION_BYTES);
    user.write(to, option.get(..told as usize).unwrap_or(&[]))?;
    user.write(length, &told.to_le_bytes())?;
    done()
}

/// The address in arguments 1 and 2.
fn address(user: &mut User<'_>) -> Result<Address, Errno> {
    let (address, length) = (user.long(1), u64::from(user.word(2)));
    if length > MOST_ADDRESS {
        return Err(Errno::EINVAL);
    }
    Address::from_bytes(&user.read_bytes(address, length)?)
}

/// Checks that an address can be told as arguments 1 and 2 say.
fn check_room(user: &mut User<'_>) -> Result<u32, Errno> {
    let (address, length) = (user.long(1), user.long(2));
    user.check_writable(length, 4)?;
    let room = u32::from_le_bytes(user.read_array(length)?);
    if room.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    user.check_writable(address, u64::from(room).min(Address::BYTES as u64))?;
    Ok(room)
}

/// Tells an address: as much as there is room for, and how long it is.
fn tell(user: &mut User<'_>, name: &Address) -> Result<(), Errno> {
    let room = check_room(user)?;
    let bytes = name.to_bytes();
    let told = bytes.len().min(room as usize);
    user.write(user.long(1), bytes.get(..told).unwrap_or(&[]))?;
    user.write(user.long(2), &(Address::BYTES as u32).to_le_bytes())
}

/// Reads a message of a socket; an area is mapped if that is its form.
pub(super) fn receive(
    user: &mut User<'_>,
    id: DescriptionId,
    out: &mut [u8],
) -> Result<Step<usize>, Errno> {
    let caller = user.me()?.caller();
    if user.kernel.files.socket_form(id) != Some(Form::Mapping) {
        return user.kernel.files.receive(id, &caller, out);
    }
    let out = out.first_chunk_mut::<{ Record::BYTES }>().ok_or(Errno::EINVAL)?;
    let message = match user.kernel.files.message(id)? {
        Step::Wait(key) => return Ok(Step::Wait(key)),
        Step::Done(None) => return Ok(Step::Done(0)),
        Step::Done(Some(message)) => message,
    };
    let mapping = message.area.map(|area| map(user, area)).transpose()?;
    match user.kernel.files.take(id, &caller, mapping) {
        Ok(record) => *out = record,
        Err(error) => {
            take_back(user, mapping)?;
            return Err(error);
        }
    }
    Ok(Step::Done(Record::BYTES))
}

/// Writes a message to a socket.
pub(super) fn send(
    user: &mut User<'_>,
    id: DescriptionId,
    data: &[u8],
) -> Result<Step<usize>, Errno> {
    let (caller, asid) = (user.me()?.caller(), user.me()?.space);
    user.kernel.files.send(id, &caller, u64::from(asid), data)
}

/// The controls of sockets: SHIKIRI_NEW and SHIKIRI_DISCARD.
pub(super) fn control(user: &mut User<'_>, id: DescriptionId, request: u32) -> Answer {
    let argument = user.long(2);
    let record = Record::from_bytes(&user.read_array(argument)?);
    let caller = user.me()?.caller();
    let form = user.kernel.files.socket_form(id).ok_or(Errno::ENOTTY)?;
    if request != SHIKIRI_NEW {
        user.kernel.files.discard_kernels(&caller, &record)?;
        return done();
    }
    user.check_writable(argument, Record::BYTES as u64)?;
    let area = user.kernel.files.new_area(id, record.bytes)?;
    let mapping = match form {
        Form::File | Form::Kernel => None,
        Form::Mapping => match map(user, area) {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                user.kernel.files.discard(area.0);
                return Err(error);
            }
        },
    };
    match user.kernel.files.settle(id, &caller, area.0, mapping) {
        Ok(record) => {
            user.write(argument, &record)?;
            done()
        }
        Err(error) => {
            take_back(user, mapping)?;
            Err(error)
        }
    }
}

/// Maps all of an area where there is room.
fn map(user: &mut User<'_>, area: (AreaId, Arrived)) -> Result<Mapping, Errno> {
    let view = View::of(area);
    let (space, _) = user.space()?;
    let start = space.find_room(view.bytes.next_multiple_of(PAGE)).ok_or(Errno::ENOMEM)?;
    let asid = user.me()?.space;
    user.kernel.map_area(asid, start, &view)
}

/// Takes a mapping away again of which the files do not know.
fn take_back(user: &mut User<'_>, mapping: Option<Mapping>) -> Result<(), Errno> {
    let Some(mapping) = mapping else { return Ok(()) };
    let (space, pool) = user.space()?;
    space.unmap(pool, mapping.address, mapping.address.saturating_add(PAGE))
}
