//! error[E0382]: a request is accepted or refused once.
#![no_std]
#![no_main]

use shikiri_rt::event::{ReceivePort, Request};

pub fn accept(request: Request, port: &ReceivePort) {
    let _first = request.accept(port);
    request.refuse();
}
