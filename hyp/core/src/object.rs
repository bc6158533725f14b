//! Named objects across partitions: events, semaphores and message queues (V4).
//!
//! One table for the machine, [`Objects`], made at boot with as many rows as the description's `[[name]]` entries
//! say ([`permit`]). A row holds the name, what the object is and its state, and for each partition a flag, its handle,
//! how often it has the object open, what it holds, whether it waits, and where it is told. Each partition that
//! has an object open pays for a page of management memory.
//!
//! | kind | post | try |
//! |---|---|---|
//! | event | each partition that has it open, the poster's own included, will see one; nobody else ever will | sees what was posted since the last time |
//! | semaphore | one unit more; one that the poster's partition holds, if it holds any | takes a unit, to hold or to use up |
//! | queue | appends a message | takes the oldest message |
//!
//! **Waiting.** Nothing here blocks. A try that finds nothing notes that the partition waits, and so does a post that
//! finds no room; as soon as there is something, an event is raised at the receive port that the partition chose for
//! the object ([`Objects::set_notify`]), and it tries again, until there is nothing more. All who wait are told, and the
//! fastest gets it; the others wait again.
//!
//! **Locks.** The table's lock for opening and closing, a row's for everything else; neither is held when an event is
//! sent. What an operation makes due is returned as a [`Wake`], and [`Objects::tell`] sends one event of it after
//! the other, as decision 0015 has it: the row's word for a partition is the wire, and the port's `Source` names the row.
//! A port that was closed leaves a wire behind that leads nowhere, until another port is chosen or the object closed.
//!
//! **The end of a partition** closes all that it has open ([`Objects::end_step`]), before its event ports are closed. Units that it
//! held are released, and each later try that succeeds is told of one such partition.

mod check;
mod permit;
mod row;
mod slots;

use core::fmt;

use shikiri_abi::{
    Ipa, Message, OBJECT_NAME_ALIGN, ObjectKind, ObjectName, PartitionId, PartitionSlot, Resource,
    Status,
};
use shikiri_arch::hw::PhysMem;
use shikiri_config::MAX_PARTITIONS;
use shikiri_sync::atomic::{AtomicU64, Ordering};
use shikiri_sync::{TicketLock, rank};

pub use check::check;
pub use permit::{Rows, permit};

use crate::account::OverLimit;
use crate::event::{self, Raise, Receive, Send, Sent, Shared, Visitor, Wire};
use crate::handle::{BadHandle, Handle, Kind, Rights, find};
use crate::partition::Holdings;
use crate::party::{Party, Source, Stage};
use row::Row;
use slots::Slots;

/// Why a call is refused. Nothing has changed, but that a partition waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The handle: stale, foreign, guessed, of another kind or without the right.
    BadHandle,
    /// The description does not let the partition open this name.
    NotPermitted,
    /// The object is there, of another kind or made with other parameters.
    Exists,
    /// The receive port is in use.
    WrongState,
    /// The account's limit, or no handle is left.
    OverLimit(Resource),
    /// The argument with this number is out of range.
    Argument(u8),
    /// A semaphore has its most units.
    Range,
    /// The name is not in the partition's own memory.
    Address,
    /// The name is not aligned.
    Alignment,
    /// Nothing is there; the port is told when there is.
    Empty,
    /// No row is free; or no room in the queue, and the port is told when there is.
    Full,
}

impl Refusal {
    /// The call's status, and `x1` beside it: which argument or which resource.
    #[must_use]
    pub const fn answer(self) -> (Status, u8) {
        match self {
            Self::BadHandle => (Status::BadHandle, 0),
            Self::NotPermitted => (Status::NotPermitted, 0),
            Self::Exists => (Status::Exists, 0),
            Self::WrongState => (Status::WrongState, 0),
            Self::OverLimit(resource) => (Status::OverLimit, resource.number()),
            Self::Argument(number) => (Status::InvalidParameter, number),
            Self::Range => (Status::Range, 0),
            Self::Address => (Status::Range, 1),
            Self::Alignment => (Status::Alignment, 1),
            Self::Empty => (Status::Empty, 0),
            Self::Full => (Status::Full, 0),
        }
    }

    /// The answer to the call: `x0` to `x3`.
    #[must_use]
    pub fn registers(self) -> [u64; 4] {
        let (status, which) = self.answer();
        [status.code().cast_unsigned(), u64::from(which), 0, 0]
    }
}

impl From<BadHandle> for Refusal {
    fn from(BadHandle: BadHandle) -> Self {
        Self::BadHandle
    }
}

impl From<OverLimit> for Refusal {
    fn from(error: OverLimit) -> Self {
        Self::OverLimit(error.resource)
    }
}

/// What a successful try got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A post of an event.
    Event,
    /// A unit of a semaphore.
    Unit {
        /// A partition that went while it held units, if nobody was told yet.
        lost: Option<PartitionId>,
    },
    /// A message of a queue.
    Message(Message),
}

impl Got {
    /// `x1` to `x3` of the answer.
    #[must_use]
    pub fn values(self) -> [u64; 3] {
        match self {
            Self::Event => [0; 3],
            Self::Unit { lost } => [lost.map_or(0, |PartitionId(id)| u64::from(id)), 0, 0],
            Self::Message(message) => message,
        }
    }
}

/// An object that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The partition's handle; the same each time it opens the object.
    pub handle: Handle,
    /// Whether nobody had it open before.
    pub is_new: bool,
}

/// Who is to be told; by [`Objects::tell`], when no lock is held.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "those who wait are still to be told"]
pub struct Wake {
    row: u16,
    who: Slots,
}

impl Wake {
    /// Whether nobody is to be told.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.who.is_empty()
    }
}

/// A row of the table, and where each partition is told.
pub struct Object {
    row: TicketLock<Row, rank::Object>,
    /// `Send::Connected` of a receive port, or 0. Changed under the row's lock.
    wires: [AtomicU64; MAX_PARTITIONS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Object>() <= 4096, "the page that each opener pays for");

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// A free row.
    #[must_use]
    pub fn new() -> Self {
        let wires = core::array::from_fn(|_| AtomicU64::new(0));
        Self { row: TicketLock::new(Row::new()), wires }
    }

    fn wire(&self, PartitionSlot(slot): PartitionSlot) -> Option<&AtomicU64> {
        self.wires.get(usize::from(slot))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("row", &*self.row.lock())
            .field("wires", &self.wires)
            .finish()
    }
}

/// The machine's table of named objects.
pub struct Objects<'o> {
    rows: &'o [Object],
    /// How many rows are valid; whoever opens or closes holds this lock.
    names: TicketLock<u16, rank::Names>,
}

impl<'o> Objects<'o> {
    /// A table of free rows: as many as the description's entries have together.
    #[must_use]
    pub fn new(rows: &'o [Object]) -> Self {
        Self { rows, names: TicketLock::new(0) }
    }

    /// How many objects there are.
    #[must_use]
    pub fn used(&self) -> u16 {
        *self.names.lock()
    }

    /// Opens an object by its name, and makes it if nobody has it open. `rows` is what [`permit`] says. A partition that
    /// has it open gets the same handle again, and is to close it once more.
    ///
    /// # Errors
    /// `Exists`: the object is another kind, or was made with other parameters; `OverLimit`: management memory, or no
    /// handle is left; `Full`: all rows of the entry are taken.
    pub fn open(
        &self,
        party: &mut Party<'_>,
        holdings: &mut Holdings,
        rows: Rows,
        (name, kind): (&ObjectName, ObjectKind),
    ) -> Result<Opened, Refusal> {
        let slot = party.slot();
        let mut used = self.names.lock();
        let (index, object) = self.place(rows, name).ok_or(Refusal::Full)?;
        // One that no set of partitions has.
        object.wire(slot).ok_or(Refusal::NotPermitted)?;
        let mut row = object.row.lock();
        let is_new = row.name().is_none();
        if !is_new && row.kind() != kind {
            return Err(Refusal::Exists);
        }
        if let Some(handle) = row.handle(slot) {
            row.open_again(slot)?;
            return Ok(Opened { handle, is_new: false });
        }
        if party.check_room().is_err() {
            return Err(Refusal::OverLimit(Resource::ManagementMemory));
        }
        holdings.charge_share()?;
        let (_, handle) = party.insert(Kind::Object, event::object(index));
        if is_new {
            row.make(*name, kind);
            *used = used.saturating_add(1);
        }
        row.join(slot, handle);
        Ok(Opened { handle, is_new })
    }

    /// Takes what is there for the caller's partition. A queue then has room, and who was refused for want of it is told.
    ///
    /// # Errors
    /// `BadHandle`; `Empty`: the partition waits from here on.
    pub fn try_take(
        &self,
        shared: Shared<'_>,
        slot: PartitionSlot,
        handle: Handle,
    ) -> Result<(Got, Wake), Refusal> {
        let (index, object) = self.find(shared, handle, Rights::USE)?;
        let mut row = object.row.lock();
        row.check(slot, handle)?;
        let got = row.take(slot)?;
        Ok((got, Wake { row: index, who: row.due() }))
    }

    /// Posts. `message` is a queue's; other kinds have none, which is zero.
    ///
    /// # Errors
    /// `BadHandle`; `Argument` 2, 3 or 4: a word that is not zero although the object is no queue; `Range`: a semaphore
    /// has its most units; `Full`: a queue, and the partition waits for room from here on.
    pub fn post(
        &self,
        shared: Shared<'_>,
        slot: PartitionSlot,
        handle: Handle,
        message: Message,
    ) -> Result<Wake, Refusal> {
        let (index, object) = self.find(shared, handle, Rights::USE)?;
        let mut row = object.row.lock();
        row.check(slot, handle)?;
        if !matches!(row.kind(), ObjectKind::Queue { .. })
            && let Some((number, _)) = (2..).zip(message).find(|(_, word)| *word != 0)
        {
            return Err(Refusal::Argument(number));
        }
        row.post(slot, message)?;
        Ok(Wake { row: index, who: row.due() })
    }

    /// Chooses the receive port at which the partition is told, or none; the former one is free again. Returns what
    /// to raise there: if there is something to take, or room for a message, the partition is told now. Else it waits from here
    /// on. The port that was chosen before is as good as another: its guest may have cleared it.
    ///
    /// # Errors
    /// `BadHandle` (of either); `WrongState` if something else is connected to the port.
    pub fn set_notify(
        &self,
        party: &mut Party<'_>,
        handle: Handle,
        port: Option<Handle>,
    ) -> Result<Option<Raise>, Refusal> {
        let (index, object) = self.find(party.shared, handle, Rights::CHANGE)?;
        let port = match port {
            None => None,
            Some(port) => {
                let port = find(party.shared.entries, port, Kind::Receive, Rights::CHANGE)?;
                match party.source(port.index) {
                    Source::Object(row) if row == index => Some(port.index),
                    Source::Nobody => Some(port.index),
                    Source::Port(_) | Source::Signals | Source::Channel(_) | Source::Object(_) => {
                        return Err(Refusal::WrongState);
                    }
                }
            }
        };
        let slot = party.slot();
        let mut row = object.row.lock();
        row.check(slot, handle)?;
        let wire = object.wire(slot).ok_or(Refusal::BadHandle)?;
        unhook(party, index, wire);
        let Some(port) = port else { return Ok(None) };
        let to = party.attach_source(port, Source::Object(index));
        wire.store(Send::Connected(to).encode(), Ordering::Release);
        let tell = || party.shared.arrive(to.to, Receive::connected(to.serial))?.raise;
        Ok(if row.rewire(slot) { tell() } else { None })
    }

    /// Closes an object, as often as it was opened. With the last time the partition's flag goes, units of a semaphore
    /// that it holds are released as at its end, and the port is free again; the object goes when nobody has it open.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn close(
        &self,
        party: &mut Party<'_>,
        holdings: &mut Holdings,
        handle: Handle,
    ) -> Result<Wake, Refusal> {
        let mut used = self.names.lock();
        let (index, object) = self.find(party.shared, handle, Rights::CHANGE)?;
        let mut row = object.row.lock();
        row.check(party.slot(), handle)?;
        if row.close_once(party.slot()) {
            return Ok(Wake { row: index, who: Slots::NONE });
        }
        if leave(party, holdings, (index, object), &mut row) {
            *used = used.saturating_sub(1);
        }
        Ok(Wake { row: index, who: row.due() })
    }

    /// One step of the end of a partition, of which no vCPU runs: closes the next object that it has open, by ascending rows.
    /// `None` if there is no more: its handles are next.
    pub fn end_step(&self, party: &mut Party<'_>, holdings: &mut Holdings) -> Option<Wake> {
        let Stage::Objects(from) = party.state.end else { return None };
        let mut used = self.names.lock();
        let rows = (0..=u16::MAX).zip(self.rows).skip(usize::from(from));
        for (index, object) in rows {
            let mut row = object.row.lock();
            if row.handle(party.slot()).is_none() {
                continue;
            }
            if leave(party, holdings, (index, object), &mut row) {
                *used = used.saturating_sub(1);
            }
            party.state.end = Stage::Objects(index);
            return Some(Wake { row: index, who: row.due() });
        }
        party.state.end = Stage::Handles(0);
        None
    }

    /// Tells the next one of those that are due; `None` when all were told. `visitor` and `peer` as for [`Shared::send`]:
    /// raise what was sent, drop it, and ask again.
    pub fn tell<'v, 'p>(
        &self,
        wake: &mut Wake,
        visitor: &'v Visitor,
        peer: impl Fn(PartitionSlot) -> Option<Shared<'p>>,
    ) -> Option<Sent<'v>> {
        let object = self.rows.get(usize::from(wake.row))?;
        while let Some(slot) = wake.who.pop() {
            let sent = object.wire(slot).and_then(|wire| event::follow(wire, visitor, &peer));
            if sent.is_some() {
                return sent;
            }
        }
        None
    }

    /// The row that has the name, or the first free one; `None` if there is neither.
    fn place(&self, Rows { first, count }: Rows, name: &ObjectName) -> Option<(u16, &'o Object)> {
        let mut free = None;
        let rows = (0..=u16::MAX).zip(self.rows).skip(usize::from(first)).take(usize::from(count));
        for (index, object) in rows {
            match object.row.lock().name() {
                Some(found) if found == name => return Some((index, object)),
                Some(_) => {}
                None => free = free.or(Some((index, object))),
            }
        }
        free
    }

    fn find(
        &self,
        shared: Shared<'_>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(u16, &'o Object), Refusal> {
        let found = find(shared.entries, handle, Kind::Object, rights)?;
        let index = event::row_of(found.entry.value()).filter(|_| found.is_same());
        let place = index.and_then(|index| Some((index, self.rows.get(usize::from(index))?)));
        place.ok_or(Refusal::BadHandle)
    }
}

/// Copies a name out of a partition's memory, once.
///
/// # Errors
/// `Alignment`; `Address`: it is not in the partition's own memory; `Argument` 1 or 2: it is no name.
pub fn read_name<P: PhysMem>(
    mem: &P,
    holdings: &Holdings,
    at: Ipa,
    length: u8,
) -> Result<ObjectName, Refusal> {
    if !at.is_aligned(OBJECT_NAME_ALIGN) {
        return Err(Refusal::Alignment);
    }
    // Memory comes in whole pages: what begins here does not end before the name can.
    let (pa, _) = holdings.translate(at).ok_or(Refusal::Address)?;
    let words: [_; 8] = core::array::from_fn(|index| {
        let offset = u64::try_from(index).unwrap_or(0).saturating_mul(8);
        mem.read_u64(pa.wrapping_add(offset)).to_le_bytes()
    });
    let name = words.as_flattened().get(..usize::from(length)).ok_or(Refusal::Argument(2))?;
    ObjectName::new(name).ok_or(Refusal::Argument(1))
}

/// Takes the partition's flag and all that belongs to it; true if the object went with it.
fn leave(
    party: &mut Party<'_>,
    holdings: &mut Holdings,
    (index, object): (u16, &Object),
    row: &mut Row,
) -> bool {
    let slot = party.slot();
    if let Some(wire) = object.wire(slot) {
        unhook(party, index, wire);
    }
    if let Some(Handle(handle)) = row.handle(slot) {
        let [low, high, ..] = handle.to_le_bytes();
        party.remove(u16::from_le_bytes([low, high]));
    }
    holdings.refund_share();
    row.leave(slot, party.id())
}

/// Cuts the wire of a row to the party's port. The port may have been closed, and another thing may be in its place.
fn unhook(party: &mut Party<'_>, row: u16, wire: &AtomicU64) {
    let former = Wire::decode(wire.swap(0, Ordering::Relaxed));
    if let Some(Wire { to, .. }) = former
        && party.source(to.index) == Source::Object(row)
    {
        party.detach(to.index);
    }
}

#[cfg(test)]
mod tests;
