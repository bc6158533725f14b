//! Who may talk to whom: each side says so.

use crate::bundle::Bundle;
use shikiri_abi::Resource;

use crate::error::{BundleError, Claimant, Contested, Item};
use crate::partition::Partition;
use crate::partition::text;
use crate::row::EventRow;
use crate::types::{Event, MAX_EVENTS, PartitionSet};

use super::partition::is_spi_of;

/// Permissions name others that exist and that permit the same from their side; whoever has one has the tables for it.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let count = bundle.partition_count();
    check_events(bundle)?;
    if bundle.partitions().all(|partition| partition.talk == Default::default()) {
        return Ok(());
    }
    for (index, partition) in bundle.partitions().enumerate() {
        let talk = partition.talk;
        let all = talk.connect_to.union(talk.accept_from);
        if all.contains(index) || all.iter().any(|other| other >= count) {
            return Err(wrong(&partition, "may talk to itself or to nobody", all.0));
        }
        if talk.handles == 0 && (talk.requests != 0 || all != PartitionSet::EMPTY) {
            return Err(wrong(
                &partition,
                "may talk, but has no handles",
                u64::from(talk.requests),
            ));
        }
        if talk.requests == 0 && talk.connect_to != PartitionSet::EMPTY {
            return Err(wrong(
                &partition,
                "may ask others, but has no requests",
                talk.connect_to.0,
            ));
        }
        for (other, second) in bundle.partitions().enumerate() {
            let (asks, accepts) =
                (talk.connect_to.contains(other), second.talk.accept_from.contains(index));
            if asks != accepts {
                let (asker, asked) = (partition.name, second.name);
                return Err(BundleError::OneSided { asker, asked, is_accepted: accepts });
            }
        }
    }
    Ok(())
}

fn wrong<'a>(partition: &Partition<'a>, what: &'static str, value: u64) -> BundleError<'a> {
    let claimant = Claimant { partition: partition.name, item: Item::Partition };
    BundleError::Value { claimant, what, value }
}

/// Each event has two partitions, and an interrupt that is nothing else's; each partition has room for its ports.
fn check_events<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    for row in tables.events.iter().map(EventRow::get) {
        let name = text(tables.strings, row.name_at, row.name_len);
        let is_name = name.is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
        });
        if !is_name || row.reserved != 0 || row.reserved2 != 0 {
            return Err(BundleError::Layout("event without a name, or an unknown flag"));
        }
    }
    for (index, event) in bundle.events().enumerate() {
        let (Some(_), Some(to)) = (bundle.partition(event.from), bundle.partition(event.to)) else {
            return Err(BundleError::Layout("event of a partition that is not there"));
        };
        if event.from == event.to {
            return Err(BundleError::Layout("event of a partition to itself"));
        }
        check_interrupt(bundle, &to, (index, event))?;
    }
    if tables.events.is_empty() {
        return Ok(());
    }
    bundle.partitions().enumerate().try_for_each(|(index, partition)| {
        check_ports(&partition, bundle.events().filter(|event| event.concerns(index)).count())
    })
}

fn check_interrupt<'a>(
    bundle: &Bundle<'a>,
    to: &Partition<'a>,
    (index, event): (usize, Event<'a>),
) -> Result<(), BundleError<'a>> {
    let claim = |item| Claimant { partition: to.name, item };
    let claimant = claim(Item::Event(event.name));
    let value = |what, value| Err(BundleError::Value { claimant, what, value });
    if !is_spi_of(to, event.intid) {
        return value("interrupt is no SPI of the virtual GIC", u64::from(event.intid.0));
    }
    if usize::from(event.vcpu.0) >= to.vcpus().len() {
        return value("no such vCPU", u64::from(event.vcpu.0));
    }
    let is_uart = to.has_console && to.platform.uart_intid == event.intid;
    let uart = is_uart.then_some(Item::Uart);
    let mut interrupts = to.interrupts();
    let device = interrupts.find(|interrupt| interrupt.virtual_id == event.intid);
    let device = device.map(|interrupt| Item::Device(interrupt.path));
    let mut earlier = bundle.events().take(index).filter(|other| other.to == event.to);
    let other = earlier.find(|other| other.intid == event.intid);
    let other = other.map(|other| Item::Event(other.name));
    match uart.or(device).or(other) {
        None => Ok(()),
        Some(item) => Err(BundleError::Clash {
            contested: Contested::VirtualInterrupt(event.intid.0),
            first: claim(item),
            second: claimant,
        }),
    }
}

fn check_ports<'a>(partition: &Partition<'a>, ports: usize) -> Result<(), BundleError<'a>> {
    let given = u64::try_from(ports).unwrap_or(u64::MAX);
    if ports > MAX_EVENTS {
        return Err(wrong(partition, "too many events", given));
    }
    if ports > usize::from(partition.talk.handles) {
        return Err(wrong(partition, "fewer handles than events", given));
    }
    let resource = Resource::EventPorts;
    match partition.limit(resource) {
        Some(limit) if limit < given => {
            Err(BundleError::Limit { partition: partition.name, resource, limit, given })
        }
        _ => Ok(()),
    }
}
