//! Futexes: threads that wait for a word of memory to change.

use alloc::vec::Vec;

/// A word, by its physical address, so that processes that share it mean the same; and by its frame's life, so that who has unmapped it and
/// still waits there is not woken in the place of one who waits for what is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The physical address.
    pub physical: u64,
    /// The life of the frame ([`Pool::life`](crate::Pool::life)).
    pub life: u32,
}

/// A thread that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    word: Word,
    thread: u32,
    bits: u32,
}

/// All threads that wait for words, in the order in which they came.
#[derive(Debug, Default)]
pub struct Futexes {
    waiting: Vec<Waiting>,
}

impl Futexes {
    /// A thread waits for a word, and is woken by who names one of these bits.
    pub fn wait(&mut self, word: Word, thread: u32, bits: u32) {
        self.waiting.push(Waiting { word, thread, bits });
    }

    /// A thread waits no longer; whether it did.
    pub fn cancel(&mut self, thread: u32) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.thread != thread);
        self.waiting.len() < before
    }

    /// Whether a thread waits.
    #[must_use]
    pub fn is_waiting(&self, thread: u32) -> bool {
        self.waiting.iter().any(|waiting| waiting.thread == thread)
    }

    /// Takes out at most so many threads that wait for a word with one of these bits.
    pub fn wake(&mut self, word: Word, most: u32, bits: u32) -> Vec<u32> {
        let mut left = most;
        let woken = self.waiting.extract_if(.., |waiting| {
            let is_meant = left > 0 && waiting.word == word && waiting.bits & bits != 0;
            left = left.saturating_sub(u32::from(is_meant));
            is_meant
        });
        woken.map(|waiting| waiting.thread).collect()
    }

    /// Has at most so many threads that wait for one word wait for another one; how many.
    pub fn requeue(&mut self, from: Word, to: Word, most: u32) -> u32 {
        let mut moved: Vec<Waiting> = Vec::new();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.waiting.retain(|waiting| {
            let is_meant = waiting.word == from && moved.len() < most;
            if is_meant {
                moved.push(Waiting { word: to, ..*waiting });
            }
            !is_meant
        });
        let count = moved.len();
        self.waiting.append(&mut moved);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Word = Word { physical: 0x4000_0000, life: 1 };
    const OTHER: Word = Word { physical: 0x4000_0004, life: 1 };

    #[test]
    fn threads_are_woken_in_the_order_in_which_they_came() {
        let mut futexes = Futexes::default();
        for thread in 1..=4 {
            futexes.wait(if thread == 2 { OTHER } else { ONE }, thread, u32::MAX);
        }
        assert_eq!(futexes.wake(ONE, 2, u32::MAX), [1, 3]);
        assert!(futexes.is_waiting(4) && !futexes.is_waiting(3));
        assert_eq!(futexes.wake(ONE, u32::MAX, u32::MAX), [4]);
        assert_eq!(futexes.wake(OTHER, 0, u32::MAX), [0; 0]);
    }

    #[test]
    fn who_waits_in_a_former_life_takes_nobodys_wake() {
        let mut futexes = Futexes::default();
        futexes.wait(ONE, 1, u32::MAX);
        let later = Word { life: 2, ..ONE };
        futexes.wait(later, 2, u32::MAX);
        assert_eq!(futexes.wake(later, 1, u32::MAX), [2]);
    }

    #[test]
    fn bits_choose_who_is_woken() {
        let mut futexes = Futexes::default();
        futexes.wait(ONE, 1, 1);
        futexes.wait(ONE, 2, 2);
        assert_eq!(futexes.wake(ONE, 9, 2), [2]);
        assert_eq!(futexes.wake(ONE, 9, 4), [0; 0]);
    }

    #[test]
    fn some_are_moved_to_another_word() {
        let mut futexes = Futexes::default();
        for thread in 1..=3 {
            futexes.wait(ONE, thread, u32::MAX);
        }
        assert_eq!(futexes.requeue(ONE, OTHER, 2), 2);
        assert_eq!(futexes.wake(ONE, 9, u32::MAX), [3]);
        assert_eq!(futexes.wake(OTHER, 9, u32::MAX), [1, 2]);
    }

    #[test]
    fn who_waits_no_longer_is_not_woken() {
        let mut futexes = Futexes::default();
        futexes.wait(ONE, 1, u32::MAX);
        assert!(futexes.cancel(1) && !futexes.cancel(1));
        assert_eq!(futexes.wake(ONE, 9, u32::MAX), [0; 0]);
    }
}
