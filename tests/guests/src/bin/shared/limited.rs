//! One partition with limits of memory and of management memory, both of which it uses up.

use shikiri_abi::{AreaClass, PageCount, Resource, Status};
use shikiri_rt::hvc::{message, shared, talk};
use shikiri_test_guests::answers::{Tables, lines, made, over_limit, refused, take_memory};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal, taken};

pub(crate) fn run() -> ! {
    case("an_offer_over_the_limit_is_refused_and_changes_nothing", offers);
    case("an_attachment_over_the_limit_is_refused_and_changes_nothing", attachments);
    done()
}

/// An area of two pages hangs in a table, which an offer copies.
fn offers() -> Outcome {
    let before = lines()?.map(|(used, _)| used);
    let mut tables = Tables::take_all()?;
    let area = tables.first();
    over_limit("the table's copy", || taken::offer(area, None), Resource::ManagementMemory)?;
    equal("it is as it was", made(message::info(area))?.pages.0, 2)?;
    refused("it is not offered", shared::withdraw(area), Status::WrongState)?;
    tables.free_one()?;
    made(taken::offer(area, None))?;
    made(shared::withdraw(area))?;
    tables.free()?;
    ensure("all is refunded", lines()?.map(|(used, _)| used) == before)
}

/// An attachment pays for all that it has room for, before it asks.
fn attachments() -> Outcome {
    let before = lines()?.map(|(used, _)| used);
    let events = made(talk::create_receive())?;
    let all = take_memory()?;
    let create = || shared::create(events, PageCount(1), AreaClass::Page);
    over_limit("a page", create, Resource::Memory)?;
    made(taken::trim(all.handle, (all.pages.0 - 1) << 12))?;
    let place = made(create())?;
    made(taken::detach(place.handle))?;
    made(taken::free(all.handle))?;
    // The same of the tables that it may need.
    let mut tables = Tables::take_all()?;
    let create = || shared::create(events, PageCount(2), AreaClass::Block);
    over_limit("a table", create, Resource::ManagementMemory)?;
    tables.free_one()?;
    tables.free_one()?;
    let place = made(create())?;
    made(taken::detach(place.handle))?;
    tables.free()?;
    made(talk::close(events))?;
    ensure("all is refunded", lines()?.map(|(used, _)| used) == before)
}
