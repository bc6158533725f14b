//! One partition: its counts, images, entry, interrupts and limits.

use shikiri_abi::{IntId, Ipa, PAGE_BYTES, Pa, Resource};
use zerocopy::IntoBytes as _;

use super::address;
use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::partition::{Partition, is_printable, text};
use crate::row::{DeviceRow, ImageRow, InterruptRow, KEPT_BACK, PartitionRow, VcpuRow, WITH_DMA};
use crate::types::{
    CoreTime, ImageKind, Interrupt, MAX_KEPT_BYTES, MAX_KEPT_DEVICES, Memory, Place, RestartPolicy,
};

/// One past the last INTID of a GIC without extended ranges.
const INTIDS: usize = 1024;

/// The rows of all partitions together are the tables, exactly.
pub(crate) fn check_counts<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    let mut left = [
        tables.vcpus.len(),
        tables.memory.len(),
        tables.images.len(),
        tables.devices.len(),
        tables.interrupts.len(),
    ];
    for row in tables.partitions.iter().map(PartitionRow::get) {
        let counts = [row.vcpus, row.memory, row.images, row.devices, row.interrupts];
        for (left, count) in left.iter_mut().zip(counts) {
            *left = left
                .checked_sub(usize::from(count))
                .ok_or(BundleError::Layout("more rows are claimed than there are"))?;
        }
    }
    if left == [0; 5] {
        Ok(())
    } else {
        Err(BundleError::Layout("rows that belong to no partition"))
    }
}

/// Everything that concerns one partition alone.
pub(crate) fn check<'a>(
    bundle: &Bundle<'a>,
    partition: &Partition<'a>,
    row: &[u64; PartitionRow::WORDS],
) -> Result<(), BundleError<'a>> {
    let row = PartitionRow::get(row);
    check_row(partition, &row)?;
    check_encodings(partition)?;
    let vcpus = partition.rows().vcpus.len();
    if !(1..=bundle.board().gic.max_vcpus()).contains(&vcpus) {
        return Err(wrong(partition, "number of vCPUs out of range", u64::from(row.vcpus)));
    }
    address::check_guest(bundle.board().gic, partition)?;
    check_images(bundle, partition)?;
    if !partition.entry.is_aligned(4) || !in_memory(partition, partition.entry, 4) {
        return Err(wrong(partition, "entry is not a word of its memory", partition.entry.0));
    }
    check_interrupts(partition)?;
    check_pmu(partition)?;
    check_dma(partition)?;
    check_kept(partition)?;
    check_limits(partition)
}

fn wrong<'a>(partition: &Partition<'a>, what: &'static str, value: u64) -> BundleError<'a> {
    let claimant = Claimant { partition: partition.name, item: Item::Partition };
    BundleError::Value { claimant, what, value }
}

/// The fields of the partition's own row.
fn check_row<'a>(partition: &Partition<'a>, row: &PartitionRow) -> Result<(), BundleError<'a>> {
    if row.autostart > 1 || row.console > 1 || row.pmu > 1 {
        return Err(BundleError::Layout("unknown flag of a partition"));
    }
    let padding = row.name.as_bytes().get(partition.name.len()..).unwrap_or(&[]);
    if !padding.iter().all(|byte| *byte == 0) {
        return Err(BundleError::Layout("name is not padded with zeros"));
    }
    if row.kept != 0 && row.kept >= row.vcpus {
        return Err(wrong(partition, "vCPU 0 is kept back", u64::from(row.kept)));
    }
    let Some(policy) = RestartPolicy::from_code(row.restart) else {
        return Err(wrong(partition, "unknown restart policy", u64::from(row.restart)));
    };
    if policy != RestartPolicy::Never && row.restart_max != 0 && row.restart_window_ms == 0 {
        return Err(wrong(partition, "restarts are bounded within no time", 0));
    }
    let spis = partition.platform.spis;
    if spis > 988 || (spis != 988 && !spis.is_multiple_of(32)) {
        return Err(wrong(partition, "number of SPIs is not a multiple of 32", u64::from(spis)));
    }
    if partition.has_console && !is_spi_of(partition, partition.platform.uart_intid) {
        return Err(wrong(
            partition,
            "the UART's interrupt is no SPI of the virtual GIC",
            u64::from(row.uart_intid),
        ));
    }
    Ok(())
}

/// The codes and strings in the partition's other rows.
fn check_encodings<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    let rows = partition.rows();
    let is_path = |at, len| {
        is_printable(rows.strings, at, len)
            && text(rows.strings, at, len).is_some_and(|path| path.starts_with('/'))
    };
    let vcpus = rows.vcpus.iter().map(VcpuRow::get).all(|row| {
        row.kind <= 1
            && row.reserved == 0
            && row.reserved2 == 0
            && (row.kind == 1 || (row.budget_us, row.period_us) == (0, 0))
    });
    let images =
        rows.images.iter().map(ImageRow::get).all(|row| ImageKind::from_code(row.kind).is_some());
    let devices = rows.devices.iter().map(DeviceRow::get).all(|row| {
        row.moderated <= 1
            && row.flags & !(WITH_DMA | KEPT_BACK) == 0
            && is_path(row.path_at, row.path_len)
    });
    let interrupts = rows
        .interrupts
        .iter()
        .map(InterruptRow::get)
        .all(|row| row.edge <= 1 && row.reserved == 0 && is_path(row.path_at, row.path_len));
    match (vcpus, images, devices, interrupts) {
        (true, true, true, true) => Ok(()),
        (false, ..) => Err(BundleError::Layout("unknown kind of vCPU")),
        (_, false, ..) => Err(BundleError::Layout("unknown kind of image")),
        (_, _, false, _) => Err(BundleError::Layout("device without a path, or an unknown flag")),
        (.., false) => Err(BundleError::Layout("interrupt without a path, or an unknown flag")),
    }
}

/// Performance monitors count what runs on a core, so that all of it has to be the partition's own.
fn check_pmu<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    if partition.has_pmu && !partition.vcpus().all(|vcpu| vcpu.time == CoreTime::Owned) {
        return Err(wrong(partition, "performance monitors of cores that it does not own", 1));
    }
    Ok(())
}

/// Whether the range lies in one region of the partition's memory.
pub(super) fn in_memory(partition: &Partition<'_>, start: Ipa, bytes: u64) -> bool {
    let holds = |region: Memory| {
        start
            .offset_from(region.ipa)
            .is_some_and(|offset| offset.checked_add(bytes).is_some_and(|end| end <= region.bytes))
    };
    partition.memory().any(holds)
}

/// Each image lies in memory and none on another.
pub(super) fn check_images<'a>(
    bundle: &Bundle<'a>,
    partition: &Partition<'a>,
) -> Result<(), BundleError<'a>> {
    let size = |blob| bundle.blob(blob).and_then(|blob| u64::try_from(blob.bytes.len()).ok());
    let claimant = Claimant { partition: partition.name, item: Item::Image };
    for (index, image) in partition.images().enumerate() {
        let Some(bytes) = size(image.blob) else {
            return Err(BundleError::Layout("image without a blob"));
        };
        if !in_memory(partition, image.load, bytes) {
            let what = "does not fit into its memory";
            return Err(BundleError::Value { claimant, what, value: image.load.0 });
        }
        for earlier in partition.images().take(index) {
            let earlier_end = earlier.load.0.saturating_add(size(earlier.blob).unwrap_or(0));
            if image.load.0 < earlier_end && earlier.load.0 < image.load.0.saturating_add(bytes) {
                let contested = Contested::Ipa(image.load.0.max(earlier.load.0));
                return Err(BundleError::Clash { contested, first: claimant, second: claimant });
            }
        }
    }
    Ok(())
}

pub(crate) fn is_spi_of(partition: &Partition<'_>, id: IntId) -> bool {
    id.is_spi() && id.0.saturating_sub(IntId::FIRST_SPI.0) < partition.platform.spis
}

/// Interrupts are SPIs, and the guest's numbers are given once.
pub(super) fn check_interrupts<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    let mut seen = IntIdSet::default();
    let uart = Claimant { partition: partition.name, item: Item::Uart };
    for interrupt in partition.interrupts() {
        let claimant = interrupt_claimant(partition, &interrupt);
        let value = |what, id: IntId| BundleError::Value { claimant, what, value: u64::from(id.0) };
        if !interrupt.physical.is_spi() {
            return Err(value("physical interrupt is no SPI", interrupt.physical));
        }
        if !is_spi_of(partition, interrupt.virtual_id) {
            return Err(value(
                "guest interrupt is no SPI of the virtual GIC",
                interrupt.virtual_id,
            ));
        }
        let contested = Contested::VirtualInterrupt(interrupt.virtual_id.0);
        if partition.has_console && interrupt.virtual_id == partition.platform.uart_intid {
            return Err(BundleError::Clash { contested, first: uart, second: claimant });
        }
        if !seen.insert(interrupt.virtual_id) {
            let other =
                partition.interrupts().find(|other| other.virtual_id == interrupt.virtual_id);
            let first = other.map_or(claimant, |other| interrupt_claimant(partition, &other));
            return Err(BundleError::Clash { contested, first, second: claimant });
        }
    }
    Ok(())
}

fn interrupt_claimant<'a>(partition: &Partition<'a>, interrupt: &Interrupt<'a>) -> Claimant<'a> {
    Claimant { partition: partition.name, item: Item::Device(interrupt.path) }
}

/// A physical interrupt belongs to one device of one partition.
pub(crate) fn check_physical_interrupts<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let all = || {
        bundle.partitions().flat_map(|partition| {
            partition.interrupts().map(move |interrupt| {
                (interrupt_claimant(&partition, &interrupt), interrupt.physical)
            })
        })
    };
    if bundle.tables().interrupts.is_empty() {
        return Ok(());
    }
    let mut seen = IntIdSet::default();
    for (second, physical) in all() {
        if !seen.insert(physical) {
            let first =
                all().find(|(_, other)| *other == physical).map_or(second, |(first, _)| first);
            let contested = Contested::PhysicalInterrupt(physical.0);
            return Err(BundleError::Clash { contested, first, second });
        }
    }
    Ok(())
}

/// A set of INTIDs.
#[derive(Default)]
struct IntIdSet([u64; INTIDS / 64]);

impl IntIdSet {
    /// Adds an INTID; `false` if it was there already, or is none.
    fn insert(&mut self, id: IntId) -> bool {
        let bit = 1_u64.wrapping_shl(u32::from(id.0 % 64));
        match self.0.get_mut(usize::from(id.0 / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

/// A device that masters the bus sees physical addresses: its partition's memory must have IPA = PA.
fn check_dma<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    if !partition.devices().any(|device| device.dma_trusted) {
        return Ok(());
    }
    match partition.memory().find(|region| region.place != Place::At(Pa(region.ipa.0))) {
        None => Ok(()),
        Some(region) => {
            let claimant = Claimant { partition: partition.name, item: Item::Memory };
            let what = "a device with DMA needs IPA = PA, which this region has not";
            Err(BundleError::Value { claimant, what, value: region.ipa.0 })
        }
    }
}

/// A device is kept back as a whole, and can be given in one step.
pub(super) fn check_kept<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    for (number, path) in partition.kept_devices().enumerate() {
        let claimant = Claimant { partition: partition.name, item: Item::Device(path) };
        let wrong = |what, value| Err(BundleError::Value { claimant, what, value });
        let regions = || partition.devices().filter(|device| device.path == path);
        if number >= MAX_KEPT_DEVICES {
            return wrong("one too many is kept back", u64::try_from(number).unwrap_or(u64::MAX));
        }
        if let Some(other) = regions().find(|device| !device.is_kept) {
            return wrong("is kept back in parts", other.ipa.0);
        }
        if partition.kept_devices().take(number).any(|other| other == path) {
            return wrong("is kept back twice", u64::try_from(number).unwrap_or(u64::MAX));
        }
        let bytes = regions().fold(0_u64, |sum, device| sum.saturating_add(device.bytes));
        if bytes > MAX_KEPT_BYTES {
            return wrong("is kept back, and has too many registers for one step", bytes);
        }
    }
    Ok(())
}

/// What the description gives must be within the limits that it sets.
fn check_limits<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    let memory =
        partition.memory().fold(0_u64, |sum, region| sum.saturating_add(region.bytes / PAGE_BYTES));
    let time = partition.vcpus().fold(0_u64, |sum, vcpu| sum.saturating_add(vcpu.time.ppm()));
    // What is mapped; a moderated device is not.
    let devices = partition
        .devices()
        .filter(|device| !device.moderated)
        .fold(0_u64, |sum, device| sum.saturating_add(device.bytes / PAGE_BYTES));
    let count = u64::try_from(partition.device_paths().count()).unwrap_or(u64::MAX);
    let given = [
        (Resource::CoreTime, time),
        (Resource::IpaSpace, memory.saturating_add(devices)),
        (Resource::Memory, memory),
        (
            Resource::ManagementMemory,
            partition.talk.pages().saturating_add(partition.windows.tables_pages()),
        ),
        (Resource::Devices, count),
    ];
    for (resource, given) in given {
        if let Some(limit) = partition.limit(resource)
            && limit < given
        {
            return Err(BundleError::Limit { partition: partition.name, resource, limit, given });
        }
    }
    Ok(())
}
