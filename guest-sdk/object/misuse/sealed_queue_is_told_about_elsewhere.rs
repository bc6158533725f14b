//! error[E0277]: an object that was sealed gets no other port.
#![no_std]
#![no_main]

use shikiri_object::{Queue, Waiting};
use shikiri_rt::event::Bound;

pub fn wait(queue: Queue, port: Bound) {
    if let Ok(sealed) = queue.seal() {
        let _waiting = Waiting::new(sealed, port);
    }
}
