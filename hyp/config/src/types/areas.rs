//! Message channels and shared areas, and the windows where partitions see them.

use shikiri_abi::{AreaClass, IntId, PageCount, VcpuIndex};

use super::PartitionSet;

/// The most message channels that one partition has by the description.
pub const MAX_CHANNELS: usize = 64;
/// The most shared areas of a description.
pub const MAX_SHARED: usize = 32;
/// The most shares of a partition: some operations look at each.
pub const MAX_SHARES: u16 = 64;

/// A message channel that is there before the guests run: whenever both partitions live.
///
/// What a partition has for it takes known places in its tables, behind those of its [`Event`](crate::Event)s and
/// [`SharedArea`]s: see [`Bundle::places`](crate::Bundle::places).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel<'a> {
    /// What the guests' device trees call it.
    pub name: &'a str,
    /// The class of the window slots of both ends.
    pub class: AreaClass,
    /// Its two ends.
    pub ends: [ChannelEnd; 2],
}

/// One end of a message channel of the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelEnd {
    /// The partition's position.
    pub partition: usize,
    /// Slots of its window, 60 at most.
    pub slots: u16,
    /// The SPI at which it is told, its alone.
    pub intid: IntId,
    /// The vCPU that it is routed to first.
    pub vcpu: VcpuIndex,
}

impl Channel<'_> {
    /// The end of the partition at this position, and the other one.
    #[must_use]
    pub fn ends_for(&self, partition: usize) -> Option<[ChannelEnd; 2]> {
        let [first, second] = self.ends;
        if first.partition == partition {
            Some([first, second])
        } else if second.partition == partition {
            Some([second, first])
        } else {
            None
        }
    }
}

/// An area that partitions share from their start (V7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedArea<'a> {
    /// What the guests' device trees call it.
    pub name: &'a str,
    /// Its size.
    pub pages: PageCount,
    /// Its slot.
    pub class: AreaClass,
    /// Who has it.
    pub partitions: PartitionSet,
    /// Who of them may write.
    pub writers: PartitionSet,
}

/// Where the first end lies that a partition has not made yet: its receive port's place in the table of handles, with the message
/// port behind it and then a handle for each slot of the window; and how many slots of each class lie before its own: the two
/// pages of 4 KiB come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Handles before it.
    pub handles: u64,
    /// Slots before it: of 4 KiB, 2 MiB, 1 GiB.
    pub slots: [u64; 3],
    /// Message ports before it.
    pub ports: u64,
}

impl Places {
    /// Behind the handles of a partition's events.
    #[must_use]
    pub const fn behind_events(events: u64) -> Self {
        Self { handles: events, slots: [0; 3], ports: 0 }
    }

    /// Behind one more shared area, whose slot is of this class.
    #[must_use]
    pub const fn behind_shared(self, class: AreaClass) -> Self {
        let [pages, blocks, giants] = self.slots;
        Self {
            handles: self.handles.saturating_add(1),
            slots: match class {
                AreaClass::Page => [pages.saturating_add(1), blocks, giants],
                AreaClass::Block => [pages, blocks.saturating_add(1), giants],
                AreaClass::Giant => [pages, blocks, giants.saturating_add(1)],
            },
            ports: self.ports,
        }
    }

    /// Behind one more end.
    #[must_use]
    pub const fn behind(self, class: AreaClass, slots: u16) -> Self {
        let [low, high] = slots.to_le_bytes();
        let slots = u64::from_le_bytes([low, high, 0, 0, 0, 0, 0, 0]);
        let [pages, blocks, giants] = self.slots;
        let pages = pages.saturating_add(2);
        Self {
            handles: self.handles.saturating_add(2).saturating_add(slots),
            slots: match class {
                AreaClass::Page => [pages.saturating_add(slots), blocks, giants],
                AreaClass::Block => [pages, blocks.saturating_add(slots), giants],
                AreaClass::Giant => [pages, blocks, giants.saturating_add(slots)],
            },
            ports: self.ports.saturating_add(1),
        }
    }
}

/// How many message areas and channels a partition may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Slots of 4 KiB, 4,096 at most; each message port takes two for its pages.
    pub pages: u16,
    /// Slots of 2 MiB, 512 at most.
    pub blocks: u16,
    /// Slots of 1 GiB, 510 at most.
    pub giants: u16,
    /// Message ports.
    pub channels: u16,
    /// Shares in shared areas, [`MAX_SHARES`] at most: own areas that it offers, and attachments.
    pub shared: u16,
}

impl Windows {
    /// Whether the partition has any areas or channels.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The slots of one class.
    #[must_use]
    pub const fn of(self, class: AreaClass) -> u16 {
        match class {
            AreaClass::Page => self.pages,
            AreaClass::Block => self.blocks,
            AreaClass::Giant => self.giants,
        }
    }

    /// All its slots.
    #[must_use]
    pub fn slots(self) -> u64 {
        AreaClass::ALL.into_iter().map(|class| u64::from(self.of(class))).sum()
    }

    /// The pages of management memory that its tables take; a test compares them with the hypervisor's records.
    #[must_use]
    pub fn tables_pages(self) -> u64 {
        if self.is_none() {
            return 0;
        }
        let runs = |count: u64, bytes: u64| {
            count.saturating_mul(bytes).div_ceil(shikiri_abi::PAGE_BYTES).max(1)
        };
        let lowest = u64::from(self.pages.div_ceil(512));
        let tables = lowest.saturating_add(u64::from(lowest > 0));
        tables
            .saturating_add(u64::from(self.blocks > 0))
            .saturating_add(runs(self.slots(), SLOT_BYTES))
            .saturating_add(runs(u64::from(self.channels), CHANNEL_BYTES))
            .saturating_add(runs(u64::from(self.shared), SHARE_BYTES))
    }
}

/// What the hypervisor keeps of a window slot.
const SLOT_BYTES: u64 = 56;
/// What the hypervisor keeps of a message port.
const CHANNEL_BYTES: u64 = 296;
/// What the hypervisor keeps of a share.
const SHARE_BYTES: u64 = 136;
