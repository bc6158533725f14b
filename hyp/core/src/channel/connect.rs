//! Connecting two message ports: the asker's signal was taken, and is accepted with a port of the receiver's own.
//!
//! Asking is [`Party::ask_channel`](crate::party::Party::ask_channel), taking
//! [`Party::take_signal`](crate::party::Party::take_signal), refusing [`Party::refuse`](crate::party::Party::refuse): as for events.

use shikiri_abi::PartitionSlot;

use super::port::Used;
use crate::area::{Estate, Parts};
use crate::event::{PortId, Raise, Send, Shared, Wire, asker};
use crate::handle::{Handle, Kind, Rights, find, find_in_place};
use crate::party::{Party, Refusal, check_idle};

impl<'a> Estate<'a> {
    /// Accepts a request with a message port; both are connected, and both are told at their receive ports: the caller raises this
    /// partition's first, then the peer's.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle` (of either); `WrongState` if the port is connected or has asked itself; `PeerGone` if the asker
    /// has closed its port or ended; `Moved`.
    pub fn accept_channel(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        request: Handle,
        port: Handle,
    ) -> Result<[Option<Raise>; 2], Refusal> {
        self.holdings.area_parts()?;
        let entries = self.party.shared.entries;
        let request = find(entries, request, Kind::ChannelRequest, Rights::USE)?;
        let port = find(entries, port, Kind::Channel, Rights::CHANGE)?;
        let from = asker(request.entry.value()).ok_or(Refusal::PeerGone)?;
        check_idle(port)?;
        let peer = peer.filter(|peer| peer.party.slot() == from.slot).ok_or(Refusal::Moved)?;
        self.party.remove(request.index);
        Ok(self.connect_to(peer, port.index, from.index))
    }

    /// Connects a port with one of `peer`'s without being asked, and whatever rights their guests have left themselves: a channel of
    /// the description. Both are told as by [`Estate::accept_channel`].
    ///
    /// # Errors
    /// `BadHandle` if a guest has closed its port, or it is not made yet; `WrongState` if one of them is in use; `PeerGone` if
    /// either ends.
    pub fn join_channel(
        &mut self,
        peer: &mut Estate<'a>,
        port: Handle,
        other: Handle,
    ) -> Result<[Option<Raise>; 2], Refusal> {
        let port = find(self.party.shared.entries, port, Kind::Channel, Rights::NONE)?;
        let other = find(peer.party.shared.entries, other, Kind::Channel, Rights::NONE)?;
        check_idle(port)?;
        check_idle(other)?;
        if self.party.ends() || peer.party.ends() {
            return Err(Refusal::PeerGone);
        }
        Ok(self.connect_to(peer, port.index, other.index))
    }

    fn connect_to(&mut self, peer: &mut Estate<'a>, own: u16, other: u16) -> [Option<Raise>; 2] {
        let end = |party: &Party<'_>, index| PortId { slot: party.slot(), index };
        let (here, there) = (end(&self.party, own), end(&peer.party, other));
        let serial = self.party.new_serial();
        self.join(own, Wire { to: there, serial });
        peer.join(other, Wire { to: here, serial });
        [self.party.tell_about(own), peer.party.tell_about(other)]
    }

    fn join(&mut self, index: u16, wire: Wire) {
        self.party.set_value(index, Send::Connected(wire).encode());
        if let Some(port) = self.port_of(index) {
            port.peers = port.peers.wrapping_add(1);
            port.is_starved = false;
            port.arrivals().set_starved(false);
            port.arrivals().set_state(port.peers, true);
        }
    }

    /// The row of a message port by its entry in the handle table.
    pub(super) fn port_of(&mut self, index: u16) -> Option<&mut Used> {
        let row = self.party.port_row(index)?;
        let Parts { areas, .. } = self.holdings.area_parts().ok()?;
        areas.port(row)
    }

    /// Whom a message port is connected to.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if it was never connected, or its request is open; `Refused`; `PeerGone`.
    #[inline]
    pub(super) fn connection(&self, handle: Handle) -> Result<(u16, Wire), Refusal> {
        let port = find_in_place(self.party.shared.entries, handle, Kind::Channel, Rights::USE)?;
        let word = port.entry.value();
        Wire::decode(word).map(|wire| (port.index, wire)).ok_or_else(|| unconnected(word))
    }
}

/// Why a message port has no connection.
#[cold]
fn unconnected(word: u64) -> Refusal {
    match Send::decode(word) {
        Some(Send::Refused) => Refusal::Refused,
        Some(Send::Gone) => Refusal::PeerGone,
        Some(Send::Idle | Send::Queued { .. } | Send::Taken { .. } | Send::Connected(_)) | None => {
            Refusal::WrongState
        }
    }
}

impl Shared<'_> {
    /// Whom a message port is connected to, without a lock: a hint, which [`send`](super::send()) checks under both locks.
    #[inline]
    #[must_use]
    pub fn peer_of(self, port: Handle) -> Option<PartitionSlot> {
        let port = find_in_place(self.entries, port, Kind::Channel, Rights::USE).ok()?;
        Wire::decode(port.entry.value()).map(|wire| wire.to.slot)
    }
}
