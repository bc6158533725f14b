//! error[E0277]: a port that was sealed is not connected.
#![no_std]
#![no_main]

use shikiri_rt::event::{Bound, SendPort};

pub fn connect(port: Bound, sender: SendPort) {
    if let Ok(sealed) = port.seal() {
        let _connected = sender.connect(&sealed);
    }
}
