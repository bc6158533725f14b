//! Remote calls between partitions (B2, B3): `role=server` serves as each connection asks for (see [`tools::form`]), `role=relay` stands
//! between and passes that on, and any other has the cases, calling number `next=`. `hops` on the command line: that is the relay.
#![no_std]
#![no_main]

extern crate alloc;

mod deadlines;
mod forms;
mod many;
mod policies;
mod relay;
mod ring;
mod server;
mod tools;
mod untaken;

use shikiri_rt::{heap, irq, platform};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

/// The heap: contexts for the calls of all vCPUs.
const HEAP_PAGES: u64 = 64;

fn main() {
    irq::set_handler(|_intid| {});
    irq::unmask();
    heap::init(HEAP_PAGES);
    match platform::value_of("role") {
        Some("server") => case("the_server_serves_in_each_form", server::serve),
        Some("relay") => case("the_relay_passes_on_in_each_form", relay::serve),
        _ => call(),
    }
    done()
}

fn call() {
    if !platform::has_word("hops") {
        case("no_call_with_a_deadline_waits_longer_for_a_mute_server", deadlines::run);
        case("who_finds_no_buffer_is_told_or_waits_or_adds_another_area", policies::run);
        case("small_calls_over_a_ring_in_shared_memory_need_no_buffer", ring::run);
    }
    case("calls_in_each_form_are_answered_in_each_form", forms::run);
    case("many_calls_are_executed_at_a_time_and_no_buffer_is_in_use", many::run);
    case("who_waits_for_a_buffer_beside_requests_goes_on", untaken::run);
    case("the_others_end", tools::end_others);
}
