//! The buffer pool of a shared area (B1) between two partitions: `role=owner` makes the areas and does what it is told over a
//! channel, `role=user` has the cases. With `ends` the owner ends while it holds buffers, and is started again.
#![no_std]
#![no_main]

extern crate alloc;

mod ends;
mod owner;
mod race;
mod rubbish;
mod tools;
mod user;

use shikiri_rt::{heap, irq, platform};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

/// The heap: what a side holds of thousands of buffers.
const HEAP_PAGES: u64 = 128;

fn main() {
    irq::unmask();
    heap::init(HEAP_PAGES);
    match platform::value_of("role") {
        Some("owner") => owner::serve(),
        _ => user(),
    }
}

fn user() {
    if platform::has_word("ends") {
        case("a_pool_outlives_a_peer_that_ends_with_buffers_and_calls_are_told", ends::run);
        done()
    }
    case("a_buffer_is_got_as_soon_as_one_is_given_back", user::exhausted);
    case("one_buffer_and_thousands_are_filled_eagerly", user::eager);
    case("one_buffer_and_thousands_are_filled_at_their_first_use", user::lazy);
    case("flags_that_the_peer_sets_give_no_buffer_out_twice", rubbish::flags);
    case("rubbish_in_the_control_area_leads_nowhere", rubbish::all);
    case("an_area_that_is_taken_back_is_its_owners_value_again", user::taken_back);
    case("no_buffer_is_taken_twice_by_many_vcpus_of_both_sides", race::against_the_owner);
    done()
}
