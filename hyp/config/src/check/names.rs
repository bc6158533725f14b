//! Who may open which names of objects, and how many.

use shikiri_abi::ObjectName;

use crate::bundle::Bundle;
use crate::error::BundleError;
use crate::partition::{name_entry, text};
use crate::row::{NameRow, PartitionRow};
use crate::types::{MAX_OBJECTS, NameEntry};

/// Entries are names or beginnings of names, each once, for partitions that exist and have handles.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let tables = bundle.tables();
    let mut objects = 0_usize;
    for (index, row) in tables.names.iter().map(NameRow::get).enumerate() {
        let wrong = |what| Err(BundleError::System { what, value: number(index) });
        if row.is_prefix > 1 || row.reserved != 0 || row.reserved2 != 0 || row.reserved3 != 0 {
            return wrong("unknown flag of name entry number");
        }
        if text(tables.strings, row.text_at, row.text_len).is_none() {
            return Err(BundleError::Layout("text of a name entry"));
        }
        let entry = name_entry(row, tables.strings);
        let is_any = entry.is_prefix && entry.text.is_empty();
        if !is_any && ObjectName::new(entry.text.as_bytes()).is_none() {
            return wrong("bad text of name entry number");
        }
        let is_same =
            |other: NameEntry<'_>| (other.text, other.is_prefix) == (entry.text, entry.is_prefix);
        if bundle.name_entries().take(index).any(is_same) {
            return wrong("an earlier entry says the same as name entry number");
        }
        if entry.objects == 0 || !entry.is_prefix && entry.objects != 1 {
            return wrong("number of objects out of range of name entry number");
        }
        objects = objects.saturating_add(usize::from(entry.objects));
        let row_of = |index: usize| tables.partitions.get(index).map(PartitionRow::get);
        let has_handles = |index| row_of(index).is_some_and(|row| row.handles > 0);
        if !entry.partitions.iter().all(has_handles) {
            return wrong("a partition that is not there or has no handles in name entry number");
        }
    }
    if objects > MAX_OBJECTS {
        return Err(BundleError::System {
            what: "number of objects out of range",
            value: number(objects),
        });
    }
    Ok(())
}

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
