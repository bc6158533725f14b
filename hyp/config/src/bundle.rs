//! The bundle: parsed once, then read through plain values.

use core::str;

use shikiri_abi::{AreaClass, IntId, PAGE_BYTES, VcpuIndex};
use zerocopy::FromBytes as _;

use crate::check::{self, MachineFacts};
use crate::error::{BundleError, File};
use crate::partition::{Partition, Tables, name_entry, name_of, shared_area, text};
use crate::row::{
    BLOB_ALIGN, BlobRow, CRC_FROM, ChannelRow, EventRow, Header, MAGIC, MAGIC_WORD, NO_FOCUS,
    NO_HOLDER, NONE, NameRow, PolicyImageRow, PolicyRow, ServiceRow, SharedRow, VERSION,
};
use crate::types::{
    Blob, Board, Channel, ChannelEnd, Event, GicVersion, NameEntry, PartitionSet, Places, Policy,
    PolicyImage, Service, SharedArea, Unanswered,
};

/// A checked bundle. Everything that its accessors return has passed every rule of `check`.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    board: Board<'a>,
    tables: Tables<'a>,
    system: SystemTables<'a>,
}

/// The tables that no partition has rows of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemTables<'a> {
    pub(crate) services: &'a [[u64; ServiceRow::WORDS]],
    pub(crate) policies: &'a [[u64; PolicyRow::WORDS]],
    pub(crate) policy_images: &'a [[u64; PolicyImageRow::WORDS]],
}

impl<'a> Bundle<'a> {
    /// Reads and checks a bundle; `crc32` computes CRC-32 (IEEE, reflected, as in Ethernet).
    ///
    /// The blobs' contents are not read: [`Bundle::check_files`] does that. The bytes behind the last
    /// blob do not matter (a boot loader may round the size up).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(bytes: &'a [u8], crc32: impl Fn(&[u8]) -> u32) -> Result<Self, BundleError<'a>> {
        let (header, rows) = read_header(bytes)?;
        let (tables, system, covered) = cut_tables(bytes, rows, &header)?;
        let computed = crc32(covered);
        if computed != header.crc32 {
            return Err(BundleError::Checksum { stored: header.crc32, computed });
        }
        check_blobs(bytes, &header, &tables, covered)?;
        let board = read_board(&header, &tables)?;
        let total = usize::try_from(header.total_bytes).ok().and_then(|total| bytes.get(..total));
        let bundle = Self { bytes: total.unwrap_or(bytes), board, tables, system };
        check::check(&bundle)?;
        Ok(bundle)
    }

    /// Compares the checksum of every file, each once, whoever loads it; `crc32` as for [`Bundle::parse`].
    ///
    /// # Errors
    /// The first file that is damaged.
    pub fn check_files(&self, crc32: impl Fn(&[u8]) -> u32) -> Result<(), File<'a>> {
        check::check_files(self, crc32)
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

    /// The events between partitions, in the description's order. The ports that a partition has for them are the first of its
    /// handles, in this order.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.events.iter().map(EventRow::get).map(move |row| Event {
            name: text(strings, row.name_at, row.name_len).unwrap_or(""),
            from: usize::from(row.from),
            to: usize::from(row.to),
            intid: IntId(row.intid),
            vcpu: VcpuIndex(row.vcpu),
        })
    }

    /// The message channels between partitions, in the description's order.
    pub fn channels(&self) -> impl Iterator<Item = Channel<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.channels.iter().map(move |row| channel(&ChannelRow::get(row), strings))
    }

    /// Whom the description's events and message channels connect a partition with.
    #[must_use]
    pub fn partners(&self, partition: usize) -> PartitionSet {
        let events = self.events().filter_map(|event| event.peer_of(partition));
        let ends = self.channels().filter_map(|channel| channel.ends_for(partition));
        events
            .chain(ends.map(|[_, other]| other.partition))
            .fold(PartitionSet::EMPTY, |set, other| set.union(PartitionSet::one(other)))
    }

    /// Where the end of a partition lies that comes behind its events, its shared areas and the first `channels` channels.
    #[must_use]
    #[inline(never)]
    pub fn places(&self, partition: usize, channels: usize) -> Places {
        let events = self.events().filter(|event| event.concerns(partition)).count();
        let places = Places::behind_events(u64::try_from(events).unwrap_or(u64::MAX));
        let shared = self.shared_areas().filter(|area| area.partitions.contains(partition));
        let places = shared.fold(places, |places, area| places.behind_shared(area.class));
        self.channels().take(channels).fold(places, |places, channel| {
            match channel.ends_for(partition) {
                Some([own, _]) => places.behind(channel.class, own.slots),
                None => places,
            }
        })
    }

    /// The entries for names of objects, in the description's order.
    pub fn name_entries(&self) -> impl Iterator<Item = NameEntry<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.names.iter().map(move |row| name_entry(NameRow::get(row), strings))
    }

    /// The areas that partitions share from their start, in the description's order. Each partition has a handle for each of its own
    /// behind those for its events, and the first free slots of their classes, in this order.
    pub fn shared_areas(&self) -> impl Iterator<Item = SharedArea<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.tables.shared.iter().map(move |row| shared_area(SharedRow::get(row), strings))
    }

    /// The services that partitions offer, in the description's order.
    pub fn services(&self) -> impl Iterator<Item = Service<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.system.services.iter().map(ServiceRow::get).map(move |row| Service {
            name: text(strings, row.name_at, row.name_len).unwrap_or(""),
            of: usize::from(row.of),
            number: row.number,
            to: PartitionSet(row.to),
        })
    }

    /// Who makes policy and what may be handed out, if the description says so.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.system.policies.first().map(|row| policy(&PolicyRow::get(row)))
    }

    /// The files that the policy program may load, in the description's order.
    pub fn policy_images(&self) -> impl Iterator<Item = PolicyImage<'a>> + Clone + use<'a> {
        let strings = self.tables.strings;
        self.system.policy_images.iter().map(PolicyImageRow::get).map(move |row| PolicyImage {
            name: text(strings, row.name_at, row.name_len).unwrap_or(""),
            blob: usize::try_from(row.blob).unwrap_or(usize::MAX),
        })
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

    pub(crate) const fn system_tables(&self) -> SystemTables<'a> {
        self.system
    }

    pub(crate) const fn tables(&self) -> &Tables<'a> {
        &self.tables
    }
}

fn policy(row: &PolicyRow) -> Policy {
    Policy {
        partition: (row.partition != NO_HOLDER).then(|| usize::from(row.partition)),
        spare: usize::from(row.spare),
        default: if row.default == 0 { Unanswered::Refused } else { Unanswered::Granted },
        answer_ms: row.answer_ms,
        handout: row.handout.map(|limit| (limit != NONE).then_some(limit)),
    }
}

fn channel<'a>(row: &ChannelRow, strings: &'a str) -> Channel<'a> {
    let end = |partition: u8, slots, intid, vcpu| ChannelEnd {
        partition: usize::from(partition),
        slots,
        intid: IntId(intid),
        vcpu: VcpuIndex(vcpu),
    };
    Channel {
        name: text(strings, row.name_at, row.name_len).unwrap_or(""),
        class: AreaClass::from_code(row.class.into()).unwrap_or(AreaClass::Page),
        ends: [
            end(row.first, row.first_slots, row.first_intid, row.first_vcpu),
            end(row.second, row.second_slots, row.second_intid, row.second_vcpu),
        ],
    }
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
) -> Result<(Tables<'a>, SystemTables<'a>, &'a [u8]), BundleError<'a>> {
    let mut rest = rows;
    let rest = &mut rest;
    let partitions = cut(rest, header.partitions).ok_or(BundleError::Layout("partition table"))?;
    let vcpus = cut(rest, header.vcpus).ok_or(BundleError::Layout("vCPU table"))?;
    let memory = cut(rest, header.memory).ok_or(BundleError::Layout("memory table"))?;
    let images = cut(rest, header.images).ok_or(BundleError::Layout("image table"))?;
    let devices = cut(rest, header.devices).ok_or(BundleError::Layout("device table"))?;
    let interrupts = cut(rest, header.interrupts).ok_or(BundleError::Layout("interrupt table"))?;
    let events = cut(rest, header.events).ok_or(BundleError::Layout("event table"))?;
    let names = cut(rest, header.names).ok_or(BundleError::Layout("name table"))?;
    let shared = cut(rest, header.shared).ok_or(BundleError::Layout("table of shared areas"))?;
    let channels = cut(rest, header.channels).ok_or(BundleError::Layout("channel table"))?;
    let services = cut(rest, header.services.into()).ok_or(BundleError::Layout("service table"))?;
    let policies = cut(rest, header.policies.into()).ok_or(BundleError::Layout("policy table"))?;
    let policy_images =
        cut(rest, header.policy_images).ok_or(BundleError::Layout("table of policy images"))?;
    let blobs = cut(rest, header.blobs).ok_or(BundleError::Layout("blob table"))?;
    let words = rows.len().saturating_sub(rest.len());
    let start = words.saturating_mul(size_of::<u64>()).saturating_add(Header::BYTES);
    let end = usize::try_from(header.strings).ok().and_then(|bytes| start.checked_add(bytes));
    let strings = end.and_then(|end| bytes.get(start..end));
    let strings = strings.filter(|strings| strings.is_ascii()).and_then(|s| str::from_utf8(s).ok());
    let strings = strings.ok_or(BundleError::Layout("string table"))?;
    let covered = end.and_then(|end| bytes.get(CRC_FROM..end));
    let covered = covered.ok_or(BundleError::Layout("checksum range"))?;
    let tables = Tables {
        partitions,
        vcpus,
        memory,
        images,
        devices,
        interrupts,
        events,
        names,
        shared,
        channels,
        blobs,
        strings,
    };
    Ok((tables, SystemTables { services, policies, policy_images }, covered))
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
