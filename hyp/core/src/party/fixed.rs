//! Connections that the description makes: ports with known handles, joined whenever both partitions live.

use super::{Party, Refusal, check_idle};
use crate::event::{PortId, Raise, Send};
use crate::handle::{Handle, Kind, Rights, find};

impl<'a> Party<'a> {
    /// Connects a send port of this partition to a receive port of `peer`, without being asked, and whatever rights their guests have
    /// left themselves. Returns what to raise here: the sender's notification.
    ///
    /// # Errors
    /// `BadHandle` if a guest has closed its port; `WrongState` if one of them is in use; `PeerGone` if either ends.
    pub fn join(
        &mut self,
        peer: &mut Party<'a>,
        send: Handle,
        receive: Handle,
    ) -> Result<Option<Raise>, Refusal> {
        let from = find(self.shared.entries, send, Kind::Send, Rights::NONE)?;
        let to = find(peer.shared.entries, receive, Kind::Receive, Rights::NONE)?;
        check_idle(from)?;
        peer.check_unconnected(to)?;
        if self.ends() || peer.ends() {
            return Err(Refusal::PeerGone);
        }
        let wire = peer.attach(to.index, PortId { slot: self.state.slot, index: from.index });
        from.entry.set_value(Send::Connected(wire).encode());
        Ok(self.tell())
    }
}

/// The handle of the port that a partition makes as its `index`th, before it closes any.
#[must_use]
pub const fn first_handle(index: u16) -> Handle {
    let [low, high] = index.to_le_bytes();
    Handle(u64::from_le_bytes([low, high, 1, 0, 0, 0, 0, 0]))
}
