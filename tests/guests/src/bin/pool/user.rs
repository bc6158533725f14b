//! The user: takes, gives back, and looks what it gets, with one buffer and with thousands.

use alloc::vec::Vec;

use shikiri_channel::Channel;
use shikiri_rpc::{Area, Buffer, Pool, Reference, ReleaseError, TakeError};
use shikiri_rt::hvc::partition::{self, Resource};
use shikiri_rt::platform;
use shikiri_shared::{End, Shared};
use shikiri_test_guests::answers::made;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{
    CHANNEL, COMMANDS, MARGIN, NO_BUFFER, NO_MEMORY, attach, bytes_of, command, connect, hear,
    pool_part, say, words,
};

/// The most that a pool can have, but for few.
const THOUSANDS: usize = 4000;
const BYTES: usize = 64;

pub(crate) fn owner() -> u8 {
    platform::number_of("owner").unwrap_or(0) as u8
}

/// The channel for commands.
pub(crate) fn commands() -> Result<Channel, Failure> {
    connect(owner(), COMMANDS, CHANNEL)
}

/// Has the owner do something; its answer.
pub(crate) fn tell(channel: &Channel, words: [u64; 3]) -> Result<[u64; 3], Failure> {
    say(channel, words)?;
    hear(channel)
}

/// Has it make an area with a pool, and attaches it.
pub(crate) fn attached(
    channel: &Channel,
    how: u64,
    (count, bytes): (usize, usize),
) -> Result<Shared, Failure> {
    let [made, ..] = tell(channel, [how, count as u64, bytes as u64])?;
    equal("words", made, words(count, bytes) as u64)?;
    attach(owner(), words(count, bytes))
}

/// What the partition has of what areas take.
pub(crate) fn used() -> Result<[u64; 4], Failure> {
    let mut lines = [0; 4];
    let all =
        [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory, Resource::EventPorts];
    for (place, line) in lines.iter_mut().zip(all) {
        *place = made(partition::account(line))?.used;
    }
    Ok(lines)
}

/// Runs an action with a channel and a pool of the owner's, looks that the margins are as they were and no buffer is in use, leaves
/// both, and looks that all that they took is given back.
pub(crate) fn with_pool(
    how: u64,
    shape: (usize, usize),
    action: impl FnOnce(&Channel, Area<'_>, &Pool<'_>) -> Outcome,
) -> Outcome {
    let before = used()?;
    let channel = commands()?;
    let shared = attached(&channel, how, shape)?;
    let words = shared.words().ok_or(Failure { what: "read-only", got: 0, want: 1 })?;
    let pool = joined(words, shape)?;
    action(&channel, pool_part(words, shape)?, &pool)?;
    equal("in use", pool.in_use() as u64, 0)?;
    margins(&shared, shape)?;
    let [..] = tell(&channel, [command::TAKE_BACK, 0, 0])?;
    ensure("it was taken back", shared.try_end() == Some(End::TakenBack))?;
    drop((shared, channel));
    ensure("all is refunded", used()? == before)
}

/// Joins a pool.
pub(crate) fn joined(
    words: &[core::sync::atomic::AtomicU64],
    shape: (usize, usize),
) -> Result<Pool<'_>, Failure> {
    let pool = Pool::attach(pool_part(words, shape)?, shape.1);
    let pool = pool.map_err(|_| Failure { what: "a pool", got: 0, want: 1 })?;
    equal("buffers", pool.count() as u64, shape.0 as u64)?;
    Ok(pool)
}

/// Looks that nobody has written before or behind the pool.
pub(crate) fn margins(shared: &Shared, (count, bytes): (usize, usize)) -> Outcome {
    let end = words(count, bytes);
    for index in (1..MARGIN).chain(end - MARGIN..end) {
        equal("a word outside", shared.load(index).unwrap_or(0), u64::MAX)?;
    }
    Ok(())
}

/// Takes all that there are; why there is not another one.
pub(crate) fn take_all<'p>(pool: &'p Pool<'_>) -> (Vec<Buffer<'p>>, TakeError) {
    let mut held = Vec::with_capacity(pool.count());
    loop {
        match pool.take() {
            Ok(buffer) => held.push(buffer),
            Err(why) => return (held, why),
        }
    }
}

/// Gives all back.
pub(crate) fn give_all(held: Vec<Buffer<'_>>) -> Outcome {
    for buffer in held {
        ensure("given back", buffer.give_back().is_ok())?;
    }
    Ok(())
}

pub(crate) fn exhausted() -> Outcome {
    for count in [1, 3] {
        with_pool(command::MAKE, (count, BYTES), |channel, _, pool| {
            for _ in 0..20 {
                let (mut held, why) = take_all(pool);
                ensure("no buffer is an answer", why == TakeError::NoBuffer)?;
                equal("all of them", held.len() as u64, count as u64)?;
                equal("none there", tell(channel, [command::TAKE, 1, 0])?[1], NO_BUFFER)?;
                // One is given back: it is to be had here, and there.
                let one = held.pop().ok_or(NONE)?;
                let place = one.reference();
                ensure("given back", one.give_back().is_ok())?;
                let again = pool.take().map_err(|_| NONE)?;
                ensure("the same", again.reference() == place)?;
                ensure("given back again", again.give_back().is_ok())?;
                let [got, _, there] = tell(channel, [command::TAKE, 1, 0])?;
                equal("got there", got, 1)?;
                equal("the same", there, u64::from(place.0))?;
                ensure("none here", pool.take().err() == Some(TakeError::NoBuffer))?;
                equal("given back there", tell(channel, [command::GIVE, 1, 0])?[0], 1)?;
                held.push(pool.take().map_err(|_| NONE)?);
                give_all(held)?;
            }
            // Nobody gives back twice, or what is none.
            let buffer = pool.take().map_err(|_| NONE)?;
            let place = buffer.hand_over();
            ensure("given back", pool.release(place) == Ok(()))?;
            ensure("once", pool.release(place) == Err(ReleaseError::AlreadyFree))?;
            let absent = Reference(place.0 + 8);
            ensure("no buffer", pool.release(absent) == Err(ReleaseError::Absent))?;
            equal("faults", pool.faults(), 0)?;
            equal("faults there", tell(channel, [command::LOOK, 0, 0])?[2], 0)
        })?;
    }
    Ok(())
}

pub(crate) const NONE: Failure = Failure { what: "a buffer", got: 0, want: 1 };

pub(crate) fn eager() -> Outcome {
    for count in [1, THOUSANDS] {
        with_pool(command::MAKE, (count, BYTES), |channel, _, pool| {
            equal("all have memory", pool.filled() as u64, count as u64)?;
            let (mut held, _) = take_all(pool);
            equal("all are to be had", held.len() as u64, count as u64)?;
            distinct(&held, BYTES)?;
            for buffer in &mut held {
                let mark = u64::from(buffer.reference().0);
                ensure("written", buffer.write(&bytes_of(mark)).is_some())?;
            }
            let [in_use, ..] = tell(channel, [command::LOOK, 0, 0])?;
            equal("in use there", in_use, count as u64)?;
            // The owner finds in each what was written to that one.
            for buffer in held {
                let place = u64::from(buffer.hand_over().0);
                let told = [command::ADOPT, place, place];
                ensure("the owner's", tell(channel, told)? == [1, 1, 1])?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Looks that no two of them overlap: they come by their places.
pub(crate) fn distinct(held: &[Buffer<'_>], bytes: usize) -> Outcome {
    let mut places: Vec<u32> = held.iter().map(|buffer| buffer.reference().0).collect();
    places.sort_unstable();
    let is_apart = |pair: &[u32]| pair[1] - pair[0] >= bytes as u32;
    ensure("no buffer twice", places.windows(2).all(is_apart))
}

pub(crate) fn lazy() -> Outcome {
    for count in [1, THOUSANDS] {
        with_pool(command::MAKE_LAZY, (count, BYTES), |channel, _, pool| {
            let most = count.div_ceil(2);
            equal("none has memory", pool.filled() as u64, 0)?;
            // This side has no memory to give.
            ensure("no memory", pool.take().err() == Some(TakeError::NoMemory))?;
            equal("nothing is taken", pool.in_use() as u64, 0)?;
            for _ in 0..2 {
                let [got, why, _] = tell(channel, [command::TAKE, most as u64 + 1, 0])?;
                equal("as many as have memory", got, most as u64)?;
                let none = if count == most { NO_BUFFER } else { NO_MEMORY };
                equal("why not more", why, none)?;
                equal("filled", pool.filled() as u64, most as u64)?;
                equal("given back", tell(channel, [command::GIVE, got, 0])?[0], got)?;
            }
            // What has memory keeps it, for both sides.
            let (held, _) = take_all(pool);
            equal("this side's", held.len() as u64, most as u64)?;
            distinct(&held, BYTES)?;
            equal("filled", pool.filled() as u64, most as u64)?;
            give_all(held)?;
            equal("faults there", tell(channel, [command::LOOK, 0, 0])?[2], 0)
        })?;
    }
    Ok(())
}

/// What was withdrawn is a value that is written to, and everybody else's accesses are over.
pub(crate) fn taken_back() -> Outcome {
    let before = used()?;
    let channel = commands()?;
    let shape = (1, BYTES);
    let shared = attached(&channel, command::MAKE, shape)?;
    let all = shared.words().ok_or(NONE)?;
    let last = all.get(words(1, BYTES) - 1).ok_or(NONE)?;
    last.store(0x1234_5678, core::sync::atomic::Ordering::Release);
    let [seen, written, _] = tell(&channel, [command::TAKE_BACK, 0, 0])?;
    equal("what this side wrote", seen, 0x1234_5678)?;
    equal("what its owner wrote then", written, !0x1234_5678)?;
    ensure("it was taken back", shared.try_end() == Some(End::TakenBack))?;
    drop((shared, channel));
    ensure("all is refunded", used()? == before)
}
