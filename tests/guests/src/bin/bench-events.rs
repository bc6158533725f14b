//! Measures what events between two partitions cost, in ticks of the counter: `role=sender` measures, `role=receiver` is the other side.
//!
//! Run as `bench`: one tick is one instruction, of all cores together. Each row is the median of 1,000, without the cost of reading the clock, and
//! printed as `bench: ROW N`, with the value of `suffix=` behind the row's name.
//!
//! With `ports=N` on both command lines the two connect so many ports first, which share an SPI of the receiver's; the rows about those are
//! then measured as well. The first events and the shared page are the description's.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "measures single calls in assembly, with a vector table of its own; a page that another partition has as well"
)]

use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::Status;
use shikiri_channel::Windows;
use shikiri_rt::gic::{self, Version};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::shared;
use shikiri_rt::hvc::talk::{self, Handle, Sharing, Signal};
use shikiri_rt::platform::GICC;
use shikiri_rt::{Lock, irq, platform, power, println, reg};
use shikiri_test_guests::many;

global_asm!(include_str!("../bench.s"));

/// An operation of bench.s: two arguments, the result is what it took in ticks, the clock's cost included.
type Operation = unsafe extern "C" fn(u64, u64) -> u64;

unsafe extern "C" {
    fn bench_clock(a: u64, b: u64) -> u64;
    fn bench_hvc1(function: u64, argument: u64) -> u64;
    fn bench_event_other(gicc: u64, port: u64) -> u64;
    fn bench_event_target(gicc: u64, port: u64) -> u64;
    fn bench_install();
    /// Where a target says when its vector began.
    static bench_time_at: AtomicU64;
}

/// The calls that are measured.
const EVENT_TAKE: u64 = 0xC600_0017;
const EVENT_SEND: u64 = 0xC600_0018;

/// The description's, by their places: events to the receiver, back, and two more to the receiver; the page.
const THERE: Handle = Handle(1 << 16);
const BACK: Handle = Handle(1 << 16 | 1);
/// The receiver masks it: the first event sets a flag, the others find it.
const KEPT: Handle = Handle(1 << 16 | 2);
/// It leaves the interrupt of this one disabled.
const DISABLED: Handle = Handle(1 << 16 | 3);
const PAGE: Handle = Handle(1 << 16 | 4);

/// The receiver's number.
const RECEIVER: u8 = 1;

/// The SPIs of the description's events that are waited for, of the ports of the other partition, and of this one's own.
const THERE_INTID: u32 = 32 + 40;
const BACK_INTID: u32 = 32 + 41;
const GROUP: u32 = 32 + 43;
const OWN_GROUP: u32 = 32 + 44;

/// Words of the page: the time that a target says, and how far the two are.
const TIME: usize = 0;
const STATE: usize = 1;

/// The receiver has all its ports, and waits; nothing more is measured.
const IS_READY: u64 = 1;
const IS_OVER: u64 = 2;

const ROUNDS: usize = 1000;
static SAMPLES: Lock<[u32; ROUNDS]> = Lock::new([0; ROUNDS]);

shikiri_rt::entry!(main);

fn main() {
    irq::mask();
    let result = match platform::value_of("role") {
        Some("receiver") => receive(),
        _ => measure(),
    };
    match result {
        Ok(()) => println!("done"),
        Err(refusal) => println!("bench: failed: {refusal}"),
    }
    power::off();
}

/// The page that both have.
fn page() -> Result<&'static [AtomicU64; 2], Refusal> {
    const OUT_OF_SIGHT: Refusal = Refusal { code: Status::Range.code(), which: 0 };
    let windows = Windows::map().map_err(|_| OUT_OF_SIGHT)?;
    let at = shared::state(PAGE)?.ok_or(OUT_OF_SIGHT)?.address;
    let offset = at.0 - shikiri_abi::WINDOWS.0;
    let page: *const [AtomicU64; 2] =
        ptr::with_exposed_provenance((windows.seen().0 + offset) as usize);
    // SAFETY: mapped as long as this guest runs; bench.s stores a time there, and both sides know atomic words of it only.
    let page = unsafe { &*page };
    // SAFETY: bench.s only loads it.
    let time_at = unsafe { &bench_time_at };
    time_at.store(page[TIME].as_ptr().expose_provenance() as u64, Ordering::Relaxed);
    // SAFETY: the vectors are complete for what can be raised here: interrupts.
    unsafe { bench_install() };
    Ok(page)
}

/// The CPU interface of a GICv2.
fn gicc() -> u64 {
    if gic::version() == Version::V2 { GICC } else { 0 }
}

fn ports() -> usize {
    platform::number_of("ports").unwrap_or(0) as usize
}

fn measure() -> Result<(), Refusal> {
    let page = page()?;
    gic::enable(BACK_INTID);
    let last = many::connect(RECEIVER, ports())?;
    while page[STATE].load(Ordering::Acquire) != IS_READY {
        reg::yield_now();
    }
    row("event_other_between", bench_event_other, gicc(), THERE.0);
    send_again("event_send_between", KEPT)?;
    if let Some(grouped) = last {
        send_again("event_send_grouped", grouped)?;
    }
    // Nothing that there is more of has to do with these.
    if platform::value_of("suffix").is_none() {
        send_again("event_send_disabled", DISABLED)?;
        take()?;
    }
    page[STATE].store(IS_OVER, Ordering::Release);
    talk::send(THERE)?;
    Ok(())
}

/// The sender's whole call, one event being there.
fn send_again(name: &str, port: Handle) -> Result<(), Refusal> {
    talk::send(port)?;
    row(name, bench_hvc1, EVENT_SEND, port.0);
    Ok(())
}

/// Among 64 ports of its own that share an interrupt: all of them pending, and none.
fn take() -> Result<(), Refusal> {
    let mut receivers = [const { Handle(0) }; 192];
    for port in &mut receivers {
        *port = talk::create_receive()?;
        talk::bind(*port, OWN_GROUP, 0, Sharing::Grouped)?;
    }
    // 64 neighbours from a multiple of 64 on.
    let index = |port: Handle| port.0 & 0xffff;
    let Some(first) = receivers.iter().position(|port| index(*port) % 64 == 0) else {
        return Err(Refusal { code: Status::Range.code(), which: 0 });
    };
    let word = index(receivers[first]) / 64;
    let mut senders = [const { Handle(0) }; 64];
    for (send, receive) in senders.iter_mut().zip(&receivers[first..]) {
        *send = talk::create_send()?;
        talk::connect(*send, *receive)?;
    }
    sampled("event_take_64", || {
        for port in senders {
            talk::send(port)?;
        }
        // SAFETY: a call that changes nothing but the ports' pending state.
        Ok(unsafe { bench_hvc1(EVENT_TAKE, word) })
    })?;
    row("event_take_none", bench_hvc1, EVENT_TAKE, word);
    Ok(())
}

/// A row about one operation with these arguments.
fn row(name: &str, operation: Operation, a: u64, b: u64) {
    // SAFETY: the operations of bench.s change only what the row is about, and restore what they borrow.
    let _taken = sampled(name, || Ok(unsafe { operation(a, b) }));
}

/// A row: the median of the samples, without what reading the clock takes.
fn sampled(name: &str, sample: impl FnMut() -> Result<u64, Refusal>) -> Result<(), Refusal> {
    // SAFETY: it only reads the clock.
    let clock = median(|| Ok(unsafe { bench_clock(0, 0) }))?;
    let taken = median(sample)?.saturating_sub(clock);
    let suffix = platform::value_of("suffix").unwrap_or("");
    println!("bench: {name}{suffix} {taken}");
    Ok(())
}

fn median(mut sample: impl FnMut() -> Result<u64, Refusal>) -> Result<u64, Refusal> {
    let mut samples = SAMPLES.lock();
    for place in samples.iter_mut() {
        *place = sample()? as u32;
    }
    samples.sort_unstable();
    Ok(u64::from(samples[ROUNDS / 2]))
}

/// The other side: connects what is asked for, and then says when its vector begins and sends an event back, until the other is done.
fn receive() -> Result<(), Refusal> {
    let page = page()?;
    gic::enable(THERE_INTID);
    for _ in 0..ports() {
        many::accept(&taken()?, GROUP)?;
    }
    talk::mask(KEPT)?;
    page[STATE].store(IS_READY, Ordering::Release);
    // SAFETY: the vectors are installed, and it keeps to its own registers.
    unsafe { bench_event_target(gicc(), BACK.0) };
    Ok(())
}

/// The next request.
fn taken() -> Result<Signal, Refusal> {
    loop {
        match talk::take_signal() {
            Err(refusal) if refusal.status() == Some(Status::Empty) => reg::yield_now(),
            other => return other,
        }
    }
}
