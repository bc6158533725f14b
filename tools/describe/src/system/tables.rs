//! The least that a partition's stage-2 tables can take.

use std::collections::BTreeSet;

use shikiri_abi::PAGE_BYTES;
use shikiri_config::{GicVersion, PartitionSpec, Place};

/// Pages of the root table: guest addresses of 40 bits take two in a row (Arm ARM, concatenated tables).
const ROOT_PAGES: u64 = 2;
/// What a descriptor of level 1 and of level 2 leads to or maps, as a power of two.
const LEVELS: [u32; 2] = [30, 21];

/// Pages of tables for its memory and devices, were all memory without a place of its own at the best one: the hypervisor
/// takes these, and more for memory that begins elsewhere or comes in pieces. A GICv2's virtual CPU interface is mapped, too.
pub(super) fn least(spec: &PartitionSpec, gic: GicVersion) -> u64 {
    let memory = spec.memory.iter().map(|region| {
        let at = match region.place {
            Place::At(pa) => Some(pa.0),
            Place::Any => None,
        };
        (region.ipa.0, at, region.bytes)
    });
    let mapped = spec.devices.iter().filter(|device| !device.moderated);
    let devices = mapped.map(|device| (device.ipa.0, Some(device.pa.0), device.bytes));
    let interface =
        (gic == GicVersion::V2).then_some((spec.platform.cpu_interface.0, None, PAGE_BYTES));
    let all: Vec<_> =
        memory.chain(devices).chain(interface).filter(|(_, _, bytes)| *bytes != 0).collect();
    let below = LEVELS.map(|shift| {
        all.iter().flat_map(|mapping| with_table(*mapping, shift)).collect::<BTreeSet<_>>().len()
            as u64
    });
    ROOT_PAGES + below.iter().sum::<u64>()
}

/// The descriptors of a level that cannot map their part of a mapping as a whole, and so lead to a table.
fn with_table((ipa, at, bytes): (u64, Option<u64>, u64), shift: u32) -> Vec<u64> {
    let (last, inside) = (ipa + (bytes - 1), (1 << shift) - 1);
    let ends = [(ipa & inside != 0, ipa >> shift), (last & inside != inside, last >> shift)];
    if at.is_none_or(|pa| (ipa ^ pa) & inside == 0) {
        ends.into_iter().filter(|(is_partial, _)| *is_partial).map(|(_, index)| index).collect()
    } else {
        (ipa >> shift..=last >> shift).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::with_table;

    #[test]
    fn only_parts_and_unlike_addresses_need_a_table() {
        let gib = 1 << 30;
        assert!(with_table((gib, None, gib), 30).is_empty());
        assert_eq!(with_table((gib, None, gib + 4096), 30), [2]);
        assert_eq!(with_table((gib, Some(2 * gib), 2 << 20), 30), [1]);
        assert_eq!(with_table((gib, Some(2 << 20), gib), 30), [1]);
        assert_eq!(with_table((gib - 4096, None, 8192), 21), [511, 512]);
        assert_eq!(with_table((gib, Some(4096), 4 << 20), 21), [512, 513]);
    }
}
