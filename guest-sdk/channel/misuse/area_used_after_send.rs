//! error[E0382]: an area that was sent is the peer's.
#![no_std]
#![no_main]

use shikiri_channel::{Area, Channel};

pub fn exchange(channel: &Channel, mut area: Area) {
    let _sent = channel.send(area, [0; 3]);
    area.fill(1);
}
