//! What must hold between operations: for tests and audits.

use shikiri_abi::PartitionSlot;

use super::{ALONE, INTIDS, Party, Source};
use crate::event::{PortId, Receive, Send, Wire, area_slot, asker, row_of};
use crate::handle::Kind;

/// Compares what all parties say of each other and of themselves. The slots' parties in any order.
///
/// # Errors
/// A sentence about the first disagreement.
pub fn check<'p, 'a: 'p>(
    parties: impl IntoIterator<Item = &'p Party<'a>, IntoIter: Clone>,
) -> Result<(), &'static str> {
    let parties = parties.into_iter();
    parties.clone().try_for_each(|party| {
        let see = |slot: PartitionSlot| parties.clone().find(|other| other.state.slot == slot);
        check_entries(party, &see)?;
        check_lists(party, &see)?;
        check_counts(party)
    })
}

fn says(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn check_entries<'p, 'a: 'p>(
    party: &Party<'_>,
    see: &impl Fn(PartitionSlot) -> Option<&'p Party<'a>>,
) -> Result<(), &'static str> {
    for (entry, index) in party.shared.entries.iter().zip(0_u16..) {
        let here = PortId { slot: party.state.slot, index };
        let word = entry.value();
        match entry.kind() {
            None => {
                says(word == 0, "a free entry has a value")?;
                says(party.source(index) == Source::Nobody, "a free entry has a source")?;
            }
            Some(Kind::Attachment) if area_slot(word).is_some() => {}
            Some(Kind::Send | Kind::Channel | Kind::Attachment) => {
                check_send(here, Send::decode(word), party, see)?;
            }
            Some(Kind::Area | Kind::Vacant) => {
                says(area_slot(word).is_some(), "an area that is nowhere")?;
            }
            Some(Kind::Receive) => check_receive(here, Receive(word), party, see)?,
            Some(Kind::Object) => says(row_of(word).is_some(), "an object with another's word")?,
            Some(Kind::Request | Kind::ChannelRequest | Kind::AttachRequest) => {
                let Some(from) = asker(word) else { continue };
                let other = see(from.slot).ok_or("a request of a partition that is not there")?;
                let back = Send::decode(other.value(from.index));
                says(back == Some(Send::Taken { by: here }), "a request that nobody made")?;
            }
        }
    }
    Ok(())
}

fn check_send<'p, 'a: 'p>(
    here: PortId,
    state: Option<Send>,
    party: &Party<'_>,
    see: &impl Fn(PartitionSlot) -> Option<&'p Party<'a>>,
) -> Result<(), &'static str> {
    match state.ok_or("a send port without a state")? {
        Send::Idle | Send::Refused | Send::Gone => Ok(()),
        Send::Queued { to, record } => {
            let is_there = party
                .state
                .queues
                .list(party.records, to)
                .any(|(index, waiting)| index == record && waiting.port == here.index);
            says(is_there, "a port waits for a request that is not in its list")
        }
        Send::Taken { by } => {
            let other =
                see(by.slot).ok_or("a request was taken by a partition that is not there")?;
            says(asker(other.value(by.index)) == Some(here), "a taken request is not there")
        }
        Send::Connected(Wire { to, serial }) => {
            let other = see(to.slot).ok_or("connected to a partition that is not there")?;
            if party.kind(here.index) == Some(Kind::Channel) {
                let back = Wire::decode(other.value(to.index));
                let is_mutual = back == Some(Wire { to: here, serial });
                let is_channel = other.kind(to.index) == Some(Kind::Channel);
                return says(is_mutual && is_channel, "a channel with one end");
            }
            let word = Receive(other.value(to.index));
            says(word.matches(Receive::connected(serial)), "connected to another connection")?;
            says(other.source(to.index) == Source::Port(here), "connected to another's port")
        }
    }
}

fn check_receive<'p, 'a: 'p>(
    here: PortId,
    word: Receive,
    party: &Party<'_>,
    see: &impl Fn(PartitionSlot) -> Option<&'p Party<'a>>,
) -> Result<(), &'static str> {
    says(word.is_receive(), "a receive port with another's word")?;
    let source = party.source(here.index);
    let is_connected = word.has(Receive::CONNECTED);
    says(is_connected == (source != Source::Nobody), "word and source of a port disagree")?;
    match source {
        Source::Nobody | Source::Object(_) => Ok(()),
        Source::Signals => says(party.state.notify == Some(here.index), "two notification ports"),
        Source::Channel(port) => {
            let tells = party.kind(port).is_some_and(Kind::has_events);
            says(tells, "events of a port that is not there")?;
            says(party.events(port) == Some(here.index), "a message port with two receive ports")
        }
        Source::Port(from) => {
            let other = see(from.slot).ok_or("a source that is not there")?;
            let back = Wire::decode(other.value(from.index)).map(|wire| wire.to);
            says(back == Some(here), "a source that sends elsewhere")
        }
    }
}

fn check_lists<'p, 'a: 'p>(
    party: &Party<'_>,
    see: &impl Fn(PartitionSlot) -> Option<&'p Party<'a>>,
) -> Result<(), &'static str> {
    let mut records = 0_usize;
    for to in (0..=u8::MAX).map(PartitionSlot) {
        for (index, record) in party.state.queues.list(party.records, to) {
            records = records.saturating_add(1);
            let state = Send::decode(party.value(record.port));
            says(state == Some(Send::Queued { to, record: index }), "a record without a port")?;
        }
        let has_first = party.state.queues.first(to).is_some();
        match see(to) {
            Some(other) => says(
                other.state.queues.has_from(party.state.slot) == has_first,
                "a receiver does not know who waits",
            )?,
            None => says(!has_first, "a request to a partition that is not there")?,
        }
    }
    says(usize::from(party.state.queues.used()) == records, "records are lost")
}

fn check_counts(party: &Party<'_>) -> Result<(), &'static str> {
    let kinds = || party.shared.entries.iter().filter_map(crate::handle::HandleEntry::kind);
    says(kinds().count() == usize::from(party.state.book.used()), "handles are lost")?;
    let ports = kinds().filter(|kind| matches!(kind, Kind::Send | Kind::Receive)).count();
    let charged = party.state.charge.as_ref().map_or(0, crate::account::Charge::amount);
    says(u64::try_from(ports) == Ok(charged), "ports and their charge differ")?;
    check_intids(party)
}

/// In two passes, over the ports and over the INTIDs: a partition may have thousands of ports.
fn check_intids(party: &Party<'_>) -> Result<(), &'static str> {
    let mut found = [0_u16; INTIDS];
    let words = party.shared.entries.iter().map(|entry| Receive(entry.value()));
    for port in words.filter(|word| word.is_receive() && word.has(Receive::BOUND)) {
        let place = found.get_mut(usize::from(port.intid().0)).ok_or("a port of no INTID")?;
        let is_first = *place == 0;
        says(is_first || !port.is_alone() && *place != ALONE, "an INTID alone for several")?;
        *place = if port.is_alone() { ALONE } else { place.saturating_add(1) };
    }
    says(found == party.state.uses, "an INTID's count is wrong")
}
