//! The rules for a partition that is described at run time: the bundle's, asked one by one.

use shikiri_abi::{CoreSet, Ipa};

use super::{address, cores, partition, windows};
use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Item};
use crate::partition::Partition;
use crate::row::PartitionRow;
use crate::types::{GicVersion, Vcpu};

/// Why something cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftFault {
    /// There is no room for another.
    Full,
    /// It is out of range, or not aligned.
    Value,
    /// Something else is there.
    Clash,
    /// There is no such device.
    NoDevice,
    /// The device masters the bus.
    Masters,
}

fn fault(error: BundleError<'_>) -> DraftFault {
    match error {
        BundleError::Clash { .. } => DraftFault::Clash,
        BundleError::Magic
        | BundleError::Version(_)
        | BundleError::Truncated { .. }
        | BundleError::Checksum { .. }
        | BundleError::Layout(_)
        | BundleError::System { .. }
        | BundleError::Machine { .. }
        | BundleError::Value { .. }
        | BundleError::Limit { .. }
        | BundleError::OneSided { .. } => DraftFault::Value,
    }
}

/// A vCPU alone.
pub(crate) fn vcpu(vcpu: &Vcpu, machine: CoreSet) -> Result<(), DraftFault> {
    let claimant = Claimant { partition: "", item: Item::Vcpu(0) };
    cores::check_vcpu(claimant, vcpu, machine).map_err(fault)
}

/// Nothing overlaps in its address space.
pub(crate) fn space(gic: GicVersion, partition: &Partition<'_>) -> Result<(), DraftFault> {
    address::check_guest(gic, partition).map_err(fault)
}

/// Its images lie in its memory, and none on another.
pub(crate) fn images(bundle: &Bundle<'_>, partition: &Partition<'_>) -> Result<(), DraftFault> {
    partition::check_images(bundle, partition).map_err(fault)
}

/// Where it starts is a word of its memory.
pub(crate) fn entry(partition: &Partition<'_>, entry: Ipa) -> Result<(), DraftFault> {
    if entry.is_aligned(4) && partition::in_memory(partition, entry, 4) {
        Ok(())
    } else {
        Err(DraftFault::Value)
    }
}

/// Its devices: their registers, their interrupts, and what is kept back.
pub(crate) fn devices(gic: GicVersion, partition: &Partition<'_>) -> Result<(), DraftFault> {
    space(gic, partition)?;
    partition::check_interrupts(partition).map_err(fault)?;
    partition::check_kept(partition).map_err(fault)
}

/// Its message areas and channels.
pub(crate) fn windows(partition: &Partition<'_>) -> Result<(), DraftFault> {
    windows::check(partition).map_err(fault)
}

/// Everything.
pub(crate) fn complete(
    bundle: &Bundle<'_>,
    partition: &Partition<'_>,
    row: &[u64; PartitionRow::WORDS],
) -> bool {
    partition::check(bundle, partition, row).is_ok() && windows::check(partition).is_ok()
}
