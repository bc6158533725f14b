//! A peer of the system control OS's sockets, with the plain SDK: it connects to its service, does what short messages tell it, and
//! connects again when the channel has gone. C6–C10.

#![no_std]
#![no_main]

use shikiri_channel::{
    Area, AreaClass, Channel, Listener, Message, NotConnected, Port, Window, Windows,
};
use shikiri_rt::{irq, platform, power, println, reg};
use shikiri_test_guests::Failure;
use shikiri_test_guests::answers::made;

shikiri_rt::entry!(main);

/// The service that it connects to, and one that nobody listens for.
const SERVICE: u32 = 7;
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
                _ => println!("FAIL nobody says {}", short[0]),
            }
        }
    }
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
