//! A remote call over two hops (B2), in three partitions: `role=caller` asks `role=relay` at number `next=`, which asks `role=server`.
//! All vCPUs of the caller call at the same time.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_channel::{Channel, Listener, NotConnected, Port, Window, Windows, block_on};
use shikiri_rpc::{Blocking, Client, Context, Leg, Patience, Relay, Server};
use shikiri_rpc_channel::Wire;
use shikiri_rt::sleep::{self, Ticks};
use shikiri_rt::{Lock, heap, irq, platform, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, answers::made, case, done, equal};

shikiri_rt::entry!(main);

const LISTENER: u32 = 64;
const UP: u32 = 65;
const DOWN: u32 = 66;
const SERVICE: u32 = 1;
const ROUNDS: u32 = 500;

shikiri_rpc::service! {
    /// What the server does; its arguments and results fit a short message.
    trait Sums, stub SumsStub, server SumsServer {
        1: fn sum(a: u16, b: u16) -> u32;
    }
}

struct Adds;

impl Sums for Adds {
    fn sum(&self, a: u16, b: u16) -> u32 {
        u32::from(a) + u32::from(b)
    }
}

fn main() {
    irq::set_handler(|_intid| {});
    irq::unmask();
    match platform::value_of("role") {
        Some("server") => case("the_server_serves_until_its_caller_has_gone", serve),
        Some("relay") => case("the_relay_ends_with_its_caller", relay),
        _ => case("calls_over_two_hops_return_what_the_server_answers", call),
    }
    done()
}

fn port(intid: u32) -> Result<Port, Failure> {
    let Ok(windows) = Windows::map() else {
        return Err(Failure { what: "windows", got: 0, want: 1 });
    };
    made(Port::new(windows, Window::of_short_messages(), intid))
}

/// Connects to the next one, which may not listen yet.
fn connect(intid: u32) -> Result<Channel, Failure> {
    let next = platform::number_of("next").unwrap_or(0) as u8;
    let mut port = port(intid)?;
    loop {
        match port.connect(next, SERVICE, 0) {
            Ok(channel) => return Ok(channel),
            Err((_, NotConnected::NotAsked(_))) => {
                return Err(Failure { what: "may ask", got: 0, want: 1 });
            }
            Err((back, _)) => port = back,
        }
        rest();
    }
}

fn accept() -> Result<Channel, Failure> {
    let listener = made(Listener::new(LISTENER))?;
    let request = made(listener.next())?;
    request.accept(port(UP)?).map_err(|_| Failure { what: "accepted", got: 0, want: 1 })
}

fn rest() {
    let _nothing = sleep::until(Ticks::from_now_us(100), || None::<()>);
}

fn serve() -> Outcome {
    let server = Server::new(Leg::new(Wire::new(accept()?)), Patience::Wait);
    server.serve(&mut Context::<64>::new(), &SumsServer(Adds));
    equal("rejected", server.rejected(), 0)
}

fn relay() -> Outcome {
    let up = Server::new(Leg::new(Wire::new(accept()?)), Patience::Wait);
    let down = Client::<_, 4>::new(Leg::new(Wire::new(connect(DOWN)?)));
    block_on(Relay::<_, _, 4, 64>::new(&up, &down).run());
    equal("in flight", down.in_flight() as u64, 0)
}

/// What the caller's vCPUs share: fewer slots than three vCPUs have calls, so that one waits for a slot.
type Caller = Client<'static, Wire<'static>, 2>;
static CALLER: Lock<Option<Arc<Caller>>> = Lock::new(None);
/// Calls that were answered rightly, and vCPUs that have come to their end.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

fn call() -> Outcome {
    heap::init(4);
    *CALLER.lock() = Some(Arc::new(Client::new(Leg::new(Wire::new(connect(UP)?)))));
    let running = smp::start_all(call_from_here) as u64;
    equal("vCPUs", running, smp::count() as u64)?;
    call_from_here();
    while ENDED.load(Ordering::Acquire) < running {
        rest();
    }
    equal("answers", ANSWERED.load(Ordering::Acquire), running * u64::from(ROUNDS))?;
    let in_flight = CALLER.lock().take().map_or(0, |client| client.in_flight());
    equal("in flight", in_flight as u64, 0)
}

/// What each vCPU does. Its arguments are its own: an answer to another's call is seen.
fn call_from_here() {
    irq::unmask();
    let own = smp::index() as u16;
    let client = CALLER.lock().clone();
    if let Some(client) = &client {
        let sums = SumsStub(Blocking::new(&**client, Patience::Wait));
        for round in 0..ROUNDS {
            let (a, b) = (round as u16, own << 12 | (round * 7) as u16);
            if sums.sum(a, b) == Ok(u32::from(a) + u32::from(b)) {
                ANSWERED.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
    drop(client);
    ENDED.fetch_add(1, Ordering::AcqRel);
}
