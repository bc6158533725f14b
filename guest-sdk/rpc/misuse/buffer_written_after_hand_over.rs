//! error[E0382]: a buffer that was handed over is the other side's.
#![no_main]

use shikiri_rpc::Buffer;

pub fn write(mut buffer: Buffer<'_>) {
    let _reference = buffer.hand_over();
    buffer.write(b"too late");
}
