//! Closing a message port: nothing is left of it at either end, and the peer is told.
//!
//! Areas that lie in its window stay with the partition, as its own: what was charged for their slots covers them. Its two pages
//! are gone; messages that were not read are to be read before.

use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;

use super::create::charge_of;
use crate::area::{Body, Estate, Home, Machine, Parts};
use crate::event::{Raise, Send};
use crate::handle::{Handle, Kind, Rights, find};
use crate::party::{EndStep, Refusal};

impl<'a> Estate<'a> {
    /// Closes a message port. A request of it that waits or was taken is withdrawn; a peer's port is gone from here on, and
    /// what to raise there is the answer.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`; `Moved`.
    pub fn close_port<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        port: Handle,
    ) -> Result<Option<Raise>, Refusal> {
        self.holdings.area_parts()?;
        let port = find(self.party.shared.entries, port, Kind::Channel, Rights::CHANGE)?;
        let peer_party = peer.as_deref().map(|peer| &peer.party);
        self.party.check_peer(self.party.met_by(port.index), peer_party)?;
        Ok(self.close_entry(peer, machine, port.index))
    }

    /// One step of the end: closes the first port that is left, if the partition that it meets is here.
    pub(crate) fn leave_port<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
    ) -> (EndStep, Option<Raise>) {
        let Some((_, index)) = self.holdings.areas().and_then(crate::area::Areas::used_port) else {
            return (EndStep::Again, None);
        };
        let met = self.party.met_by(index);
        match met {
            Some(slot) if peer.as_deref().is_none_or(|peer| peer.party.slot() != slot) => {
                (EndStep::Meet(slot), None)
            }
            _ => (EndStep::Again, self.close_entry(peer, machine, index)),
        }
    }

    fn close_entry<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        index: u16,
    ) -> Option<Raise> {
        let met = self.party.met_by(index);
        let peer = peer.filter(|peer| met == Some(peer.party.slot()));
        let raise = match (Send::decode(self.party.value(index)), peer) {
            (Some(Send::Connected(wire)), Some(peer)) => {
                peer.party.set_value(wire.to.index, Send::Gone.encode());
                if let Some(port) = peer.port_of(wire.to.index) {
                    port.arrivals().set_state(port.peers, false);
                }
                peer.party.tell_about(wire.to.index)
            }
            (_, peer) => {
                self.party.cut_send(peer.map(|peer| &mut peer.party), index);
                None
            }
        };
        self.give_port(machine, index);
        self.party.remove(index);
        raise
    }

    /// Takes a port's window and pages apart.
    fn give_port<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, store): Machine<'_, '_, P, T, M>,
        index: u16,
    ) {
        let Some(row) = self.party.port_row(index) else { return };
        self.party.untie(index);
        let Ok(mut parts) = self.holdings.area_parts() else { return };
        let Parts { account, areas, .. } = &mut parts;
        let Some(port) = areas.set_port(row, None) else { return };
        let (memory, ipa_space, management) = charge_of(port.count, port.class);
        let (mut kept_pages, mut kept_tables) = (0_u64, 0_u64);
        for slot in port.window() {
            let (pages, tables) = match areas.slots.body_mut(slot) {
                Body::Area(area) => (area.linked.pages().0, area.linked.tables()),
                Body::Ending { growing, charged, .. } => (*charged, growing.tables()),
                Body::Empty | Body::Making => {
                    self.party.remove(areas.slots.handle(slot));
                    areas.slots.give(slot);
                    continue;
                }
            };
            areas.slots.set_home(slot, Home::Own);
            kept_pages = kept_pages.saturating_add(pages);
            kept_tables = kept_tables.saturating_add(u64::from(tables));
        }
        areas.refund(
            account,
            (
                memory.saturating_sub(kept_pages),
                ipa_space.saturating_sub(kept_pages),
                management.saturating_sub(kept_tables),
            ),
        );
        let (linked, pages) = port.into_parts();
        for linked in linked {
            parts.hide_page((mem, tlb), linked);
        }
        for page in pages {
            self.holdings.give_management(store, page.into_frames());
        }
    }
}
