//! error[E0505]: a unit is given back before the semaphore is closed.
#![no_std]
#![no_main]

use shikiri_object::Semaphore;

pub fn close(semaphore: Semaphore) {
    let unit = semaphore.try_take();
    drop(semaphore);
    drop(unit);
}
