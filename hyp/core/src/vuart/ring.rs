//! A byte ring between one producer and one consumer that share no lock.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};

/// A ring of `N` bytes, `N` a power of two.
///
/// One side only pushes and one side only pops; each side is whoever holds the lock that stands for it
/// (the partition's lock, the console's lock). Only loads and stores are used, so a ring also works before
/// the caches are on. If two producers or two consumers ever met, bytes could be repeated or lost, nothing
/// worse.
///
/// The positions are sequentially consistent (on AArch64 the same LDAR and STLR as acquire and release): a
/// producer that pushes and then finds more than its own byte waiting knows that the consumer has yet to
/// look, and a consumer that pops and then finds nothing knows that the producer will see its ring empty.
/// Wake-ups rest on that.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    /// How many bytes were pushed since the start, wrapping.
    pushed: AtomicUsize,
    /// How many bytes were popped since the start, wrapping.
    popped: AtomicUsize,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Ring<N> {
    const MASK: usize = {
        assert!(N.is_power_of_two(), "the size of a ring is a power of two");
        N.wrapping_sub(1)
    };

    /// An empty ring. All its bytes are zero, so zeroed memory is an empty ring too.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
            bytes: [const { AtomicU8::new(0) }; N],
        }
    }

    /// How many bytes wait. The producer sees no fewer than there are, the consumer no more.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let popped = self.popped.load(Ordering::SeqCst);
        self.pushed.load(Ordering::SeqCst).wrapping_sub(popped)
    }

    /// Whether nothing waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes can be pushed now.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        N.saturating_sub(self.len())
    }

    /// Producer: appends `byte`; returns whether there was room.
    #[inline]
    pub fn push(&self, byte: u8) -> bool {
        let pushed = self.pushed.load(Ordering::Relaxed);
        if pushed.wrapping_sub(self.popped.load(Ordering::SeqCst)) >= N {
            return false;
        }
        if let Some(slot) = self.bytes.get(pushed & Self::MASK) {
            // Whoever reads back and meets this byte sees `pushed` as it is here, at least.
            slot.store(byte, Ordering::Release);
        }
        self.pushed.store(pushed.wrapping_add(1), Ordering::SeqCst);
        true
    }

    /// Consumer: the byte `offset` places behind the oldest one, if that many wait.
    #[must_use]
    #[inline]
    pub fn peek(&self, offset: usize) -> Option<u8> {
        let popped = self.popped.load(Ordering::Relaxed);
        let waiting = self.pushed.load(Ordering::SeqCst).wrapping_sub(popped);
        if offset >= waiting {
            return None;
        }
        let slot = self.bytes.get(popped.wrapping_add(offset) & Self::MASK)?;
        Some(slot.load(Ordering::Relaxed))
    }

    /// Consumer: removes and returns the oldest byte.
    #[inline]
    pub fn pop(&self) -> Option<u8> {
        let byte = self.peek(0)?;
        let popped = self.popped.load(Ordering::Relaxed);
        self.popped.store(popped.wrapping_add(1), Ordering::SeqCst);
        Some(byte)
    }

    /// Anybody: how many bytes were pushed since the start, wrapping.
    #[must_use]
    pub fn pushed(&self) -> usize {
        self.pushed.load(Ordering::SeqCst)
    }

    /// Anybody: copies what was pushed from position `from` on, popped or not, of the last `N − 1` bytes. The position of the first byte
    /// that was copied, and how many; none if there is nothing, or the producer was faster.
    pub fn read_back(&self, from: usize, into: &mut [u8]) -> (usize, usize) {
        let pushed = self.pushed();
        // Not the last `N`: the byte that is being pushed and not yet counted takes the place of the first of them.
        let first = from.clamp(pushed.saturating_sub(Self::MASK), pushed);
        let mut count = 0_usize;
        for (to, at) in into.iter_mut().zip(first..pushed) {
            if let Some(byte) = self.bytes.get(at & Self::MASK) {
                *to = byte.load(Ordering::Relaxed);
            }
            count = count.saturating_add(1);
        }
        // The bytes were read before it is looked how far the producer is: on Arm a load may pass an earlier one of another place. With the
        // release of each byte: if one of them was of a later turn, `pushed` is at least `N` behind `first` now.
        fence(Ordering::Acquire);
        let is_whole = self.pushed().wrapping_sub(first) < N;
        (first, if is_whole { count } else { 0 })
    }

    /// Consumer: removes everything that waits.
    pub fn clear(&self) {
        self.popped.store(self.pushed.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ordering, Ring};
    use std::thread;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn a_ring_holds_exactly_its_size_and_keeps_the_order() {
        let ring = Ring::<4>::new();
        assert!((1..=4).all(|byte| ring.push(byte)));
        assert!(!ring.push(5));
        assert_eq!((ring.len(), ring.room(), ring.peek(3), ring.peek(4)), (4, 0, Some(4), None));
        assert_eq!((ring.pop(), ring.pop()), (Some(1), Some(2)));
        assert!(ring.push(6) && ring.push(7) && !ring.push(8));
        let rest: Vec<u8> = core::iter::from_fn(|| ring.pop()).collect();
        assert_eq!(rest, [3, 4, 6, 7]);
        assert!(ring.is_empty());
    }

    #[test]
    fn clearing_forgets_what_waits_and_nothing_later() {
        let ring = Ring::<4>::new();
        assert!(ring.push(1) && ring.push(2));
        ring.clear();
        assert!(ring.is_empty() && ring.push(3));
        assert_eq!(ring.pop(), Some(3));
    }

    #[test]
    fn what_was_popped_can_be_read_until_its_place_is_used_again() {
        let ring = Ring::<4>::new();
        let read = |from| {
            let mut bytes = [0; 3];
            let (first, count) = ring.read_back(from, &mut bytes);
            (first, bytes[..count].to_vec())
        };
        assert_eq!(read(0), (0, vec![]));
        assert!(ring.push(1) && ring.push(2));
        assert_eq!((ring.pop(), read(0), read(1)), (Some(1), (0, vec![1, 2]), (1, vec![2])));
        assert_eq!((read(2), read(usize::MAX)), ((2, vec![]), (2, vec![])));
        ring.clear();
        assert!((3..=6).all(|byte| ring.push(byte)));
        assert_eq!((read(0), read(4)), ((3, vec![4, 5, 6]), (4, vec![5, 6])));
        assert_eq!(ring.pushed(), 6);
    }

    #[test]
    fn a_byte_whose_place_is_being_used_again_is_not_read_back() {
        let ring = Ring::<4>::new();
        for byte in 1..=6 {
            assert!(ring.push(byte));
            ring.clear();
        }
        // Half of the next push: the byte is there, and not counted yet.
        ring.bytes[6 & 3].store(7, Ordering::Release);
        let mut bytes = [0; 4];
        assert_eq!((ring.read_back(0, &mut bytes), bytes), ((3, 3), [4, 5, 6, 0]));
    }

    #[test]
    fn who_reads_back_beside_a_fast_producer_sees_each_byte_at_its_position_or_none() {
        let ring = Ring::<8>::new();
        let low = |position: usize| position.to_le_bytes()[0];
        thread::scope(|scope| {
            let producer = scope.spawn(|| {
                for position in 0..if cfg!(miri) { 200 } else { 200_000 } {
                    assert!(ring.push(low(position)));
                    ring.clear();
                }
            });
            while !producer.is_finished() {
                let mut bytes = [0; 8];
                let (first, count) = ring.read_back(0, &mut bytes);
                let expected: Vec<u8> = (first..first + count).map(low).collect();
                assert_eq!(bytes[..count], expected);
            }
        });
    }

    #[test]
    fn producer_and_consumer_on_two_threads_lose_and_repeat_nothing() {
        const BYTES: u32 = if cfg!(miri) { 200 } else { 10_000 };
        let ring = Ring::<8>::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..BYTES {
                    while !ring.push(number.to_le_bytes()[0]) {
                        thread::yield_now();
                    }
                }
            });
            for number in 0..BYTES {
                let byte = loop {
                    match ring.pop() {
                        Some(byte) => break byte,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(byte, number.to_le_bytes()[0]);
            }
        });
        assert!(ring.is_empty());
    }
}
