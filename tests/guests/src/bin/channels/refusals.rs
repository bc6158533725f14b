//! Calls that are refused: each says why, and changes nothing. The accounts are read before and after each.
#![expect(unsafe_code, reason = "makes calls with handles that are nobody's")]

use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_abi::{AreaClass, RESOURCE_COUNT, Resource, Status};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::partition;
use shikiri_rt::hvc::raw;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::platform;
use shikiri_test_guests::answers::{over_limit, refused_for, take_memory};
use shikiri_test_guests::port::{Port, clear_line, made, refused, set, wait, word, write};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::taken;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::{EVENT, SLOTS, TELL, UNKNOWN, connect};

/// As often handles come and go at the server, so that none of its own is one of the client's.
const TURNS: u64 = 200;

/// What is charged, by resource.
fn charged() -> Result<[u64; RESOURCE_COUNT], Failure> {
    let mut lines = [0; RESOURCE_COUNT];
    for (place, line) in lines.iter_mut().zip(Resource::ALL) {
        *place = made(partition::account(line))?.used;
    }
    Ok(lines)
}

/// A call that is refused as it should be, and is charged for nothing.
fn refusal(call: impl FnOnce() -> Outcome) -> Outcome {
    let before = charged()?;
    call()?;
    ensure("nothing has changed", charged()? == before)
}

/// Places for areas, handles, and rows of ports: each is named when there is none left.
pub(crate) fn limits() -> Outcome {
    let before = charged()?;
    let mut areas = [None; 64];
    let page = || message::alloc(4096, AreaClass::Page);
    for place in areas.iter_mut() {
        let Ok(area) = page() else { break };
        *place = Some(area.handle);
    }
    ensure("areas were made", areas[0].is_some() && areas[63].is_none())?;
    let places = (Status::OverLimit, u64::from(Resource::IpaSpace.number()));
    refusal(|| refused_for("a place for an area", page(), places))?;
    for area in areas.into_iter().flatten() {
        made(taken::free(area))?;
    }
    let rows = (Status::OverLimit, u64::from(Resource::ManagementMemory.number()));
    let mut ports = [None, None, None];
    for (place, intid) in ports.iter_mut().zip(EVENT..).take(2) {
        *place = Some(Port::new(AreaClass::Page, 1, intid)?);
    }
    let mut receives = [None; 128];
    receives[0] = Some(made(talk::create_receive())?);
    let events = receives[0].unwrap_or(Handle(0));
    let port = || message::create(events, 1, AreaClass::Page);
    refusal(|| refused_for("a row for a message port", port(), rows))?;
    for place in receives.iter_mut().skip(1) {
        let Ok(receive) = talk::create_receive() else { break };
        *place = Some(receive);
    }
    ensure("handles are used up", receives[127].is_none())?;
    refusal(|| refused_for("a handle for an event port", talk::create_send(), rows))?;
    refusal(|| refused_for("a handle for an area", page(), rows))?;
    for receive in receives.into_iter().flatten() {
        made(talk::close(receive))?;
    }
    ports.into_iter().flatten().try_for_each(Port::close)?;
    ensure("all is refunded", charged()? == before)
}

/// With all used that the limit of memory allows, nothing can be made that takes some, nor kept for its own; as soon as something was
/// given back it can.
pub(crate) fn over_memory() -> Outcome {
    let before = charged()?;
    let mut port = connect(crate::ECHO, AreaClass::Page)?;
    let sent = made(message::alloc(4096, AreaClass::Page))?;
    port.send(Some((sent.handle, 8)), [0; 3])?;
    let received = port.wait_for_message()?;
    let held = received.area.unwrap_or(Handle(0));
    let all = take_memory()?;
    let events = made(talk::create_receive())?;
    let area = || message::alloc(4096, AreaClass::Page);
    // Its two pages are taken first, and given back: that moves the high-water mark of management memory.
    let create = || message::create(events, 1, AreaClass::Page);
    let memory = (Status::OverLimit, u64::from(Resource::Memory.number()));
    over_limit("an area", area, Resource::Memory)?;
    over_limit("an area of its own", || message::keep(held), Resource::Memory)?;
    refusal(|| refused_for("a port", create(), memory))?;
    equal("it is as it was", word(received.address)?, 1)?;
    let less = |pages: u64| made(taken::trim(all.handle, pages << 12));
    less(all.pages.0 - 1)?;
    made(message::keep(held))?;
    over_limit("an area", area, Resource::Memory)?;
    refusal(|| refused_for("a port", create(), memory))?;
    // For its slot; its two pages are management memory.
    less(all.pages.0 - 2)?;
    let other = made(create())?;
    over_limit("an area", area, Resource::Memory)?;
    made(taken::close(other.handle))?;
    made(taken::free(made(area())?.handle))?;
    for area in [held, all.handle] {
        made(taken::free(area))?;
    }
    made(talk::close(events))?;
    port.close()?;
    ensure("all is refunded", charged()? == before)
}

/// A port's end at the server, which tells of its own handles.
pub(crate) fn tell(port: &Port) -> Outcome {
    for _ in 0..TURNS {
        let receive = made(talk::create_receive())?;
        made(taken::free(made(message::alloc(4096, AreaClass::Page))?.handle))?;
        made(talk::close(receive))?;
    }
    let receive = made(talk::create_receive())?;
    let Area { handle: area, .. } = made(message::alloc(4096, AreaClass::Page))?;
    port.send(None, [receive.0, area.0, 0])?;
    wait("the client leaves", || Ok(!port.is_connected()?))?;
    made(talk::close(receive))?;
    made(taken::free(area))
}

/// All registers that a call answers.
fn answer(number: u64, arguments: [u64; 6]) -> raw::Results {
    // SAFETY: the handle in it is nobody's, so that no memory can go.
    unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + number, arguments) }
}

/// The server's handles, those of what is gone, and guesses: one answer for all, at each call.
pub(crate) fn handles() -> Outcome {
    let mut port = connect(TELL, AreaClass::Page)?;
    let [foreign_receive, foreign_area, _] = port.wait_for_message()?.short;
    let stale_area = made(message::alloc(4096, AreaClass::Page))?.handle;
    made(taken::free(stale_area))?;
    let stale_receive = made(talk::create_receive())?;
    made(talk::close(stale_receive))?;
    let (send, receive) = (made(talk::create_send())?, made(talk::create_receive())?);
    let area = made(message::alloc(4096, AreaClass::Page))?;
    let next = |handle: Handle| handle.0 + (1 << 16);
    let wrong = [
        foreign_receive,
        foreign_area,
        stale_receive.0,
        stale_area.0,
        next(receive),
        next(area.handle),
        next(port.handle),
        (1 << 16) | 5000,
        0,
        1 << 63,
        u64::MAX,
    ];
    let own = [send, receive, area.handle, port.handle].map(|Handle(handle)| handle);
    ensure("the server's are others", !own.iter().any(|handle| wrong.contains(handle)))?;
    let server = platform::number_of("server").unwrap_or(0);
    // Whom it may not ask, and who may be asked and does not live: the handle goes before that.
    let stranger = platform::number_of("stranger").unwrap_or(40);
    let absent = platform::number_of("absent").unwrap_or(40);
    let [send, receive, area, port_handle] = own;
    let bad_handle: [(u64, usize, [u64; 6]); 22] = [
        (0x12, 0, [0, receive, 0, 0, 0, 0]),
        (0x12, 1, [send, 0, 0, 0, 0, 0]),
        (0x13, 0, [0, 100, 0, 0, 0, 0]),
        (0x14, 0, [0, 1, 0, 0, 0, 0]),
        (0x15, 0, [0; 6]),
        (0x16, 0, [0; 6]),
        (0x18, 0, [0; 6]),
        (0x19, 0, [0; 6]),
        (0x1a, 0, [0; 6]),
        (0x1b, 0, [0, server, 1, 1, 0, 0]),
        (0x1b, 0, [0, stranger, 1, 1, 0, 0]),
        (0x1b, 0, [0, absent, 1, 1, 0, 0]),
        (0x1d, 0, [0, receive, 0, 0, 0, 0]),
        (0x1e, 0, [0; 6]),
        (0x28, 0, [0, 1, 0, 0, 0, 0]),
        (0x29, 0, [0, server, 1, 1, 0, 0]),
        (0x29, 0, [0, stranger, 1, 1, 0, 0]),
        (0x29, 0, [0, absent, 1, 1, 0, 0]),
        (0x2a, 0, [0, port_handle, 0, 0, 0, 0]),
        (0x2b, 0, [0, area, 8, 1, 2, 3]),
        (0x2c, 0, [0; 6]),
        (0x2d, 0, [0; 6]),
    ];
    let not_owner: [(u64, usize, [u64; 6]); 5] = [
        (0x21, 0, [0; 6]),
        (0x22, 0, [0; 6]),
        (0x23, 0, [0; 6]),
        (0x24, 0, [0, 4096, 0, 0, 0, 0]),
        (0x2b, 1, [port_handle, 0, 8, 1, 2, 3]),
    ];
    let with = |status: Status| move |row: &(u64, usize, [u64; 6])| (*row, status);
    let rows = bad_handle.iter().map(with(Status::BadHandle));
    for ((number, place, arguments), status) in
        rows.chain(not_owner.iter().map(with(Status::NotOwner)))
    {
        for handle in wrong {
            // No area is meant by 0 when a message is sent.
            if (number, place, handle) == (0x2b, 1, 0) {
                continue;
            }
            let mut arguments = arguments;
            arguments[place] = handle;
            refusal(|| {
                let [x0, x1, x2, x3] = answer(number, arguments);
                if x0.cast_signed() != status.code() {
                    shikiri_rt::println!("call {number:#x}, x{}: {handle:#x}", place + 1);
                }
                equal("why", x0, status.code().cast_unsigned())?;
                ensure("it tells nothing else", [x1, x2, x3] == [0; 3])
            })?;
        }
    }
    made(taken::free(Handle(area)))?;
    made(talk::close(Handle(send)))?;
    made(talk::close(Handle(receive)))?;
    port.close()
}

/// More bytes than an area has; keeping what is one's own already; a window of another class.
pub(crate) fn areas() -> Outcome {
    let port = connect(crate::ECHO, AreaClass::Page)?;
    let area = made(message::alloc(4096, AreaClass::Page))?;
    let block = made(message::alloc(0x3000, AreaClass::Block))?;
    set(area.address, 0x77)?;
    let send = |area: Handle, bytes| taken::send(port.handle, Some((area, bytes)), [1, 2, 3]);
    for bytes in [4097, 0x3000, u64::MAX] {
        refusal(|| refused("more bytes than it has", send(area.handle, bytes), Status::Range))?;
    }
    refusal(|| refused("another class", send(block.handle, 8), Status::Range))?;
    refusal(|| refused("keep", message::keep(area.handle), Status::WrongState))?;
    let short = || answer(0x2b, [port.handle.0, 0, 1, 0, 0, 0])[0];
    refusal(|| equal("bytes of no area", short(), Status::Range.code().cast_unsigned()))?;
    equal("it is as it was", word(area.address)?, 0x77)?;
    equal("its size", made(message::info(area.handle))?.pages.0, 1)?;
    made(taken::free(block.handle))?;
    made(taken::free(area.handle))?;
    port.close()
}

/// While an area is being made, by what an interrupt may have interrupted, who asks for another one is told so, and does not wait.
pub(crate) fn one_at_a_time() -> Outcome {
    let [status, making, ..] =
        answer(0x20, [2 << 20, u64::from(AreaClass::Block.code()), 0, 0, 0, 0]);
    equal("it takes several calls", status, Status::Again.code().cast_unsigned())?;
    let another = || message::try_alloc(4096, AreaClass::Page);
    refusal(|| refused("another", another(), Status::Again))?;
    made(taken::free(Handle(making)))?;
    made(taken::free(made(another())?.handle))
}

/// The page of what has come can only be read: no store gets there, nor one that the cache makes.
pub(crate) fn arrivals() -> Outcome {
    let port = connect(crate::ECHO, AreaClass::Page)?;
    let before = word(port.arrivals)?;
    for at in [0, 8, 64, 4088] {
        ensure("a store faults", write(port.arrivals.wrapping_add(at), 7).is_err())?;
    }
    ensure("a cleared line faults", clear_line(port.arrivals).is_err())?;
    equal("it is as it was", word(port.arrivals)?, before)?;
    port.close()
}

/// Partitions that the description does not list, or that do not live; a service that the server does not know.
pub(crate) fn peers() -> Outcome {
    let mut port = Port::new(AreaClass::Page, SLOTS, EVENT)?;
    let connect = |port: &Port, partition| message::connect(port.handle, partition, crate::ECHO, 0);
    // Itself, none, and perhaps one that is there: nobody can tell them apart.
    let own = platform::number_of("own").unwrap_or(0);
    let stranger = platform::number_of("stranger").unwrap_or(own);
    for partition in [own, stranger, 40, 255] {
        let asked = || connect(&port, partition as u8);
        refusal(|| refused("not listed", asked(), Status::NotPermitted))?;
    }
    if let Some(absent) = platform::number_of("absent") {
        refusal(|| refused("not started", connect(&port, absent as u8), Status::PeerGone))?;
    }
    refusal(|| {
        let unknown = message::connect(port.handle, server(), UNKNOWN, 0);
        made(unknown)?;
        wait("refused", || {
            let sent = taken::send(port.handle, None, [0; 3]);
            let why = sent.err().and_then(|refusal| refusal.status());
            Ok(why == Some(Status::Refused))
        })
    })?;
    // It is as good as new.
    made(message::connect(port.handle, server(), crate::ECHO, 0))?;
    wait("connected", || port.is_connected())?;
    port.post(1)?;
    port.send(None, [4, 5, 6])?;
    ensure("answered", port.wait_for_message()?.short == [5, 6, 7])?;
    port.close()
}

fn server() -> u8 {
    platform::number_of("server").unwrap_or(0) as u8
}
