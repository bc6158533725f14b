//! error[E0382]: an area is sent once.
#![no_std]
#![no_main]

use shikiri_channel::{Area, Channel};

pub fn exchange(channel: &Channel, area: Area) {
    let _sent = channel.send(area, [0; 3]);
    let _sent = channel.send(area, [0; 3]);
}
