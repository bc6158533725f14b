//! Whom a complete partition waits for before it runs.
//!
//! Nobody waits in a circle: whether a partition has its ends waits for no other one's start, and of the starts those of a higher
//! [order](Complete::start_order) wait for those of a lower one.

use shikiri_abi::PartitionSlot;
use shikiri_config::PartitionSet;

use super::Phase;

/// A partition that is built and has opened all that the description gives it.
#[derive(Clone, Copy, Debug)]
pub struct Complete {
    /// Where it stands in the order of starts.
    pub start_order: u16,
    /// Whether it starts with the machine.
    pub autostart: bool,
    /// How often it was started, this time included.
    pub starts: u32,
    /// Whether somebody has ended it meanwhile.
    pub is_to_end: bool,
    /// With whom the description connects it.
    pub partners: PartitionSet,
}

/// A partition of the description, as a complete one looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    /// Its number.
    pub number: PartitionSlot,
    /// Where it stands in the order of starts.
    pub start_order: u16,
    /// Whether it starts with the machine.
    pub autostart: bool,
    /// Where it stands now.
    pub phase: Phase,
    /// Whether a life of it has opened all that the description gives it.
    pub has_ends: bool,
}

/// Whether a complete partition may run: of those that start with the machine, none is still being built that comes earlier in the order
/// of starts, nor, when it starts with the machine itself, one with which the description connects it and which has not opened its ends.
/// One that could not be built, or has ended, keeps nobody waiting, and who is to end waits for nobody.
#[must_use]
pub fn may_start(own: &Complete, mut others: impl Iterator<Item = Other>) -> bool {
    let is_boot = own.autostart && own.starts == 1;
    let partners = if is_boot { own.partners } else { PartitionSet::EMPTY };
    own.is_to_end
        || others.all(|other| {
            let is_earlier = other.start_order < own.start_order;
            let is_missed = !other.has_ends && partners.contains(usize::from(other.number.0));
            let is_awaited = other.autostart && (is_earlier || is_missed);
            !(is_awaited && other.phase == Phase::Building)
        })
}

#[cfg(test)]
mod tests;
