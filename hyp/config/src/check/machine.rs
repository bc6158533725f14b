//! The machine itself: what the description counts on must be there.

use shikiri_abi::{IntId, Pa};

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::types::{GicVersion, Place};

/// What the hypervisor has found out about the machine from the board's own device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineFacts<'a> {
    /// Number of cores.
    pub cores: usize,
    /// The interrupt controller.
    pub gic: GicVersion,
    /// RAM: start and size of each range.
    pub ram: &'a [(Pa, u64)],
    /// Registers that are the hypervisor's alone: start and size of each range.
    pub own: &'a [(Pa, u64)],
    /// RAM that is nobody's to give: what it is, start and size.
    pub taken: &'a [(Item<'static>, Pa, u64)],
    /// The interrupt of the hypervisor's console.
    pub console: IntId,
}

/// Checks a bundle against the machine that it has been loaded on.
pub(crate) fn check<'a>(
    bundle: &Bundle<'a>,
    machine: &MachineFacts<'_>,
) -> Result<(), BundleError<'a>> {
    let board = bundle.board();
    if machine.gic != board.gic {
        let number = |gic: GicVersion| usize::from(gic.number());
        let (wants, has) = (number(board.gic), number(machine.gic));
        return Err(BundleError::Machine { what: "GIC version", wants, has });
    }
    if machine.cores < board.cores {
        let (wants, has) = (board.cores, machine.cores);
        return Err(BundleError::Machine { what: "cores", wants, has });
    }
    for partition in bundle.partitions() {
        let memory = Claimant { partition: partition.name, item: Item::Memory };
        for region in partition.memory() {
            let Place::At(pa) = region.place else { continue };
            if !machine.ram.iter().any(|ram| holds(*ram, pa, region.bytes)) {
                return Err(BundleError::Value {
                    claimant: memory,
                    what: "is not in RAM",
                    value: pa.0,
                });
            }
            let mut taken = machine.taken.iter();
            if let Some((item, start, _)) =
                taken.find(|(_, start, bytes)| touches((*start, *bytes), pa, region.bytes))
            {
                return Err(BundleError::Clash {
                    contested: Contested::Pa(pa.0.max(start.0)),
                    first: Claimant { partition: "", item: *item },
                    second: memory,
                });
            }
        }
        for interrupt in partition.interrupts() {
            if interrupt.physical == machine.console {
                let item = Item::Device(interrupt.path);
                return Err(BundleError::Value {
                    claimant: Claimant { partition: partition.name, item },
                    what: "has the interrupt of the hypervisor's console",
                    value: u64::from(interrupt.physical.0),
                });
            }
        }
        for device in partition.devices() {
            let second = Claimant { partition: partition.name, item: Item::Device(device.path) };
            let is_in = |ranges: &[(Pa, u64)]| {
                ranges.iter().any(|range| touches(*range, device.pa, device.bytes))
            };
            let others = [(machine.ram, Item::Ram), (machine.own, Item::Own)];
            if let Some((_, item)) = others.into_iter().find(|(ranges, _)| is_in(ranges)) {
                let first = Claimant { partition: "", item };
                return Err(BundleError::Clash {
                    contested: Contested::Pa(device.pa.0),
                    first,
                    second,
                });
            }
        }
    }
    Ok(())
}

/// Whether the whole range lies in the RAM range.
fn holds((start, bytes): (Pa, u64), pa: Pa, size: u64) -> bool {
    let end = pa.offset_from(start).and_then(|offset| offset.checked_add(size));
    end.is_some_and(|end| end <= bytes)
}

/// Whether a part of the range lies in the other.
fn touches((start, bytes): (Pa, u64), pa: Pa, size: u64) -> bool {
    pa.0 < start.0.saturating_add(bytes) && start.0 < pa.0.saturating_add(size)
}
