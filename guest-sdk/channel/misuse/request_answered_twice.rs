//! error[E0382]: a request is answered once.
#![no_std]
#![no_main]

use shikiri_channel::{Port, Request};

pub fn twice(request: Request, port: Port) {
    let _channel = request.accept(port);
    request.refuse();
}
