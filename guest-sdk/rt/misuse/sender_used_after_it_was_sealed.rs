//! error[E0382]: what was sealed is used by what it has become.
#![no_std]
#![no_main]

use shikiri_rt::event::Sender;

pub fn seal(sender: Sender) {
    let _sealed = sender.seal();
    drop(sender);
}
