//! The two pages of a message port as hypervisor and guest share them (C2).
//!
//! Both lie in page slots of the guest's window region, and consist of 64-bit little-endian words.
//!
//! **Arrivals**, which the guest can only read: a header of eight words, then a ring of 63 entries of eight words.
//! Message number *n* (from 0, never reset while the port exists) lies in entry *n* mod 63, and is there when the entry's
//! [`SEQUENCE`] is *n* + 1: read that with acquire, before the other words.
//!
//! **Credits**, which the guest writes: [`POSTED`] says how many messages it has offered to take since the port was made,
//! [`CONSUMED`] how many it has taken. A message needs a credit (posted − arrived is 1 to 63), and one with an area also
//! a vacant slot of the window. To offer: store `POSTED` with release, execute a full fence, read the header's [`STARVED`],
//! and if it is not 0 call `CHANNEL_NOTIFY`; look there, too, when a slot of the window has become vacant. An event tells of a
//! message that found all others taken: to sleep, store `CONSUMED`, execute a full fence, and look for a message once more. A guest
//! that polls says so in [`POLLS`], and is told of no message; to be told again, it stores 0 there, executes a full fence, and looks
//! for a message once more.
//!
//! Who polls may sleep in WFE: the store of a message's [`SEQUENCE`] is an event to a core that has loaded the word by a load-exclusive,
//! which needs the right to read only. Room and the peer's end are interrupts; a masked one that is pending already ends no WFE (Arm ARM
//! D1.6.1), hence a look at ISR_EL1 between the two, and one at the highest pending interrupt of the GIC's CPU interface (GICC_HPPIR,
//! ICC_HPPIR1_EL1): an interrupt that waits behind another is signalled when the guest's end of that one arrives, which is no event. An event
//! stream (CNTKCTL_EL1) bounds the sleep instead of the two looks, or beside them.

/// Entries of the ring: the most messages that can wait.
pub const ARRIVALS: u64 = 63;
/// The most slots of a window.
pub const MAX_WINDOW: u16 = 60;
/// Words of the header, and of each entry.
pub const ENTRY_WORDS: usize = 8;

/// Header: [`CONNECTED`] or 0 in bit 0; above it how often the port was connected.
pub const STATE: usize = 0;
/// Header: not 0 if the peer waits for a credit.
pub const STARVED: usize = 1;
/// [`STATE`]: a peer is there.
pub const CONNECTED: u64 = 1;

/// Entry: the message's number + 1.
pub const SEQUENCE: usize = 0;
/// Entry: the handle of the area; 0 if the message has none.
pub const AREA: usize = 1;
/// Entry: the area's address.
pub const ADDRESS: usize = 2;
/// Entry: how many bytes of it are meant; at most its size.
pub const BYTES: usize = 3;
/// Entry: the first of the three words of the short message.
pub const SHORT: usize = 4;
/// Entry: the area's size in pages.
pub const PAGES: usize = 7;

/// Credits: messages that the guest has offered to take.
pub const POSTED: usize = 0;
/// Credits: messages that the guest has taken.
pub const CONSUMED: usize = 1;
/// Credits: not 0 while the guest looks for messages by itself, so that no event tells of them.
pub const POLLS: usize = 2;

/// The first word of the entry for message number `number`.
#[must_use]
pub fn entry(number: u64) -> usize {
    // Below 63, so that it fits.
    let index = usize::try_from(number % ARRIVALS).unwrap_or(0);
    index.wrapping_add(1).wrapping_mul(ENTRY_WORDS)
}

#[cfg(test)]
mod tests {
    use super::{ARRIVALS, ENTRY_WORDS, entry};

    #[test]
    fn the_ring_fills_the_page_behind_the_header() {
        assert_eq!((entry(0), entry(62), entry(63)), (8, 504, 8));
        assert_eq!(entry(ARRIVALS - 1) + ENTRY_WORDS, 512);
    }
}
