//! error[E0133]: an area that others may write to is no slice of bytes any more: it is offered by value (`Offer::of`).
#![no_std]
#![no_main]

use shikiri_channel::Area;
use shikiri_shared::{Offer, View};

pub fn offer(view: View, mut area: Area) {
    let _offer = Offer::new(view, area.handle(), None);
    area.fill(1);
}
