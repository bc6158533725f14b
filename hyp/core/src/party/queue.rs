//! Requests that wait: in order per sender, senders in turn (P9).
//!
//! A request waits in a [`Record`] of the *sender's*: so many as the sender's own storage has, and no receiver pays for
//! them. Each sender has a list for each receiver; a receiver knows which senders have something for it, and whose
//! turn it is. Every operation takes the same few steps whatever waits.

use shikiri_abi::PartitionSlot;

/// A request that waits, in its sender's storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// The neighbours in the list, index + 1; `next` also links free records.
    previous: u16,
    next: u16,
    /// The sender's port.
    pub(super) port: u16,
    pub(super) service: u64,
    pub(super) word: u64,
}

impl Record {
    /// A free record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a port asks for.
    pub(super) const fn asking(port: u16, service: u64, word: u64) -> Self {
        Self { previous: 0, next: 0, port, service, word }
    }
}

/// The first and the last record of a list, index + 1.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: u16,
    last: u16,
}

/// A party's lists, and who has something for it.
#[derive(Debug)]
pub(super) struct Queues {
    /// By receiver.
    to: [List; 256],
    /// The first freed record, index + 1, and the first that was never used.
    free: u16,
    fresh: u16,
    used: u16,
    /// Which senders have something for this party.
    senders: [u64; 4],
    /// Whose signal was taken last.
    last: u8,
}

impl Queues {
    pub(super) const fn new() -> Self {
        const EMPTY: List = List { first: 0, last: 0 };
        Self { to: [EMPTY; 256], free: 0, fresh: 0, used: 0, senders: [0; 4], last: u8::MAX }
    }

    /// Whether nobody has anything for this party.
    pub(super) fn is_quiet(&self) -> bool {
        self.senders.iter().all(|word| *word == 0)
    }

    /// Requests of this party that wait anywhere.
    pub(super) const fn used(&self) -> u16 {
        self.used
    }

    pub(super) fn has_from(&self, PartitionSlot(sender): PartitionSlot) -> bool {
        self.senders
            .get(usize::from(sender >> 6))
            .is_some_and(|word| word & 1 << (sender & 63) != 0)
    }

    /// Whose turn it is: the next sender after the last one that has something.
    pub(super) fn next_sender(&self) -> Option<PartitionSlot> {
        let start = self.last.wrapping_add(1);
        let behind = u64::MAX << (start & 63);
        let first = start >> 6;
        // The word of the start twice: what lies behind it first, what lies before it last.
        (0..5_u8).find_map(|round| {
            let at = first.wrapping_add(round) & 3;
            let word = self.senders.get(usize::from(at)).copied().unwrap_or(0);
            let word = match round {
                0 => word & behind,
                4 => word & !behind,
                _ => word,
            };
            let bit = u8::try_from(word.trailing_zeros()).ok().filter(|_| word != 0)?;
            Some(PartitionSlot(at << 6 | bit))
        })
    }

    /// Notes that a sender has something, or has nothing more.
    pub(super) fn note(&mut self, PartitionSlot(sender): PartitionSlot, has: bool) {
        if let Some(word) = self.senders.get_mut(usize::from(sender >> 6)) {
            let bit = 1 << (sender & 63);
            *word = if has { *word | bit } else { *word & !bit };
        }
    }

    /// Notes that a sender had its turn.
    pub(super) const fn served(&mut self, PartitionSlot(sender): PartitionSlot) {
        self.last = sender;
    }

    /// Whether a record is left.
    pub(super) fn has_room(&self, records: &[Record]) -> bool {
        self.free != 0 || usize::from(self.fresh) < records.len().min(0xffff)
    }

    /// Appends a request to the list for `to`; answers its record. There is room.
    pub(super) fn push(
        &mut self,
        records: &mut [Record],
        PartitionSlot(to): PartitionSlot,
        record: Record,
    ) -> Option<u16> {
        let index = match self.free.checked_sub(1) {
            Some(index) => index,
            None => self.fresh,
        };
        let list = self.to.get_mut(usize::from(to))?;
        let place = records.get_mut(usize::from(index))?;
        let next_free = place.next;
        *place = Record { previous: list.last, next: 0, ..record };
        if self.free == 0 {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            self.free = next_free;
        }
        self.used = self.used.saturating_add(1);
        let link = index.saturating_add(1);
        match list.last.checked_sub(1).and_then(|last| records.get_mut(usize::from(last))) {
            Some(last) => last.next = link,
            None => list.first = link,
        }
        list.last = link;
        Some(index)
    }

    /// The oldest request for `to`.
    pub(super) fn first(&self, PartitionSlot(to): PartitionSlot) -> Option<u16> {
        self.to.get(usize::from(to))?.first.checked_sub(1)
    }

    /// Takes a record out of the list for `to`, wherever it stands there.
    pub(super) fn remove(
        &mut self,
        records: &mut [Record],
        PartitionSlot(to): PartitionSlot,
        index: u16,
    ) -> Option<Record> {
        let list = self.to.get_mut(usize::from(to))?;
        let record = *records.get(usize::from(index))?;
        match record.previous.checked_sub(1).and_then(|at| records.get_mut(usize::from(at))) {
            Some(previous) => previous.next = record.next,
            None => list.first = record.next,
        }
        match record.next.checked_sub(1).and_then(|at| records.get_mut(usize::from(at))) {
            Some(next) => next.previous = record.previous,
            None => list.last = record.previous,
        }
        let place = records.get_mut(usize::from(index))?;
        *place = Record { next: self.free, ..Record::default() };
        self.free = index.saturating_add(1);
        self.used = self.used.saturating_sub(1);
        Some(record)
    }

    /// The records of the list for `to`, oldest first, at most `most`: for checks.
    pub(super) fn list<'r>(
        &self,
        records: &'r [Record],
        to: PartitionSlot,
    ) -> impl Iterator<Item = (u16, &'r Record)> {
        let at = |index: u16| Some((index, records.get(usize::from(index))?));
        core::iter::successors(self.first(to).and_then(at), move |(_, record)| {
            record.next.checked_sub(1).and_then(at)
        })
        .take(records.len())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{Queues, Record};
    use shikiri_abi::PartitionSlot;

    #[test]
    fn senders_are_served_in_turn_from_any_start() {
        let mut queues = Queues::new();
        assert_eq!(queues.next_sender(), None);
        let all = [0, 1, 62, 63, 64, 127, 128, 200, 255];
        for slot in all {
            queues.note(PartitionSlot(slot), true);
        }
        for round in 0..3 * all.len() {
            let next = queues.next_sender().unwrap();
            assert_eq!(next.0, all[round % all.len()]);
            queues.served(next);
        }
        for slot in all {
            queues.note(PartitionSlot(slot), slot == 64);
        }
        for last in 0..=u8::MAX {
            queues.served(PartitionSlot(last));
            assert_eq!(queues.next_sender(), Some(PartitionSlot(64)), "after {last}");
        }
    }

    #[test]
    fn a_record_leaves_its_list_wherever_it_stands() {
        for gone in 0..4_u16 {
            let (mut queues, mut records) = (Queues::new(), [Record::default(); 4]);
            let to = PartitionSlot(9);
            for port in 0..4 {
                let record = Record { port, ..Record::default() };
                assert_eq!(queues.push(&mut records, to, record), Some(port));
            }
            assert!(!queues.has_room(&records));
            assert_eq!(queues.remove(&mut records, to, gone).unwrap().port, gone);
            assert!(queues.has_room(&records));
            let record = Record { port: 7, ..Record::default() };
            assert_eq!(queues.push(&mut records, to, record), Some(gone));
            let ports: Vec<_> = queues.list(&records, to).map(|(_, record)| record.port).collect();
            let expected: Vec<_> = (0..4).filter(|port| *port != gone).chain([7]).collect();
            assert_eq!(ports, expected);
            while let Some(first) = queues.first(to) {
                queues.remove(&mut records, to, first).unwrap();
            }
            assert_eq!(queues.used(), 0);
        }
    }
}
