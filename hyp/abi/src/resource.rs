//! The eight resources of an account (P3).

use core::fmt;

/// What a partition is granted and charged for. The numbers are the ABI's and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Resource {
    /// P3 (a): core time as reservations, in parts per million of one core.
    CoreTime = 0,
    /// P3 (b): pages of IPA space that are mapped.
    IpaSpace = 1,
    /// P3 (c): pages of memory that the partition's programs can access.
    Memory = 2,
    /// P3 (d): pages that the hypervisor uses to manage the partition (tables, vCPU state, queues).
    ManagementMemory = 3,
    /// P3 (e): event ports.
    EventPorts = 4,
    /// P3 (f): devices.
    Devices = 5,
    /// P3 (g): share of the cache, in colours. Recorded; not yet enforced.
    CacheShare = 6,
    /// P3 (h): share of the memory bus, in parts per million. Recorded; not yet enforced.
    BusShare = 7,
}

/// How many resources an account has.
pub const RESOURCE_COUNT: usize = 8;

impl Resource {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; RESOURCE_COUNT] = [
        Self::CoreTime,
        Self::IpaSpace,
        Self::Memory,
        Self::ManagementMemory,
        Self::EventPorts,
        Self::Devices,
        Self::CacheShare,
        Self::BusShare,
    ];

    /// The number in the ABI.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::CoreTime => 0,
            Self::IpaSpace => 1,
            Self::Memory => 2,
            Self::ManagementMemory => 3,
            Self::EventPorts => 4,
            Self::Devices => 5,
            Self::CacheShare => 6,
            Self::BusShare => 7,
        }
    }

    /// The name that tables and messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoreTime => "core time",
            Self::IpaSpace => "IPA space",
            Self::Memory => "memory",
            Self::ManagementMemory => "management memory",
            Self::EventPorts => "event ports",
            Self::Devices => "devices",
            Self::CacheShare => "cache share",
            Self::BusShare => "bus share",
        }
    }
}

impl TryFrom<u64> for Resource {
    type Error = ();

    fn try_from(number: u64) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|resource| u64::from(resource.number()) == number).ok_or(())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Resource;

    #[test]
    fn numbers_and_resources_are_one_to_one() {
        for resource in Resource::ALL {
            assert_eq!(Resource::try_from(u64::from(resource.number())), Ok(resource));
        }
        assert_eq!(Resource::try_from(8), Err(()));
        assert_eq!(Resource::try_from(u64::MAX), Err(()));
    }
}
