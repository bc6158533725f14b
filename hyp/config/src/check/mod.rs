//! The rules that a bundle must keep before any guest runs.
//!
//! The description compiler checks the same with better messages; here they are checked again because the bundle is
//! what the machine believes. Costs: linear in most tables, quadratic in the address claims, of which there are few.

mod address;
mod channels;
mod cores;
mod draft;
mod files;
mod machine;
mod names;
mod partition;
mod policy;
mod services;
mod talk;
mod windows;

pub use draft::DraftFault;
pub(crate) use draft::{
    complete as draft_is_complete, devices as draft_devices, entry as draft_entry,
    images as draft_images, space as draft_space, vcpu as draft_vcpu, windows as draft_windows,
};
pub(crate) use files::check as check_files;
pub(crate) use machine::check as check_machine;
pub use machine::{MachineFacts, check_loaded};

use shikiri_abi::MAX_CORES;

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::types::{GicVersion, MAX_PARTITIONS, MAX_VCPUS_GICV2, Talk};

/// Checks everything; the first broken rule is the error.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    check_system(bundle)?;
    check_names(bundle)?;
    partition::check_counts(bundle)?;
    // What concerns each partition alone, in one walk: it reads a long row for each.
    let mut may_talk = false;
    for (partition, row) in bundle.partitions().zip(bundle.tables().partitions) {
        partition::check(bundle, &partition, row)?;
        windows::check(&partition)?;
        may_talk |= partition.talk != Talk::default();
    }
    check_focus(bundle)?;
    cores::check(bundle)?;
    talk::check_events(bundle)?;
    if may_talk {
        talk::check(bundle)?;
    }
    windows::check_shared(bundle)?;
    channels::check(bundle)?;
    names::check(bundle)?;
    services::check(bundle)?;
    policy::check(bundle)?;
    address::check_physical(bundle)?;
    address::check_places(bundle)?;
    partition::check_physical_interrupts(bundle)
}

fn check_system<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let board = bundle.board();
    let wrong = |what, value: usize| {
        Err(BundleError::System { what, value: u64::try_from(value).unwrap_or(u64::MAX) })
    };
    let most_cores = match board.gic {
        GicVersion::V2 => MAX_VCPUS_GICV2,
        GicVersion::V3 => MAX_CORES,
    };
    if !(1..=most_cores).contains(&board.cores) {
        return wrong("number of cores out of range", board.cores);
    }
    if !(1..=MAX_PARTITIONS).contains(&bundle.partition_count()) {
        return wrong("number of partitions out of range", bundle.partition_count());
    }
    if board.compatible.is_empty() || !board.compatible.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return wrong("the board's name is not printable", board.compatible.len());
    }
    Ok(())
}

fn check_focus<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let Some(focus) = bundle.board().focus else { return Ok(()) };
    match bundle.partition(focus) {
        Some(partition) if partition.has_console => Ok(()),
        _ => Err(BundleError::System {
            what: "the focused partition has no console",
            value: u64::try_from(focus).unwrap_or(u64::MAX),
        }),
    }
}

fn check_names<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    for (index, name) in bundle.names().enumerate() {
        let claimant = Claimant { partition: name, item: Item::Partition };
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.is_empty() || !name.bytes().all(is_allowed) {
            let value = u64::try_from(index).unwrap_or(u64::MAX);
            return Err(BundleError::Value {
                claimant,
                what: "bad name of partition number",
                value,
            });
        }
        if bundle.names().take(index).any(|earlier| earlier == name) {
            return Err(BundleError::Clash {
                contested: Contested::Name,
                first: claimant,
                second: claimant,
            });
        }
    }
    Ok(())
}
