//! Handles that have lost rights, of every kind, and a peer that has the other end of each. `role=` on the command line says what this
//! one does.
#![no_std]
#![no_main]

mod holder;
mod peer;

use shikiri_abi::AreaClass;
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::mmu::Access;
use shikiri_rt::{irq, platform};
use shikiri_test_guests::report::fail;
use shikiri_test_guests::{Failure, case, done, port};

shikiri_rt::entry!(main);

/// What the holder asks the peer for, by the service.
mod service {
    /// To be accepted.
    pub(crate) const STAY: u32 = 1;
    /// To be accepted, and closed at the first event.
    pub(crate) const CLOSE: u32 = 2;
    /// To be asked back, for an event connection.
    pub(crate) const ASK: u32 = 3;
}

/// What the peer notices, as it writes it into the queue `log`: a word, and what belongs to it.
mod noticed {
    /// An event at the port that it has made as its how manieth.
    pub(crate) const EVENT: u64 = 1;
    /// A message, and its first word.
    pub(crate) const MESSAGE: u64 = 2;
    /// What the first word of the shared area has become.
    pub(crate) const WORD: u64 = 3;
    /// The event object was posted.
    pub(crate) const TURN: u64 = 4;
    /// Its request was accepted (1), or not (0).
    pub(crate) const ANSWER: u64 = 5;
    /// The message port has lost its peer.
    pub(crate) const GONE: u64 = 6;
}

/// How much the queue `log` holds.
const DEPTH: u8 = 16;

fn main() {
    if port::map_windows(Access::Data).is_err() {
        return;
    }
    irq::unmask();
    if platform::value_of("role") == Some("peer") {
        if let Err(failure) = peer::serve() {
            fail("peer", &failure);
        }
        return;
    }
    case("all_is_connected", holder::begin);
    case("a_sender_only_sends", holder::sender);
    case("a_receiver_only_receives", holder::receiver);
    case("what_may_be_changed_only_is_changed_and_closed", holder::changed_only);
    case("a_port_without_rights_is_left_to_the_end", holder::nothing);
    case("a_request_is_answered_or_closed", holder::requests);
    case("a_message_port_only_sends", holder::channel);
    case("a_shared_area_is_only_used", holder::attachment);
    case("an_object_is_only_used_however_often_it_is_opened", holder::object);
    case("an_area_is_not_limited", holder::area);
    case("a_peer_closes_what_was_sealed", holder::closed_by_its_peer);
    case("sealed_values_last", holder::sealed);
    done()
}

/// An area of a page.
fn page() -> Result<Area, Failure> {
    port::made(message::alloc(4096, AreaClass::Page))
}
