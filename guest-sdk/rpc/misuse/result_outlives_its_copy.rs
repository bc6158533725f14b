//! error[E0597]: a result that borrows lives no longer than the memory that it was copied to.
#![no_main]

use shikiri_rpc::{Pending, Transport};

pub fn text<T: Transport>(pending: Pending<'_, '_, T, 4, ()>) -> usize {
    let text: &str;
    {
        let mut copy = [0; 100];
        text = pending.wait_in(&mut copy).unwrap_or("");
    }
    text.len()
}
