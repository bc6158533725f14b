//! Whom a partition may reach: events, services, and objects by their names.

use shikiri_abi::{IntId, VcpuIndex};

use super::PartitionSet;

/// The most events that one partition sends and receives by the description.
pub const MAX_EVENTS: usize = 64;
/// The most services of a description: a request looks at each.
pub const MAX_SERVICES: usize = 256;
/// The most objects that all entries for names have together.
pub const MAX_OBJECTS: usize = 256;

/// How much a partition may talk, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// Entries of its handle table: its ports, and requests of others that it has taken. With 0 it cannot talk.
    pub handles: u16,
    /// Requests of its own that can wait at others.
    pub requests: u16,
    /// Whom it may ask for connections.
    pub connect_to: PartitionSet,
    /// Whose requests it gets.
    pub accept_from: PartitionSet,
}

impl Talk {
    /// The pages of management memory that its tables take; a test compares them with the hypervisor's records.
    #[must_use]
    pub fn pages(self) -> u64 {
        if self.handles == 0 {
            return 0;
        }
        let runs = |count: u16, bytes: u64| {
            u64::from(count).saturating_mul(bytes).div_ceil(shikiri_abi::PAGE_BYTES).max(1)
        };
        // The state; handles and what lies beside them; the bitmap; requests.
        let tables =
            [runs(self.handles, 16), runs(self.handles, 12), runs(self.handles.div_ceil(64), 8)];
        tables.into_iter().fold(1, u64::saturating_add).saturating_add(runs(self.requests, 24))
    }
}

/// A connection for events that is there before the guests run: whenever both partitions live.
///
/// The ports are the first that each partition has, in the order of the description, so that their handles are known: see
/// [`Bundle::events`](crate::Bundle::events).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What the guests' device trees call it.
    pub name: &'a str,
    /// The sender's position.
    pub from: usize,
    /// The receiver's position.
    pub to: usize,
    /// The SPI that the receiver sees, its alone.
    pub intid: IntId,
    /// The receiver's vCPU that it is routed to first.
    pub vcpu: VcpuIndex,
}

impl Event<'_> {
    /// Whether the partition at this position sends or receives it.
    #[must_use]
    pub const fn concerns(&self, partition: usize) -> bool {
        self.from == partition || self.to == partition
    }

    /// With whom it connects the partition at this position, if it concerns that.
    #[must_use]
    pub const fn peer_of(&self, partition: usize) -> Option<usize> {
        if self.from == partition {
            Some(self.to)
        } else if self.to == partition {
            Some(self.from)
        } else {
            None
        }
    }
}

/// A service that a partition offers by the description. Once it has one, it is asked for nothing that no such entry opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// What messages and guests' device trees call it.
    pub name: &'a str,
    /// The position of the partition that it is asked at.
    pub of: usize,
    /// What a request for it gives: one number for events, channels and shared areas.
    pub number: u32,
    /// Who may ask for it: [`PartitionSet::ALL`] is whoever may ask the partition at all.
    pub to: PartitionSet,
}

/// Who may open objects of one name, or of all names that begin alike (V4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameEntry<'a> {
    /// The name, or how the names begin.
    pub text: &'a str,
    /// All names that begin with `text`, `text` itself included; else only `text`.
    pub is_prefix: bool,
    /// Who may open them.
    pub partitions: PartitionSet,
    /// Objects that there can be of this entry at one time; 1 if it is one name.
    pub objects: u16,
}
