//! A partition as a whole: its place, its restarts, its virtual devices, what the hypervisor keeps of it.

use shikiri_abi::{IntId, Ipa};

/// The most partitions in a description.
pub const MAX_PARTITIONS: usize = 64;
/// The most bytes of a partition's name.
pub const MAX_NAME_BYTES: usize = 31;

/// Some of a description's partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSet(pub u64);

impl PartitionSet {
    /// None of them.
    pub const EMPTY: Self = Self(0);
    /// All places, those for partitions that are made at run time among them.
    pub const ALL: Self = Self(u64::MAX);

    /// The set of one partition, by its position; the empty set if there is no such position.
    #[must_use]
    pub fn one(index: usize) -> Self {
        u32::try_from(index)
            .ok()
            .and_then(|index| 1_u64.checked_shl(index))
            .map_or(Self::EMPTY, Self)
    }

    /// Whether the partition at this position is in the set.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        self.0 & Self::one(index).0 != 0
    }

    /// This set and `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The positions in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_PARTITIONS).filter(move |index| self.contains(*index))
    }
}

/// When a partition that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Only by the operator.
    Never,
    /// After a fault, a reset request, or an end with a code other than 0.
    OnFault,
    /// After every end.
    Always,
}

impl RestartPolicy {
    #[cfg(feature = "alloc")]
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::OnFault => 1,
            Self::Always => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Never),
            1 => Some(Self::OnFault),
            2 => Some(Self::Always),
            _ => None,
        }
    }
}

/// Restarting, with its brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When.
    pub policy: RestartPolicy,
    /// At most this many restarts within the window, then the partition stays ended. 0 = no bound.
    pub max: u32,
    /// The window in milliseconds.
    pub window_ms: u32,
    /// Pause between end and restart in milliseconds.
    pub delay_ms: u32,
}

/// Where the partition's virtual devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The distributor, 64 KiB.
    pub distributor: Ipa,
    /// GICv3: the redistributors, 128 KiB per vCPU, contiguous. GICv2: the CPU interface, 64 KiB reserved.
    pub cpu_interface: Ipa,
    /// The virtual PL011, 4 KiB; there only if the partition has a console.
    pub uart: Ipa,
    /// Its interrupt.
    pub uart_intid: IntId,
    /// Number of SPIs of the virtual GIC, a multiple of 32, or 988.
    pub spis: u16,
}

/// Bytes of the hypervisor's records of a partition; the hypervisor's own are not smaller, which it checks when it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBytes {
    /// The virtual distributor.
    pub distributor: usize,
    /// A vCPU's virtual interrupt interface.
    pub interface: usize,
    /// What is read of a vCPU's interrupts without a lock.
    pub quick: usize,
    /// A vCPU.
    pub vcpu: usize,
    /// The partition's life.
    pub live: usize,
}

impl RecordBytes {
    /// What they are.
    pub const LEAST: Self =
        Self { distributor: 16_536, interface: 496, quick: 192, vcpu: 1_616, live: 2_488 };

    /// The pages of management memory that they take, of a partition with so many vCPUs: each kind its own, and a first one of the
    /// list of its runs of memory.
    #[must_use]
    pub fn pages(self, vcpus: usize) -> u64 {
        let kinds = [(self.distributor, 1), (self.live, 1)];
        let of_vcpus = [self.interface, self.quick, self.vcpu].map(|bytes| (bytes, vcpus));
        let pages = |(bytes, count): (usize, usize)| {
            let bytes = u64::try_from(bytes.saturating_mul(count)).unwrap_or(u64::MAX);
            bytes.div_ceil(shikiri_abi::PAGE_BYTES).max(1)
        };
        kinds.into_iter().chain(of_vcpus).map(pages).fold(1, u64::saturating_add)
    }
}
