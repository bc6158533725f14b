//! Notices of partitions' ends, until the policy program takes them.
//!
//! A place has one notice at most, so that there is always room: a partition that ends again before its notice was taken has
//! the later one, which counts those before it. Notices are taken in the order in which the ends came.

use shikiri_abi::{PartitionId, PartitionSlot};

use crate::lifecycle::EndCause;

/// A partition's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub place: PartitionSlot,
    /// The incarnation.
    pub id: PartitionId,
    /// Why.
    pub cause: EndCause,
    /// It will start again by itself.
    pub restarts: bool,
    /// Earlier ends of the same partition that were not told.
    pub missed: u64,
}

/// All notices that wait.
#[derive(Debug)]
pub struct Notices<'a> {
    /// By place, with their numbers.
    waiting: &'a mut [Waiting],
    next: u64,
}

/// A notice that waits, and its number.
pub type Waiting = Option<(u64, Notice)>;

impl<'a> Notices<'a> {
    /// None, of as many places as there is room for.
    #[must_use]
    pub fn new(waiting: &'a mut [Waiting]) -> Self {
        waiting.fill(None);
        Self { waiting, next: 0 }
    }

    /// Notes an end; its `missed` is counted here.
    pub fn note(&mut self, notice: Notice) {
        let number = self.next;
        let Some(place) = self.waiting.get_mut(usize::from(notice.place.0)) else { return };
        let missed = place.map_or(0, |(_, earlier)| earlier.missed.saturating_add(1));
        *place = Some((number, Notice { missed, ..notice }));
        self.next = number.saturating_add(1);
    }

    /// Takes the oldest.
    pub fn take(&mut self) -> Option<Notice> {
        let waiting = self.waiting.iter_mut().filter(|place| place.is_some());
        let oldest = waiting.min_by_key(|place| place.map(|(number, _)| number))?;
        oldest.take().map(|(_, notice)| notice)
    }

    /// Forgets what waits of a place: its partition is destroyed by whoever would be told.
    pub fn forget(&mut self, place: PartitionSlot) {
        if let Some(place) = self.waiting.get_mut(usize::from(place.0)) {
            *place = None;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::{Notice, Notices};
    use crate::lifecycle::EndCause;
    use shikiri_abi::{PartitionId, PartitionSlot};

    fn end(place: u8, id: u32) -> Notice {
        Notice {
            place: PartitionSlot(place),
            id: PartitionId(id),
            cause: EndCause::Fault,
            restarts: false,
            missed: 0,
        }
    }

    #[test]
    fn notices_come_in_the_order_of_the_ends_and_once() {
        let mut room = [None; 64];
        let mut notices = Notices::new(&mut room);
        for (place, id) in [(9, 1), (63, 2), (0, 3)] {
            notices.note(end(place, id));
        }
        assert_eq!(notices.take(), Some(end(9, 1)));
        assert_eq!(notices.take(), Some(end(63, 2)));
        assert!(!notices.is_empty());
        assert_eq!(notices.take(), Some(end(0, 3)));
        assert_eq!(notices.take(), None);
        assert!(notices.is_empty());
    }

    #[test]
    fn the_last_end_of_a_partition_stands_for_those_before_it_and_counts_them() {
        let mut room = [None; 64];
        let mut notices = Notices::new(&mut room);
        for id in 1..=5 {
            notices.note(end(2, id));
        }
        notices.note(end(1, 9));
        notices.note(end(2, 6));
        assert_eq!(notices.take(), Some(end(1, 9)));
        assert_eq!(notices.take(), Some(Notice { missed: 5, ..end(2, 6) }));
        notices.note(end(2, 7));
        assert_eq!(notices.take(), Some(end(2, 7)));
    }

    #[test]
    fn a_place_that_is_not_there_has_none() {
        let mut room = [None; 64];
        let mut notices = Notices::new(&mut room);
        notices.note(end(64, 1));
        assert!(notices.is_empty());
        notices.note(end(3, 1));
        notices.forget(PartitionSlot(3));
        notices.forget(PartitionSlot(200));
        assert_eq!(notices.take(), None);
    }
}
