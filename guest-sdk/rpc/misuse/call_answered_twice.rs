//! error[E0382]: a call is answered once.
#![no_main]

use shikiri_rpc::{Answer, Transport};

pub fn answer<T: Transport>(answer: Answer<'_, '_, T>) {
    answer.send(&1).ok();
    answer.send(&2).ok();
}
