//! Threads and what they wait for.

use shikiri_scos_core::{Access, Memory as _, PAGE, Pool, Space, Word};
use shikiri_scos_files::Errno;
use shikiri_scos_files::abi::time::timespec_from;

use crate::arch::Ram;
use crate::clock::Clock;
use crate::thread::{On, Wait};
use crate::user::{Answer, Outcome, User, done, value};

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_PRIVATE: u32 = 128;
const FUTEX_REALTIME: u32 = 256;

pub(super) fn gettid(user: &mut User<'_>) -> Answer {
    value(user.thread)
}

pub(super) fn set_tid_address(user: &mut User<'_>) -> Answer {
    let word = user.long(0);
    user.my_thread()?.clear_at_end = word;
    value(user.thread)
}

pub(super) fn set_robust_list(user: &mut User<'_>) -> Answer {
    if user.long(1) == 24 { done() } else { Err(Errno::EINVAL) }
}

pub(super) fn sched_yield(user: &mut User<'_>) -> Answer {
    user.kernel.end_slice();
    done()
}

pub(super) fn sched_getaffinity(user: &mut User<'_>) -> Answer {
    let (id, bytes, address) = (user.int(0), user.long(1), user.long(2));
    let id = u32::try_from(id).map_err(|_| Errno::ESRCH)?;
    if id != 0 && !user.kernel.threads.contains_key(&id) {
        return Err(Errno::ESRCH);
    }
    if bytes < 8 || !bytes.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    user.write(address, &1_u64.to_le_bytes())?;
    value(8_u32)
}

pub(super) fn futex(user: &mut User<'_>) -> Answer {
    let operation = user.word(1);
    let is_realtime = operation & FUTEX_REALTIME != 0;
    match operation & !(FUTEX_PRIVATE | FUTEX_REALTIME) {
        FUTEX_WAIT => {
            let span = span(user, user.long(3))?;
            let at = span.map(|span| user.now().saturating_add(span));
            wait(user, at, u32::MAX)
        }
        FUTEX_WAIT_BITSET => {
            let epoch = if is_realtime { Clock::epoch_ns() } else { 0 };
            let at = span(user, user.long(3))?.map(|at| at.saturating_sub(epoch));
            let bits = user.word(5);
            wait(user, at, bits)
        }
        FUTEX_WAKE => wake(user, u32::MAX),
        FUTEX_WAKE_BITSET => {
            let bits = user.word(5);
            wake(user, bits)
        }
        FUTEX_REQUEUE => requeue(user, None),
        FUTEX_CMP_REQUEUE => {
            let expected = user.word(5);
            requeue(user, Some(expected))
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn span(user: &mut User<'_>, address: u64) -> Result<Option<u64>, Errno> {
    match address {
        0 => Ok(None),
        address => timespec_from(&user.read_array(address)?).map(Some),
    }
}

fn wait(user: &mut User<'_>, at: Option<u64>, bits: u32) -> Answer {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let thread = user.thread;
    if user.my_thread()?.call.is_woken {
        return done();
    }
    let deadline = user.deadline(at)?;
    if user.is_first()? {
        let word = word_at(user, user.long(0))?;
        let expected = user.word(2);
        let present = u32::from_le_bytes(user.read_array(user.long(0))?);
        if present != expected {
            return Err(Errno::EAGAIN);
        }
        user.kernel.futexes.wait(word, thread, bits);
    }
    if deadline.is_some_and(|at| at <= user.now()) {
        user.kernel.futexes.cancel(thread);
        return Err(Errno::ETIMEDOUT);
    }
    Ok(Outcome::Wait(Wait::on(On::Futex).until(deadline)))
}

fn wake(user: &mut User<'_>, bits: u32) -> Answer {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let word = word_at(user, user.long(0))?;
    let most = user.int(2).max(1).unsigned_abs();
    value(user.kernel.wake_futex(word, most, bits))
}

fn requeue(user: &mut User<'_>, expected: Option<u32>) -> Answer {
    let from = word_at(user, user.long(0))?;
    let to = word_at(user, user.long(4))?;
    let (most, moved) = (user.int(2), user.int(3));
    let (Ok(most), Ok(moved)) = (u32::try_from(most), u32::try_from(moved)) else {
        return Err(Errno::EINVAL);
    };
    let present = u32::from_le_bytes(user.read_array(user.long(0))?);
    if expected.is_some_and(|expected| expected != present) {
        return Err(Errno::EAGAIN);
    }
    let woken = user.kernel.wake_futex(from, most, u32::MAX);
    let moved = user.kernel.futexes.requeue(from, to, moved);
    value(if expected.is_some() { woken.saturating_add(moved) } else { woken })
}

fn word_at(user: &mut User<'_>, address: u64) -> Result<Word, Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let (space, pool) = user.space()?;
    word_of(space, pool, address).ok_or(Errno::EFAULT)
}

/// The word of memory that a program's address stands for.
pub(crate) fn word_of(space: &mut Space, pool: &mut Pool<Ram>, address: u64) -> Option<Word> {
    let frame = space.touch(pool, address, Access::Read).ok()?;
    let physical = pool.memory.physical(frame).saturating_add(address & (PAGE - 1));
    Some(Word { physical, life: pool.life(frame) })
}
