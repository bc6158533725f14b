//! A core's trace: fixed records in a ring, the oldest overwritten, the loss counted.
//!
//! What guests do is never printed; it is counted and traced. Each core writes its own ring, without a
//! lock and in constant time; a reader takes a copy of a record and its number, so that it sees what it missed.

/// One event: 32 bytes, the same layout for every reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// When, in counter ticks.
    pub time: u64,
    /// What, a number of [`Event`].
    pub event: u32,
    /// Whom it is about: partition slot × 256 + vCPU, or all ones.
    pub subject: u32,
    /// Two values that belong to the event.
    pub values: [u64; 2],
}

const _: () = assert!(size_of::<Record>() == 32, "readers rely on 32-byte records");

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $number:literal;)+) => {
        /// What a record is about. The numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Event {
            $($(#[$doc])* $variant = $number,)+
        }

        impl Event {
            /// The number in a record.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The event with this number.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

events! {
    /// A vCPU was switched in; values: the one before it, the time until which it may run.
    Switch = 1;
    /// A hypercall was refused; values: function id, status.
    Refused = 2;
    /// An undefined system register or instruction was answered with an exception; values: ESR, PC.
    Undefined = 3;
    /// An access to an address that is not the guest's was answered with an abort; values: IPA, PC.
    Aborted = 4;
    /// A partition was ended; values: reason, code.
    Ended = 5;
    /// A partition was started; values: its id, how many starts before.
    Started = 6;
    /// A core was kicked; values: its number, why.
    Kicked = 7;
    /// A physical interrupt without an owner came; values: INTID, 0.
    Unowned = 8;
}

/// A ring of `N` records, `N` a power of two.
#[derive(Debug)]
pub struct Trace<const N: usize> {
    written: u64,
    records: [Record; N],
}

impl<const N: usize> Trace<N> {
    const MASK: usize = {
        assert!(N.is_power_of_two(), "the size of a ring is a power of two");
        N.wrapping_sub(1)
    };

    /// An empty trace. Zeroed memory is one too.
    #[must_use]
    pub const fn new() -> Self {
        let empty = Record { time: 0, event: 0, subject: 0, values: [0; 2] };
        Self { written: 0, records: [empty; N] }
    }

    /// Adds a record.
    #[inline]
    pub fn push(&mut self, time: u64, event: Event, subject: u32, values: [u64; 2]) {
        if let Some(place) = self.records.get_mut(Self::index(self.written)) {
            *place = Record { time, event: event.number(), subject, values };
        }
        self.written = self.written.wrapping_add(1);
    }

    /// How many records were ever added.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The number of the oldest record that is still here: what a reader lost is what lies before it.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.written.saturating_sub(u64::try_from(N).unwrap_or(u64::MAX))
    }

    /// The record with this number, counted from 0; `None` if it is overwritten or not yet written.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Record> {
        if number < self.oldest() || number >= self.written {
            return None;
        }
        self.records.get(Self::index(number)).copied()
    }

    #[inline]
    fn index(number: u64) -> usize {
        let [a, b, c, d, ..] = number.to_le_bytes();
        usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0) & Self::MASK
    }
}

impl<const N: usize> Default for Trace<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Trace};

    #[test]
    fn the_oldest_records_are_overwritten_and_the_reader_sees_how_many() {
        let mut trace = Trace::<4>::new();
        assert_eq!((trace.written(), trace.oldest(), trace.get(0)), (0, 0, None));
        for time in 0..6 {
            trace.push(time, Event::Kicked, 0x102, [time, 7]);
        }
        assert_eq!((trace.written(), trace.oldest()), (6, 2));
        assert_eq!(trace.get(1), None);
        assert_eq!(trace.get(6), None);
        let record = trace.get(5).unwrap();
        assert_eq!((record.time, record.event, record.values), (5, 7, [5, 7]));
        assert_eq!(trace.get(2).unwrap().time, 2);
    }

    #[test]
    fn event_numbers_and_events_are_one_to_one() {
        for number in 1..=8 {
            assert_eq!(Event::from_number(number).unwrap().number(), number);
        }
        assert_eq!(Event::from_number(0), None);
        assert_eq!(Event::from_number(9), None);
    }
}
