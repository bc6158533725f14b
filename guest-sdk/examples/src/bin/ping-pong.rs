//! Two partitions and one message area that goes back and forth between them: what a message costs when nothing is copied.
//!
//! `role=ping` on the command line asks the partition with the number `peer=` for a channel, and counts; `role=pong` answers.
//! `rounds=N` says how many round trips (default 20000).
#![no_std]
#![no_main]

use shikiri_channel::{Area, AreaClass, Channel, Listener, Port, Window, Windows};
use shikiri_rt::sleep::Ticks;
use shikiri_rt::{platform, println, timer};

shikiri_rt::entry!(main);

/// The interrupts of the port and of the listener: any SPIs that nothing else has.
const PORT: u32 = 40;
const LISTENER: u32 = 41;

/// The area: 2 MiB, one slot of the class of 2 MiB.
const CLASS: AreaClass = AreaClass::Block;
const BYTES: usize = 2 << 20;

fn main() {
    let played = if platform::value_of("role") == Some("pong") { pong() } else { ping() };
    if let Err(why) = played {
        println!("{why}");
    }
}

/// A port whose window holds one area.
fn port() -> Result<Port, &'static str> {
    let windows = Windows::map().map_err(|_| "the window region cannot be mapped")?;
    Port::new(windows, Window::of(CLASS, 1), PORT).map_err(|_| "there can be no port")
}

fn ping() -> Result<(), &'static str> {
    let peer = platform::number_of("peer").and_then(|peer| u8::try_from(peer).ok()).unwrap_or(1);
    let rounds = platform::number_of("rounds").unwrap_or(20_000).max(1);
    let channel = connect(peer)?;
    let windows = Windows::map().map_err(|_| "the window region cannot be mapped")?;
    let mut area = Area::alloc(windows, CLASS, BYTES).map_err(|_| "there is no memory")?;
    println!("an area of {} KiB goes to pong and back, {rounds} times", area.len() / 1024);
    let start = Ticks::from_now_us(0);
    for round in 1..=rounds {
        let [first, ..] = round.to_le_bytes();
        area.fill_at_ends(first);
        area = there_and_back(&channel, area)?;
        if !area.has_at_ends(first.wrapping_add(1)) {
            return Err("pong has not written what it should");
        }
    }
    report(rounds, Ticks::from_now_us(0).0.saturating_sub(start.0));
    Ok(())
}

/// Connects to pong; if that is not up yet, once more, for a minute.
fn connect(peer: u8) -> Result<Channel, &'static str> {
    let mut port = port()?;
    let deadline = Ticks::from_now_us(60_000_000);
    while !deadline.is_over() {
        match port.connect(peer, 0, 0) {
            Ok(channel) => return Ok(channel),
            Err((back, _)) => port = back,
        }
        timer::spin(1000);
    }
    Err("pong does not answer")
}

fn there_and_back(channel: &Channel, area: Area) -> Result<Area, &'static str> {
    channel.send(area, [0; 3]).map_err(|_| "pong takes no area")?;
    let message = channel.receive().map_err(|_| "pong has gone")?;
    message.area.ok_or("pong has kept the area")
}

/// Says how long it took.
fn report(rounds: u64, ticks: u64) {
    let microseconds = ticks.saturating_mul(1_000_000) / timer::frequency().max(1);
    let in_a_second = rounds.saturating_mul(1_000_000) / microseconds.max(1);
    println!(
        "{rounds} round trips in {} ms: {in_a_second} in a second, {} microseconds each",
        microseconds / 1000,
        microseconds / rounds
    );
    println!("moved {} MiB in all, and copied not one byte", rounds.saturating_mul(4));
}

/// Answers until ping closes the channel.
fn pong() -> Result<(), &'static str> {
    let listener = Listener::new(LISTENER).map_err(|_| "there can be no listener")?;
    let request = listener.next().map_err(|_| "no request can be taken")?;
    println!("partition {} asks for a channel", request.from.0);
    let channel = request.accept(port()?).map_err(|_| "ping has gone")?;
    while let Ok(message) = channel.receive() {
        let Some(mut area) = message.area else { continue };
        let first = area.first().copied().unwrap_or(0);
        area.fill_at_ends(first.wrapping_add(1));
        if channel.send(area, [0; 3]).is_err() {
            break;
        }
    }
    println!("the channel is closed");
    Ok(())
}

/// The first and the last byte.
trait Ends {
    /// Writes both.
    fn fill_at_ends(&mut self, byte: u8);

    /// Whether both are this one.
    fn has_at_ends(&self, byte: u8) -> bool;
}

impl Ends for Area {
    fn fill_at_ends(&mut self, byte: u8) {
        if let [first, .., last] = &mut self[..] {
            (*first, *last) = (byte, byte);
        }
    }

    fn has_at_ends(&self, byte: u8) -> bool {
        matches!(&self[..], [first, .., last] if *first == byte && *last == byte)
    }
}
