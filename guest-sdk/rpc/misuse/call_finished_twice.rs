//! error[E0382]: a call in flight is finished once.
#![no_main]

use shikiri_rpc::{Pending, Transport};

pub fn finish<T: Transport>(pending: Pending<'_, '_, T, 4, u32>) {
    let _first = pending.wait();
    let _second = pending.wait();
}
