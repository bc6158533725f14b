//! Who ends sides from outside, at random moments while their messages flow, by PARTITION_STOP.

use shikiri_abi::{Resource, Status};
use shikiri_object::Queue;
use shikiri_policy::{Cause, Partition, take_notice};
use shikiri_rt::hvc::look;
use shikiri_rt::{platform, println, reg, timer};
use shikiri_test_guests::points::Side;
use shikiri_test_guests::port::made;
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::{report, reports, told, wait};

/// The longest that messages flow before an end, in microseconds.
const MOST_US: u64 = 2000;
/// PORT_READ: a message port, and a port that is connected.
const MESSAGE_PORT: u64 = 4;
const CONNECTED: u64 = 4;

pub(crate) fn kill() {
    case("a_side_that_is_ended_from_outside_is_told_to_the_other", || {
        let seed = platform::number_of("seed").unwrap_or(1);
        let ends = platform::number_of("ends").unwrap_or(10);
        println!("seed {seed}, {ends} ends");
        let (mut random, reports) = (Random::new(seed), reports()?);
        flows(&reports)?;
        for _ in 0..ends {
            let victim = random.pick(&Side::BOTH);
            timer::spin(random.below(MOST_US));
            end(victim, &reports)?;
            flows(&reports)?;
        }
        Ok(())
    });
    done()
}

fn side(side: Side) -> Result<Partition, Failure> {
    let name = if side == Side::Client { "client" } else { "server" };
    Partition::named(name).ok_or(Failure { what: "no such partition", got: 0, want: 1 })
}

/// The next report: whose, what, and when.
fn next(reports: &Queue) -> Result<[u64; 3], Failure> {
    let mut heard = None;
    wait("no report", || {
        heard = made(reports.try_receive())?;
        Ok(heard.is_some())
    })?;
    heard.ok_or(Failure { what: "none", got: 0, want: 1 })
}

/// Waits until messages flow, as both say.
fn flows(reports: &Queue) -> Outcome {
    let first = next(reports)?;
    let second = next(reports)?;
    ensure("both flow", first[1] == report::FLOWS && second[1] == report::FLOWS)?;
    ensure("each says it", first[0] != second[0])
}

/// Ends a side. When its end is reported nothing of it is left, and nobody is connected to it; the other says that it was told.
fn end(victim: Side, reports: &Queue) -> Outcome {
    let other = if victim == Side::Client { Side::Server } else { Side::Client };
    let partition = side(victim)?;
    let stopped_at = reg::now();
    made(partition.stop())?;
    let mut found = None;
    wait("a notice", || {
        found = made(take_notice())?;
        Ok(found.is_some())
    })?;
    let is_it =
        |end: shikiri_policy::End| end.partition == partition && end.cause == Cause::Stopped;
    ensure("its end is reported", found.is_some_and(is_it))?;
    for resource in Resource::ALL {
        equal("what is used", made(partition.account(resource))?.used, 0)?;
    }
    connected_to_nobody(side(other)?)?;
    let [who, what, told_at] = next(reports)?;
    equal("who was told", who, other as u64)?;
    equal("of an end", what, report::GONE)?;
    told::in_time(stopped_at, told_at)?;
    made(partition.start()).map(|_| ())
}

/// No message port of it has a peer.
fn connected_to_nobody(partition: Partition) -> Outcome {
    let mut from = 0;
    loop {
        let [what, ..] = match look::port(partition.who(), from) {
            Err(refusal) if refusal.status() == Some(Status::Range) => return Ok(()),
            found => made(found)?,
        };
        let (entry, kind, state) = (what & 0xffff, what >> 16 & 0xff, what >> 24 & 0xff);
        ensure("not connected", (kind, state) != (MESSAGE_PORT, CONNECTED))?;
        from = entry as u16 + 1;
    }
}
