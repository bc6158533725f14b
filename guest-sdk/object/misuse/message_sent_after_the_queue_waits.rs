//! error[E0382]: an object that is waited for is used by what waits for it.
#![no_std]
#![no_main]

use shikiri_object::{Queue, Waiting};
use shikiri_rt::event::Bound;

pub fn wait(queue: Queue, port: Bound) {
    let _waiting = Waiting::new(queue, port);
    let _sent = queue.try_send([1, 2, 3]);
}
