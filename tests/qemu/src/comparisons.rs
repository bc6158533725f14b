//! How much a hypervisor with checks has compared, by its own words: a machine that has compared nothing has shown nothing.
//!
//! It says so at its end, and from time to time before, as some machines are ended from outside: then it is no less than that.

use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What was compared, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// Comparisons of what all partitions say of each other.
    pub parties: u64,
    /// Those of them during which a partition was being built or taken apart.
    pub changing: u64,
    /// Comparisons of the books on frames in which everything was complete.
    pub books: u64,
    /// Those in which a partition or an area was being made or taken apart, and what holds between two steps was compared.
    pub by_step: u64,
    /// Times at which the books on frames were left, because nobody had had them to write.
    pub unwritten: u64,
}

/// What stands before the numbers.
const HEAD: &str = "compared: ";

impl Comparisons {
    const NONE: Self = Self { parties: 0, changing: 0, books: 0, by_step: 0, unwritten: 0 };

    /// The numbers of a line that consists of them, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let mut rest = line.trim_end().strip_prefix(HEAD)?;
        let mut number = |word: &str, end: &str| -> Option<u64> {
            let (digits, behind) = rest.strip_prefix(word)?.split_once(end)?;
            rest = behind;
            digits.parse().ok()
        };
        Some(Self {
            parties: number("parties ", ", ")?,
            changing: number("changing ", "; ")?,
            books: number("books ", ", ")?,
            by_step: number("by step ", ", ")?,
            unwritten: rest.strip_prefix("unwritten ")?.parse().ok()?,
        })
    }

    /// The last numbers that a machine has printed, in a whole line.
    #[must_use]
    pub fn last_of(console: &str) -> Option<Self> {
        let (whole, _cut) = console.rsplit_once('\n')?;
        let mut said = whole.lines().rev().filter_map(|line| line.trim_end().split_once(HEAD));
        said.find_map(|(_, numbers)| Self::of_line(&format!("{HEAD}{numbers}")))
    }

    /// Adds what others have compared.
    pub fn add(&mut self, other: Self) {
        let Self { parties, changing, books, by_step, unwritten } = other;
        self.parties += parties;
        self.changing += changing;
        self.books += books;
        self.by_step += by_step;
        self.unwritten += unwritten;
    }
}

impl fmt::Display for Comparisons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parties, changing, books, by_step, unwritten } = self;
        write!(f, "{HEAD}parties {parties}, changing {changing}; ")?;
        write!(f, "books {books}, by step {by_step}, unwritten {unwritten}")
    }
}

thread_local! {
    /// What the machines have compared that this thread's test has had; `None`: it has had none with checks.
    static OF_THIS_TEST: Cell<Option<Comparisons>> = const { Cell::new(None) };
}

/// What all of them have.
static OF_ALL: Mutex<Comparisons> = Mutex::new(Comparisons::NONE);

/// Notes what a machine with checks has compared, which has ended and has printed this.
pub(crate) fn note(console: &str) {
    let compared = Comparisons::last_of(console).unwrap_or_default();
    let mut of_this_test = OF_THIS_TEST.get().unwrap_or_default();
    of_this_test.add(compared);
    OF_THIS_TEST.set(Some(of_this_test));
    OF_ALL.lock().unwrap_or_else(PoisonError::into_inner).add(compared);
}

/// A test begins on this thread: what an earlier one has left that has ended in a panic does not count.
pub fn begin_test() {
    OF_THIS_TEST.set(None);
}

/// What the machines of this thread's test have compared, once; `None` if it has had none with checks.
#[must_use]
pub fn take_of_this_test() -> Option<Comparisons> {
    OF_THIS_TEST.take()
}

/// What all machines of this process have compared that have ended.
#[must_use]
pub fn of_all() -> Comparisons {
    *OF_ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Comparisons =
        Comparisons { parties: 120, changing: 3, books: 40, by_step: 5, unwritten: 75 };

    #[test]
    fn the_last_whole_line_counts() {
        let console = "shikiri: compared: parties 1, changing 1; books 0, by step 1, unwritten 0\r\n\
                       a| compared: nothing\r\n\
                       shikiri: compared: parties 120, changing 3; books 40, by step 5, unwritten 75\r\n\
                       shikiri: compared: parties 240, changing 3; books 40, by step 5, unwritten 7";
        assert_eq!(Comparisons::last_of(console), Some(SOME));
        assert_eq!(Comparisons::last_of("shikiri: all partitions have ended\n"), None);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        assert_eq!(Comparisons::of_line(&SOME.to_string()), Some(SOME));
        assert_eq!(Comparisons::of_line(&format!("shikiri: {SOME}")), None);
        assert_eq!(Comparisons::of_line("compared: parties 1, changing 1; books 1"), None);
    }
}
