//! A partition that ends while it holds a unit, and one that waits for it.

use shikiri_object::{Counter, Queue, Semaphore};
use shikiri_rt::hvc::partition::{self, Resource};
use shikiri_rt::{platform, println};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{case, done, ensure, equal};

use crate::tools::{FIRST, made, waiting};

/// Takes the unit, says who it is, and ends; the description starts it again.
pub(crate) fn hold() {
    let holding = || -> Outcome {
        let turn = waiting(Counter::open("turn", 0, 4), FIRST)?;
        let lock = waiting(Semaphore::open("lock", 1, 1), FIRST + 1)?;
        let who = made(Queue::open("who", 4))?;
        made(turn.take())?;
        let unit = made(lock.take())?;
        ensure("told the waiter only", unit.lost.is_none())?;
        let id = made(partition::info())?.id;
        ensure("room", made(who.try_send([u64::from(id.0), 0, 0]))?)?;
        if id.0.is_multiple_of(2) {
            // Closing what is held releases it, too.
            unit.keep();
            drop(lock);
        }
        let refusal = partition::end(1);
        equal("ended", refusal.code as u64, 0)
    };
    if let Err(failure) = holding() {
        fail("holder", &failure);
    }
    println!("done");
}

/// Waits for the unit that the other has when it ends.
pub(crate) fn wait() {
    case("a_holder_that_ends_releases_and_the_next_is_told_whose_it_was", || {
        let turn = made(Counter::open("turn", 0, 4))?;
        let lock = waiting(Semaphore::open("lock", 1, 1), FIRST)?;
        let who = waiting(Queue::open("who", 4), FIRST + 1)?;
        let mut last = 0;
        for _ in 0..platform::number_of("rounds").unwrap_or(4) {
            made(turn.post())?;
            let [id, ..] = made(who.receive())?;
            ensure("another life", id > last)?;
            last = id;
            let unit = made(lock.take())?;
            equal("who it was", unit.lost.map_or(0, |lost| u64::from(lost.0)), id)?;
            drop(unit);
            let again = made(lock.take())?;
            ensure("told once", again.lost.is_none())?;
        }
        let ports = made(partition::account(Resource::EventPorts))?;
        equal("two ports", ports.used, 2)
    });
    done()
}
