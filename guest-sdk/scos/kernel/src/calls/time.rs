//! Time.

use shikiri_scos_core::Alarm;
use shikiri_scos_files::Errno;
use shikiri_scos_files::abi::time::{timespec_from, timespec_of};

use crate::clock::Clock;
use crate::kernel::Kernel;
use crate::thread::Wait;
use crate::user::{Answer, Outcome, User, done};

const NANOSLEEP: u64 = 101;
const CLOCK_NANOSLEEP: u64 = 115;
const TIMER_ABSTIME: u32 = 1;
const ITIMER_REAL: u32 = 0;
const MICROSECOND_NS: u64 = 1000;
const SECOND_US: u64 = 1_000_000;

/// What a clock has at the start of the system, in nanoseconds: REALTIME and its coarse form the time of day, all others 0.
fn epoch_of(clock: u32) -> Result<u64, Errno> {
    match clock {
        0 | 5 => Ok(Clock::epoch_ns()),
        // MONOTONIC, PROCESS_CPUTIME, THREAD_CPUTIME, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME.
        1..=4 | 6 | 7 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn clock_gettime(user: &mut User<'_>) -> Answer {
    let now = user.now().saturating_add(epoch_of(user.word(0))?);
    user.write(user.long(1), &timespec_of(now))?;
    done()
}

pub(super) fn clock_getres(user: &mut User<'_>) -> Answer {
    epoch_of(user.word(0))?;
    if user.long(1) != 0 {
        user.write(user.long(1), &timespec_of(1))?;
    }
    done()
}

pub(super) fn gettimeofday(user: &mut User<'_>) -> Answer {
    let (time, zone) = (user.long(0), user.long(1));
    if time != 0 {
        let now = user.kernel.clock.both().realtime_ns;
        user.write(time, &timeval_of(now))?;
    }
    if zone != 0 {
        user.write(zone, &[0; 8])?;
    }
    done()
}

/// `struct timeval`.
fn timeval_of(ns: u64) -> [u8; 16] {
    let us = ns / MICROSECOND_NS;
    let mut bytes = [0; 16];
    let (seconds, fraction) = bytes.split_at_mut(8);
    seconds.copy_from_slice(&(us / SECOND_US).to_le_bytes());
    fraction.copy_from_slice(&(us % SECOND_US).to_le_bytes());
    bytes
}

fn timeval_from(bytes: &[u8; 16]) -> Result<u64, Errno> {
    let seconds = bytes.first_chunk().map_or(0, |field| i64::from_le_bytes(*field));
    let fraction = bytes.last_chunk().map_or(0, |field| i64::from_le_bytes(*field));
    let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let fraction =
        u64::try_from(fraction).ok().filter(|us| *us < SECOND_US).ok_or(Errno::EINVAL)?;
    Ok(seconds.saturating_mul(SECOND_US).saturating_add(fraction).saturating_mul(MICROSECOND_NS))
}

pub(super) fn nanosleep(user: &mut User<'_>) -> Answer {
    let span = timespec_from(&user.read_array(user.long(0))?)?;
    let at = user.now().saturating_add(span);
    sleep_until(user, at)
}

pub(super) fn clock_nanosleep(user: &mut User<'_>) -> Answer {
    let flags = user.word(1);
    let epoch = epoch_of(user.word(0))?;
    let time = timespec_from(&user.read_array(user.long(2))?)?;
    let at = if flags & TIMER_ABSTIME != 0 {
        time.saturating_sub(epoch)
    } else {
        user.now().saturating_add(time)
    };
    sleep_until(user, at)
}

fn sleep_until(user: &mut User<'_>, at: u64) -> Answer {
    let deadline = user.deadline(Some(at))?;
    if deadline.is_some_and(|at| at <= user.now()) {
        return done();
    }
    Ok(Outcome::Wait(Wait::default().until(deadline)))
}

/// What an interrupted call answers: EINTR; a sleep tells first how much of it is left, which may be EFAULT.
pub(crate) fn interrupted(kernel: &mut Kernel, id: u32) -> Errno {
    let Some(thread) = kernel.threads.get(&id) else { return Errno::EINTR };
    let (process, [_, second, _, fourth, ..]) = (thread.process, thread.frame.x);
    let address = match thread.frame.x[8] {
        NANOSLEEP => second,
        CLOCK_NANOSLEEP if second & u64::from(TIMER_ABSTIME) == 0 => fourth,
        _ => 0,
    };
    let Some(at) = thread.call.deadline.filter(|_| address != 0) else { return Errno::EINTR };
    let left = timespec_of(at.saturating_sub(kernel.clock.now()));
    let asid = kernel.processes.get(&process).map_or(0, |process| process.space);
    let Some((space, _)) = kernel.spaces.get_mut(&asid) else { return Errno::EINTR };
    space.write(&mut kernel.pool, address, &left).err().unwrap_or(Errno::EINTR)
}

pub(super) fn getitimer(user: &mut User<'_>) -> Answer {
    if user.word(0) != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let alarm = user.me()?.alarm;
    let bytes = alarm_bytes(user, alarm);
    user.write(user.long(1), &bytes)?;
    done()
}

pub(super) fn setitimer(user: &mut User<'_>) -> Answer {
    let (new, old) = (user.long(1), user.long(2));
    if user.word(0) != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let alarm = match new {
        0 => Alarm::default(),
        address => {
            let interval = timeval_from(&user.read_array(address)?)?;
            let value = timeval_from(&user.read_array(address.wrapping_add(16))?)?;
            let at = (value > 0).then(|| user.now().saturating_add(value));
            Alarm { at, interval }
        }
    };
    if old != 0 {
        let former = user.me()?.alarm;
        let bytes = alarm_bytes(user, former);
        user.write(old, &bytes)?;
    }
    user.me()?.alarm = alarm;
    done()
}

fn alarm_bytes(user: &User<'_>, alarm: Alarm) -> [u8; 32] {
    let left = alarm.at.map_or(0, |at| at.saturating_sub(user.now()).max(MICROSECOND_NS));
    let mut bytes = [0; 32];
    let (interval, value) = bytes.split_at_mut(16);
    interval.copy_from_slice(&timeval_of(alarm.interval));
    value.copy_from_slice(&timeval_of(left));
    bytes
}
