//! Three partitions and one picture: `camera` draws it, `filter` changes it, `display` prints it and gives the area back to
//! `camera` for the next one. At any moment one of them has it, and the others cannot reach it.
//!
//! `role=` on the command line says which one this is, `next=` the number of the partition that gets the picture from it.
//! `frames=N`: how many pictures the camera draws (default 3).
#![no_std]
#![no_main]

use core::str;

use shikiri_channel::{Answer, Area, AreaClass, Asking, Channel, Listener, Port, Window, Windows};
use shikiri_rt::sleep::Ticks;
use shikiri_rt::{platform, println};

shikiri_rt::entry!(main);

/// The interrupts of the ports to the next partition and from the one before, and of the listener.
const NEXT: u32 = 40;
const BEFORE: u32 = 41;
const LISTENER: u32 = 42;

/// A picture: lines of characters, in an area of one page.
const CLASS: AreaClass = AreaClass::Page;
const COLUMNS: usize = 24;
const LINES: usize = 8;

fn main() {
    let role = platform::value_of("role").unwrap_or("camera");
    if let Err(why) = run(role) {
        println!("{why}");
    }
}

fn run(role: &str) -> Result<(), &'static str> {
    let Neighbours { next, before } = Neighbours::connect()?;
    match role {
        "camera" => record(&next, &before),
        "filter" => pass_on(&next, &before, |picture| {
            picture.iter_mut().for_each(invert);
            println!("inverted a picture");
        }),
        _ => pass_on(&next, &before, |picture| print(picture)),
    }
}

/// The channels to the partition after this one, and from the one before.
struct Neighbours {
    next: Channel,
    before: Channel,
}

impl Neighbours {
    /// Asks the next one, and accepts the one before: in any order, since all three do the same.
    fn connect() -> Result<Self, &'static str> {
        let listener = Listener::new(LISTENER).map_err(|_| "there can be no listener")?;
        let mut asking = Some(ask(port(NEXT)?)?);
        let (mut next, mut before) = (None, None);
        while next.is_none() || before.is_none() {
            if let Some(asked) = asking.take() {
                match asked.answer() {
                    Answer::Connected(channel) => next = Some(channel),
                    Answer::Open(open) => asking = Some(open),
                    Answer::NotConnected(port, _) => asking = Some(ask(port)?),
                }
            }
            let deadline = Ticks::from_now_us(1000);
            if let Ok(Some(request)) = listener.next_until(deadline) {
                before = Some(request.accept(port(BEFORE)?).map_err(|_| "it has gone")?);
            }
        }
        next.zip(before).map(|(next, before)| Self { next, before }).ok_or("no neighbours")
    }
}

fn windows() -> Result<Windows, &'static str> {
    Windows::map().map_err(|_| "the window region cannot be mapped")
}

/// A port whose window holds one picture.
fn port(intid: u32) -> Result<Port, &'static str> {
    Port::new(windows()?, Window::of(CLASS, 1), intid).map_err(|_| "there can be no port")
}

/// Asks the next partition; if that is not up yet, once more, for a minute.
fn ask(mut port: Port) -> Result<Asking, &'static str> {
    let next = platform::number_of("next").and_then(|next| u8::try_from(next).ok()).unwrap_or(1);
    let deadline = Ticks::from_now_us(60_000_000);
    while !deadline.is_over() {
        match port.ask(next, 0, 0) {
            Ok(asking) => return Ok(asking),
            Err((back, _)) => port = back,
        }
    }
    Err("the next partition does not live")
}

/// Draws pictures into one and the same area, which comes back after each.
fn record(next: &Channel, before: &Channel) -> Result<(), &'static str> {
    let bytes = (COLUMNS + 1) * LINES;
    let mut area = Area::alloc(windows()?, CLASS, bytes).map_err(|_| "there is no memory")?;
    for frame in 1..=platform::number_of("frames").unwrap_or(3) {
        draw(&mut area, frame);
        println!("drew picture {frame}");
        next.send(area, [frame, 0, 0]).map_err(|_| "nobody takes the picture")?;
        let message = before.receive().map_err(|_| "nobody gives it back")?;
        area = message.area.ok_or("the area was kept")?;
    }
    Ok(())
}

/// Takes each picture, does something with it, and passes it on.
fn pass_on(next: &Channel, before: &Channel, work: impl Fn(&mut [u8])) -> Result<(), &'static str> {
    while let Ok(message) = before.receive() {
        let Some(mut area) = message.area else { continue };
        work(&mut area);
        // The camera may have seen enough.
        if next.send(area, message.short).is_err() {
            break;
        }
    }
    Ok(())
}

/// A ball that moves to the right with each picture.
fn draw(picture: &mut [u8], frame: u64) {
    let middle = usize::try_from(frame).unwrap_or(0) * 5 % COLUMNS;
    for (y, line) in picture.chunks_mut(COLUMNS + 1).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            // Characters are twice as high as wide.
            let (dx, dy) = (x.abs_diff(middle), y.abs_diff(LINES / 2) * 2);
            *pixel = if dx * dx + dy * dy < 20 { b'#' } else { b'.' };
        }
        if let Some(last) = line.last_mut() {
            *last = b'\n';
        }
    }
}

/// What was dark is bright.
fn invert(pixel: &mut u8) {
    *pixel = match *pixel {
        b'#' => b'.',
        b'.' => b'#',
        other => other,
    };
}

/// Prints a picture, line by line.
fn print(picture: &[u8]) {
    for line in str::from_utf8(picture).unwrap_or("(no picture)").lines() {
        println!("{line}");
    }
}
