//! error[E0382]: a port is bound to one interrupt.
#![no_std]
#![no_main]

use shikiri_rt::event::{ReceivePort, Sharing};

pub fn bind(port: ReceivePort) {
    let _first = port.bind(40, Sharing::Alone);
    let _second = port.bind(41, Sharing::Alone);
}
