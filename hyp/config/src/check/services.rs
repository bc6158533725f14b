//! Which services are asked for at which partition, and by whom.

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::partition::{is_printable, name_of, text};
use crate::row::{PartitionRow, ServiceRow};
use crate::types::{MAX_SERVICES, PartitionSet};

/// Each has a number of its own at a partition that exists, and is open to partitions that may ask that one.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let (tables, rows) = (bundle.tables(), bundle.system_tables().services);
    if rows.len() > MAX_SERVICES {
        return Err(BundleError::Layout("too many services"));
    }
    for (index, row) in rows.iter().map(ServiceRow::get).enumerate() {
        let is_name = is_printable(tables.strings, row.name_at, row.name_len);
        if !is_name || row.reserved != 0 {
            return Err(BundleError::Layout("service without a name, or an unknown flag"));
        }
        let Some(of) = tables.partitions.get(usize::from(row.of)) else {
            return Err(BundleError::Layout("service of a partition that is not there"));
        };
        let claim = |row: &ServiceRow| {
            let name = text(tables.strings, row.name_at, row.name_len).unwrap_or("");
            Claimant { partition: name_of(of), item: Item::Service(name) }
        };
        if PartitionSet(row.to) != PartitionSet::ALL
            && row.to & !PartitionRow::get(of).accept_from != 0
        {
            return Err(BundleError::Value {
                claimant: claim(&row),
                what: "open to one that may not ask",
                value: row.to,
            });
        }
        let mut earlier = rows.iter().take(index).map(ServiceRow::get);
        if let Some(earlier) = earlier.find(|it| (it.of, it.number) == (row.of, row.number)) {
            return Err(BundleError::Clash {
                contested: Contested::Service(row.number),
                first: claim(&earlier),
                second: claim(&row),
            });
        }
    }
    Ok(())
}
