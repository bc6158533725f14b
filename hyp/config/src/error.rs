//! Why a bundle is refused: the cause and, where two things collide, both claimants.

use core::fmt;

use shikiri_abi::{CoreId, Resource};

/// One of two parties that want the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant<'a> {
    /// The partition's name.
    pub partition: &'a str,
    /// What of the partition.
    pub item: Item<'a>,
}

/// What claims something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A memory region.
    Memory,
    /// A device, by its path.
    Device(&'a str),
    /// The virtual distributor.
    Distributor,
    /// The virtual redistributors or the virtual CPU interface.
    CpuInterface,
    /// The virtual UART.
    Uart,
    /// An image.
    Image,
    /// An event between partitions, by its name.
    Event(&'a str),
    /// A message channel, by its name.
    Channel(&'a str),
    /// A service, by its name.
    Service(&'a str),
    /// A vCPU, by its index.
    Vcpu(usize),
    /// The whole partition.
    Partition,
    /// The machine's RAM; of no partition, as those that follow.
    Ram,
    /// Registers that are the hypervisor's alone; of no partition.
    Own,
    /// The hypervisor's image with its stacks, where the loader has put it.
    Hypervisor,
    /// The bundle, where the loader has put it.
    Bundle,
    /// The machine's device tree.
    DeviceTree,
    /// Memory that the tree reserves.
    Reserved,
    /// The first byte of memory, to which no pointer leads.
    Nought,
}

impl fmt::Display for Claimant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Item::Memory => write!(f, "memory of `{}`", self.partition),
            Item::Device(path) => write!(f, "device `{path}` of `{}`", self.partition),
            Item::Distributor => write!(f, "virtual distributor of `{}`", self.partition),
            Item::CpuInterface => write!(f, "virtual CPU interface of `{}`", self.partition),
            Item::Uart => write!(f, "virtual UART of `{}`", self.partition),
            Item::Image => write!(f, "an image of `{}`", self.partition),
            Item::Channel(name) => write!(f, "channel `{name}` of `{}`", self.partition),
            Item::Service(name) => write!(f, "service `{name}` of `{}`", self.partition),
            Item::Event(name) => write!(f, "event `{name}` to `{}`", self.partition),
            Item::Vcpu(index) => write!(f, "vCPU {index} of `{}`", self.partition),
            Item::Partition => write!(f, "partition `{}`", self.partition),
            Item::Ram => f.write_str("RAM"),
            Item::Own => f.write_str("the hypervisor"),
            Item::Hypervisor => f.write_str("the hypervisor's image"),
            Item::Bundle => f.write_str("the bundle"),
            Item::DeviceTree => f.write_str("the machine's device tree"),
            Item::Reserved => f.write_str("memory that the firmware keeps"),
            Item::Nought => f.write_str("the hypervisor, which cannot give address 0 away"),
        }
    }
}

/// What two parties collide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contested {
    /// A name.
    Name,
    /// A core, that one of them owns.
    Core(CoreId),
    /// Core time of a core: the sum of reservations passes 100 %.
    CoreTime(CoreId),
    /// A guest address.
    Ipa(u64),
    /// A physical address.
    Pa(u64),
    /// A physical interrupt.
    PhysicalInterrupt(u16),
    /// A guest's interrupt.
    VirtualInterrupt(u16),
    /// A number of a service.
    Service(u32),
}

impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name"),
            Self::Core(core) => write!(f, "core {}", core.0),
            Self::CoreTime(core) => write!(f, "more than 100 % of core {}", core.0),
            Self::Ipa(address) => write!(f, "guest address {address:#x}"),
            Self::Pa(address) => write!(f, "physical address {address:#x}"),
            Self::PhysicalInterrupt(id) => write!(f, "interrupt {id} (SPI {})", spi(*id)),
            Self::VirtualInterrupt(id) => write!(f, "guest interrupt {id} (SPI {})", spi(*id)),
            Self::Service(number) => write!(f, "service number {number}"),
        }
    }
}

/// The number that a device tree writes for an SPI.
fn spi(intid: u16) -> u16 {
    intid.saturating_sub(32)
}

/// A file in the bundle, which has no names of files: what it is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// What it is there.
    pub what: &'static str,
    /// The name of the first partition that loads it, or of the policy program's image.
    pub of: &'a str,
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.what, self.of)
    }
}

/// Why a bundle is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError<'a> {
    /// There is no bundle: it does not start with the magic number.
    Magic,
    /// It was made by another version of the tools.
    Version(u32),
    /// It ends early.
    Truncated {
        /// Bytes that the header asks for.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The tables are damaged.
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the tables give.
        computed: u32,
    },
    /// The counts do not fit one another.
    Layout(&'static str),
    /// A value of the whole system is out of range.
    System {
        /// What.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// It was made for another machine.
    Machine {
        /// What is different.
        what: &'static str,
        /// What the description counts on.
        wants: usize,
        /// What the machine has.
        has: usize,
    },
    /// A value is out of range.
    Value {
        /// Whose.
        claimant: Claimant<'a>,
        /// What is wrong.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A limit is below what the description itself gives.
    Limit {
        /// Whose.
        partition: &'a str,
        /// Of what.
        resource: Resource,
        /// The limit.
        limit: u64,
        /// What is given.
        given: u64,
    },
    /// Only one of two partitions permits that the one asks the other for connections.
    OneSided {
        /// Who would ask.
        asker: &'a str,
        /// Who would be asked.
        asked: &'a str,
        /// It is the one that is asked who permits it.
        is_accepted: bool,
    },
    /// Two want the same.
    Clash {
        /// What.
        contested: Contested,
        /// The one that comes first.
        first: Claimant<'a>,
        /// The one that comes later.
        second: Claimant<'a>,
    },
}

impl fmt::Display for BundleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no bundle there (wrong magic number)"),
            Self::Version(found) => {
                write!(f, "bundle version {found}, this hypervisor reads {}", crate::row::VERSION)
            }
            Self::Truncated { need, have } => write!(f, "bundle cut off: {have} bytes of {need}"),
            Self::Checksum { stored, computed } => {
                write!(f, "bundle damaged: checksum {computed:#010x} instead of {stored:#010x}")
            }
            Self::Layout(what) => write!(f, "bundle inconsistent: {what}"),
            Self::System { what, value } => write!(f, "{what}: {value:#x}"),
            Self::Machine { what, wants, has } => {
                write!(f, "{what}: the description counts on {wants}, this machine has {has}")
            }
            Self::Value { claimant, what, value } => write!(f, "{claimant}: {what}: {value:#x}"),
            Self::Limit { partition, resource, limit, given } => {
                write!(
                    f,
                    "partition `{partition}`: limit of {resource} is {limit}, but {given} are given"
                )
            }
            Self::OneSided { asker, asked, is_accepted: false } => write!(
                f,
                "partition `{asker}` may connect to partition `{asked}`, which does not accept from it"
            ),
            Self::OneSided { asker, asked, is_accepted: true } => write!(
                f,
                "partition `{asked}` accepts from partition `{asker}`, which may not connect to it"
            ),
            Self::Clash { contested, first, second } => {
                write!(f, "{contested} is claimed by {first} and by {second}")
            }
        }
    }
}

impl core::error::Error for BundleError<'_> {}
