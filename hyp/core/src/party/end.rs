//! The end of a party, in bounded steps.
//!
//! It begins when no vCPU of the partition runs any more. Each step closes one entry that has another end, or looks at
//! [`ENTRIES`] that have none, or withdraws up to [`RECORDS`] requests of one sender. When it is done nobody has a
//! connection to the partition or a request there; then the caller waits until `event::nobody_visits`, and gives
//! the storage back.

use shikiri_abi::PartitionSlot;

use super::Party;
use crate::account::Account;
use crate::event::{Raise, Send};
use crate::handle::Kind;

/// Entries that one step looks at.
const ENTRIES: u16 = 64;
/// Requests that one step withdraws.
const RECORDS: u16 = 16;

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
        let mut index = self.state.end.unwrap_or(0);
        let stop = index.saturating_add(ENTRIES);
        let entries = self.shared.entries;
        while let Some(entry) = entries.get(usize::from(index)) {
            self.state.end = Some(index);
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
        self.state.end = Some(index);
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
