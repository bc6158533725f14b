//! Named objects, within a partition and between several. `role=` on the command line says what this one does; without one
//! every call and every refusal of V4 is looked at from inside.
#![no_std]
#![no_main]

mod alone;
mod elsewhere;
mod holder;
mod pair;
mod restless;
mod tools;

use shikiri_rt::{irq, platform, smp};
use shikiri_test_guests::{case, done};

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(tools::count);
    irq::unmask();
    match platform::value_of("role") {
        Some("left") => pair::left(),
        Some("right") => pair::right(),
        Some("holder") => holder::hold(),
        Some("waiter") => holder::wait(),
        Some("churn") => restless::churn(),
        Some("flood") => restless::flood(),
        Some("flooded") => restless::flooded(),
        _ => alone(),
    }
}

fn alone() {
    if platform::has_word("limited") {
        case("an_object_over_the_limit_is_refused_and_changes_nothing", alone::limited);
        done()
    }
    case("a_name_is_opened_by_whom_it_permits", alone::permitted);
    case("arguments_out_of_range_are_named", alone::arguments);
    case("a_name_is_read_from_the_partitions_own_memory_only", alone::addresses);
    case("another_kind_or_another_parameter_is_refused", alone::kinds);
    case("an_entry_has_so_many_objects", alone::full);
    case("an_object_is_charged_once_and_refunded", alone::charges);
    case("an_object_is_opened_and_closed_by_count", alone::counted);
    case("stale_foreign_and_guessed_handles_are_one_refusal", alone::bad_handles);
    case("an_event_is_seen_once", alone::event);
    case("a_semaphore_has_its_units_and_no_more", alone::semaphore);
    case("a_counter_counts_up_to_its_maximum", alone::counter);
    case("a_queue_keeps_messages_in_order_up_to_its_depth", alone::queue);
    case("who_waits_is_told_by_an_interrupt", alone::told);
    case("a_port_serves_one_object", alone::ports);
    case("a_wait_ends_at_its_deadline", alone::deadlines);
    case("a_task_is_woken_by_what_it_waits_for", alone::tasks);
    if smp::count() > 1 {
        case("who_waits_on_another_vcpu_sees_it", elsewhere::waits);
    }
    done()
}
