//! Writing a bundle. The result is not checked here: `Bundle::parse` is the one judge.

use alloc::string::String;
use alloc::vec::Vec;

use shikiri_abi::{AreaClass, CoreSet, Ipa, Pa, RESOURCE_COUNT};

use crate::crc::crc32;
use crate::row::{
    BLOB_ALIGN, BlobRow, CRC_FROM, ChannelRow, DeviceRow, EventRow, Header, ImageRow, InterruptRow,
    KEPT_BACK, MAGIC, MAGIC_WORD, MemoryRow, NO_FOCUS, NO_HOLDER, NONE, NameRow, PartitionRow,
    PolicyImageRow, PolicyRow, ServiceRow, SharedRow, VERSION, VcpuRow, WITH_DMA,
};
use crate::types::{
    CoreTime, GicVersion, Image, Memory, PartitionSet, Place, Platform, Policy, Restart,
    RestartPolicy, Talk, Unanswered, Vcpu, Windows,
};

/// A whole system, to be written as a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemSpec {
    /// The board's `compatible`.
    pub board: String,
    /// Its GIC.
    pub gic: GicVersion,
    /// Cores that the description counts on.
    pub cores: u32,
    /// The partition with the console's focus, as an index.
    pub focus: Option<u32>,
    /// The partitions.
    pub partitions: Vec<PartitionSpec>,
    /// Events between partitions.
    pub events: Vec<EventSpec>,
    /// The entries for names of objects.
    pub names: Vec<NameSpec>,
    /// The areas that partitions share from their start.
    pub shared: Vec<SharedSpec>,
    /// Message channels between partitions.
    pub channels: Vec<ChannelSpec>,
    /// The services that partitions offer.
    pub services: Vec<ServiceSpec>,
    /// Who makes policy.
    pub policy: Option<Policy>,
    /// The files that the policy program may load.
    pub policy_images: Vec<PolicyImageSpec>,
    /// Files, named by their index.
    pub blobs: Vec<BlobSpec>,
}

/// A connection for events, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Its name.
    pub name: String,
    /// The sender's position.
    pub from: u8,
    /// The receiver's position.
    pub to: u8,
    /// The INTID that the receiver sees.
    pub intid: u16,
    /// The receiver's vCPU.
    pub vcpu: u8,
}

/// A file that the policy program may load, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyImageSpec {
    /// Its name.
    pub name: String,
    /// Its blob.
    pub blob: usize,
}

/// A service, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// The position of the partition that it is asked at.
    pub of: u8,
    /// What a request for it gives.
    pub number: u32,
    /// Who may ask for it; `PartitionSet::ALL`: whoever may ask the partition at all.
    pub to: PartitionSet,
}

/// A message channel, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// Its name.
    pub name: String,
    /// The class of the window slots of both ends.
    pub class: AreaClass,
    /// Its two ends.
    pub ends: [EndSpec; 2],
}

/// An end of a message channel, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndSpec {
    /// The partition's position.
    pub partition: u8,
    /// Slots of its window.
    pub slots: u16,
    /// The INTID at which it is told.
    pub intid: u16,
    /// The vCPU that it goes to first.
    pub vcpu: u8,
}

/// A partition, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its name.
    pub name: String,
    /// Lower ones start first.
    pub start_order: u16,
    /// Whether it starts with the machine.
    pub autostart: bool,
    /// What happens when it ends.
    pub restart: Restart,
    /// Whether it has a virtual UART.
    pub has_console: bool,
    /// Whether it has the performance monitors of its cores.
    pub has_pmu: bool,
    /// How many of its vCPUs, the last ones, are kept back.
    pub kept_vcpus: u16,
    /// Where vCPU 0 starts.
    pub entry: Ipa,
    /// vCPU 0's `x0`.
    pub x0: u64,
    /// Where its virtual devices are.
    pub platform: Platform,
    /// How much it may talk, and to whom.
    pub talk: Talk,
    /// How many message areas and channels it may have.
    pub windows: Windows,
    /// The account's limits, by `Resource::number`.
    pub limits: [Option<u64>; RESOURCE_COUNT],
    /// Its vCPUs.
    pub vcpus: Vec<Vcpu>,
    /// Its memory.
    pub memory: Vec<Memory>,
    /// Its images.
    pub images: Vec<Image>,
    /// The register regions of its devices.
    pub devices: Vec<DeviceSpec>,
    /// Its devices' interrupts.
    pub interrupts: Vec<InterruptSpec>,
}

impl PartitionSpec {
    /// A partition with nothing but a name and the usual places of the virtual devices (QEMU `virt`'s).
    #[must_use]
    pub fn new(name: &str, gic: GicVersion) -> Self {
        let cpu_interface = match gic {
            GicVersion::V2 => Ipa(0x0801_0000),
            GicVersion::V3 => Ipa(0x080a_0000),
        };
        Self {
            name: String::from(name),
            start_order: 0,
            autostart: true,
            restart: Restart { policy: RestartPolicy::Never, max: 0, window_ms: 0, delay_ms: 0 },
            has_console: false,
            has_pmu: false,
            kept_vcpus: 0,
            entry: Ipa(0),
            x0: 0,
            platform: Platform {
                distributor: Ipa(0x0800_0000),
                cpu_interface,
                uart: Ipa(0x0900_0000),
                uart_intid: shikiri_abi::IntId(33),
                spis: 256,
            },
            talk: Talk::default(),
            windows: Windows::default(),
            limits: [None; RESOURCE_COUNT],
            vcpus: Vec::new(),
            memory: Vec::new(),
            images: Vec::new(),
            devices: Vec::new(),
            interrupts: Vec::new(),
        }
    }
}

/// A register region of a device, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// Where it is.
    pub pa: Pa,
    /// Its size.
    pub bytes: u64,
    /// Shares its page.
    pub moderated: bool,
    /// Is trusted with DMA.
    pub dma_trusted: bool,
    /// Is kept back.
    pub is_kept: bool,
    /// Path in the board's device tree.
    pub path: String,
}

/// An interrupt of a device, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptSpec {
    /// The INTID on the board.
    pub physical: u16,
    /// The INTID that the guest sees.
    pub virtual_id: u16,
    /// Edge-triggered.
    pub edge: bool,
    /// The device's path.
    pub path: String,
}

/// An entry for names of objects, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSpec {
    /// The name, or how the names begin.
    pub text: String,
    /// All names that begin with it.
    pub is_prefix: bool,
    /// Who may open them.
    pub partitions: PartitionSet,
    /// Objects that there can be of it.
    pub objects: u16,
}

/// An area that partitions share from their start, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSpec {
    /// What the guests' device trees call it.
    pub name: String,
    /// Its size in pages.
    pub pages: u32,
    /// Its slot.
    pub class: AreaClass,
    /// Who has it.
    pub partitions: PartitionSet,
    /// Who of them may write.
    pub writers: PartitionSet,
}

/// A file, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSpec {
    /// The content.
    pub bytes: Vec<u8>,
}

/// Writes a bundle. Numbers that do not fit their field are cut to the largest value, which `Bundle::parse` refuses.
#[must_use]
pub fn write(system: &SystemSpec) -> Vec<u8> {
    let mut tables = Encoder::new(&system.board);
    for partition in &system.partitions {
        tables.add_partition(partition);
    }
    for event in &system.events {
        tables.add_event(event);
    }
    for channel in &system.channels {
        tables.add_channel(channel);
    }
    for name in &system.names {
        tables.add_name(name);
    }
    for area in &system.shared {
        tables.add_shared(area);
    }
    for service in &system.services {
        tables.add_service(service);
    }
    if let Some(policy) = &system.policy {
        policy_row(policy).put(&mut tables.policies);
    }
    for image in &system.policy_images {
        let (name_at, name_len) = tables.intern(&image.name);
        PolicyImageRow { name_at, name_len, reserved: 0, blob: to_u32(image.blob), reserved2: 0 }
            .put(&mut tables.policy_images);
    }
    let header = tables.header(system);
    let mut out = Vec::new();
    header.put(&mut out);
    let table_bytes = tables.rows().map(|part| part.len()).sum::<usize>();
    let blob_table = system.blobs.len().saturating_mul(BlobRow::BYTES);
    let end = [out.len(), table_bytes, blob_table, tables.strings.len()]
        .into_iter()
        .fold(0, usize::saturating_add);
    let (rows, total) = place_blobs(&system.blobs, to_u64(end));
    tables.rows().for_each(|part| out.extend_from_slice(part));
    rows.iter().for_each(|row| row.put(&mut out));
    out.extend_from_slice(tables.strings.as_bytes());
    finish(&mut out, header, total);
    for (row, blob) in rows.iter().zip(&system.blobs) {
        out.resize(usize::try_from(row.at).unwrap_or(usize::MAX), 0);
        out.extend_from_slice(&blob.bytes);
    }
    out
}

/// Writes the header again, now that the size and the checksum are known.
fn finish(out: &mut Vec<u8>, header: Header, total_bytes: u64) {
    let mut front = Vec::new();
    Header { total_bytes, ..header }.put(&mut front);
    out.splice(..front.len(), front);
    let crc = out.get(CRC_FROM..).map_or(0, crc32);
    out.splice(MAGIC.len()..CRC_FROM, crc.to_le_bytes());
}

/// Places the blobs behind the tables; returns the end of the last one, too.
fn place_blobs(blobs: &[BlobSpec], tables_end: u64) -> (Vec<BlobRow>, u64) {
    let mut end = tables_end;
    let rows = blobs
        .iter()
        .map(|blob| {
            let at = end.next_multiple_of(BLOB_ALIGN);
            let bytes = to_u64(blob.bytes.len());
            end = at.saturating_add(bytes);
            BlobRow { at, bytes, crc32: crc32(&blob.bytes), reserved: 0 }
        })
        .collect();
    (rows, end)
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn to_u16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// The tables under construction.
struct Encoder {
    partitions: Vec<u8>,
    vcpus: Vec<u8>,
    memory: Vec<u8>,
    images: Vec<u8>,
    devices: Vec<u8>,
    interrupts: Vec<u8>,
    events: Vec<u8>,
    names: Vec<u8>,
    shared: Vec<u8>,
    channels: Vec<u8>,
    services: Vec<u8>,
    policies: Vec<u8>,
    policy_images: Vec<u8>,
    strings: String,
}

impl Encoder {
    fn new(board: &str) -> Self {
        Self {
            partitions: Vec::new(),
            vcpus: Vec::new(),
            memory: Vec::new(),
            images: Vec::new(),
            devices: Vec::new(),
            interrupts: Vec::new(),
            events: Vec::new(),
            names: Vec::new(),
            shared: Vec::new(),
            channels: Vec::new(),
            services: Vec::new(),
            policies: Vec::new(),
            policy_images: Vec::new(),
            strings: String::from(board),
        }
    }

    /// The encoded rows in the bundle's order.
    fn rows(&self) -> impl Iterator<Item = &Vec<u8>> {
        let of_partitions = [&self.partitions, &self.vcpus, &self.memory, &self.images];
        of_partitions.into_iter().chain([
            &self.devices,
            &self.interrupts,
            &self.events,
            &self.names,
            &self.shared,
            &self.channels,
            &self.services,
            &self.policies,
            &self.policy_images,
        ])
    }

    fn header(&self, system: &SystemSpec) -> Header {
        let rows =
            |table: &Vec<u8>, bytes: usize| to_u32(table.len().checked_div(bytes).unwrap_or(0));
        let short_rows = |table, bytes| u16::try_from(rows(table, bytes)).unwrap_or(u16::MAX);
        Header {
            magic: MAGIC_WORD,
            crc32: 0,
            version: VERSION,
            total_bytes: 0,
            partitions: to_u32(system.partitions.len()),
            vcpus: rows(&self.vcpus, VcpuRow::BYTES),
            memory: rows(&self.memory, MemoryRow::BYTES),
            images: rows(&self.images, ImageRow::BYTES),
            devices: rows(&self.devices, DeviceRow::BYTES),
            interrupts: rows(&self.interrupts, InterruptRow::BYTES),
            events: rows(&self.events, EventRow::BYTES),
            names: rows(&self.names, NameRow::BYTES),
            shared: rows(&self.shared, SharedRow::BYTES),
            channels: rows(&self.channels, ChannelRow::BYTES),
            services: short_rows(&self.services, ServiceRow::BYTES),
            policies: short_rows(&self.policies, PolicyRow::BYTES),
            policy_images: rows(&self.policy_images, PolicyImageRow::BYTES),
            blobs: to_u32(system.blobs.len()),
            strings: to_u32(self.strings.len()),
            board_len: to_u32(system.board.len()),
            gic: u32::from(system.gic.number()),
            cores: system.cores,
            focus: system.focus.unwrap_or(NO_FOCUS),
        }
    }

    fn add_partition(&mut self, partition: &PartitionSpec) {
        partition_row(partition).put(&mut self.partitions);
        for vcpu in &partition.vcpus {
            vcpu_row(vcpu).put(&mut self.vcpus);
        }
        for region in &partition.memory {
            let pa = match region.place {
                Place::Any => Pa(NONE),
                Place::At(pa) => pa,
            };
            MemoryRow { ipa: region.ipa, bytes: region.bytes, pa }.put(&mut self.memory);
        }
        for image in &partition.images {
            ImageRow { load: image.load, blob: to_u32(image.blob), kind: image.kind.code() }
                .put(&mut self.images);
        }
        for device in &partition.devices {
            self.add_device(device);
        }
        for interrupt in &partition.interrupts {
            self.add_interrupt(interrupt);
        }
    }

    fn add_device(&mut self, device: &DeviceSpec) {
        let (path_at, path_len) = self.intern(&device.path);
        DeviceRow {
            ipa: device.ipa,
            pa: device.pa,
            bytes: device.bytes,
            path_at,
            path_len,
            moderated: u8::from(device.moderated),
            flags: if device.dma_trusted { WITH_DMA } else { 0 }
                | if device.is_kept { KEPT_BACK } else { 0 },
        }
        .put(&mut self.devices);
    }

    fn add_interrupt(&mut self, interrupt: &InterruptSpec) {
        let (path_at, path_len) = self.intern(&interrupt.path);
        InterruptRow {
            path_at,
            path_len,
            physical: interrupt.physical,
            virtual_: interrupt.virtual_id,
            edge: u16::from(interrupt.edge),
            reserved: 0,
        }
        .put(&mut self.interrupts);
    }

    fn add_event(&mut self, event: &EventSpec) {
        let (name_at, name_len) = self.intern(&event.name);
        EventRow {
            name_at,
            name_len,
            from: event.from,
            to: event.to,
            intid: event.intid,
            vcpu: event.vcpu,
            reserved: 0,
            reserved2: 0,
        }
        .put(&mut self.events);
    }

    fn add_channel(&mut self, channel: &ChannelSpec) {
        let (name_at, name_len) = self.intern(&channel.name);
        let [first, second] = channel.ends;
        ChannelRow {
            name_at,
            name_len,
            class: channel.class.code(),
            reserved: 0,
            first: first.partition,
            first_vcpu: first.vcpu,
            first_intid: first.intid,
            first_slots: first.slots,
            second: second.partition,
            second_vcpu: second.vcpu,
            second_intid: second.intid,
            second_slots: second.slots,
            reserved2: 0,
        }
        .put(&mut self.channels);
    }

    fn add_name(&mut self, name: &NameSpec) {
        let (text_at, text_len) = self.intern(&name.text);
        NameRow {
            text_at,
            text_len,
            objects: name.objects,
            partitions: name.partitions.0,
            is_prefix: u8::from(name.is_prefix),
            reserved: 0,
            reserved2: 0,
            reserved3: 0,
        }
        .put(&mut self.names);
    }

    fn add_shared(&mut self, area: &SharedSpec) {
        let (name_at, name_len) = self.intern(&area.name);
        SharedRow {
            name_at,
            name_len,
            class: area.class.code(),
            reserved: 0,
            pages: area.pages,
            reserved2: 0,
            partitions: area.partitions.0,
            writers: area.writers.0,
        }
        .put(&mut self.shared);
    }

    fn add_service(&mut self, service: &ServiceSpec) {
        let (name_at, name_len) = self.intern(&service.name);
        ServiceRow {
            name_at,
            name_len,
            of: service.of.into(),
            number: service.number,
            reserved: 0,
            to: service.to.0,
        }
        .put(&mut self.services);
    }

    /// The place of a string in the table, each one once.
    fn intern(&mut self, string: &str) -> (u32, u16) {
        let at = self.strings.find(string).unwrap_or_else(|| {
            let at = self.strings.len();
            self.strings.push_str(string);
            at
        });
        (to_u32(at), to_u16(string.len()))
    }
}

fn policy_row(policy: &Policy) -> PolicyRow {
    PolicyRow {
        partition: policy.partition.map_or(NO_HOLDER, |at| u8::try_from(at).unwrap_or(NO_HOLDER)),
        spare: u8::try_from(policy.spare).unwrap_or(u8::MAX),
        default: u8::from(policy.default == Unanswered::Granted),
        reserved: 0,
        answer_ms: policy.answer_ms,
        handout: policy.handout.map(|limit| limit.unwrap_or(NONE)),
    }
}

fn partition_row(partition: &PartitionSpec) -> PartitionRow {
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(partition.name.bytes()) {
        *to = from;
    }
    let mut words = name.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    PartitionRow {
        name: core::array::from_fn(|_| words.next().unwrap_or(0)),
        vcpus: to_u16(partition.vcpus.len()),
        memory: to_u16(partition.memory.len()),
        images: to_u16(partition.images.len()),
        devices: to_u16(partition.devices.len()),
        interrupts: to_u16(partition.interrupts.len()),
        start_order: partition.start_order,
        autostart: u8::from(partition.autostart),
        console: u8::from(partition.has_console),
        restart: partition.restart.policy.code(),
        pmu: u8::from(partition.has_pmu),
        restart_max: partition.restart.max,
        restart_window_ms: partition.restart.window_ms,
        restart_delay_ms: partition.restart.delay_ms,
        handles: partition.talk.handles,
        requests: partition.talk.requests,
        entry: partition.entry,
        x0: partition.x0,
        distributor: partition.platform.distributor,
        cpu_interface: partition.platform.cpu_interface,
        uart: partition.platform.uart,
        uart_intid: partition.platform.uart_intid.0,
        spis: partition.platform.spis,
        shares: partition.windows.shared,
        kept: partition.kept_vcpus,
        connect_to: partition.talk.connect_to.0,
        accept_from: partition.talk.accept_from.0,
        page_slots: partition.windows.pages,
        block_slots: partition.windows.blocks,
        giant_slots: partition.windows.giants,
        channels: partition.windows.channels,
        limits: partition.limits.map(|limit| limit.unwrap_or(NONE)),
    }
}

fn vcpu_row(vcpu: &Vcpu) -> VcpuRow {
    let (kind, budget_us, period_us) = match vcpu.time {
        CoreTime::Owned => (0, 0, 0),
        CoreTime::Reservation { budget_us, period_us } => (1, budget_us, period_us),
    };
    VcpuRow {
        cores: CoreSet(vcpu.cores.0),
        budget_us,
        period_us,
        home: vcpu.home.0,
        priority: vcpu.priority,
        kind,
        reserved: 0,
        reserved2: 0,
    }
}
