//! Closing a port or a request: nothing is left of it at either end.

use shikiri_abi::IntId;

use super::{ALONE, Party, Refusal, Source};
use crate::account::Account;
use crate::event::{Raise, Receive, Send, request};
use crate::handle::{Handle, HandleEntry, Kind, Rights, find};

/// What closing leaves to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Closed {
    /// What to raise at the other end.
    pub raise: Option<Raise>,
    /// The closed port's INTID, if no port uses it any more: its pending state in the vGIC is to be cleared.
    pub unused: Option<IntId>,
}

impl<'a> Party<'a> {
    /// Closes a port or a request. A send port's peer stays, unconnected, with what it has pending; a receive port's
    /// peer answers `PeerGone` from here on; a request that waits or was taken is withdrawn; one that this
    /// partition has taken is refused. `peer` is the party that [`Party::other_end`] says.
    ///
    /// # Errors
    /// `BadHandle`; `Moved`.
    pub fn close(
        &mut self,
        peer: Option<&mut Party<'a>>,
        handle: Handle,
        account: &mut Account,
    ) -> Result<Closed, Refusal> {
        let kinds =
            [Kind::Send, Kind::Receive, Kind::Request, Kind::ChannelRequest, Kind::AttachRequest];
        let entries = self.shared.entries;
        let found = kinds
            .into_iter()
            .find_map(|kind| Some((kind, find(entries, handle, kind, Rights::CHANGE).ok()?)));
        let (kind, found) = found.ok_or(Refusal::BadHandle)?;
        self.check_peer(self.met_by(found.index), peer.as_deref())?;
        Ok(self.close_entry(peer, (kind, found.index), Send::Refused, account))
    }

    /// Closes an entry; a request of another's that was taken here becomes `answer` there.
    pub(super) fn close_entry(
        &mut self,
        mut peer: Option<&mut Party<'a>>,
        (kind, index): (Kind, u16),
        answer: Send,
        account: &mut Account,
    ) -> Closed {
        // A peer that this entry has nothing to do with is left alone.
        let met = self.met_by(index);
        peer = peer.filter(|peer| met == Some(peer.state.slot));
        let mut closed = Closed::default();
        match kind {
            Kind::Request | Kind::ChannelRequest | Kind::AttachRequest => {
                closed.raise = self.answer(peer, index, answer);
                return closed;
            }
            // Left by `object::Objects::end_step`, which comes before the end of the party.
            Kind::Object => {
                self.remove(index);
                return closed;
            }
            Kind::Send => self.cut_send(peer, index),
            Kind::Receive => closed.unused = self.cut_receive(peer, index),
            // They go with what they stand for, in `crate::channel`, `crate::area` and `crate::share`.
            Kind::Channel | Kind::Area | Kind::Vacant | Kind::Attachment => return closed,
        }
        self.state.book.remove(self.shared.entries, index);
        if let Some(charge) = &mut self.state.charge {
            account.refund(charge.split(1));
        }
        closed
    }

    /// Withdraws what a port has asked for, or cuts its connection.
    pub(crate) fn cut_send(&mut self, peer: Option<&mut Party<'a>>, index: u16) {
        let own = self.state.slot;
        let state = Send::decode(self.value(index));
        // No send of another vCPU begins from here on.
        self.set_value(index, Send::Gone.encode());
        match state {
            Some(Send::Queued { to, record }) => {
                self.state.queues.remove(self.records, to, record);
                let has_more = self.state.queues.first(to).is_some();
                peer.unwrap_or(self).state.queues.note(own, has_more);
            }
            Some(Send::Taken { by }) => peer.unwrap_or(self).set_value(by.index, request(None)),
            Some(Send::Connected(wire)) => peer.unwrap_or(self).lose_source(wire.to.index),
            Some(Send::Idle | Send::Refused | Send::Gone) | None => {}
        }
    }

    /// A port's connection is cut by the other end: a receive port is free again, a message port has lost its peer.
    fn lose_source(&mut self, index: u16) {
        match self.shared.entries.get(usize::from(index)).and_then(HandleEntry::kind) {
            Some(Kind::Channel) => self.set_value(index, Send::Gone.encode()),
            _ => self.detach(index),
        }
    }

    fn cut_receive(&mut self, peer: Option<&mut Party<'a>>, index: u16) -> Option<IntId> {
        match self.source(index) {
            Source::Port(from) => {
                peer.unwrap_or(self).set_value(from.index, Send::Gone.encode());
            }
            Source::Signals => self.state.notify = None,
            Source::Channel(port) => {
                if let Some(row) = self.cold.get_mut(usize::from(port)) {
                    row.events = None;
                }
            }
            // The object's wire leads to a serial that no port has from here on.
            Source::Nobody | Source::Object(_) => {}
        }
        self.detach(index);
        self.shared.unmark(index);
        let word = Receive(self.value(index));
        if !word.has(Receive::BOUND) {
            return None;
        }
        let uses = self.state.uses.get_mut(usize::from(word.intid().0))?;
        *uses = if *uses == ALONE { 0 } else { uses.saturating_sub(1) };
        (*uses == 0).then(|| word.intid())
    }
}
