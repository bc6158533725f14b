//! Pipes (pipe(7)).

use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use crate::ring::Ring;
use crate::wakes::Wakes;
use crate::{Answer, Errno, Key, Step};

/// What is written at once up to so many bytes is not mixed with what others write.
pub(crate) const PIPE_BUF: usize = 4096;

/// How much a pipe holds unless it is said otherwise, and the most that can be said.
pub(crate) const CAPACITY: usize = 16 * PIPE_BUF;

/// A pipe. Each end is one description, which goes with its last descriptor.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: Ring,
    /// Who has made it.
    payer: u32,
    has_reader: bool,
    has_writer: bool,
    /// Woken when there is something to read, or never will be.
    readers: Key,
    /// Woken when there is room, or nobody reads any more.
    writers: Key,
}

/// An end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Read,
    Write,
}

impl Pipe {
    /// An empty one with both ends, that holds so much.
    pub(crate) fn new(payer: u32, capacity: usize, wakes: &mut Wakes) -> Self {
        Self {
            bytes: Ring::new(capacity),
            payer,
            has_reader: true,
            has_writer: true,
            readers: wakes.key(),
            writers: wakes.key(),
        }
    }

    /// Takes what is there, up to the room in `out`; 0 at the end.
    pub(crate) fn read(&mut self, out: &mut [u8], wakes: &mut Wakes) -> Answer<usize> {
        if out.is_empty() {
            return Ok(Step::Done(0));
        }
        if self.bytes.is_empty() && self.has_writer {
            return Ok(Step::Wait(self.readers));
        }
        let count = self.bytes.take(out);
        if count > 0 {
            wakes.wake(self.writers);
        }
        Ok(Step::Done(count))
    }

    /// Adds bytes: all up to [`PIPE_BUF`] or none, of more as many as there is room for.
    ///
    /// # Errors
    /// EPIPE if nobody reads.
    pub(crate) fn write(&mut self, data: &[u8], wakes: &mut Wakes) -> Answer<usize> {
        if data.is_empty() {
            return Ok(Step::Done(0));
        }
        // An end of a pair can be shut while it is there.
        if !self.has_reader || !self.has_writer {
            return Err(Errno::EPIPE);
        }
        let room = self.room();
        let least = if data.len() <= PIPE_BUF { data.len() } else { 1 };
        if room < least {
            return Ok(Step::Wait(self.writers));
        }
        let count = self.bytes.push(data);
        wakes.wake(self.readers);
        Ok(Step::Done(count))
    }

    /// Closes an end: whether the other one is closed as well.
    pub(crate) fn close(&mut self, end: End, wakes: &mut Wakes) -> bool {
        match end {
            End::Read => self.has_reader = false,
            End::Write => self.has_writer = false,
        }
        wakes.wake(self.readers);
        wakes.wake(self.writers);
        !self.has_reader && !self.has_writer
    }

    /// What could be done at an end.
    pub(crate) fn ready(&self, end: End) -> u16 {
        let of = |is_so: bool, bits: u16| if is_so { bits } else { 0 };
        match end {
            End::Read => {
                of(!self.bytes.is_empty(), POLLIN | POLLRDNORM) | of(!self.has_writer, POLLHUP)
            }
            End::Write => {
                let has_room = self.room() >= PIPE_BUF;
                of(has_room, POLLOUT | POLLWRNORM) | of(!self.has_reader, POLLERR)
            }
        }
    }

    /// What is woken when that changes.
    pub(crate) const fn key(&self, end: End) -> Key {
        match end {
            End::Read => self.readers,
            End::Write => self.writers,
        }
    }

    /// Bytes that can be read.
    pub(crate) const fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// How much it holds.
    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Who has made it.
    pub(crate) const fn payer(&self) -> u32 {
        self.payer
    }

    /// Makes it hold so much, rounded up to a power of two of pages; `most`: what its payer has left beside what it holds now.
    ///
    /// # Errors
    /// EPERM for more than there may be, EBUSY for less than is in it.
    pub(crate) fn set_capacity(
        &mut self,
        bytes: u64,
        most: usize,
        wakes: &mut Wakes,
    ) -> Result<usize, Errno> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::EPERM)?.max(PIPE_BUF);
        let capacity = bytes.checked_next_power_of_two().ok_or(Errno::EPERM)?;
        let is_too_much =
            capacity > self.capacity() && capacity > self.capacity().saturating_add(most);
        if capacity > CAPACITY || is_too_much {
            return Err(Errno::EPERM);
        }
        if capacity < self.bytes.len() {
            return Err(Errno::EBUSY);
        }
        self.bytes.resize(capacity);
        wakes.wake(self.writers);
        Ok(capacity)
    }

    const fn room(&self) -> usize {
        self.capacity().saturating_sub(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, End, PIPE_BUF, Pipe};
    use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT};
    use crate::wakes::Wakes;
    use crate::{Errno, Step};
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec;

    fn pipe() -> (Pipe, Wakes) {
        let mut wakes = Wakes::default();
        (Pipe::new(0, CAPACITY, &mut wakes), wakes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_pipe_is_a_queue(steps in prop::collection::vec((any::<bool>(), 0..20_000_usize), 0..60)) {
            let (mut pipe, mut wakes) = pipe();
            let mut queue = VecDeque::<u8>::new();
            let mut next = 0_u8;
            for (is_write, count) in steps {
                let room = CAPACITY - queue.len();
                if is_write {
                    let data: vec::Vec<u8> = (0..count).map(|at| next.wrapping_add(at as u8)).collect();
                    let expected = match count {
                        0 => Step::Done(0),
                        1..=PIPE_BUF if room < count => Step::Wait(pipe.key(End::Write)),
                        _ if room == 0 => Step::Wait(pipe.key(End::Write)),
                        _ => Step::Done(count.min(room)),
                    };
                    prop_assert_eq!(pipe.write(&data, &mut wakes), Ok(expected));
                    if let Step::Done(written) = expected {
                        queue.extend(&data[..written]);
                        next = next.wrapping_add(written as u8);
                    }
                } else {
                    let mut out = vec![0; count];
                    let expected = match count.min(queue.len()) {
                        0 if count > 0 => Step::Wait(pipe.key(End::Read)),
                        there => Step::Done(there),
                    };
                    prop_assert_eq!(pipe.read(&mut out, &mut wakes), Ok(expected));
                    if let Step::Done(read) = expected {
                        prop_assert!(queue.drain(..read).eq(out[..read].iter().copied()));
                    }
                }
                prop_assert_eq!(pipe.ready(End::Read) & POLLIN != 0, !queue.is_empty());
                prop_assert_eq!(pipe.ready(End::Write) & POLLOUT != 0, queue.len() + PIPE_BUF <= CAPACITY);
            }
        }
    }

    #[test]
    fn the_last_writers_end_is_the_end_of_what_is_read() {
        let (mut pipe, mut wakes) = pipe();
        let mut out = [0; 8];
        assert_eq!(pipe.write(b"rest", &mut wakes), Ok(Step::Done(4)));
        assert!(!pipe.close(End::Write, &mut wakes));
        assert_eq!(pipe.ready(End::Read) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
        assert_eq!(pipe.read(&mut out, &mut wakes), Ok(Step::Done(4)));
        assert_eq!(pipe.ready(End::Read), POLLHUP);
        assert_eq!(pipe.read(&mut out, &mut wakes), Ok(Step::Done(0)));
        assert!(pipe.close(End::Read, &mut wakes));
    }

    #[test]
    fn nobody_reads_is_epipe_and_wakes_who_waits_to_write() {
        let (mut pipe, mut wakes) = pipe();
        pipe.write(&[0; CAPACITY], &mut wakes).unwrap();
        let waits = pipe.write(b"x", &mut wakes);
        while wakes.take().is_some() {}
        pipe.close(End::Read, &mut wakes);
        let woken: vec::Vec<_> =
            core::iter::from_fn(|| wakes.take().map(Step::Wait)).map(Ok).collect();
        assert!(woken.contains(&waits));
        assert_eq!(pipe.write(b"x", &mut wakes), Err(Errno::EPIPE));
        assert_eq!(pipe.write(b"", &mut wakes), Ok(Step::Done(0)));
        assert_eq!(pipe.ready(End::Write) & POLLERR, POLLERR);
    }

    #[test]
    fn a_pipes_size_is_a_power_of_two_of_pages() {
        let (mut pipe, mut wakes) = pipe();
        pipe.write(&[0; 5000], &mut wakes).unwrap();
        for (asked, answer) in [
            (0, Err(Errno::EBUSY)),
            (1, Err(Errno::EBUSY)),
            (5000, Ok(8192)),
            (65_536, Ok(65_536)),
            (65_537, Err(Errno::EPERM)),
            (u64::MAX, Err(Errno::EPERM)),
        ] {
            assert_eq!(pipe.set_capacity(asked, CAPACITY, &mut wakes), answer, "{asked}");
        }
    }
}
