//! What stands in the books for areas that are not complete: for audits between two steps of whoever makes or frees them.

use shikiri_abi::PageCount;

use super::{Areas, Body};
use crate::frame::AreaNumber;
use crate::share::CopyUnderWay;

/// An area that has no walker's way to all of its frames: it is being made or freed, or its tables are being copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Its number.
    pub(crate) number: AreaNumber,
    /// Pages that are its in the ledger.
    pub(crate) pages: u64,
    /// Tables that are, those of the copy among them.
    pub(crate) tables: u64,
    /// Its pages are mapped, each once.
    pub(crate) is_mapped: bool,
}

impl Areas {
    /// Frames that were taken for the area that is being made, and that the ledger does not have as its yet.
    pub(crate) fn unclaimed(&self) -> PageCount {
        PageCount(self.making.as_ref().map_or(0, |making| making.unclaimed()))
    }

    /// What is charged without a frame in the ledger: (memory, management), in pages. Those are the promises ([`Areas::promised`]); the
    /// rest of the area that is being made, which is charged in full when it begins; and what has been given back of those that are
    /// being freed, which are refunded at their end.
    pub(crate) fn charged_without_frames(&self) -> (u64, u64) {
        let promised = self.promised();
        let begun = self.making.as_ref().map_or(0, |making| making.missing());
        let freed = self.slots.filled(0).filter_map(|(_, slot)| match self.slots.body(slot) {
            Some(Body::Ending { growing, charged, .. }) if self.slots.window_of(slot).is_none() => {
                Some(charged.saturating_sub(growing.pages().0))
            }
            _ => None,
        });
        let memory = freed.fold(promised.0.saturating_add(begun), u64::saturating_add);
        // Who has paid in advance for an area that it was left has it still.
        self.copies().filter(|copy| copy.is_paid_in_advance).fold(
            (memory, promised.1),
            |(memory, management), copy| {
                (memory.saturating_sub(copy.pages), management.saturating_sub(copy.tables))
            },
        )
    }

    /// The areas that are not complete.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = UnderWay> {
        let made = self.making.as_ref().map(|making| {
            let (number, pages, tables) = making.claimed();
            UnderWay { number, pages, tables, is_mapped: false }
        });
        let freed = self.slots.filled(0).filter_map(|(_, slot)| match self.slots.body(slot) {
            Some(Body::Ending { number, growing, .. }) => Some(UnderWay {
                number: *number,
                pages: growing.pages().0,
                tables: u64::from(growing.tables()),
                is_mapped: false,
            }),
            _ => None,
        });
        let copied =
            self.copies().map(|CopyUnderWay { number, pages, tables, is_mapped, .. }| UnderWay {
                number,
                pages,
                tables,
                is_mapped,
            });
        made.into_iter().chain(freed).chain(copied)
    }
}
