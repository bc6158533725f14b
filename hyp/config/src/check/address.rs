//! Addresses: nothing overlaps, neither in a partition's IPA space nor physically.

use shikiri_abi::{Ipa, PAGE_BYTES, Pa};

use crate::bundle::{Bundle, page_up};
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::partition::{Partition, memory};
use crate::row::{DeviceRow, MemoryRow};
use crate::types::{
    Device, GIC_FRAME_BYTES, GicVersion, IPA_BITS, MAX_MODERATED, MAX_PLACED, Memory, PA_BITS,
    Place, REDISTRIBUTOR_BYTES,
};

/// The bits of an address inside its page.
const PAGE_MASK: u64 = PAGE_BYTES.wrapping_sub(1);

/// A range of addresses that somebody wants.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    bytes: u64,
    /// Access is checked byte by byte, so that others can have the rest of the page.
    moderated: bool,
}

/// A range with its claimant.
#[derive(Clone, Copy)]
struct Claim<'a> {
    range: Range,
    claimant: Claimant<'a>,
}

impl Range {
    /// What must be free of other claims: whole pages, except between moderated devices.
    #[inline]
    fn extent(&self, in_bytes: bool) -> (u64, u64) {
        let end = self.start.saturating_add(self.bytes);
        if in_bytes { (self.start, end) } else { (self.start & !PAGE_MASK, page_up(end)) }
    }

    /// The first address that both want.
    #[inline]
    fn overlap(&self, other: &Self) -> Option<u64> {
        let in_bytes = self.moderated && other.moderated;
        let (start, end) = self.extent(in_bytes);
        let (other_start, other_end) = other.extent(in_bytes);
        (start < other_end && other_start < end).then_some(start.max(other_start))
    }
}

/// Two claims that overlap, by their positions, and the first address that both want.
struct Overlap {
    first: usize,
    second: usize,
    address: u64,
}

/// Finds the first two ranges that overlap. Every pair is looked at, so the ranges come without names.
#[inline(never)]
fn find_overlap(ranges: impl Iterator<Item = Range> + Clone) -> Option<Overlap> {
    let mut rest = ranges.enumerate();
    while let Some((first, range)) = rest.next() {
        for (second, other) in rest.clone() {
            if let Some(address) = range.overlap(&other) {
                return Some(Overlap { first, second, address });
            }
        }
    }
    None
}

/// Names the two claimants of an overlap; `each` shows them in the order that the ranges had.
fn clash<'a>(
    overlap: &Overlap,
    each: impl FnOnce(&mut dyn FnMut(Claimant<'a>)),
    contested: Contested,
) -> BundleError<'a> {
    let (mut at, mut first, mut second) = (0_usize, None, None);
    each(&mut |claimant| {
        if at == overlap.first {
            first = Some(claimant);
        } else if at == overlap.second {
            second = Some(claimant);
        }
        at = at.saturating_add(1);
    });
    match first.zip(second) {
        Some((first, second)) => BundleError::Clash { contested, first, second },
        None => BundleError::Layout("addresses overlap"),
    }
}

/// Physical addresses: memory with a fixed place and devices, of all partitions.
pub(crate) fn check_physical<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    let memory = tables.memory.iter().filter_map(|row| placed(&memory(MemoryRow::get(row))));
    let devices = tables.devices.iter().map(|row| device_range(&DeviceRow::get(row), physical));
    match find_overlap(memory.chain(devices)) {
        None => Ok(()),
        Some(overlap) => {
            let each = |see: &mut dyn FnMut(Claimant<'a>)| physical_claimants(bundle, see);
            Err(clash(&overlap, each, Contested::Pa(overlap.address)))
        }
    }
}

/// EL2 has places for so many regions of all partitions, and no more.
pub(crate) fn check_places<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    let moderated = tables.devices.iter().filter(|row| DeviceRow::get(row).moderated != 0);
    let fixed = tables.memory.iter().filter(|row| memory(MemoryRow::get(row)).place != Place::Any);
    at_most(MAX_MODERATED, moderated, "too many moderated regions")?;
    at_most(MAX_PLACED, fixed, "too many regions by address")
}

fn at_most<'a, T>(
    most: usize,
    rows: impl Iterator<Item = T>,
    what: &'static str,
) -> Result<(), BundleError<'a>> {
    let count = rows.count();
    if count <= most {
        return Ok(());
    }
    Err(BundleError::System { what, value: u64::try_from(count).unwrap_or(u64::MAX) })
}

/// The physical range of a region, if it has a fixed one.
fn placed(region: &Memory) -> Option<Range> {
    match region.place {
        Place::At(pa) => Some(Range { start: pa.0, bytes: region.bytes, moderated: false }),
        Place::Any => None,
    }
}

fn physical(row: &DeviceRow) -> u64 {
    row.pa.0
}

fn in_guest(row: &DeviceRow) -> u64 {
    row.ipa.0
}

fn device_range(row: &DeviceRow, start: impl Fn(&DeviceRow) -> u64) -> Range {
    Range { start: start(row), bytes: row.bytes, moderated: row.moderated != 0 }
}

/// Who claims the physical ranges: all memory, then all devices.
fn physical_claimants<'a>(bundle: &Bundle<'a>, see: &mut dyn FnMut(Claimant<'a>)) {
    for partition in bundle.partitions() {
        let claimant = Claimant { partition: partition.name, item: Item::Memory };
        for region in partition.memory() {
            if placed(&region).is_some() {
                see(claimant);
            }
        }
    }
    for partition in bundle.partitions() {
        device_claimants(&partition, see);
    }
}

fn device_claimants<'a>(partition: &Partition<'a>, see: &mut dyn FnMut(Claimant<'a>)) {
    for device in partition.devices() {
        see(Claimant { partition: partition.name, item: Item::Device(device.path) });
    }
}

/// A partition's IPA space: memory, devices, the virtual GIC and UART.
pub(super) fn check_guest<'a>(
    gic: GicVersion,
    partition: &Partition<'a>,
) -> Result<(), BundleError<'a>> {
    let name = partition.name;
    for region in partition.memory() {
        check_memory(name, &region)?;
    }
    for device in partition.devices() {
        check_device(name, &device)?;
    }
    let windows = platform_windows(gic, partition);
    for window in windows.into_iter().flatten() {
        check_window(&window)?;
    }
    let rows = partition.rows();
    let whole =
        |region: Memory| Range { start: region.ipa.0, bytes: region.bytes, moderated: false };
    let memory = rows.memory.iter().map(|row| whole(memory(MemoryRow::get(row))));
    let window_ranges = windows.into_iter().flatten().map(|window| window.range);
    let devices = rows.devices.iter().map(|row| device_range(&DeviceRow::get(row), in_guest));
    match find_overlap(memory.chain(window_ranges).chain(devices)) {
        None => Ok(()),
        Some(overlap) => {
            let each = |see: &mut dyn FnMut(Claimant<'a>)| {
                let claimant = Claimant { partition: name, item: Item::Memory };
                partition.memory().for_each(|_| see(claimant));
                windows.iter().flatten().for_each(|window| see(window.claimant));
                device_claimants(partition, see);
            };
            Err(clash(&overlap, each, Contested::Ipa(overlap.address)))
        }
    }
}

/// The windows of the virtual devices.
fn platform_windows<'a>(gic: GicVersion, partition: &Partition<'a>) -> [Option<Claim<'a>>; 3] {
    let (name, platform) = (partition.name, &partition.platform);
    // One that is being described may have none yet.
    let vcpus = u64::try_from(partition.rows().vcpus.len()).unwrap_or(u64::MAX).max(1);
    let interface = match gic {
        GicVersion::V2 => GIC_FRAME_BYTES,
        GicVersion::V3 => REDISTRIBUTOR_BYTES.saturating_mul(vcpus),
    };
    let claim = |item, start, bytes| Claim {
        range: Range { start, bytes, moderated: false },
        claimant: Claimant { partition: name, item },
    };
    [
        Some(claim(Item::Distributor, platform.distributor.0, GIC_FRAME_BYTES)),
        Some(claim(Item::CpuInterface, platform.cpu_interface.0, interface)),
        partition.has_console.then(|| claim(Item::Uart, platform.uart.0, PAGE_BYTES)),
    ]
}

fn check_window<'a>(window: &Claim<'a>) -> Result<(), BundleError<'a>> {
    let align = if window.claimant.item == Item::Uart { PAGE_BYTES } else { GIC_FRAME_BYTES };
    let wrong = |what| {
        Err(BundleError::Value { claimant: window.claimant, what, value: window.range.start })
    };
    if !Ipa(window.range.start).is_aligned(align) {
        wrong("address is not aligned")
    } else if !fits(window.range.start, window.range.bytes, IPA_BITS) {
        wrong("beyond the guest's address space")
    } else {
        Ok(())
    }
}

/// Whether a non-empty range ends within `bits` bits of address.
fn fits(start: u64, bytes: u64, bits: u32) -> bool {
    let end = start.checked_add(bytes);
    bytes != 0 && end.zip(1_u64.checked_shl(bits)).is_some_and(|(end, limit)| end <= limit)
}

fn check_memory<'a>(name: &'a str, region: &Memory) -> Result<(), BundleError<'a>> {
    let claimant = Claimant { partition: name, item: Item::Memory };
    let wrong = |what, value| Err(BundleError::Value { claimant, what, value });
    if !region.ipa.is_aligned(PAGE_BYTES) {
        return wrong("guest address is not a multiple of 4 KiB", region.ipa.0);
    }
    if !Ipa(region.bytes).is_aligned(PAGE_BYTES) {
        return wrong("size is not a multiple of 4 KiB", region.bytes);
    }
    if !fits(region.ipa.0, region.bytes, IPA_BITS) {
        return wrong("size is zero or passes the guest's address space", region.bytes);
    }
    match region.place {
        Place::At(pa) if !pa.is_aligned(PAGE_BYTES) => {
            wrong("physical address is not a multiple of 4 KiB", pa.0)
        }
        Place::At(pa) if !fits(pa.0, region.bytes, PA_BITS) => {
            wrong("beyond the physical address space", pa.0)
        }
        Place::At(_) | Place::Any => Ok(()),
    }
}

fn check_device<'a>(name: &'a str, device: &Device<'a>) -> Result<(), BundleError<'a>> {
    let claimant = Claimant { partition: name, item: Item::Device(device.path) };
    let wrong = |what, value| Err(BundleError::Value { claimant, what, value });
    if !fits(device.ipa.0, device.bytes, IPA_BITS) {
        return wrong("size is zero or passes the guest's address space", device.ipa.0);
    }
    if !fits(device.pa.0, device.bytes, PA_BITS) {
        return wrong("beyond the physical address space", device.pa.0);
    }
    if device.moderated {
        let last = Pa(device.pa.0.saturating_add(device.bytes.saturating_sub(1)));
        if device.ipa.page_offset() != device.pa.page_offset() {
            return wrong("guest and physical address differ within the page", device.ipa.0);
        }
        if last.page_base() != device.pa.page_base() {
            return wrong("a moderated region crosses its page", device.bytes);
        }
        return Ok(());
    }
    match [device.ipa.0, device.pa.0, device.bytes]
        .into_iter()
        .find(|value| !Pa(*value).is_aligned(PAGE_BYTES))
    {
        Some(value) => wrong("not a multiple of 4 KiB, and not moderated", value),
        None => Ok(()),
    }
}
