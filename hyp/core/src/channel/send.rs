//! Sending a message: check everything, then do what cannot fail (C3, C4; design, "The way of one message").

use shikiri_abi::{PAGE_BYTES, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};

use super::port::{Used, port_at};
use super::ring::{Entry, deliver, look_or_wait};
use crate::area::{Area, Areas, Estate, Slots, Source, Target, let_go};
use crate::event::{Raise, area};
use crate::frame::AreaRegistry;
use crate::handle::{Handle, HandleBook, HandleEntry, Kind};
use crate::party::{Refusal, Tells};

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

/// Sends a message from a port of `from`'s to its peer, a port of `to`'s. When it returns, the sender's cores cannot reach the
/// area any more, and then only the receiver was given it; or nothing has changed. Answers what to raise at the receiver.
///
/// The area is nowhere between `unlink` and `link`: that is what *in flight* means, and it is within this function. The
/// receiver's window was charged when its port was made, so that no account is asked. Each row is looked up once: the checks
/// keep what they find, and the commit uses it.
///
/// # Errors
/// `BadHandle`; `WrongState`, `Refused` and `PeerGone` as the port's connection says; `NotOwner`, or `WrongState` for an area that is
/// being made or freed; `Range` if more bytes are meant than the area has, or the receiver's window is of another
/// class; `Full` if the receiver has no credit or no vacant slot: an event comes when it says that it has; `Moved`.
pub fn send<'a, P: PhysMem, T: Tlb>(
    from: &mut Estate<'a>,
    to: Option<&mut Estate<'a>>,
    (mem, tlb): (&P, &T),
    registry: &AreaRegistry<'_>,
    (port, message): (Handle, Message),
) -> Result<Option<Raise>, Refusal> {
    // Check.
    let (_, wire) = from.connection(port)?;
    let to = to.filter(|to| to.party.slot() == wire.to.slot).ok_or(Refusal::Moved)?;
    let slot = from.slot_of_message(&message)?;
    let own = from.holdings.area_parts()?;
    let source = match slot {
        Some(slot) => Some((slot, check_source(&mut own.areas.slots, slot, message.bytes)?)),
        None => None,
    };
    let Tells { row, events } = to.party.tells(wire.to.index).ok_or(Refusal::PeerGone)?;
    let theirs = to.holdings.area_parts()?;
    let Areas { slots, ports, .. } = theirs.areas;
    let receiver = port_at(ports, row).ok_or(Refusal::PeerGone)?;
    let class = source.as_ref().map(|(slot, _)| slot.class);
    if class.is_some_and(|class| class != receiver.class || receiver.count == 0) {
        return Err(Refusal::Range);
    }
    let number = receiver.delivered;
    let has_credit = look_or_wait(receiver.arrivals(), receiver.credits(), number);
    if !has_credit {
        return Err(starve(receiver));
    }
    let goes = match source {
        None => None,
        Some((slot, source)) => match target_of(receiver, slots, to.party.shared.entries) {
            Some((bit, place, target)) => Some((slot, source, bit, place, target)),
            None => return Err(starve(receiver)),
        },
    };
    // Commit: nothing from here on can fail.
    let mut entry = Entry { bytes: message.bytes, short: message.short, ..Entry::default() };
    if let Some((slot, source, bit, place, target)) = goes {
        let (Area { number, linked }, home, index) = source.take();
        let subtree = own.space.unlink(mem, tlb, linked);
        let_go(&mut from.party, (own.areas, own.account), (slot, home, index), &subtree);
        registry.hand_over(number, from.party.slot(), to.party.slot());
        receiver.occupy(bit);
        entry.pages = subtree.pages().0;
        entry.address = place.ipa().0;
        let index = target.handle();
        target.put(Area { number, linked: theirs.space.link(mem, tlb, place, subtree) });
        let entries = to.party.shared.entries;
        match HandleBook::renew(entries, index, Kind::Area, area(place)) {
            Some(Handle(handle)) => entry.area = handle,
            None => unreachable!("the handle of a window slot was checked"),
        }
    }
    receiver.delivered = number.wrapping_add(1);
    let is_due = deliver(receiver.arrivals(), receiver.credits(), number, &entry);
    Ok(if is_due { to.party.tell_at(events) } else { None })
}

/// The area in a slot, if it is complete and has so many bytes.
#[inline(always)]
fn check_source(slots: &mut Slots, slot: WindowSlot, bytes: u64) -> Result<Source<'_>, Refusal> {
    let source = slots.source(slot)?;
    let fits = bytes <= source.pages().saturating_mul(PAGE_BYTES);
    if fits { Ok(source) } else { Err(Refusal::Range) }
}

/// The next vacant slot of a window, with its bit there, if its entry in the handle table can get another handle.
#[inline(always)]
fn target_of<'s>(
    port: &Used,
    slots: &'s mut Slots,
    entries: &[HandleEntry],
) -> Option<(u8, WindowSlot, Target<'s>)> {
    let (bit, slot) = port.vacant()?;
    let target = slots.target(slot)?;
    HandleBook::can_renew(entries, target.handle()).then_some((bit, slot, target))
}

/// There is no room: the receiver is told that somebody waits.
#[cold]
fn starve(port: &mut Used) -> Refusal {
    port.is_starved = true;
    port.arrivals().set_starved(true);
    Refusal::Full
}

impl<'a> Estate<'a> {
    /// The slot of the area that goes with a message, if one does.
    #[inline(always)]
    fn slot_of_message(&self, message: &Message) -> Result<Option<WindowSlot>, Refusal> {
        match message.area {
            Some(handle) => self.slot_of(handle).map(Some),
            None if message.bytes == 0 => Ok(None),
            None => Err(Refusal::Range),
        }
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
