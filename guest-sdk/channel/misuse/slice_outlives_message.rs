//! error[E0597]: a slice does not outlive the message whose area it is of.
#![no_std]
#![no_main]

use shikiri_channel::Channel;

pub fn receive(channel: &Channel) -> usize {
    let mut longest: &[u8] = &[];
    while let Ok(message) = channel.receive() {
        if let Some(area) = &message.area {
            longest = area;
        }
    }
    longest.len()
}
