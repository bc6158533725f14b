//! Which rows of the table a partition may use for a name: the description's `[[name]]` entries.
//!
//! Each entry has rows of its own, one after the other in the order of the entries. So nobody can fill the table for
//! partitions that an entry does not list together with him.

use shikiri_abi::{ObjectName, PartitionSlot};
use shikiri_config::NameEntry;

use super::Refusal;

/// The rows of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first one.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// Finds the entry that a name belongs to: the longest one that fits, one for this name alone before all. Only its
/// partitions may open the name, whatever other entries say.
///
/// # Errors
/// `NotPermitted`: the partition is not one of them, or no entry fits.
pub fn permit<'e>(
    entries: impl Iterator<Item = NameEntry<'e>>,
    slot: PartitionSlot,
    name: &ObjectName,
) -> Result<Rows, Refusal> {
    let (mut first, mut best) = (0_u16, None);
    for entry in entries {
        let weight = weight(&entry, name.as_bytes());
        if weight > best.map_or(0, |(weight, _, _)| weight) {
            let rows = Rows { first, count: entry.objects };
            best = Some((weight, entry.partitions, rows));
        }
        first = first.saturating_add(entry.objects);
    }
    match best {
        Some((_, partitions, rows)) if partitions.contains(usize::from(slot.0)) => Ok(rows),
        _ => Err(Refusal::NotPermitted),
    }
}

/// How well an entry fits; 0 if it does not.
fn weight(entry: &NameEntry<'_>, name: &[u8]) -> usize {
    let text = entry.text.as_bytes();
    if !entry.is_prefix {
        return if text == name { usize::MAX } else { 0 };
    }
    if name.starts_with(text) { text.len().saturating_add(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Rows, permit};
    use shikiri_abi::{ObjectName, PartitionSlot};
    use shikiri_config::{NameEntry, PartitionSet};

    const ENTRIES: [NameEntry<'_>; 5] = [
        NameEntry { text: "log/", is_prefix: true, partitions: PartitionSet(0b0111), objects: 8 },
        NameEntry {
            text: "frames",
            is_prefix: false,
            partitions: PartitionSet(0b0011),
            objects: 1,
        },
        NameEntry { text: "log/b/", is_prefix: true, partitions: PartitionSet(0b0010), objects: 4 },
        NameEntry {
            text: "log/b/x",
            is_prefix: false,
            partitions: PartitionSet(0b0100),
            objects: 1,
        },
        NameEntry { text: "", is_prefix: true, partitions: PartitionSet(1 << 63), objects: 2 },
    ];

    fn rows(slot: u8, name: &str) -> Result<(u16, u16), Refusal> {
        let name = ObjectName::new(name.as_bytes()).unwrap();
        permit(ENTRIES.into_iter(), PartitionSlot(slot), &name)
            .map(|Rows { first, count }| (first, count))
    }

    #[test]
    fn the_longest_entry_that_fits_a_name_says_who_may_open_it() {
        let denied = Err(Refusal::NotPermitted);
        let cases = [
            ("frames", [Ok((8, 1)), Ok((8, 1)), denied, denied]),
            ("frames2", [denied; 4]),
            ("log/", [Ok((0, 8)), Ok((0, 8)), Ok((0, 8)), denied]),
            ("log/a", [Ok((0, 8)), Ok((0, 8)), Ok((0, 8)), denied]),
            ("log/b/", [denied, Ok((9, 4)), denied, denied]),
            ("log/b/y", [denied, Ok((9, 4)), denied, denied]),
            ("log/b/x", [denied, denied, Ok((13, 1)), denied]),
            ("lo", [denied; 4]),
        ];
        for (name, expected) in cases {
            for (slot, expected) in (0..).zip(expected) {
                assert_eq!(rows(slot, name), expected, "{name} by {slot}");
            }
        }
        assert_eq!(rows(63, "anything"), Ok((14, 2)));
        assert_eq!(rows(63, "frames"), denied);
        for slot in 64..=255 {
            assert_eq!(rows(slot, "anything"), denied, "there is no partition {slot}");
        }
    }

    #[test]
    fn without_entries_nobody_may_open_anything() {
        let name = ObjectName::new(b"frames").unwrap();
        let none = permit(core::iter::empty(), PartitionSlot(0), &name);
        assert_eq!(none, Err(Refusal::NotPermitted));
    }
}
