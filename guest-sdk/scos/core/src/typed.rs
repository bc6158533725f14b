//! Taking what was typed from a receive FIFO that fills while it is emptied.

/// A receive FIFO whose interrupt is raised when something comes, and stays so until it is cleared or the FIFO is empty.
pub trait Receiver {
    /// Whether nothing is there.
    fn is_empty(&mut self) -> bool;

    /// Clears the interrupt, whatever is there.
    fn clear(&mut self);

    /// The oldest byte; there is one.
    fn take(&mut self) -> u8;
}

/// Takes what is there, as far as there is room: how many bytes, and whether that was all. If it was, the interrupt tells of the next one; if
/// not, nothing may tell of the rest, and it is to be taken without it.
pub fn take_typed(receiver: &mut impl Receiver, out: &mut [u8]) -> (usize, bool) {
    let mut count = 0_usize;
    for place in out {
        if receiver.is_empty() {
            receiver.clear();
            // What came between the two is not told of any more.
            if receiver.is_empty() {
                return (count, true);
            }
        }
        *place = receiver.take();
        count = count.saturating_add(1);
    }
    (count, false)
}

#[cfg(test)]
mod tests {
    use super::{Receiver, take_typed};
    use std::collections::VecDeque;
    use std::vec::Vec;

    /// A FIFO of 16 bytes that gets more behind one of the steps.
    struct Fake {
        fifo: VecDeque<u8>,
        is_raised: bool,
        steps: usize,
        /// Behind which step, and how many.
        comes: (usize, u8),
    }

    impl Fake {
        fn step(&mut self) {
            self.steps += 1;
            if self.steps == self.comes.0 {
                self.fifo.extend(100..100 + self.comes.1);
                self.is_raised = true;
            }
        }
    }

    impl Receiver for Fake {
        fn is_empty(&mut self) -> bool {
            let is_empty = self.fifo.is_empty();
            self.step();
            is_empty
        }

        fn clear(&mut self) {
            self.is_raised = false;
            self.step();
        }

        fn take(&mut self) -> u8 {
            let byte = self.fifo.pop_front().unwrap();
            self.is_raised &= !self.fifo.is_empty();
            self.step();
            byte
        }
    }

    #[test]
    fn whenever_more_comes_it_is_taken_or_told_of() {
        for (there, room, more) in [(0, 64, 1), (3, 64, 16), (16, 64, 16), (16, 20, 16), (5, 5, 3)]
        {
            for behind in 1..60 {
                let fifo = (0..there).collect();
                let mut fake = Fake { fifo, is_raised: true, steps: 0, comes: (behind, more) };
                let mut out = [0; 64];
                let (count, is_all) = take_typed(&mut fake, &mut out[..room]);
                let expected: Vec<u8> = (0..there).chain(100..100 + more).take(count).collect();
                assert_eq!(out[..count], expected);
                let is_told = fake.fifo.is_empty() || fake.is_raised || !is_all;
                assert!(is_told, "{there} bytes, {more} behind step {behind}");
            }
        }
    }
}
