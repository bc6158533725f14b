//! The memory of a new partition, as people write it: `4M`, `4M,8M@0x80000000`.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, Resource};

use crate::amount::Amount;

/// Where a guest's memory begins, as on QEMU's `virt`; its device tree as well.
pub(crate) const MEMORY_AT: u64 = 0x4000_0000;
/// The most regions.
pub(crate) const MOST_REGIONS: usize = 4;

/// A region of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where the guest sees it.
    pub at: u64,
    /// Its size.
    pub bytes: u64,
}

impl Region {
    /// The first one, where every guest's memory begins.
    #[must_use]
    pub const fn first(bytes: u64) -> Self {
        Self { at: MEMORY_AT, bytes }
    }

    /// One of this size at an address, or behind those that there are.
    #[must_use]
    pub fn behind(before: &[Self], bytes: u64, at: Option<u64>) -> Self {
        let end = before.last().map_or(MEMORY_AT, |last| last.at.saturating_add(last.bytes));
        Self { at: at.unwrap_or(end), bytes }
    }

    /// Reads regions: sizes, from the second one on with an address perhaps.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for part in text.split(',') {
            let (size, at) = match part.split_once('@') {
                Some((size, at)) => (size, Some(at)),
                None => (part, None),
            };
            let pages = Amount::parse(Resource::Memory, size).map_err(|bad| bad.to_string())?;
            let at = at.map(|text| {
                number(text).ok_or_else(|| format!("`{text}` is no address such as `0x80000000`"))
            });
            let bytes = pages.value.saturating_mul(PAGE_BYTES);
            all.push(Self::behind(&all, bytes, at.transpose()?));
        }
        Ok(all)
    }
}

/// With the address of all but the first.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = Amount { resource: Resource::Memory, value: self.bytes / PAGE_BYTES };
        if self.at == MEMORY_AT { size.fmt(f) } else { write!(f, "{size}@{:#x}", self.at) }
    }
}

/// A number, or one after `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(&digits.replace('_', ""), 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn regions_follow_each_other_or_are_where_they_are_said_to_be() {
        let regions = Region::parse_all("4M,1M,8M@0x80000000,4K").unwrap();
        let expected = [
            (0x4000_0000, 4 << 20),
            (0x4040_0000, 1 << 20),
            (0x8000_0000, 8 << 20),
            (0x8080_0000, 4096),
        ];
        assert_eq!(regions, expected.map(|(at, bytes)| Region { at, bytes }));
        let written: Vec<String> = regions.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["4M", "1M@0x40400000", "8M@0x80000000", "4K@0x80800000"]);
        assert_eq!(Region::parse_all(&written.join(",")), Ok(regions));
    }

    #[test]
    fn what_is_no_region_is_named() {
        for (text, why) in [
            ("", "`` is not a size of whole pages"),
            ("4M,", "`` is not a size of whole pages"),
            ("4M,1@0x1000", "`1` is not a size of whole pages"),
            ("4M,1M@far", "`far` is no address such as `0x80000000`"),
            ("4M,1M@0x10000000000000000", "`0x10000000000000000` is no address"),
        ] {
            let error = Region::parse_all(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
