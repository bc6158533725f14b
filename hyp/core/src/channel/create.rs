//! Making a message port: its window and its two pages, all paid by the receiver that it will be.

use shikiri_abi::channel::MAX_WINDOW;
use shikiri_abi::{AreaClass, Ipa, Resource};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::{DirectMap, Frames, PageSlice};
use shikiri_stage2::Attributes;
use shikiri_sync::atomic::AtomicU64;

use super::port::Used;
use super::ring::WORDS;
use crate::area::{Estate, Home, Machine, Parts};
use crate::event::{Send, area};
use crate::handle::{Handle, Kind, Rights, find};
use crate::party::Refusal;

/// The window that a guest wants for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowWanted {
    /// Slots, up to 60; none for a port that only short messages come to.
    pub slots: u16,
    /// Their class: the class of all areas that can be sent there.
    pub class: AreaClass,
}

/// A port's own: its arrivals and its credits.
const PAGES: u64 = 2;

/// A port that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its handle.
    pub handle: Handle,
    /// Where the guest finds its arrivals page, read-only.
    pub arrivals: Ipa,
    /// Where the guest finds its credits page.
    pub credits: Ipa,
}

impl Estate<'_> {
    /// Makes a message port that tells its events at the receive port `events`. It is not connected, and has no credit: the guest
    /// posts what it wants.
    ///
    /// # Errors
    /// `NotSupported`; `BadHandle`; `Argument` 2 if the window is too large; `WrongState` if something is connected to the receive
    /// port; `OverLimit` of memory, IPA space (of the account, or too few slots are left) or management memory (of the
    /// account, or the tables of handles or ports are full); `NoMemory`. Nothing has changed then.
    pub fn create_port<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        machine: Machine<'_, '_, P, T, M>,
        events: Handle,
        WindowWanted { slots, class }: WindowWanted,
    ) -> Result<Created, Refusal> {
        let events = find(self.party.shared.entries, events, Kind::Receive, Rights::CHANGE)?;
        self.party.check_unconnected(events)?;
        let row = self.check_port(slots, class)?;
        let (memory, ipa_space, management) = charge_of(slots, class);
        self.holdings.account().check_all(&[
            (Resource::ManagementMemory, PAGES),
            (Resource::Memory, memory),
            (Resource::IpaSpace, ipa_space),
            (Resource::ManagementMemory, management),
        ])?;
        let frames = self.holdings.take_two_pages(machine.2).ok_or(Refusal::NoMemory)?;
        let Parts { account, areas, .. } = self.holdings.area_parts()?;
        if areas.charge(account, (memory, ipa_space, management)).is_err() {
            unreachable!("the account was asked");
        }
        let (entry, handle) = self.party.insert(Kind::Channel, Send::Idle.encode());
        let (port, [arrivals, credits]) = self.hang_pages(machine, frames, (entry, class));
        self.add_window(row, port, slots);
        self.party.tie(entry, events.index, row);
        Ok(Created { handle, arrivals, credits })
    }

    /// Checks that there is room for a port with such a window; answers its row.
    fn check_port(&mut self, slots: u16, class: AreaClass) -> Result<u16, Refusal> {
        let Parts { areas, .. } = self.holdings.area_parts()?;
        if slots > MAX_WINDOW {
            return Err(Refusal::Argument(2));
        }
        let row = areas.free_port().ok_or(Refusal::OverLimit(Resource::ManagementMemory))?;
        self.party.check_room_for(slots.saturating_add(1))?;
        // The port's own two pages besides.
        let pages = if class == AreaClass::Page { slots.saturating_add(2) } else { 2 };
        areas.slots.check_free(AreaClass::Page, pages)?;
        areas.slots.check_free(class, slots)?;
        Ok(row)
    }

    /// Clears a port's two pages and shows them to the guest; answers the port, without a window, and where they are.
    fn hang_pages<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
        frames: [Frames; 2],
        (entry, class): (u16, AreaClass),
    ) -> (Used, [Ipa; 2]) {
        let Ok(mut parts) = self.holdings.area_parts() else {
            unreachable!("a port of a partition that has no areas");
        };
        let pages = frames.map(|frames| PageSlice::from_fn(frames, WORDS, |_| AtomicU64::new(0)));
        let mut hang = |page: &PageSlice<AtomicU64>, attributes| {
            parts.show_page((mem, tlb), page.base(), attributes)
        };
        let [arrivals, credits] = &pages;
        let linked =
            [hang(arrivals, Attributes::RAM_READ_ONLY), hang(credits, Attributes::RAM_NO_EXECUTE)];
        let places = linked.each_ref().map(|linked| linked.slot().ipa());
        (Used::new(entry, class, linked, pages), places)
    }

    /// Gives a port its window, and the port its row.
    fn add_window(&mut self, row: u16, mut port: Used, slots: u16) {
        let Ok(Parts { areas, .. }) = self.holdings.area_parts() else { return };
        for bit in (0_u8..).take(usize::from(slots)) {
            let slot = areas.slots.take(port.class, Home::Window { port: row, bit });
            let (index, _) = self.party.insert(Kind::Vacant, area(slot));
            areas.slots.set_handle(slot, index);
            port.push(slot);
        }
        areas.set_port(row, Some(port));
    }
}

/// What a port costs beside its two frames: (memory, IPA space, management memory), in pages.
pub(super) const fn charge_of(slots: u16, class: AreaClass) -> (u64, u64, u64) {
    #[expect(clippy::as_conversions, reason = "u16 to u64 in a constant, widening")]
    let slots = slots as u64;
    let pages = class.pages().0.saturating_mul(slots);
    (pages, pages.saturating_add(2), class.most_tables().saturating_mul(slots))
}
