//! The words in the handle table that say what a port is connected to.
//!
//! The lowest byte says what the word is ([`Tag`]), so that a compare-and-swap that was meant for a receive port
//! never fits anything else.
//!
//! ```text
//! bits       0–7       8–15      16–31                     32–63
//! receive    Receive   flags     INTID 16–25, vCPU 26–31   serial
//! send       state     peer's slot   peer's index, record  serial (connected only)
//! request    Asked     asker's slot  asker's index         –
//! area       Area      class     window slot's index   –
//! object     Object    –         row of the table          –
//! ```

use shikiri_abi::{AreaClass, IntId, PartitionSlot, VcpuIndex, WindowSlot};

use super::Raise;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// A receive port.
    Receive,
    /// A send port that was never connected.
    Idle,
    /// A send port whose request waits at the other party.
    Queued,
    /// A send port whose request was taken and not yet answered.
    Taken,
    /// A connected send port.
    Connected,
    /// A send port whose peer refused.
    Refused,
    /// A send port whose peer has closed or ended.
    Gone,
    /// A request that was taken, at the party that took it.
    Asked,
    /// A request whose asker has closed its port or ended.
    Withdrawn,
    /// A message area, or the window slot that waits for one.
    Area,
    /// A named object.
    Object,
}

impl Tag {
    const fn code(self) -> u8 {
        match self {
            Self::Receive => 1,
            Self::Idle => 2,
            Self::Queued => 3,
            Self::Taken => 4,
            Self::Connected => 5,
            Self::Refused => 6,
            Self::Gone => 7,
            Self::Asked => 8,
            Self::Withdrawn => 9,
            Self::Area => 10,
            Self::Object => 16,
        }
    }
}

/// A port of some partition: its slot, and the port's index in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortId {
    pub(crate) slot: PartitionSlot,
    pub(crate) index: u16,
}

/// A connection as its sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) to: PortId,
    pub(crate) serial: u32,
}

impl Wire {
    /// The connection of a send port; `None` if it has none.
    #[inline]
    pub(crate) fn decode(word: u64) -> Option<Self> {
        let [tag, slot, i0, i1, s0, s1, s2, s3] = word.to_le_bytes();
        let to = PortId { slot: PartitionSlot(slot), index: u16::from_le_bytes([i0, i1]) };
        let serial = u32::from_le_bytes([s0, s1, s2, s3]);
        (tag == Tag::Connected.code()).then_some(Self { to, serial })
    }
}

/// A send port's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    Idle,
    /// Its request waits at `to`, as its own party's record `record`.
    Queued {
        to: PartitionSlot,
        record: u16,
    },
    /// Its request is the handle `by` names.
    Taken {
        by: PortId,
    },
    Connected(Wire),
    Refused,
    Gone,
}

impl Send {
    pub(crate) const fn encode(self) -> u64 {
        let (tag, slot, index, serial) = match self {
            Self::Idle => (Tag::Idle, 0, 0, 0),
            Self::Queued { to: PartitionSlot(slot), record } => (Tag::Queued, slot, record, 0),
            Self::Taken { by: PortId { slot: PartitionSlot(slot), index } } => {
                (Tag::Taken, slot, index, 0)
            }
            Self::Connected(Wire { to: PortId { slot: PartitionSlot(slot), index }, serial }) => {
                (Tag::Connected, slot, index, serial)
            }
            Self::Refused => (Tag::Refused, 0, 0, 0),
            Self::Gone => (Tag::Gone, 0, 0, 0),
        };
        pack(tag, slot, index, serial)
    }

    pub(crate) fn decode(word: u64) -> Option<Self> {
        let (tag, port) = port_of(word);
        let tags = [Tag::Idle, Tag::Queued, Tag::Taken, Tag::Connected, Tag::Refused, Tag::Gone];
        Some(match tags.into_iter().find(|known| known.code() == tag)? {
            Tag::Idle => Self::Idle,
            Tag::Queued => Self::Queued { to: port.slot, record: port.index },
            Tag::Taken => Self::Taken { by: port },
            Tag::Connected => Self::Connected(Wire::decode(word)?),
            Tag::Refused => Self::Refused,
            Tag::Gone => Self::Gone,
            Tag::Receive | Tag::Asked | Tag::Withdrawn | Tag::Area | Tag::Object => return None,
        })
    }
}

/// The word of a request: of the port that asked, or of one that has withdrawn.
pub(crate) const fn request(asker: Option<PortId>) -> u64 {
    match asker {
        Some(PortId { slot: PartitionSlot(slot), index }) => pack(Tag::Asked, slot, index, 0),
        None => pack(Tag::Withdrawn, 0, 0, 0),
    }
}

/// Who asked; `None` if it has withdrawn.
pub(crate) fn asker(word: u64) -> Option<PortId> {
    let (tag, port) = port_of(word);
    (tag == Tag::Asked.code()).then_some(port)
}

/// The word of an area, or of a window slot that waits for one: where it is.
pub(crate) const fn area(slot: WindowSlot) -> u64 {
    pack(Tag::Area, slot.class.code(), slot.index, 0)
}

/// Where an area is; `None` for another word.
pub(crate) fn area_slot(word: u64) -> Option<WindowSlot> {
    let (tag, PortId { slot: PartitionSlot(class), index }) = port_of(word);
    let class = AreaClass::from_code(u64::from(class))?;
    (tag == Tag::Area.code()).then_some(WindowSlot { class, index })
}

/// The word of a named object: its row in the table.
pub(crate) const fn object(row: u16) -> u64 {
    pack(Tag::Object, 0, row, 0)
}

/// The row of a named object; `None` if the word is another thing's.
pub(crate) fn row_of(word: u64) -> Option<u16> {
    let (tag, port) = port_of(word);
    (tag == Tag::Object.code()).then_some(port.index)
}

const fn pack(tag: Tag, slot: u8, index: u16, serial: u32) -> u64 {
    let ([i0, i1], [s0, s1, s2, s3]) = (index.to_le_bytes(), serial.to_le_bytes());
    u64::from_le_bytes([tag.code(), slot, i0, i1, s0, s1, s2, s3])
}

const fn port_of(word: u64) -> (u8, PortId) {
    let [tag, slot, i0, i1, ..] = word.to_le_bytes();
    (tag, PortId { slot: PartitionSlot(slot), index: u16::from_le_bytes([i0, i1]) })
}

/// A receive port's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receive(pub(crate) u64);

const TAG_BITS: u64 = 0xff;
const INTID_SHIFT: u32 = 16;
const VCPU_SHIFT: u32 = 26;
const SERIAL: u64 = 0xffff_ffff << 32;

impl Receive {
    /// Something is connected to it: a send port, or the party's own control signals.
    pub(crate) const CONNECTED: u64 = 1 << 8;
    /// The guest has masked it.
    pub(crate) const MASKED: u64 = 1 << 9;
    /// An event is kept.
    pub(crate) const PENDING: u64 = 1 << 10;
    /// It has an INTID.
    pub(crate) const BOUND: u64 = 1 << 11;
    /// It shares the INTID with others.
    pub(crate) const GROUPED: u64 = 1 << 12;

    /// A new port.
    pub(crate) const fn new(serial: u32) -> Self {
        Self(pack(Tag::Receive, 0, 0, serial))
    }

    /// What a connected port's word must show to an event of the connection `serial`.
    #[inline]
    pub(crate) const fn connected(serial: u32) -> Self {
        Self::new(serial).with(Self::CONNECTED)
    }

    /// Whether tag, connection and serial are those of `key`.
    #[inline]
    pub(crate) const fn matches(self, key: Self) -> bool {
        (self.0 ^ key.0) & (TAG_BITS | Self::CONNECTED | SERIAL) == 0
    }

    #[inline]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    pub(crate) const fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }

    pub(crate) const fn without(self, flag: u64) -> Self {
        Self(self.0 & !flag)
    }

    /// With a new serial, which events of the former connection do not have.
    pub(crate) const fn renumbered(self, serial: u32) -> Self {
        let Self(new) = Self::new(serial);
        Self(self.0 & !SERIAL | new & SERIAL)
    }

    /// Bound to an SPI below 1,020, first routed to one of 64 vCPUs.
    pub(crate) fn bound(self, intid: IntId, vcpu: VcpuIndex) -> Self {
        let place = u64::from(intid.0 & 0x3ff) << INTID_SHIFT;
        Self(self.0 | Self::BOUND | place | u64::from(vcpu.0 & 0x3f) << VCPU_SHIFT)
    }

    /// Without the flag, if what it keeps goes out as the INTID's own pending state.
    pub(crate) const fn settled(self) -> Self {
        if self.is_direct() { self.without(Self::PENDING) } else { self }
    }

    /// Whether it is a receive port at all.
    #[inline]
    pub(crate) const fn is_receive(self) -> bool {
        self.0 & TAG_BITS == Self::new(0).0
    }

    /// Whether events go to the INTID without a flag here.
    #[inline]
    pub(crate) const fn is_direct(self) -> bool {
        self.0 & (Self::BOUND | Self::GROUPED | Self::MASKED) == Self::BOUND
    }

    /// Whether it has an INTID of its own.
    pub(crate) const fn is_alone(self) -> bool {
        self.0 & (Self::BOUND | Self::GROUPED) == Self::BOUND
    }

    /// Whether events go to the bitmap and an INTID.
    #[inline]
    pub(crate) const fn is_grouped(self) -> bool {
        let needed = Self::BOUND | Self::GROUPED;
        self.0 & (needed | Self::MASKED) == needed
    }

    pub(crate) const fn intid(self) -> IntId {
        let [_, _, low, high, ..] = self.0.to_le_bytes();
        IntId(u16::from_le_bytes([low, high & 3]))
    }

    pub(crate) const fn vcpu(self) -> VcpuIndex {
        let [_, _, _, high, ..] = self.0.to_le_bytes();
        VcpuIndex(high >> 2)
    }

    #[inline]
    pub(crate) const fn raise(self, partition: PartitionSlot) -> Raise {
        Raise { partition, intid: self.intid(), vcpu: self.vcpu() }
    }
}

#[cfg(test)]
mod tests {
    use super::{PortId, Receive, Send, Wire, area, area_slot, asker, object, request, row_of};
    use shikiri_abi::{AreaClass, IntId, PartitionSlot, VcpuIndex, WindowSlot};

    const PORT: PortId = PortId { slot: PartitionSlot(255), index: 0xfffe };

    #[test]
    fn every_state_of_a_send_port_comes_back() {
        let wire = Wire { to: PORT, serial: u32::MAX };
        let all = [
            Send::Idle,
            Send::Queued { to: PartitionSlot(7), record: 0xffff },
            Send::Taken { by: PORT },
            Send::Connected(wire),
            Send::Refused,
            Send::Gone,
        ];
        for state in all {
            let word = state.encode();
            assert_eq!(Send::decode(word), Some(state));
            assert_eq!(Wire::decode(word), (state == Send::Connected(wire)).then_some(wire));
            assert!(!Receive(word).is_receive() && asker(word).is_none());
        }
        let others = [0, Receive::new(1).0, request(Some(PORT)), request(None), object(3), 0xff];
        for word in others {
            assert_eq!(Send::decode(word), None);
            assert_eq!(row_of(word), (word == object(3)).then_some(3));
        }
        assert_eq!((asker(request(Some(PORT))), asker(request(None))), (Some(PORT), None));
    }

    #[test]
    fn an_areas_place_comes_back() {
        for class in AreaClass::ALL {
            for index in [0, 509, 4095] {
                let slot = WindowSlot { class, index };
                assert_eq!(area_slot(area(slot)), Some(slot));
                assert_eq!(Send::decode(area(slot)), None);
                assert!(!Receive(area(slot)).is_receive() && asker(area(slot)).is_none());
            }
        }
        assert_eq!(area_slot(Send::Idle.encode()), None);
    }

    #[test]
    fn a_receive_port_keeps_its_parts_apart() {
        for (intid, vcpu) in [(32, 0), (1019, 63), (512, 33)] {
            let word = Receive::new(u32::MAX).with(Receive::GROUPED);
            let word = word.bound(IntId(intid), VcpuIndex(vcpu));
            assert_eq!((word.intid(), word.vcpu()), (IntId(intid), VcpuIndex(vcpu)));
            assert!(word.is_receive() && word.is_grouped() && !word.is_direct());
            assert!(!word.has(Receive::CONNECTED) && !word.has(Receive::PENDING));
            let next = word.renumbered(1).with(Receive::CONNECTED);
            assert!(next.matches(Receive::connected(1)) && !next.matches(Receive::connected(2)));
            assert_eq!(next.intid(), IntId(intid));
        }
    }
}
