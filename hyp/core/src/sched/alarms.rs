//! When the timers of vCPUs that sleep are due, by seat. Only their home core touches them.

use super::{SEATS, Seat};

/// A time for each seat, or none. Every call costs in proportion to those that are set.
#[derive(Debug)]
pub struct Alarms {
    at: [u64; SEATS],
    set: u32,
}

impl Alarms {
    /// None is set.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: [0; SEATS], set: 0 }
    }

    /// Sets a seat's alarm to a time in ticks, or takes it away.
    pub fn set(&mut self, seat: Seat, due: Option<u64>) {
        self.set &= !seat.bit();
        if let (Some(due), Some(place)) = (due, self.at.get_mut(usize::from(seat.number()))) {
            *place = due;
            self.set |= seat.bit();
        }
    }

    /// Takes those that are due away, and says whose they were.
    pub fn take_due(&mut self, now: u64) -> u32 {
        let due =
            self.all().filter(|(_, at)| *at <= now).fold(0, |set, (seat, _)| set | seat.bit());
        self.set &= !due;
        due
    }

    /// The earliest.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.all().map(|(_, at)| at).min()
    }

    fn all(&self) -> impl Iterator<Item = (Seat, u64)> {
        Seat::of(self.set)
            .filter_map(|seat| self.at.get(usize::from(seat.number())).map(|at| (seat, *at)))
    }
}

/// The earlier of two moments, either of which may not be set.
#[must_use]
#[inline]
pub fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Alarms, Seat};

    #[test]
    fn what_is_due_is_taken_once_and_the_earliest_is_known() {
        let seat = |number| Seat::new(number).unwrap();
        let mut alarms = Alarms::default();
        assert_eq!((alarms.next(), alarms.take_due(u64::MAX)), (None, 0));
        for (number, due) in [(0, 30), (31, 10), (7, u64::MAX), (8, 20)] {
            alarms.set(seat(number), Some(due));
        }
        alarms.set(seat(8), None);
        assert_eq!(alarms.next(), Some(10));
        assert_eq!(alarms.take_due(9), 0);
        assert_eq!(alarms.take_due(10), 1 << 31);
        assert_eq!((alarms.take_due(10), alarms.next()), (0, Some(30)));
        alarms.set(seat(0), Some(5));
        assert_eq!((alarms.next(), alarms.take_due(40)), (Some(5), 1));
        assert_eq!(alarms.take_due(u64::MAX), 1 << 7);
    }
}
