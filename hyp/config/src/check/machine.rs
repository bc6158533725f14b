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

/// Checks what a boot loader has put into memory, each with its start and size: all of it is RAM, and nothing lies in another.
///
/// # Errors
/// [`BundleError::Value`] with the first address that is not in RAM, [`BundleError::Clash`] with both names.
pub fn check_loaded(
    ram: &[(Pa, u64)],
    loaded: &[(Item<'static>, Pa, u64)],
) -> Result<(), BundleError<'static>> {
    let mut rest = loaded.iter();
    while let Some((item, start, bytes)) = rest.next() {
        let first = Claimant { partition: "", item: *item };
        if let Some(value) = outside(ram, *start, *bytes) {
            return Err(BundleError::Value { claimant: first, what: "is not in RAM", value });
        }
        let meets = |(_, at, size): &&(Item<'_>, Pa, u64)| touches((*start, *bytes), *at, *size);
        if let Some((item, at, _)) = rest.clone().find(meets) {
            let contested = Contested::Pa(start.0.max(at.0));
            let second = Claimant { partition: "", item: *item };
            return Err(BundleError::Clash { contested, first, second });
        }
    }
    Ok(())
}

/// The first address of a range that is not in RAM, of which one range may go on where another ends.
fn outside(ram: &[(Pa, u64)], start: Pa, bytes: u64) -> Option<u64> {
    let (mut at, mut left) = (start, bytes);
    // Each round leads to the end of another range.
    while left > 0 {
        let rest = |(start, size): &(Pa, u64)| {
            size.checked_sub(at.offset_from(*start)?).filter(|rest| *rest > 0)
        };
        let Some(here) = ram.iter().find_map(rest) else {
            return Some(at.0);
        };
        at = Pa(at.0.saturating_add(here));
        left = left.saturating_sub(here);
    }
    None
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
