//! Message channels: two message ports that are connected, and the areas and short messages that go between them (C2, C4).
//!
//! A port is a handle of its partition ([`Kind::Channel`](crate::handle::Kind)), whose word says whom it is connected to, as an
//! event send port's does; a row of the partition's table ([`Port`]) with its window; two pages that its guest sees
//! ([`ring`]); and an event receive port at which it tells what happens.
//!
//! The window is a number of slots of one class, all charged to the receiver when the port is made. So a message that has a
//! credit can be delivered without asking any account, and [`send`] cannot fail once it has begun.
//!
//! Everything runs under the locks of both partitions, taken in ascending order of slots; `peer` is the other one's
//! [`Estate`](crate::area::Estate), found by [`Party::other_end`](crate::party::Party::other_end). If things have changed since,
//! the answer is `Moved` and nothing has changed.

mod call;
mod close;
mod connect;
mod create;
mod port;
pub mod ring;
pub mod send;

pub use call::Done;
pub use create::{Created, WindowWanted};
pub use port::Port;
pub use send::{Message, send};
