//! Event counters (eventfd(2)).

use crate::abi::poll::{POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use crate::wakes::Wakes;
use crate::{Answer, Errno, Key, Step};

/// A read takes one instead of all.
pub(crate) const EFD_SEMAPHORE: u32 = 1;

/// An event counter.
#[derive(Debug)]
pub(crate) struct Counter {
    value: u64,
    is_semaphore: bool,
    readers: Key,
    writers: Key,
}

impl Counter {
    pub(crate) const fn new(value: u64, is_semaphore: bool, wakes: &mut Wakes) -> Self {
        Self { value, is_semaphore, readers: wakes.key(), writers: wakes.key() }
    }

    /// Takes the value, or one of it.
    ///
    /// # Errors
    /// EINVAL for less room than 8 bytes.
    pub(crate) fn read(&mut self, out: &mut [u8], wakes: &mut Wakes) -> Answer<usize> {
        let out = out.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        if self.value == 0 {
            return Ok(Step::Wait(self.readers));
        }
        let taken = if self.is_semaphore { 1 } else { self.value };
        self.value = self.value.saturating_sub(taken);
        *out = taken.to_le_bytes();
        wakes.wake(self.writers);
        Ok(Step::Done(8))
    }

    /// Adds to the value.
    ///
    /// # Errors
    /// EINVAL for fewer bytes than 8, or the largest number.
    pub(crate) fn write(&mut self, data: &[u8], wakes: &mut Wakes) -> Answer<usize> {
        let added = u64::from_le_bytes(*data.first_chunk().ok_or(Errno::EINVAL)?);
        if added == u64::MAX {
            return Err(Errno::EINVAL);
        }
        match self.value.checked_add(added).filter(|sum| *sum < u64::MAX) {
            Some(sum) => self.value = sum,
            None => return Ok(Step::Wait(self.writers)),
        }
        wakes.wake(self.readers);
        Ok(Step::Done(8))
    }

    pub(crate) const fn ready(&self) -> u16 {
        let read = if self.value > 0 { POLLIN | POLLRDNORM } else { 0 };
        let written = if self.value < u64::MAX - 1 { POLLOUT | POLLWRNORM } else { 0 };
        let error = if self.value == u64::MAX { POLLERR } else { 0 };
        read | written | error
    }

    pub(crate) const fn keys(&self) -> [Option<Key>; 2] {
        [Some(self.readers), Some(self.writers)]
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;
    use crate::abi::poll::{POLLIN, POLLOUT};
    use crate::wakes::Wakes;
    use crate::{Errno, Step};

    #[test]
    fn a_counter_sums_and_is_taken_as_a_whole() {
        let mut wakes = Wakes::default();
        let mut counter = Counter::new(0, false, &mut wakes);
        let mut out = [0; 8];
        assert_eq!(counter.read(&mut out, &mut wakes), Ok(Step::Wait(counter.readers)));
        counter.write(&3_u64.to_le_bytes(), &mut wakes).unwrap();
        counter.write(&4_u64.to_le_bytes(), &mut wakes).unwrap();
        assert_eq!(wakes.take(), Some(counter.readers));
        assert_eq!(counter.read(&mut out, &mut wakes), Ok(Step::Done(8)));
        assert_eq!((out, counter.ready() & (POLLIN | POLLOUT)), (7_u64.to_le_bytes(), POLLOUT));
    }

    #[test]
    fn a_semaphore_is_taken_one_by_one() {
        let mut wakes = Wakes::default();
        let mut counter = Counter::new(2, true, &mut wakes);
        let mut out = [0; 8];
        for _ in 0..2 {
            assert_eq!(counter.read(&mut out, &mut wakes), Ok(Step::Done(8)));
            assert_eq!(out, 1_u64.to_le_bytes());
        }
        assert_eq!(counter.read(&mut out, &mut wakes), Ok(Step::Wait(counter.readers)));
    }

    #[test]
    fn a_counter_does_not_overflow() {
        let mut wakes = Wakes::default();
        let mut counter = Counter::new(1, false, &mut wakes);
        let most = (u64::MAX - 1).to_le_bytes();
        assert_eq!(counter.write(&u64::MAX.to_le_bytes(), &mut wakes), Err(Errno::EINVAL));
        assert_eq!(counter.write(&[0; 7], &mut wakes), Err(Errno::EINVAL));
        assert_eq!(counter.write(&most, &mut wakes), Ok(Step::Wait(counter.writers)));
        counter.read(&mut [0; 8], &mut wakes).unwrap();
        assert_eq!(counter.write(&most, &mut wakes), Ok(Step::Done(8)));
        assert_eq!(counter.ready() & (POLLIN | POLLOUT), POLLIN);
    }
}
