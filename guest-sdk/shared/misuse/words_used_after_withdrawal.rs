//! error[E0505]: an area that was withdrawn is a slice of bytes again, and its atomic words are gone.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;

use shikiri_shared::Offer;

pub fn take_back(offer: Offer) {
    let words = offer.words();
    let area = offer.withdraw();
    words[0].store(1, Ordering::Release);
    drop(area);
}
