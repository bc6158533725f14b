//! error[E0423]: there is no area before the window region is mapped.
#![no_std]
#![no_main]

use shikiri_channel::{Area, AreaClass, Windows};

pub fn alloc() {
    let _area = Area::alloc(Windows(()), AreaClass::Page, 4096);
}
