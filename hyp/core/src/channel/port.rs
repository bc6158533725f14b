//! A message port's row: its window, its two pages, and how many messages have come.

use shikiri_abi::channel::MAX_WINDOW;
use shikiri_abi::{AreaClass, Pa, WindowSlot};
use shikiri_pages::PageSlice;
use shikiri_stage2::Linked;
use shikiri_sync::atomic::AtomicU64;

use super::ring::{Arrivals, Credits};
use crate::area::Areas;

const WINDOW: usize = 60;
const _: () = assert!(MAX_WINDOW == 60, "the row has a place for each slot");

/// A row of the table of message ports.
#[derive(Debug)]
pub struct Port {
    used: Option<Used>,
}

/// A row in use.
#[derive(Debug)]
pub(crate) struct Used {
    /// The port's entry in the handle table.
    pub(crate) entry: u16,
    /// Where its pages hang: arrivals, credits.
    pub(super) linked: [Linked; 2],
    arrivals: PageSlice<AtomicU64>,
    credits: PageSlice<AtomicU64>,
    pub(crate) class: AreaClass,
    /// The window's slots, by bit.
    slots: [u16; WINDOW],
    pub(super) count: u16,
    /// The bits of the slots that wait for an area.
    vacant: u64,
    /// Messages that have come.
    pub(super) delivered: u64,
    /// How often it was connected.
    pub(super) peers: u64,
    /// The peer was told that there is no room.
    pub(super) is_starved: bool,
}

impl Port {
    /// A free row.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: None }
    }

    /// The frame of the port's page that hangs at a slot, and whether the guest may write there.
    pub(crate) fn page_at(&self, slot: WindowSlot) -> Option<(Pa, bool)> {
        let used = self.used.as_ref()?;
        let pages = [(used.arrivals.base(), false), (used.credits.base(), true)];
        used.linked.iter().zip(pages).find_map(|(at, page)| (at.slot() == slot).then_some(page))
    }

    /// The window of a row in use: class and number of slots.
    pub(crate) fn window(&self) -> Option<(AreaClass, u16)> {
        self.used.as_ref().map(|used| (used.class, used.count))
    }
}

impl Default for Port {
    fn default() -> Self {
        Self::new()
    }
}

impl Used {
    /// A port whose window has no slots yet.
    pub(super) fn new(
        entry: u16,
        class: AreaClass,
        linked: [Linked; 2],
        [arrivals, credits]: [PageSlice<AtomicU64>; 2],
    ) -> Self {
        Self {
            entry,
            linked,
            arrivals,
            credits,
            class,
            slots: [0; WINDOW],
            count: 0,
            vacant: 0,
            delivered: 0,
            peers: 0,
            is_starved: false,
        }
    }

    /// Adds a vacant slot to the window; the bit that it has.
    pub(super) fn push(&mut self, slot: WindowSlot) {
        self.set_slot(self.count, slot);
        self.vacant |= 1_u64.wrapping_shl(u32::from(self.count));
        self.count = self.count.saturating_add(1);
    }

    fn set_slot(&mut self, bit: u16, slot: WindowSlot) {
        if let Some(place) = self.slots.get_mut(usize::from(bit)) {
            *place = slot.index;
        }
    }

    /// The slots of the window.
    pub(super) fn window(&self) -> impl Iterator<Item = WindowSlot> + use<> {
        let (class, slots, count) = (self.class, self.slots, usize::from(self.count));
        slots.into_iter().take(count).map(move |index| WindowSlot { class, index })
    }

    /// A vacant slot, with its bit.
    #[inline(always)]
    pub(super) fn vacant(&self) -> Option<(u8, WindowSlot)> {
        let bit = u8::try_from(self.vacant.trailing_zeros()).ok()?;
        let index = *self.slots.get(usize::from(bit))?;
        Some((bit, WindowSlot { class: self.class, index }))
    }

    /// Takes a slot out of the vacant ones.
    pub(super) const fn occupy(&mut self, bit: u8) {
        self.vacant &= !mask(bit);
    }

    pub(super) fn arrivals(&self) -> Arrivals<'_> {
        Arrivals(&self.arrivals)
    }

    pub(super) fn credits(&self) -> Credits<'_> {
        Credits(&self.credits)
    }

    /// Ends the row; its pages hang in no slot any more.
    pub(super) fn into_parts(self) -> ([Linked; 2], [PageSlice<AtomicU64>; 2]) {
        (self.linked, [self.arrivals, self.credits])
    }
}

/// A bit below 60.
#[expect(clippy::as_conversions, reason = "u8 to u32 in a constant, widening")]
const fn mask(bit: u8) -> u64 {
    1_u64.wrapping_shl(bit as u32)
}

/// A port's row.
#[inline(always)]
pub(super) fn port_at(ports: &mut [Port], row: u16) -> Option<&mut Used> {
    ports.get_mut(usize::from(row))?.used.as_mut()
}

impl Areas {
    /// A port's row.
    #[inline]
    pub(super) fn port(&mut self, row: u16) -> Option<&mut Used> {
        port_at(&mut self.ports, row)
    }

    /// The first free row.
    pub(super) fn free_port(&self) -> Option<u16> {
        let free = self.ports.iter().position(|port| port.used.is_none())?;
        u16::try_from(free).ok()
    }

    /// The first row in use: its number, and the port's entry in the handle table.
    pub(crate) fn used_port(&self) -> Option<(u16, u16)> {
        let mut numbered = (0_u16..).zip(self.ports.iter());
        numbered.find_map(|(row, port)| Some((row, port.used.as_ref()?.entry)))
    }

    /// Puts a port into a free row, or takes it out.
    pub(super) fn set_port(&mut self, row: u16, used: Option<Used>) -> Option<Used> {
        core::mem::replace(&mut self.ports.get_mut(usize::from(row))?.used, used)
    }

    /// A window's slot waits for the next area.
    pub(crate) fn offer(&mut self, row: u16, bit: u8) {
        if let Some(port) = self.port(row) {
            port.vacant |= mask(bit);
        }
    }

    /// A window gets another slot, which is vacant, in exchange for one that was kept.
    pub(crate) fn exchange(&mut self, row: u16, bit: u8, fresh: WindowSlot) {
        if let Some(port) = self.port(row) {
            port.set_slot(u16::from(bit), fresh);
            port.vacant |= mask(bit);
        }
    }
}
