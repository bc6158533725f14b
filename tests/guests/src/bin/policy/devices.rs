//! Devices of partitions that have ended, given to partitions that are made at run time: the board's clock, with its alarm.

use shikiri_abi::{Ipa, Resource, Status};
use shikiri_policy::{Cause, Partition, State, image};
use shikiri_rt::heap;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::areas::{RAM, SERVER_BYTES, described, load_tree};
use crate::tools::{ended, made, named, refused, wait_for};

const CLOCK: Ipa = Ipa(0x0901_0000);

pub(crate) fn devices() -> ! {
    case("there_is_a_heap", || ensure("a heap", heap::init(16) > 0));
    case("a_device_is_given_once_and_not_while_its_owner_lives", given);
    case("one_that_is_made_drives_the_clock_that_it_was_given", driven);
    case("its_owner_has_it_back", || {
        let owner = made(named("owner")?.start())?;
        ended(owner, Cause::Off)
    });
    done()
}

/// Leaves the device with one that was created.
pub(crate) fn lent() -> ! {
    case("the_clock_is_given_away", || with_clock("new").map(|_| ()));
    done()
}

fn with_clock(name: &str) -> Result<Partition, Failure> {
    let new = described(name, SERVER_BYTES)?;
    let (address, intid) = made(new.add_device(named("owner")?, 0))?;
    ensure("where it is", address == CLOCK)?;
    equal("its interrupt", intid, 34)?;
    Ok(new)
}

fn given() -> Outcome {
    let (owner, own) = (named("owner")?, named("scos")?);
    let new = described("new", SERVER_BYTES)?;
    refused("its owner lives", new.add_device(own, 0), Status::WrongState)?;
    refused("its owner lives", new.add_kept_device(own, 0), Status::WrongState)?;
    refused("no such device", new.add_device(owner, 1), Status::NotFound)?;
    refused("no such device", new.add_device(owner, 63), Status::NotFound)?;
    refused("no owner", new.add_device(owner, 64), Status::InvalidParameter)?;
    refused("its own", new.add_device(new, 0), Status::InvalidParameter)?;
    refused("not one that is made", own.add_device(owner, 0), Status::WrongState)?;
    // Its memory is there.
    let other = described("other", SERVER_BYTES)?;
    made(other.add_memory(CLOCK, 4096))?;
    refused("something is there", other.add_device(owner, 0), Status::Exists)?;
    made(other.destroy())?;
    made(new.add_device(owner, 0))?;
    refused("twice", new.add_device(owner, 0), Status::Exists)?;
    refused("twice", new.add_kept_device(owner, 0), Status::Exists)?;
    let other = described("other", SERVER_BYTES)?;
    refused("to another", other.add_device(owner, 0), Status::Exists)?;
    refused("its owner is without it", owner.start(), Status::WrongState)?;
    refused("its owner is without it", owner.restart(), Status::WrongState)?;
    made(new.destroy())?;
    made(other.add_kept_device(owner, 0))?;
    // It is charged for it, though it could not use it.
    made(other.set_limit(Resource::Devices, Some(0)))?;
    let life = made(other.start())?;
    ended(life, Cause::NotBuilt)?;
    refused("its owner is without it", owner.start(), Status::WrongState)?;
    made(life.destroy())
}

fn driven() -> Outcome {
    let new = with_clock("driver")?;
    let program = Ipa(RAM + 0x8_0000);
    made(new.add_image(made(image("clock"))?, program))?;
    made(new.set_entry(program, RAM))?;
    made(new.set_console(true))?;
    for _ in 0..2 {
        let life = made(named("driver")?.start_held())?;
        wait_for(life, State::Held)?;
        equal("charged", made(life.account(Resource::Devices))?.used, 1)?;
        load_tree(life, "")?;
        made(life.start())?;
        ended(life, Cause::Off)?;
    }
    made(named("driver")?.destroy())
}
