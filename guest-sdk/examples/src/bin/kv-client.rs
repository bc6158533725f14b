//! Has `kv-server` remember texts, and asks for them again. On the command line: `server=N`, the server's number; `rounds=N`, how
//! often (1000).
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;

use shikiri_channel::{AreaClass, Channel, Port, Window, Windows};
use shikiri_examples::store::{BUFFER_BYTES, SERVICE, StoreStub};
use shikiri_rpc::{Begin, Blocking, Client, Leg, Patience, Pool, Side};
use shikiri_rpc_channel::{Wire, pool_part};
use shikiri_rt::sleep::Ticks;
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{heap, hvc, irq, platform, println};
use shikiri_shared::{Attachment, PageCount, Shared, View};

shikiri_rt::entry!(main);

/// The interrupts of the channel's port and of the shared page: SPIs that no device has.
const PORT: u32 = 64;
const PAGE: u32 = 65;

fn main() {
    irq::unmask();
    heap::init(64);
    let server = platform::value_of("server").and_then(|number| number.parse().ok()).unwrap_or(0);
    if let Err(why) = run(server) {
        println!("kv: {why}");
    }
}

fn run(server: u8) -> Result<(), &'static str> {
    let windows = Windows::map().map_err(|_| "the window region cannot be mapped")?;
    let channel = connect(windows, server)?;
    let page = attach(windows, server)?;
    let area = shikiri_rpc::Area::new(page.words().ok_or("the page is read-only")?);
    let buffers = pool_part(area).ok_or("the page is too small")?;
    let pool =
        Pool::attach(buffers, BUFFER_BYTES).map_err(|_| "there are no buffers in the page")?;
    let wire = Wire::with_area(channel, area, Side::B).ok_or("the page is too small")?;
    let leg = Leg::new(wire);
    leg.pools().add(pool).map_err(|_| "there is no room for the buffers")?;
    let client = Client::<_, 16>::new(leg);
    if let Err(why) = talk(&client) {
        println!("kv: a call has failed: {why:?}");
    }
    println!("kv: {} buffers are in use", client.leg().pools().in_use());
    Ok(())
}

/// A channel to the service; if that is not up yet, it is asked again, for a minute.
fn connect(windows: Windows, server: u8) -> Result<Channel, &'static str> {
    let port = Port::new(windows, Window::of_short_messages(), PORT);
    let mut port = port.map_err(|_| "there can be no port")?;
    let deadline = Ticks::from_now_us(60_000_000);
    while !deadline.is_over() {
        match port.connect(server, SERVICE, 0) {
            Ok(channel) => return Ok(channel),
            Err((back, _)) => port = back,
        }
        timer::spin(1000);
    }
    Err("the service is not to be had")
}

/// The page that it shares with us.
fn attach(windows: Windows, server: u8) -> Result<Shared, &'static str> {
    let place = Attachment::new(View::of(windows), PageCount(1), AreaClass::Page, PAGE);
    let place = place.map_err(|_| "there is no place for the page")?;
    place.connect(server, SERVICE, 0).map_err(|_| "the page is not to be had")
}

fn talk(client: &Client<'_, Wire<'_>, 16>) -> Result<(), shikiri_rpc::CallError> {
    let own = hvc::partition::info().map_or(0, |info| info.id.0);
    let store = StoreStub(Blocking::new(client, Patience::Wait));
    let name = format!("from partition {own}");
    // More than a short message holds: it goes in a buffer, and comes back in one.
    let text: String = ('a'..='z').cycle().take(900).collect();
    println!("kv: put({name:?}, {} letters) = {:?}", text.len(), store.put(&name, &text)?);
    let back = store.get(&name)?.unwrap_or_default();
    println!(
        "kv: get({name:?}) = {} letters, {}",
        back.len(),
        if back == text { "the same" } else { "others" }
    );

    let rounds = platform::number_of("rounds").unwrap_or(1_000).max(1);
    let began = Timer::Virtual.now();
    let mut right = 0;
    for round in 0..rounds {
        let text = format!("round {round}");
        let was_there = store.put(&name, &text)? == Ok(true);
        right += u64::from(was_there && store.get(&name)? == Some(text));
    }
    let took = Timer::Virtual.now().saturating_sub(began) / rounds / timer::ticks(1).max(1);
    println!("kv: {right} of {rounds} rounds of put and get were right, {took} us each");

    // Several at a time: all of them are begun before one is waited for.
    let many = StoreStub(Begin::new(client));
    let begun: [_; 8] = core::array::from_fn(|_| many.count());
    let answers = begun.into_iter().flatten().filter_map(|call| call.wait().ok());
    println!("kv: 8 calls at a time: {} answers", answers.count());
    Ok(())
}
