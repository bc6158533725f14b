//! Measures what messages cost, in ticks of the counter: `role=bench` measures, `role=echo` is the other side, `role=idle` is only
//! there, for two seconds or those of `seconds=`.
//!
//! Run as `bench`: one tick is one instruction, of all cores together, and both sides sleep while they wait. So each row is all
//! that both guests and the hypervisor do, without the cost of reading the clock. Each is the median of 1,000 and printed as
//! `bench: ROW N`, with the value of `suffix=` behind the row's name. `rows=` leaves all but some out: `send`, or `trips`. `scattered` is for a
//! machine of its own, whose memory it takes.
//! With `cycles`, and performance monitors, the rows are cycles: of the core alone where nobody sleeps, else by the counter.
//! `largest=2m` is for a machine without memory for areas of 1 GiB.
#![no_std]
#![no_main]

use core::hint::black_box;

use shikiri_abi::Status;
use shikiri_channel::{
    Area, AreaClass, Channel, Listener, NotConnected, PeerGone, Port, Refusal, Request, Wait,
    Window, Windows,
};
use shikiri_rpc::{Blocking, Client, Context, Leg, Patience, Server};
use shikiri_rpc_channel::Wire;
use shikiri_rt::hvc::partition;
use shikiri_rt::sleep;
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{Lock, irq, platform, power, println};
use shikiri_test_guests::cycles::{Clock, Cycles, Ticks, Unit};
use shikiri_test_guests::many;
use shikiri_test_guests::random::Random;

shikiri_rt::entry!(main);

const ROUNDS: usize = 1000;
const LISTENER: u32 = 64;
const PORT: u32 = 65;
/// That of event ports of which there are many.
const GROUP: u32 = 66;
/// Services of the other side: it sends each message back with its clock, or receives nothing.
const ECHO: u32 = 1;
const DEAF: u32 = 2;
/// The other side sends its clock, and ends.
const END: u32 = 3;
/// Receives nothing until it is asked for the next channel, and then polls; its window has a slot for each message.
const POLL: u32 = 4;
/// It answers remote calls.
const CALLS: u32 = 5;
/// It looks for messages now and then, and sends each back with how long it took for the one before.
const POLLED: u32 = 6;
/// It sends each message back, and sleeps in WFE meanwhile.
const ECHO_BY_EVENT: u32 = 7;
/// Messages that wait at a deaf port while one is measured.
const WAITING: usize = 50;
/// Event ports that both partitions have in the rows about many.
const MANY_PORTS: usize = 4000;

static SAMPLES: Lock<[u32; ROUNDS]> = Lock::new([0; ROUNDS]);

shikiri_rpc::service! {
    /// A service that costs nothing itself.
    trait Null, stub NullStub, server NullServer {
        1: fn nothing() -> ();
    }
}

struct Nothing;

impl Null for Nothing {
    fn nothing(&self) {}
}

/// What went wrong.
struct Failed;

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        println!("refused: {refusal}");
        Self
    }
}

impl From<PeerGone> for Failed {
    fn from(PeerGone: PeerGone) -> Self {
        Self
    }
}

fn main() {
    let result = match platform::value_of("role") {
        Some("echo") => in_unit(serve::<Ticks>, serve::<Cycles>),
        Some("idle") => idle(),
        _ => in_unit(measure::<Ticks>, measure::<Cycles>),
    };
    println!("{}", if result.is_ok() { "done" } else { "bench: failed" });
}

/// What the command line asks for.
fn in_unit(
    ticks: fn(Unit) -> Result<(), Failed>,
    cycles: fn(Unit) -> Result<(), Failed>,
) -> Result<(), Failed> {
    match Unit::start() {
        unit @ Unit::Ticks => ticks(unit),
        unit @ Unit::Cycles { .. } => cycles(unit),
    }
}

/// Asleep, until all others have measured.
fn idle() -> Result<(), Failed> {
    let seconds = platform::number_of("seconds").unwrap_or(2);
    let nothing = sleep::until(sleep::Ticks(timer::ticks(seconds * 1_000_000)), || None::<Failed>);
    nothing.map_or(Ok(()), Err)
}

fn measure<C: Clock>(unit: Unit) -> Result<(), Failed> {
    let has_rows = |some: &str| platform::value_of("rows").is_none_or(|rows| rows == some);
    // What a row is without what it measures.
    let clock = median(|| {
        let start = now();
        Ok(now() - start)
    })?;
    let own_clock = median(|| {
        let start = C::now();
        Ok(C::now() - start)
    })?;
    let suffix = platform::value_of("suffix").unwrap_or("");
    // What this core does, without a pause.
    let alone = |name: &str, taken: u64| {
        println!("bench: {name}{suffix} {}", taken.saturating_sub(own_clock));
    };
    // What others do as well.
    let elapsed = |name: &str, ticks: u64| {
        println!("bench: {name}{suffix} {}", unit.of_ticks(ticks.saturating_sub(clock)));
    };
    if has_rows("send") {
        alone("channel_send_short", send_short::<C>()?);
    }
    if has_rows("polling") || platform::has_word("areas") {
        alone("channel_send_area", send_area::<C>()?);
    }
    if has_rows("polled") {
        polled_trips(clock, &elapsed)?;
    }
    if has_rows("connect") {
        elapsed("channel_connect", median(connect_and_close)?);
    }
    if has_rows("trips") {
        trips(Wait::Interrupt, &elapsed)?;
    }
    if platform::has_word("scattered") {
        scattered_trip(&elapsed)?;
    }
    if has_rows("wfe") {
        trips(Wait::Event, &elapsed)?;
    }
    if has_rows("calls") {
        elapsed("rpc_null_call", null_call()?);
    }
    if has_rows("copies") {
        copies::<C>(&alone)?;
    }
    if has_rows("ports") {
        // On both sides, connected between the two.
        many::connect(echo(), MANY_PORTS)?;
        alone("channel_send_short_4000_ports", send_short::<C>()?);
        alone("channel_send_area_4000_ports", send_area::<C>()?);
    }
    let told = the_others_end()?;
    if has_rows("end") {
        elapsed("peer_gone_told", told);
    }
    Ok(())
}

/// One area of each size, there and back between sides that sleep: in WFI until an interrupt comes, or in WFE until the hypervisor
/// stores the message. All that both do is counted. QEMU does not model the sleep of a WFE: it is the other core's turn, until that comes to a
/// wait itself. So each look in vain that comes before a sleep is in the count, as on a machine that sleeps; were a turn cut short there
/// would be one more, but that is not in the median.
fn trips(wait: Wait, row: &dyn Fn(&str, u64)) -> Result<(), Failed> {
    for (names, class) in [
        (["channel_one_way_4k", "channel_round_trip_4k", "channel_wfe_trip_4k"], AreaClass::Page),
        (["channel_one_way_2m", "channel_round_trip_2m", "channel_wfe_trip_2m"], AreaClass::Block),
        (["channel_one_way_1g", "channel_round_trip_1g", "channel_wfe_trip_1g"], AreaClass::Giant),
    ] {
        if class == AreaClass::Giant && platform::value_of("largest").is_some() {
            break;
        }
        let service = if wait == Wait::Event { ECHO_BY_EVENT } else { ECHO };
        let channel = connect(service, class)?;
        channel.set_wait(wait);
        let area = Area::alloc(windows()?, class, 1 << class.shift())?;
        let _area = there_and_back(&channel, wait, area, names, row)?;
    }
    Ok(())
}

/// An area there and back, and back it comes.
fn there_and_back(
    channel: &Channel,
    wait: Wait,
    area: Area,
    [one_way, round_trip, wfe_trip]: [&str; 3],
    row: &dyn Fn(&str, u64),
) -> Result<Option<Area>, Failed> {
    let mut area = Some(area);
    let mut there = |what: fn(u64, u64, u64) -> u64| {
        median(|| {
            let start = now();
            channel.send(area.take(), [0; 3]).map_err(|_| Failed)?;
            let message = channel.receive()?;
            let end = now();
            area = message.area;
            Ok(what(start, message.short[0], end))
        })
    };
    if wait == Wait::Interrupt {
        row(one_way, there(|start, middle, _| middle - start)?);
    }
    let name = if wait == Wait::Interrupt { round_trip } else { wfe_trip };
    row(name, there(|start, _, end| end - start)?);
    Ok(area)
}

/// An area of 2 MiB of single pages, no two of which lie together: all that is free is taken, and then every second page of a run is given
/// back, so that nothing else is left to make it of.
fn scattered_trip(row: &dyn Fn(&str, u64)) -> Result<(), Failed> {
    const PAGES: usize = 512;
    let channel = connect(ECHO, AreaClass::Block)?;
    static HELD: Lock<[Option<Area>; 2 * PAGES + 64]> = Lock::new([const { None }; 2 * PAGES + 64]);
    static REST: Lock<[Option<Area>; 24]> = Lock::new([const { None }; 24]);
    let mut held = HELD.lock();
    for place in held.iter_mut() {
        *place = Some(Area::alloc(windows()?, AreaClass::Page, 4096)?);
    }
    let mut rest = REST.lock();
    let mut places = rest.iter_mut();
    let mut bytes = 1 << 30;
    while bytes >= 4096 {
        match Area::alloc(windows()?, AreaClass::Giant, bytes) {
            Ok(area) => *places.next().ok_or(Failed)? = Some(area),
            Err(refusal) if refusal.status() == Some(Status::NoMemory) => bytes /= 2,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    held.iter_mut().step_by(2).for_each(|place| *place = None);
    let used = || {
        let used = partition::account(partition::Resource::ManagementMemory);
        used.map(|line| line.used)
    };
    let before = used()?;
    let area = Area::alloc(windows()?, AreaClass::Block, PAGES * 4096)?;
    // A table, and so no block.
    if used()? != before + 1 {
        println!("an area of one block, {before} pages of tables");
        return Err(Failed);
    }
    let names = ["channel_one_way_2m_scattered", "channel_round_trip_2m_scattered", ""];
    let _area = there_and_back(&channel, Wait::Interrupt, area, names, row)?;
    Ok(())
}

/// One area of each size, there and back between sides that poll, and so are told of nothing: what both do, without the looks in
/// vain. Each side measures its own part, and sleeps while the other has its turn: for times that differ, since under counted
/// instructions the other side's looks would else fall into the same place of each round, and on some machine into the measured one.
fn polled_trips(clock: u64, row: &dyn Fn(&str, u64)) -> Result<(), Failed> {
    for (name, class) in [
        ("channel_polled_trip_4k", AreaClass::Page),
        ("channel_polled_trip_2m", AreaClass::Block),
        ("channel_polled_trip_1g", AreaClass::Giant),
    ] {
        if class == AreaClass::Giant && platform::value_of("largest").is_some() {
            break;
        }
        let channel = connect(POLLED, class)?;
        channel.set_wait(Wait::Event);
        let mut area = Some(Area::alloc(windows()?, class, 1 << class.shift())?);
        let mut random = Random::new(1);
        // The first one is the partition's own, and its time is nobody's.
        let mut trip = || {
            let start = now();
            let sent = channel.send(area.take(), [0; 3]);
            let middle = now();
            sent.map_err(|_| Failed)?;
            loop {
                rest(100 + random.below(20));
                let look = now();
                let message = channel.try_receive();
                let end = now();
                if let Some(message) = message? {
                    area = message.area;
                    let own = (middle - start) + (end - look);
                    return Ok((own + message.short[0]).saturating_sub(2 * clock));
                }
            }
        };
        trip()?;
        trip()?;
        row(name, median(trip)?);
    }
    Ok(())
}

/// Sleeps for so many microseconds.
fn rest(microseconds: u64) {
    let _nothing = sleep::until(sleep::Ticks::from_now_us(microseconds), || None::<Failed>);
}

/// A short message to a port where one waits already: the sender's whole call.
fn send_short<C: Clock>() -> Result<u64, Failed> {
    let mut left: Option<Channel> = None;
    let mut sent = WAITING;
    median(|| {
        if sent == WAITING {
            left = None;
            let channel = connect(DEAF, AreaClass::Page)?;
            // The first one is told of.
            channel.send((), [0; 3]).map_err(|_| Failed)?;
            timer::spin(100);
            (left, sent) = (Some(channel), 0);
        }
        sent += 1;
        let channel = left.as_ref().ok_or(Failed)?;
        let start = C::now();
        let result = channel.try_send((), [0; 3]);
        let end = C::now();
        result.map_err(|_| Failed)?;
        Ok(end - start)
    })
}

/// An area of 4 KiB to a port that polls: the sender's whole call.
fn send_area<C: Clock>() -> Result<u64, Failed> {
    let mut to: Option<Channel> = None;
    let mut sent = WAITING;
    median(|| {
        if sent == WAITING {
            to = None;
            (to, sent) = (Some(connect(POLL, AreaClass::Page)?), 0);
        }
        sent += 1;
        let channel = to.as_ref().ok_or(Failed)?;
        let area = Area::alloc(windows()?, AreaClass::Page, 4096)?;
        let start = C::now();
        let result = channel.try_send(area, [0; 3]);
        let end = C::now();
        result.map_err(|_| Failed)?;
        Ok(end - start)
    })
}

/// A remote call without arguments and result: it travels in short messages.
fn null_call() -> Result<u64, Failed> {
    let client = Client::<_, 4>::new(Leg::new(Wire::new(connect(CALLS, AreaClass::Page)?)));
    let calls = NullStub(Blocking::new(&client, Patience::Wait));
    median(|| {
        let start = now();
        calls.nothing().map_err(|_| Failed)?;
        Ok(now() - start)
    })
}

/// What copying costs instead: from this partition's own memory to an area, as to one that is shared.
fn copies<C: Clock>(row: &dyn Fn(&str, u64)) -> Result<(), Failed> {
    /// Aligned as what programs copy is: from an odd address it costs five times as much.
    #[repr(align(64))]
    struct Payload([u8; 64 << 10]);
    static SOURCE: Payload = Payload([7; 64 << 10]);
    let source = &SOURCE.0;
    let mut area = Area::alloc(windows()?, AreaClass::Block, source.len())?;
    for (name, bytes) in [("copy_4k", 4 << 10), ("copy_64k", 64 << 10)] {
        let copy = median(|| {
            let start = C::now();
            black_box(&mut area[..bytes]).copy_from_slice(black_box(&source[..bytes]));
            Ok(C::now() - start)
        })?;
        row(name, copy);
    }
    drop(area);
    for (name, class) in [("copy_2m", AreaClass::Block), ("copy_1g", AreaClass::Giant)] {
        if class == AreaClass::Giant && platform::value_of("largest").is_some() {
            break;
        }
        let whole = || Area::alloc(windows()?, class, 1 << class.shift()).map_err(Failed::from);
        let (source, mut target) = (whole()?, whole()?);
        // Once: the length hides what the call itself costs.
        let start = C::now();
        black_box(&mut target[..]).copy_from_slice(black_box(&source[..]));
        row(name, C::now() - start);
    }
    Ok(())
}

/// A port is made, connected and closed, at both ends.
fn connect_and_close() -> Result<u64, Failed> {
    let start = now();
    drop(connect(ECHO, AreaClass::Page)?);
    Ok(now() - start)
}

/// The other side ends as soon as it has sent its clock: how long that was ago when this side, asleep in WFI, knows it.
fn the_others_end() -> Result<u64, Failed> {
    let channel = connect(END, AreaClass::Page)?;
    let start = channel.receive()?.short[0];
    match channel.receive() {
        Err(PeerGone) => Ok(now() - start),
        Ok(_) => Err(Failed),
    }
}

fn windows() -> Result<Windows, Failed> {
    Windows::map().map_err(|_| Failed)
}

fn port(class: AreaClass) -> Result<Port, Failed> {
    Ok(Port::new(windows()?, Window::of(class, 1), PORT)?)
}

/// The other side's number.
fn echo() -> u8 {
    platform::number_of("peer").unwrap_or(1) as u8
}

/// Connects to the other side. A deaf one is woken by the request and hears the next one only.
fn connect(service: u32, class: AreaClass) -> Result<Channel, Failed> {
    let mut port = port(class)?;
    loop {
        match port.connect(echo(), service, u64::from(class.code())) {
            Ok(channel) => return Ok(channel),
            Err((back, NotConnected::NotAsked(_))) => {
                drop(back);
                return Err(Failed);
            }
            Err((back, _)) => port = back,
        }
    }
}

fn median(mut sample: impl FnMut() -> Result<u64, Failed>) -> Result<u64, Failed> {
    let mut taken = [0; ROUNDS];
    for place in &mut taken {
        *place = sample()? as u32;
    }
    let mut samples = SAMPLES.lock();
    *samples = taken;
    samples.sort_unstable();
    Ok(u64::from(samples[ROUNDS / 2]))
}

fn now() -> u64 {
    Timer::Virtual.now()
}

/// The other side: one channel after another.
fn serve<C: Clock>(_unit: Unit) -> Result<(), Failed> {
    irq::unmask();
    let listener = Listener::new(LISTENER)?;
    let mut request = next(&listener)?;
    let mut polled = Polled { samples: [0; ROUNDS], count: 0 };
    while request.service != END {
        let class = AreaClass::from_code(request.word).unwrap_or(AreaClass::Page);
        let service = request.service;
        let slots = if service == POLL { WAITING as u16 } else { 1 };
        let port = Port::new(windows()?, Window::of(class, slots), PORT)?;
        // Some do nothing until somebody else asks.
        let mut waiting = None;
        match (service, request.accept(port)) {
            (DEAF, Ok(channel)) => waiting = Some(channel),
            (POLL, Ok(channel)) => {
                channel.set_wait(Wait::Event);
                waiting = Some(channel);
            }
            (CALLS, Ok(channel)) => {
                let server = Server::new(Leg::new(Wire::new(channel)), Patience::Wait);
                server.serve(&mut Context::<64>::new(), &NullServer(Nothing));
            }
            (POLLED, Ok(channel)) => answer_polled(&channel),
            (_, Ok(channel)) => {
                if service == ECHO_BY_EVENT {
                    channel.set_wait(Wait::Event);
                }
                answer(&channel);
            }
            (_, Err(_)) => {}
        }
        request = next(&listener)?;
        if let (POLL, Some(channel)) = (service, &waiting) {
            polled.take_all::<C>(channel);
        }
        drop(waiting);
    }
    polled.report();
    println!("done");
    // Behind the clock there is nothing but the message with it, and the end.
    let port = Port::new(windows()?, Window::of(AreaClass::Page, 1), PORT)?;
    let channel = request.accept(port).map_err(|_| Failed)?;
    channel.send((), [now(), 0, 0]).map_err(|_| Failed)?;
    power::off()
}

/// The next request for a channel; what asks for an event port gets one.
fn next(listener: &Listener) -> Result<Request, Failed> {
    loop {
        match Request::of(listener.signal()?) {
            Ok(request) => return Ok(request),
            Err(signal) => many::accept(&signal, GROUP)?,
        }
    }
}

/// What it costs to look for a message that is there.
struct Polled {
    samples: [u32; ROUNDS],
    count: usize,
}

impl Polled {
    fn take_all<C: Clock>(&mut self, channel: &Channel) {
        loop {
            let start = C::now();
            let looked = channel.try_receive();
            let end = C::now();
            let Ok(Some(_message)) = looked else { break };
            if let Some(sample) = self.samples.get_mut(self.count) {
                *sample = (end - start) as u32;
                self.count += 1;
            }
        }
    }

    /// The reading of the clock is in each: three instructions more.
    fn report(mut self) {
        let taken = &mut self.samples[..self.count];
        taken.sort_unstable();
        if let Some(median) = taken.get(taken.len() / 2) {
            println!("bench: channel_receive_area {median}");
        }
    }
}

/// The other side of [`polled_trips`]: looks five times as often as that.
fn answer_polled(channel: &Channel) {
    channel.set_wait(Wait::Event);
    let mut time = 0;
    loop {
        let start = now();
        match channel.try_receive() {
            Ok(Some(message)) => {
                let sent = channel.send(message.area, [time, 0, 0]);
                time = now() - start;
                if sent.is_err() {
                    break;
                }
            }
            Ok(None) => rest(20),
            Err(PeerGone) => break,
        }
    }
}

/// Sends each message back.
fn answer(channel: &Channel) {
    while let Ok(message) = channel.receive() {
        let time = now();
        if channel.send(message.area, [time, 0, 0]).is_err() {
            break;
        }
    }
}
