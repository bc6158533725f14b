//! error[E0505]: a slice does not outlive its area's send.
#![no_std]
#![no_main]

use shikiri_channel::{Area, Channel};

pub fn exchange(channel: &Channel, area: Area) -> u8 {
    let first = &area[..1];
    let _sent = channel.send(area, [0; 3]);
    first[0]
}
