//! error[E0499]: one at a time writes to an area.
#![no_std]
#![no_main]

use shikiri_channel::Area;

pub fn both(area: &mut Area) {
    let first: &mut [u8] = area;
    let second: &mut [u8] = area;
    first.fill(1);
    second.fill(2);
}
