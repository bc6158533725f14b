//! How many message areas and channels a partition may have, and that nothing else lies where they hang.

use shikiri_abi::{AreaClass, Ipa, WINDOWS};

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Item};
use crate::partition::Partition;
use crate::types::{MAX_SHARES, Windows};

/// The slots are possible, who has some has handles for them, and its memory and devices stay below the window region.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    bundle.partitions().try_for_each(|partition| check_one(&partition))
}

fn check_one<'a>(partition: &Partition<'a>) -> Result<(), BundleError<'a>> {
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
