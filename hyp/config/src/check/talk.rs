//! Who may talk to whom: each side says so.

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Item};
use crate::partition::Partition;
use crate::types::PartitionSet;

/// Permissions name others that exist and that permit the same from their side; whoever has one has the tables for it.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let count = bundle.partition_count();
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
