//! The one who asks.

use shikiri_rt::event::{self, Answer, Asking, NotConnected, Receiving as _, SendPort, Sender};
use shikiri_rt::hvc::message::{self, AreaClass};
use shikiri_rt::hvc::partition::{self, Refusal, Resource};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::{gic, platform, power, println, reg, timer};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use shikiri_abi::{PartitionId, Rights, Status};

use crate::tools::{
    EVENT, NOTICE, came, joined, made, notice, port, refused as is_refused, service, soon,
};

/// The server's number.
pub(crate) fn server() -> u8 {
    platform::number_of("server").unwrap_or(0) as u8
}

/// Asks the server.
pub(crate) fn ask(service: u32, word: u64) -> Result<Asking, Failure> {
    asked(made(SendPort::new())?.ask(server(), service, word))
}

/// What must not be refused at once.
fn asked(result: Result<Asking, (SendPort, NotConnected)>) -> Result<Asking, Failure> {
    result.map_err(|(_, why)| Failure { what: "asked", got: refusal(why).code as u64, want: 0 })
}

/// Why it could not be asked for.
fn refusal(why: NotConnected) -> Refusal {
    match why {
        NotConnected::NotAsked(refusal) => refusal,
        NotConnected::Refused => Refusal { code: Status::Refused.code(), which: 0 },
        NotConnected::PeerGone => Refusal { code: Status::PeerGone.code(), which: 0 },
    }
}

/// Waits for the answer, which is told at the notification port.
fn answer(asking: Asking) -> Result<Answer, Failure> {
    let end = reg::now() + timer::ticks(60_000_000);
    let mut asking = asking;
    loop {
        match asking.answer() {
            Answer::Open(open) if reg::now() < end => asking = open,
            Answer::Open(_) => return Err(Failure { what: "no answer", got: 0, want: 1 }),
            answer => return Ok(answer),
        }
        reg::yield_now();
    }
}

fn connected(asking: Asking) -> Result<Sender, Failure> {
    match answer(asking)? {
        Answer::Connected(sender) => Ok(sender),
        Answer::Open(_) | Answer::NotConnected(..) => {
            Err(Failure { what: "accepted", got: 0, want: 1 })
        }
    }
}

fn was_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::NotConnected(_, NotConnected::Refused))
}

fn is_gone(answer: &Answer) -> bool {
    matches!(answer, Answer::NotConnected(_, NotConnected::PeerGone))
}

fn used() -> Result<u64, Failure> {
    made(partition::account(Resource::EventPorts)).map(|line| line.used)
}

pub(crate) fn permitted() -> Outcome {
    soon("the server lives", || talk::peer(server()).is_ok_and(|peer| peer.id.is_some()))?;
    let peer = made(talk::peer(server()))?;
    ensure("may be asked", peer.may_be_asked)?;
    let name = made(talk::peer_name(server()))?;
    ensure("its name", name.starts_with(b"server\0"))?;
    for number in (0..=u8::MAX).filter(|number| *number != server()) {
        let port = made(SendPort::new())?;
        let asked = port.ask(number, service::ECHO, 0).map_err(|(_, why)| refusal(why));
        is_refused("ask", asked, Status::NotPermitted)?;
        is_refused("peer", talk::peer(number), Status::NotPermitted)?;
        is_refused("its name", talk::peer_name(number), Status::NotPermitted)?;
    }
    equal("nothing is left", used()?, 0)
}

pub(crate) fn accepted() -> Outcome {
    let _notice = notice()?;
    let told = came(NOTICE);
    let sender = connected(ask(service::ECHO, 0xfeed_f00d_dead_beef)?)?;
    soon("told of the answer", || came(NOTICE) > told)?;
    // The server asks back.
    let back = port(EVENT)?;
    let request = taken()?;
    equal("service", u64::from(request.service), u64::from(service::BACK))?;
    equal("the word came back", request.word, 0xfeed_f00d_dead_beef)?;
    let peer = made(talk::peer(server()))?;
    equal("who", u64::from(request.from.0), u64::from(peer.id.map_or(0, |id| id.0)))?;
    joined(request.accept(&back))?;
    let before = came(EVENT);
    for count in 1..=10 {
        made(sender.send())?;
        soon("the echo", || came(EVENT) >= before + count)?;
    }
    drop((sender, back));
    Ok(())
}

/// The next request.
fn taken() -> Result<event::Request, Failure> {
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

/// The server takes requests for events only, and would keep this one; what asks for something else the library refuses.
pub(crate) fn channel_refused() -> Outcome {
    let _notice = notice()?;
    let events = port(EVENT)?;
    let channel = made(message::create(events.handle(), 0, AreaClass::Page))?;
    made(message::connect(channel.handle, server(), service::KEEP, 0))?;
    let state = || message::notify(channel.handle).err().and_then(|refusal| refusal.status());
    soon("refused", || state() == Some(Status::Refused))?;
    made(shikiri_test_guests::taken::close(channel.handle))
}

pub(crate) fn ping_pong() -> Outcome {
    let _notice = notice()?;
    let sender = connected(ask(service::ECHO, 1)?)?;
    let back = port(EVENT)?;
    joined(taken()?.accept(&back))?;
    let before = came(EVENT);
    for count in 1..=1000 {
        made(sender.send())?;
        soon("the echo", || came(EVENT) >= before + count)?;
    }
    equal("as many as were sent", came(EVENT), before + 1000)
}

pub(crate) fn refused() -> Outcome {
    let _notice = notice()?;
    let mut port = made(SendPort::new())?;
    for _ in 0..3 {
        let told = came(NOTICE);
        port = match answer(asked(port.ask(server(), service::REFUSE, 7))?)? {
            Answer::NotConnected(port, NotConnected::Refused) => port,
            Answer::Open(_) | Answer::Connected(_) | Answer::NotConnected(..) => {
                return Err(Failure { what: "refused", got: 0, want: 1 });
            }
        };
        soon("told", || came(NOTICE) > told)?;
    }
    Ok(())
}

/// The server sleeps, so that requests wait.
pub(crate) fn limited() -> Outcome {
    let waker = connected(ask(service::CLOSE, 0)?)?;
    sleep()?;
    let most = platform::number_of("requests").unwrap_or(0) as usize;
    let mut kept = [const { None }; 16];
    for place in kept.iter_mut().take(most) {
        *place = Some(ask(service::REFUSE, 0)?);
    }
    let late = made(SendPort::new())?.ask(server(), service::REFUSE, 0);
    let (late, why) = late.err().ok_or(Failure { what: "over", got: 0, want: 1 })?;
    let refusal = refusal(why);
    equal("over the limit", refusal.code as u64, Status::OverLimit.code() as u64)?;
    equal("of", refusal.which, u64::from(Resource::ManagementMemory.number()))?;
    // One that is withdrawn makes room for another.
    kept[0] = None;
    let late = asked(late.ask(server(), service::REFUSE, 0))?;
    made(waker.send())?;
    for asking in kept.into_iter().flatten().chain([late]) {
        ensure("refused", was_refused(&answer(asking)?))?;
    }
    let _all_is_back = ask(service::REFUSE, 0)?;
    Ok(())
}

/// Has the server take nothing more, until the event of an earlier connection.
pub(crate) fn sleep() -> Outcome {
    let asking = ask(service::SLEEP, 0)?;
    ensure("it sleeps", was_refused(&answer(asking)?))
}

pub(crate) fn withdrawn() -> Outcome {
    for _ in 0..20 {
        // Before it is taken, or after: the server is told, or never sees it.
        drop(ask(service::KEEP, 0)?);
    }
    equal("nothing is left", used()?, 0)?;
    ensure("the server goes on", was_refused(&answer(ask(service::REFUSE, 0)?)?))
}

pub(crate) fn closed() -> Outcome {
    let sender = connected(ask(service::CLOSE, 0)?)?;
    made(sender.send())?;
    soon("gone", || sender.send().is_err_and(|refusal| refusal.status() == Some(Status::PeerGone)))
}

/// Waits for a life of the server's that is another than this one.
pub(crate) fn wait_for_life(last: Option<PartitionId>) -> Result<Option<PartitionId>, Failure> {
    soon("the server lives", || {
        talk::peer(server()).is_ok_and(|peer| peer.id.is_some() && peer.id != last)
    })?;
    Ok(made(talk::peer(server()))?.id)
}

/// One request waits, one is taken, one is accepted: then the server ends, and starts again.
pub(crate) fn ends() -> Outcome {
    let rounds = platform::number_of("rounds").unwrap_or(3);
    let _notice = notice()?;
    let mut last = None;
    for _ in 0..rounds {
        last = wait_for_life(last)?;
        let waker = connected(ask(service::CLOSE, 0)?)?;
        // The server asks back, and is not answered.
        let connected = connected(ask(service::ECHO, 0)?)?;
        let kept = ask(service::KEEP, 0)?;
        sleep()?;
        let end = ask(service::END, 0)?;
        let waiting = ask(service::KEEP, 0)?;
        let told = came(NOTICE);
        made(waker.send())?;
        for asking in [kept, end, waiting] {
            ensure("gone", is_gone(&answer(asking)?))?;
        }
        soon("told", || came(NOTICE) > told)?;
        is_refused("send", connected.send(), Status::PeerGone)?;
        is_refused("send", waker.send(), Status::PeerGone)?;
        ensure("its own request is withdrawn", made(event::take_request())?.is_none())?;
        drop((connected, waker));
    }
    equal("all is refunded", used()?, 1)
}

/// Queues requests that are numbered, then says so by an event, and waits to be ended.
pub(crate) fn queue() {
    let queued = || -> Outcome {
        soon("the server lives", || talk::peer(server()).is_ok_and(|peer| peer.id.is_some()))?;
        let ready = connected(ask(service::ECHO, 0)?)?;
        let count = platform::number_of("count").unwrap_or(1);
        let mut kept = [const { None }; 16];
        for (word, place) in (1..=count).zip(&mut kept) {
            *place = Some(ask(service::REFUSE, word)?);
        }
        made(ready.send())?;
        for asking in kept.into_iter().flatten() {
            ensure("refused", was_refused(&answer(asking)?))?;
        }
        Ok(())
    };
    match queued() {
        Ok(()) => println!("ok queued"),
        Err(failure) => fail("queue", &failure),
    }
    power::off()
}

/// Connects, sends, and ends at some moment: again and again, by the restart policy. Never done.
pub(crate) fn churn() {
    let starts = partition::info().map_or(0, |info| info.starts);
    let mut random = shikiri_test_guests::random::Random::new(starts ^ reg::now());
    let rounds = random.below(40);
    let mut senders = [const { None }; 4];
    let mut receivers = [const { None }; 4];
    let mut asking = [const { None }; 4];
    if starts.is_multiple_of(8) {
        println!("churn {starts}");
    }
    for _ in 0..rounds {
        let place = random.below(4) as usize;
        match random.below(6) {
            0 | 1 if asking[place].is_none() => asking[place] = ask(service::ECHO, 0).ok(),
            2 => match asking[place].take().map(Asking::answer) {
                Some(Answer::Open(open)) => asking[place] = Some(open),
                Some(Answer::Connected(sender)) => senders[place] = Some(sender),
                Some(Answer::NotConnected(..)) | None => {}
            },
            3 => {
                if let (Ok(Some(request)), Ok(port)) =
                    (event::take_request(), port(EVENT + place as u32))
                    && request.accept(&port).is_ok()
                {
                    receivers[place] = Some(port);
                }
            }
            4 => drop((senders[place].take(), receivers[place].take())),
            _ => {
                if let Some(sender) = &senders[place] {
                    let _was_pending = sender.send();
                }
            }
        }
    }
    let _refused = partition::end(1);
}

/// Sends as fast as it can, for ever.
pub(crate) fn flood() {
    let flooding = || -> Outcome {
        soon("the server lives", || talk::peer(server()).is_ok_and(|peer| peer.id.is_some()))?;
        let sender = connected(ask(service::ECHO, 0)?)?;
        println!("ok flooding");
        while sender.send().is_ok() {}
        // The one who was flooded has had enough.
        power::off()
    };
    if let Err(failure) = flooding() {
        fail("flood", &failure);
    }
}

/// The description's events: the first handle of this partition sends, and `spi` comes back from a peer that ends now and then. With
/// `sealed` neither port can be changed from the beginning.
pub(crate) fn calls() -> ! {
    case("the_descriptions_events_are_there_whenever_both_live", || {
        let (send, intid) = (Handle(1 << 16), fixed_intid());
        gic::enable(intid);
        if platform::has_word("sealed") {
            for port in [send, Handle(1 << 16 | 1)] {
                ensure("sealed", made(talk::limit(port, Rights::USE))? == Rights::USE)?;
                is_refused("close", talk::close(port), Status::BadHandle)?;
            }
        }
        let mut gone = 0;
        let rounds = platform::number_of("rounds").unwrap_or(1);
        // More of them if each of its restarts has fallen between two calls.
        for round in 0_u64.. {
            if round >= rounds && gone > 0 {
                break;
            }
            let (before, end) = (came(intid), reg::now() + timer::ticks(60_000_000));
            while came(intid) == before {
                match talk::send(send) {
                    Ok(_) => {}
                    refusal => {
                        is_refused("to one that is away", refusal, Status::PeerGone)?;
                        gone += 1;
                    }
                }
                ensure("an echo in time", reg::now() < end)?;
                timer::spin(50);
            }
        }
        Ok(())
    });
    done()
}

/// The interrupt that the description gives.
pub(crate) fn fixed_intid() -> u32 {
    platform::number_of("spi").unwrap_or(0) as u32 + 32
}

/// Asks a listener for channels many times for an event, and once for a channel; then it says so.
pub(crate) fn ask_others() {
    const OTHERS: usize = 16 * 4;
    case("all_but_the_last_are_refused", || {
        let sender = connected(ask(service::ECHO, 0)?)?;
        let mut others = [const { None }; OTHERS];
        for other in &mut others {
            *other = Some(ask(service::ECHO, 0)?);
        }
        let events = port(EVENT)?;
        let channel = made(message::create(events.handle(), 0, AreaClass::Page))?;
        made(message::connect(channel.handle, server(), service::KEEP, 77))?;
        made(sender.send())?;
        for other in others.into_iter().flatten() {
            ensure("refused", was_refused(&answer(other)?))?;
        }
        made(shikiri_test_guests::taken::close(channel.handle))
    });
    done()
}
