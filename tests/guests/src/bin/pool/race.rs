//! All vCPUs of both sides take buffers and give them back: whoever has one is alone with it.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rpc::{Pool, TakeError};
use shikiri_rt::{Lock, irq, reg, smp, timer};
use shikiri_shared::Shared;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{command, first_word, hear, pool_part, say};
use crate::user::{attached, commands};

/// Fewer than there are vCPUs, so that none is free now and then.
const BUFFERS: usize = 2;
const BYTES: usize = 64;
/// How often each vCPU gets one.
const ROUNDS: u64 = 50_000;
/// Each of so many it keeps for so long that others find none meanwhile, whoever runs when.
const LONG_EVERY: u64 = 2_500;
const LONG_US: u64 = 3_000;

static POOL: Lock<Option<&'static Pool<'static>>> = Lock::new(None);
/// vCPUs that are here, and those that are through.
static READY: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Tries that found none.
static IN_VAIN: AtomicU64 = AtomicU64::new(0);
/// Buffers that were not alone theirs.
static WRONG: AtomicU64 = AtomicU64::new(0);

/// Races with the other side: how many buffers were taken, how many tries were in vain, and how many buffers were wrong.
pub(crate) fn run(all: &'static [AtomicU64], pool: Pool<'static>) -> Result<[u64; 3], Failure> {
    let pool: &'static Pool<'static> = Box::leak(Box::new(pool));
    *POOL.lock() = Some(pool);
    let vcpus = smp::start_all(|| take_and_give(smp::index() as u64)) as u64;
    equal("vCPUs", vcpus, smp::count() as u64)?;
    while READY.load(Ordering::Acquire) + 1 < vcpus {
        reg::yield_now();
    }
    // Both sides begin when both are there.
    let gate = all.first().ok_or(Failure { what: "the gate", got: 0, want: 1 })?;
    gate.fetch_add(1, Ordering::AcqRel);
    while gate.load(Ordering::Acquire) < 2 {
        reg::yield_now();
    }
    READY.fetch_add(1, Ordering::AcqRel);
    take_and_give_here(pool, smp::index() as u64);
    while OVER.load(Ordering::Acquire) < vcpus {
        reg::yield_now();
    }
    equal("what was wrong otherwise", pool.faults(), 0)?;
    Ok([&TAKEN, &IN_VAIN, &WRONG].map(|count| count.load(Ordering::Acquire)))
}

/// What another vCPU does.
fn take_and_give(own: u64) {
    irq::unmask();
    READY.fetch_add(1, Ordering::AcqRel);
    while READY.load(Ordering::Acquire) < smp::count() as u64 {
        reg::yield_now();
    }
    let pool = *POOL.lock();
    if let Some(pool) = pool {
        take_and_give_here(pool, own);
    }
}

fn take_and_give_here(pool: &Pool<'_>, own: u64) {
    // No other vCPU has this one, on either side.
    let side = u64::from(shikiri_rt::platform::value_of("role") == Some("owner"));
    let mut taken = 0;
    while taken < ROUNDS {
        match pool.take() {
            Ok(mut buffer) => {
                let mark = 1 | side << 1 | own << 2 | taken << 16;
                let is_empty = first_word(&buffer) == Some(0);
                let is_written = buffer.write(&mark.to_ne_bytes()).is_some();
                if taken.is_multiple_of(LONG_EVERY) {
                    timer::spin(LONG_US);
                }
                let is_ours = first_word(&buffer) == Some(mark);
                let is_cleared = buffer.write(&[0; 8]).is_some();
                let is_given = buffer.give_back().is_ok();
                if !(is_empty && is_written && is_ours && is_cleared && is_given) {
                    WRONG.fetch_add(1, Ordering::AcqRel);
                }
                taken += 1;
                TAKEN.fetch_add(1, Ordering::AcqRel);
            }
            Err(TakeError::NoBuffer) => {
                IN_VAIN.fetch_add(1, Ordering::AcqRel);
                reg::yield_now();
            }
            Err(TakeError::NoMemory) => {
                WRONG.fetch_add(1, Ordering::AcqRel);
                break;
            }
        }
    }
    OVER.fetch_add(1, Ordering::AcqRel);
}

/// The user's side of it, and what the owner says of its own.
pub(crate) fn against_the_owner() -> Outcome {
    let channel = commands()?;
    let shape = (BUFFERS, BYTES);
    let shared: &'static Shared = Box::leak(Box::new(attached(&channel, command::RACE, shape)?));
    let words = shared.words().ok_or(Failure { what: "read-only", got: 0, want: 1 })?;
    let pool = Pool::attach(pool_part(words, shape)?, BYTES);
    let pool = pool.map_err(|_| Failure { what: "a pool", got: 0, want: 1 })?;
    let [taken, in_vain, wrong] = run(words, pool)?;
    equal("taken here", taken, smp::count() as u64 * ROUNDS)?;
    equal("wrong here", wrong, 0)?;
    let [there, vain_there, wrong] = hear(&channel)?;
    ensure("taken there", there > 0 && there.is_multiple_of(ROUNDS))?;
    equal("wrong there", wrong, 0)?;
    ensure("at the same time", in_vain + vain_there > 0)?;
    let pool = *POOL.lock();
    equal("in use", pool.map_or(0, Pool::in_use) as u64, 0)?;
    say(&channel, [0; 3])
}
