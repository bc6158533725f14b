//! Two partitions, or three, that connect by control signals. `role=` on the command line says what this one does.
#![no_std]
#![no_main]

mod client;
mod forms;
mod server;
mod tools;

use shikiri_rt::{irq, platform};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(tools::count);
    irq::unmask();
    match platform::value_of("role") {
        Some("server") => server::serve(),
        Some("listener") => server::listen(),
        Some("asker") => client::ask_others(),
        Some("turns") => server::turns(),
        Some("queue") => client::queue(),
        Some("churn") => client::churn(),
        Some("flood") => client::flood(),
        Some("flooded") => server::flooded(),
        Some("echo") => server::echo(),
        Some("calls") => client::calls(),
        _ => client(),
    }
}

fn client() {
    if platform::has_word("ends") {
        case("a_peer_that_ends_is_told_at_every_state", client::ends);
        case("who_waits_for_an_answer_in_any_form_is_told_of_the_peers_end", forms::ends);
        done()
    }
    case("only_who_is_permitted_is_asked", client::permitted);
    case("a_request_is_accepted_and_events_arrive", client::accepted);
    case("a_request_is_refused_and_can_be_made_again", client::refused);
    case("a_sender_over_its_limit_is_refused_and_refunded", client::limited);
    case("a_request_is_withdrawn_by_closing_its_port", client::withdrawn);
    case("a_receiver_that_closes_is_an_error_to_its_sender", client::closed);
    case("events_go_both_ways_a_thousand_times", client::ping_pong);
    case("an_event_is_waited_for_in_every_form", forms::awaited);
    case("event_connections_are_asked_for_in_every_form", forms::asked);
    case("requests_for_events_are_waited_for_in_every_form", forms::taken);
    case("who_is_told_of_requests_is_not_deafened_by_a_second_one", forms::one_at_a_time);
    case("a_request_for_a_channel_is_no_request_for_events", client::channel_refused);
    done()
}
