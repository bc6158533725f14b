//! The cases.

use shikiri_rt::event::{self, Bound, ReceivePort, Receiving as _, SendPort, Sender, Sharing};
use shikiri_rt::hvc::partition::{self, Refusal, Resource};
use shikiri_rt::hvc::talk::{self, Handle, State};
use shikiri_rt::platform::{self, UART_INTID};
use shikiri_rt::{Lock, gic, smp};
use shikiri_test_guests::answers::{joined, made, refused_for};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use shikiri_abi::Status;

use crate::interrupts::{INTIDS, came, has_second, is_pending, must, no_more, wait};
use crate::page;

const A: u32 = 70;
const B: u32 = 71;

/// All INTIDs that can be SPIs.
const SPIS: core::ops::Range<u32> = 32..1020;

/// What must be refused: the status, and which argument or resource.
fn refused<T>(what: &'static str, result: Result<T, Refusal>, want: Status, which: u64) -> Outcome {
    refused_for(what, result, (want, which))
}

/// A pair: its receiver has the interrupt alone, which is enabled.
fn pair(intid: u32) -> Result<(Sender, Bound), Failure> {
    let receive = joined(made(ReceivePort::new())?.bind(intid, Sharing::Alone))?;
    let sender = joined(made(SendPort::new())?.connect(&receive))?;
    gic::enable(intid);
    Ok((sender, receive))
}

fn send(sender: &Sender, was_pending: bool) -> Outcome {
    equal("was pending", u64::from(made(sender.send())?), u64::from(was_pending))
}

fn used() -> Result<u64, Failure> {
    made(partition::account(Resource::EventPorts)).map(|line| line.used)
}

pub(crate) fn charges() -> Outcome {
    let ports = platform::number_of("ports").unwrap_or(0);
    equal("nothing is used", used()?, 0)?;
    let line = made(partition::account(Resource::EventPorts))?;
    equal("the limit", line.limit.unwrap_or(0), ports)?;
    let mut kept = [const { None }; 64];
    let mut last = 0;
    for (count, place) in (0..ports).zip(&mut kept) {
        let port = if count % 2 == 0 { talk::create_send() } else { talk::create_receive() };
        let port = made(port)?;
        must("no handle comes twice", port.0 != last)?;
        last = port.0;
        *place = Some(port);
        equal("used", used()?, count + 1)?;
    }
    let limit = u64::from(Resource::EventPorts.number());
    refused("over the limit", talk::create_send(), Status::OverLimit, limit)?;
    refused("over the limit", talk::create_receive(), Status::OverLimit, limit)?;
    equal("a refusal charges nothing", used()?, ports)?;
    for port in kept.into_iter().flatten() {
        made(talk::close(port))?;
    }
    equal("all is refunded", used()?, 0)
}

pub(crate) fn bad_handles() -> Outcome {
    let (send, receive) = (made(talk::create_send())?, made(talk::create_receive())?);
    let stale = made(talk::create_send())?;
    made(talk::close(stale))?;
    let guesses = [0, u64::MAX, 1, stale.0, send.0 ^ (1 << 16), send.0 ^ 1 << 63, receive.0 + 40];
    let bad = Status::BadHandle;
    for guess in guesses.map(Handle) {
        refused("send", talk::send(guess), bad, 0)?;
        refused("state", talk::state(guess), bad, 0)?;
        refused("poll", talk::poll(guess), bad, 0)?;
        refused("mask", talk::mask(guess), bad, 0)?;
        refused("unmask", talk::unmask(guess), bad, 0)?;
        refused("bind", talk::bind(guess, A, 0, Sharing::Alone), bad, 0)?;
        refused("connect", talk::connect(guess, receive), bad, 0)?;
        refused("connect", talk::connect(send, guess), bad, 0)?;
        refused("close", talk::close(guess), bad, 0)?;
        refused("notify", talk::notify(guess), bad, 0)?;
        refused("ask", talk::ask(guess, 0, 0, 0), bad, 0)?;
        refused("accept", talk::accept(guess, receive), bad, 0)?;
        refused("refuse", talk::refuse(guess), bad, 0)?;
    }
    // The other kind.
    refused("send", talk::send(receive), bad, 0)?;
    refused("poll", talk::poll(send), bad, 0)?;
    refused("bind", talk::bind(send, A, 0, Sharing::Alone), bad, 0)?;
    refused("accept", talk::accept(send, receive), bad, 0)?;
    // Nobody is permitted; nobody has asked.
    for number in [0, 1, 63, 255] {
        refused("ask", talk::ask(send, number, 0, 0), Status::NotPermitted, 0)?;
        refused("peer", talk::peer(number), Status::NotPermitted, 0)?;
    }
    refused("take", talk::take_signal(), Status::Empty, 0)?;
    made(talk::close(send))?;
    made(talk::close(receive))
}

pub(crate) fn interrupt() -> Outcome {
    let (sender, receive) = pair(A)?;
    equal("intid", u64::from(receive.intid()), u64::from(A))?;
    let before = came(0, A);
    for count in 1..=20 {
        send(&sender, false)?;
        wait(0, A, before + count)?;
    }
    no_more(0, A, before + 20)
}

pub(crate) fn pending() -> Outcome {
    let (sender, _receive) = pair(A)?;
    let before = came(0, A);
    gic::disable(A);
    send(&sender, false)?;
    send(&sender, true)?;
    send(&sender, true)?;
    gic::enable(A);
    wait(0, A, before + 1)?;
    no_more(0, A, before + 1)
}

pub(crate) fn latched() -> Outcome {
    let (sender, _receive) = pair(A)?;
    let before = came(0, A);
    gic::disable(A);
    send(&sender, false)?;
    must("it is pending", is_pending(A))?;
    no_more(0, A, before)?;
    gic::enable(A);
    wait(0, A, before + 1)?;
    must("it is not pending any more", !is_pending(A))
}

pub(crate) fn poll() -> Outcome {
    let (sender, receive) = pair(A)?;
    let before = came(0, A);
    equal("nothing there", u64::from(made(receive.poll())?), 0)?;
    gic::disable(A);
    send(&sender, false)?;
    equal("it was pending", u64::from(made(receive.poll())?), 1)?;
    equal("it was taken", u64::from(made(receive.poll())?), 0)?;
    must("the virtual GIC's state is cleared, too", !is_pending(A))?;
    gic::enable(A);
    no_more(0, A, before)?;
    send(&sender, false)?;
    wait(0, A, before + 1)?;
    equal("the handler has had it", u64::from(made(receive.poll())?), 0)
}

pub(crate) fn edge() -> Outcome {
    let (sender, receive) = pair(A)?;
    let before = came(0, A);
    let config = || gic::block(A).read32(0xc00 + u64::from(A / 16) * 4) >> (A % 16 * 2) & 3;
    gic::set_level(A);
    equal("configuration", u64::from(config()), 2)?;
    send(&sender, false)?;
    wait(0, A, before + 1)?;
    no_more(0, A, before + 1)?;
    drop((sender, receive));
    gic::set_level(A);
    equal("a free one can be changed", u64::from(config()), 0)
}

pub(crate) fn routes() -> Outcome {
    if !has_second() {
        return Ok(());
    }
    let receive = made(talk::create_receive())?;
    let sender = joined(made(SendPort::new())?.connect(&Raw(receive)))?;
    made(talk::bind(receive, A, 1, Sharing::Alone))?;
    gic::enable(A);
    let (here, there) = (came(0, A), came(1, A));
    for count in 1..=20 {
        made(sender.send())?;
        wait(1, A, there + count)?;
    }
    gic::route(A, smp::index());
    made(sender.send())?;
    wait(0, A, here + 1)?;
    gic::route(A, 1);
    made(sender.send())?;
    wait(1, A, there + 21)?;
    equal("nothing twice", came(0, A), here + 1)?;
    made(talk::close(receive))?;
    // Bound again, the route is the caller's again.
    gic::route(A, 1);
    let (sender, _receive) = pair(A)?;
    send(&sender, false)?;
    wait(0, A, here + 2)
}

/// A handle as a receiver.
struct Raw(Handle);

impl event::Receiving for Raw {
    fn handle(&self) -> Handle {
        self.0
    }
}

pub(crate) fn masked() -> Outcome {
    let (sender, receive) = pair(A)?;
    let before = came(0, A);
    made(receive.mask())?;
    send(&sender, false)?;
    send(&sender, true)?;
    no_more(0, A, before)?;
    made(receive.unmask())?;
    wait(0, A, before + 1)?;
    made(receive.unmask())?;
    no_more(0, A, before + 1)?;
    made(receive.mask())?;
    send(&sender, false)?;
    equal("it was kept", u64::from(made(receive.poll())?), 1)?;
    made(receive.unmask())?;
    no_more(0, A, before + 1)
}

pub(crate) fn unbound() -> Outcome {
    let receive = made(ReceivePort::new())?;
    let sender = joined(made(SendPort::new())?.connect(&receive))?;
    let before = came(0, A);
    gic::enable(A);
    send(&sender, false)?;
    send(&sender, true)?;
    equal("it was kept", u64::from(made(receive.poll())?), 1)?;
    send(&sender, false)?;
    let _bound = joined(receive.bind(A, Sharing::Alone))?;
    wait(0, A, before + 1)?;
    no_more(0, A, before + 1)
}

pub(crate) fn grouped() -> Outcome {
    const COUNT: usize = 10;
    let mut ports: [Option<(Sender, Bound)>; COUNT] = [const { None }; COUNT];
    gic::enable(A);
    gic::enable(B);
    for place in &mut ports {
        let receive = joined(made(ReceivePort::new())?.bind(A, Sharing::Grouped))?;
        let sender = joined(made(SendPort::new())?.connect(&receive))?;
        *place = Some((sender, receive));
    }
    let port = |index: usize| ports[index].as_ref();
    let before = came(0, A);
    let mut want = [0_u64; 2];
    for index in [1, 4, 9] {
        let Some((sender, receive)) = port(index) else { continue };
        send(sender, false)?;
        send(sender, true)?;
        want[usize::from(receive.index() / 64)] |= 1 << (receive.index() % 64);
    }
    must("an interrupt came", wait(0, A, before + 1).is_ok() || came(0, A) > before)?;
    for (word, want) in (0..).zip(want) {
        equal("taken", event::take(word), want)?;
        equal("once", event::take(word), 0)?;
    }
    equal("a word that is not there", event::take(1023), 0)?;
    refused("beyond", talk::take(1024), Status::InvalidParameter, 1)?;
    // What is polled is not taken.
    let Some((sender, receive)) = port(3) else { return Ok(()) };
    send(sender, false)?;
    equal("polled", u64::from(made(receive.poll())?), 1)?;
    equal("nothing is left", event::take(receive.index() / 64), 0)?;
    let other = joined(made(ReceivePort::new())?.bind(B, Sharing::Alone))?;
    let late = made(ReceivePort::new())?;
    let alone = late.bind(A, Sharing::Alone).map_err(|(_, refusal)| refusal);
    refused("alone among others", alone, Status::WrongState, 0)?;
    let late = made(ReceivePort::new())?;
    let shared = late.bind(other.intid(), Sharing::Grouped).map_err(|(_, refusal)| refusal);
    refused("with one that is alone", shared, Status::WrongState, 0)
}

pub(crate) fn closed_receiver() -> Outcome {
    let (sender, receive) = pair(A)?;
    drop(receive);
    refused("send", sender.send(), Status::PeerGone, 0)?;
    refused("send", sender.send(), Status::PeerGone, 0)
}

pub(crate) fn closed_sender() -> Outcome {
    let (sender, receive) = pair(A)?;
    let before = came(0, A);
    gic::disable(A);
    send(&sender, false)?;
    drop(sender);
    gic::enable(A);
    wait(0, A, before + 1)?;
    let sender = joined(made(SendPort::new())?.connect(&receive))?;
    send(&sender, false)?;
    wait(0, A, before + 2)
}

pub(crate) fn closed_pending() -> Outcome {
    let (sender, receive) = pair(A)?;
    let before = came(0, A);
    gic::disable(A);
    send(&sender, false)?;
    drop((sender, receive));
    must("nothing is pending", !is_pending(A))?;
    gic::enable(A);
    no_more(0, A, before)?;
    let (sender, _receive) = pair(A)?;
    send(&sender, false)?;
    wait(0, A, before + 1)
}

pub(crate) fn refused_bindings() -> Outcome {
    let port = made(talk::create_receive())?;
    let alone = Sharing::Alone;
    for intid in [0, 15, 27, 31, UART_INTID, 1019, 1020, 1023, 0xffff, 0x1_0000] {
        let bound = talk::bind(port, intid, 0, alone);
        refused("no SPI for events", bound, Status::InvalidParameter, 2)?;
    }
    for vcpu in [smp::count() as u64, 64, 255, 256, u64::MAX] {
        let bound = talk::bind(port, A, vcpu, alone);
        refused("no such vCPU", bound, Status::InvalidParameter, 3)?;
    }
    made(talk::bind(port, A, 0, alone))?;
    refused("bound twice", talk::bind(port, B, 0, alone), Status::WrongState, 0)?;
    let other = made(talk::create_receive())?;
    refused("another's", talk::bind(other, A, 0, alone), Status::WrongState, 0)?;
    made(talk::close(other))?;
    made(talk::close(port))
}

pub(crate) fn in_use() -> Outcome {
    let (send, receive) = (made(talk::create_send())?, made(talk::create_receive())?);
    let other = made(talk::create_receive())?;
    refused("not connected", talk::send(send), Status::WrongState, 0)?;
    refused("not connected", talk::state(send), Status::WrongState, 0)?;
    made(talk::connect(send, receive))?;
    must("connected", made(talk::state(send))? == State::Connected)?;
    refused("again", talk::connect(send, other), Status::WrongState, 0)?;
    let second = made(talk::create_send())?;
    refused("again", talk::connect(second, receive), Status::WrongState, 0)?;
    refused("notified", talk::notify(receive), Status::WrongState, 0)?;
    made(talk::notify(other))?;
    refused("notified", talk::connect(second, other), Status::WrongState, 0)?;
    for port in [send, receive, other, second] {
        made(talk::close(port))?;
    }
    equal("all is refunded", used()?, 0)
}

/// Each event that is told as not pending is an interrupt of its own, or one that the next one is merged into.
pub(crate) fn storm() -> Outcome {
    let (sender, _receive) = pair(A)?;
    let before = came(0, A);
    for _ in 0..2_000 {
        made(sender.send())?;
    }
    ensure("some came", came(0, A) > before)?;
    let seen = came(0, A);
    no_more(0, A, seen)?;
    send(&sender, false)?;
    wait(0, A, seen + 1)
}

/// A send port, its peer, and the peer's interrupt.
static PAIRS: Lock<[(Handle, Handle, u32); 4096]> = Lock::new([(Handle(0), Handle(0), 0); 4096]);

/// Ports in pairs, as many as the table holds: an SPI for each while they last, the others in groups, with two SPIs.
pub(crate) fn thousands() -> Outcome {
    let handles = platform::number_of("handles").unwrap_or(0);
    let count = (handles / 2) as usize;
    let alone = {
        let mut all = PAIRS.lock();
        let pairs = &mut all[..count];
        for (sender, receive, _) in &mut *pairs {
            (*receive, *sender) = (made(talk::create_receive())?, made(talk::create_send())?);
            made(talk::connect(*sender, *receive))?;
        }
        let full = u64::from(Resource::ManagementMemory.number());
        refused("the table is full", talk::create_send(), Status::OverLimit, full)?;
        equal("all are charged", used()?, handles)?;
        let alone = bind_alone(pairs)?;
        bind_groups(pairs, alone)?
    };
    // Who has an interrupt of its own is known by it, who has not by its bit.
    tell_apart(count, alone, 0)?;
    tell_apart(count, alone, 1)?;
    if !platform::has_word("page") {
        return Ok(());
    }
    page::few(count - alone, |at| PAIRS.lock()[alone + at])
}

/// Binds the first ones to all SPIs that are there for events; how many that were.
fn bind_alone(pairs: &mut [(Handle, Handle, u32)]) -> Result<usize, Failure> {
    let mut alone = 0;
    for spi in SPIS {
        let (_, receive, intid) = &mut pairs[alone];
        match talk::bind(*receive, spi, 0, Sharing::Alone) {
            Ok(()) => (*intid, alone) = (spi, alone + 1),
            bound => refused("no SPI for events", bound, Status::InvalidParameter, 2)?,
        }
    }
    // More than list registers, and a part of the ports.
    must("many are there for events", alone > 64 && alone < pairs.len() / 2)?;
    let next = pairs[alone].1;
    for (.., intid) in &pairs[..alone] {
        for sharing in [Sharing::Alone, Sharing::Grouped] {
            let bound = talk::bind(next, *intid, 0, sharing);
            refused("another's alone", bound, Status::WrongState, 0)?;
        }
    }
    Ok(alone)
}

/// Takes the last two SPIs back, and binds all that have none to them; how many are still alone.
fn bind_groups(pairs: &mut [(Handle, Handle, u32)], alone: usize) -> Result<usize, Failure> {
    let alone = alone - 2;
    let shared = [pairs[alone].2, pairs[alone + 1].2];
    for (sender, receive, _) in &mut pairs[alone..alone + 2] {
        made(talk::close(*receive))?;
        *receive = made(talk::create_receive())?;
        made(talk::connect(*sender, *receive))?;
    }
    for (number, (_, receive, intid)) in pairs.iter_mut().enumerate().skip(alone) {
        *intid = shared[number % 2];
        made(talk::bind(*receive, *intid, 0, Sharing::Grouped))?;
    }
    Ok(alone)
}

/// Sends to every third port from one on.
fn tell_apart(count: usize, alone: usize, first: usize) -> Outcome {
    let all = PAIRS.lock();
    let pairs = &all[..count];
    let mut want = [0_u64; 128];
    let mut before = [0; INTIDS];
    for (.., intid) in &pairs[..alone + 2] {
        before[*intid as usize] = came(0, *intid);
        gic::enable(*intid);
    }
    let mut is_due = [false; INTIDS];
    for (number, (sender, receive, intid)) in pairs.iter().enumerate().skip(first).step_by(3) {
        equal("was pending", u64::from(made(talk::send(*sender))?), 0)?;
        is_due[*intid as usize] = true;
        if number >= alone {
            let index = receive.0 & 0xffff;
            want[(index / 64) as usize] |= 1 << (index % 64);
        }
    }
    // The lock has kept interrupts out: each came once, a group's as well.
    drop(all);
    for (intid, (due, before)) in (0..).zip(is_due.into_iter().zip(before)) {
        wait(0, intid, before + u64::from(due))?;
    }
    for (word, want) in (0..).zip(want) {
        equal("taken", event::take(word), want)?;
    }
    Ok(())
}
