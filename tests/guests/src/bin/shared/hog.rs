//! One partition that takes all memory of the machine.

use shikiri_abi::{AreaClass, Status};
use shikiri_rt::hvc::partition::{self, Resource};
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::hvc::{message, shared};
use shikiri_test_guests::answers::{made, refused};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal, taken};

const MOST: usize = 3000;

pub(crate) fn run() {
    case("an_offer_without_memory_is_refused_and_changes_nothing", no_memory);
    done()
}

fn used() -> Result<[u64; 2], Failure> {
    let line = |resource| made(partition::account(resource)).map(|line| line.used);
    Ok([line(Resource::Memory)?, line(Resource::ManagementMemory)?])
}

/// Makes areas of a class until there is no memory; how many there are now.
fn take_all(
    areas: &mut [Handle; MOST],
    mut count: usize,
    class: AreaClass,
) -> Result<usize, Failure> {
    loop {
        match message::alloc(1 << class.shift(), class) {
            Ok(area) => areas[count] = area.handle,
            refusal => {
                refused("until there is no memory", refusal, Status::NoMemory)?;
                return Ok(count);
            }
        }
        count += 1;
    }
}

fn no_memory() -> Outcome {
    // Two pages: they hang in a table, which an offer copies.
    let offered = made(message::alloc(8192, AreaClass::Block))?;
    let mut areas = [Handle(0); MOST];
    let blocks = take_all(&mut areas, 0, AreaClass::Block)?;
    let all = take_all(&mut areas, blocks, AreaClass::Page)?;
    ensure("blocks and pages", blocks > 10 && all > blocks)?;
    let before = used()?;
    refused("the table's copy", taken::offer(offered.handle, None), Status::NoMemory)?;
    ensure("nothing has changed", used()? == before)?;
    equal("it is as it was", made(message::info(offered.handle))?.pages.0, 2)?;
    refused("it is not offered", shared::withdraw(offered.handle), Status::WrongState)?;
    made(taken::free(areas[all - 1]))?;
    made(taken::offer(offered.handle, None))?;
    made(shared::withdraw(offered.handle))?;
    made(taken::free(offered.handle))?;
    for area in &areas[..all - 1] {
        made(taken::free(*area))?;
    }
    Ok(())
}
