//! The one who is asked.

use shikiri_channel::Listener;
use shikiri_rt::event::{self, Answer, Asking, Bound, Request, SendPort, Sender};
use shikiri_rt::hvc::partition;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::sleep::Ticks;
use shikiri_rt::{gic, irq, platform, power, println, reg, timer};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{EVENT, NOTICE, came, joined, made, notice, port, service, soon};

const MOST: usize = 8;

/// A connection and what it is for.
struct Served {
    port: Bound,
    service: u32,
    seen: u64,
    back: Back,
}

/// The connection to the client.
enum Back {
    None,
    Asked(Asking),
    Connected(Sender),
}

/// Serves for ever.
pub(crate) fn serve() {
    if let Err(failure) = serving() {
        fail("server", &failure);
    }
}

fn serving() -> Outcome {
    let _notice = notice()?;
    let mut served = [const { None }; MOST];
    let mut kept = [const { None }; MOST];
    let mut sleeps = false;
    loop {
        let (notices, events) = (came(NOTICE), all_events());
        while !sleeps && let Some(request) = made(event::take_request())? {
            sleeps = answer(request, &mut served, &mut kept)?;
        }
        let slept = sleeps;
        for place in &mut served {
            let is_closed = place.as_mut().is_some_and(tend);
            if is_closed {
                *place = None;
                sleeps = false;
            }
        }
        let has_open = served.iter().flatten().any(|it: &Served| matches!(it.back, Back::Asked(_)));
        if !has_open && slept == sleeps {
            irq::wait_until(|| came(NOTICE) != notices || all_events() != events);
        }
    }
}

fn all_events() -> u64 {
    (EVENT..).take(MOST).map(came).sum()
}

/// Does what the service says; whether to sleep.
fn answer(
    request: Request,
    served: &mut [Option<Served>; MOST],
    kept: &mut [Option<Request>; MOST],
) -> Result<bool, Failure> {
    let service = request.service;
    match service {
        service::ECHO | service::CLOSE => accept(request, served)?,
        service::KEEP => {
            // As many as there are places; the oldest goes, refused.
            kept.rotate_right(1);
            kept[0] = Some(request);
        }
        service::END => {
            let _refused = partition::end(1);
        }
        service::SLEEP => return Ok(true),
        _ => request.refuse(),
    }
    Ok(false)
}

fn accept(request: Request, served: &mut [Option<Served>; MOST]) -> Outcome {
    // A client that has closed or ended has left its place.
    let free = served.iter().position(Option::is_none).unwrap_or(0);
    served[free] = None;
    let intid = EVENT + free as u32;
    let (service, word) = (request.service, request.word);
    let port = port(intid)?;
    let seen = came(intid);
    if request.accept(&port).is_err() {
        return Ok(());
    }
    let client = platform::number_of("client").unwrap_or(1) as u8;
    let back = if service == service::ECHO && platform::value_of("back") != Some("no") {
        made(SendPort::new())?.ask(client, service::BACK, word).map_or(Back::None, Back::Asked)
    } else {
        Back::None
    };
    served[free] = Some(Served { port, service, seen, back });
    Ok(())
}

/// Looks after a connection; whether to close it.
fn tend(served: &mut Served) -> bool {
    served.back = match core::mem::replace(&mut served.back, Back::None) {
        Back::Asked(asking) => match asking.answer() {
            Answer::Open(open) => Back::Asked(open),
            Answer::Connected(sender) => Back::Connected(sender),
            Answer::NotConnected(..) => Back::None,
        },
        other => other,
    };
    let events = came(served.port.intid());
    if events == served.seen {
        return false;
    }
    // Events that came before the way back was there are echoed when it is.
    match &served.back {
        Back::Connected(sender) => {
            served.seen = events;
            sender.send().is_err()
        }
        Back::Asked(_) => false,
        Back::None => served.service == service::CLOSE,
    }
}

/// Lets two clients queue their requests, then takes them: in order for each, the clients in turn.
pub(crate) fn turns() {
    let taken = || -> Outcome {
        let _notice = notice()?;
        let mut ready = [const { None }; 2];
        // Both before either is accepted: from then on it queues what is to be taken in turn.
        let requests = [next()?, next()?];
        for ((place, intid), request) in ready.iter_mut().zip(EVENT..).zip(requests) {
            equal("service", u64::from(request.service), u64::from(service::ECHO))?;
            let port = port(intid)?;
            let from = request.from;
            joined(request.accept(&port))?;
            *place = Some((port, from));
        }
        for intid in [EVENT, EVENT + 1] {
            soon("a client is ready", || came(intid) > 0)?;
        }
        let (long, short) = (counts("long"), counts("short"));
        let mut words = [0_u64; 2];
        let mut last = usize::MAX;
        for _ in 0..long + short {
            let request = next()?;
            let from = |place: &Option<(Bound, _)>| {
                place.as_ref().is_some_and(|(_, from)| *from == request.from)
            };
            let who = ready.iter().position(from).unwrap_or(usize::MAX);
            ensure("a client", who < 2)?;
            words[who] += 1;
            equal("in order", request.word, words[who])?;
            // In turn, as long as both have something.
            let others = words[1 - who];
            let is_alone = others == long || others == short && words[who] > short;
            ensure("in turn", last != who || is_alone)?;
            last = who;
        }
        Ok(())
    };
    match taken() {
        Ok(()) => println!("ok senders_take_turns"),
        Err(failure) => fail("turns", &failure),
    }
    println!("done");
    power::off()
}

fn counts(key: &str) -> u64 {
    platform::number_of(key).unwrap_or(0)
}

/// The next request.
fn next() -> Result<Request, Failure> {
    let end = reg::now() + timer::ticks(60_000_000);
    loop {
        if let Some(request) = made(event::take_request())? {
            return Ok(request);
        }
        if reg::now() > end {
            return Err(Failure { what: "no request", got: 0, want: 1 });
        }
        reg::yield_now();
    }
}

/// Is flooded with events, and goes on with its own work: some rounds of counting.
pub(crate) fn flooded() {
    let working = || -> Outcome {
        let _notice = notice()?;
        let port = port(EVENT)?;
        joined(next()?.accept(&port))?;
        for round in 1..=5_u64 {
            let end = reg::now() + timer::ticks(20_000);
            while reg::now() < end {
                reg::yield_now();
            }
            println!("ok round {round}, {} events", came(EVENT));
        }
        ensure("events came", came(EVENT) > 0)
    };
    if let Err(failure) = working() {
        fail("flooded", &failure);
    }
    println!("done");
    power::off()
}

/// Answers the description's event with another one, some times, and ends.
pub(crate) fn echo() {
    let intid = crate::client::fixed_intid();
    gic::enable(intid);
    for count in 0..20 {
        irq::wait_until(|| came(intid) > count);
        let _was_pending = talk::send(Handle(1 << 16 | 1));
    }
    let _refused = partition::end(1);
}

/// Looks for requests for channels, of which there is one behind many for events.
pub(crate) fn listen() {
    case("a_look_for_a_request_refuses_so_many_others_at_most", || {
        let listener = made(Listener::new(NOTICE))?;
        let ready = port(EVENT)?;
        let first = Request::of(made(listener.signal())?);
        joined(first.map_err(|_| ASKED)?.accept(&ready))?;
        soon("all wait", || came(EVENT) > 0)?;
        ensure("none of the first", made(listener.try_next())?.is_none())?;
        ensure("none in time", made(listener.next_until(Ticks(0)))?.is_none())?;
        let more = made(listener.try_signal())?.ok_or(ASKED)?;
        drop(Request::of(more).map_err(|_| ASKED)?);
        // More than one look's worth is before it: nobody tells of what has waited all the time.
        let found = made(listener.next_until(Ticks::from_now_us(10_000_000)))?;
        equal("its word", found.map_or(0, |request| request.word), 77)
    });
    done()
}

const ASKED: Failure = Failure { what: "a request for an event", got: 0, want: 1 };
