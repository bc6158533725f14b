//! Whose turn it is: threads that can run, one after another.

use alloc::collections::VecDeque;

/// Threads that can run, in the order of their turns.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: VecDeque<u32>,
}

impl Turns {
    /// A thread can run: behind all others. It keeps its place if it has one.
    pub fn add(&mut self, thread: u32) {
        if !self.waiting.contains(&thread) {
            self.waiting.push_back(thread);
        }
    }

    /// A thread can run, and is next: it has time left.
    pub fn add_first(&mut self, thread: u32) {
        self.remove(thread);
        self.waiting.push_front(thread);
    }

    /// A thread can run no longer.
    pub fn remove(&mut self, thread: u32) {
        self.waiting.retain(|other| *other != thread);
    }

    /// Takes the next one out.
    pub fn take(&mut self) -> Option<u32> {
        self.waiting.pop_front()
    }

    /// Whether nobody waits for a turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;

    #[test]
    fn each_has_its_turn() {
        let mut turns = Turns::default();
        for thread in [1, 2, 3, 2] {
            turns.add(thread);
        }
        assert_eq!(turns.take(), Some(1));
        turns.add(1);
        turns.remove(3);
        assert_eq!((turns.take(), turns.take(), turns.take()), (Some(2), Some(1), None));
    }

    #[test]
    fn who_has_time_left_goes_on() {
        let mut turns = Turns::default();
        turns.add(1);
        turns.add(2);
        let first = turns.take().unwrap();
        turns.add_first(first);
        assert_eq!((turns.take(), turns.take()), (Some(1), Some(2)));
        assert!(turns.is_empty());
    }
}
