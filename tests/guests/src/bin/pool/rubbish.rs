//! The owner writes rubbish into the control area while this side takes, adopts and gives back.

use alloc::vec::Vec;

use shikiri_channel::Channel;
use shikiri_rpc::{Area, Buffer, Pool, Reference};
use shikiri_rt::reg;
use shikiri_rt::sleep::Ticks;
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{ALL, FLAGS, command, first_word};
use crate::user::{distinct, give_all, take_all, tell, with_pool};

const COUNT: usize = 40;
const BYTES: usize = 64;
/// At least so many rounds, and as many as it takes until what is to be seen was seen, whoever runs when.
const ROUNDS: u64 = 20_000;

/// Goes on until all was seen.
fn rounds(mut round: impl FnMut(u64) -> Result<bool, Failure>) -> Outcome {
    let end = Ticks::from_now_us(60_000_000);
    let mut number = 0;
    loop {
        let is_all = round(number)?;
        number += 1;
        if number >= ROUNDS && (is_all || end.is_over()) {
            return ensure("all was seen in a minute", is_all);
        }
    }
}

/// The owner spoils meanwhile.
fn spoilt(channel: &Channel, what: u64, action: impl FnOnce() -> Outcome) -> Outcome {
    tell(channel, [command::SPOIL, what, 0])?;
    action()?;
    let [words, ..] = tell(channel, [0; 3])?;
    ensure("the owner has written", words > 0)?;
    // The table is as it was: so is the pool.
    tell(channel, [command::REPAIR, 0, 0])?;
    Ok(())
}

/// Looks that the pool is as good as new.
fn usable(channel: &Channel, pool: &Pool<'_>) -> Outcome {
    let (held, _) = take_all(pool);
    equal("all are to be had", held.len() as u64, COUNT as u64)?;
    distinct(&held, BYTES)?;
    give_all(held)?;
    let [got, ..] = tell(channel, [command::TAKE, COUNT as u64, 0])?;
    equal("all are to be had there", got, COUNT as u64)?;
    equal("given back", tell(channel, [command::GIVE, got, 0])?[0], got)
}

/// Buffers that this side holds it does not get again, whatever their flags say.
pub(crate) fn flags() -> Outcome {
    with_pool(command::MAKE, (COUNT, BYTES), |channel, _, pool| {
        let mut random = Random::new(reg::now());
        spoilt(channel, FLAGS, || {
            let mut held: Vec<Buffer<'_>> = Vec::new();
            let mut most = 0;
            rounds(|round| {
                match pool.take() {
                    Ok(mut buffer) => {
                        ensure("written", buffer.write(&round.to_ne_bytes()).is_some())?;
                        held.push(buffer);
                    }
                    // All flags can say taken.
                    Err(_none) => {}
                }
                most = most.max(held.len());
                ensure("not more than there are", held.len() <= COUNT)?;
                distinct(&held, BYTES)?;
                if held.len() > COUNT / 2 || random.below(4) == 0 {
                    let which = random.below(held.len().max(1) as u64) as usize;
                    if which < held.len() {
                        // The owner may have said already that it is free.
                        let _given = held.swap_remove(which).give_back();
                    }
                }
                // Several at a time, and flags that said otherwise.
                Ok(most > COUNT / 4 && pool.faults() > 0)
            })
        })?;
        usable(channel, pool)
    })
}

/// A buffer is somewhere behind the control area, whatever that says.
pub(crate) fn all() -> Outcome {
    with_pool(command::MAKE, (COUNT, BYTES), |channel, part, pool| {
        let mut random = Random::new(reg::now());
        let mut adopted = 0_u64;
        spoilt(channel, ALL, || {
            let mut held: Vec<Buffer<'_>> = Vec::new();
            rounds(|round| {
                let place = Reference(random.below(2 * part.bytes() as u64) as u32 & !7);
                let got = match random.below(4) {
                    0 => pool.adopt(place).ok().inspect(|_| adopted += 1),
                    1 => {
                        let _released = pool.release(place);
                        None
                    }
                    _ => pool.take().ok(),
                };
                if let Some(mut buffer) = got {
                    used(part, COUNT, &mut buffer, round as u8)?;
                    held.push(buffer);
                }
                ensure("not more than there are", held.len() <= COUNT)?;
                if held.len() > COUNT / 2 {
                    let which = random.below(held.len() as u64) as usize;
                    let _given = held.swap_remove(which).give_back();
                }
                Ok(adopted > 0 && pool.faults() > 0)
            })
        })?;
        usable(channel, pool)?;
        let (mut refused, mut joined) = (0_u64, 0_u64);
        spoilt(channel, ALL, || {
            rounds(|round| {
                // The count is read once: what cannot be is refused, and what can be has its whole table in the area.
                let Ok(another) = Pool::attach(part, BYTES) else {
                    refused += 1;
                    return Ok(joined > 0);
                };
                joined += 1;
                ensure("a count that fits", (1 + 2 * another.count()) * 8 <= part.bytes())?;
                if let Ok(mut buffer) = another.take() {
                    used(part, another.count(), &mut buffer, round as u8)?;
                }
                Ok(refused > 0)
            })
        })?;
        usable(channel, pool)
    })
}

/// Looks that a buffer is inside the area and behind the control area, and writes to all of it.
fn used(part: Area<'_>, count: usize, buffer: &mut Buffer<'_>, byte: u8) -> Outcome {
    let Reference(place) = buffer.reference();
    ensure("a whole buffer", buffer.bytes() == BYTES)?;
    ensure("inside", place as usize + BYTES <= part.bytes())?;
    ensure("behind the control area", place as usize >= 8 * (1 + 2 * count))?;
    ensure("written", buffer.write(&[byte; BYTES]).is_some())?;
    ensure("read", first_word(buffer).is_some())
}
