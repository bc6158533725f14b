//! error[E0277]: of an answer is told who was chosen for it, and no other port.
#![no_std]
#![no_main]

use shikiri_rt::event::{Awaited, SendPort};

pub fn connect(port: SendPort, awaited: &Awaited) {
    let _never = port.connect_to(awaited, 1, 2, 3);
}
