//! A side whose messages flow until somebody ends it, or its peer: an area goes there and back without end. When the peer has gone
//! it looks whether it was told, gives all back, and begins again.

use shikiri_abi::{AreaClass, Status};
use shikiri_object::Queue;
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::{platform, println, reg};
use shikiri_test_guests::points::Side;
use shikiri_test_guests::port::{Message, Port, made, refused, set, used, word};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, ensure, equal, taken};

use crate::told::{self, EVENT};
use crate::{report, reports, wait};

const SLOTS: u16 = 2;

/// Flows for ever.
pub(crate) fn flow(side: Side) {
    let Err(failure) = flow_on(side) else { return };
    fail("flow", &failure);
}

fn flow_on(side: Side) -> Outcome {
    let reports = reports()?;
    let before = used()?;
    loop {
        let Some(mut port) = connect(side)? else { continue };
        let mut is_told_of = false;
        let mut area = None;
        for round in 0.. {
            if !turn(side, &mut port, &mut area, round)? {
                break;
            }
            if !is_told_of {
                is_told_of = true;
                say(&reports, side, report::FLOWS, 0)?;
            }
        }
        let told_at = gone(port, area)?;
        ensure("all is refunded", used()? == before)?;
        if is_told_of {
            say(&reports, side, report::GONE, told_at)?;
        }
    }
}

/// In the queue, as long as somebody takes it out, and on the console.
fn say(reports: &Queue, side: Side, what: u64, at: u64) -> Outcome {
    let _has_room = made(reports.try_send([side as u64, what, at]))?;
    let name = if side == Side::Client { "client" } else { "server" };
    println!("{name}: {}", if what == report::FLOWS { "flows" } else { "gone" });
    Ok(())
}

/// A port with a peer; none if there is nobody to talk to just now.
fn connect(side: Side) -> Result<Option<Port>, Failure> {
    let request = match side {
        Side::Client => None,
        Side::Server => match talk::take_signal() {
            Ok(signal) => Some(signal.request),
            Err(_) => {
                reg::yield_now();
                return Ok(None);
            }
        },
    };
    let mut port = Port::new(AreaClass::Page, SLOTS, EVENT)?;
    let is_connected = match request {
        Some(request) => {
            let is_accepted = message::accept(request, port.handle).is_ok();
            if !is_accepted {
                made(talk::refuse(request))?;
            }
            is_accepted
        }
        None => ask(&port)?,
    };
    if !is_connected {
        port.close()?;
        return Ok(None);
    }
    told::watch(Some(port.arrivals()));
    // It may have gone before anybody looked.
    told::look();
    port.post(u64::from(SLOTS))?;
    Ok(Some(port))
}

/// Asks until it is connected, or has been: a server that ends withdraws, and one that is not there is asked again.
fn ask(port: &Port) -> Result<bool, Failure> {
    let server = platform::number_of("server").unwrap_or(0) as u8;
    loop {
        let _asked = message::connect(port.handle, server, 0, 0);
        if port.peers()? > 0 {
            return Ok(true);
        }
        reg::yield_now();
    }
}

/// One message out and one in; false when the peer has gone.
fn turn(
    side: Side,
    port: &mut Port,
    area: &mut Option<(Handle, u64)>,
    round: u64,
) -> Result<bool, Failure> {
    if side == Side::Client {
        if area.is_none() {
            let made = made(message::alloc(4096, AreaClass::Page))?;
            set(made.address, 0)?;
            *area = Some((made.handle, 8));
        }
        if !send(port, area, round)? {
            return Ok(false);
        }
    }
    let Some(Message { area: Some(came), address, bytes, short }) = receive(port)? else {
        return Ok(false);
    };
    equal("the round", short[0], round)?;
    equal("what is in it", word(address)?, 2 * round + u64::from(side == Side::Client))?;
    set(address, word(address)? + 1)?;
    *area = Some((came, bytes));
    port.post(1)?;
    Ok(side == Side::Client || send(port, area, round)?)
}

/// Sends as soon as there is room; false when the peer has gone, and then the area is still here.
fn send(port: &Port, area: &mut Option<(Handle, u64)>, round: u64) -> Result<bool, Failure> {
    loop {
        match taken::send(port.handle, *area, [round, 0, 0]) {
            Ok(()) => {
                *area = None;
                return Ok(true);
            }
            Err(refusal) if refusal.status() == Some(Status::Full) => reg::yield_now(),
            Err(refusal) if refusal.status() == Some(Status::PeerGone) => return Ok(false),
            other => made(other)?,
        }
    }
}

/// The next message, also one that the peer has sent before it went.
fn receive(port: &mut Port) -> Result<Option<Message>, Failure> {
    loop {
        let is_connected = port.is_connected()?;
        match port.receive()? {
            None if is_connected => reg::yield_now(),
            found => return Ok(found),
        }
    }
}

/// The peer has gone: it was told, and nobody takes a message any more. Gives back what there is, and answers when it was told.
fn gone(mut port: Port, area: Option<(Handle, u64)>) -> Result<u64, Failure> {
    wait("the port says so", || Ok(!port.is_connected()?))?;
    refused("send", taken::send(port.handle, None, [0; 3]), Status::PeerGone)?;
    // The core where it ends may be between the page and the event.
    wait("told of it", || Ok(told::has_seen_it_go()))?;
    let told_at = told::of_an_end()?;
    told::watch(None);
    while let Some(message) = port.receive()? {
        if let Some(area) = message.area {
            made(taken::free(area))?;
        }
    }
    if let Some((area, _)) = area {
        made(taken::free(area))?;
    }
    port.close()?;
    Ok(told_at)
}
