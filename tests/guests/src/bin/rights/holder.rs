//! Who has the handles. Each case takes rights from handles of one kind, and tries each call that names one: what needs the right that is
//! gone is BAD_HANDLE, what needs the other one goes on, and the peer notices what is used and nothing else.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, ObjectKind, PageCount, Rights, Status};
use shikiri_object::Queue;
use shikiri_rt::event::{self, ReceivePort, Receiving as _, SendPort, take_signal};
use shikiri_rt::hvc::partition::{self, Refusal, Resource};
use shikiri_rt::hvc::talk::{self, Handle, Sharing, Signal, State};
use shikiri_rt::hvc::{message, object, shared};
use shikiri_rt::platform;
use shikiri_test_guests::answers::joined;
use shikiri_test_guests::port::{Port, made, refused, set, wait, word};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal, taken};

use crate::{DEPTH, noticed, page, service};

const EVENT: u32 = 64;
const CHANNEL: u32 = 70;
const SPARE: u32 = 71;
/// A partition that this one may not ask: the handle goes before that.
const NOBODY: u8 = 63;

/// The queue `log`, open as long as this partition lives.
static LOG: AtomicU64 = AtomicU64::new(0);

fn peer() -> u8 {
    platform::number_of("peer").unwrap_or(1) as u8
}

fn bad<T>(what: &'static str, result: Result<T, Refusal>) -> Outcome {
    refused(what, result, Status::BadHandle)
}

/// What the peer notices next must be this.
fn notices(what: u64, value: u64) -> Outcome {
    let log = Handle(LOG.load(Ordering::Relaxed));
    let mut found = [0; 3];
    wait("the peer notices nothing", || match object::wait(log) {
        Ok(message) => {
            found = message;
            Ok(true)
        }
        Err(refusal) if refusal.status() == Some(Status::Empty) => Ok(false),
        Err(refusal) => made(Err(refusal)),
    })?;
    equal("what the peer notices", found[0], what)?;
    equal("with it", found[1], value)
}

/// Takes all but these rights, twice, and asks what is left.
fn keep(handle: Handle, rights: Rights) -> Outcome {
    for keep in [rights, rights, Rights::ALL] {
        equal("left", made(talk::limit(handle, keep))?.bits(), rights.bits())?;
    }
    equal("asked", made(event::rights(handle))?.bits(), rights.bits())
}

fn used() -> Result<u64, Failure> {
    made(partition::account(Resource::EventPorts)).map(|line| line.used)
}

/// A send port that is connected to a new port of the peer's.
fn connected(service: u32) -> Result<Handle, Failure> {
    let port = made(talk::create_send())?;
    made(talk::ask(port, peer(), service, 0))?;
    wait("not accepted", || Ok(made(talk::state(port))? == State::Connected))?;
    Ok(port)
}

pub(crate) fn begin() -> Outcome {
    wait("no peer", || Ok(talk::peer(peer()).is_ok_and(|peer| peer.id.is_some())))?;
    let log = made(Queue::open("log", DEPTH))?;
    LOG.store(shikiri_object::Object::handle(&log).0, Ordering::Relaxed);
    core::mem::forget(log);
    let port = connected(service::CLOSE)?;
    made(talk::send(port))?;
    notices(noticed::EVENT, 0)?;
    made(talk::close(port))
}

pub(crate) fn sender() -> Outcome {
    let receive = made(talk::create_receive())?;
    let port = connected(service::STAY)?;
    keep(port, Rights::USE)?;
    bad("connect", talk::connect(port, receive))?;
    for partition in [peer(), NOBODY] {
        bad("ask", talk::ask(port, partition, service::STAY, 0))?;
    }
    bad("close", talk::close(port))?;
    equal("connected", u64::from(made(talk::state(port))? == State::Connected), 1)?;
    for _ in 0..3 {
        made(talk::send(port))?;
        notices(noticed::EVENT, 0)?;
    }
    made(talk::close(receive))
}

pub(crate) fn receiver() -> Outcome {
    let before = used()?;
    let (port, other) = (made(talk::create_receive())?, made(talk::create_send())?);
    let local = made(talk::create_send())?;
    made(talk::connect(local, port))?;
    keep(port, Rights::USE)?;
    let free = made(talk::create_receive())?;
    keep(free, Rights::USE)?;
    bad("bind", talk::bind(port, EVENT, 0, Sharing::Alone))?;
    bad("close", talk::close(port))?;
    for port in [port, free] {
        bad("connect", talk::connect(other, port))?;
        bad("notify", talk::notify(port))?;
        bad("events of a channel", message::create(port, 0, AreaClass::Page))?;
        bad("events of a share", shared::create(port, PageCount(1), AreaClass::Page))?;
    }
    made(talk::mask(port))?;
    made(talk::send(local))?;
    ensure("pending", made(talk::poll(port))?)?;
    made(talk::unmask(port))?;
    // Its sender still goes as it likes, and nobody comes after it.
    made(talk::close(local))?;
    bad("connect again", talk::connect(other, port))?;
    ensure("not pending", !made(talk::poll(port))?)?;
    made(talk::close(other))?;
    equal("two are left", used()?, before + 2)
}

pub(crate) fn changed_only() -> Outcome {
    let before = used()?;
    let (port, receive) = (made(talk::create_send())?, made(talk::create_receive())?);
    keep(port, Rights::CHANGE)?;
    keep(receive, Rights::CHANGE)?;
    bad("send", talk::send(port))?;
    bad("state", talk::state(port))?;
    bad("poll", talk::poll(receive))?;
    bad("mask", talk::mask(receive))?;
    bad("unmask", talk::unmask(receive))?;
    made(talk::bind(receive, EVENT, 0, Sharing::Alone))?;
    // It asks, and the peer accepts; closing meets the peer.
    made(talk::ask(port, peer(), service::STAY, 0))?;
    made(talk::close(port))?;
    let port = made(talk::create_send())?;
    made(talk::connect(port, receive))?;
    keep(port, Rights::CHANGE)?;
    made(talk::close(receive))?;
    made(talk::close(port))?;
    equal("all is refunded", used()?, before)
}

pub(crate) fn nothing() -> Outcome {
    let port = connected(service::STAY)?;
    keep(port, Rights::NONE)?;
    bad("send", talk::send(port))?;
    bad("state", talk::state(port))?;
    bad("ask", talk::ask(port, peer(), service::STAY, 0))?;
    bad("close", talk::close(port))?;
    for guess in [0, port.0 ^ 1 << 16, port.0 + 40, u64::MAX] {
        bad("limit", talk::limit(Handle(guess), Rights::ALL))?;
    }
    Ok(())
}

/// A request of the peer's.
fn request() -> Result<Signal, Failure> {
    let port = made(talk::create_send())?;
    made(talk::ask(port, peer(), service::ASK, 0))?;
    let mut found = None;
    wait("no request", || {
        found = made(take_signal())?;
        Ok(found.is_some())
    })?;
    wait("not refused", || Ok(talk::state(port).is_err()))?;
    made(talk::close(port))?;
    found.ok_or(Failure { what: "no request", got: 0, want: 1 })
}

pub(crate) fn requests() -> Outcome {
    let receive = made(talk::create_receive())?;
    let Signal { request: handle, .. } = request()?;
    keep(handle, Rights::USE)?;
    bad("close", talk::close(handle))?;
    made(talk::accept(handle, receive))?;
    notices(noticed::ANSWER, 1)?;
    let Signal { request: handle, .. } = request()?;
    keep(handle, Rights::USE)?;
    made(talk::refuse(handle))?;
    notices(noticed::ANSWER, 0)?;
    let Signal { request: handle, .. } = request()?;
    keep(handle, Rights::CHANGE)?;
    let free = made(talk::create_receive())?;
    bad("accept", talk::accept(handle, free))?;
    bad("refuse", talk::refuse(handle))?;
    made(talk::close(handle))?;
    notices(noticed::ANSWER, 0)?;
    made(talk::close(free))?;
    made(talk::close(receive))
}

pub(crate) fn channel() -> Outcome {
    let port = Port::new(AreaClass::Page, 1, CHANNEL)?;
    made(message::connect(port.handle, peer(), service::STAY, 0))?;
    wait("not accepted", || port.is_connected())?;
    keep(port.handle, Rights::USE)?;
    for partition in [peer(), NOBODY] {
        bad("connect", message::connect(port.handle, partition, service::STAY, 0))?;
    }
    bad("close", taken::close(port.handle))?;
    for value in [7, 8] {
        port.send(None, [value, 0, 0])?;
        notices(noticed::MESSAGE, value)?;
    }
    made(message::notify(port.handle))?;
    let area = page()?;
    port.send(Some((area.handle, 4096)), [9, 0, 0])?;
    notices(noticed::MESSAGE, 9)?;
    let spare = Port::new(AreaClass::Page, 0, SPARE)?;
    keep(spare.handle, Rights::CHANGE)?;
    bad("send", taken::send(spare.handle, None, [1, 0, 0]))?;
    bad("notify", message::notify(spare.handle))?;
    spare.close()
}

pub(crate) fn attachment() -> Outcome {
    let events = made(talk::create_receive())?;
    let share = made(shared::create(events, PageCount(1), AreaClass::Page))?;
    made(shared::connect(share.handle, peer(), service::STAY, 0))?;
    wait("not accepted", || Ok(made(shared::state(share.handle))?.is_some()))?;
    keep(share.handle, Rights::USE)?;
    for partition in [peer(), NOBODY] {
        bad("connect", shared::connect(share.handle, partition, service::STAY, 0))?;
    }
    bad("detach", taken::detach(share.handle))?;
    let state = made(shared::state(share.handle))?;
    ensure("attached", state.is_some_and(|state| state.address == share.address))?;
    set(share.address, 0xfeed)?;
    notices(noticed::WORD, 0xfeed)?;
    equal("still there", word(share.address)?, 0xfeed)?;
    // One that may only be changed.
    let other = made(talk::create_receive())?;
    let spare = made(shared::create(other, PageCount(1), AreaClass::Page))?;
    keep(spare.handle, Rights::CHANGE)?;
    bad("state", shared::state(spare.handle))?;
    made(taken::detach(spare.handle))?;
    made(talk::close(other))
}

/// Opens the event `turn`, which the peer has open, too.
fn open_turn() -> Result<(Handle, bool), Failure> {
    #[repr(C, align(64))]
    struct Name([u8; 64]);
    let mut name = Name([0; 64]);
    name.0[..4].copy_from_slice(b"turn");
    let at = core::ptr::from_ref(&name).expose_provenance() as u64;
    made(object::open(at, 4, ObjectKind::Event.encode()))
}

pub(crate) fn object() -> Outcome {
    let (turn, _) = open_turn()?;
    let port = made(talk::create_receive())?;
    made(object::notify(turn, Some(port)))?;
    keep(turn, Rights::USE)?;
    for _ in 0..2 {
        bad("notify", object::notify(turn, None))?;
        bad("close", object::close(turn))?;
        made(object::post(turn, [0; 3]))?;
        notices(noticed::TURN, 0)?;
        made(object::wait(turn))?;
        let (again, is_new) = open_turn()?;
        ensure("the same", again == turn && !is_new)?;
    }
    made(talk::close(port))
}

pub(crate) fn area() -> Outcome {
    let area = page()?;
    bad("limit", talk::limit(area.handle, Rights::USE))?;
    bad("asked", event::rights(area.handle))?;
    made(taken::free(area.handle))
}

pub(crate) fn closed_by_its_peer() -> Outcome {
    let port = connected(service::CLOSE)?;
    keep(port, Rights::USE)?;
    made(talk::send(port))?;
    wait("it does not go", || {
        Ok(talk::state(port).err().and_then(|refusal| refusal.status()) == Some(Status::PeerGone))
    })?;
    refused("send", talk::send(port), Status::PeerGone)?;
    equal("left", made(event::rights(port))?.bits(), Rights::USE.bits())
}

/// The library's values: when they go, the ports stay.
pub(crate) fn sealed() -> Outcome {
    let before = used()?;
    let handle = {
        let receive = joined(made(ReceivePort::new())?.bind(EVENT, Sharing::Alone))?;
        let sender = joined(joined(made(SendPort::new())?.connect(&receive))?.seal())?;
        let receive = joined(receive.seal())?;
        made(sender.send())?;
        ensure("pending", made(receive.poll())?)?;
        receive.handle()
    };
    equal("both stay", used()?, before + 2)?;
    equal("left", made(event::rights(handle))?.bits(), Rights::USE.bits())
}
