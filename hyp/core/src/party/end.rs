//! The end of a party, in bounded steps.
//!
//! It begins when no vCPU of the partition runs any more, and its message ports, shared areas and named objects are left.
//! Each step closes one entry that has another end, or looks at [`ENTRIES`] that have none, or withdraws up to [`RECORDS`]
//! requests of one sender. When it is done nobody has a connection to the partition or a request there: what it has
//! left are areas of its own, whose entries stay until they are freed (`crate::area`). Then the caller waits until
//! `event::nobody_visits`, and gives the storage back.

use shikiri_abi::PartitionSlot;

use super::Party;
use crate::account::Account;
use crate::event::{Raise, Send};
use crate::handle::Kind;

/// Entries that one step looks at.
const ENTRIES: u16 = 64;
/// Requests that one step withdraws.
const RECORDS: u16 = 16;

/// What of a party its end leaves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Named objects, of this row of the table first. So it stands with a party that lives.
    Objects(u16),
    /// Handles from this entry on, then requests that wait here.
    Handles(u16),
    /// Nothing: everybody knows.
    Over,
}

/// Where the end of a party stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStep {
    /// There is more.
    Again,
    /// This partition must be met: lock both and pass it.
    Meet(PartitionSlot),
    /// Nothing is left; what is charged for ports is refunded.
    Done,
}

impl<'a> Party<'a> {
    /// One step of the end, with the party that the last step said. Returns what to raise there beside how it goes on.
    pub fn end_step(
        &mut self,
        mut peer: Option<&mut Party<'a>>,
        account: &mut Account,
    ) -> (EndStep, Option<Raise>) {
        let mut index = match self.state.end {
            // Its named objects are left: `Estate::leave` sees to it.
            Stage::Objects(_) => 0,
            Stage::Handles(index) => index,
            Stage::Over => return (EndStep::Done, None),
        };
        let stop = index.saturating_add(ENTRIES);
        let entries = self.shared.entries;
        while let Some(entry) = entries.get(usize::from(index)) {
            self.state.end = Stage::Handles(index);
            if index >= stop {
                return (EndStep::Again, None);
            }
            if let Some(kind) = entry.kind() {
                let met = self.met_by(index);
                let is_here = met
                    .is_none_or(|met| peer.as_deref().is_some_and(|peer| peer.state.slot == met));
                if !is_here {
                    return (EndStep::Meet(met.unwrap_or(self.state.slot)), None);
                }
                let closed =
                    self.close_entry(peer.as_deref_mut(), (kind, index), Send::Gone, account);
                if met.is_some() {
                    return (EndStep::Again, closed.raise);
                }
            }
            let Some(next) = index.checked_add(1) else { break };
            index = next;
        }
        self.state.end = Stage::Handles(index);
        self.end_senders(peer, account)
    }

    /// Withdraws the requests that wait here. Those of the partition itself went with its ports.
    fn end_senders(
        &mut self,
        peer: Option<&mut Party<'a>>,
        account: &mut Account,
    ) -> (EndStep, Option<Raise>) {
        let own = self.state.slot;
        let Some(sender) = self.next_sender() else {
            if let Some(charge) = self.state.charge.take() {
                account.refund(charge);
            }
            self.state.end = Stage::Over;
            return (EndStep::Done, None);
        };
        let Some(peer) = peer.filter(|peer| peer.state.slot == sender) else {
            return (EndStep::Meet(sender), None);
        };
        let mut told = None;
        for _ in 0..RECORDS {
            let Some(port) = peer.first_asking(own) else { break };
            // Message ports and shares are told at receive ports of their own, all others at the partition's one: a step has
            // one event, which is for all that it has withdrawn.
            let tells_itself = peer.kind(port).is_some_and(Kind::has_events);
            if tells_itself && told.is_some() {
                break;
            }
            peer.pop(own);
            peer.set_value(port, Send::Gone.encode());
            told = Some(port);
            if tells_itself {
                break;
            }
        }
        if peer.state.queues.first(own).is_none() {
            self.state.queues.note(sender, false);
        }
        (EndStep::Again, told.and_then(|port| peer.tell_about(port)))
    }
}
