//! The receiver's side of a message port, without the machine: where the next message lies in the arrivals page, what is
//! offered in the credits page, and where an area is in the guest's own addresses (C2, C3).
//!
//! Two pages are shared with the hypervisor (`shikiri_abi::channel`): it writes the arrivals at any time, and reads the
//! credits. All that this crate does is reading the one and writing the other, in the order that the protocol needs; the
//! library for guests, `shikiri-channel`, maps them and waits, and the tests run this crate against the hypervisor's own
//! side. The hypervisor is trusted to say the truth, but no number of its can make anything here fail.
#![no_std]
#![forbid(unsafe_code)]

mod receiver;
mod view;

pub use receiver::{Arrival, Pages, Parcel, Peer, Receiver};
pub use view::View;
