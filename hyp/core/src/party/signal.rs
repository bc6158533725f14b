//! Control signals: asking to be connected, taking what was asked, and answering (P9).
//!
//! ```text
//!   sender's port    Idle ──ask──▶ Queued ──take──▶ Taken ──accept──▶ Connected
//!                     ▲               │               │
//!                     └─ ask again ── Refused ◀─refuse┤     Gone ◀── the receiver ends
//! ```
//!
//! Whether a partition may ask another, and for what, is checked before, by [`permit`](super::permit()).

use shikiri_abi::{PartitionId, PartitionSlot, Resource, SignalKind};

use super::{Party, Record, Refusal, check_idle};
use crate::event::{PortId, Raise, Send, Shared, asker, request};
use crate::handle::{BadHandle, Handle, HandleEntry, Kind, Rights, find};

/// The kinds of the port that asks and of the request when it is taken.
const fn kinds(asked: SignalKind) -> (Kind, Kind) {
    match asked {
        SignalKind::EventConnect => (Kind::Send, Kind::Request),
        SignalKind::ChannelConnect => (Kind::Channel, Kind::ChannelRequest),
        SignalKind::AreaAttach => (Kind::Attachment, Kind::AttachRequest),
    }
}

/// A request, as its sender makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The sender's port.
    pub port: Handle,
    /// Which service is meant; the receiver knows what it means.
    pub service: u64,
    /// A word for the receiver.
    pub word: u64,
}

/// A control signal, as its receiver takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What it asks for.
    pub kind: SignalKind,
    /// Who sent it.
    pub from: PartitionId,
    /// Which service is meant.
    pub service: u64,
    /// The sender's word.
    pub word: u64,
    /// The request, to be accepted or refused; closing it refuses it.
    pub request: Handle,
}

impl Shared<'_> {
    /// Looks at the handle of a port that is to ask: whether it is of the kind that asks for this, and may be changed. That goes before
    /// all that is said of whom it asks; what else stands against the port is told when both are locked.
    ///
    /// # Errors
    /// It is not, or may not.
    #[inline(never)]
    pub fn check_asker(self, kind: SignalKind, port: Handle) -> Result<(), BadHandle> {
        find(self.entries, port, kinds(kind).0, Rights::CHANGE).map(|_| ())
    }
}

impl<'a> Party<'a> {
    /// Asks `peer` (`None`: this partition) to connect a send port. Returns what to raise at the peer: its
    /// notification, if this is the first signal that waits there.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if the port is connected or has asked; `OverLimit` of management memory if as
    /// many requests of this partition wait as its storage has room for; `PeerGone` if the peer ends.
    pub fn ask(
        &mut self,
        peer: Option<&mut Party<'a>>,
        ask: Ask,
    ) -> Result<Option<Raise>, Refusal> {
        self.ask_for(SignalKind::EventConnect, peer, ask)
    }

    /// Asks `peer`, another partition, to connect a message port. Otherwise as [`Party::ask`].
    ///
    /// # Errors
    /// As [`Party::ask`]; `Argument` 2 if the peer is this partition.
    pub fn ask_channel(
        &mut self,
        peer: Option<&mut Party<'a>>,
        ask: Ask,
    ) -> Result<Option<Raise>, Refusal> {
        if peer.is_none() {
            return Err(Refusal::Argument(2));
        }
        self.ask_for(SignalKind::ChannelConnect, peer, ask)
    }

    #[inline(never)]
    pub(crate) fn ask_for(
        &mut self,
        kind: SignalKind,
        peer: Option<&mut Party<'a>>,
        Ask { port, service, word }: Ask,
    ) -> Result<Option<Raise>, Refusal> {
        let port = find(self.shared.entries, port, kinds(kind).0, Rights::CHANGE)?;
        check_idle(port)?;
        let other = peer.as_deref().map_or(&*self.state, |peer| &*peer.state);
        let (to, was_quiet) = (other.slot, other.queues.is_quiet());
        if other.ends() || self.ends() {
            return Err(Refusal::PeerGone);
        }
        let record = Record::asking(port.index, service, word);
        let has_room = self.state.queues.has_room(self.records);
        let pushed = if has_room { self.state.queues.push(self.records, to, record) } else { None };
        let record = pushed.ok_or(Refusal::OverLimit(Resource::ManagementMemory))?;
        port.entry.set_value(Send::Queued { to, record }.encode());
        let from = self.state.slot;
        let receiver = peer.unwrap_or(self);
        receiver.state.queues.note(from, true);
        Ok(if was_quiet { receiver.tell() } else { None })
    }

    /// Whose turn it is to have a signal taken: to be locked for [`Party::take_signal`].
    #[must_use]
    pub fn next_sender(&self) -> Option<PartitionSlot> {
        self.state.queues.next_sender()
    }

    /// Takes the oldest signal of the sender whose turn it is; `peer` is that sender (`None`: this partition). The
    /// record is the sender's again.
    ///
    /// # Errors
    /// `Empty`; `OverLimit` of management memory if this partition has no handle left, and the signal waits on;
    /// `Moved` if it is another sender's turn.
    pub fn take_signal(&mut self, mut peer: Option<&mut Party<'a>>) -> Result<Signal, Refusal> {
        let sender = self.next_sender().ok_or(Refusal::Empty)?;
        let own = self.state.slot;
        self.check_peer((sender != own).then_some(sender), peer.as_deref())?;
        self.check_room()?;
        let other = if sender == own { None } else { peer.as_deref_mut() };
        let (record, from) = other.unwrap_or(self).pop(own).ok_or(Refusal::Moved)?;
        let other = if sender == own { None } else { peer.as_deref() };
        let has_more = other.unwrap_or(self).state.queues.first(own).is_some();
        self.state.queues.note(sender, has_more);
        self.state.queues.served(sender);
        let port = PortId { slot: sender, index: record.port };
        let other = if sender == own { None } else { peer.as_deref() };
        let kind = other.unwrap_or(self).asked_by(record.port);
        let (index, handle) = self.insert(kinds(kind).1, request(Some(port)));
        let taken = Send::Taken { by: PortId { slot: own, index } };
        let other = if sender == own { None } else { peer };
        other.unwrap_or(self).set_value(record.port, taken.encode());
        let Record { service, word, .. } = record;
        Ok(Signal { kind, from, service, word, request: handle })
    }

    /// What a port asks for.
    fn asked_by(&self, index: u16) -> SignalKind {
        match self.shared.entries.get(usize::from(index)).and_then(HandleEntry::kind) {
            Some(Kind::Channel) => SignalKind::ChannelConnect,
            Some(Kind::Attachment) => SignalKind::AreaAttach,
            _ => SignalKind::EventConnect,
        }
    }

    /// The port whose request for `to` is the oldest.
    pub(super) fn first_asking(&self, to: PartitionSlot) -> Option<u16> {
        let first = self.state.queues.first(to)?;
        self.records.get(usize::from(first)).map(|record| record.port)
    }

    /// Takes the oldest record for `to` out of its list, and says whose it was.
    pub(super) fn pop(&mut self, to: PartitionSlot) -> Option<(Record, PartitionId)> {
        let first = self.state.queues.first(to)?;
        Some((self.state.queues.remove(self.records, to, first)?, self.state.id))
    }

    /// Accepts a request with a receive port; both are connected. `peer` is the sender, as
    /// [`Party::other_end`] of the request says. Returns what to raise there: its notification.
    ///
    /// # Errors
    /// `BadHandle` (of either); `WrongState` if the receive port is in use; `PeerGone` if the sender has closed
    /// its port or ended; `Moved`.
    pub fn accept(
        &mut self,
        peer: Option<&mut Party<'a>>,
        request: Handle,
        receive: Handle,
    ) -> Result<Option<Raise>, Refusal> {
        let request = find(self.shared.entries, request, Kind::Request, Rights::USE)?;
        let to = find(self.shared.entries, receive, Kind::Receive, Rights::CHANGE)?;
        let from = asker(request.entry.value()).ok_or(Refusal::PeerGone)?;
        self.check_unconnected(to)?;
        self.check_peer(self.met_by(request.index), peer.as_deref())?;
        self.state.book.remove(self.shared.entries, request.index);
        let wire = self.attach(to.index, from);
        let is_own = from.slot == self.state.slot;
        let sender = if is_own { None } else { peer }.unwrap_or(self);
        sender.set_value(from.index, Send::Connected(wire).encode());
        Ok(sender.tell())
    }

    /// Refuses a request. `peer` as for [`Party::accept`]. Returns what to raise there: its notification.
    ///
    /// # Errors
    /// `BadHandle`; `Moved`. A request whose sender has gone is forgotten.
    pub fn refuse(
        &mut self,
        peer: Option<&mut Party<'a>>,
        request: Handle,
    ) -> Result<Option<Raise>, Refusal> {
        let entries = self.shared.entries;
        let request = find(entries, request, Kind::Request, Rights::USE)
            .or_else(|_| find(entries, request, Kind::ChannelRequest, Rights::USE))
            .or_else(|_| find(entries, request, Kind::AttachRequest, Rights::USE))?;
        self.check_peer(self.met_by(request.index), peer.as_deref())?;
        Ok(self.answer(peer, request.index, Send::Refused))
    }

    /// Ends a request; its sender's port becomes `with`.
    pub(super) fn answer(
        &mut self,
        peer: Option<&mut Party<'a>>,
        index: u16,
        with: Send,
    ) -> Option<Raise> {
        let from = asker(self.value(index));
        self.state.book.remove(self.shared.entries, index);
        let from = from?;
        let is_own = from.slot == self.state.slot;
        let sender = if is_own { None } else { peer }.unwrap_or(self);
        sender.set_value(from.index, with.encode());
        sender.tell_about(from.index)
    }
}
