//! Waiting on a vCPU to which the port's interrupt does not go.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_object::{Queue, Waiting};
use shikiri_rt::{Lock, smp};
use shikiri_test_guests::ensure;
use shikiri_test_guests::report::Outcome;

use crate::tools::{FIRST, made, soon, waiting};

/// Messages: the wait for one of them begins before it is sent.
const ROUNDS: u64 = 32;

/// What the other vCPU waits at.
static QUEUE: Lock<Option<Waiting<Queue>>> = Lock::new(None);

/// How many messages it has had.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

fn receive() {
    let Some(queue) = QUEUE.lock().take() else { return };
    for round in 0..ROUNDS {
        if queue.receive() == Ok([round, 0, 0]) {
            RECEIVED.store(round + 1, Ordering::Release);
        }
    }
}

pub(crate) fn waits() -> Outcome {
    let queue = made(Queue::open("solo", 1))?;
    *QUEUE.lock() = Some(waiting(Queue::open("solo", 1), FIRST)?);
    ensure("another vCPU", smp::start(1, receive).is_ok())?;
    for round in 0..ROUNDS {
        ensure("room", made(queue.try_send([round, 0, 0]))?)?;
        soon("received", || RECEIVED.load(Ordering::Acquire) == round + 1)?;
    }
    Ok(())
}
