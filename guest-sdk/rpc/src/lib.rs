//! Remote procedure calls between partitions over memory that both map: a pool of buffers (B1), calls that hold a
//! buffer only while a message is in transit (B2), small messages without a buffer (B3).
//!
//! One call over one *leg* (a transport and the areas that go with it):
//!
//! ```text
//!  caller's side                     shared memory                    server's side
//!  -------------                     -------------                    -------------
//!  claim a call slot
//!  take a buffer  ------swap 1→0-->  flag A
//!  marshal        ---------------->  buffer A
//!  send {call, method, reference A} ----- message, doorbell -------->  receive
//!                                    buffer A  ------- copy -------->  context (the server's own memory)
//!                                    flag A    <--swap 0→1 ---------   give A back
//!  (waits, polls, awaits)            nothing is in use                 decode, EXECUTE
//!                                    flag B    <--swap 1→0 ---------   take a buffer
//!                                    buffer B  <---------------------  marshal the result
//!  receive  <---------------------------- message, doorbell --------   send {call, status, reference B}
//!  copy     <----------------------  buffer B
//!  give B back -------swap 0→1---->  flag B
//!  unmarshal; the slot is free
//! ```
//!
//! With 128 bytes or less the payload is in the message and there is no buffer in the picture. With two hops the
//! server's side is a [`Relay`], which repeats the picture on a second leg with the context as the copy between.
//!
//! | to do | use |
//! |---|---|
//! | share buffers | [`Pool`], [`Buffer`]; several areas: [`Pools`] |
//! | define a service | [`service!`](crate::service): trait, client stub and dispatcher |
//! | call it | [`Client`], then [`Blocking`], [`Timed`] or [`Begin`]; what began is polled, waited for, or awaited: [`Pending`] |
//! | serve it | [`Server`], [`Context`], [`Dispatch`] |
//! | stand between | [`Relay`] |
//! | connect | [`Leg`] over a [`Transport`]: a [`Ring`] in shared memory with a [`Doorbell`], or another |
//!
//! | form | call | server | relay |
//! |---|---|---|---|
//! | polling | [`Client::begin`], [`Pending::finish`] | [`Server::receive`] | [`Relay::step`] |
//! | blocking | [`Client::begin_patiently`], [`Pending::wait`] | [`Server::wait`], [`Server::serve`] | [`Relay::run`], blocked on |
//! | timed | [`Client::begin_until`], [`Pending::wait_until`] | [`Server::wait_until`], [`Server::serve_until`] | [`Relay::run`], blocked on until then |
//! | `async` | [`Client::when_room`], [`Pending`] itself | [`Server::received`], [`Server::served`] | [`Relay::run`] |
//!
//! Threads and tasks wait at the [`Transport`], which knows the clock: nobody has to call anything for them.
//!
//! **The peer is hostile.** Any shared word may change at any time. All shared memory is atomic words ([`Area`]), read
//! once into memory of one's own and checked there; a reference is an offset that is looked up and checked, never a
//! pointer; each loop has a bound that the peer cannot move. What a hostile peer can do: spoil the data of the
//! connection that it is a part of, and refuse to answer. A wait without a deadline is as long as the peer likes, or
//! until it is gone.
//!
//! No allocation, no `unsafe`. `hyp/doc/rpc.md` has the formats and the reasons.
#![no_std]
#![forbid(unsafe_code)]

mod area;
mod client;
mod codec;
mod error;
mod facade;
mod leg;
mod message;
mod owed;
mod pending;
mod pool;
mod pools;
mod relay;
mod ring;
mod room;
mod server;
mod service;
mod slot;
mod source;
mod transport;

pub use area::Area;
pub use client::{Client, MAX_CALLS};
pub use codec::{BadPayload, decode};
pub use error::{CallError, FetchError, SendError, Status};
pub use leg::{Leg, Patience};
pub use message::{Body, CallId, INLINE_BYTES, Inline, Kind, MESSAGE_WORDS, Message};
pub use pending::{Outcome, Pending};
pub use pool::{
    Buffer, DEFAULT_BUFFER_BYTES, MAX_BUFFERS, Pool, PoolError, Reference, ReleaseError, TakeError,
};
pub use pools::{MAX_AREAS, Pools};
pub use relay::{Relay, Step};
pub use ring::{Ring, RingError, Side};
pub use server::{Answer, Context, NotSent, Request, Server};
pub use service::{Begin, Blocking, Dispatch, Invoke, Timed};
pub use source::{Carve, Source};
pub use transport::{Doorbell, Epoch, PeerGone, Transport};

/// The atomic types of shared memory: the processor's, or loom's in a loom build.
pub mod atomic {
    pub use crate::facade::atomic::{AtomicU64, Ordering};
}
