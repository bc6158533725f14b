//! The description as it is written: TOML tables and their keys.
//!
//! Unknown keys are errors. `Spanned` values remember where they stand, so that later checks can point there.

mod shapes;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_spanned::Spanned;

pub(crate) use shapes::{Askers, Cores, DeviceText, MemoryText, RestartText};

use crate::units::{Micros, Share, Size};

/// A system description: how one machine is divided into partitions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Shikiri system description")]
pub(crate) struct Description {
    /// The machine that the description is for.
    #[serde(default)]
    pub(crate) machine: MachineText,
    /// The console.
    #[serde(default)]
    pub(crate) console: ConsoleText,
    /// Who gets what no partition claims.
    #[serde(default)]
    pub(crate) rest: RestText,
    /// The partitions.
    #[serde(default, rename = "partition")]
    #[schemars(with = "Vec<PartitionText>")]
    pub(crate) partitions: Vec<Spanned<PartitionText>>,
    /// Events between partitions that are connected before the guests run.
    #[serde(default, rename = "event")]
    #[schemars(with = "Vec<EventText>")]
    pub(crate) events: Vec<Spanned<EventText>>,
    /// Message channels between partitions that are connected before the guests run.
    #[serde(default, rename = "channel")]
    #[schemars(with = "Vec<ChannelText>")]
    pub(crate) channels: Vec<Spanned<ChannelText>>,
    /// Services that partitions are asked for. One that has any is asked for nothing else.
    #[serde(default, rename = "service")]
    #[schemars(with = "Vec<ServiceText>")]
    pub(crate) services: Vec<Spanned<ServiceText>>,
    /// Names of objects that partitions may open together.
    #[serde(default, rename = "name")]
    #[schemars(with = "Vec<NameText>")]
    pub(crate) names: Vec<Spanned<NameText>>,
    /// Memory that partitions share from their start.
    #[serde(default)]
    #[schemars(with = "Vec<SharedText>")]
    pub(crate) shared: Vec<Spanned<SharedText>>,
    /// Who makes policy at run time, and what may be handed out.
    #[schemars(with = "Option<PolicyText>")]
    pub(crate) policy: Option<Spanned<PolicyText>>,
}

/// Who makes policy at run time: creates, limits, starts and ends partitions, and answers their requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyText {
    /// The partition that holds the policy capability. Default: nobody; then `default` decides all requests at once.
    #[schemars(with = "Option<String>")]
    pub(crate) partition: Option<Spanned<String>>,
    /// How many partitions can be made at run time, beside those of the description. Default: 0.
    #[schemars(with = "Option<u8>")]
    pub(crate) partitions: Option<Spanned<u8>>,
    /// The most that may be handed out, all partitions together. Default: unset.
    #[serde(default)]
    pub(crate) handout: LimitsText,
    /// Files that can be loaded into partitions that are made at run time: programs, device trees, RAM disks.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) images: Vec<Spanned<String>>,
    /// How long the answer to a request may take, 1 ms to 60 s. Default: 1 s.
    #[schemars(with = "Option<Micros>")]
    pub(crate) answer: Option<Spanned<Micros>>,
    /// What becomes of a request that is not answered in time. Default: `"refuse"`.
    #[serde(default)]
    pub(crate) default: DefaultText,
}

/// What becomes of a request without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DefaultText {
    /// It is refused.
    #[default]
    Refuse,
    /// It is granted as asked, if what may be handed out suffices.
    Grant,
}

/// Memory that partitions share from their start.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedText {
    /// What the guests' device trees call it: 1 to 31 of a–z, 0–9, `_`, `-`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9_-]{1,31}$"))]
    pub(crate) name: Spanned<String>,
    /// Its size, rounded up to pages of 4 KiB; at most 1 GiB.
    #[schemars(with = "Size")]
    pub(crate) size: Spanned<Size>,
    /// Who may read and write it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) partitions: Vec<Spanned<String>>,
    /// Who may only read it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) readers: Vec<Spanned<String>>,
}

/// An event from one partition to another, connected whenever both live.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventText {
    /// What both guests' device trees call it: 1 to 31 of a–z, 0–9, `_`, `-`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9_-]{1,31}$"))]
    pub(crate) name: Spanned<String>,
    /// The partition that sends it.
    #[schemars(with = "String")]
    pub(crate) from: Spanned<String>,
    /// The partition that it is an interrupt of.
    #[schemars(with = "String")]
    pub(crate) to: Spanned<String>,
    /// The SPI that the receiver sees, as a device tree writes it: INTID minus 32.
    #[schemars(with = "u16")]
    pub(crate) spi: Spanned<u16>,
    /// The receiver's vCPU that it goes to first. Default: 0.
    #[schemars(with = "Option<u8>")]
    pub(crate) vcpu: Option<Spanned<u8>>,
}

/// A message channel between two partitions, connected whenever both live.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelText {
    /// What both guests' device trees call it: 1 to 31 of a–z, 0–9, `_`, `-`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9_-]{1,31}$"))]
    pub(crate) name: Spanned<String>,
    /// The size of the window slots of both ends: 4KiB, 2MiB or 1GiB. Default: 4KiB.
    #[schemars(with = "Option<Size>")]
    pub(crate) slot: Option<Spanned<Size>>,
    /// Its two ends.
    #[schemars(with = "[EndText; 2]")]
    pub(crate) ends: Vec<Spanned<EndText>>,
}

/// An end of a message channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ partition = \"a\", slots = 2, spi = 40 }`"
)]
pub(crate) struct EndText {
    /// The partition that has it.
    #[schemars(with = "String")]
    pub(crate) partition: Spanned<String>,
    /// Slots of its window, 60 at most: so many areas can have come. 0 for short messages alone.
    #[schemars(with = "u16")]
    pub(crate) slots: Spanned<u16>,
    /// The SPI at which it is told, as a device tree writes it: INTID minus 32.
    #[schemars(with = "u16")]
    pub(crate) spi: Spanned<u16>,
    /// The vCPU that it goes to first. Default: 0.
    #[schemars(with = "Option<u8>")]
    pub(crate) vcpu: Option<Spanned<u8>>,
}

/// A service that a partition is asked for, and by whom.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceText {
    /// What the guests' device trees call it: 1 to 31 of a–z, 0–9, `_`, `-`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9_-]{1,31}$"))]
    pub(crate) name: Spanned<String>,
    /// The partition that is asked for it.
    #[schemars(with = "String")]
    pub(crate) of: Spanned<String>,
    /// What a request for it gives, for an event, a channel or a shared area.
    #[schemars(with = "u32")]
    pub(crate) number: Spanned<u32>,
    /// Who may ask for it.
    #[schemars(with = "Askers")]
    pub(crate) to: Spanned<Askers>,
}

/// A name of an object, or a pattern, and who may open it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameText {
    /// The name: 1 to 63 printable characters without spaces. With `*` at its end, all names that begin like that.
    #[schemars(with = "String", regex(pattern = "^[!-)+-~]{0,63}[*]?$"))]
    pub(crate) name: Spanned<String>,
    /// Who may open it.
    #[schemars(with = "Vec<String>")]
    pub(crate) partitions: Vec<Spanned<String>>,
    /// How many objects there can be at a time, for a pattern. Default: 8.
    #[schemars(with = "Option<u16>")]
    pub(crate) objects: Option<Spanned<u16>>,
}

/// The machine that the description is for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineText {
    /// The board: the name of a folder under `boards/`. Default: `qemu-virt`.
    #[schemars(with = "Option<String>")]
    pub(crate) board: Option<Spanned<String>>,
    /// Cores that the machine has to have. QEMU is started with this many. Default: 4.
    #[schemars(with = "Option<u32>")]
    pub(crate) cores: Option<Spanned<u32>>,
    /// Memory that the machine has to have. QEMU is started with this much. Default: 1 GiB.
    #[schemars(with = "Option<Size>")]
    pub(crate) memory: Option<Spanned<Size>>,
    /// The GIC that the machine has to have, 2 or 3. Default: either.
    #[schemars(with = "Option<u8>")]
    pub(crate) gic: Option<Spanned<u8>>,
}

/// The console.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleText {
    /// The partition that gets the keys at start. Default: the first with a kernel, else the first with a console.
    #[schemars(with = "Option<String>")]
    pub(crate) focus: Option<Spanned<String>>,
}

/// Who gets what no partition claims: each key names a partition.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestText {
    /// Gets the cores that are left, one vCPU each, in addition to those that it names.
    #[schemars(with = "Option<String>")]
    pub(crate) cores: Option<Spanned<String>>,
    /// Gets the memory that is left when the hypervisor's own is set aside; it writes no `memory` itself.
    #[schemars(with = "Option<String>")]
    pub(crate) memory: Option<Spanned<String>>,
    /// Gets the devices that are left and that cannot write memory by themselves.
    #[schemars(with = "Option<String>")]
    pub(crate) devices: Option<Spanned<String>>,
}

/// A partition.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartitionText {
    /// Its name: 1 to 31 of a–z, 0–9, `_`, `-`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9_-]{1,31}$"))]
    pub(crate) name: Spanned<String>,
    /// How many vCPUs. Default: one for each owned core; one if the cores are shared.
    #[schemars(with = "Option<u32>")]
    pub(crate) vcpus: Option<Spanned<u32>>,
    /// How many of its vCPUs, the last ones, it cannot turn on before it was granted them. Default: 0.
    #[schemars(with = "Option<u16>")]
    pub(crate) kept_vcpus: Option<Spanned<u16>>,
    /// Its cores: a list, or how many. It owns them, unless there is `share`. Default: 1, or with `share` all that nobody owns.
    #[schemars(with = "Option<Cores>")]
    pub(crate) cores: Option<Spanned<Cores>>,
    /// Its vCPUs share their cores with others; each gets this much.
    #[schemars(with = "Option<ShareText>")]
    pub(crate) share: Option<Spanned<ShareText>>,
    /// Each vCPU by itself, instead of `vcpus`, `cores` and `share`.
    #[serde(default)]
    #[schemars(with = "Vec<VcpuText>")]
    pub(crate) vcpu: Vec<Spanned<VcpuText>>,
    /// Its memory: a size, a region, or a list of regions.
    #[schemars(with = "Option<MemoryText>")]
    pub(crate) memory: Option<Spanned<MemoryText>>,
    /// A bare-metal program: a flat binary, entered at its first byte.
    #[schemars(with = "Option<String>")]
    pub(crate) image: Option<Spanned<String>>,
    /// A Linux kernel (arm64 `Image`), or any flat binary.
    #[schemars(with = "Option<String>")]
    pub(crate) kernel: Option<Spanned<String>>,
    /// Linux's initial RAM disk.
    #[schemars(with = "Option<String>")]
    pub(crate) initrd: Option<Spanned<String>>,
    /// Files that its RAM disk gets besides: where they are there, and which files they are.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) files: BTreeMap<String, Spanned<String>>,
    /// The command line: `/chosen/bootargs` of its device tree.
    #[schemars(with = "Option<String>")]
    pub(crate) cmdline: Option<Spanned<String>>,
    /// Where the image or kernel goes. Default: as QEMU's `virt` does.
    #[schemars(with = "Option<u64>")]
    pub(crate) load: Option<Spanned<u64>>,
    /// Where it starts. Default: where the image or kernel goes.
    #[schemars(with = "Option<u64>")]
    pub(crate) entry: Option<Spanned<u64>>,
    /// Devices of the board that it owns: paths in the board's device tree, or tables.
    #[serde(default)]
    #[schemars(with = "Vec<DeviceText>")]
    pub(crate) devices: Vec<Spanned<DeviceText>>,
    /// Devices of the board that it owns as well, but has in a life only after it was granted them. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<DeviceText>")]
    pub(crate) kept_devices: Vec<Spanned<DeviceText>>,
    /// Whether it has a virtual PL011. Default: yes.
    #[serde(default = "yes")]
    pub(crate) console: bool,
    /// Whether it has the performance monitors of its cores, all of which it has to own. Default: no.
    #[schemars(with = "Option<bool>")]
    pub(crate) pmu: Option<Spanned<bool>>,
    /// Lower ones start first, equal ones in the order of the file. Default: 0.
    #[serde(default)]
    pub(crate) start_order: u16,
    /// Whether it starts with the machine. Default: yes.
    #[serde(default = "yes")]
    pub(crate) autostart: bool,
    /// When it is started again after its end. Default: `"never"`.
    #[schemars(with = "Option<RestartText>")]
    pub(crate) restart: Option<Spanned<RestartText>>,
    /// How many event ports, objects and requests of others it can have. Default: as many as it has events in the description.
    #[schemars(with = "Option<u16>")]
    pub(crate) handles: Option<Spanned<u16>>,
    /// How many requests of its own can wait at others. Default: 0.
    #[schemars(with = "Option<u16>")]
    pub(crate) requests: Option<Spanned<u16>>,
    /// How many message areas and channels it can have. Default: none.
    #[schemars(with = "Option<WindowsText>")]
    pub(crate) areas: Option<Spanned<WindowsText>>,
    /// Partitions that it may ask for connections; each of them has to `accept_from` it. Default: nobody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) connect_to: Vec<Spanned<String>>,
    /// Partitions whose requests it gets; each of them has to `connect_to` it. Default: nobody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) accept_from: Vec<Spanned<String>>,
    /// Upper limits of its account. Default: unset.
    #[serde(default)]
    #[schemars(with = "LimitsText")]
    pub(crate) limits: Option<Spanned<LimitsText>>,
}

impl PartitionText {
    /// Advice for whoever needs handles for ports or requests.
    pub(crate) const HANDLES_HELP: &str =
        "`handles` is how many ports, and requests of others, it can have at a time";

    /// Whether the description gives it handles.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles.as_ref().is_some_and(|handles| *handles.get_ref() != 0)
    }
}

fn yes() -> bool {
    true
}

/// A reservation for each vCPU.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ budget = \"1ms\", period = \"10ms\" }`"
)]
pub(crate) struct ShareText {
    /// Core time in each period.
    #[schemars(with = "Micros")]
    pub(crate) budget: Spanned<Micros>,
    /// The period.
    #[schemars(with = "Micros")]
    pub(crate) period: Spanned<Micros>,
    /// Higher runs first. Default: 0.
    #[serde(default)]
    pub(crate) priority: u8,
}

/// One vCPU. Without a budget it owns its one core.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ cores = [0] }`")]
pub(crate) struct VcpuText {
    /// The cores where it may run.
    #[schemars(with = "Vec<u32>")]
    pub(crate) cores: Vec<Spanned<u32>>,
    /// The core that its reservation is taken from. Default: the one with most room.
    #[schemars(with = "Option<u32>")]
    pub(crate) home: Option<Spanned<u32>>,
    /// Core time in each period.
    #[schemars(with = "Option<Micros>")]
    pub(crate) budget: Option<Spanned<Micros>>,
    /// The period.
    #[schemars(with = "Option<Micros>")]
    pub(crate) period: Option<Spanned<Micros>>,
    /// Higher runs first. Default: 0.
    #[serde(default)]
    pub(crate) priority: u8,
}

/// A region of memory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ size = \"64MiB\", at = 0x50000000 }`")]
pub(crate) struct RegionText {
    /// Its size.
    #[schemars(with = "Size")]
    pub(crate) size: Spanned<Size>,
    /// Where it lies physically. Default: anywhere.
    #[schemars(with = "Option<u64>")]
    pub(crate) at: Option<Spanned<u64>>,
    /// Where the guest sees it. Default: 0x40000000, or behind the region before.
    #[schemars(with = "Option<u64>")]
    pub(crate) ipa: Option<Spanned<u64>>,
}

/// A device with more to say than its path.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceTable {
    /// Its path in the board's device tree.
    pub(crate) path: String,
    /// Whether it may write memory by itself. `"trusted"`: it does, and is trusted with the whole machine, because there
    /// is no SMMU; all memory of the partition then needs IPA = PA. `"none"`: it does not.
    pub(crate) dma: Option<Dma>,
    /// Where the guest sees its first register region. Default: where it is.
    #[schemars(with = "Option<u64>")]
    pub(crate) ipa: Option<Spanned<u64>>,
    /// The SPI numbers that the guest sees, in the order of its interrupts. Default: the board's.
    #[schemars(with = "Option<Vec<u16>>")]
    pub(crate) spis: Option<Spanned<Vec<u16>>>,
    /// The rate in Hz of its clocks, if they are the firmware's and always on: the guest finds fixed ones in their place.
    #[schemars(with = "Option<u32>")]
    pub(crate) clock_hz: Option<Spanned<u32>>,
    /// Properties of its node that the guest does not get.
    #[serde(default)]
    pub(crate) omit: Vec<String>,
}

/// What a device may do to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dma {
    /// It masters the bus and is trusted.
    Trusted,
    /// It does not master the bus.
    None,
}

/// Restarting, with its brake.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartTable {
    /// When.
    pub(crate) policy: Policy,
    /// At most this many restarts within the window, then it stays ended. Default: 0 = no bound.
    #[serde(default)]
    pub(crate) max: u32,
    /// The window. Default: 60 s.
    #[schemars(with = "Option<Micros>")]
    pub(crate) window: Option<Spanned<Micros>>,
    /// The pause before a restart. Default: 0.
    #[schemars(with = "Option<Micros>")]
    pub(crate) delay: Option<Spanned<Micros>>,
}

/// When a partition is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// Only by the operator.
    Never,
    /// After a fault, a reset request, or an end with a code other than 0.
    OnFault,
    /// After every end.
    Always,
}

/// Message areas, channels and shared areas: slots of the window region by size, message ports, and shares.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ pages = 8, channels = 1 }`")]
pub(crate) struct WindowsText {
    /// Slots of 4 KiB, 4,096 at most; each channel takes two for its pages. Default: 0.
    #[serde(default)]
    pub(crate) pages: u16,
    /// Slots of 2 MiB, 512 at most. Default: 0.
    #[serde(default)]
    pub(crate) blocks: u16,
    /// Slots of 1 GiB, 510 at most. Default: 0.
    #[serde(default)]
    pub(crate) giants: u16,
    /// Message ports. Default: 0.
    #[serde(default)]
    pub(crate) channels: u16,
    /// Shared areas, 64 at most: those that it offers and those of others that it attaches, each of which takes a slot of its size.
    /// Default: 0.
    #[serde(default)]
    pub(crate) shared: u16,
}

/// Upper limits of an account.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ memory = \"64MiB\" }`")]
pub(crate) struct LimitsText {
    /// Core time; 100 % is one core.
    pub(crate) core_time: Option<Share>,
    /// Guest addresses that are mapped.
    #[schemars(with = "Option<Size>")]
    pub(crate) ipa_space: Option<Spanned<Size>>,
    /// Memory that its programs can access.
    #[schemars(with = "Option<Size>")]
    pub(crate) memory: Option<Spanned<Size>>,
    /// Memory that the hypervisor uses to manage it.
    #[schemars(with = "Option<Size>")]
    pub(crate) management_memory: Option<Spanned<Size>>,
    /// Event ports.
    pub(crate) event_ports: Option<u64>,
    /// Devices.
    pub(crate) devices: Option<u64>,
    /// Cache colours.
    pub(crate) cache_colors: Option<u64>,
    /// Share of the memory bus.
    pub(crate) bus_share: Option<Share>,
}
