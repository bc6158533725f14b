//! Two partitions and a message channel between them: areas go there and back. `role=` on the command line says which one this is.
#![no_std]
#![no_main]

mod refusals;

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, Ipa, SignalKind, Status, WindowSlot};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::shared;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::mmu::Access;
use shikiri_rt::{gic, irq, platform, power, reg};
use shikiri_test_guests::fault;
use shikiri_test_guests::port::{
    Port, made, map_windows, read, refused, set, used, wait, word, write,
};
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::taken;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

shikiri_rt::entry!(main);

const EVENT: u32 = 65;
/// Services: answer each message with its area; end when a message has come; tell of handles. Others are refused.
const ECHO: u32 = 1;
const END: u32 = 2;
const TELL: u32 = 3;
const UNKNOWN: u32 = 4;
const SLOTS: u16 = 2;
/// Messages that one life of a described channel's other end answers.
const MESSAGES: u64 = 5;

static EVENTS: AtomicU64 = AtomicU64::new(0);
/// Of another interrupt than the channel's.
static CALLS: AtomicU64 = AtomicU64::new(0);

fn count(intid: u32) {
    let counter = if intid == EVENT { &EVENTS } else { &CALLS };
    counter.fetch_add(1, Ordering::Release);
}

fn main() {
    fault::catch_faults();
    irq::set_handler(count);
    irq::unmask();
    if map_windows(Access::Data).is_err() {
        return;
    }
    match platform::value_of("role") {
        Some("server") => serve(),
        Some("left") if platform::has_word("all") => left_with_all(),
        Some("right") if platform::has_word("all") => right_with_all(),
        Some("early") => early(),
        Some("left") => left(),
        Some("right") => right(),
        _ => client(),
    }
}

/// This partition's end of the only channel of the description, which has no events: its first two handles, its first two pages.
fn described() -> Result<Port, Failure> {
    let [arrivals, credits] =
        [0, 1].map(|index| WindowSlot { class: AreaClass::Page, index }.ipa());
    gic::enable(EVENT);
    let port = message::Port { handle: Handle(0x1_0001), arrivals, credits };
    let mut port = Port::around(port, Handle(0x1_0000));
    port.post(u64::from(SLOTS))?;
    Ok(port)
}

/// Has areas sent back by one life of the other side after the other, over the same port.
fn left() {
    case("a_channel_of_the_description_outlives_its_other_end", || {
        let mut port = described()?;
        for life in 1..=4 {
            wait("connected", || Ok(port.is_connected()? && port.peers()? == life))?;
            wait("told of it", || Ok(EVENTS.load(Ordering::Acquire) >= life))?;
            for round in 0..MESSAGES {
                let Area { handle, address, .. } = made(message::alloc(4096, AreaClass::Page))?;
                set(address, round)?;
                port.send(Some((handle, 8)), [round, life, 0])?;
                let message = port.wait_for_message()?;
                equal("the round", message.short[0], round + 1)?;
                equal("the word", word(message.address)?, round + 1)?;
                made(taken::free(message.area.unwrap_or(Handle(0))))?;
                port.post(1)?;
            }
        }
        Ok(())
    });
    done()
}

/// Sends some areas back, and ends; the description starts it again.
fn right() {
    let serving = || -> Outcome {
        let mut port = described()?;
        for _ in 0..MESSAGES {
            let message = port.wait_for_message()?;
            set(message.address, word(message.address)? + 1)?;
            let area = message.area.map(|area| (area, message.bytes));
            port.send(area, message.short.map(|word| word + 1))?;
            port.post(1)?;
        }
        Ok(())
    };
    if let Err(failure) = serving() {
        fail("right", &failure);
    }
    power::off()
}

/// The first that this partition does is to send, an event and a message; the other does the same.
fn early() {
    case("what_the_description_connects_is_connected_before_the_guests_run", || {
        let (send, receive) = if platform::has_word("left") {
            ("event-call", "event-answer")
        } else {
            ("event-answer", "event-call")
        };
        let event = talk::send(Handle(said(send, "shikiri,handle")?));
        let port = Handle(said("channel-talk", "shikiri,handle")?);
        let message = taken::send(port, None, [1, 2, 3]);
        ensure("the first event", !made(event)?)?;
        // The other may have posted no credit yet.
        if let Err(refusal) = message {
            equal("the first message", refusal.code as u64, Status::Full.code() as u64)?;
        }
        let mut port = told()?;
        gic::enable(platform::described_intid(receive).unwrap_or(0));
        if message.is_err() {
            port.send(None, [1, 2, 3])?;
        }
        ensure("its message", port.wait_for_message()?.short == [1, 2, 3])?;
        wait("its event", || Ok(CALLS.load(Ordering::Acquire) == 1))
    });
    done()
}

/// What the device tree says of a node.
fn said(node: &str, property: &'static str) -> Result<u64, Failure> {
    let missing = Failure { what: property, got: 0, want: 1 };
    platform::described(node, property).ok_or(missing)
}

/// This partition's end of the channel, where the device tree says that it is.
fn told() -> Result<Port, Failure> {
    let node = "channel-talk";
    equal("the interrupt", platform::described_intid(node).unwrap_or(0).into(), EVENT.into())?;
    gic::enable(EVENT);
    let port = message::Port {
        handle: Handle(said(node, "shikiri,handle")?),
        arrivals: Ipa(said(node, "shikiri,arrivals")?),
        credits: Ipa(said(node, "shikiri,credits")?),
    };
    let mut port = Port::around(port, Handle(said(node, "shikiri,events")?));
    port.post(said(node, "shikiri,slots")?)?;
    Ok(port)
}

/// The send port of one event, the other's interrupt being enabled; and the shared area, which is as it is described.
fn event_and_area(send: &str, receive: &str) -> Result<(Handle, Ipa), Failure> {
    gic::enable(platform::described_intid(receive).unwrap_or(0));
    let node = "shared-board";
    let board = made(shared::state(Handle(said(node, "shikiri,handle")?)))?;
    let board = board.ok_or(Failure { what: "no area", got: 0, want: 1 })?;
    equal("its place", board.address.0, said(node, "shikiri,address")?)?;
    equal("its size", board.pages.0 << 12, said(node, "shikiri,bytes")?)?;
    Ok((Handle(said(send, "shikiri,handle")?), board.address))
}

/// Has an event, a shared area and a channel, and uses all with one life of the other side after the other.
fn left_with_all() {
    case("all_that_the_description_gives_is_where_the_device_tree_says", || {
        let mut port = told()?;
        let (call, board) = event_and_area("event-call", "event-answer")?;
        for life in 1..=3 {
            wait("connected", || Ok(port.is_connected()? && port.peers()? == life))?;
            let was = word(board)?;
            equal("the shared word", was, 2 * (life - 1))?;
            set(board, was + 1)?;
            made(talk::send(call))?;
            wait("answered", || Ok(CALLS.load(Ordering::Acquire) >= life))?;
            equal("the shared word", word(board)?, was + 2)?;
            let Area { handle, address, .. } = made(message::alloc(4096, AreaClass::Page))?;
            set(address, was)?;
            port.send(Some((handle, 8)), [life, 0, 0])?;
            let message = port.wait_for_message()?;
            equal("the life", message.short[0], life + 1)?;
            equal("the word", word(message.address)?, was + 2)?;
            made(taken::free(message.area.unwrap_or(Handle(0))))?;
            port.post(1)?;
        }
        Ok(())
    });
    done()
}

/// Its other side: answers an event and a message, and ends.
fn right_with_all() {
    let serving = || -> Outcome {
        let mut port = told()?;
        let (answer, board) = event_and_area("event-answer", "event-call")?;
        wait("called", || Ok(CALLS.load(Ordering::Acquire) > 0))?;
        set(board, word(board)? + 1)?;
        made(talk::send(answer))?;
        let message = port.wait_for_message()?;
        set(message.address, word(board)?)?;
        let area = message.area.map(|area| (area, message.bytes));
        port.send(area, message.short.map(|word| word + 1))
    };
    if let Err(failure) = serving() {
        fail("right", &failure);
    }
    power::off()
}

fn client() {
    if platform::has_word("limited") {
        case("what_the_limit_of_memory_does_not_allow_is_refused", refusals::over_memory);
        done()
    }
    if platform::has_word("ends") {
        case("a_receiver_that_ends_frees_what_it_has_and_its_peer_is_told", peer_ends);
        done()
    }
    // First, while the client's handles are young.
    case("wrong_handles_are_one_error_that_tells_nothing", refusals::handles);
    case("what_is_used_up_is_named", refusals::limits);
    case("what_an_area_is_not_is_refused", refusals::areas);
    case("a_peer_that_cannot_be_asked_is_refused", refusals::peers);
    case(
        "one_area_is_made_at_a_time_and_who_asks_for_another_need_not_wait",
        refusals::one_at_a_time,
    );
    case("the_arrivals_can_only_be_read", refusals::arrivals);
    case("an_area_is_cleared_and_faults_when_it_is_freed", area_alone);
    case("a_message_takes_its_area_there_and_back", there_and_back);
    case("two_hundred_round_trips", many);
    case("a_full_port_refuses_and_tells_when_there_is_room", full);
    done()
}

/// Connects to the server.
fn connect(service: u32, class: AreaClass) -> Result<Port, Failure> {
    let server = platform::number_of("server").unwrap_or(0) as u8;
    let mut port = Port::new(class, SLOTS, EVENT)?;
    let told = EVENTS.load(Ordering::Acquire);
    // A server that is about to end withdraws the request: it is made again.
    wait("connected", || {
        let _asked = message::connect(port.handle, server, service, u64::from(class.code()));
        port.is_connected()
    })?;
    // The page says it a moment before the event.
    wait("told of the connection", || Ok(EVENTS.load(Ordering::Acquire) > told))?;
    port.post(u64::from(SLOTS))?;
    Ok(port)
}

fn area_alone() -> Outcome {
    let before = used()?;
    for (bytes, class) in
        [(4096, AreaClass::Page), (0x5000, AreaClass::Block), (2 << 20, AreaClass::Block)]
    {
        for _ in 0..2 {
            let area = made(message::alloc(bytes, class))?;
            equal("pages", area.pages.0, bytes.div_ceil(4096))?;
            for at in (0..bytes).step_by(1024) {
                equal("cleared", word(area.address.wrapping_add(at))?, 0)?;
                set(area.address.wrapping_add(at), !at)?;
            }
            equal("charged", used()?[0] - before[0], area.pages.0)?;
            if area.pages.0 > 1 {
                split(&area, bytes / 4 * 3, before)?;
                trimmed(&area, bytes / 2, before)?;
            }
            made(taken::free(area.handle))?;
            ensure("a load faults", read(area.address).is_err())?;
            ensure("a store faults", write(area.address, 1).is_err())?;
            refused("info", message::info(area.handle), Status::NotOwner)?;
        }
    }
    ensure("all is refunded", used()? == before)
}

/// Makes the tail of an area another one, and frees that; the rest stays.
fn split(area: &Area, bytes: u64, before: [u64; 3]) -> Outcome {
    let (stays, tail) = (bytes.div_ceil(4096), area.pages.0 - bytes.div_ceil(4096));
    for no_head_or_tail in [0, area.pages.0 << 12] {
        let split = taken::split(area.handle, no_head_or_tail, AreaClass::Block);
        refused("split", split, Status::Range)?;
    }
    let split = taken::split(area.handle, 4096, AreaClass::Page);
    refused("more than a page", split, Status::Range)?;
    let other = made(taken::split(area.handle, bytes, AreaClass::Block))?;
    equal("pages that go", other.pages.0, tail)?;
    equal("pages that stay", made(message::info(area.handle))?.pages.0, stays)?;
    equal("charged", used()?[0] - before[0], area.pages.0)?;
    for at in (0..stays << 12).step_by(1024) {
        equal("kept", word(area.address.wrapping_add(at))?, !at)?;
    }
    ensure("the tail faults", read(area.address.wrapping_add(stays << 12)).is_err())?;
    // Every page of the tail is there once, with all that was in it.
    let mut sum = 0;
    for page in 0..tail {
        let at = other.address.wrapping_add(page << 12);
        let first = !word(at)?;
        equal("its second word", word(at.wrapping_add(1024))?, !(first + 1024))?;
        sum += first >> 12;
    }
    equal("all pages", sum, (stays..area.pages.0).sum::<u64>())?;
    made(taken::free(other.handle))?;
    ensure("what is freed faults", read(other.address).is_err())
}

/// Frees the tail of an area; the rest stays.
fn trimmed(area: &Area, bytes: u64, before: [u64; 3]) -> Outcome {
    for too_few_or_many in [0, (area.pages.0 << 12) + 1] {
        refused("trim", taken::trim(area.handle, too_few_or_many), Status::Range)?;
    }
    made(taken::trim(area.handle, bytes))?;
    let left = bytes.div_ceil(4096);
    equal("pages", made(message::info(area.handle))?.pages.0, left)?;
    equal("charged", used()?[0] - before[0], left)?;
    for at in (0..left << 12).step_by(1024) {
        equal("kept", word(area.address.wrapping_add(at))?, !at)?;
    }
    ensure("the tail faults", read(area.address.wrapping_add(left << 12)).is_err())
}

fn there_and_back() -> Outcome {
    let before = used()?;
    for (class, bytes) in
        [(AreaClass::Page, 4096), (AreaClass::Block, 0x3000), (AreaClass::Block, 2 << 20)]
    {
        let mut port = connect(ECHO, class)?;
        // Larger than needed, where that can be.
        let most = if class == AreaClass::Page { bytes } else { 2 << 20 };
        let Area { handle, address, .. } = made(message::alloc(most, class))?;
        made(taken::trim(handle, bytes))?;
        let last = address.wrapping_add(bytes - 8);
        set(address, 0x1111)?;
        set(last, 0x2222)?;
        let told = EVENTS.load(Ordering::Acquire);
        port.send(Some((handle, bytes)), [7, 8, 9])?;
        // From here on it is the server's alone.
        for at in [address, last] {
            ensure("a load faults", read(at).is_err())?;
            ensure("a store faults", write(at, 3).is_err())?;
        }
        refused("free", taken::free(handle), Status::NotOwner)?;
        let message = port.wait_for_message()?;
        wait("told of it", || Ok(EVENTS.load(Ordering::Acquire) > told))?;
        equal("bytes", message.bytes, bytes)?;
        ensure("the short message", message.short == [8, 9, 10])?;
        equal("the first word", word(message.address)?, 0x1112)?;
        equal("the last word", word(message.address.wrapping_add(bytes - 8))?, 0x2223)?;
        let area = message.area.ok_or(Failure { what: "no area", got: 0, want: 1 })?;
        made(taken::free(area))?;
        port.post(1)?;
        port.close()?;
    }
    ensure("all is refunded", used()? == before)
}

fn many() -> Outcome {
    let class = AreaClass::Page;
    let mut port = connect(ECHO, class)?;
    let Area { mut handle, mut address, .. } = made(message::alloc(4096, class))?;
    for round in 0..200 {
        set(address, round)?;
        port.send(Some((handle, 8)), [round, 0, 0])?;
        let message = port.wait_for_message()?;
        equal("the round", message.short[0], round + 1)?;
        address = message.address;
        equal("the word", word(address)?, round + 1)?;
        handle = message.area.unwrap_or(Handle(0));
        port.post(1)?;
    }
    made(taken::free(handle))?;
    port.close()
}

fn full() -> Outcome {
    let mut port = connect(ECHO, AreaClass::Page)?;
    // The first answer is told of. It stays where it is, so that no other is, and what comes behind it tells of room.
    let mut told = EVENTS.load(Ordering::Acquire);
    port.send(None, [0; 3])?;
    wait("told of the first answer", || Ok(EVENTS.load(Ordering::Acquire) > told))?;
    // The server answers each; nobody takes the answers, so that it comes to a stop.
    let mut sent = 1_u64;
    wait("full", || {
        told = EVENTS.load(Ordering::Acquire);
        match taken::send(port.handle, None, [sent, 0, 0]) {
            Ok(()) => {
                sent += 1;
                Ok(false)
            }
            Err(refusal) if refusal.status() == Some(Status::Full) => Ok(sent > u64::from(SLOTS)),
            Err(refusal) => Err(Failure { what: "refused", got: refusal.code as u64, want: 0 }),
        }
    })?;
    // Room for an answer lets the server go on.
    port.post(1)?;
    wait("told of room", || Ok(EVENTS.load(Ordering::Acquire) > told))?;
    made(taken::send(port.handle, None, [sent, 0, 0]))?;
    sent += 1;
    let mut answered = 0;
    while answered < sent {
        let message = port.wait_for_message()?;
        equal("in order", message.short[0], answered + 1)?;
        answered += 1;
        port.post(1)?;
    }
    port.close()
}

/// The server ends with the area that it was sent; it is started again.
fn peer_ends() -> Outcome {
    for _ in 0..3 {
        let port = connect(END, AreaClass::Block)?;
        let area = made(message::alloc(0x4000, AreaClass::Block))?;
        set(area.address, 0x1234)?;
        let told = EVENTS.load(Ordering::Acquire);
        port.send(Some((area.handle, 0)), [0; 3])?;
        wait("told of the end", || {
            Ok(!port.is_connected()? && EVENTS.load(Ordering::Acquire) > told)
        })?;
        ensure("it does not come back", read(area.address).is_err())?;
        refused("send", taken::send(port.handle, None, [0; 3]), Status::PeerGone)?;
        port.close()?;
    }
    Ok(())
}

/// Serves one client after another, for ever.
fn serve() {
    loop {
        if let Err(Failure { what, got, want }) = serve_one() {
            shikiri_rt::println!("FAIL server: {what}: {got:#x}, not {want:#x}");
            return;
        }
    }
}

fn serve_one() -> Outcome {
    let signal = loop {
        match talk::take_signal() {
            Ok(signal) => break signal,
            Err(_) => reg::yield_now(),
        }
    };
    let is_for_a_channel = signal.kind == Some(SignalKind::ChannelConnect);
    equal("kind", u64::from(is_for_a_channel), 1)?;
    if ![ECHO, END, TELL].contains(&signal.service) {
        return made(talk::refuse(signal.request));
    }
    let class = AreaClass::from_code(signal.word).unwrap_or(AreaClass::Page);
    let mut port = Port::new(class, SLOTS, EVENT)?;
    if message::accept(signal.request, port.handle).is_err() {
        made(talk::refuse(signal.request))?;
        return port.close();
    }
    port.post(u64::from(SLOTS))?;
    if signal.service == TELL {
        refusals::tell(&port)?;
    }
    while port.is_connected()? {
        let Some(message) = port.receive()? else {
            reg::yield_now();
            continue;
        };
        if signal.service == END {
            equal("the first word", word(message.address)?, 0x1234)?;
            power::off();
        }
        if message.area.is_some() {
            let last = message.address.wrapping_add(message.bytes.saturating_sub(8));
            set(message.address, word(message.address)? + 1)?;
            if last != message.address {
                set(last, word(last)? + 1)?;
            }
        }
        let short = message.short.map(|word| word + 1);
        let area = message.area.map(|area| (area, message.bytes));
        loop {
            match taken::send(port.handle, area, short) {
                Err(refusal) if refusal.status() == Some(Status::Full) => reg::yield_now(),
                Err(refusal) if refusal.status() == Some(Status::PeerGone) => break,
                other => break made(other)?,
            }
        }
        port.post(1)?;
    }
    port.close()
}
