//! How many message areas and channels a partition may have, and that nothing else lies where they hang.

use shikiri_abi::{AreaClass, Ipa, WINDOWS};

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Item};
use crate::partition::{Partition, is_printable, text};
use crate::row::SharedRow;
use crate::types::{MAX_SHARED, MAX_SHARES, PartitionSet, Windows};

/// Shared areas have names of their own, sizes that their class holds, and partitions that have room for all of theirs.
pub(crate) fn check_shared<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    for (index, row) in tables.shared.iter().map(SharedRow::get).enumerate() {
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        let wrong = |what| Err(BundleError::System { what, value: number });
        let is_name = is_printable(tables.strings, row.name_at, row.name_len);
        let class = AreaClass::from_code(u64::from(row.class));
        let Some(class) = class.filter(|_| is_name && row.reserved == 0 && row.reserved2 == 0)
        else {
            return Err(BundleError::Layout("shared area without a name, or an unknown flag"));
        };
        if index >= MAX_SHARED {
            return wrong("too many shared areas, with number");
        }
        if bundle
            .shared_areas()
            .take(index)
            .any(|other| Some(other.name) == text(tables.strings, row.name_at, row.name_len))
        {
            return wrong("an earlier one has the name of shared area number");
        }
        if row.pages == 0 || u64::from(row.pages) > class.pages().0 {
            return wrong("a size that its class does not hold in shared area number");
        }
        let (all, writers) = (PartitionSet(row.partitions), PartitionSet(row.writers));
        let is_there = |partition| tables.partitions.get(partition).is_some();
        if all == PartitionSet::EMPTY || all.union(writers) != all || !all.iter().all(is_there) {
            return wrong(
                "a partition that is not there or does not have it in shared area number",
            );
        }
    }
    if tables.shared.is_empty() {
        return Ok(());
    }
    bundle
        .partitions()
        .enumerate()
        .try_for_each(|(index, partition)| check_room(bundle, index, &partition))
}

/// A partition has a share, a slot and a handle for each of its shared areas.
fn check_room<'a>(
    bundle: &Bundle<'a>,
    index: usize,
    partition: &Partition<'a>,
) -> Result<(), BundleError<'a>> {
    let own = || bundle.shared_areas().filter(|area| area.partitions.contains(index));
    let (count, windows) = (own().count(), partition.windows);
    let given = u64::try_from(count).unwrap_or(u64::MAX);
    if count > usize::from(windows.shared) {
        return Err(wrong(partition, "has fewer shares than shared areas", given));
    }
    let lacks = |class: &AreaClass| {
        own().filter(|area| area.class == *class).count() > usize::from(windows.of(*class))
    };
    if AreaClass::ALL.iter().any(lacks) {
        return Err(wrong(partition, "has fewer slots than shared areas", given));
    }
    let events = bundle.events().filter(|event| event.concerns(index)).count();
    if count.saturating_add(events) > usize::from(partition.talk.handles) {
        return Err(wrong(partition, "has fewer handles than events and shared areas", given));
    }
    Ok(())
}

/// The slots are possible, who has some has handles for them, and its memory and devices stay below the window region.
pub(crate) fn check<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
    let windows = partition.windows;
    if windows.is_none() {
        return Ok(());
    }
    let Windows { pages, channels, .. } = windows;
    if let Some(class) =
        AreaClass::ALL.into_iter().find(|class| windows.of(*class) > class.most_slots())
    {
        return Err(wrong(partition, "too many window slots", u64::from(windows.of(class))));
    }
    if u32::from(pages) < u32::from(channels).saturating_mul(2) {
        return Err(wrong(partition, "fewer slots of 4 KiB than its channels need", pages.into()));
    }
    if windows.shared > MAX_SHARES {
        return Err(wrong(partition, "too many shares in shared areas", windows.shared.into()));
    }
    if partition.talk.handles == 0 {
        return Err(wrong(partition, "may have message areas, but no handles", windows.slots()));
    }
    let memory = partition.memory().map(|memory| (memory.ipa, memory.bytes));
    let devices = partition.devices().map(|device| (device.ipa, device.bytes));
    let reaches = |(ipa, bytes): &(Ipa, u64)| ipa.0.saturating_add(*bytes) > WINDOWS.0;
    match memory.chain(devices).find(reaches) {
        Some((ipa, _)) => {
            Err(wrong(partition, "reaches into the window region of its message areas", ipa.0))
        }
        None => Ok(()),
    }
}

fn wrong<'a>(partition: &Partition<'a>, what: &'static str, value: u64) -> BundleError<'a> {
    let claimant = Claimant { partition: partition.name, item: Item::Partition };
    BundleError::Value { claimant, what, value }
}
