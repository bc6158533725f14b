//! The owner: makes areas with pools, and does what it is told.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::Status;
use shikiri_channel::{Area, Channel, Listener, Message, PeerGone};
use shikiri_rpc::{Buffer, Carve, Pool, Reference, TakeError};
use shikiri_rt::hvc::partition;
use shikiri_rt::println;
use shikiri_shared::{Access, Offer, Request as AreaRequest, User, View};
use shikiri_test_guests::answers::{made, refused};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, equal};

use crate::race;
use crate::tools::{
    ALL, AREA, CALLED, CALLS, CHANNEL, COMMANDS, LISTENER, MARGIN, NO_BUFFER, NO_MEMORY, bytes_of,
    class, command, first_word, hear, pool_part, port, say, windows, words,
};

/// Serves for ever: one user after the other.
pub(crate) fn serve() {
    let Ok(listener) = Listener::new(LISTENER) else { return };
    loop {
        if let Err(Failure { what, got, want }) = next(&listener) {
            println!("FAIL owner: {what}: {got:#x}, not {want:#x}");
        }
    }
}

/// Serves the next user.
fn next(listener: &Listener) -> Outcome {
    let request = made(listener.next())?;
    equal("service", u64::from(request.service), u64::from(COMMANDS))?;
    // One that is gone by now is followed by another.
    match request.accept(port(CHANNEL)?) {
        Ok(channel) => session(listener, &channel),
        Err(_) => Ok(()),
    }
}

/// Until the user has gone.
fn session(listener: &Listener, channel: &Channel) -> Outcome {
    loop {
        let Ok(Message { short: [what, count, bytes], .. }) = channel.receive() else {
            return Ok(());
        };
        let shape = (count as usize, bytes as usize);
        match what {
            command::MAKE | command::MAKE_LAZY => {
                let offer = make(channel, shape)?;
                with_pool(listener, channel, (&offer, shape), what == command::MAKE_LAZY)?;
                take_back(channel, offer)?;
            }
            command::RACE => race_with(listener, channel, shape)?,
            _ => return Err(Failure { what: "no such command here", got: what, want: 0 }),
        }
    }
}

/// Offers an area, all words of whose margins are all ones, and gives it to the user.
fn make(channel: &Channel, (count, bytes): (usize, usize)) -> Result<Offer, Failure> {
    let words = words(count, bytes);
    let area = made(Area::alloc(windows()?, class(words), words * 8))?;
    let offer = made(Offer::of(View::of(windows()?), area, None).map_err(|(why, _)| why))?;
    for (index, word) in offer.words().iter().enumerate() {
        let is_margin = !(MARGIN..words - MARGIN).contains(&index);
        word.store(if is_margin && index > 0 { u64::MAX } else { 0 }, Ordering::Release);
    }
    say(channel, [words as u64, 0, 0])?;
    Ok(offer)
}

/// Answers the user's request for the area.
fn give(listener: &Listener, offer: &Offer) -> Result<User, Failure> {
    let no = |_| Failure { what: "a request for the area", got: 0, want: 1 };
    let request = AreaRequest::of(made(listener.signal())?).map_err(no)?;
    equal("service", u64::from(request.service), u64::from(AREA))?;
    made(request.accept(offer, Access::ReadWrite).map_err(|(_, why)| why))
}

/// What was taken back is the owner's to write to as before.
fn take_back(channel: &Channel, offer: Offer) -> Outcome {
    let mut area = made(offer.withdraw().map_err(|(_, why)| why))?;
    let last = area.len() - 8;
    let word =
        |area: &Area| area[last..].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let before = word(&area);
    area[last..].copy_from_slice(&bytes_of(!before));
    // Who has gone without a word needs no answer.
    let _said = say(channel, [before, word(&area), 0]);
    Ok(())
}

/// The commands about one pool.
fn with_pool(
    listener: &Listener,
    channel: &Channel,
    (offer, shape): (&Offer, (usize, usize)),
    is_lazy: bool,
) -> Outcome {
    let (count, bytes) = shape;
    let part = pool_part(offer.words(), shape)?;
    let table = (1 + 2 * count) * 8;
    let cursor = AtomicU64::new(0);
    // Memory for every other one, at least for one.
    let end = table + count.div_ceil(2) * bytes;
    let source = Carve::new(&cursor, table as u32, end as u32);
    let no = |_| Failure { what: "a pool", got: 0, want: 1 };
    let pool = if is_lazy {
        Pool::create_lazy(part, count, bytes, &source).map_err(no)?
    } else {
        Pool::create(part, count, bytes).map_err(no)?
    };
    let user = give(listener, offer)?;
    let mut held: Vec<Buffer<'_>> = Vec::new();
    let mut random = Random::new(7);
    let mut _calls = None;
    loop {
        let Ok(Message { short: [what, a, b], .. }) = channel.receive() else { return Ok(()) };
        let answer = match what {
            command::TAKE => take(&pool, &mut held, a),
            command::GIVE => {
                let kept = held.len().saturating_sub(a as usize);
                let given = held.drain(kept..).rev().map(Buffer::give_back);
                [given.filter(Result::is_ok).count() as u64, 0, 0]
            }
            command::HAND_OVER => {
                let reference = held.pop().map_or(0, |buffer| buffer.hand_over().0);
                [u64::from(reference), 0, 0]
            }
            command::ADOPT => adopt(&pool, Reference(a as u32), b),
            command::SPOIL => {
                // The user goes on when it knows that the words change.
                say(channel, [0; 3])?;
                let [_, spoilt, _] = spoil(channel, (offer.words(), count), a, &mut random)?;
                [spoilt, 0, 0]
            }
            command::REPAIR => {
                Pool::create(part, count, bytes).map_err(no)?;
                [0; 3]
            }
            command::LOOK => [pool.in_use() as u64, pool.filled() as u64, pool.faults()],
            command::ACCEPT_CALLS => {
                let request = made(listener.next())?;
                equal("service", u64::from(request.service), u64::from(CALLED))?;
                _calls = request.accept(port(CALLS)?).ok();
                [u64::from(_calls.is_some()), 0, 0]
            }
            command::END => {
                let _refused = partition::end(1);
                [0; 3]
            }
            command::TAKE_BACK => {
                // From the user that was accepted, who has it once.
                made(offer.revoke(user))?;
                return refused("revoked", offer.revoke(user), Status::PeerGone);
            }
            _ => return Err(Failure { what: "no such command", got: what, want: 0 }),
        };
        say(channel, answer)?;
    }
}

/// How many were taken, why not more, and where the last one is.
fn take<'p>(pool: &'p Pool<'_>, held: &mut Vec<Buffer<'p>>, most: u64) -> [u64; 3] {
    let mut last = 0;
    for taken in 0..most {
        match pool.take() {
            Ok(buffer) => {
                last = u64::from(buffer.reference().0);
                held.push(buffer);
            }
            Err(TakeError::NoBuffer) => return [taken, NO_BUFFER, last],
            Err(TakeError::NoMemory) => return [taken, NO_MEMORY, last],
        }
    }
    [most, 0, last]
}

/// Whether it could be adopted, and its first word.
fn adopt(pool: &Pool<'_>, reference: Reference, want: u64) -> [u64; 3] {
    let Ok(buffer) = pool.adopt(reference) else { return [0; 3] };
    let is_right = first_word(&buffer) == Some(want);
    [1, u64::from(is_right), u64::from(buffer.give_back().is_ok())]
}

/// Writes rubbish until there is another command; the number of words that were written.
fn spoil(
    channel: &Channel,
    (all, count): (&[AtomicU64], usize),
    what: u64,
    random: &mut Random,
) -> Result<[u64; 3], Failure> {
    let mut spoilt = 0;
    loop {
        for _ in 0..64 {
            let entry = random.below(count as u64) as usize;
            let (index, value) = match random.below(4) {
                // References that could be some, and others.
                0 if what == ALL => (2 * entry + 2, random.below(all.len() as u64) * 8),
                1 if what == ALL => (random.below(2 * count as u64 + 1) as usize, random.edgy()),
                2 => (2 * entry + 1, random.edgy()),
                _ => (2 * entry + 1, random.below(3)),
            };
            if let Some(word) = all.get(MARGIN + index) {
                word.store(value, Ordering::Relaxed);
                spoilt += 1;
            }
        }
        match channel.try_receive() {
            Ok(None) => {}
            Ok(Some(_enough)) => return Ok([0, spoilt, 0]),
            Err(PeerGone) => return Err(Failure { what: "heard", got: 0, want: 1 }),
        }
    }
}

/// All vCPUs take and give back, here and there. The area stays as long as the partition: other vCPUs have had it.
fn race_with(listener: &Listener, channel: &Channel, shape: (usize, usize)) -> Outcome {
    let offer: &'static Offer = Box::leak(Box::new(make(channel, shape)?));
    let pool = Pool::create(pool_part(offer.words(), shape)?, shape.0, shape.1);
    let pool = pool.map_err(|_| Failure { what: "a pool", got: 0, want: 1 })?;
    let _user = give(listener, offer)?;
    say(channel, race::run(offer.words(), pool)?)?;
    // The user leaves first.
    let _left = hear(channel);
    Ok(())
}
