//! Messages of a socket, and the areas that come and go with them (C7, C8, C8b).
//!
//! An area that nobody has taken is the socket's. Taken, it is a file of `/areas`, mapped into a process, or the kernel's, as the socket's form
//! says. It goes when it is sent, when its file is unlinked, when its last mapping is taken away (if it was taken as one), or when its socket
//! is closed (if nobody has taken it, or the kernel has). Whatever still has it open gets ESTALE from then on; what still has it mapped is
//! told to the kernel ([`Files::revoked`]), before the memory can be anything else.
//!
//! | form | the kernel's part of `read` | of `ioctl(SHIKIRI_NEW)` |
//! |---|---|---|
//! | file, kernel's | [`Files::receive`] | [`Files::new_area`], [`Files::settle`] |
//! | mapping | [`Files::message`], map it, [`Files::take`] | [`Files::new_area`], map it, [`Files::settle`] |

use alloc::format;

use super::system::AREAS;
use super::{Caller, DescriptionId, Files, NodeId, Place};
use crate::abi::fcntl::W_OK;
use crate::abi::socket::{Form, Record};
use crate::area::{AreaId, Holder, Mapping, Revoked};
use crate::number::{length, wide};
use crate::socket::{Arrived, Channels, Connected, Received, Refusal, State, Waiting};
use crate::tree::{Ending, Kind, Last, Node};
use crate::{Answer, Errno, Step};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// The most messages that are discarded at once.
const AT_ONCE: usize = 64;

/// A message that waits to be taken, or an area that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its area, and where that is.
    pub area: Option<(AreaId, Arrived)>,
    /// The short message.
    pub short: [u64; 3],
}

/// What is sent with a message.
struct Parcel {
    id: AreaId,
    handle: u64,
    bytes: u64,
    /// The name that goes with it.
    name: Option<(NodeId, alloc::vec::Vec<u8>)>,
}

impl<C: Channels> Files<C> {
    /// What a read of a socket would take: `None` at the end, when the peer has gone or after SHUT_RD. It stays until it is taken.
    ///
    /// # Errors
    /// ENOTCONN; EAGAIN in non-blocking mode; ENOTSOCK.
    pub fn message(&self, id: DescriptionId) -> Answer<Option<Message>> {
        let socket = self.socket_of(id)?;
        if matches!(socket.state, State::Gone) {
            return Ok(Step::Done(None));
        }
        let connected = socket.connected()?;
        let Some(Waiting { area, short }) = connected.next else {
            let is_at_end = connected.is_at_end();
            let waits = Ok(Step::Wait(socket.readers));
            return if is_at_end { Ok(Step::Done(None)) } else { self.waiting(id, waits) };
        };
        let area = match area {
            Some(area) => Some((area, self.areas.get(area)?.place)),
            None => None,
        };
        Ok(Step::Done(Some(Message { area, short })))
    }

    /// Takes the message that waits, in the socket's form: as the program gets it. In the mapping's form `mapping` is where the kernel has
    /// mapped its area.
    ///
    /// # Errors
    /// ENOSPC if there is no room for the file's name; EINVAL without a message or a mapping: the message stays.
    pub fn take(
        &mut self,
        id: DescriptionId,
        caller: &Caller,
        mapping: Option<Mapping>,
    ) -> Result<[u8; Record::BYTES], Errno> {
        let waiting = self.socket_of(id)?.connected()?.next.ok_or(Errno::EINVAL)?;
        let record = match waiting.area {
            Some(area) => self.settled(id, caller, area, mapping)?,
            None => Record::short([0; 3]),
        };
        self.socket_mut(id)?.connected_mut()?.next = None;
        self.fill(id)?;
        Ok(Record { short: waiting.short, ..record }.to_bytes())
    }

    /// Reads a message of a socket whose areas are files or the kernel's: how many bytes, always a whole [`Record`] or 0 at the end.
    ///
    /// # Errors
    /// EINVAL for less room than a record has, or for the mapping's form; those of [`Files::message`] and [`Files::take`].
    pub fn receive(&mut self, id: DescriptionId, caller: &Caller, out: &mut [u8]) -> Answer<usize> {
        let out = out.first_chunk_mut::<{ Record::BYTES }>().ok_or(Errno::EINVAL)?;
        if self.socket_of(id)?.form == Form::Mapping {
            return Err(Errno::EINVAL);
        }
        match self.message(id)? {
            Step::Wait(key) => Ok(Step::Wait(key)),
            Step::Done(None) => Ok(Step::Done(0)),
            Step::Done(Some(_)) => {
                *out = self.take(id, caller, None)?;
                Ok(Step::Done(Record::BYTES))
            }
        }
    }

    /// Makes an area of so many bytes, all 0, of the class of the socket's window; it is the socket's until [`Files::settle`].
    ///
    /// # Errors
    /// EINVAL for 0 bytes; EMSGSIZE for more than the class has; ENOBUFS, ENOMEM; ENOTSOCK.
    pub fn new_area(&mut self, id: DescriptionId, bytes: u64) -> Result<(AreaId, Arrived), Errno> {
        let class = self.socket_of(id)?.window.class;
        if bytes == 0 {
            return Err(Errno::EINVAL);
        }
        let place = self.channels.alloc(bytes, class).map_err(Refusal::errno)?;
        Ok((self.areas.add(place, None, Holder::Socket(id)), place))
    }

    /// Gives a new area to the program in the socket's form. In the mapping's form `mapping` is where the kernel has mapped it; the kernel
    /// discards what it could not map ([`Files::discard`]).
    ///
    /// # Errors
    /// ENOSPC if there is no room for the file's name; EINVAL without a mapping: it is discarded then.
    pub fn settle(
        &mut self,
        id: DescriptionId,
        caller: &Caller,
        area: AreaId,
        mapping: Option<Mapping>,
    ) -> Result<[u8; Record::BYTES], Errno> {
        let settled = self.settled(id, caller, area, mapping);
        if settled.is_err() {
            self.discard(area);
        }
        Ok(settled?.to_bytes())
    }

    fn settled(
        &mut self,
        id: DescriptionId,
        caller: &Caller,
        area: AreaId,
        mapping: Option<Mapping>,
    ) -> Result<Record, Errno> {
        let form = self.socket_of(id)?.form;
        let bytes = self.areas.get(area)?.place.bytes;
        let mut record = Record { bytes, ..Record::short([0; 3]) };
        let holder = match form {
            Form::File => {
                let (node, path) = self.make_area_file(caller, area)?;
                for (to, from) in record.name.iter_mut().zip(path.bytes()) {
                    *to = from;
                }
                Holder::File(node)
            }
            Form::Mapping => {
                let mapping = mapping.ok_or(Errno::EINVAL)?;
                self.areas.map(area, mapping)?;
                record.address = mapping.address;
                Holder::Mappings
            }
            Form::Kernel => {
                record.area = area.0;
                Holder::Kernel(id)
            }
        };
        self.areas.get_mut(area)?.holder = holder;
        Ok(record)
    }

    /// A file that stands for an area: its node and its path.
    fn make_area_file(
        &mut self,
        caller: &Caller,
        area: AreaId,
    ) -> Result<(NodeId, alloc::string::String), Errno> {
        let directory = self.system_directory(AREAS, 0o1777)?;
        let now_ns = self.now.realtime_ns;
        let name = format!("{}", area.0);
        let node = Node::new(Kind::Area(area), 0o600, caller, now_ns);
        let node = self.tree.insert(directory, name.as_bytes(), node, now_ns)?;
        Ok((node, format!("/areas/{name}")))
    }

    /// Sends a message: the area that the record names in the socket's form, or none, and the short message. `space` is the caller's address
    /// space. The area is the peer's then: its file has disappeared, its mappings are to be taken away ([`Files::revoked`]).
    ///
    /// # Errors
    /// EINVAL for another length than a record's, an address where no area is mapped, or more bytes than the area has; ENOENT and others of a
    /// path; EACCES, EPERM; EMSGSIZE if the peer has no window for it; EPIPE if it has gone or after SHUT_WR (the kernel raises SIGPIPE);
    /// ENOTCONN; EAGAIN in non-blocking mode if it has no room; ENOTSOCK.
    pub fn send(
        &mut self,
        id: DescriptionId,
        caller: &Caller,
        space: u64,
        data: &[u8],
    ) -> Answer<usize> {
        let port = self.sending_port(id)?;
        let data = <&[u8; Record::BYTES]>::try_from(data).map_err(|_| Errno::EINVAL)?;
        let record = Record::from_bytes(data);
        let parcel = self.parcel(id, caller, space, &record)?;
        let area = parcel.as_ref().map(|parcel| (parcel.handle, parcel.bytes));
        match self.channels.send(port, area, record.short) {
            Ok(()) => {
                self.has_gone(parcel)?;
                Ok(Step::Done(data.len()))
            }
            Err(Refusal::Full) => {
                let socket = self.socket_mut(id)?;
                socket.connected_mut()?.is_full = true;
                let waits = Ok(Step::Wait(socket.writers));
                self.waiting(id, waits)
            }
            Err(Refusal::PeerGone | Refusal::Refused) => Err(Errno::EPIPE),
            Err(refusal) => Err(refusal.errno()),
        }
    }

    fn sending_port(&self, id: DescriptionId) -> Result<u64, Errno> {
        let socket = self.socket_of(id)?;
        if matches!(socket.state, State::Gone) {
            return Err(Errno::EPIPE);
        }
        let connected = socket.connected()?;
        if connected.is_write_shut || connected.is_ended {
            return Err(Errno::EPIPE);
        }
        Ok(connected.port)
    }

    /// The area that a record names.
    fn parcel(
        &self,
        id: DescriptionId,
        caller: &Caller,
        space: u64,
        record: &Record,
    ) -> Result<Option<Parcel>, Errno> {
        let form = self.socket_of(id)?.form;
        let (area, bytes, name) = match form {
            Form::File if record.name().is_empty() => return Ok(None),
            Form::Mapping if record.address == 0 => return Ok(None),
            Form::Kernel if record.area == 0 => return Ok(None),
            Form::File => {
                let (area, parent, name) = self.area_at(caller, record.name())?;
                (area, self.areas.get(area)?.place.bytes, Some((parent, name)))
            }
            Form::Mapping => {
                let mapping = Mapping { space, address: record.address };
                let area = self.areas.mapped_at(mapping).ok_or(Errno::EINVAL)?;
                (area, record.bytes, None)
            }
            Form::Kernel => (self.kernels(caller, record.area)?, record.bytes, None),
        };
        let Arrived { handle, pages, .. } = self.areas.get(area)?.place;
        if bytes > pages.saturating_mul(PAGE) {
            return Err(Errno::EINVAL);
        }
        if form == Form::Mapping && self.areas.get(area)?.holder != Holder::Mappings {
            // It is a file's, which is mapped: it is sent by its name.
            return Err(Errno::EINVAL);
        }
        Ok(Some(Parcel { id: area, handle, bytes, name }))
    }

    /// The area whose file has this path, relative to `/areas`, and the directory and name where it is.
    fn area_at(
        &self,
        caller: &Caller,
        path: &[u8],
    ) -> Result<(AreaId, NodeId, alloc::vec::Vec<u8>), Errno> {
        let areas = self.tree.find(caller, self.system_place(AREAS), true)?;
        let walked = self.tree.walk(caller, Place { from: areas, path }, Ending::Named)?;
        let node = walked.node.ok_or(Errno::ENOENT)?;
        let area = self.tree.node(node)?.area().ok_or(Errno::EINVAL)?;
        let Last::Name(name) = walked.last else { return Err(Errno::EINVAL) };
        self.tree.node(node)?.check(caller, W_OK)?;
        self.check_removal(caller, walked.parent, node)?;
        Ok((area, walked.parent, name))
    }

    /// An area of the kernel's form.
    fn kernels(&self, caller: &Caller, number: u64) -> Result<AreaId, Errno> {
        if caller.user != 0 {
            return Err(Errno::EPERM);
        }
        let area = AreaId(number);
        match self.areas.get(area).map_err(|_| Errno::EINVAL)?.holder {
            Holder::Kernel(_) => Ok(area),
            Holder::Socket(_) | Holder::File(_) | Holder::Mappings => Err(Errno::EINVAL),
        }
    }

    /// What was sent is the peer's.
    fn has_gone(&mut self, parcel: Option<Parcel>) -> Result<(), Errno> {
        let Some(Parcel { id, name, .. }) = parcel else { return Ok(()) };
        let home = self.areas.remove(id).and_then(|area| area.home);
        if let Some(port) = home {
            self.channels.has_room(port);
        }
        match name {
            Some((parent, name)) => self.tree.detach(parent, &name, self.now.realtime_ns),
            None => Ok(()),
        }
    }

    /// Discards the area of the kernel's form that a record names (`ioctl(SHIKIRI_DISCARD)`).
    ///
    /// # Errors
    /// EINVAL, EPERM.
    pub fn discard_kernels(&mut self, caller: &Caller, record: &Record) -> Result<(), Errno> {
        let area = self.kernels(caller, record.area)?;
        self.discard(area);
        Ok(())
    }

    /// Frees an area, whoever holds it. One that has gone already has gone.
    pub fn discard(&mut self, area: AreaId) {
        if let Some(area) = self.areas.remove(area) {
            self.channels.free(area.place.handle);
            if let Some(port) = area.home {
                self.channels.has_room(port);
            }
        }
    }

    /// An area was mapped ([`Mappable::Area`](super::Mappable::Area)).
    ///
    /// # Errors
    /// ENOMEM for one more mapping than there may be; ESTALE.
    pub fn map_area(&mut self, area: AreaId, mapping: Mapping) -> Result<(), Errno> {
        self.areas.map(area, mapping)
    }

    /// A mapping of an area was taken away (`munmap`, or its process has ended): an area that was taken as a mapping goes with the last one.
    pub fn unmap_area(&mut self, area: AreaId, mapping: Mapping) {
        if self.areas.unmap(area, mapping) {
            self.discard(area);
        }
    }

    /// The next mapping that is to be taken away before any process runs again, until there is none: its area is somebody else's.
    pub fn revoked(&mut self) -> Option<Revoked> {
        self.areas.revoked()
    }

    /// Where the area of the kernel's form with this number is, for the kernel's own use.
    ///
    /// # Errors
    /// EPERM if the caller may not do everything; EINVAL if there is none of that form.
    pub fn kernels_area(&self, caller: &Caller, number: u64) -> Result<Arrived, Errno> {
        Ok(self.areas.get(self.kernels(caller, number)?)?.place)
    }

    /// Takes the next message from the port, if nobody has to take one before.
    pub(super) fn fill(&mut self, id: DescriptionId) -> Result<(), Errno> {
        for _ in 0..AT_ONCE {
            let connected = self.socket_of(id)?.connected()?;
            let Connected { port, is_read_shut, is_ended, .. } = *connected;
            if connected.next.is_some() || is_ended {
                return Ok(());
            }
            match self.channels.receive(port) {
                Received::Message(area, _) if is_read_shut => {
                    if let Some(area) = area {
                        self.channels.free(area.handle);
                        self.channels.has_room(port);
                    }
                }
                Received::Message(area, short) => {
                    let add = |place| self.areas.add(place, Some(port), Holder::Socket(id));
                    let area = area.map(add);
                    self.socket_mut(id)?.connected_mut()?.next = Some(Waiting { area, short });
                }
                Received::Nothing => return Ok(()),
                Received::Gone => self.socket_mut(id)?.connected_mut()?.is_ended = true,
            }
        }
        Ok(())
    }

    /// # Errors
    /// ESTALE if the node is the file of an area that has gone.
    pub(super) fn check_area(&self, node: NodeId) -> Result<(), Errno> {
        match self.tree.node(node)?.area() {
            Some(area) => self.areas.get(area).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn read_area(&self, id: AreaId, at: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let place = self.areas.get(id)?.place;
        let count = length(place.bytes.saturating_sub(at)).min(out.len());
        if let Some(out) = out.get_mut(..count).filter(|out| !out.is_empty()) {
            self.channels.read(&place, at, out);
        }
        Ok(count)
    }

    /// Writes into an area up to its size: what is behind its length becomes part of it.
    pub(super) fn write_area(&mut self, id: AreaId, at: u64, data: &[u8]) -> Result<usize, Errno> {
        let area = self.areas.get_mut(id)?;
        let room = capacity(&area.place).saturating_sub(at);
        let data = data.get(..length(room).min(data.len())).unwrap_or(&[]);
        if data.is_empty() {
            return if room == 0 { Err(Errno::EFBIG) } else { Ok(0) };
        }
        self.channels.write(&area.place, at, data);
        area.place.bytes = area.place.bytes.max(at.saturating_add(wide(data.len())));
        Ok(data.len())
    }

    /// Says how many bytes of an area are meant. What was behind its length is there again when it grows.
    pub(super) fn cut_area(&mut self, id: AreaId, bytes: u64) -> Result<(), Errno> {
        let area = self.areas.get_mut(id)?;
        if bytes > capacity(&area.place) {
            return Err(Errno::EFBIG);
        }
        area.place.bytes = bytes;
        Ok(())
    }
}

const fn capacity(place: &Arrived) -> u64 {
    place.pages.saturating_mul(PAGE)
}
