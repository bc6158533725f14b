//! Message channels of the description: two ends each, interrupts of their own, and room for all that they are made of.

use shikiri_abi::AreaClass;
use shikiri_abi::channel::MAX_WINDOW;

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Item};
use crate::partition::{Partition, is_printable};
use crate::row::ChannelRow;
use crate::types::{Channel, ChannelEnd, MAX_CHANNELS};

use super::talk::{Told, check_interrupt};

/// Each channel has a name, two partitions, and what [`check_end`] wants; each partition has room for its ends.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    if tables.channels.is_empty() {
        return Ok(());
    }
    for row in tables.channels.iter().map(ChannelRow::get) {
        let is_name = is_printable(tables.strings, row.name_at, row.name_len);
        let is_class = AreaClass::from_code(row.class.into()).is_some();
        if !is_name || !is_class || row.reserved != 0 || row.reserved2 != 0 {
            return Err(BundleError::Layout("channel without a name, or of an unknown class"));
        }
    }
    for (index, channel) in bundle.channels().enumerate() {
        let [first, second] = channel.ends;
        if first.partition == second.partition {
            return Err(BundleError::Layout("channel of a partition with itself"));
        }
        for end in channel.ends {
            let Some(partition) = bundle.partition(end.partition) else {
                return Err(BundleError::Layout("channel of a partition that is not there"));
            };
            check_end(bundle, &partition, (index, channel), end)?;
        }
    }
    let all = tables.channels.len();
    bundle.partitions().enumerate().try_for_each(|(index, partition)| {
        let places = bundle.places(index, all);
        if places.ports == 0 {
            return Ok(());
        }
        let windows = partition.windows;
        let claimant = Claimant { partition: partition.name, item: Item::Partition };
        let value = |what, value| Err(BundleError::Value { claimant, what, value });
        let most = u64::try_from(MAX_CHANNELS).unwrap_or(u64::MAX);
        if places.ports > most.min(windows.channels.into()) {
            return value("fewer message ports than channels", places.ports);
        }
        for (class, slots) in AreaClass::ALL.into_iter().zip(places.slots) {
            if slots > u64::from(windows.of(class)) {
                return value("fewer window slots than its channels and shared areas need", slots);
            }
        }
        if places.handles > u64::from(partition.talk.handles) {
            return value(
                "fewer handles than its events, shared areas and channels need",
                places.handles,
            );
        }
        Ok(())
    })
}

/// The window is possible, and the interrupt is nothing else's.
fn check_end<'a>(
    bundle: &Bundle<'a>,
    partition: &Partition<'a>,
    (index, channel): (usize, Channel<'a>),
    ChannelEnd { partition: at, slots, intid, vcpu }: ChannelEnd,
) -> Result<(), BundleError<'a>> {
    let item = Item::Channel(channel.name);
    if slots > MAX_WINDOW {
        let claimant = Claimant { partition: partition.name, item };
        let value = u64::from(slots);
        return Err(BundleError::Value { claimant, what: "too many slots", value });
    }
    let before = (usize::MAX, index);
    check_interrupt(bundle, &Told { partition: (at, partition), item, intid, vcpu, before })
}
