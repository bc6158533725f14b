//! error[E0382]: an offer is withdrawn once, or there would be two owners of its area.
#![no_std]
#![no_main]

use shikiri_shared::Offer;

pub fn take_back(offer: Offer) {
    let _area = offer.withdraw();
    let _another = offer.withdraw();
}
