//! Who may talk to whom: each side says so.

use crate::bundle::Bundle;
use shikiri_abi::{IntId, Resource, VcpuIndex};

use crate::error::{BundleError, Claimant, Contested, Item};
use crate::partition::Partition;
use crate::partition::is_printable;
use crate::row::EventRow;
use crate::types::{Channel, Event, MAX_EVENTS, PartitionSet};

use super::partition::is_spi_of;

/// Permissions name others that exist and that permit the same from their side; whoever has one has the tables for it.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let count = bundle.partition_count();
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
pub(crate) fn check_events<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    for row in tables.events.iter().map(EventRow::get) {
        let is_name = is_printable(tables.strings, row.name_at, row.name_len);
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
        let Event { name, to: at, intid, vcpu, .. } = event;
        let (partition, item) = ((at, &to), Item::Event(name));
        check_interrupt(bundle, &Told { partition, item, intid, vcpu, before: (index, 0) })?;
    }
    if tables.events.is_empty() {
        return Ok(());
    }
    bundle.partitions().enumerate().try_for_each(|(index, partition)| {
        check_ports(&partition, bundle.events().filter(|event| event.concerns(index)).count())
    })
}

/// An interrupt that an event or a channel has at a partition.
pub(super) struct Told<'p, 'a> {
    /// The partition, and its position.
    pub(super) partition: (usize, &'p Partition<'a>),
    /// What has it.
    pub(super) item: Item<'a>,
    pub(super) intid: IntId,
    pub(super) vcpu: VcpuIndex,
    /// How many events and channels come before it.
    pub(super) before: (usize, usize),
}

/// The interrupt is possible, and nothing else's.
#[inline(never)]
pub(super) fn check_interrupt<'a>(
    bundle: &Bundle<'a>,
    told: &Told<'_, 'a>,
) -> Result<(), BundleError<'a>> {
    let Told { partition: (at, to), item, intid, vcpu, before } = *told;
    let claim = |item| Claimant { partition: to.name, item };
    let claimant = claim(item);
    let value = |what, value| Err(BundleError::Value { claimant, what, value });
    if !is_spi_of(to, intid) {
        return value("interrupt is no SPI of the virtual GIC", u64::from(intid.0));
    }
    if usize::from(vcpu.0) >= to.vcpus().len() {
        return value("no such vCPU", u64::from(vcpu.0));
    }
    let is_uart = to.has_console && to.platform.uart_intid == intid;
    let uart = is_uart.then_some(Item::Uart);
    let mut interrupts = to.interrupts();
    let device = interrupts.find(|interrupt| interrupt.virtual_id == intid);
    let device = device.map(|interrupt| Item::Device(interrupt.path));
    let mut events = bundle.events().take(before.0);
    let event = events.find(|other| other.to == at && other.intid == intid);
    let event = event.map(|other| Item::Event(other.name));
    let mut channels = bundle.channels().take(before.1);
    let is_same = |other: &Channel<'_>| {
        other.ends.iter().any(|end| end.partition == at && end.intid == intid)
    };
    let channel = channels.find(is_same).map(|other| Item::Channel(other.name));
    match uart.or(device).or(event).or(channel) {
        None => Ok(()),
        Some(item) => Err(BundleError::Clash {
            contested: Contested::VirtualInterrupt(intid.0),
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
