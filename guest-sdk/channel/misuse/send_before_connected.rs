//! error[E0599]: a port that is not connected sends nothing.
#![no_std]
#![no_main]

use shikiri_channel::Port;

pub fn send(port: &Port) {
    let _sent = port.send((), [0; 3]);
}
