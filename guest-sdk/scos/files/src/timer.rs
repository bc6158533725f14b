//! Timers that are read (timerfd_create(2)).

use crate::abi::poll::{POLLIN, POLLRDNORM};
use crate::abi::time::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, Itimerspec, TFD_TIMER_ABSTIME,
    TFD_TIMER_CANCEL_ON_SET,
};
use crate::wakes::Wakes;
use crate::{Answer, Errno, Key, Now, Step};

/// A timer.
#[derive(Debug)]
pub(crate) struct Timer {
    is_realtime: bool,
    /// When it expires next, on the monotonic clock.
    next_ns: Option<u64>,
    interval_ns: u64,
    /// How often it has expired since it was read or set.
    expired: u64,
    readers: Key,
}

impl Timer {
    /// One that is not armed.
    ///
    /// # Errors
    /// EINVAL for an unknown clock.
    pub(crate) const fn new(clock: u32, wakes: &mut Wakes) -> Result<Self, Errno> {
        let is_realtime = match clock {
            CLOCK_REALTIME => true,
            CLOCK_MONOTONIC | CLOCK_BOOTTIME => false,
            _ => return Err(Errno::EINVAL),
        };
        let readers = wakes.key();
        Ok(Self { is_realtime, next_ns: None, interval_ns: 0, expired: 0, readers })
    }

    /// Arms or disarms it; the former setting is the answer.
    ///
    /// # Errors
    /// EINVAL for unknown flags.
    pub(crate) fn set(
        &mut self,
        flags: u32,
        new: Itimerspec,
        now: Now,
        wakes: &mut Wakes,
    ) -> Result<Itimerspec, Errno> {
        if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
            return Err(Errno::EINVAL);
        }
        let former = self.get(now);
        let Now { monotonic_ns, realtime_ns } = now;
        let after_ns = match (flags & TFD_TIMER_ABSTIME != 0, self.is_realtime) {
            (false, _) => new.value_ns,
            (true, false) => new.value_ns.saturating_sub(monotonic_ns),
            (true, true) => new.value_ns.saturating_sub(realtime_ns),
        };
        self.next_ns = (new.value_ns != 0).then(|| monotonic_ns.saturating_add(after_ns));
        self.interval_ns = new.interval_ns;
        self.expired = 0;
        self.pass(now, wakes);
        Ok(former)
    }

    /// How long until it expires, and how long after that again.
    pub(crate) fn get(&self, now: Now) -> Itimerspec {
        let value_ns = self.next_ns.map_or(0, |next| next.saturating_sub(now.monotonic_ns).max(1));
        Itimerspec { interval_ns: self.interval_ns, value_ns }
    }

    /// Counts how often it has expired by now.
    pub(crate) fn pass(&mut self, now: Now, wakes: &mut Wakes) {
        let Some(next) = self.next_ns else { return };
        let Some(late) = now.monotonic_ns.checked_sub(next) else { return };
        let is_first = self.expired == 0;
        let more = late.checked_div(self.interval_ns);
        self.expired = self.expired.saturating_add(more.unwrap_or(0)).saturating_add(1);
        self.next_ns = more.map(|more| {
            next.saturating_add(more.saturating_add(1).saturating_mul(self.interval_ns))
        });
        if is_first {
            wakes.wake(self.readers);
        }
    }

    /// When somebody has to look at it next, on the monotonic clock: as on Linux, an expiry that nobody has read yet is not followed by
    /// another wake-up. All of them are counted.
    pub(crate) const fn alarm(&self) -> Option<u64> {
        if self.expired > 0 { None } else { self.next_ns }
    }

    /// Takes how often it has expired.
    ///
    /// # Errors
    /// EINVAL for less room than 8 bytes.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Answer<usize> {
        let out = out.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        if self.expired == 0 {
            return Ok(Step::Wait(self.readers));
        }
        *out = core::mem::take(&mut self.expired).to_le_bytes();
        Ok(Step::Done(8))
    }

    pub(crate) const fn ready(&self) -> u16 {
        if self.expired > 0 { POLLIN | POLLRDNORM } else { 0 }
    }

    pub(crate) const fn key(&self) -> Key {
        self.readers
    }
}

#[cfg(test)]
mod tests {
    use super::Timer;
    use crate::abi::poll::POLLIN;
    use crate::abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Itimerspec, TFD_TIMER_ABSTIME};
    use crate::wakes::Wakes;
    use crate::{Errno, Now, Step};

    const fn at(monotonic_ns: u64) -> Now {
        Now { monotonic_ns, realtime_ns: monotonic_ns.saturating_add(1_000_000) }
    }

    const fn every(value_ns: u64, interval_ns: u64) -> Itimerspec {
        Itimerspec { interval_ns, value_ns }
    }

    fn read(timer: &mut Timer) -> Option<u64> {
        let mut out = [0; 8];
        match timer.read(&mut out).unwrap() {
            Step::Done(_) => Some(u64::from_le_bytes(out)),
            Step::Wait(_) => None,
        }
    }

    #[test]
    fn a_timer_counts_what_nobody_has_read() {
        let mut wakes = Wakes::default();
        let mut timer = Timer::new(CLOCK_MONOTONIC, &mut wakes).unwrap();
        timer.set(0, every(10, 5), at(100), &mut wakes).unwrap();
        timer.pass(at(109), &mut wakes);
        assert_eq!((read(&mut timer), wakes.take(), timer.get(at(109))), (None, None, every(1, 5)));
        timer.pass(at(124), &mut wakes);
        assert_eq!((wakes.take(), timer.alarm()), (Some(timer.key()), None));
        assert_eq!((read(&mut timer), read(&mut timer)), (Some(3), None));
    }

    #[test]
    fn an_expiry_that_nobody_has_read_wakes_nobody_again() {
        let mut wakes = Wakes::default();
        let mut timer = Timer::new(CLOCK_MONOTONIC, &mut wakes).unwrap();
        timer.set(0, every(1, 1), at(0), &mut wakes).unwrap();
        assert_eq!(timer.alarm(), Some(1));
        timer.pass(at(1), &mut wakes);
        assert_eq!((wakes.take(), timer.alarm()), (Some(timer.key()), None));
        timer.pass(at(1000), &mut wakes);
        assert_eq!((wakes.take(), timer.alarm(), timer.ready() & POLLIN), (None, None, POLLIN));
        assert_eq!(read(&mut timer), Some(1000), "but each is counted");
        assert_eq!(timer.alarm(), Some(1001));
        timer.pass(at(1001), &mut wakes);
        assert_eq!((wakes.take(), read(&mut timer)), (Some(timer.key()), Some(1)));
    }

    #[test]
    fn a_timer_without_an_interval_expires_once() {
        let mut wakes = Wakes::default();
        let mut timer = Timer::new(CLOCK_MONOTONIC, &mut wakes).unwrap();
        timer.set(0, every(1, 0), at(0), &mut wakes).unwrap();
        timer.pass(at(u64::MAX), &mut wakes);
        assert_eq!(
            (read(&mut timer), timer.alarm(), timer.get(at(9))),
            (Some(1), None, every(0, 0))
        );
    }

    #[test]
    fn a_point_of_time_that_has_passed_expires_at_once() {
        let mut wakes = Wakes::default();
        let mut timer = Timer::new(CLOCK_REALTIME, &mut wakes).unwrap();
        timer.set(TFD_TIMER_ABSTIME, every(1_000_090, 0), at(100), &mut wakes).unwrap();
        assert_eq!(read(&mut timer), Some(1));
        let former = timer.set(TFD_TIMER_ABSTIME, every(1_000_130, 7), at(100), &mut wakes);
        assert_eq!((former, timer.alarm()), (Ok(every(0, 0)), Some(130)));
        assert_eq!(timer.set(0, every(0, 0), at(110), &mut wakes), Ok(every(20, 7)));
        assert_eq!(timer.alarm(), None);
    }

    #[test]
    fn no_clock_no_flag_and_no_room_are_einval() {
        let mut wakes = Wakes::default();
        assert_eq!(Timer::new(2, &mut wakes).err(), Some(Errno::EINVAL));
        let mut timer = Timer::new(CLOCK_MONOTONIC, &mut wakes).unwrap();
        assert_eq!(timer.set(4, every(1, 1), at(0), &mut wakes), Err(Errno::EINVAL));
        assert_eq!(timer.read(&mut [0; 7]), Err(Errno::EINVAL));
    }
}
