//! Two partitions that meet at `event`, `lock`, `inside`, `to-left` and `to-right`.

use shikiri_object::{Event, Queue, Semaphore, Ticks, Waiting};
use shikiri_rt::{platform, power, println, reg};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{FIRST, made, refused, waiting};

/// What goes first in each message.
mod word {
    pub(crate) const READY: u64 = 1;
    pub(crate) const SEEN: u64 = 2;
    pub(crate) const NUMBER: u64 = 3;
    pub(crate) const OUT: u64 = 4;
}

const DEPTH: u8 = 4;

/// The two queues: what comes to this partition, and what goes to the other.
struct Line {
    incoming: Waiting<Queue>,
    outgoing: Waiting<Queue>,
}

impl Line {
    fn new(own: &str, other: &str) -> Result<Self, Failure> {
        Ok(Self {
            incoming: waiting(Queue::open(own, DEPTH), FIRST)?,
            outgoing: waiting(Queue::open(other, DEPTH), FIRST + 1)?,
        })
    }

    fn send(&self, word: u64, value: u64) -> Outcome {
        made(self.outgoing.send([word, value, !value]))
    }

    fn expect(&self, want: u64) -> Result<u64, Failure> {
        let [word, value, check] = made(self.incoming.receive())?;
        equal("message", word, want)?;
        equal("its words", check, !value)?;
        Ok(value)
    }
}

fn rounds() -> u64 {
    platform::number_of("rounds").unwrap_or(100)
}

pub(crate) fn left() {
    let line = match Line::new("to-left", "to-right") {
        Ok(line) => line,
        Err(failure) => {
            fail("left", &failure);
            done()
        }
    };
    case("an_event_is_seen_by_each_partition", || events(&line));
    case("messages_arrive_complete_and_in_order", || messages(&line));
    case("a_message_and_its_answer", || answers(&line));
    case("a_lock_is_held_by_one_at_a_time", || locks(&line));
    case("a_timed_wait_is_served_in_time", || timed(&line));
    drop(line);
    done()
}

pub(crate) fn right() {
    let running = || -> Outcome {
        let line = Line::new("to-right", "to-left")?;
        events_there(&line)?;
        messages_there(&line)?;
        answers_there(&line)?;
        locks(&line)?;
        timed_there(&line)
    };
    match running() {
        Ok(()) => println!("ok right"),
        Err(failure) => fail("right", &failure),
    }
    power::off()
}

fn events(line: &Line) -> Outcome {
    let event = waiting(Event::open("event"), FIRST + 2)?;
    for round in 0..20 {
        line.expect(word::READY)?;
        made(event.post())?;
        made(event.wait())?;
        ensure("once", !made(event.try_wait())?)?;
        equal("round", line.expect(word::SEEN)?, round)?;
    }
    Ok(())
}

fn events_there(line: &Line) -> Outcome {
    let event = waiting(Event::open("event"), FIRST + 2)?;
    for round in 0..20 {
        ensure("not yet", !made(event.try_wait())?)?;
        line.send(word::READY, round)?;
        made(event.wait())?;
        line.send(word::SEEN, round)?;
    }
    Ok(())
}

fn messages(line: &Line) -> Outcome {
    for number in 0..rounds() * 4 {
        line.send(word::NUMBER, number)?;
    }
    line.expect(word::OUT).map(|_| ())
}

fn messages_there(line: &Line) -> Outcome {
    for number in 0..rounds() * 4 {
        equal("in order", line.expect(word::NUMBER)?, number)?;
    }
    line.send(word::OUT, 0)
}

fn answers(line: &Line) -> Outcome {
    for number in 0..rounds() {
        line.send(word::NUMBER, number)?;
        equal("the answer", line.expect(word::NUMBER)?, number + 1)?;
    }
    Ok(())
}

fn answers_there(line: &Line) -> Outcome {
    for _ in 0..rounds() {
        let number = line.expect(word::NUMBER)?;
        line.send(word::NUMBER, number + 1)?;
    }
    Ok(())
}

/// Both do the same: whoever is inside finds a place free that has room for one.
fn locks(line: &Line) -> Outcome {
    let lock = waiting(Semaphore::open("lock", 1, 1), FIRST + 2)?;
    let inside = made(Queue::open("inside", 1))?;
    refused("another lock", Semaphore::open("lock", 1, 2), (shikiri_abi::Status::Exists, 0))?;
    let own = reg::now();
    for round in 0..rounds() {
        let unit = made(lock.take())?;
        ensure("nobody has gone", unit.lost.is_none())?;
        ensure("nobody is inside", made(inside.try_send([own, round, 0]))?)?;
        for _ in 0..round % 8 {
            reg::yield_now();
        }
        ensure("nobody came in", made(inside.try_receive())? == Some([own, round, 0]))?;
        drop(unit);
    }
    line.send(word::OUT, 0)?;
    line.expect(word::OUT).map(|_| ())
}

fn timed(line: &Line) -> Outcome {
    for number in 0..20 {
        let answer = made(line.incoming.receive_until(Ticks::from_now_us(60_000_000)))?;
        let [_, value, _] = answer.ok_or(Failure { what: "in time", got: 0, want: 1 })?;
        equal("number", value, number)?;
    }
    ensure("no more", made(line.incoming.receive_until(Ticks::from_now_us(1_000)))?.is_none())
}

fn timed_there(line: &Line) -> Outcome {
    for number in 0..20 {
        let sent =
            line.outgoing.send_until([word::NUMBER, number, 0], Ticks::from_now_us(60_000_000));
        ensure("in time", made(sent)?)?;
    }
    Ok(())
}
