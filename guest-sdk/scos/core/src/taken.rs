//! Requests of partitions for more that programs have taken from the hypervisor and not answered: what a program that has ended leaves, the
//! next one is given.

use alloc::vec::Vec;

/// A request as REQUEST_TAKE tells of it: who (`x1`), what with the request's number above bit 8 (`x2`), how much (`x3`).
type Request = [u64; 3];

/// How many are kept: one of each partition, and there are no more.
const MOST: usize = 64;

/// What was taken and not answered.
#[derive(Debug, Default)]
pub struct Taken(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    request: Request,
    /// The process that is to answer it.
    owner: Option<u32>,
}

impl Entry {
    /// The place of the partition, which has one request at a time.
    const fn place(&self) -> u64 {
        self.request[0] >> 32
    }

    const fn number(&self) -> u64 {
        self.request[1] >> 8
    }
}

impl Taken {
    /// Gives a process the oldest request that nobody is left to answer.
    pub fn give(&mut self, process: u32) -> Option<Request> {
        let left = self.0.iter_mut().find(|entry| entry.owner.is_none())?;
        left.owner = Some(process);
        Some(left.request)
    }

    /// A process has taken a request. An earlier one of the same partition is over.
    pub fn note(&mut self, request: Request, process: u32) {
        let entry = Entry { request, owner: Some(process) };
        self.0.retain(|other| other.place() != entry.place());
        if self.0.len() < MOST {
            self.0.push(entry);
        }
    }

    /// The request with this number, of the partition that this word names, is over: answered, or nobody waits for it.
    pub fn settle(&mut self, who: u64, number: u64) {
        self.0.retain(|entry| entry.place() != who >> 32 || entry.number() != number);
    }

    /// A process has ended; whether it leaves something.
    pub fn leave(&mut self, process: u32) -> bool {
        let mut leaves = false;
        for entry in self.0.iter_mut().filter(|entry| entry.owner == Some(process)) {
            entry.owner = None;
            leaves = true;
        }
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Request, Taken};

    const fn request(place: u64, number: u64) -> Request {
        [place << 32 | 5, number << 8 | 2, 100]
    }

    #[test]
    fn what_a_process_leaves_is_given_to_the_next_in_its_order() {
        let mut taken = Taken::default();
        taken.note(request(1, 10), 7);
        taken.note(request(2, 11), 7);
        taken.note(request(3, 12), 8);
        assert_eq!(taken.give(9), None, "all are in somebody's hands");
        assert!(taken.leave(7));
        assert_eq!(taken.give(9), Some(request(1, 10)));
        assert_eq!(taken.give(9), Some(request(2, 11)));
        assert_eq!(taken.give(9), None);
        assert!(taken.leave(9), "that one ends as well");
        assert_eq!(taken.give(7), Some(request(1, 10)));
    }

    #[test]
    fn what_is_over_is_not_given() {
        let mut taken = Taken::default();
        taken.note(request(1, 10), 7);
        taken.note(request(2, 11), 7);
        taken.settle(1 << 32 | 5, 10);
        // The second partition's was cancelled, and it has asked anew.
        taken.note(request(2, 13), 7);
        assert!(taken.leave(7));
        assert_eq!(taken.give(8), Some(request(2, 13)));
        assert_eq!(taken.give(8), None);
        assert!(!taken.leave(7));
    }

    #[test]
    fn a_number_is_one_partition_s() {
        let mut taken = Taken::default();
        taken.note(request(1, 10), 7);
        taken.note(request(2, 10), 7);
        taken.settle(3 << 32 | 5, 10);
        // Whichever of its lives had asked.
        taken.settle(1 << 32 | 6, 10);
        assert!(taken.leave(7));
        assert_eq!((taken.give(8), taken.give(8)), (Some(request(2, 10)), None));
    }

    #[test]
    fn there_are_no_more_than_partitions() {
        let mut taken = Taken::default();
        for number in 0..1000 {
            taken.note(request(number % 200, number), 7);
        }
        assert_eq!(taken.0.len(), MOST);
    }
}
