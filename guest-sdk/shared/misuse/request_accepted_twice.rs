//! error[E0382]: a request is answered once.
#![no_std]
#![no_main]

use shikiri_shared::{Access, Offer, Request};

pub fn accept(request: Request, offer: Offer) {
    let _accepted = request.accept(&offer, Access::ReadOnly);
    request.refuse();
}
