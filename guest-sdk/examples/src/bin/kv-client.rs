//! Has `kv-server` remember numbers, and asks for them again. `server=N` on the command line: the server's number.
#![no_std]
#![no_main]

use shikiri_channel::{Port, Window, Windows};
use shikiri_examples::store::{SERVICE, StoreStub};
use shikiri_rpc::{Begin, Blocking, Client, Leg, Patience};
use shikiri_rpc_channel::Wire;
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{hvc, irq, platform, println};

shikiri_rt::entry!(main);

/// The interrupt of the port: an SPI that no device has.
const PORT: u32 = 64;
const ROUNDS: u16 = 1_000;

fn main() {
    irq::unmask();
    let server = platform::value_of("server").and_then(|number| number.parse().ok()).unwrap_or(0);
    let own = hvc::partition::info().map_or(0, |info| info.id.0);
    let Ok(windows) = Windows::map() else { return println!("kv: no window region") };
    let channel = Port::new(windows, Window::of_short_messages(), PORT)
        .map_err(|why| println!("kv: no port: {why:?}"))
        .and_then(|port| {
            port.connect(server, SERVICE, 0).map_err(|(_, why)| println!("kv: {why:?}"))
        });
    let Ok(channel) = channel else { return };
    let client = Client::<_, 16>::new(Leg::new(Wire::new(channel)));
    let store = StoreStub(Blocking::new(&client, Patience::Wait));

    let key = u16::try_from(own).unwrap_or(0);
    println!("kv: put({key}, {own}00) = {:?}", store.put(key, own * 100));
    println!("kv: get({key}) = {:?}", store.get(key));

    let began = Timer::Virtual.now();
    let right = (0..ROUNDS).filter(|round| {
        let value = u32::from(*round);
        store.put(key, value).is_ok() && store.get(key) == Ok(Some(value))
    });
    let right = right.count();
    let took = Timer::Virtual.now() - began;
    println!(
        "kv: {right} of {ROUNDS} rounds of put and get were right, {} us each",
        took / u64::from(ROUNDS) / timer::ticks(1).max(1)
    );

    // Several at a time: begun first, and waited for then.
    let many = StoreStub(Begin::new(&client));
    let begun: [_; 8] = core::array::from_fn(|_| many.get(key));
    let answers = begun.into_iter().flatten().filter(|_| true);
    let same = answers.filter_map(|call| call.wait().ok().flatten());
    println!("kv: 8 calls at a time: {} answers", same.count());
}
