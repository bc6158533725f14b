//! error[E0382]: a port that asks is not asked for anything else.
#![no_std]
#![no_main]

use shikiri_channel::Port;

pub fn twice(port: Port) {
    let _asking = port.ask(1, 2, 3);
    let _asking = port.ask(1, 2, 3);
}
