//! What a description says, as plain values.

use shikiri_abi::{
    AreaClass, CoreId, CoreSet, IntId, Ipa, Pa, PageCount, RESOURCE_COUNT, VcpuIndex,
};

/// The most partitions in a description.
pub const MAX_PARTITIONS: usize = 64;
/// The most vCPUs of a partition on a GICv3 board (the vGIC's sets of vCPUs have 64 bits).
pub const MAX_VCPUS: usize = 64;
/// The most vCPUs of a partition on a GICv2 board (GICv2 architecture: 8 CPU interfaces).
pub const MAX_VCPUS_GICV2: usize = 8;
/// The most objects that all entries for names have together.
pub const MAX_OBJECTS: usize = 256;
/// The most bytes of a partition's name.
pub const MAX_NAME_BYTES: usize = 31;
/// Bytes of a GICD or GICR frame, and of the space that a GICC window takes.
pub const GIC_FRAME_BYTES: u64 = 0x1_0000;
/// Bytes of a vCPU's redistributor: `RD_base` and `SGI_base` (GICv3 architecture, 12.10).
pub const REDISTRIBUTOR_BYTES: u64 = 2 * GIC_FRAME_BYTES;
/// Guest addresses have this many bits.
pub const IPA_BITS: u32 = 40;
/// Physical addresses have at most this many bits.
pub const PA_BITS: u32 = 48;
/// The most moderated regions of devices, those of all partitions together: EL2 makes their accesses itself, and never
/// gives back the place that it has for each of their pages.
pub const MAX_MODERATED: usize = 512;
/// The most devices of a partition that are kept back.
pub const MAX_KEPT_DEVICES: usize = 64;
/// The most bytes of one's registers: it is mapped in one step.
pub const MAX_KEPT_BYTES: u64 = 4 << 20;
/// The most regions of memory with a physical address, those of all partitions together.
pub const MAX_PLACED: usize = 32;
/// The most vCPUs that have their home on one core (a seat there is a bit of a word).
pub const MAX_VCPUS_AT_HOME: usize = 32;
/// The shortest period of a reservation, in microseconds.
pub const MIN_PERIOD_US: u32 = 100;
/// The longest period of a reservation, in microseconds.
pub const MAX_PERIOD_US: u32 = 1_000_000;
/// The smallest budget of a reservation, in microseconds.
pub const MIN_BUDGET_US: u32 = 50;

/// Which GIC the board has; the partitions' virtual one is of the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicVersion {
    /// Memory-mapped CPU interface, at most 8 vCPUs.
    V2,
    /// System-register CPU interface, one redistributor per vCPU.
    V3,
}

impl GicVersion {
    /// 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }

    /// The most vCPUs that a partition can have with it.
    #[must_use]
    pub const fn max_vcpus(self) -> usize {
        match self {
            Self::V2 => MAX_VCPUS_GICV2,
            Self::V3 => MAX_VCPUS,
        }
    }

    /// The affinity fields of a vCPU's `MPIDR_EL1`, laid out as QEMU's `virt` does: up to 8 (GICv2) or
    /// 16 (GICv3, so that one SGI target list reaches them: `ICC_SGI1R_EL1.TargetList`) in one `Aff1` group.
    #[must_use]
    pub fn affinity(self, vcpu: VcpuIndex) -> u64 {
        let index = u64::from(vcpu.0);
        match self {
            Self::V2 => (index & 7) | ((index >> 3) << 8),
            Self::V3 => (index & 15) | ((index >> 4) << 8),
        }
    }
}

/// What the description says about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board<'a> {
    /// The board's device-tree `compatible`, the first string.
    pub compatible: &'a str,
    /// The interrupt controller.
    pub gic: GicVersion,
    /// Cores that the description counts on, 1 to 128: those with a smaller number are used. The machine may have more.
    pub cores: usize,
    /// The partition whose console has the focus at start, as an index.
    pub focus: Option<usize>,
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

/// The most events that one partition sends and receives by the description.
pub const MAX_EVENTS: usize = 64;

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

/// The most services of a description: a request looks at each.
pub const MAX_SERVICES: usize = 256;

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

/// The most message channels that one partition has by the description.
pub const MAX_CHANNELS: usize = 64;

/// A message channel that is there before the guests run: whenever both partitions live.
///
/// What a partition has for it takes known places in its tables, behind those of its [`Event`]s and [`SharedArea`]s: see [`Bundle::places`](crate::Bundle::places).
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
/// The most shares of a partition: some operations look at each.
pub const MAX_SHARES: u16 = 64;

/// How a vCPU gets core time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreTime {
    /// The core is its own: nothing else ever runs there.
    Owned,
    /// A hard budget in each period, admitted at the home core.
    Reservation {
        /// Microseconds of core time per period.
        budget_us: u32,
        /// The period in microseconds.
        period_us: u32,
    },
}

impl CoreTime {
    /// The share of one core, in parts per million, rounded up.
    #[must_use]
    pub fn ppm(self) -> u64 {
        match self {
            Self::Owned => 1_000_000,
            Self::Reservation { period_us: 0, .. } => u64::MAX,
            Self::Reservation { budget_us, period_us } => {
                // Cannot wrap: 2^32 * 10^6 < 2^52.
                u64::from(budget_us).wrapping_mul(1_000_000).div_ceil(u64::from(period_us))
            }
        }
    }
}

/// A vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// The cores where it may run; exactly the home core if it owns it.
    pub cores: CoreSet,
    /// Where it is admitted; one of `cores`.
    pub home: CoreId,
    /// Owned core or reservation.
    pub time: CoreTime,
    /// Higher runs first among reservations.
    pub priority: u8,
}

/// Where a memory region lies physically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever the hypervisor finds frames.
    Any,
    /// Exactly here.
    At(Pa),
}

/// A region of a partition's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where the guest sees it, 4 KiB-aligned.
    pub ipa: Ipa,
    /// Its size, a multiple of 4 KiB.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// What an image is; for tables and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Code.
    Program,
    /// Linux's initial RAM disk.
    Initrd,
    /// The guest's device tree.
    DeviceTree,
}

impl ImageKind {
    /// In words; code is the description's `image` or `kernel`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Program => "image",
            Self::Initrd => "initrd",
            Self::DeviceTree => "device tree",
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Program => 0,
            Self::Initrd => 1,
            Self::DeviceTree => 2,
        }
    }

    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::Program),
            1 => Some(Self::Initrd),
            2 => Some(Self::DeviceTree),
            _ => None,
        }
    }
}

/// A blob and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The blob's index.
    pub blob: usize,
    /// Where its first byte goes; all of it lies in one memory region.
    pub load: Ipa,
    /// What it is.
    pub kind: ImageKind,
}

/// One register region of a passed-through device; a device with several has several of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// Where it is.
    pub pa: Pa,
    /// Its size.
    pub bytes: u64,
    /// The device shares its page with others: EL2 traps the accesses and lets only those to this region through. The
    /// region lies within one page, at the same offset in IPA and PA. Otherwise everything is 4 KiB-aligned and mapped.
    pub moderated: bool,
    /// It can write memory by itself without an SMMU, and the description trusts it. All of the partition's memory
    /// has IPA = PA; its frames are quarantined at the end, for this partition alone.
    pub dma_trusted: bool,
    /// It is the partition's, but out of its reach in each life until the policy program grants it.
    pub is_kept: bool,
    /// Its path in the board's device tree.
    pub path: &'a str,
}

/// An interrupt of a passed-through device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt<'a> {
    /// The SPI on the board.
    pub physical: IntId,
    /// The SPI that the guest sees.
    pub virtual_id: IntId,
    /// Edge-triggered; else level.
    pub edge: bool,
    /// The path of the device.
    pub path: &'a str,
}

/// A file in the bundle; `verify` it before using its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The content.
    pub bytes: &'a [u8],
    /// The content's CRC-32 (IEEE).
    pub crc32: u32,
    /// Where it starts in the bundle.
    pub offset: usize,
}

impl Blob<'_> {
    /// Whether the content is undamaged, by `crc32`, a function that computes CRC-32 (IEEE).
    #[must_use]
    pub fn verify(&self, crc32: impl Fn(&[u8]) -> u32) -> bool {
        crc32(self.bytes) == self.crc32
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

/// The most shared areas of a description.
pub const MAX_SHARED: usize = 32;

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

/// What becomes of a request that the policy program does not answer in time, or cannot, as there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It is refused.
    Refused,
    /// It is granted as asked, if what may be handed out suffices.
    Granted,
}

/// Who makes policy, and what may be handed out (P7, P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The position of the partition that holds the policy capability.
    pub partition: Option<usize>,
    /// Places for partitions that are made at run time, behind those of the description.
    pub spare: usize,
    /// What becomes of a request without an answer.
    pub default: Unanswered,
    /// How long an answer may take.
    pub answer_ms: u32,
    /// The most that may be handed out, by `Resource::number`; `None` is unset.
    pub handout: [Option<u64>; RESOURCE_COUNT],
}

/// The longest that an answer may take, in milliseconds.
pub const MAX_ANSWER_MS: u32 = 60_000;
/// The most files that the policy program may load.
pub const MAX_POLICY_IMAGES: usize = 64;

/// A file that the policy program may load into partitions that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyImage<'a> {
    /// What the description calls it.
    pub name: &'a str,
    /// The blob's index.
    pub blob: usize,
}
