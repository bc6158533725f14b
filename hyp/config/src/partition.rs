//! A partition as the bundle describes it: rows of the tables, decoded when they are asked for.

use core::str;

use shikiri_abi::{AreaClass, CoreId, IntId, Ipa, Pa, PageCount, RESOURCE_COUNT, Resource};
use zerocopy::IntoBytes as _;

use crate::row::{
    BlobRow, ChannelRow, DeviceRow, EventRow, ImageRow, InterruptRow, KEPT_BACK, MemoryRow, NONE,
    NameRow, PartitionRow, SharedRow, VcpuRow, WITH_DMA,
};
use crate::types::{
    CoreTime, Device, Image, ImageKind, Interrupt, Memory, NameEntry, PartitionSet, Place,
    Platform, Restart, RestartPolicy, SharedArea, Talk, Vcpu, Windows,
};

/// The tables of a bundle: rows still encoded, cut to length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables<'a> {
    pub(crate) partitions: &'a [[u64; PartitionRow::WORDS]],
    pub(crate) vcpus: &'a [[u64; VcpuRow::WORDS]],
    pub(crate) memory: &'a [[u64; MemoryRow::WORDS]],
    pub(crate) images: &'a [[u64; ImageRow::WORDS]],
    pub(crate) devices: &'a [[u64; DeviceRow::WORDS]],
    pub(crate) interrupts: &'a [[u64; InterruptRow::WORDS]],
    pub(crate) events: &'a [[u64; EventRow::WORDS]],
    pub(crate) names: &'a [[u64; NameRow::WORDS]],
    pub(crate) shared: &'a [[u64; SharedRow::WORDS]],
    pub(crate) channels: &'a [[u64; ChannelRow::WORDS]],
    pub(crate) blobs: &'a [[u64; BlobRow::WORDS]],
    pub(crate) strings: &'a str,
}

/// A partition of the description, with its rows of the other tables.
#[derive(Clone, Copy, Debug)]
pub struct Partition<'a> {
    /// Its name: 1 to 31 of `a`–`z`, `0`–`9`, `_`, `-`.
    pub name: &'a str,
    /// Lower ones start first; equal ones in the description's order.
    pub start_order: u16,
    /// Whether it starts with the machine; else the operator or the policy program starts it.
    pub autostart: bool,
    /// What happens when it ends.
    pub restart: Restart,
    /// Whether it has a virtual UART.
    pub has_console: bool,
    /// Whether it has the performance monitors of its cores, all of which it owns.
    pub has_pmu: bool,
    /// How many of its vCPUs, the last ones, are kept back until the policy program grants them.
    pub kept_vcpus: u16,
    /// Where vCPU 0 starts.
    pub entry: Ipa,
    /// vCPU 0's `x0` at the start: the device tree, in our tool's bundles.
    pub x0: u64,
    /// Where its virtual devices are.
    pub platform: Platform,
    /// How much it may talk, and to whom.
    pub talk: Talk,
    /// How many message areas and channels it may have.
    pub windows: Windows,
    limits: [u64; RESOURCE_COUNT],
    tables: Tables<'a>,
}

impl<'a> Partition<'a> {
    /// Nobody: what stands where no partition is described.
    #[must_use]
    pub const fn nobody() -> Self {
        Self {
            name: "",
            start_order: 0,
            autostart: false,
            restart: Restart { policy: RestartPolicy::Never, max: 0, window_ms: 0, delay_ms: 0 },
            has_console: false,
            has_pmu: false,
            kept_vcpus: 0,
            entry: Ipa(0),
            x0: 0,
            platform: Platform {
                distributor: Ipa(0),
                cpu_interface: Ipa(0),
                uart: Ipa(0),
                uart_intid: IntId(0),
                spis: 0,
            },
            talk: Talk {
                handles: 0,
                requests: 0,
                connect_to: PartitionSet::EMPTY,
                accept_from: PartitionSet::EMPTY,
            },
            windows: Windows { pages: 0, blocks: 0, giants: 0, channels: 0, shared: 0 },
            limits: [NONE; RESOURCE_COUNT],
            tables: Tables::NONE,
        }
    }

    /// The account's limit, if one is set.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> Option<u64> {
        let limit = self.limits.get(usize::from(resource.number())).copied()?;
        (limit != NONE).then_some(limit)
    }

    /// Its vCPUs, by index.
    pub fn vcpus(&self) -> impl ExactSizeIterator<Item = Vcpu> + Clone + use<'a> {
        self.tables.vcpus.iter().map(|row| vcpu(VcpuRow::get(row)))
    }

    /// How many of them can be turned on from the start.
    #[must_use]
    pub fn usable_vcpus(&self) -> u8 {
        let usable = self.tables.vcpus.len().saturating_sub(usize::from(self.kept_vcpus));
        u8::try_from(usable).unwrap_or(u8::MAX)
    }

    /// Its memory.
    pub fn memory(&self) -> impl ExactSizeIterator<Item = Memory> + Clone + use<'a> {
        self.tables.memory.iter().map(|row| memory(MemoryRow::get(row)))
    }

    /// What is copied into its memory before a start.
    pub fn images(&self) -> impl ExactSizeIterator<Item = Image> + Clone + use<'a> {
        self.tables.images.iter().map(|row| image(ImageRow::get(row)))
    }

    /// The register regions of its devices.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = Device<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.devices.iter().map(move |row| device(DeviceRow::get(row), strings))
    }

    /// The paths of its devices, one for each: regions with one path belong to the same device.
    pub fn device_paths(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let devices = self.devices();
        devices.clone().enumerate().filter_map(move |(index, device)| {
            let is_new = devices.clone().take(index).all(|earlier| earlier.path != device.path);
            is_new.then_some(device.path)
        })
    }

    /// The interrupts of its devices.
    pub fn interrupts(&self) -> impl ExactSizeIterator<Item = Interrupt<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.interrupts.iter().map(move |row| interrupt(InterruptRow::get(row), strings))
    }

    /// The paths of the devices that are kept back, one for each: the first one's number is 0.
    pub fn kept_devices(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let mut last = "";
        self.devices().filter(|device| device.is_kept).filter_map(move |device| {
            let is_new = device.path != last;
            last = device.path;
            is_new.then_some(last)
        })
    }

    /// Whether the device with this path is kept back.
    #[must_use]
    pub fn keeps_back(&self, path: &str) -> bool {
        self.devices().any(|device| device.is_kept && device.path == path)
    }

    pub(crate) const fn rows(&self) -> &Tables<'a> {
        &self.tables
    }
}

impl<'a> Tables<'a> {
    /// No rows.
    pub(crate) const NONE: Self = Self {
        partitions: &[],
        vcpus: &[],
        memory: &[],
        images: &[],
        devices: &[],
        interrupts: &[],
        events: &[],
        names: &[],
        shared: &[],
        channels: &[],
        blobs: &[],
        strings: "",
    };

    /// Makes a partition from its row and takes its rows from the front of the other tables.
    pub(crate) fn next_partition(
        &mut self,
        encoded: &'a [u64; PartitionRow::WORDS],
    ) -> Partition<'a> {
        let row = PartitionRow::get(encoded);
        let tables = Tables {
            partitions: &[],
            vcpus: take_rows(&mut self.vcpus, row.vcpus),
            memory: take_rows(&mut self.memory, row.memory),
            images: take_rows(&mut self.images, row.images),
            devices: take_rows(&mut self.devices, row.devices),
            interrupts: take_rows(&mut self.interrupts, row.interrupts),
            events: self.events,
            names: &[],
            shared: &[],
            channels: &[],
            blobs: self.blobs,
            strings: self.strings,
        };
        partition(name_of(encoded), &row, tables)
    }
}

fn take_rows<'a, T>(table: &mut &'a [T], count: u16) -> &'a [T] {
    let (head, rest) = table.split_at_checked(usize::from(count)).unwrap_or((table, &[]));
    *table = rest;
    head
}

pub(crate) fn partition<'a>(
    name: &'a str,
    row: &PartitionRow,
    tables: Tables<'a>,
) -> Partition<'a> {
    Partition {
        name,
        start_order: row.start_order,
        autostart: row.autostart != 0,
        restart: Restart {
            policy: RestartPolicy::from_code(row.restart).unwrap_or(RestartPolicy::Never),
            max: row.restart_max,
            window_ms: row.restart_window_ms,
            delay_ms: row.restart_delay_ms,
        },
        has_console: row.console != 0,
        has_pmu: row.pmu != 0,
        kept_vcpus: row.kept,
        entry: row.entry,
        x0: row.x0,
        platform: Platform {
            distributor: row.distributor,
            cpu_interface: row.cpu_interface,
            uart: row.uart,
            uart_intid: IntId(row.uart_intid),
            spis: row.spis,
        },
        talk: Talk {
            handles: row.handles,
            requests: row.requests,
            connect_to: PartitionSet(row.connect_to),
            accept_from: PartitionSet(row.accept_from),
        },
        windows: Windows {
            pages: row.page_slots,
            blocks: row.block_slots,
            giants: row.giant_slots,
            channels: row.channels,
            shared: row.shares,
        },
        limits: row.limits,
        tables,
    }
}

/// The name of a partition's row: it comes first, padded with zeros; empty if it is not text.
pub(crate) fn name_of(row: &[u64; PartitionRow::WORDS]) -> &str {
    row.first_chunk().map_or("", name_text)
}

/// A name as it lies in a bundle; empty if it is not text.
pub(crate) fn name_text(name: &[u64; 4]) -> &str {
    let name = name.as_bytes();
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    name.get(..end).and_then(|name| str::from_utf8(name).ok()).unwrap_or("")
}

pub(crate) fn vcpu(row: VcpuRow) -> Vcpu {
    let time = match row.kind {
        0 => CoreTime::Owned,
        _ => CoreTime::Reservation { budget_us: row.budget_us, period_us: row.period_us },
    };
    Vcpu { cores: row.cores, home: CoreId(row.home), time, priority: row.priority }
}

pub(crate) fn memory(row: MemoryRow) -> Memory {
    let place = if row.pa == Pa(NONE) { Place::Any } else { Place::At(row.pa) };
    Memory { ipa: row.ipa, bytes: row.bytes, place }
}

fn image(row: ImageRow) -> Image {
    Image {
        blob: usize::try_from(row.blob).unwrap_or(usize::MAX),
        load: row.load,
        kind: ImageKind::from_code(row.kind).unwrap_or(ImageKind::Program),
    }
}

pub(crate) fn device(row: DeviceRow, strings: &str) -> Device<'_> {
    Device {
        ipa: row.ipa,
        pa: row.pa,
        bytes: row.bytes,
        moderated: row.moderated != 0,
        dma_trusted: row.flags & WITH_DMA != 0,
        is_kept: row.flags & KEPT_BACK != 0,
        path: text(strings, row.path_at, row.path_len).unwrap_or(""),
    }
}

pub(crate) fn interrupt(row: InterruptRow, strings: &str) -> Interrupt<'_> {
    Interrupt {
        physical: IntId(row.physical),
        virtual_id: IntId(row.virtual_),
        edge: row.edge != 0,
        path: text(strings, row.path_at, row.path_len).unwrap_or(""),
    }
}

/// A piece of the string table.
pub(crate) fn text(strings: &str, at: u32, len: u16) -> Option<&str> {
    strings.get(usize::try_from(at).ok()?..)?.get(..usize::from(len))
}

/// Whether a piece of the string table is there, printable, and not empty: a name or a path.
#[inline(never)]
pub(crate) fn is_printable(strings: &str, at: u32, len: u16) -> bool {
    let text = text(strings, at, len).filter(|text| !text.is_empty());
    text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
}

pub(crate) fn shared_area(row: SharedRow, strings: &str) -> SharedArea<'_> {
    SharedArea {
        name: text(strings, row.name_at, row.name_len).unwrap_or(""),
        pages: PageCount(u64::from(row.pages)),
        class: AreaClass::from_code(u64::from(row.class)).unwrap_or(AreaClass::Page),
        partitions: PartitionSet(row.partitions),
        writers: PartitionSet(row.writers),
    }
}

pub(crate) fn name_entry(row: NameRow, strings: &str) -> NameEntry<'_> {
    NameEntry {
        text: text(strings, row.text_at, row.text_len).unwrap_or(""),
        is_prefix: row.is_prefix != 0,
        partitions: PartitionSet(row.partitions),
        objects: row.objects,
    }
}
