//! The rows of the bundle's tables, as they lie in memory.
//!
//! Order in the bundle: header, then the tables in the order of `Header`'s counts, then the strings, then the
//! blobs. Where each table starts follows from the counts, so there are no offsets that could lie.

use shikiri_abi::{CoreSet, Ipa, Pa, RESOURCE_COUNT};

use crate::wire::record;

/// What every bundle starts with.
pub(crate) const MAGIC: [u8; 8] = *b"SHIKIRI\0";
/// The same as the header's first word.
pub(crate) const MAGIC_WORD: u64 = u64::from_le_bytes(MAGIC);
/// The version of this layout; another one is refused.
pub(crate) const VERSION: u32 = 7;
/// Where the part that the CRC covers begins: behind magic and CRC.
pub(crate) const CRC_FROM: usize = 12;
/// A blob starts at a multiple of this many bytes from the bundle's start; the gap before it is zero.
pub(crate) const BLOB_ALIGN: u64 = 16;
/// "No address chosen" and "no limit".
pub(crate) const NONE: u64 = u64::MAX;
/// "No partition holds the policy capability".
pub(crate) const NO_HOLDER: u8 = u8::MAX;
/// "No partition has the console's focus".
pub(crate) const NO_FOCUS: u32 = u32::MAX;

record!(
    /// The start of the bundle.
    Header {
        /// `MAGIC`.
        magic: u64,
        /// CRC-32 (IEEE) of everything behind this field, to the end of the strings.
        crc32: u32,
        /// `VERSION`.
        version: u32,
        /// Bytes from the start of the bundle to the end of its last blob.
        total_bytes: u64,
        /// Number of partitions.
        partitions: u32,
        /// Number of vCPUs of all partitions.
        vcpus: u32,
        /// Number of memory regions of all partitions.
        memory: u32,
        /// Number of images of all partitions.
        images: u32,
        /// Number of device regions of all partitions.
        devices: u32,
        /// Number of device interrupts of all partitions.
        interrupts: u32,
        /// Number of events between partitions.
        events: u32,
        /// Number of entries for names of objects.
        names: u32,
        /// Number of shared areas.
        shared: u32,
        /// Number of message channels between partitions.
        channels: u32,
        /// Number of services.
        services: u16,
        /// Number of policy rows, 0 or 1.
        policies: u16,
        /// Number of images that the policy program may load.
        policy_images: u32,
        /// Number of blobs.
        blobs: u32,
        /// Bytes of the string table.
        strings: u32,
        /// Length of the board's `compatible`, which starts the string table.
        board_len: u32,
        /// 2 or 3.
        gic: u32,
        /// Cores that the description counts on.
        cores: u32,
        /// The partition that has the console first, or `NO_FOCUS`.
        focus: u32,
    }
);

record!(
    /// A partition. Its rows in the other tables follow those of the partition before it.
    PartitionRow {
        /// The name, padded with zeros.
        name: [u64; 4],
        /// How many rows it has in each table.
        vcpus: u16,
        memory: u16,
        images: u16,
        devices: u16,
        interrupts: u16,
        /// Lower ones start first.
        start_order: u16,
        /// 0 or 1.
        autostart: u8,
        /// 0 or 1.
        console: u8,
        /// 0 never, 1 on fault, 2 always.
        restart: u8,
        /// 0 or 1.
        pmu: u8,
        /// At most this many restarts within the window.
        restart_max: u32,
        restart_window_ms: u32,
        restart_delay_ms: u32,
        /// Entries of its handle table.
        handles: u16,
        /// Requests of its own that can wait at others.
        requests: u16,
        entry: Ipa,
        x0: u64,
        distributor: Ipa,
        /// GICv3: redistributors; GICv2: CPU interface.
        cpu_interface: Ipa,
        uart: Ipa,
        uart_intid: u16,
        spis: u16,
        /// Shares in shared areas.
        shares: u16,
        /// How many of its vCPUs, the last ones, are kept back.
        kept: u16,
        /// Whom it may ask for connections, a bit for each partition.
        connect_to: u64,
        /// Whose requests it gets.
        accept_from: u64,
        /// Window slots for message areas, by size.
        page_slots: u16,
        block_slots: u16,
        giant_slots: u16,
        /// Message ports.
        channels: u16,
        /// Limit per resource, `NONE` = unset.
        limits: [u64; RESOURCE_COUNT],
    }
);

record!(
    /// A vCPU.
    VcpuRow {
        cores: CoreSet,
        budget_us: u32,
        period_us: u32,
        home: u8,
        priority: u8,
        /// 0 owned, 1 reservation.
        kind: u8,
        reserved: u8,
        reserved2: u32,
    }
);

record!(
    /// A memory region.
    MemoryRow {
        ipa: Ipa,
        bytes: u64,
        /// `NONE` = anywhere.
        pa: Pa,
    }
);

record!(
    /// Something to copy into memory before the start.
    ImageRow {
        load: Ipa,
        blob: u32,
        /// 0 program, 1 initial RAM disk, 2 device tree.
        kind: u32,
    }
);

record!(
    /// One register region of a device.
    DeviceRow {
        ipa: Ipa,
        pa: Pa,
        bytes: u64,
        path_at: u32,
        path_len: u16,
        /// 0 or 1.
        moderated: u8,
        /// Bit 0: trusted with DMA; bit 1: kept back.
        flags: u8,
    }
);

/// `DeviceRow::flags`: trusted with DMA.
pub(crate) const WITH_DMA: u8 = 1;
/// `DeviceRow::flags`: kept back.
pub(crate) const KEPT_BACK: u8 = 2;

record!(
    /// An interrupt of a device.
    InterruptRow {
        path_at: u32,
        path_len: u16,
        physical: u16,
        virtual_: u16,
        /// 0 or 1.
        edge: u16,
        reserved: u32,
    }
);

record!(
    /// A connection for events, from one partition to another.
    EventRow {
        name_at: u32,
        name_len: u16,
        /// The partitions' positions.
        from: u8,
        to: u8,
        /// What the receiver sees.
        intid: u16,
        vcpu: u8,
        reserved: u8,
        reserved2: u32,
    }
);

record!(
    /// A message channel between two partitions: what each of its ends is follows twice.
    ChannelRow {
        name_at: u32,
        name_len: u16,
        /// Of the window slots of both: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB.
        class: u8,
        reserved: u8,
        /// The partition's position.
        first: u8,
        first_vcpu: u8,
        first_intid: u16,
        first_slots: u16,
        second: u8,
        second_vcpu: u8,
        second_intid: u16,
        second_slots: u16,
        reserved2: u32,
    }
);

record!(
    /// An entry for names of objects.
    NameRow {
        /// The name, or how the names begin.
        text_at: u32,
        text_len: u16,
        /// Objects that there can be of it.
        objects: u16,
        /// Who may open them, a bit for each partition.
        partitions: u64,
        /// 0 or 1.
        is_prefix: u8,
        reserved: u8,
        reserved2: u16,
        reserved3: u32,
    }
);

record!(
    /// An area that partitions share.
    SharedRow {
        name_at: u32,
        name_len: u16,
        /// 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB.
        class: u8,
        reserved: u8,
        pages: u32,
        reserved2: u32,
        /// Who has it, a bit for each partition.
        partitions: u64,
        /// Who of them may write.
        writers: u64,
    }
);

record!(
    /// A service of a partition, and who may ask for it.
    ServiceRow {
        name_at: u32,
        name_len: u16,
        /// The position of the partition that it is asked at.
        of: u16,
        number: u32,
        reserved: u32,
        /// Who may ask for it, a bit for each partition; all of them: whoever may ask the partition at all.
        to: u64,
    }
);

record!(
    /// Who holds the policy capability, and what it may hand out.
    PolicyRow {
        /// The partition's position, or `NO_HOLDER`.
        partition: u8,
        /// Places for partitions that are made at run time.
        spare: u8,
        /// What becomes of a request that nobody answers: 0 refused, 1 granted.
        default: u8,
        reserved: u8,
        /// How long an answer may take, in milliseconds.
        answer_ms: u32,
        /// What can be handed out per resource, `NONE` = unset.
        handout: [u64; RESOURCE_COUNT],
    }
);

record!(
    /// A file that the policy program may load into partitions that it makes.
    PolicyImageRow {
        name_at: u32,
        name_len: u16,
        reserved: u16,
        blob: u32,
        reserved2: u32,
    }
);

record!(
    /// A file that the bundle carries.
    BlobRow {
        at: u64,
        bytes: u64,
        crc32: u32,
        reserved: u32,
    }
);
