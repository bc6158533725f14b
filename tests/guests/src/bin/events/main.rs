//! Event ports within one partition: every call and every refusal of C1, seen from inside.
//!
//! The partition has `handles=N` entries and a limit of `ports=N` event ports, as the command line repeats them.
#![no_std]
#![no_main]

mod cases;
mod interrupts;
mod page;

use shikiri_rt::{irq, platform, smp};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(interrupts::count);
    interrupts::begin();
    if smp::count() > 1 && smp::start(1, interrupts::listen).is_err() {
        return;
    }
    if platform::has_word("many") {
        case("thousands_of_ports_share_an_interrupt", cases::thousands);
        done()
    }
    case("ports_are_charged_refunded_and_limited", cases::charges);
    case("stale_foreign_and_guessed_handles_are_one_refusal", cases::bad_handles);
    case("an_event_is_an_interrupt", cases::interrupt);
    case("send_tells_whether_it_was_pending", cases::pending);
    case("an_event_is_kept_while_its_interrupt_is_disabled", cases::latched);
    case("poll_clears_the_interrupt_too", cases::poll);
    case("a_bound_interrupt_stays_an_edge", cases::edge);
    case("the_first_route_is_the_callers_and_then_the_guests_own_wins", cases::routes);
    case("a_masked_port_keeps_what_arrives", cases::masked);
    case("an_unbound_port_keeps_what_arrives", cases::unbound);
    case("ports_that_share_an_interrupt_are_told_apart", cases::grouped);
    case("a_closed_receiver_is_an_error_to_its_sender", cases::closed_receiver);
    case("a_closed_sender_leaves_its_receiver_free", cases::closed_sender);
    case("a_closed_port_takes_its_interrupt_back", cases::closed_pending);
    case("what_cannot_be_bound_is_refused", cases::refused_bindings);
    case("what_is_in_use_is_not_connected_again", cases::in_use);
    case("events_to_oneself_are_not_lost_in_a_storm", cases::storm);
    done()
}
