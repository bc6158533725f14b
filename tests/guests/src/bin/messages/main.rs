//! The SDK's channels between two partitions, in all forms: blocking, timed, polling and `async`. `role=` on the command line says
//! which one this is; the client looks, the server does what the service that it was asked for says.
#![no_std]
#![no_main]

extern crate alloc;

mod areas;
mod ends;
mod forms;
mod room;
mod server;
mod tools;

use shikiri_rt::{heap, irq, platform};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

fn main() {
    irq::unmask();
    if platform::value_of("role") == Some("server") {
        return server::serve();
    }
    heap::init(16);
    if platform::has_word("ends") {
        case("a_peer_that_ends_is_told_to_who_waits_blocking", ends::blocking);
        case("a_peer_that_ends_is_told_to_who_waits_with_a_deadline", ends::timed);
        case("a_peer_that_ends_is_told_to_who_polls", ends::polling);
        case("a_peer_that_ends_is_told_to_a_future", ends::future);
        case("an_area_comes_back_when_the_peer_ends_before_there_is_room", ends::sending);
        done()
    }
    case("an_area_is_a_slice_of_its_own", areas::owned);
    case("an_area_is_shortened_and_split", areas::split);
    case("an_area_takes_its_bytes_there_and_back", areas::there_and_back);
    case("an_area_of_another_class_comes_back", areas::another_class);
    case("an_area_can_be_kept_and_outlives_its_port", areas::kept);
    case("messages_are_received_blocking", forms::blocking);
    case("messages_are_received_by_polling", forms::polling);
    case("a_wait_ends_at_its_deadline", forms::timed);
    case("futures_send_and_receive_side_by_side", forms::futures);
    case("two_vcpus_use_one_channel", forms::two_vcpus);
    case("a_moment_ends_when_a_message_comes", forms::moments);
    case("a_moment_ends_though_the_ports_vcpu_takes_no_interrupts", forms::masked_elsewhere);
    case("who_changes_how_it_waits_misses_nothing", forms::changing);
    case("who_waits_goes_on_as_another_vcpu_says", forms::changed);
    case("a_request_can_be_refused_and_withdrawn", ends::refused);
    case("a_port_is_connected_again", ends::again);
    case("a_port_whose_peer_is_there_keeps_its_messages", ends::still_there);
    case("what_was_not_received_is_freed_with_the_port", ends::unread);
    case("a_full_port_gives_the_area_back_and_tells_when_there_is_room", room::full);
    case("dropping_an_area_wakes_who_waits_for_its_slot", room::slot);
    case("a_future_waits_for_room", room::future);
    done()
}
