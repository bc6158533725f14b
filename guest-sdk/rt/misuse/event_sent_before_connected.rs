//! error[E0599]: a port that is not connected does not send.
#![no_std]
#![no_main]

use shikiri_rt::event::SendPort;

pub fn send(port: SendPort) {
    let _sent = port.send();
}
