//! Reading the tables: one address with every step, and all leaves in order.

use crate::descriptor::{Kind, address, kind};
use crate::{Attributes, Level, Stage2};
use shikiri_abi::{Ipa, Pa};
use shikiri_arch::hw::PhysMem;

/// A leaf: a run of IPAs with physical memory behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The first IPA.
    pub ipa: Ipa,
    /// Where that lies in physical memory.
    pub pa: Pa,
    /// The level, and with it the size.
    pub level: Level,
    /// What the guest may do.
    pub attributes: Attributes,
}

impl Leaf {
    /// The size in bytes: 4 KiB, 2 MiB or 1 GiB.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.level.bytes()
    }

    /// The physical address behind an IPA of this leaf.
    #[must_use]
    pub const fn translate(&self, ipa: Ipa) -> Pa {
        Pa(self.pa.0 | self.level.offset(ipa.0))
    }

    /// The bytes from `ipa`, an address of this leaf, to the leaf's end: what one copy may touch.
    #[must_use]
    pub const fn bytes_from(&self, ipa: Ipa) -> u64 {
        self.level.bytes().wrapping_sub(self.level.offset(ipa.0))
    }
}

/// One step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The level.
    pub level: Level,
    /// Where the descriptor is.
    pub at: Pa,
    /// The descriptor.
    pub descriptor: u64,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkEnd {
    /// At a leaf.
    Leaf(Leaf),
    /// At an invalid descriptor of this level.
    Hole(Level),
    /// Before the first step: the IPA is outside the address space.
    OutOfRange,
}

/// A walk with its steps, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The address that was looked up.
    pub ipa: Ipa,
    /// The steps taken, from level 1 down.
    pub steps: [Option<Step>; 3],
    /// How it ended.
    pub end: WalkEnd,
}

impl Stage2 {
    /// Walks the tables as a core would, and keeps each step.
    #[must_use]
    pub fn walk<M: PhysMem>(&self, mem: &M, ipa: Ipa) -> Walk {
        let mut steps = [None; 3];
        let mut room = steps.iter_mut();
        let end = self.walk_with(mem, ipa, |step| {
            if let Some(place) = room.next() {
                *place = Some(step);
            }
        });
        Walk { ipa, steps, end }
    }

    /// The leaf that an IPA lies in, if there is one: the check before every copy from or to a guest.
    #[must_use]
    #[inline]
    pub fn leaf_at<M: PhysMem>(&self, mem: &M, ipa: Ipa) -> Option<Leaf> {
        match self.walk_with(mem, ipa, |_step| {}) {
            WalkEnd::Leaf(leaf) => Some(leaf),
            WalkEnd::Hole(_) | WalkEnd::OutOfRange => None,
        }
    }

    /// All leaves in ascending order of IPA.
    pub fn leaves<'a, M: PhysMem>(&'a self, mem: &'a M) -> Leaves<'a, M> {
        self.leaves_from(mem, Ipa(0))
    }

    /// The leaves from the one that holds `from` on: an audit can stop and go on.
    pub fn leaves_from<'a, M: PhysMem>(&'a self, mem: &'a M, from: Ipa) -> Leaves<'a, M> {
        Leaves { tables: self, mem, next: from }
    }

    /// The leaf that an IPA lies in, with the place of its descriptor.
    pub(crate) fn slot_of<M: PhysMem>(&self, mem: &M, ipa: Ipa) -> Option<(Pa, u64, Leaf)> {
        let mut last = (Pa(0), 0);
        match self.walk_with(mem, ipa, |step| last = (step.at, step.descriptor)) {
            WalkEnd::Leaf(leaf) => Some((last.0, last.1, leaf)),
            WalkEnd::Hole(_) | WalkEnd::OutOfRange => None,
        }
    }

    #[inline]
    fn walk_with<M: PhysMem>(&self, mem: &M, ipa: Ipa, mut visit: impl FnMut(Step)) -> WalkEnd {
        if ipa.0 >= self.format.ipa_end() {
            return WalkEnd::OutOfRange;
        }
        let mut table = self.root;
        let mut level = Level::One;
        loop {
            let at = level.slot(table, ipa.0);
            let raw = mem.read_u64(at);
            visit(Step { level, at, descriptor: raw });
            match (kind(level, raw), level.below()) {
                (Kind::Table, Some(below)) => {
                    table = address(raw);
                    level = below;
                }
                (Kind::Leaf, _) => return WalkEnd::Leaf(read_leaf(level, ipa.0, raw)),
                (Kind::Invalid | Kind::Table, _) => return WalkEnd::Hole(level),
            }
        }
    }
}

/// The leaf that a leaf descriptor found for `ipa` describes.
pub(crate) const fn read_leaf(level: Level, ipa: u64, raw: u64) -> Leaf {
    Leaf {
        ipa: Ipa(ipa.wrapping_sub(level.offset(ipa))),
        pa: address(raw),
        level,
        attributes: Attributes::from_bits(raw),
    }
}

/// Iterator over all leaves, ascending ([`Stage2::leaves`]).
#[derive(Debug)]
pub struct Leaves<'a, M> {
    tables: &'a Stage2,
    mem: &'a M,
    next: Ipa,
}

impl<M: PhysMem> Iterator for Leaves<'_, M> {
    type Item = Leaf;

    fn next(&mut self) -> Option<Leaf> {
        loop {
            let at = self.next;
            let (level, leaf) = match self.tables.walk_with(self.mem, at, |_step| {}) {
                WalkEnd::Leaf(leaf) => (leaf.level, Some(leaf)),
                WalkEnd::Hole(level) => (level, None),
                WalkEnd::OutOfRange => return None,
            };
            self.next = Ipa((at.0 | level.bytes().wrapping_sub(1)).wrapping_add(1));
            if leaf.is_some() {
                return leaf;
            }
        }
    }
}
