//! Partitions that are asked for numbers, in each of the three ways, and partitions that ask: for which of them they get through is the
//! description's to say. `role=server` on the command line is one that is asked, `offers=` has a bit for each number that may come to
//! it. Any other asks `server=`, where those with a bit in `open=` get through, and then perhaps `server2=` with `open2=`.
#![no_std]
#![no_main]

use shikiri_abi::{PageCount, PartitionId, Status};
use shikiri_rt::hvc::message::{self, AreaClass};
use shikiri_rt::hvc::partition::{self, Refusal};
use shikiri_rt::hvc::shared;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::{irq, platform, reg};
use shikiri_test_guests::answers::{made, refused, wait};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, case, done};

shikiri_rt::entry!(main);

/// The numbers that a mask tells of, beside the largest.
const NUMBERS: u32 = 10;
/// The one for which the server ends: it starts again.
const END: u32 = 9;
/// The interrupts of the asking ports; they are not enabled.
const EVENTS: u32 = 64;

fn main() {
    irq::unmask();
    if platform::value_of("role") == Some("server") {
        if let Err(failure) = serve() {
            fail("server", &failure);
        }
        return;
    }
    match ways() {
        Ok(ways) => ask(&ways),
        Err(failure) => fail("ports", &failure),
    }
    done()
}

fn ask(ways: &[Way; 3]) {
    let (server, open) = (mask("server") as u8, mask("open"));
    case("each_number_gets_through_or_not_as_the_description_says", || ask_all(ways, server, open));
    if platform::has_word("ends") {
        case("a_server_that_has_started_again_is_asked_for_the_same", || ends(ways, server, open));
    }
    if let Some(server) = platform::number_of("server2") {
        case("one_without_services_is_asked_for_every_number", || {
            ask_all(ways, server as u8, mask("open2"))
        });
    }
}

fn mask(key: &str) -> u64 {
    platform::number_of(key).unwrap_or(0)
}

/// Refuses whatever comes; what should not have come is a failure.
fn serve() -> Outcome {
    let offers = mask("offers");
    loop {
        match talk::take_signal() {
            // Its asker is told by the end.
            Ok(signal) if signal.service == END => return made(Err(partition::end(1))),
            Ok(signal) => {
                if !has(offers, signal.service) {
                    let (got, want) = (u64::from(signal.service), offers);
                    return Err(Failure { what: "the number of a request", got, want });
                }
                made(talk::refuse(signal.request))?;
            }
            Err(_) => reg::yield_now(),
        }
    }
}

/// Bit 10 is the largest number's.
fn has(mask: u64, number: u32) -> bool {
    let bit = if number == u32::MAX { NUMBERS } else { number };
    bit <= NUMBERS && mask >> bit & 1 == 1
}

/// One of the three ways to ask, with a port of its kind.
struct Way {
    what: &'static str,
    port: Handle,
    ask: fn(Handle, u8, u32, u64) -> Result<(), Refusal>,
    /// Answers REFUSED when the request was refused.
    state: fn(Handle) -> Result<(), Refusal>,
}

fn ways() -> Result<[Way; 3], Failure> {
    let events = |intid| {
        let port = made(talk::create_receive())?;
        made(talk::bind(port, intid, 0, Sharing::Alone)).map(|()| port)
    };
    let event = made(talk::create_send())?;
    let channel = made(message::create(events(EVENTS)?, 0, AreaClass::Page))?;
    let attachment = made(shared::create(events(EVENTS + 1)?, PageCount(1), AreaClass::Page))?;
    let event_state = |port| talk::state(port).map(|_| ());
    let share_state = |port| shared::state(port).map(|_| ());
    Ok([
        Way { what: "an event", port: event, ask: talk::ask, state: event_state },
        Way {
            what: "a channel",
            port: channel.handle,
            ask: message::connect,
            state: message::notify,
        },
        Way {
            what: "a shared area",
            port: attachment.handle,
            ask: shared::connect,
            state: share_state,
        },
    ])
}

/// Asks a server for each number in each way. One that is not open gets the same answer whether the server lives or not.
fn ask_all(ways: &[Way; 3], server: u8, open: u64) -> Outcome {
    lives(server, None)?;
    for number in (0..NUMBERS).filter(|number| *number != END).chain([u32::MAX]) {
        for way in ways {
            if has(open, number) {
                wait(way.what, || gets_through(way, server, number))?;
            } else {
                let asked = (way.ask)(way.port, server, number, 0);
                refused(way.what, asked, Status::NotPermitted)?;
            }
        }
    }
    Ok(())
}

/// Whether the server has refused a request itself; not if it has ended meanwhile.
fn gets_through(way: &Way, server: u8, number: u32) -> Result<bool, Failure> {
    match (way.ask)(way.port, server, number, 0) {
        Err(refusal) if refusal.status() == Some(Status::PeerGone) => return Ok(false),
        asked => made(asked)?,
    }
    let mut answer = None;
    wait(way.what, || {
        answer = (way.state)(way.port).err().and_then(|refusal| refusal.status());
        Ok(matches!(answer, Some(Status::Refused | Status::PeerGone)))
    })?;
    Ok(answer == Some(Status::Refused))
}

/// Waits until the server lives, and may be asked, in a life after `last`.
fn lives(server: u8, last: Option<PartitionId>) -> Result<PartitionId, Failure> {
    let mut id = None;
    wait("the server lives", || {
        id = talk::peer(server).ok().filter(|peer| peer.may_be_asked).and_then(|peer| peer.id);
        Ok(id.is_some() && id != last)
    })?;
    id.ok_or(Failure { what: "the server lives", got: 0, want: 1 })
}

/// Three lives of the server, each of which is asked to end.
fn ends(ways: &[Way; 3], server: u8, open: u64) -> Outcome {
    for _ in 0..3 {
        let last = lives(server, None)?;
        let port = made(talk::create_send())?;
        made(talk::ask(port, server, END, 0))?;
        lives(server, Some(last))?;
        made(talk::close(port))?;
        ask_all(ways, server, open)?;
    }
    Ok(())
}
