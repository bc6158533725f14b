//! Sending a message: check everything, then do what cannot fail (C3, C4; design, "The way of one message").

use shikiri_abi::{AreaClass, PAGE_BYTES, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};

use super::ring::{Entry, deliver, look_or_wait};
use crate::area::{Estate, Parts};
use crate::event::Raise;
use crate::frame::AreaRegistry;
use crate::handle::{Handle, HandleBook};
use crate::party::Refusal;

/// A message, as its sender gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The area that goes with it; `None` for a short message alone.
    pub area: Option<Handle>,
    /// How many bytes of the area are meant.
    pub bytes: u64,
    /// The short message.
    pub short: [u64; 3],
}

/// Where the next message comes at its receiver.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// The port's row.
    row: u16,
    /// The message's number.
    number: u64,
    /// The vacant slot for its area, with the bit that it has in the window.
    slot: Option<(u8, WindowSlot)>,
}

/// Sends a message from a port of `from`'s to its peer, a port of `to`'s. When it returns, the sender's cores cannot reach the
/// area any more, and then only the receiver was given it; or nothing has changed. Answers what to raise at the receiver.
///
/// The area is nowhere between `lose` and `gain`: that is what *in flight* means, and it is within this function. The
/// receiver's window was charged when its port was made, so that no account is asked.
///
/// # Errors
/// `BadHandle`; `WrongState`, `Refused` and `PeerGone` as the port's connection says; `NotOwner`, or `WrongState` for an area that is
/// being made or freed; `Range` if more bytes are meant than the area has, or the receiver's window is of another
/// class; `Full` if the receiver has no credit or no vacant slot: an event comes when it says that it has; `Moved`.
pub fn send<'a, P: PhysMem, T: Tlb>(
    from: &mut Estate<'a>,
    to: Option<&mut Estate<'a>>,
    hw: (&P, &T),
    registry: &AreaRegistry<'_>,
    (port, message): (Handle, Message),
) -> Result<Option<Raise>, Refusal> {
    // Check.
    let (_, wire) = from.connection(port)?;
    let to = to.filter(|to| to.party.slot() == wire.to.slot).ok_or(Refusal::Moved)?;
    let source = from.check_area(&message)?;
    let room = to.check_room_at(wire.to.index, source.map(|slot| slot.class))?;
    // Commit: nothing from here on can fail.
    let mut entry = Entry { bytes: message.bytes, short: message.short, ..Entry::default() };
    if let (Some(slot), Some((bit, target))) = (source, room.slot) {
        let (area, subtree) = from.lose(slot, hw);
        registry.hand_over(area, from.party.slot(), to.party.slot());
        to.occupy(room.row, bit);
        entry.pages = subtree.pages().0;
        entry.address = target.ipa().0;
        Handle(entry.area) = to.gain(target, (area, subtree), hw);
    }
    let is_due = to.deliver(room, &entry);
    Ok(if is_due { to.party.tell_about_in_place(wire.to.index) } else { None })
}

impl<'a> Estate<'a> {
    /// The area that goes with a message, if one does.
    #[inline]
    fn check_area(&mut self, message: &Message) -> Result<Option<WindowSlot>, Refusal> {
        let Some(handle) = message.area else {
            return if message.bytes == 0 { Ok(None) } else { Err(Refusal::Range) };
        };
        let slot = self.slot_of(handle)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let pages = areas.slots.complete(slot)?.linked.pages().0;
        let fits = message.bytes <= pages.saturating_mul(PAGE_BYTES);
        if fits { Ok(Some(slot)) } else { Err(Refusal::Range) }
    }

    /// Whether the next message can come to a port, with an area of this class; where.
    #[inline]
    fn check_room_at(&mut self, index: u16, class: Option<AreaClass>) -> Result<Room, Refusal> {
        let row = self.party.port_row(index).ok_or(Refusal::PeerGone)?;
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let port = areas.port(row).ok_or(Refusal::PeerGone)?;
        let slot = match class {
            None => None,
            Some(class) if class != port.class || port.count == 0 => return Err(Refusal::Range),
            Some(_) => port.vacant(),
        };
        let number = port.delivered;
        let has_credit = look_or_wait(port.arrivals(), port.credits(), number);
        let has_slot = class.is_none()
            || slot.is_some_and(|(_, slot)| {
                HandleBook::can_renew(self.party.shared.entries, areas.slots.handle(slot))
            });
        if has_credit && has_slot {
            return Ok(Room { row, number, slot });
        }
        self.starve(row)
    }

    /// There is no room: the receiver is told that somebody waits.
    #[cold]
    fn starve(&mut self, row: u16) -> Result<Room, Refusal> {
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let port = areas.port(row).ok_or(Refusal::PeerGone)?;
        port.is_starved = true;
        port.arrivals().set_starved(true);
        Err(Refusal::Full)
    }

    /// Takes a vacant slot of a window, which was checked.
    #[inline]
    fn occupy(&mut self, row: u16, bit: u8) {
        let Ok(Parts { areas, .. }) = self.holdings.area_parts() else { return };
        if let Some(port) = areas.port(row) {
            port.occupy(bit);
        }
    }

    /// Writes a message into the arrivals; whether its receiver is to be told.
    #[inline]
    fn deliver(&mut self, Room { row, number, .. }: Room, entry: &Entry) -> bool {
        let Ok(Parts { areas, .. }) = self.holdings.area_parts() else { return false };
        let Some(port) = areas.port(row) else { return false };
        port.delivered = number.wrapping_add(1);
        deliver(port.arrivals(), port.credits(), number, entry)
    }

    /// Says that a port has credits again, if its peer was told that it had none: the peer gets an event.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`; `WrongState`, `Refused` and `PeerGone` as the port's connection says; `Moved`.
    pub fn notify_peer(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        port: Handle,
    ) -> Result<Option<Raise>, Refusal> {
        let (index, wire) = self.connection(port)?;
        let peer = peer.filter(|peer| peer.party.slot() == wire.to.slot).ok_or(Refusal::Moved)?;
        let port = self.port_of(index).ok_or(Refusal::NotSupported)?;
        port.arrivals().set_starved(false);
        let was_starved = core::mem::replace(&mut port.is_starved, false);
        Ok(if was_starved { peer.party.tell_about(wire.to.index) } else { None })
    }
}
