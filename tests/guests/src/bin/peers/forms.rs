//! Every form of waiting for event connections: asked for, answered, refused, and left again; nothing stays behind.

use core::future::{Future as _, poll_fn};
use core::pin::pin;
use core::task::Poll;

use shikiri_abi::Status;
use shikiri_channel::{Listener, block_on};
use shikiri_rt::event::{
    self, Answer, Asking, Awaited, NotConnected, Notices, Notified, Request, SendPort, Sender,
};
use shikiri_rt::hvc::partition::{self, Resource};
use shikiri_rt::irq;
use shikiri_rt::sleep::Ticks;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::client::{ask, server, sleep, wait_for_life};
use crate::tools::{EVENT, came, joined, made, port, refused, service, soon};

/// The interrupts of what is told here, which the guest's handler does not see.
const NOTICES: u32 = 80;
const LISTENER: u32 = 81;
/// Longer than the server takes for a refusal, and short: nothing comes.
const SHORT_US: u64 = 3_000;
/// Never waited for to its end.
const LONG_US: u64 = 60_000_000;

/// What the partition has of what connections take.
fn used() -> Result<[u64; 2], Failure> {
    let used = |what| made(partition::account(what)).map(|line| line.used);
    Ok([used(Resource::EventPorts)?, used(Resource::ManagementMemory)?])
}

/// Runs an action and looks that all it took is given back.
fn charged_back(action: impl FnOnce() -> Outcome) -> Outcome {
    let before = used()?;
    action()?;
    let after = used()?;
    equal("event ports", after[0], before[0])?;
    equal("management memory", after[1], before[1])
}

fn send_port() -> Result<SendPort, Failure> {
    made(SendPort::new())
}

/// What has to be connected.
fn connected(result: Result<Sender, (SendPort, NotConnected)>) -> Result<Sender, Failure> {
    result.map_err(|_| Failure { what: "connected", got: 0, want: 1 })
}

/// What has to fail, for this reason; the port again.
fn failed(
    result: Result<Sender, (SendPort, NotConnected)>,
    want: NotConnected,
) -> Result<SendPort, Failure> {
    match result {
        Err((port, why)) if why == want => Ok(port),
        Err(_) => Err(Failure { what: "another reason", got: 0, want: 1 }),
        Ok(_) => Err(Failure { what: "not connected", got: 0, want: 1 }),
    }
}

/// What has no answer in time.
fn open(answer: Answer) -> Result<Asking, Failure> {
    match answer {
        Answer::Open(asking) => Ok(asking),
        _ => Err(Failure { what: "open", got: 0, want: 1 }),
    }
}

/// The answer in time, as the other forms have it.
fn in_time(answer: Answer) -> Result<Sender, (SendPort, NotConnected)> {
    match answer {
        Answer::Connected(sender) => Ok(sender),
        Answer::NotConnected(port, why) => Err((port, why)),
        Answer::Open(_) => panic!("no answer in a minute"),
    }
}

/// An event is waited for in each form: what came before the wait is there, and comes once.
pub(crate) fn awaited() -> Outcome {
    charged_back(|| {
        let port = made(Awaited::new(NOTICES))?;
        let sender = made(send_port()?.connect(&port).map_err(|(_, why)| why))?;
        let short = || Ticks::from_now_us(SHORT_US);
        ensure("nothing yet", !made(port.try_wait())? && !made(port.wait_until(short()))?)?;
        made(sender.send())?;
        made(sender.send())?;
        ensure("there", made(port.try_wait())?)?;
        ensure("once", !made(port.try_wait())?)?;
        made(sender.send())?;
        made(port.wait())?;
        made(sender.send())?;
        ensure("in time", made(port.wait_until(Ticks::from_now_us(LONG_US)))?)?;
        ensure("and once", !made(port.wait_until(short()))?)?;
        // While interrupts are masked it is in the port still.
        irq::mask();
        made(sender.send())?;
        let is_there = port.try_wait();
        irq::unmask();
        ensure("taken out of the port", made(is_there)? && !made(port.try_wait())?)?;
        // The task sleeps before it is sent, and is woken.
        made(block_on(async {
            let mut arrived = pin!(port.arrived());
            let first = poll_fn(|context| Poll::Ready(arrived.as_mut().poll(context).is_ready()));
            let was_there = first.await;
            sender.send()?;
            arrived.await.map(|()| was_there)
        }))
        .and_then(|was_there| ensure("not there before", !was_there))?;
        // What has come to a port that is gone comes to no later one.
        made(sender.send())?;
        drop((sender, port));
        let later = made(Awaited::new(NOTICES))?;
        ensure("a port of its own", !made(later.try_wait())?)
    })
}

/// By an object of the run-time's, and by the channels' listener.
pub(crate) fn asked() -> Outcome {
    charged_back(|| asked_by(&made(Notices::new(NOTICES))?))?;
    charged_back(|| asked_by(&made(Listener::new(LISTENER))?))
}

/// While one is told of requests and answers a second one is refused, of either kind, and takes nothing away.
pub(crate) fn one_at_a_time() -> Outcome {
    let second = || {
        refused("Notices", Notices::new(NOTICES + 2), Status::WrongState)?;
        refused("a listener", Listener::new(LISTENER + 2), Status::WrongState)?;
        let port = port(EVENT)?;
        refused("a port", event::notify(&port), Status::WrongState)
    };
    charged_back(|| {
        let told = made(Notices::new(NOTICES))?;
        second()?;
        echoed(&told, |told| made(told.next()))
    })?;
    charged_back(|| {
        let listener = made(Listener::new(LISTENER))?;
        second()?;
        let event = |signal| Request::of(signal).map_err(|_| NOT_ASKED);
        echoed(&listener, |listener| event(made(listener.signal())?))
    })
}

fn asked_by(told: &impl Notified) -> Outcome {
    let long = || Ticks::from_now_us(LONG_US);
    let server = server();
    // Accepted.
    let first = connected(send_port()?.connect_to(told, server, service::CLOSE, 0))?;
    let second = connected(in_time(ask(service::CLOSE, 0)?.wait_until(told, long())))?;
    let third = connected(block_on(ask(service::CLOSE, 0)?.answered(told)))?;
    for sender in [first, second, third] {
        made(sender.send())?;
        let is_gone = || sender.send().is_err_and(|why| why.status() == Some(Status::PeerGone));
        soon("the server closes it", is_gone)?;
    }
    // Refused: the port can ask again, in another form.
    let no = NotConnected::Refused;
    let port = failed(send_port()?.connect_to(told, server, service::REFUSE, 0), no)?;
    let asking = port.ask(server, service::REFUSE, 0).map_err(|_| NOT_ASKED)?;
    let port = failed(in_time(asking.wait_until(told, long())), no)?;
    let asking = port.ask(server, service::REFUSE, 0).map_err(|_| NOT_ASKED)?;
    let port = failed(block_on(asking.answered(told)), no)?;
    // Nobody may be asked that the description does not name.
    let refused = port.connect_to(told, 63, service::REFUSE, 0);
    let Err((port, NotConnected::NotAsked(refusal))) = refused else { return Err(NOT_ASKED) };
    equal("why", refusal.code as u64, Status::NotPermitted.code() as u64)?;
    drop(port);
    // No answer in time: more often than requests can wait, so that each was withdrawn.
    let most = shikiri_rt::platform::number_of("requests").unwrap_or(0) + 2;
    for _ in 0..most {
        let asking = ask(service::KEEP, 0)?;
        let asking = open(asking.wait_until(told, Ticks::from_now_us(SHORT_US)))?;
        drop(open(asking.answer())?);
    }
    // A future that is left: the request is withdrawn with it.
    let mut polls = 0;
    for _ in 0..most {
        let mut asking = core::pin::pin!(ask(service::KEEP, 0)?.answered(told));
        let left = core::future::poll_fn(|context| {
            polls += 1;
            core::task::Poll::Ready(asking.as_mut().poll(context).is_pending())
        });
        ensure("not answered", block_on(left))?;
    }
    equal("polls", polls, most)
}

const NOT_ASKED: Failure = Failure { what: "asked", got: 0, want: 1 };

/// The server asks back whoever connects to its echo.
pub(crate) fn taken() -> Outcome {
    charged_back(|| {
        let told = made(Notices::new(NOTICES))?;
        ensure("none waits", made(told.try_next())?.is_none())?;
        let none = made(told.next_until(Ticks::from_now_us(SHORT_US)))?;
        ensure("none in time", none.is_none())?;
        echoed(&told, |told| made(told.next()))?;
        echoed(&told, |told| {
            let request = made(told.next_until(Ticks::from_now_us(LONG_US)))?;
            request.ok_or(Failure { what: "a request", got: 0, want: 1 })
        })?;
        echoed(&told, |told| made(block_on(told.came())))?;
        ensure("none is left", made(told.try_next())?.is_none())
    })?;
    charged_back(|| {
        let listener = made(Listener::new(LISTENER))?;
        let event = |signal| Request::of(signal).map_err(|_| NOT_ASKED);
        let none = made(listener.signal_until(Ticks::from_now_us(SHORT_US)))?;
        ensure("none in time", none.is_none())?;
        echoed(&listener, |listener| event(made(listener.signal())?))?;
        echoed(&listener, |listener| {
            let signal = made(listener.signal_until(Ticks::from_now_us(LONG_US)))?;
            event(signal.ok_or(NOT_ASKED)?)
        })?;
        echoed(&listener, |listener| event(made(block_on(listener.signalled()))?))
    })
}

/// Connects, takes the request that follows, accepts it, and sends an event there and back.
fn echoed<T: Notified>(told: &T, next: impl FnOnce(&T) -> Result<Request, Failure>) -> Outcome {
    let sender = connected(send_port()?.connect_to(told, server(), service::ECHO, 77))?;
    let request = next(told)?;
    equal("service", u64::from(request.service), u64::from(service::BACK))?;
    equal("its word", request.word, 77)?;
    let back = port(EVENT)?;
    joined(request.accept(&back))?;
    let before = came(EVENT);
    made(sender.send())?;
    soon("the echo", || came(EVENT) > before)?;
    drop(back);
    // The server finds its way back closed, and closes this one.
    soon("the server closes it", || {
        sender.send().is_err_and(|why| why.status() == Some(Status::PeerGone))
    })
}

/// The server ends while this one waits, in each form, for an answer that it would never give.
pub(crate) fn ends() -> Outcome {
    let mut last = None;
    for form in 0..3 {
        last = wait_for_life(last)?;
        charged_back(|| {
            let told = made(Notices::new(NOTICES))?;
            let gone = NotConnected::PeerGone;
            let waker = connected(send_port()?.connect_to(&told, server(), service::CLOSE, 0))?;
            sleep()?;
            let [kept, end] = [ask(service::KEEP, 0)?, ask(service::END, 0)?];
            made(waker.send())?;
            let port = match form {
                0 => failed(kept.wait(&told), gone)?,
                1 => {
                    let deadline = Ticks::from_now_us(LONG_US);
                    failed(in_time(kept.wait_until(&told, deadline)), gone)?
                }
                _ => failed(block_on(kept.answered(&told)), gone)?,
            };
            drop(failed(end.wait(&told), gone)?);
            refused("send", waker.send(), Status::PeerGone)?;
            drop(port);
            Ok(())
        })?;
    }
    Ok(())
}
