//! error[E0382]: a port that asks is the request's until the answer.
#![no_std]
#![no_main]

use shikiri_rt::event::SendPort;

pub fn ask(port: SendPort) {
    let _first = port.ask(1, 2, 3);
    let _second = port.ask(1, 2, 3);
}
