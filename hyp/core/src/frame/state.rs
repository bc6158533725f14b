//! The states of a frame, and the steps between them.

use core::fmt;

use shikiri_abi::PartitionSlot;

use super::AreaNumber;

/// Who owns a frame of RAM, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameState {
    /// Nobody's. It may still hold what its last owner wrote: whoever hands it to a partition clears it.
    Free,
    /// The hypervisor's image, stacks, tables of its own, and this ledger.
    Hypervisor,
    /// A partition's memory, which only it can access.
    Private(PartitionSlot),
    /// What the hypervisor keeps for a partition: translation tables, vCPU state, queues (P3 d).
    Management(PartitionSlot),
    /// Part of an area (C3), be it shared (C5). Who has or keeps the area is in the [`super::AreaRegistry`].
    Area(AreaNumber),
    /// A translation table that belongs to a message area and moves with it.
    AreaTable(AreaNumber),
    /// RAM that a device of this partition uses by itself.
    Device(PartitionSlot),
    /// A device of an ended partition may still write here; nobody's until that device was reset.
    Quarantined(PartitionSlot),
}

const FREE: u8 = 0;
const HYPERVISOR: u8 = 1;
const PRIVATE: u8 = 2;
const MANAGEMENT: u8 = 3;
const AREA: u8 = 4;
const DEVICE: u8 = 6;
const QUARANTINED: u8 = 7;
const AREA_TABLE: u8 = 8;

impl FrameState {
    /// Whose frame it is; `None` if free, the hypervisor's, or an area's ([`super::Ledger::owner`] knows that, too).
    #[must_use]
    pub const fn owner(self) -> Option<PartitionSlot> {
        match self {
            Self::Free | Self::Hypervisor | Self::Area(_) | Self::AreaTable(_) => None,
            Self::Private(owner)
            | Self::Management(owner)
            | Self::Device(owner)
            | Self::Quarantined(owner) => Some(owner),
        }
    }

    /// The area that the frame belongs to.
    #[must_use]
    pub const fn area(self) -> Option<AreaNumber> {
        match self {
            Self::Area(area) | Self::AreaTable(area) => Some(area),
            Self::Free
            | Self::Hypervisor
            | Self::Private(_)
            | Self::Management(_)
            | Self::Device(_)
            | Self::Quarantined(_) => None,
        }
    }

    /// Who has the frame: its owner, except that nobody has one in quarantine. Areas' are counted in their registry.
    pub(super) const fn holder(self) -> Option<PartitionSlot> {
        match self {
            Self::Quarantined(_) => None,
            Self::Free
            | Self::Hypervisor
            | Self::Private(_)
            | Self::Management(_)
            | Self::Area(_)
            | Self::AreaTable(_)
            | Self::Device(_) => self.owner(),
        }
    }

    /// Whether a frame may go from this state to `next` in one step. A frame never goes from one partition
    /// to another (an area does, and its frames' states do not change), and never back from quarantine but through
    /// *free*. From one area to another it goes if both are the same partition's, which only the registry knows.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        let stays = self.owner() == next.owner();
        match (self, next) {
            (Self::Free, Self::Free | Self::Quarantined(_)) => false,
            (Self::Free, _) | (_, Self::Free) => true,
            // A part of an area becomes another's.
            (Self::Area(one), Self::Area(other)) => one.0 != other.0,
            (Self::Private(_) | Self::Device(_), Self::Quarantined(_)) => stays,
            (
                Self::Hypervisor
                | Self::Private(_)
                | Self::Management(_)
                | Self::Area(_)
                | Self::AreaTable(_)
                | Self::Device(_)
                | Self::Quarantined(_),
                _,
            ) => false,
        }
    }

    /// The ledger's entry: state, owner, area (two bytes).
    pub(super) const fn encode(self) -> u32 {
        let (kind, owner, area) = match self {
            Self::Free => (FREE, 0, 0),
            Self::Hypervisor => (HYPERVISOR, 0, 0),
            Self::Private(PartitionSlot(owner)) => (PRIVATE, owner, 0),
            Self::Management(PartitionSlot(owner)) => (MANAGEMENT, owner, 0),
            Self::Area(AreaNumber(area)) => (AREA, 0, area),
            Self::AreaTable(AreaNumber(area)) => (AREA_TABLE, 0, area),
            Self::Device(PartitionSlot(owner)) => (DEVICE, owner, 0),
            Self::Quarantined(PartitionSlot(owner)) => (QUARANTINED, owner, 0),
        };
        let [low, high] = area.to_le_bytes();
        u32::from_le_bytes([kind, owner, low, high])
    }

    /// Reads an entry. What no `encode` wrote is the hypervisor's: nobody gets such a frame.
    pub(super) const fn decode(entry: u32) -> Self {
        let [kind, owner, low, high] = entry.to_le_bytes();
        let owner = PartitionSlot(owner);
        match kind {
            FREE => Self::Free,
            PRIVATE => Self::Private(owner),
            MANAGEMENT => Self::Management(owner),
            AREA => Self::Area(AreaNumber(u16::from_le_bytes([low, high]))),
            AREA_TABLE => Self::AreaTable(AreaNumber(u16::from_le_bytes([low, high]))),
            DEVICE => Self::Device(owner),
            QUARANTINED => Self::Quarantined(owner),
            _ => Self::Hypervisor,
        }
    }
}

impl fmt::Display for FrameState {
    /// Names the partition by its slot; whoever knows the description puts the name there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Hypervisor => f.write_str("the hypervisor's"),
            Self::Private(owner) => write!(f, "memory of partition #{}", owner.0),
            Self::Management(owner) => write!(f, "management memory of partition #{}", owner.0),
            Self::Area(area) => write!(f, "in message area {}", area.0),
            Self::AreaTable(area) => write!(f, "a table of message area {}", area.0),
            Self::Device(owner) => write!(f, "device memory of partition #{}", owner.0),
            Self::Quarantined(owner) => {
                write!(f, "quarantined, last of partition #{}", owner.0)
            }
        }
    }
}
