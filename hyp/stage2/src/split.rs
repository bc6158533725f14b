//! Splitting: a live leaf becomes a table with the same content, by break-before-make.

use crate::descriptor::{INVALID, Kind, attribute_bits, kind, leaf, table};
use crate::reserve::Reserve;
use crate::{IpaRange, Leaf, Level, Stage2, invalidate};
use shikiri_abi::{Ipa, Pa};
use shikiri_arch::hw::{PhysMem, Tlb};

impl Stage2 {
    /// How many tables it takes that no leaf crosses either end of the range.
    pub(crate) fn tables_to_split<M: PhysMem>(&self, mem: &M, range: IpaRange) -> u32 {
        let (start, end) = (range.start(), range.end());
        let first = self.crossed(mem, start);
        let last = self.crossed(mem, end);
        let both = splits(first, start).saturating_add(splits(last, end));
        // Both ends in one leaf share the tables that cover both.
        match (first, last) {
            (Some(a), Some(b)) if a.ipa == b.ipa => both.saturating_sub(shared(a, start, end)),
            _ => both,
        }
    }

    /// Splits the leaves that cross either end of the range, out of the tables of `reserve`.
    ///
    /// While a leaf is broken, another vCPU of the partition can fault on it: the handler of a stage-2
    /// abort takes the partition's lock, walks, and returns to the guest if the access is allowed now.
    pub(crate) fn split_ends<M: PhysMem, T: Tlb>(
        &mut self,
        mem: &M,
        tlb: &T,
        range: IpaRange,
        reserve: &mut Reserve,
    ) {
        for edge in [range.start(), range.end()] {
            // 1 GiB to 2 MiB to 4 KiB: twice at most.
            for _ in 0..2 {
                if let Some(crossed) = self.crossed(mem, edge) {
                    self.split(mem, tlb, crossed, reserve);
                }
            }
        }
    }

    /// The leaf that `edge` lies strictly inside.
    fn crossed<M: PhysMem>(&self, mem: &M, edge: Ipa) -> Option<Leaf> {
        self.leaf_at(mem, edge).filter(|leaf| leaf.ipa != edge)
    }

    /// Splits one leaf. The break must be complete on every core before the make: two sizes cached for
    /// one address are a conflict (Arm ARM D8.17.1, break-before-make).
    fn split<M: PhysMem, T: Tlb>(&self, mem: &M, tlb: &T, old: Leaf, reserve: &mut Reserve) {
        let (Some((slot, raw, _)), Some(below)) = (self.slot_of(mem, old.ipa), old.level.below())
        else {
            return;
        };
        let child = reserve.pop(mem);
        fill_same(mem, child, below, old, attribute_bits(raw));
        mem.write_u64(slot, INVALID);
        invalidate::one_leaf(tlb, self.vttbr, old.ipa);
        mem.write_u64(slot, table(child));
        invalidate::publish(tlb);
    }
}

/// Whether no descriptor of a table is valid: up to 512 loads, fewer as soon as one is.
pub(crate) fn is_empty<M: PhysMem>(mem: &M, table_at: Pa, level: Level) -> bool {
    (0..512_u64).all(|index| {
        let slot = Pa(table_at.0 | (index << 3));
        kind(level, mem.read_u64(slot)) == Kind::Invalid
    })
}

/// Fills a fresh table with the leaves that together are `old`.
fn fill_same<M: PhysMem>(mem: &M, child: Pa, below: Level, old: Leaf, bits: u64) {
    let mut to = old.pa.0;
    for index in 0..512_u64 {
        mem.write_u64(Pa(child.0 | (index << 3)), leaf(below, to, bits));
        to = to.wrapping_add(below.bytes());
    }
}

/// How often a crossed leaf is split for one edge.
const fn splits(crossed: Option<Leaf>, edge: Ipa) -> u32 {
    match crossed {
        None => 0,
        Some(leaf) => match leaf.level {
            Level::One if Level::Two.offset(edge.0) != 0 => 2,
            Level::One | Level::Two => 1,
            Level::Three => 0,
        },
    }
}

/// How many of the tables two edges inside one leaf have in common.
const fn shared(leaf: Leaf, start: Ipa, end: Ipa) -> u32 {
    let is_same_2_mib = start.0 >> Level::Two.shift() == end.0 >> Level::Two.shift();
    let are_both_inside = Level::Two.offset(start.0) != 0 && Level::Two.offset(end.0) != 0;
    match leaf.level {
        Level::One if is_same_2_mib && are_both_inside => 2,
        Level::One | Level::Two => 1,
        Level::Three => 0,
    }
}
