//! error[E0505]: a shared area that is detached is gone.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;

use shikiri_shared::Shared;

pub fn leave(shared: Shared) {
    let Some(words) = shared.words() else { return };
    drop(shared);
    words[0].store(1, Ordering::Release);
}
