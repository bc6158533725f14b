//! A peer of the system control OS's sockets, with the plain SDK: it connects to its service, does what short messages tell it, and
//! connects again when the channel has gone. With `traffic=N` it keeps a channel busy through N lives of that system. C6–C10.

#![no_std]
#![no_main]

use shikiri_abi::{RESOURCE_COUNT, Resource};
use shikiri_channel::{
    Area, AreaClass, Channel, Listener, Message, NotConnected, Port, Window, Windows,
};
use shikiri_rt::hvc::partition;
use shikiri_rt::{irq, platform, power, println, reg};
use shikiri_test_guests::answers::made;
use shikiri_test_guests::{Failure, equal};

shikiri_rt::entry!(main);

/// The service that it connects to.
const SERVICE: u32 = 7;
/// Its service for areas of 2 MiB.
const LARGE_SERVICE: u32 = 8;
/// One that nobody listens for.
const NOBODYS: u32 = 99;
/// Its own services: one that it accepts; it refuses all others.
const OWN: u32 = 5;

/// What it is told to do.
const CLOSE: u64 = 0;
const SEND: u64 = 1;
const ECHO: u64 = 2;
const SHORT: u64 = 3;
const END: u64 = 4;
const ASK: u64 = 5;
const SERVE: u64 = 6;
const QUIET: u64 = 7;
const HOLD: u64 = 8;
const UNANSWERED: u64 = 9;
const LARGE: u64 = 10;
const IMAGE: u64 = 11;

/// The interrupts of the listener and of the ports.
const LISTENER: u32 = 64;
const FIRST: u32 = 65;
const SECOND: u32 = 66;

fn main() {
    irq::unmask();
    if let Err(failure) = run() {
        println!("FAIL {failure}");
    }
}

fn run() -> Result<(), Failure> {
    let gone = Failure { what: "the windows are mapped", got: 0, want: 1 };
    let windows = Windows::map().map_err(|_| gone)?;
    if let Some(lives) = platform::number_of("traffic") {
        return traffic(windows, lives);
    }
    let listener = made(Listener::new(LISTENER))?;
    loop {
        let channel = connect(windows)?;
        while let Ok(message) = channel.receive() {
            let Message { area, short } = message;
            match short[0] {
                CLOSE => break,
                SEND => send(windows, &channel)?,
                ECHO => echo(&channel, area),
                SHORT => answer(&channel, [33, 0, 0]),
                END => {
                    println!("told to end");
                    power::off();
                }
                ASK => answer(&channel, [ASK, u64::from(is_refused(windows)?), 0]),
                SERVE => serve(windows, &listener)?,
                // The area goes.
                QUIET => {}
                HOLD => {
                    answer(&channel, [HOLD, 0, 0]);
                    serve(windows, &listener)?;
                }
                UNANSWERED => {
                    let _request = made(listener.next())?;
                    println!("told to end");
                    power::off();
                }
                LARGE => large(windows)?,
                IMAGE => image(windows, &channel)?,
                _ => println!("FAIL nobody says {}", short[0]),
            }
        }
    }
}

/// So many answers make traffic.
const ANSWERS: u32 = 20;

/// Sends and receives without a pause, through so many lives of the system control OS: told of each end, it connects to the next life,
/// and has in use then what it had before.
fn traffic(windows: Windows, lives: u64) -> Result<(), Failure> {
    let mut before = None;
    for life in 1..=lives {
        let channel = connect(windows)?;
        let mut answers = 0_u32;
        while let Some(short) = exchange(windows, &channel)? {
            equal("the answer", short, 71)?;
            answers = answers.saturating_add(1);
            if answers != ANSWERS {
                continue;
            }
            let now = in_use()?;
            if before.is_some_and(|before| before != now) {
                println!("FAIL in use {now:?}, before {before:?}");
            }
            before = Some(now);
            println!("life {life}: answered");
            if life == lives {
                println!("ok its account is as it was before");
                println!("done");
                power::off();
            }
        }
        println!("life {life}: told of the end");
    }
    Ok(())
}

/// What the partition has in use of each resource, while it holds a channel and no area.
fn in_use() -> Result<[u64; RESOURCE_COUNT], Failure> {
    let mut lines = [0; RESOURCE_COUNT];
    for (line, resource) in lines.iter_mut().zip(Resource::ALL) {
        *line = made(partition::account(resource))?.used;
    }
    Ok(lines)
}

/// A message with an area, and its answer; nothing at the channel's end.
fn exchange(windows: Windows, channel: &Channel) -> Result<Option<u64>, Failure> {
    let mut area = made(Area::alloc(windows, AreaClass::Page, 8))?;
    area.copy_from_slice(b"question");
    if channel.send(area, [70, 0, 0]).is_err() {
        return Ok(None);
    }
    let Ok(Message { area, short }) = channel.receive() else { return Ok(None) };
    let first = area.as_deref().and_then(|area| area.first().copied());
    equal("its first byte", u64::from(first.unwrap_or(0)), u64::from(b'r'))?;
    Ok(Some(short[0]))
}

fn port(windows: Windows, intid: u32) -> Result<Port, Failure> {
    made(Port::new(windows, Window::of(AreaClass::Page, 2).depth(4), intid))
}

/// The number of the system control OS.
fn scos() -> u8 {
    platform::number_of("scos").unwrap_or(0) as u8
}

/// Connects to the service, however often that takes.
fn connect(windows: Windows) -> Result<Channel, Failure> {
    let mut port = port(windows, FIRST)?;
    loop {
        match port.connect(scos(), SERVICE, 0) {
            Ok(channel) => return Ok(channel),
            Err((back, _)) => port = back,
        }
        reg::yield_now();
    }
}

fn send(windows: Windows, channel: &Channel) -> Result<(), Failure> {
    let mut area = made(Area::alloc(windows, AreaClass::Page, 8))?;
    area.copy_from_slice(b"question");
    // One that has no room for it is on its way to its end.
    let _sent = channel.send(area, [11, 12, 13]);
    Ok(())
}

/// A program for a partition that is made: it ends itself with the code 0x5eed (PARTITION_END).
const PROGRAM: [u32; 5] = [
    0xd280_0080, // mov  x0, #4
    0xf2b8_c000, // movk x0, #0xc600, lsl #16
    0xd28b_dda1, // mov  x1, #0x5eed
    0xd400_0002, // hvc  #0
    0x1400_0000, // b    .
];

fn image(windows: Windows, channel: &Channel) -> Result<(), Failure> {
    let mut area = made(Area::alloc(windows, AreaClass::Page, PROGRAM.len() * 4))?;
    for (place, word) in area.chunks_exact_mut(4).zip(PROGRAM) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    // One that has no room for it is on its way to its end.
    let _sent = channel.send(area, [IMAGE, 0, 0]);
    Ok(())
}

fn echo(channel: &Channel, mut area: Option<Area>) {
    if let Some(first) = area.as_deref_mut().and_then(|area| area.first_mut()) {
        *first = first.wrapping_add(1);
    }
    // It may have gone.
    let _sent = channel.send(area, [34, 0, 0]);
}

fn answer(channel: &Channel, short: [u64; 3]) {
    // It may have gone.
    let _sent = channel.send((), short);
}

/// Whether a service that nobody listens for is refused.
fn is_refused(windows: Windows) -> Result<bool, Failure> {
    let answer = port(windows, SECOND)?.connect(scos(), NOBODYS, 0);
    Ok(matches!(answer, Err((_, NotConnected::Refused))))
}

/// A second channel, whose areas have 2 MiB: sends one with its number in each page, and then what comes back.
fn large(windows: Windows) -> Result<(), Failure> {
    const BYTES: usize = 2 << 20;
    const PAGE: usize = 4096;
    let window = Window::of(AreaClass::Block, 2).depth(4);
    let port = made(Port::new(windows, window, SECOND))?;
    let Ok(channel) = port.connect(scos(), LARGE_SERVICE, 0) else {
        return Err(Failure { what: "connected for large areas", got: 0, want: 1 });
    };
    let mut area = made(Area::alloc(windows, AreaClass::Block, BYTES))?;
    for (number, page) in (0_u16..).zip(area.chunks_exact_mut(PAGE)) {
        page[..2].copy_from_slice(&number.to_le_bytes());
    }
    // One that has no room for it is on its way to its end.
    let _sent = channel.send(area, [LARGE, 0, 0]);
    while let Ok(Message { area, short: [ECHO, ..] }) = channel.receive() {
        echo(&channel, area);
    }
    Ok(())
}

/// Refuses requests until one comes for the service; that one is answered once.
fn serve(windows: Windows, listener: &Listener) -> Result<(), Failure> {
    loop {
        let request = made(listener.next())?;
        if request.service != OWN {
            continue;
        }
        let Ok(channel) = request.accept(port(windows, SECOND)?) else { continue };
        if let Ok(Message { short, .. }) = channel.receive() {
            answer(&channel, [short[0] + 1, 0, 0]);
        }
        return Ok(());
    }
}
