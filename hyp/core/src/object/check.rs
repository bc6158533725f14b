//! What must hold between operations: for tests and audits.

use shikiri_abi::PartitionSlot;
use shikiri_sync::atomic::Ordering;

use super::Objects;
use crate::event::{self, Receive, Wire};
use crate::handle::{Kind, Rights, find};
use crate::partition::Holdings;
use crate::party::{Party, Source};

/// Compares the table with what these partitions say of it: all that live, at a moment when none of them calls.
///
/// # Errors
/// A sentence about the first disagreement.
pub fn check<'p, 'a: 'p>(
    objects: &Objects<'_>,
    parties: impl IntoIterator<Item = &'p (Party<'a>, &'p Holdings), IntoIter: Clone>,
) -> Result<(), &'static str> {
    let parties = parties.into_iter();
    let mut valid = 0_u16;
    for object in objects.rows {
        let row = object.row.lock();
        row.audit()?;
        valid = valid.saturating_add(u16::from(row.name().is_some()));
        for (slot, wire) in (0..=u8::MAX).map(PartitionSlot).zip(&object.wires) {
            let is_open = row.handle(slot).is_some();
            let lives = || parties.clone().any(|(party, _)| party.slot() == slot);
            says(!is_open || lives(), "an ended partition has an object open")?;
            let is_cut = wire.load(Ordering::Relaxed) == 0;
            says(is_open || is_cut, "a wire of a partition that has not opened the object")?;
        }
    }
    says(valid == objects.used(), "valid rows are not counted")?;
    parties.clone().try_for_each(|(party, holdings)| check_party(objects, party, holdings))
}

fn says(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn check_party(
    objects: &Objects<'_>,
    party: &Party<'_>,
    holdings: &Holdings,
) -> Result<(), &'static str> {
    let mut open = 0_u64;
    for (index, object) in (0..=u16::MAX).zip(objects.rows) {
        let Some(handle) = object.row.lock().handle(party.slot()) else { continue };
        open = open.saturating_add(1);
        let found = find(party.shared.entries, handle, Kind::Object, Rights::NONE);
        let back = found.ok().and_then(|found| event::row_of(found.entry.value()));
        says(back == Some(index), "an opener's handle names something else")?;
    }
    let mut handles = 0_u64;
    for (index, entry) in (0..=u16::MAX).zip(party.shared.entries) {
        handles = handles.saturating_add(u64::from(entry.kind() == Some(Kind::Object)));
        let Source::Object(row) = party.source(index) else { continue };
        let object = objects.rows.get(usize::from(row));
        let wire = object.and_then(|object| object.wire(party.slot()));
        let wire = wire.and_then(|wire| Wire::decode(wire.load(Ordering::Relaxed)));
        let is_here = wire.is_some_and(|Wire { to, serial }| {
            let word = Receive(party.value(index));
            to.index == index && word.matches(Receive::connected(serial))
        });
        says(is_here, "an object's port without a wire")?;
    }
    says(open == handles, "a handle of an object that is not open")?;
    says(open == holdings.shares(), "objects are not paid for")
}
