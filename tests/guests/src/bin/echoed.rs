//! The other side of a guest that sends back what it gets, and adds one to the first and the last byte of each area (`guest-sdk/c/echo.c`).
//! That one has room for eight messages and two areas; this one for four messages and two areas.
#![no_std]
#![no_main]

use shikiri_channel::{Area, AreaClass, Channel, Message, Port, Ticks, Why, Window, Windows};
use shikiri_rt::{irq, platform};
use shikiri_test_guests::answers::made;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure};

shikiri_rt::entry!(main);

/// The port's interrupt.
const PORT: u32 = 65;
const CLASS: AreaClass = AreaClass::Block;
/// The other partition's number.
const ECHO: u8 = 0;
/// Short messages there and back: the ring goes round.
const ROUNDS: u64 = 200;
/// What is on its way at most: four that came back and are not received, and eight behind them, of which the first is held.
const UNDER_WAY: u64 = 12;
const SIZES: [usize; 4] = [1, 4096, 12_345, 2 << 20];

fn main() {
    irq::unmask();
    if platform::has_word("pages") {
        case("an_area_that_cannot_come_back_is_freed_and_its_words_come", alone);
        done()
    }
    let channel = match connect(CLASS) {
        Ok(channel) => channel,
        Err(failure) => return case("the_echo_accepts", || Err(failure)),
    };
    case("short_messages_come_back", || short(&channel));
    case("areas_come_back_with_a_mark_and_else_as_they_were", || areas(&channel));
    case("who_sends_more_than_there_is_room_for_waits_and_nothing_is_lost", || full(&channel));
    case("areas_go_in_a_row", || row(&channel));
    case("who_goes_leaves_messages_behind", || left(channel));
    done()
}

fn patience() -> Ticks {
    Ticks::from_now_us(60_000_000)
}

/// Connects; an echo that is just starting is asked again.
fn connect(class: AreaClass) -> Result<Channel, Failure> {
    let windows = Windows::map().map_err(|_| Failure { what: "the windows", got: 0, want: 1 })?;
    let mut port = made(Port::new(windows, Window::of(class, 2).depth(4), PORT))?;
    let deadline = patience();
    loop {
        match port.connect(ECHO, 0, 0) {
            Ok(channel) => return Ok(channel),
            Err(_) if deadline.is_over() => {
                return Err(Failure { what: "nobody accepts", got: 0, want: 1 });
            }
            Err((back, _)) => port = back,
        }
    }
}

fn send(channel: &Channel, cargo: Option<Area>, short: [u64; 3]) -> Outcome {
    let sent = channel.send_until(cargo, short, patience());
    sent.map_err(|_| Failure { what: "it was not sent", got: short[0], want: 0 })
}

fn receive(channel: &Channel) -> Result<Message, Failure> {
    let received = channel.receive_until(patience()).ok().flatten();
    received.ok_or(Failure { what: "nothing has come back", got: 0, want: 1 })
}

/// Receives the message with these words, which has no area.
fn expect(channel: &Channel, short: [u64; 3]) -> Outcome {
    let message = receive(channel)?;
    ensure("its words", message.short == short)?;
    ensure("no area", message.area.is_none())
}

const fn words(number: u64) -> [u64; 3] {
    [number, !number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
}

fn short(channel: &Channel) -> Outcome {
    for number in 0..ROUNDS {
        send(channel, None, words(number))?;
        expect(channel, words(number))?;
    }
    Ok(())
}

/// An area of this class whose bytes count up from `first`.
fn area(bytes: usize, first: u8) -> Result<Area, Failure> {
    let windows = Windows::map().map_err(|_| Failure { what: "the windows", got: 0, want: 1 })?;
    let mut area = made(Area::alloc(windows, CLASS, bytes))?;
    for (at, byte) in area.iter_mut().enumerate() {
        *byte = first.wrapping_add(at as u8);
    }
    Ok(area)
}

/// Whether an area of that many bytes is as [`area`] made it, but for the mark.
fn is_marked(area: &[u8], bytes: usize, first: u8) -> bool {
    let mark = |at: usize| u8::from(at == 0) | u8::from(at + 1 == bytes);
    let is_right =
        |(at, byte): (usize, &u8)| *byte == first.wrapping_add(at as u8).wrapping_add(mark(at));
    area.len() == bytes && area.iter().enumerate().all(is_right)
}

fn areas(channel: &Channel) -> Outcome {
    for (number, bytes) in (0..).zip(SIZES) {
        send(channel, Some(area(bytes, 0xfe)?), words(number))?;
        let message = receive(channel)?;
        ensure("its words", message.short == words(number))?;
        let area = message.area.ok_or(Failure { what: "no area", got: number, want: 0 })?;
        ensure("its bytes", is_marked(&area, bytes, 0xfe))?;
    }
    Ok(())
}

/// Nothing is received until nothing more can be sent: then the echo holds a message for which it finds no room here.
fn full(channel: &Channel) -> Outcome {
    for number in 0..UNDER_WAY {
        send(channel, None, words(number))?;
    }
    let more = channel.send_until((), words(UNDER_WAY), Ticks::from_now_us(20_000));
    ensure("there is no more room", more.is_err_and(|not_sent| not_sent.why == Why::Full))?;
    for number in 0..UNDER_WAY {
        expect(channel, words(number))?;
    }
    short(channel)
}

/// Two areas are there at a time, and a third one waits for a slot.
fn row(channel: &Channel) -> Outcome {
    for first in 0..2 {
        send(channel, Some(area(4096, first)?), words(first.into()))?;
    }
    for first in 0..6_u8 {
        let message = receive(channel)?;
        ensure("its words", message.short == words(first.into()))?;
        let back = message.area.ok_or(Failure { what: "no area", got: first.into(), want: 0 })?;
        ensure("its bytes", is_marked(&back, 4096, first))?;
        drop(back);
        if first < 4 {
            send(channel, Some(area(4096, first + 2)?), words(u64::from(first) + 2))?;
        }
    }
    Ok(())
}

/// Sends three messages, and closes the channel without waiting for any.
fn left(channel: Channel) -> Outcome {
    send(&channel, Some(area(4096, 1)?), words(0))?;
    send(&channel, None, words(1))?;
    send(&channel, Some(area(2 << 20, 2)?), words(2))?;
    drop(channel);
    Ok(())
}

/// This side's window is of another class than the areas that it sends, of which there are more than the echo has room for.
fn alone() -> Outcome {
    let channel = connect(AreaClass::Page)?;
    for number in 0..LOST {
        send(&channel, Some(area(4096, 1)?), words(number))?;
        expect(&channel, words(number))?;
    }
    Ok(())
}

const LOST: u64 = 4;
