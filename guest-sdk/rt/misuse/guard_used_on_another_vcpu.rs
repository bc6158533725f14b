//! error[E0277]: what a lock guards is used where the lock was taken, and a cell by nobody else.
#![no_std]
#![no_main]

use core::cell::Cell;

use shikiri_rt::Lock;

fn shared<T: Sync>(_: &T) {}

pub fn share(lock: &Lock<Cell<u32>>) {
    shared(&lock.lock());
}
