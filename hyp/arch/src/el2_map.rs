//! EL2's own translation tables: an identity map of a few ranges, built once (Arm ARM D8.3, VMSAv8-64 with the
//! 4 KiB granule and 48-bit addresses; EL2 without VHE has one privilege level).
//!
//! The map is not live while it is built, so nothing is broken before it is made and no TLB is asked. Each range is
//! filled with the largest descriptors that it allows, a run of neighbours at a time: the map is a part of the time
//! from reset. A range that lies on an earlier one replaces it there.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

use crate::hw::PhysMem;

/// Descriptor bits: valid.
const VALID: u64 = 1;
/// A table, or at level 3 a page.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// MAIR attribute 1 of [`MAIR`].
const NORMAL: u64 = 1 << 2;
/// AP\[1\], RES1 where there is one privilege level.
const AP1: u64 = 1 << 6;
/// AP\[2\].
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
/// The access flag.
const ACCESSED: u64 = 1 << 10;
const EXECUTE_NEVER: u64 = 1 << 54;
/// The address in a descriptor.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Descriptors of a table.
const ENTRIES: u64 = 512;

/// MAIR_EL2 for these tables. Attribute 0: Device-nGnRE; attribute 1: Normal Write-Back, read- and write-allocate.
pub const MAIR: u64 = 0xff04;
/// The first address that the tables cannot map.
pub const LIMIT: u64 = 1 << 48;

/// What lies in a range; no kind is writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Code: Normal memory, read-only.
    Text,
    /// Constants: Normal memory, read-only, never executed.
    Constants,
    /// Normal memory, read and written, never executed.
    Data,
    /// Device registers: Device-nGnRE, never executed.
    Device,
    /// Nothing: neither read nor written, nor fetched ahead.
    Unmapped,
}

impl Content {
    const fn bits(self) -> u64 {
        let normal = VALID | AP1 | ACCESSED | NORMAL | INNER_SHAREABLE;
        match self {
            Self::Text => normal | READ_ONLY,
            Self::Constants => normal | READ_ONLY | EXECUTE_NEVER,
            Self::Data => normal | EXECUTE_NEVER,
            Self::Device => VALID | AP1 | ACCESSED | EXECUTE_NEVER,
            Self::Unmapped => 0,
        }
    }
}

/// Why a range cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range ends behind [`LIMIT`].
    Address,
    /// No frame is left for a table.
    NoFrame,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "too high an address",
            Self::NoFrame => "no frame is left for a table",
        })
    }
}

/// Tables under construction, in frames `next..end` of memory that `M` reaches.
#[derive(Debug)]
pub struct Map<M> {
    memory: M,
    root: Pa,
    next: Pa,
    end: Pa,
}

impl<M: PhysMem> Map<M> {
    /// An empty map whose tables will be the frames from `start` to `end`, whole frames that nobody else uses.
    ///
    /// # Errors
    /// [`MapError::NoFrame`] if there is not even one.
    pub fn new(memory: M, start: Pa, end: Pa) -> Result<Self, MapError> {
        let mut map = Self { memory, root: start, next: start, end };
        map.root = map.take_frame()?;
        Ok(map)
    }

    /// The root table (level 0), for TTBR0_EL2.
    #[must_use]
    pub const fn root(&self) -> Pa {
        self.root
    }

    /// Maps all pages that `start..end` touches to themselves.
    ///
    /// # Errors
    /// [`MapError`]; what was mapped until then stays.
    pub fn add(&mut self, start: Pa, end: Pa, content: Content) -> Result<(), MapError> {
        if start >= end {
            return Ok(());
        }
        if end.0 > LIMIT {
            return Err(MapError::Address);
        }
        let mut at = start.page_base().0;
        let end = end.0.next_multiple_of(PAGE_BYTES);
        while at < end {
            at = self.add_run(at, end, content.bits())?;
        }
        Ok(())
    }

    /// Maps from `at` on as far as one table goes; where it stopped.
    fn add_run(&mut self, at: u64, end: u64, bits: u64) -> Result<u64, MapError> {
        let (mut table, mut shift) = (self.root, 39_u32);
        // Level 0 has no blocks.
        while shift > 12 && (shift == 39 || !fits(at, end, shift)) {
            table = self.below(entry(table, at, shift), shift)?;
            shift = shift.saturating_sub(9);
        }
        let bytes = 1_u64 << shift;
        let table_end = (at | (bytes << 9).wrapping_sub(1)).wrapping_add(1);
        let last = table_end.min(end) & !bytes.wrapping_sub(1);
        let blocks = last.wrapping_sub(at) >> shift;
        self.fill(entry(table, at, shift), at | leaf(bits, shift), blocks, shift);
        Ok(last)
    }

    /// Writes `count` leaves of neighbouring ranges.
    fn fill(&self, first: Pa, descriptor: u64, count: u64, shift: u32) {
        let (mut at, mut descriptor) = (first, descriptor);
        for _ in 0..count {
            self.memory.write_u64(at, descriptor);
            at = at.wrapping_add(8);
            descriptor = descriptor.wrapping_add(1 << shift);
        }
    }

    /// The table below an entry of a table whose entries map `1 << shift` bytes; a new one if there is none, with
    /// what a block there mapped until now.
    fn below(&mut self, entry: Pa, shift: u32) -> Result<Pa, MapError> {
        let old = self.memory.read_u64(entry);
        if old & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE {
            return Ok(Pa(old & ADDRESS));
        }
        let table = self.take_frame()?;
        if old & VALID != 0 {
            let below = shift.saturating_sub(9);
            self.fill(table, leaf(old, below), ENTRIES, below);
        }
        self.memory.write_u64(entry, table.0 | VALID | TABLE_OR_PAGE);
        Ok(table)
    }

    fn take_frame(&mut self) -> Result<Pa, MapError> {
        let frame = self.next;
        let next = frame.wrapping_add(PAGE_BYTES);
        if next > self.end {
            return Err(MapError::NoFrame);
        }
        self.next = next;
        self.memory.zero(frame, PageCount(1));
        Ok(frame)
    }
}

/// Whether a leaf of `1 << shift` bytes fits at `at`.
const fn fits(at: u64, end: u64, shift: u32) -> bool {
    let bytes = 1_u64 << shift;
    at & bytes.wrapping_sub(1) == 0 && end.wrapping_sub(at) >= bytes
}

/// Where the descriptor for `at` lies in a table whose descriptors map `1 << shift` bytes.
const fn entry(table: Pa, at: u64, shift: u32) -> Pa {
    Pa(table.0 | (((at >> shift) & ENTRIES.wrapping_sub(1)) << 3))
}

/// A leaf's bits: a page has the bit that makes a table elsewhere.
const fn leaf(bits: u64, shift: u32) -> u64 {
    if shift == 12 { bits | TABLE_OR_PAGE } else { bits & !TABLE_OR_PAGE }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test")]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    const TABLES: Pa = Pa(0x5000_0000);

    /// Memory that is full of valid descriptors until it is cleared.
    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<u64, u64>>);

    impl PhysMem for &Memory {
        fn read_u64(&self, at: Pa) -> u64 {
            assert_eq!(at.0 % 8, 0);
            *self.0.borrow().get(&at.0).unwrap_or(&0xdead_beef_dead_beef)
        }

        fn write_u64(&self, at: Pa, value: u64) {
            assert_eq!(at.0 % 8, 0);
            self.0.borrow_mut().insert(at.0, value);
        }

        fn zero(&self, at: Pa, pages: PageCount) {
            for word in 0..pages.0 * 512 {
                self.write_u64(Pa(at.0 + word * 8), 0);
            }
        }

        fn clean_invalidate(&self, _at: Pa, _bytes: u64) {}
    }

    fn map(memory: &Memory, frames: u64) -> Map<&Memory> {
        Map::new(memory, TABLES, Pa(TABLES.0 + frames * 4096)).unwrap()
    }

    /// A walk as the architecture has it: output address, the descriptor's attributes, and the leaf's size.
    fn walk(memory: &Memory, root: Pa, va: u64) -> Option<(u64, u64, u64)> {
        let mut table = root.0;
        for level in 0..4 {
            let shift = 39 - 9 * level;
            let descriptor = memory.read_u64(Pa(table + ((va >> shift) % 512) * 8));
            let address = descriptor & 0x0000_ffff_ffff_f000;
            match (descriptor & 3, level) {
                (3, 3) | (1, 1 | 2) => {
                    let size = 1_u64 << shift;
                    assert_eq!(address % size, 0, "a leaf's address is aligned");
                    let attributes = descriptor & !0x0000_ffff_ffff_f003;
                    return Some((address + va % size, attributes, size));
                }
                (3, _) => table = address,
                // Bit 0 says that it is valid.
                (0 | 2, _) => return None,
                (kind, _) => panic!("descriptor {kind} at level {level}"),
            }
        }
        None
    }

    const TEXT: u64 = 0x7c4;
    const CONSTANTS: u64 = 0x0040_0000_0000_07c4;
    const DATA: u64 = 0x0040_0000_0000_0744;
    const DEVICE: u64 = 0x0040_0000_0000_0440;

    #[test]
    fn each_content_has_its_attributes_and_maps_to_itself() {
        let all = [
            (Content::Text, TEXT),
            (Content::Constants, CONSTANTS),
            (Content::Data, DATA),
            (Content::Device, DEVICE),
        ];
        for (content, attributes) in all {
            let memory = Memory::default();
            let mut map = map(&memory, 8);
            map.add(Pa(0x4020_0000), Pa(0x4020_1000), content).unwrap();
            assert_eq!(
                walk(&memory, map.root(), 0x4020_0123),
                Some((0x4020_0123, attributes, 4096)),
                "{content:?}"
            );
            assert_eq!(walk(&memory, map.root(), 0x401f_ffff), None);
            assert_eq!(walk(&memory, map.root(), 0x4020_1000), None);
        }
    }

    #[test]
    fn the_largest_leaves_are_taken() {
        let memory = Memory::default();
        let mut map = map(&memory, 8);
        map.add(Pa(0x3fff_f000), Pa(0x1_0020_1000), Content::Data).unwrap();
        let size = |va| walk(&memory, map.root(), va).map(|(_, _, size)| size);
        assert_eq!(size(0x3fff_efff), None);
        assert_eq!(size(0x3fff_f000), Some(4096));
        assert_eq!(size(0x4000_0000), Some(1 << 30));
        assert_eq!(size(0xffff_ffff), Some(1 << 30));
        assert_eq!(size(0x1_001f_ffff), Some(2 << 20));
        assert_eq!(size(0x1_0020_0fff), Some(4096));
        assert_eq!(size(0x1_0020_1000), None);
    }

    #[test]
    fn a_range_inside_a_block_replaces_its_part_only() {
        let memory = Memory::default();
        let mut map = map(&memory, 8);
        map.add(Pa(0x4000_0000), Pa(0x8000_0000), Content::Data).unwrap();
        map.add(Pa(0x4020_3000), Pa(0x4020_5000), Content::Text).unwrap();
        for (va, attributes, size) in [
            (0x4000_0000, DATA, 2 << 20),
            (0x4020_2fff, DATA, 4096),
            (0x4020_3000, TEXT, 4096),
            (0x4020_4fff, TEXT, 4096),
            (0x4020_5000, DATA, 4096),
            (0x403f_ffff, DATA, 4096),
            (0x4040_0000, DATA, 2 << 20),
            (0x7fff_ffff, DATA, 2 << 20),
        ] {
            assert_eq!(walk(&memory, map.root(), va), Some((va, attributes, size)), "{va:#x}");
        }
    }

    #[test]
    fn a_range_is_taken_back_and_no_page_beside_it() {
        let memory = Memory::default();
        let mut map = map(&memory, 8);
        map.add(Pa(0x4000_0000), Pa(0xc000_0000), Content::Data).unwrap();
        map.add(Pa(0x4020_3000), Pa(0x4060_1000), Content::Unmapped).unwrap();
        map.add(Pa(0x8000_0000), Pa(0xc000_0000), Content::Unmapped).unwrap();
        map.add(Pa(0xb000_0000), Pa(0xb000_0800), Content::Unmapped).unwrap();
        for va in [0x4000_0000, 0x4020_2fff, 0x4060_1000, 0x7fff_ffff] {
            assert_eq!(walk(&memory, map.root(), va).map(|(pa, ..)| pa), Some(va), "{va:#x}");
        }
        for va in [0x4020_3000, 0x4040_0000, 0x4060_0fff, 0x8000_0000, 0xb000_0000, 0xbfff_ffff] {
            assert_eq!(walk(&memory, map.root(), va), None, "{va:#x}");
        }
        // What lies there and is known to be used comes back.
        map.add(Pa(0x9000_0000), Pa(0x9000_1000), Content::Device).unwrap();
        assert!(walk(&memory, map.root(), 0x9000_0fff).is_some());
        assert_eq!(walk(&memory, map.root(), 0x9000_1000), None);
    }

    #[test]
    fn every_page_of_random_ranges_maps_to_itself_and_no_other_page_is_mapped() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..40 {
            let memory = Memory::default();
            let mut map = map(&memory, 64);
            let mut expected = BTreeMap::new();
            for _ in 0..6 {
                let (start, pages) = (random(3000), 1 + random(1500));
                let is_text = random(2) == 0;
                let content = if is_text { Content::Text } else { Content::Data };
                let at = |page: u64| Pa(0x7f_ffa0_0000 + page * 4096);
                map.add(at(start), at(start + pages), content).unwrap();
                for page in start..start + pages {
                    expected.insert(at(page).0, if is_text { TEXT } else { DATA });
                }
            }
            for page in 0..5000 {
                let va = 0x7f_ffa0_0000 + page * 4096;
                let found = walk(&memory, map.root(), va).map(|(pa, bits, _)| (pa, bits));
                assert_eq!(found, expected.get(&va).map(|bits| (va, *bits)), "{va:#x}");
            }
        }
    }

    #[test]
    fn pages_that_a_range_only_touches_are_mapped() {
        let memory = Memory::default();
        let mut map = map(&memory, 8);
        map.add(Pa(0x1ff0), Pa(0x2010), Content::Device).unwrap();
        for (va, is_mapped) in [(0xfff, false), (0x1000, true), (0x2fff, true), (0x3000, false)] {
            assert_eq!(walk(&memory, map.root(), va).is_some(), is_mapped, "{va:#x}");
        }
        map.add(Pa(0x9000), Pa(0x9000), Content::Device).unwrap();
        assert_eq!(walk(&memory, map.root(), 0x9000), None);
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let memory = Memory::default();
        assert_eq!(Map::new(&memory, TABLES, TABLES).err(), Some(MapError::NoFrame));
        let mut map = map(&memory, 3);
        assert_eq!(map.add(Pa(0), Pa(LIMIT + 1), Content::Data), Err(MapError::Address));
        assert_eq!(map.add(Pa(LIMIT - 1), Pa(u64::MAX), Content::Data), Err(MapError::Address));
        assert_eq!(map.add(Pa(0), Pa(0x1000), Content::Data), Err(MapError::NoFrame));
        map.add(Pa(LIMIT - (1 << 30)), Pa(LIMIT), Content::Data).unwrap_err();
    }
}
