//! A queue of bytes in pages of 4096, so that nobody needs a large piece of the kernel's memory at once. Pages are there while something is
//! in them, or was since the queue was empty.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of a page.
const PAGE: usize = 4096;

/// The queue.
#[derive(Debug)]
pub(crate) struct Ring {
    pages: Vec<Option<Box<[u8]>>>,
    /// Where the oldest byte is.
    first: usize,
    count: usize,
}

impl Ring {
    /// An empty one that holds so many bytes, a multiple of 4096.
    pub(crate) fn new(capacity: usize) -> Self {
        let pages = capacity.checked_div(PAGE).unwrap_or(0);
        Self { pages: (0..pages).map(|_| None).collect(), first: 0, count: 0 }
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.pages.len().saturating_mul(PAGE)
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds as many as there is room for; how many.
    pub(crate) fn push(&mut self, data: &[u8]) -> usize {
        let mut rest = data;
        while !rest.is_empty() && self.count < self.capacity() {
            let (index, from, to) = self.piece(self.first.saturating_add(self.count));
            let room = to.saturating_sub(from).min(self.capacity().saturating_sub(self.count));
            let (now, later) = rest.split_at(rest.len().min(room));
            let Some(page) = self.pages.get_mut(index) else { break };
            let page = page.get_or_insert_with(|| vec![0; PAGE].into_boxed_slice());
            copy(page.get_mut(from..).unwrap_or(&mut []), now);
            self.count = self.count.saturating_add(now.len());
            rest = later;
        }
        data.len().saturating_sub(rest.len())
    }

    /// Takes as many as `out` has room for; how many.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let mut done = 0_usize;
        while done < out.len() && self.count > 0 {
            let (index, from, to) = self.piece(self.first);
            let rest = out.get_mut(done..).unwrap_or(&mut []);
            let step = rest.len().min(self.count).min(to.saturating_sub(from));
            let page = self.pages.get(index).and_then(Option::as_ref);
            let bytes = page.and_then(|page| page.get(from..)).unwrap_or(&[]);
            copy(rest.get_mut(..step).unwrap_or(&mut []), bytes);
            self.first = self.at(self.first.saturating_add(step));
            self.count = self.count.saturating_sub(step);
            done = done.saturating_add(step);
        }
        if self.is_empty() {
            self.first = 0;
            // One stays: most queues are filled and emptied again and again.
            self.pages.iter_mut().skip(1).for_each(|page| *page = None);
        }
        done
    }

    /// Makes it hold so many bytes, a multiple of 4096 and not less than is in it.
    pub(crate) fn resize(&mut self, capacity: usize) {
        let mut other = Self::new(capacity);
        let mut piece = vec![0; PAGE];
        loop {
            let count = self.take(&mut piece);
            if count == 0 {
                break;
            }
            other.push(piece.get(..count).unwrap_or(&[]));
        }
        *self = other;
    }

    fn at(&self, position: usize) -> usize {
        position.checked_rem(self.capacity()).unwrap_or(0)
    }

    /// The page of a position, where in it that is, and where the page ends.
    fn piece(&self, position: usize) -> (usize, usize, usize) {
        let at = self.at(position);
        (at.checked_div(PAGE).unwrap_or(0), at.checked_rem(PAGE).unwrap_or(0), PAGE)
    }

    /// Bytes of pages that are there.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.pages.iter().flatten().count().saturating_mul(PAGE)
    }
}

/// Copies as much as both have room for.
fn copy(to: &mut [u8], from: &[u8]) {
    let count = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::{PAGE, Ring};
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_ring_is_a_queue_with_an_end(
            pages in 1..5_usize,
            steps in prop::collection::vec((0..3_u8, 0..9000_usize), 0..60),
        ) {
            let (mut ring, mut queue) = (Ring::new(pages * PAGE), VecDeque::<u8>::new());
            let mut next = 0_u8;
            for (what, count) in steps {
                match what {
                    0 => {
                        let data: Vec<u8> = (0..count).map(|at| next.wrapping_add(at as u8)).collect();
                        let room = ring.capacity() - queue.len();
                        prop_assert_eq!(ring.push(&data), count.min(room));
                        queue.extend(&data[..count.min(room)]);
                        next = next.wrapping_add(count as u8);
                    }
                    1 => {
                        let mut out = vec![0; count];
                        let read = ring.take(&mut out);
                        prop_assert_eq!(read, count.min(queue.len()));
                        prop_assert!(queue.drain(..read).eq(out[..read].iter().copied()));
                    }
                    _ => ring.resize(count.max(queue.len()).next_multiple_of(PAGE).max(PAGE)),
                }
                prop_assert_eq!(ring.len(), queue.len());
                prop_assert!(ring.taken() <= ring.capacity());
                prop_assert!(!queue.is_empty() || ring.taken() <= PAGE);
            }
        }
    }
}
