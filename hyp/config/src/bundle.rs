//! The bundle: parsed once, then read through plain values.

use core::str;

use shikiri_abi::{CoreId, IntId, PAGE_BYTES, Pa, RESOURCE_COUNT, Resource};

use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::check::{self, MachineFacts};
use crate::error::BundleError;
use crate::row::{
    BLOB_ALIGN, BlobRow, CRC_FROM, DeviceRow, Header, ImageRow, InterruptRow, MAGIC, MAGIC_WORD,
    MemoryRow, NO_FOCUS, NONE, PartitionRow, VERSION, VcpuRow,
};
use crate::types::{
    Blob, Board, CoreTime, Device, GicVersion, Image, ImageKind, Interrupt, Memory, Place,
    Platform, Restart, RestartPolicy, Vcpu,
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
    pub(crate) blobs: &'a [[u64; BlobRow::WORDS]],
    pub(crate) strings: &'a str,
}

/// A checked bundle. Everything that its accessors return has passed every rule of `check`.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    board: Board<'a>,
    tables: Tables<'a>,
}

impl<'a> Bundle<'a> {
    /// Reads and checks a bundle; `crc32` computes CRC-32 (IEEE, reflected, as in Ethernet).
    ///
    /// The blobs' contents are not read: `Blob::verify` does that when one is loaded. The bytes behind the last
    /// blob do not matter (a boot loader may round the size up).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(bytes: &'a [u8], crc32: impl Fn(&[u8]) -> u32) -> Result<Self, BundleError<'a>> {
        let (header, rows) = read_header(bytes)?;
        let (tables, covered) = cut_tables(bytes, rows, &header)?;
        let computed = crc32(covered);
        if computed != header.crc32 {
            return Err(BundleError::Checksum { stored: header.crc32, computed });
        }
        check_blobs(bytes, &header, &tables, covered)?;
        let board = read_board(&header, &tables)?;
        let total = usize::try_from(header.total_bytes).ok().and_then(|total| bytes.get(..total));
        let bundle = Self { bytes: total.unwrap_or(bytes), board, tables };
        check::check(&bundle)?;
        Ok(bundle)
    }

    /// Checks the bundle against the machine that it has been loaded on.
    ///
    /// # Errors
    /// Another GIC version, too few cores, memory that is not in RAM, a device that is.
    pub fn check_machine(&self, machine: &MachineFacts<'_>) -> Result<(), BundleError<'a>> {
        check::check_machine(self, machine)
    }

    /// What the description says about the machine.
    #[must_use]
    pub const fn board(&self) -> Board<'a> {
        self.board
    }

    /// The partitions, in the description's order.
    pub fn partitions(&self) -> impl Iterator<Item = Partition<'a>> + Clone + use<'a> {
        let mut left = self.tables;
        self.tables.partitions.iter().map(move |row| left.next_partition(row))
    }

    /// One partition by its position.
    #[must_use]
    pub fn partition(&self, index: usize) -> Option<Partition<'a>> {
        self.partitions().nth(index)
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn partition_count(&self) -> usize {
        self.tables.partitions.len()
    }

    /// The names alone: much cheaper than the partitions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.tables.partitions.iter().map(name_of)
    }

    /// One blob by its index.
    #[must_use]
    pub fn blob(&self, index: usize) -> Option<Blob<'a>> {
        let row = BlobRow::get(self.tables.blobs.get(index)?);
        let offset = usize::try_from(row.at).ok()?;
        let bytes = self.bytes.get(offset..)?.get(..usize::try_from(row.bytes).ok()?)?;
        Some(Blob { bytes, crc32: row.crc32, offset })
    }

    /// How many blobs there are.
    #[must_use]
    pub const fn blob_count(&self) -> usize {
        self.tables.blobs.len()
    }

    /// The bytes that the bundle itself takes, without what a loader added behind it.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) const fn tables(&self) -> &Tables<'a> {
        &self.tables
    }
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
    /// Where vCPU 0 starts.
    pub entry: shikiri_abi::Ipa,
    /// vCPU 0's `x0` at the start: the device tree, in our tool's bundles.
    pub x0: u64,
    /// Where its virtual devices are.
    pub platform: Platform,
    limits: [u64; RESOURCE_COUNT],
    tables: Tables<'a>,
}

impl<'a> Partition<'a> {
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

    /// The interrupts of its devices.
    pub fn interrupts(&self) -> impl ExactSizeIterator<Item = Interrupt<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.interrupts.iter().map(move |row| interrupt(InterruptRow::get(row), strings))
    }

    pub(crate) const fn rows(&self) -> &Tables<'a> {
        &self.tables
    }
}

impl<'a> Tables<'a> {
    /// Makes a partition from its row and takes its rows from the front of the other tables.
    fn next_partition(&mut self, encoded: &'a [u64; PartitionRow::WORDS]) -> Partition<'a> {
        let row = PartitionRow::get(encoded);
        let tables = Tables {
            partitions: &[],
            vcpus: take_rows(&mut self.vcpus, row.vcpus),
            memory: take_rows(&mut self.memory, row.memory),
            images: take_rows(&mut self.images, row.images),
            devices: take_rows(&mut self.devices, row.devices),
            interrupts: take_rows(&mut self.interrupts, row.interrupts),
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

fn partition<'a>(name: &'a str, row: &PartitionRow, tables: Tables<'a>) -> Partition<'a> {
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
        entry: row.entry,
        x0: row.x0,
        platform: Platform {
            distributor: row.distributor,
            cpu_interface: row.cpu_interface,
            uart: row.uart,
            uart_intid: IntId(row.uart_intid),
            spis: row.spis,
        },
        limits: row.limits,
        tables,
    }
}

/// The name of a partition's row: it comes first, padded with zeros; empty if it is not text.
fn name_of(row: &[u64; PartitionRow::WORDS]) -> &str {
    let name = row.first_chunk::<4>().map_or(&[][..], |name| name.as_bytes());
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
        dma_trusted: row.dma != 0,
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

/// Reads the header; the rest of the words come with it.
fn read_header(bytes: &[u8]) -> Result<(Header, &[u64]), BundleError<'_>> {
    if bytes.first_chunk() != Some(&MAGIC) {
        return Err(BundleError::Magic);
    }
    let have = length(bytes);
    let whole = bytes.len() & !(size_of::<u64>().wrapping_sub(1));
    let words = bytes.get(..whole).and_then(|bytes| <[u64]>::ref_from_bytes(bytes).ok());
    let words = words.ok_or(BundleError::Layout("it must start at a multiple of 8 bytes"))?;
    let Some((raw, rest)) = words.split_first_chunk() else {
        let need = u64::try_from(Header::BYTES).unwrap_or(u64::MAX);
        return Err(BundleError::Truncated { need, have });
    };
    let header = Header::get(raw);
    if header.magic != MAGIC_WORD {
        Err(BundleError::Magic)
    } else if header.version != VERSION {
        Err(BundleError::Version(header.version))
    } else if header.total_bytes > have {
        Err(BundleError::Truncated { need: header.total_bytes, have })
    } else {
        Ok((header, rest))
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Cuts the tables out; also returns the part that the checksum covers.
fn cut_tables<'a>(
    bytes: &'a [u8],
    rows: &'a [u64],
    header: &Header,
) -> Result<(Tables<'a>, &'a [u8]), BundleError<'a>> {
    let mut rest = rows;
    let rest = &mut rest;
    let partitions = cut(rest, header.partitions).ok_or(BundleError::Layout("partition table"))?;
    let vcpus = cut(rest, header.vcpus).ok_or(BundleError::Layout("vCPU table"))?;
    let memory = cut(rest, header.memory).ok_or(BundleError::Layout("memory table"))?;
    let images = cut(rest, header.images).ok_or(BundleError::Layout("image table"))?;
    let devices = cut(rest, header.devices).ok_or(BundleError::Layout("device table"))?;
    let interrupts = cut(rest, header.interrupts).ok_or(BundleError::Layout("interrupt table"))?;
    let blobs = cut(rest, header.blobs).ok_or(BundleError::Layout("blob table"))?;
    let words = rows.len().saturating_sub(rest.len());
    let start = words.saturating_mul(size_of::<u64>()).saturating_add(Header::BYTES);
    let end = usize::try_from(header.strings).ok().and_then(|bytes| start.checked_add(bytes));
    let strings = end.and_then(|end| bytes.get(start..end));
    let strings = strings.filter(|strings| strings.is_ascii()).and_then(|s| str::from_utf8(s).ok());
    let strings = strings.ok_or(BundleError::Layout("string table"))?;
    let covered = end.and_then(|end| bytes.get(CRC_FROM..end));
    let covered = covered.ok_or(BundleError::Layout("checksum range"))?;
    Ok((Tables { partitions, vcpus, memory, images, devices, interrupts, blobs, strings }, covered))
}

/// Cuts `count` rows from the front.
fn cut<'a, const N: usize>(rest: &mut &'a [u64], count: u32) -> Option<&'a [[u64; N]]> {
    let words = usize::try_from(count).ok()?.checked_mul(N)?;
    let (head, tail) = rest.split_at_checked(words)?;
    *rest = tail;
    Some(head.as_chunks().0)
}

/// Blobs follow the tables in order, without overlap, and nothing but zeros lies between.
fn check_blobs<'a>(
    bytes: &'a [u8],
    header: &Header,
    tables: &Tables<'a>,
    covered: &[u8],
) -> Result<(), BundleError<'a>> {
    let mut end = length(covered).saturating_add(length(&[0; CRC_FROM]));
    for row in tables.blobs.iter().map(BlobRow::get) {
        if row.at < end
            || row.at.checked_rem(BLOB_ALIGN) != Some(0)
            || row.at.saturating_sub(end) >= BLOB_ALIGN
        {
            return Err(BundleError::Layout("blobs are not one behind the other"));
        }
        if row.bytes == 0 || row.reserved != 0 {
            return Err(BundleError::Layout("empty or unknown blob"));
        }
        check_gap(bytes, end, row.at)?;
        end = row.at.checked_add(row.bytes).ok_or(BundleError::Layout("blob too long"))?;
    }
    if end == header.total_bytes {
        Ok(())
    } else {
        Err(BundleError::Layout("blobs do not end with the bundle"))
    }
}

fn check_gap(bytes: &[u8], from: u64, to: u64) -> Result<(), BundleError<'_>> {
    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    match range.and_then(|(from, to)| bytes.get(from..to)) {
        Some(gap) if gap.iter().all(|byte| *byte == 0) => Ok(()),
        _ => Err(BundleError::Layout("gap before a blob")),
    }
}

fn read_board<'a>(header: &Header, tables: &Tables<'a>) -> Result<Board<'a>, BundleError<'a>> {
    let wrong = |what, value: u32| BundleError::System { what, value: u64::from(value) };
    let gic =
        GicVersion::from_number(header.gic).ok_or(wrong("unknown GIC version", header.gic))?;
    let len = u16::try_from(header.board_len).ok();
    let compatible = len
        .and_then(|len| text(tables.strings, 0, len))
        .ok_or(wrong("length of the board's name", header.board_len))?;
    let cores = usize::try_from(header.cores).unwrap_or(usize::MAX);
    let focus = match header.focus {
        NO_FOCUS => None,
        index => Some(usize::try_from(index).unwrap_or(usize::MAX)),
    };
    Ok(Board { compatible, gic, cores, focus })
}

/// Rounds up to a whole page; saturates.
pub(crate) fn page_up(address: u64) -> u64 {
    address.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX)
}
