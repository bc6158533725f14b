//! Shared areas of the description (V7): they belong to all of their partitions alike. Who starts first makes one and keeps it, who
//! starts later attaches it, and who leaves hands it on; so it is there whenever a guest runs, and its content stays as long as one of
//! them lives. Nobody can revoke it.
//!
//! Where it is, the machine notes in a word for each ([`Place`]), which is no more than a hint: whoever finds it compares it
//! with the keeper's books. Handles and slots are the same for who makes it and who attaches it: each comes to its areas in the
//! description's order, before its guest runs.

use shikiri_abi::{PageCount, PartitionId};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::Access;
use shikiri_sync::atomic::{AtomicU64, Ordering};

use super::{State, Used, bit};
use crate::area::{Estate, Machine, Made, Parts, Progress, Wanted};
use crate::event::area;
use crate::frame::AreaNumber;
use crate::handle::{Handle, Rights};
use crate::partition::Loader;
use crate::party::{Refusal, first_handle};

/// A shared area of the description, as one of its partitions has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Which.
    pub number: u8,
    /// Its size and class.
    pub wanted: Wanted,
    /// What the partition may do there.
    pub access: Access,
}

/// Where a shared area of the description is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody has started it.
    Nowhere,
    /// This incarnation makes it, or has ended while it did.
    Making(PartitionId),
    /// It was this area, which this incarnation has made: a number is used again, an id is not.
    Area(AreaNumber, PartitionId),
}

const MAKING: u8 = 1;
const AREA: u8 = 2;

impl Place {
    /// The word.
    #[must_use]
    pub const fn encode(self) -> u64 {
        let (kind, PartitionId(id), AreaNumber(number)) = match self {
            Self::Nowhere => return 0,
            Self::Making(maker) => (MAKING, maker, AreaNumber(0)),
            Self::Area(area, maker) => (AREA, maker, area),
        };
        let ([a, b, c, d], [low, high]) = (id.to_le_bytes(), number.to_le_bytes());
        u64::from_le_bytes([a, b, c, d, low, high, kind, 0])
    }

    /// Reads a word.
    #[must_use]
    pub const fn decode(word: u64) -> Self {
        let [a, b, c, d, low, high, kind, _] = word.to_le_bytes();
        let maker = PartitionId(u32::from_le_bytes([a, b, c, d]));
        match kind {
            MAKING => Self::Making(maker),
            AREA => Self::Area(AreaNumber(u16::from_le_bytes([low, high])), maker),
            _ => Self::Nowhere,
        }
    }
}

/// The word of a shared area of the description, which all its partitions' workers look at.
#[derive(Debug, Default)]
pub struct Claim(AtomicU64);

/// What somebody has read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u64);

impl Claim {
    /// What stands there; whoever sees an area's number sees the area.
    #[must_use]
    pub fn read(&self) -> (Place, Seen) {
        let word = self.0.load(Ordering::Acquire);
        (Place::decode(word), Seen(word))
    }

    /// Says that incarnation `id` makes the area, if what was read still stands there: one of those who read the same. Whether it was
    /// this one is found by reading again.
    pub fn take(&self, Seen(word): Seen, id: PartitionId) {
        let making = Place::Making(id).encode();
        let _won = self.0.compare_exchange(word, making, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Says that it is made. For the incarnation `id`, which makes it.
    pub fn publish(&self, area: AreaNumber, id: PartitionId) {
        self.0.store(Place::Area(area, id).encode(), Ordering::Release);
    }
}

impl<'a> Estate<'a> {
    /// One bounded step of making the partition's next area of the description; which it is when it is complete.
    ///
    /// # Errors
    /// As [`Estate::alloc`] and [`Estate::offer`].
    pub fn make_fixed<M: DirectMap, L: Loader, T: Tlb>(
        &mut self,
        machine: Machine<'_, '_, L, T, M>,
        fixed: Fixed,
    ) -> Result<Option<AreaNumber>, Refusal> {
        let Parts { areas, .. } = self.holdings.area_parts()?;
        let begun = areas.shares().find(|(_, used)| used.fixed.is_none());
        let area = match begun.map(|(_, used)| used.entry) {
            Some(entry) => first_handle(entry),
            None => {
                let made = match areas.making_entry() {
                    Some(entry) => self.alloc_more(machine, first_handle(entry))?,
                    None => self.alloc(machine, fixed.wanted)?,
                };
                match made {
                    Progress::Again(_) => return Ok(None),
                    Progress::Done(Made { handle, .. }) => handle,
                }
            }
        };
        match self.offer(machine, area, None)? {
            Progress::Again(_) => Ok(None),
            Progress::Done(()) => Ok(self.settle(machine, area, fixed)),
        }
    }

    /// Makes an offered area nobody's own, with the rights that this partition has there.
    fn settle<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
        area: Handle,
        fixed: Fixed,
    ) -> Option<AreaNumber> {
        let row = self.share_at(area, Rights::NONE).ok()?.ok()?;
        let Parts { space, areas, .. } = self.holdings.area_parts().ok()?;
        let used = areas.share(row)?;
        let slot = used.slot;
        used.fixed = Some(fixed.number);
        match core::mem::replace(&mut used.state, State::Idle) {
            State::Mapped { number, view, keeps: Some(mut keep), is_left, .. } => {
                keep.is_owner = false;
                keep.common.take_back(space.unlink_view((mem, tlb), view));
                let view = space.link_view((mem, tlb), slot, keep.common.view(fixed.access));
                let (access, keeps) = (fixed.access, Some(keep));
                used.state = State::Mapped { number, view, access, keeps, is_left };
                Some(number)
            }
            other @ (State::Idle
            | State::Copying { .. }
            | State::Mapped { .. }
            | State::Leaving { .. }) => {
                used.state = other;
                None
            }
        }
    }

    /// Attaches an area of the description that `peer` keeps.
    ///
    /// # Errors
    /// `PeerGone` if it does not, be it that it has no areas; as [`Estate::create_attachment`]. Nothing has changed then.
    pub fn join_fixed<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: &mut Estate<'a>,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
        fixed: Fixed,
    ) -> Result<(), Refusal> {
        let own = self.party.slot();
        let Ok(Parts { areas: theirs, .. }) = peer.holdings.area_parts() else {
            return Err(Refusal::PeerGone);
        };
        let is_it = |used: &Used| used.fixed == Some(fixed.number) && used.kept().is_some();
        let row = theirs.shares().find(|(_, used)| is_it(used)).map(|(row, _)| row);
        let kept = theirs.share(row.ok_or(Refusal::PeerGone)?).ok_or(Refusal::PeerGone)?;
        let (pages, number) = (kept.pages(), kept.number());
        let (Some(keep), Some(number)) = (kept.keep(), number) else {
            return Err(Refusal::PeerGone);
        };
        if keep.users & bit(own) != 0 || PageCount(pages) != fixed.wanted.pages {
            return Err(Refusal::PeerGone);
        }
        let (row, entry, slot, _) = self.new_attachment(fixed.wanted)?;
        let Parts { space, areas, .. } = self.holdings.area_parts()?;
        let share = areas.share(row).ok_or(Refusal::PeerGone)?;
        let access = fixed.access;
        let view = space.link_view((mem, tlb), slot, keep.common.view(access));
        share.fixed = Some(fixed.number);
        share.state = State::Mapped { number, view, access, keeps: None, is_left: false };
        keep.users |= bit(own);
        self.party.set_value(entry, area(slot));
        Ok(())
    }
}
