//! A partition as a party to communication: its ports and requests, and who is at their other end.
//!
//! [`PartyState`], the [`Cold`] rows and the [`Record`]s of a partition lie behind one lock, its handle table
//! and pending bitmap ([`Shared`]) are read by all cores. [`Party::open`] puts them together for one
//! operation, at no cost. Storage is the partition's own, in pages that it was charged for ([`Sizes`]); each port
//! is charged to [`Resource::EventPorts`] besides.
//!
//! **Two parties.** What one party's record says of another's, the other's says of it: connections, requests that
//! wait, requests that were taken. Both change in one step, under both locks, taken in ascending order of slots. So
//! an operation asks first whom it will meet ([`Party::other_end`], [`Party::next_sender`], [`EndStep::Meet`]);
//! the caller locks both and passes the other one as `peer` (`None` if it is the same partition); if things
//! have changed since, the answer is [`Refusal::Moved`], nothing has changed, and the caller asks again.
//! Everything is bounded: no loop runs over what a guest made more of, but in steps.
//!
//! What is to be raised is returned, and is raised after the locks are gone.

mod call;
mod check;
mod close;
mod end;
mod fixed;
mod look;
mod permit;
mod queue;
mod signal;
mod storage;

use shikiri_abi::{IntId, PartitionId, PartitionSlot, Resource, Status, VcpuIndex};
use shikiri_sync::atomic::{Ordering, fence};

pub use call::Done;
pub use check::check;
pub use close::Closed;
pub use end::EndStep;
pub(crate) use end::Stage;
pub use fixed::first_handle;
pub use permit::permit;
pub use queue::Record;
pub use shikiri_abi::Sharing;
pub use shikiri_abi::SignalKind;
pub use signal::{Ask, Signal};
pub use storage::{Locked, Sizes, Tables};

use crate::account::{Account, Charge, OverLimit};
use crate::event::{PortId, Raise, Receive, Send, Shared, Wire, asker, change};
use crate::handle::{BadHandle, Found, Handle, HandleBook, Kind, Rights, find};
use queue::Queues;

/// Why a call is refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The handle: stale, foreign, guessed, of another kind or without the right.
    BadHandle,
    /// The port is in use, or not yet.
    WrongState,
    /// The description does not permit it.
    NotPermitted,
    /// The peer has refused.
    Refused,
    /// The peer has closed its port or ended, or there is no such partition.
    PeerGone,
    /// No control signal is there.
    Empty,
    /// The account's limit, or what this storage was sized for.
    OverLimit(Resource),
    /// The argument with this number is out of range.
    Argument(u8),
    /// The other end is another by now: look again whom to lock.
    Moved,
    /// The partition's description has no message areas.
    NotSupported,
    /// The area is not the caller's to use: its handle names none, or none that is complete.
    NotOwner,
    /// A size that is not possible, or not at the receiver.
    Range,
    /// The receiver has no credit left; an event comes when it has.
    Full,
    /// The machine has no memory left.
    NoMemory,
    /// Another call of this partition's must be finished first.
    Busy,
    /// It is there already.
    Exists,
}

impl Refusal {
    /// The call's status, and `x1` beside it: which argument or which resource.
    #[must_use]
    pub const fn answer(self) -> (Status, u8) {
        match self {
            Self::BadHandle => (Status::BadHandle, 0),
            Self::WrongState => (Status::WrongState, 0),
            Self::NotPermitted => (Status::NotPermitted, 0),
            Self::Refused => (Status::Refused, 0),
            Self::PeerGone => (Status::PeerGone, 0),
            Self::Empty => (Status::Empty, 0),
            Self::OverLimit(resource) => (Status::OverLimit, resource.number()),
            Self::Argument(number) => (Status::InvalidParameter, number),
            Self::Moved | Self::Busy => (Status::Again, 0),
            Self::NotSupported => (Status::NotSupported, 0),
            Self::NotOwner => (Status::NotOwner, 0),
            Self::Range => (Status::Range, 0),
            Self::Full => (Status::Full, 0),
            Self::NoMemory => (Status::NoMemory, 0),
            Self::Exists => (Status::Exists, 0),
        }
    }

    /// The answer to the call: `x0` to `x3`.
    #[must_use]
    pub fn registers(&self) -> [u64; 4] {
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

/// Who is connected to a receive port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody.
    #[default]
    Nobody,
    /// A send port.
    Port(PortId),
    /// The party's own control signals.
    Signals,
    /// The party's own message port or share with this index.
    Channel(u16),
    /// The named object in this row of the table.
    Object(u16),
}

/// What a handle's entry has beside it that no core needs without the lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cold {
    source: Source,
    /// A message port's own row in `crate::channel`'s table, or a share's in `crate::share`'s.
    port: u16,
    /// The receive port at which a message port's or a share's events are told.
    events: Option<u16>,
}

/// What a sender needs of its receiver's [`Cold`] row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tells {
    /// The message port's row.
    pub(crate) row: u16,
    /// The receive port at which its events are told.
    pub(crate) events: Option<u16>,
}

/// The INTID is one port's alone.
const ALONE: u16 = u16::MAX;
/// The most ports that share an INTID: their count never reads as [`ALONE`].
const MOST_GROUPED: u16 = ALONE - 1;
/// INTIDs up to the last SPI.
const INTIDS: usize = 1020;
/// A word of a [`Receive`] has room for so many.
const VCPUS: u8 = 64;

/// What a partition keeps of its communication, behind its lock.
#[derive(Debug)]
pub struct PartyState {
    id: PartitionId,
    slot: PartitionSlot,
    vcpus: u8,
    book: HandleBook,
    serial: u32,
    charge: Option<Charge>,
    /// The receive port that control signals and answers are told at.
    notify: Option<u16>,
    queues: Queues,
    /// How many ports use an INTID, or [`ALONE`].
    uses: [u16; INTIDS],
    /// The INTIDs that events may use, 32 to a word.
    usable: [u32; 32],
    /// Where its end stands.
    pub(crate) end: Stage,
}

impl PartyState {
    /// A party that has nothing yet, with `vcpus` vCPUs (at most 64 are told apart). `usable` has a bit for each INTID,
    /// 32 to a word, that no device and nothing of the hypervisor's uses; those that are no SPIs do not count.
    #[must_use]
    pub const fn new(id: PartitionId, slot: PartitionSlot, vcpus: u8, usable: [u32; 32]) -> Self {
        Self {
            id,
            slot,
            vcpus,
            book: HandleBook::new(),
            serial: 0,
            charge: None,
            notify: None,
            queues: Queues::new(),
            uses: [0; INTIDS],
            usable,
            end: Stage::Objects(0),
        }
    }

    /// As [`Party::ends`].
    const fn ends(&self) -> bool {
        !matches!(self.end, Stage::Objects(_))
    }
}

/// A partition's party, opened under its lock.
#[derive(Debug)]
pub struct Party<'a> {
    pub(crate) state: &'a mut PartyState,
    pub(crate) shared: Shared<'a>,
    pub(crate) cold: &'a mut [Cold],
    pub(crate) records: &'a mut [Record],
}

impl<'a> Party<'a> {
    /// Opens a party. `cold` has as many rows as the table has entries; `records` as many as requests may wait.
    #[must_use]
    pub const fn open(
        state: &'a mut PartyState,
        shared: Shared<'a>,
        cold: &'a mut [Cold],
        records: &'a mut [Record],
    ) -> Self {
        Self { state, shared, cold, records }
    }

    /// The incarnation whose it is.
    #[must_use]
    pub const fn id(&self) -> PartitionId {
        self.state.id
    }

    /// Whose it is.
    #[must_use]
    pub const fn slot(&self) -> PartitionSlot {
        self.state.slot
    }

    /// Makes a send port.
    ///
    /// # Errors
    /// `OverLimit`: event ports, or management memory if the handle table is full.
    pub fn create_send(&mut self, account: &mut Account) -> Result<Handle, Refusal> {
        self.pay_for_port(account)?;
        Ok(self.insert(Kind::Send, Send::Idle.encode()).1)
    }

    /// Makes a receive port: not connected, not bound, not masked.
    ///
    /// # Errors
    /// `OverLimit`: event ports, or management memory if the handle table is full.
    pub fn create_receive(&mut self, account: &mut Account) -> Result<Handle, Refusal> {
        self.pay_for_port(account)?;
        let serial = self.next_serial();
        Ok(self.insert(Kind::Receive, Receive::new(serial).0).1)
    }

    /// Charges a port for which a handle is left.
    fn pay_for_port(&mut self, account: &mut Account) -> Result<(), Refusal> {
        self.check_room()?;
        let charge = account.charge(Resource::EventPorts, 1)?;
        match &mut self.state.charge {
            Some(standing) => standing.absorb(charge),
            standing => *standing = Some(charge),
        }
        Ok(())
    }

    /// Connects a send port to a receive port of the same partition.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if one of them is in use.
    pub fn connect(&mut self, send: Handle, receive: Handle) -> Result<(), Refusal> {
        let from = find(self.shared.entries, send, Kind::Send, Rights::CHANGE)?;
        let to = find(self.shared.entries, receive, Kind::Receive, Rights::CHANGE)?;
        check_idle(from)?;
        self.check_unconnected(to)?;
        let wire = self.attach(to.index, PortId { slot: self.state.slot, index: from.index });
        from.entry.set_value(Send::Connected(wire).encode());
        Ok(())
    }

    /// Gives a receive port an INTID: it is edge-triggered, and routed to `vcpu` first; the guest's own route wins
    /// later. A port is bound once, until it is closed: an interrupt that is on its way then has nowhere else
    /// to go. What was pending is raised.
    ///
    /// # Errors
    /// `BadHandle`; `Argument` 2 (no INTID for events) or 3 (no such vCPU); `WrongState` if the port is bound
    /// already, or the INTID is another's alone, or used by a group and asked for alone, or by as many as can share one.
    pub fn bind(
        &mut self,
        port: Handle,
        intid: IntId,
        vcpu: VcpuIndex,
        sharing: Sharing,
    ) -> Result<Option<Raise>, Refusal> {
        let port = find(self.shared.entries, port, Kind::Receive, Rights::CHANGE)?;
        let uses = self.check_intid(intid)?;
        if vcpu.0 >= self.state.vcpus.min(VCPUS) {
            return Err(Refusal::Argument(3));
        }
        let uses = match (sharing, uses) {
            (Sharing::Alone, 0) => ALONE,
            (Sharing::Grouped, shared) if shared < MOST_GROUPED => shared.saturating_add(1),
            (Sharing::Alone | Sharing::Grouped, _) => return Err(Refusal::WrongState),
        };
        if Receive(port.entry.value()).has(Receive::BOUND) {
            return Err(Refusal::WrongState);
        }
        let grouped = if sharing == Sharing::Grouped { Receive::GROUPED } else { 0 };
        let (before, after) = change(port, |word| word.with(grouped).bound(intid, vcpu).settled())?;
        if let Some(place) = self.state.uses.get_mut(usize::from(intid.0)) {
            *place = uses;
        }
        let port = PortId { slot: self.state.slot, index: port.index };
        Ok(self.shared.released(port, before, after))
    }

    /// Chooses the receive port at which control signals and answers are told; the former one is free again. If a
    /// signal waits, it is told now, at the port that was chosen before as well: its guest may have cleared it.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if something else is connected to the port.
    pub fn set_notify(&mut self, port: Handle) -> Result<Option<Raise>, Refusal> {
        let port = find(self.shared.entries, port, Kind::Receive, Rights::CHANGE)?;
        if self.state.notify != Some(port.index) {
            self.check_unconnected(port)?;
            if let Some(former) = self.state.notify {
                self.detach(former);
            }
            self.state.notify = Some(port.index);
            self.set_source(port.index, Source::Signals);
            self.update(port.index, |word| word.with(Receive::CONNECTED));
        }
        if self.state.queues.is_quiet() { Ok(None) } else { Ok(self.tell()) }
    }

    /// An event at the notification port, if there is one.
    pub(crate) fn tell(&self) -> Option<Raise> {
        // What it is about stands in words that are read without a lock: a receiver that is found pending sees them (`event`).
        fence(Ordering::SeqCst);
        let port = PortId { slot: self.state.slot, index: self.state.notify? };
        let word = Receive(self.shared.entries.get(usize::from(port.index))?.value());
        self.shared.arrive(port, word)?.raise
    }

    /// An event about the port with this index: a message port's or a shared area's at its own receive port, any
    /// other's at the notification port.
    #[inline(never)]
    pub(crate) fn tell_about(&self, index: u16) -> Option<Raise> {
        if !self.kind(index)?.has_events() {
            return self.tell();
        }
        let port = PortId { slot: self.state.slot, index: self.events(index)? };
        // As in `tell`.
        fence(Ordering::SeqCst);
        self.shared.arrive(port, Receive(self.value(port.index)))?.raise
    }

    /// Where the message port with this index has its row, and tells its events.
    #[inline(always)]
    pub(crate) fn tells(&self, index: u16) -> Option<Tells> {
        self.cold.get(usize::from(index)).map(|cold| Tells { row: cold.port, events: cold.events })
    }

    /// The same without a call, at the receive port where a message port tells its events: where the cost is a promise.
    #[inline(always)]
    pub(crate) fn tell_at(&self, events: Option<u16>) -> Option<Raise> {
        let index = events?;
        let word = Receive(self.shared.entries.get(usize::from(index))?.value());
        self.shared.arrive_in_place(PortId { slot: self.state.slot, index }, word)?.raise
    }

    /// The receive port at which a message port's or a share's events are told.
    pub(crate) fn events(&self, index: u16) -> Option<u16> {
        self.cold.get(usize::from(index))?.events
    }

    /// The row of a message port, or of a share.
    #[inline]
    pub(crate) fn port_row(&self, index: u16) -> Option<u16> {
        self.cold.get(usize::from(index)).map(|row| row.port)
    }

    /// Makes a receive port the one at which the message port or share `index` tells its events, and notes its row.
    pub(crate) fn tie(&mut self, index: u16, events: u16, port: u16) {
        if let Some(row) = self.cold.get_mut(usize::from(index)) {
            *row = Cold { port, events: Some(events), ..*row };
        }
        self.set_source(events, Source::Channel(index));
        self.update(events, |word| word.with(Receive::CONNECTED));
    }

    /// Notes the row of a share.
    pub(crate) fn set_row(&mut self, index: u16, port: u16) {
        if let Some(row) = self.cold.get_mut(usize::from(index)) {
            row.port = port;
        }
    }

    /// Undoes [`Party::tie`] and [`Party::set_row`].
    pub(crate) fn untie(&mut self, index: u16) {
        if let Some(events) = self.events(index) {
            self.detach(events);
        }
        if let Some(row) = self.cold.get_mut(usize::from(index)) {
            *row = Cold::default();
        }
    }

    /// Whether `count` more handles fit.
    pub(crate) fn check_room_for(&self, count: u16) -> Result<(), Refusal> {
        let rows = self.cold.len().min(self.shared.entries.len());
        let entries = self.shared.entries.get(..rows).unwrap_or(&[]);
        let has_room = self.state.book.has_room_for(entries, count);
        if has_room { Ok(()) } else { Err(Refusal::OverLimit(Resource::ManagementMemory)) }
    }

    /// The kind of an entry.
    pub(crate) fn kind(&self, index: u16) -> Option<Kind> {
        self.shared.entries.get(usize::from(index))?.kind()
    }

    /// Frees an entry that no port is charged for.
    pub(crate) fn remove(&mut self, index: u16) {
        self.state.book.remove(self.shared.entries, index);
    }

    /// Whether its end has come to the handles: it neither asks nor is asked from then on.
    pub(crate) const fn ends(&self) -> bool {
        self.state.ends()
    }

    /// A new serial for a connection.
    pub(crate) const fn new_serial(&mut self) -> u32 {
        self.next_serial()
    }

    /// The partition that the other end of a handle belongs to: to be locked for [`Party::close`],
    /// [`Party::accept`] and [`Party::refuse`]. `None` if there is none, or it is this one. Whether the handle has the right is asked
    /// by these.
    #[must_use]
    pub fn other_end(&self, handle: Handle) -> Option<PartitionSlot> {
        let kinds = [
            Kind::Send,
            Kind::Receive,
            Kind::Request,
            Kind::Channel,
            Kind::ChannelRequest,
            Kind::AttachRequest,
        ];
        let entries = self.shared.entries;
        kinds
            .into_iter()
            .find_map(|kind| find(entries, handle, kind, Rights::NONE).ok())
            .and_then(|found| self.met_by(found.index))
    }

    /// Whom closing the entry would meet.
    pub(crate) fn met_by(&self, index: u16) -> Option<PartitionSlot> {
        let entry = self.shared.entries.get(usize::from(index))?;
        let slot = match entry.kind()? {
            Kind::Send | Kind::Channel | Kind::Attachment => match Send::decode(entry.value())? {
                Send::Queued { to, .. } => to,
                Send::Taken { by } => by.slot,
                Send::Connected(wire) => wire.to.slot,
                Send::Idle | Send::Refused | Send::Gone => return None,
            },
            Kind::Receive => match self.source(index) {
                Source::Port(port) => port.slot,
                Source::Nobody | Source::Signals | Source::Channel(_) | Source::Object(_) => {
                    return None;
                }
            },
            Kind::Request | Kind::ChannelRequest | Kind::AttachRequest => {
                asker(entry.value())?.slot
            }
            Kind::Area | Kind::Vacant | Kind::Object => return None,
        };
        (slot != self.state.slot).then_some(slot)
    }

    /// Whether `peer` is the party that an operation needs.
    pub(crate) fn check_peer(
        &self,
        needed: Option<PartitionSlot>,
        peer: Option<&Party<'a>>,
    ) -> Result<(), Refusal> {
        match (needed, peer) {
            (None, _) => Ok(()),
            (Some(slot), Some(peer)) if peer.state.slot == slot => Ok(()),
            (Some(_), _) => Err(Refusal::Moved),
        }
    }

    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        let rows = self.cold.len().min(self.shared.entries.len());
        let entries = self.shared.entries.get(..rows).unwrap_or(&[]);
        let has_room = self.state.book.has_room(entries);
        if has_room { Ok(()) } else { Err(Refusal::OverLimit(Resource::ManagementMemory)) }
    }

    pub(crate) fn check_unconnected(&self, port: Found<'_>) -> Result<(), Refusal> {
        let is_free = self.source(port.index) == Source::Nobody;
        if is_free { Ok(()) } else { Err(Refusal::WrongState) }
    }

    fn check_intid(&self, intid: IntId) -> Result<u16, Refusal> {
        let bit = 1_u32 << (intid.0 & 31);
        let word = self.state.usable.get(usize::from(intid.0 >> 5)).copied().unwrap_or(0);
        let uses = self.state.uses.get(usize::from(intid.0)).copied();
        uses.filter(|_| intid.is_spi() && word & bit != 0).ok_or(Refusal::Argument(2))
    }

    /// Adds an entry; there is room.
    pub(crate) fn insert(&mut self, kind: Kind, value: u64) -> (u16, Handle) {
        match self.state.book.insert(self.shared.entries, (kind, Rights::ALL), value) {
            Some(added) => added,
            None => unreachable!("a handle table that had room is full"),
        }
    }

    /// Makes `from` the source of a receive port; the connection is complete when the sender's word says so.
    pub(crate) fn attach(&mut self, index: u16, from: PortId) -> Wire {
        self.attach_source(index, Source::Port(from))
    }

    /// Connects whatever it is to a receive port.
    pub(crate) fn attach_source(&mut self, index: u16, source: Source) -> Wire {
        let serial = self.next_serial();
        self.set_source(index, source);
        self.update(index, |word| word.renumbered(serial).with(Receive::CONNECTED));
        Wire { to: PortId { slot: self.state.slot, index }, serial }
    }

    /// Cuts a receive port's connection on this side.
    #[inline(never)]
    pub(crate) fn detach(&mut self, index: u16) {
        self.set_source(index, Source::Nobody);
        self.update(index, |word| word.without(Receive::CONNECTED));
    }

    fn update(&self, index: u16, new: impl Fn(Receive) -> Receive) {
        let Some(entry) = self.shared.entries.get(usize::from(index)) else { return };
        let mut word = entry.value();
        while let Err(now) = entry.replace(word, new(Receive(word)).0) {
            word = now;
        }
    }

    pub(crate) fn source(&self, index: u16) -> Source {
        self.cold.get(usize::from(index)).map_or(Source::Nobody, |row| row.source)
    }

    fn set_source(&mut self, index: u16, source: Source) {
        if let Some(row) = self.cold.get_mut(usize::from(index)) {
            row.source = source;
        }
    }

    /// The value of an entry.
    pub(crate) fn value(&self, index: u16) -> u64 {
        self.shared.entries.get(usize::from(index)).map_or(0, crate::handle::HandleEntry::value)
    }

    /// Sets the value of a send port or of a request.
    pub(crate) fn set_value(&self, index: u16, value: u64) {
        if let Some(entry) = self.shared.entries.get(usize::from(index)) {
            entry.set_value(value);
        }
    }

    const fn next_serial(&mut self) -> u32 {
        self.state.serial = self.state.serial.wrapping_add(1);
        self.state.serial
    }
}

/// Whether a send port, a message port or an attachment can be connected, or ask for it. One that is attached has no word of
/// these.
pub(crate) fn check_idle(port: Found<'_>) -> Result<(), Refusal> {
    match Send::decode(port.entry.value()) {
        Some(Send::Idle | Send::Refused | Send::Gone) => Ok(()),
        Some(Send::Queued { .. } | Send::Taken { .. } | Send::Connected(_)) | None => {
            Err(Refusal::WrongState)
        }
    }
}

#[cfg(test)]
mod tests;
