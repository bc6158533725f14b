//! How many tables a partition's mappings need, before the first one is made.

use shikiri_stage2::{Level, Mapping};

/// The tables below the root that these mappings need, made one after the other; exact when they ascend, never
/// too few.
pub(super) fn tables(mappings: impl Iterator<Item = Mapping>) -> u64 {
    let mut twos = Counter::new(Level::One);
    let mut threes = Counter::new(Level::Two);
    for mapping in mappings {
        twos.add(mapping);
        threes.add(mapping);
    }
    twos.count.saturating_add(threes.count)
}

/// Counts the descriptors of one level that must lead to a table.
struct Counter {
    level: Level,
    /// The last such descriptor: the next mapping may begin under it.
    last: Option<u64>,
    count: u64,
}

impl Counter {
    const fn new(level: Level) -> Self {
        Self { level, last: None, count: 0 }
    }

    fn add(&mut self, mapping: Mapping) {
        let (shift, size) = (self.level.shift(), self.level.bytes());
        let (start, bytes) = (mapping.ipa.0, mapping.pages.bytes().unwrap_or(0));
        let end = start.saturating_add(bytes);
        if bytes == 0 {
            return;
        }
        let (first, last) = (start >> shift, end.saturating_sub(1) >> shift);
        let inside = size.saturating_sub(1);
        if (start ^ mapping.pa.0) & inside == 0 {
            // Leaves of this size fit: only the ends may need a table.
            if start & inside != 0 || (first == last && end & inside != 0) {
                self.need(first, first);
            }
            if end & inside != 0 && last > first {
                self.need(last, last);
            }
        } else {
            self.need(first, last);
        }
    }

    fn need(&mut self, first: u64, last: u64) {
        let all = last.saturating_sub(first).saturating_add(1);
        let shared = u64::from(self.last == Some(first));
        self.count = self.count.saturating_add(all.saturating_sub(shared));
        self.last = Some(last);
    }
}

#[cfg(test)]
mod tests {
    use shikiri_abi::{Ipa, Pa, PageCount};
    use shikiri_stage2::{Attributes, Mapping};

    fn tables(mappings: &[(u64, u64, u64)]) -> u64 {
        super::tables(mappings.iter().map(|(ipa, pa, pages)| Mapping {
            ipa: Ipa(*ipa),
            pa: Pa(*pa),
            pages: PageCount(*pages),
            attributes: Attributes::RAM,
        }))
    }

    #[test]
    fn leaves_of_the_largest_size_need_no_table_below_them() {
        assert_eq!(tables(&[(0x4000_0000, 0x8000_0000, 1 << 18)]), 0, "1 GiB, aligned");
        assert_eq!(tables(&[(0x4000_0000, 0x8020_0000, 1 << 18)]), 1, "1 GiB in 2 MiB leaves");
        assert_eq!(tables(&[(0x4000_0000, 0x8000_0000, 512)]), 1, "2 MiB");
        assert_eq!(tables(&[(0x4000_0000, 0x8000_0000, 513)]), 2, "and a page");
        assert_eq!(tables(&[(0x4000_1000, 0x8000_1000, 1)]), 2, "a page inside");
        assert_eq!(tables(&[(0x4000_1000, 0x8000_1000, 1022)]), 3, "both ends");
        assert_eq!(tables(&[(0x7fff_f000, 0x8000_0000, 2)]), 4, "across a GiB, unlike");
        assert_eq!(tables(&[(0x4000_0000, 0x8000_1000, 1 << 15)]), 1 + 64, "128 MiB, unlike");
        assert_eq!(tables(&[]), 0);
    }

    #[test]
    fn neighbours_share_their_tables() {
        let page = |index: u64| (0x4000_0000 + index * 0x1000, 0x9000_0000 + index * 0x3000, 1);
        assert_eq!(tables(&[page(0), page(1), page(2)]), 2);
        assert_eq!(tables(&[(0x4000_0000, 0x8000_0000, 511), page(511), page(512)]), 3);
    }
}
