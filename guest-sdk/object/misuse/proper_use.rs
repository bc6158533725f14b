//! Compiles: what the other files here do wrong, done right.
#![no_std]
#![no_main]

use shikiri_object::{Queue, Semaphore, Waiting};
use shikiri_rt::event::Bound;
use shikiri_rt::hvc::partition::Refusal;

/// Sends through what waits.
pub fn wait(queue: Queue, port: Bound) -> Option<bool> {
    let waiting = Waiting::new(queue, port).ok()?;
    waiting.try_send([1, 2, 3]).ok()
}

/// Ties the queue first, and what is sealed is only used.
pub fn seal(queue: Queue) -> Option<bool> {
    queue.seal().ok()?.try_send([1, 2, 3]).ok()
}

/// The unit goes before the semaphore.
pub fn close(semaphore: Semaphore) -> Result<(), Refusal> {
    drop(semaphore.try_take()?);
    drop(semaphore);
    Ok(())
}
