//! error[E0382]: a buffer is given back once.
#![no_main]

use shikiri_rpc::Buffer;

pub fn give(buffer: Buffer<'_>) {
    let _first = buffer.give_back();
    let _second = buffer.give_back();
}
