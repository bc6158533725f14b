//! error[E0382]: an area that others may write to is nobody's value until it is withdrawn.
#![no_std]
#![no_main]

use shikiri_channel::Area;
use shikiri_shared::{Offer, View};

pub fn offer(view: View, mut area: Area) {
    let _offer = Offer::of(view, area, None);
    area.fill(1);
}
