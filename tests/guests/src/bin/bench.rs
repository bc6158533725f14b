//! Measures what the hypervisor costs, in ticks of the counter.
//!
//! Run with `-icount shift=0,sleep=off` and a counter of 1 GHz: one tick is one instruction then, of all cores
//! together. Each row is the median of 1,000, without the cost of reading the clock, and printed as
//! `bench: ROW N`. Row `sgi_send` sends to a vCPU that has the SGI disabled: the sender's trap, nothing on the
//! other side; `sgi_other` is everything from the sender's instruction to the vector of a vCPU in WFI.
//!
//! With `events` on the command line, and handles: `event_send` is an event to a port that has one already, the sender's
//! whole call; `event_other` is everything from the call to the vector of a vCPU in WFI.
//!
//! With `switch` on the command line, and two vCPUs on one core of which the second has the lower priority: what it costs to
//! change between them (`vcpu_switch`: from WFI to the other's next instruction), and how late a deadline is that takes the core
//! back (`vcpu_wake`).
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "measures single instructions in assembly, with a vector table of its own"
)]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::gic::{self, Version};
use shikiri_rt::hvc::{partition, psci, talk};
use shikiri_rt::platform::{GICC, GICD, GICR};
use shikiri_rt::timer::Timer;
use shikiri_rt::{Lock, entry_time, irq, platform, power, println, reg, smp};

global_asm!(include_str!("../bench.s"));

/// An operation of bench.s: two arguments, the result is what it took in ticks, the clock's cost included.
type Operation = unsafe extern "C" fn(u64, u64) -> u64;

unsafe extern "C" {
    fn bench_clock(a: u64, b: u64) -> u64;
    fn bench_hvc(function: u64, b: u64) -> u64;
    fn bench_load32(address: u64, b: u64) -> u64;
    fn bench_load64(address: u64, b: u64) -> u64;
    fn bench_store8(address: u64, value: u64) -> u64;
    fn bench_store32(address: u64, value: u64) -> u64;
    fn bench_sgi1r(a: u64, value: u64) -> u64;
    fn bench_self_v3(gicc: u64, value: u64) -> u64;
    fn bench_self_v2(gicc: u64, value: u64) -> u64;
    fn bench_timer_spin(gicc: u64, ticks: u64) -> u64;
    fn bench_timer_wfi(gicc: u64, ticks: u64) -> u64;
    fn bench_other_v3(gicc: u64, value: u64) -> u64;
    fn bench_other_v2(gicc: u64, value: u64) -> u64;
    fn bench_hvc1(function: u64, argument: u64) -> u64;
    fn bench_event_other(gicc: u64, port: u64) -> u64;
    fn bench_switch(gicc: u64, ticks: u64) -> u64;
    fn bench_turns();
    fn bench_target(gicc: u64, sgi: u64);
    fn bench_install();
}

/// How often each row is measured.
const ROUNDS: usize = 1000;
/// The SGI of the rows about SGIs.
const SGI: u32 = 5;
/// An SPI that nothing raises.
const SPI: u64 = 64;

static SAMPLES: Lock<[u32; ROUNDS]> = Lock::new([0; ROUNDS]);
static TARGET_READY: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    println!("bench: first_instruction {}", entry_time());
    irq::mask();
    // SAFETY: the vectors are complete for what can be raised here: interrupts.
    unsafe { bench_install() };
    let clock = median(bench_clock, 0, 0);
    let row = |name: &str, operation: Operation, a: u64, b: u64| {
        println!("bench: {name} {}", median(operation, a, b).saturating_sub(clock));
    };
    if platform::has_word("switch") {
        let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
        gic::enable(Timer::Virtual.intid());
        if smp::start(1, turns).is_ok() {
            row("vcpu_switch", bench_switch, gicc, 20_000);
            row("vcpu_wake", bench_timer_wfi, gicc, 20_000);
        }
        println!("done");
        power::off();
    }
    if platform::has_word("events") {
        gic::enable(SGI);
        if smp::start(1, target).is_ok() && events(clock).is_err() {
            println!("bench: no events");
        }
        println!("done");
        power::off();
    }
    row("psci_version", bench_hvc, u64::from(psci::VERSION), 0);
    row("null_call", bench_hvc, 0xC600_0000, 0);
    row("unknown_call", bench_hvc, 0xC600_00FF, 0);
    row("read_gicd_ctlr", bench_load32, GICD, 0);
    row("read_gicd_typer", bench_load32, GICD + 4, 0);
    row("read_gicd_isenabler1", bench_load32, GICD + 0x104, 0);
    row("write_gicd_ipriorityr", bench_store8, GICD + 0x400 + SPI, 0x80);
    if gic::version() == Version::V3 {
        row("read_gicr_typer", bench_load64, GICR + 8, 0);
    }
    gic::enable(SGI);
    gic::enable(Timer::Virtual.intid());
    let (own, gicc) = match gic::version() {
        Version::V2 => (bench_self_v2 as Operation, GICC),
        Version::V3 => (bench_self_v3 as Operation, 0),
    };
    row("sgi_self", own, gicc, sgi_value(0));
    row("timer_spin", bench_timer_spin, gicc, 5000);
    row("timer_wfi", bench_timer_wfi, gicc, 5000);
    if smp::start(1, target).is_ok() {
        other(gicc, clock);
    }
    if let Ok(line) = partition::account(partition::Resource::ManagementMemory) {
        println!("bench: partition_metadata_pages {}", line.used);
    }
    println!("done");
    power::off();
}

/// What the second vCPU on the same core does.
fn turns() {
    irq::mask();
    // SAFETY: it writes to words of its own, and never returns.
    unsafe { bench_turns() };
}

/// The rows about events: to a port of this partition that is bound to the other vCPU.
fn events(clock: u64) -> Result<(), partition::Refusal> {
    while TARGET_READY.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
    let intid = SPI as u32;
    let (send, receive) = (talk::create_send()?, talk::create_receive()?);
    talk::connect(send, receive)?;
    talk::bind(receive, intid, 1, talk::Sharing::Alone)?;
    gic::enable(intid);
    let ticks = median(bench_event_other, gicc, send.0);
    println!("bench: event_other {}", ticks.saturating_sub(clock));
    // Masked, it keeps a flag: the first event sets it, the others find it.
    talk::mask(receive)?;
    talk::send(send)?;
    let ticks = median(bench_hvc1, 0xC600_0018, send.0);
    println!("bench: event_send {}", ticks.saturating_sub(clock));
    Ok(())
}

/// The rows with two vCPUs.
fn other(gicc: u64, clock: u64) {
    while TARGET_READY.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    let (send, summed) = match gic::version() {
        Version::V2 => (bench_store32 as Operation, bench_other_v2 as Operation),
        Version::V3 => (bench_sgi1r as Operation, bench_other_v3 as Operation),
    };
    let ticks = median(summed, gicc, sgi_value(1));
    println!("bench: sgi_other {}", ticks.saturating_sub(clock));
    // The other SGI is not enabled at the target.
    let unheard = match gic::version() {
        Version::V2 => 0x2_0000 | u64::from(SGI + 1),
        Version::V3 => gic::sgi_value(SGI + 1, mpidr(1)),
    };
    let ticks = median(send, GICD + 0xf00, unheard);
    println!("bench: sgi_send {}", ticks.saturating_sub(clock));
}

/// What the second vCPU does: it waits for the SGI, notes the time in its vector, and tells the sender.
fn target() {
    irq::mask();
    gic::enable(SGI);
    let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
    TARGET_READY.store(1, Ordering::Release);
    // SAFETY: the vectors are installed there; it never returns.
    unsafe { bench_target(gicc, sgi_value(0)) };
}

fn mpidr(vcpu: usize) -> u64 {
    platform::platform().mpidr(vcpu).unwrap_or(0)
}

/// What is written to send the SGI to `vcpu`.
fn sgi_value(vcpu: usize) -> u64 {
    match gic::version() {
        Version::V2 => (0x1_0000 << vcpu) | u64::from(SGI),
        Version::V3 => gic::sgi_value(SGI, mpidr(vcpu)),
    }
}

fn median(operation: Operation, a: u64, b: u64) -> u64 {
    let mut samples = SAMPLES.lock();
    for sample in samples.iter_mut() {
        // SAFETY: the operations of bench.s change only what the row is about, and restore what they borrow.
        *sample = unsafe { operation(a, b) } as u32;
    }
    samples.sort_unstable();
    u64::from(samples[ROUNDS / 2])
}
