//! A guest sends a program, and it runs in a partition that is made: from the area of the kernel's form into that partition's memory, without
//! a copy here (C8b, V9).

use std::fs::{File, OpenOptions};
use std::io::Error;

use shikiri_machine::{
    Act, Cause, Cores, FLAT_AT, Machine, NewPartition, NewVcpu, Partition, Phase, Region, Status,
    Time,
};
use shikiri_scos_programs::partitions;
use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, KERNEL, Message, Socket, load};

use crate::{IMAGE, Outcome, SERVICE, come, end, number, tell};

/// Bytes of the area.
const PAGE: u64 = 4096;
/// The code with which the program ends.
const CODE: u32 = 0x5eed;

pub(crate) fn check() -> Outcome {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(SERVICE))?;
    listener.listen(1)?;
    let (guest, _) = listener.accept(0)?;
    guest.set_form(KERNEL)?;
    tell(&guest, IMAGE)?;
    let message = come(&guest)?;
    holds(
        "it is the kernel's",
        message.area != 0 && message.address == 0 && message.name.is_empty(),
    );
    let device = OpenOptions::new().read(true).write(true).open("/dev/shikiri")?;
    let mut machine = shikiri_machine::open();
    let held = held(machine.as_mut())?;
    refusals(&device, held.id.encode(), &message)?;
    let words = message.bytes.next_multiple_of(8);
    let loaded = load(&device, held.id.encode(), FLAT_AT, (message.area, 0, words))?;
    equal("loaded", loaded, (0, words));
    machine.act(held.id, Act::Start).map_err(Error::other)?;
    let ended = until(machine.as_mut(), |it| it.phase == Phase::Ended)?;
    equal("it has run", ended.cause, Some(Cause::Code(CODE)));
    machine.act(ended.id, Act::Destroy).map_err(Error::other)?;
    // It is here still, until it goes.
    guest.discard(&message)?;
    let again = load(&device, held.id.encode(), FLAT_AT, (message.area, 0, 8));
    equal("discarded", number(again), Some(libc::EINVAL));
    end(&guest)
}

/// A partition that waits to be loaded; its image would run for ever.
fn held(machine: &mut dyn Machine) -> Result<Partition, Error> {
    let time = Time::Reservation { budget_us: 1000, period_us: 10_000 };
    let new = NewPartition {
        name: "loaded".to_owned(),
        vcpus: vec![NewVcpu { cores: Cores(4), time, priority: 0 }],
        memory: vec![Region::first(2 << 20)],
        image: "timer".to_owned(),
        cmdline: Some("ticks=1000000".to_owned()),
        ..NewPartition::default()
    };
    let id = machine.create(&new).map_err(Error::other)?;
    machine.act(id, Act::Start).map_err(Error::other)?;
    until(machine, |it| it.phase == Phase::Held)
}

/// The partition, when this holds of it.
fn until(
    machine: &mut dyn Machine,
    is_so: impl Fn(&Partition) -> bool,
) -> Result<Partition, Error> {
    partitions::when(machine, |machine| {
        let partitions = machine.partitions().map_err(Error::other)?;
        Ok(partitions.into_iter().find(|it| it.name == "loaded" && is_so(it)))
    })
}

fn refusals(device: &File, held: u64, message: &Message) -> Outcome {
    let area = message.area;
    for unknown in [0, area + 1, u64::MAX] {
        let answer = load(device, held, FLAT_AT, (unknown, 0, 8));
        equal("no such area", number(answer), Some(libc::EINVAL));
    }
    for behind in [PAGE + 8, 1 << 39, u64::MAX - 7] {
        let answer = load(device, held, FLAT_AT, (area, behind, 8));
        equal("an offset behind it", number(answer), Some(libc::EINVAL));
    }
    equal("nothing at its end", load(device, held, FLAT_AT, (area, PAGE, 8))?.1, 0);
    let all = load(device, held, FLAT_AT + PAGE, (area, PAGE - 8, u64::MAX - 7))?;
    equal("no further than it goes", all, (0, 8));
    let (status, _) = load(device, held, PAGE, (area, 0, 8))?;
    equal("not the partition's memory", status.cast_signed(), Status::Range.code());
    Ok(())
}
