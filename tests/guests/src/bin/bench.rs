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
//! With `cycles` on the command line, and performance monitors: the same rows in cycles, for a real board, those about events among
//! them, if there are handles. What one vCPU does by itself is counted by its core's cycle counter; the rest, timers among
//! it, by the counter's ticks, of which one is several cycles.
//!
//! With `switch` on the command line, and two vCPUs on one core of which the second has the lower priority: what it costs to
//! change between them (`vcpu_switch`: from WFI to the other's next instruction), and how late a deadline is that takes the core
//! back (`vcpu_wake`). With `ticks` too, the rows are ticks, and say so: whoever shares a core has no performance monitors.
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
use shikiri_test_guests::cycles::Unit;

global_asm!(include_str!("../bench.s"));

/// An operation of bench.s: two arguments, the result is what it took in ticks, the clock's cost included.
type Operation = unsafe extern "C" fn(u64, u64) -> u64;

/// One operation by the counter, and by the core's cycles.
type Both = (Operation, Operation);

/// The operations of bench.s that are there by both.
macro_rules! both {
    ($($name:ident = $ticks:ident, $cycles:ident;)*) => {
        unsafe extern "C" {
            $(fn $ticks(a: u64, b: u64) -> u64;
            fn $cycles(a: u64, b: u64) -> u64;)*
        }
        $(const $name: Both = ($ticks, $cycles);)*
    };
}

both! {
    CLOCK = bench_clock, bench_clock_cycles;
    HVC = bench_hvc, bench_hvc_cycles;
    HVC1 = bench_hvc1, bench_hvc_cycles1;
    LOAD32 = bench_load32, bench_load32_cycles;
    LOAD64 = bench_load64, bench_load64_cycles;
    STORE8 = bench_store8, bench_store8_cycles;
    STORE32 = bench_store32, bench_store32_cycles;
    SGI1R = bench_sgi1r, bench_sgi1r_cycles;
    SELF_V3 = bench_self_v3, bench_self_v3_cycles;
    SELF_V2 = bench_self_v2, bench_self_v2_cycles;
}

unsafe extern "C" {
    fn bench_timer_spin(gicc: u64, ticks: u64) -> u64;
    fn bench_turns();
    fn bench_install();
}

/// An operation that sleeps until an interrupt: by counted instructions, and on a machine whose time goes on by itself.
type Asleep = (Operation, Operation);

macro_rules! asleep {
    ($($name:ident = $counted:ident, $masked:ident;)*) => {
        unsafe extern "C" {
            $(fn $counted(a: u64, b: u64) -> u64;
            fn $masked(a: u64, b: u64) -> u64;)*
        }
        $(const $name: Asleep = ($counted, $masked);)*
    };
}

asleep! {
    TIMER_WFI = bench_timer_wfi, bench_timer_wfi_masked;
    OTHER_V3 = bench_other_v3, bench_other_v3_masked;
    OTHER_V2 = bench_other_v2, bench_other_v2_masked;
    EVENT_OTHER = bench_event_other, bench_event_other_masked;
    SWITCH = bench_switch, bench_switch_masked;
    TARGET = bench_target, bench_target_masked;
}

/// Whether time goes on by itself: no counted instructions.
fn is_on_a_board() -> bool {
    platform::has_word("cycles") || platform::has_word("ticks")
}

/// How long a vCPU leaves the core to the other one, in ticks: all rounds together are less than the other's budget. A machine
/// whose time goes on by itself must be asleep before that is over.
fn pause() -> u64 {
    if is_on_a_board() { 100_000 } else { 20_000 }
}

/// How often a row is measured: less often where the pauses are longer.
fn rounds() -> usize {
    if platform::has_word("ticks") { ROUNDS / 5 } else { ROUNDS }
}

/// How rows are measured and printed.
#[derive(Clone, Copy)]
struct Meter {
    unit: Unit,
    /// What reading the clock costs: the counter, and what counts for one vCPU alone.
    clocks: (u64, u64),
}

impl Meter {
    fn new() -> Self {
        let mut meter = Self { unit: Unit::start(), clocks: (0, 0) };
        meter.clocks = (median(CLOCK.0, 0, 0), median(meter.choose(CLOCK), 0, 0));
        meter
    }

    fn choose(self, operation: Both) -> Operation {
        match self.unit {
            Unit::Ticks => operation.0,
            Unit::Cycles { .. } => operation.1,
        }
    }

    /// A row about what this vCPU does by itself.
    fn alone(self, name: &str, operation: Both, a: u64, b: u64) {
        let taken = median(self.choose(operation), a, b);
        println!("bench: {name} {}", taken.saturating_sub(self.clocks.1));
    }

    /// A row about what others do as well, or a timer, from WFI.
    fn asleep(self, name: &str, operation: Asleep, a: u64, b: u64) {
        let operation = if is_on_a_board() { operation.1 } else { operation.0 };
        self.elapsed(name, operation, a, b);
    }

    /// The same of what spins.
    fn elapsed(self, name: &str, operation: Operation, a: u64, b: u64) {
        let ticks = median(operation, a, b).saturating_sub(self.clocks.0);
        let head = if platform::has_word("ticks") { "bench-ticks" } else { "bench" };
        println!("{head}: {name} {}", self.unit.of_ticks(ticks));
    }
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
    let meter = Meter::new();
    if platform::has_word("switch") {
        let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
        gic::enable(Timer::Virtual.intid());
        if smp::start(1, turns).is_ok() {
            meter.asleep("vcpu_switch", SWITCH, gicc, pause());
            meter.asleep("vcpu_wake", TIMER_WFI, gicc, pause());
        }
    } else if platform::has_word("events") {
        gic::enable(SGI);
        if smp::start(1, target).is_ok() {
            try_events(meter);
        }
    } else {
        operations(meter);
    }
    println!("done");
    power::off();
}

/// The rows of single operations.
fn operations(meter: Meter) {
    meter.alone("psci_version", HVC, u64::from(psci::VERSION), 0);
    meter.alone("null_call", HVC, 0xC600_0000, 0);
    meter.alone("unknown_call", HVC, 0xC600_00FF, 0);
    meter.alone("read_gicd_ctlr", LOAD32, GICD, 0);
    meter.alone("read_gicd_typer", LOAD32, GICD + 4, 0);
    meter.alone("read_gicd_isenabler1", LOAD32, GICD + 0x104, 0);
    meter.alone("write_gicd_ipriorityr", STORE8, GICD + 0x400 + SPI, 0x80);
    if gic::version() == Version::V3 {
        meter.alone("read_gicr_typer", LOAD64, GICR + 8, 0);
    }
    gic::enable(SGI);
    gic::enable(Timer::Virtual.intid());
    let (own, gicc) = match gic::version() {
        Version::V2 => (SELF_V2, GICC),
        Version::V3 => (SELF_V3, 0),
    };
    meter.alone("sgi_self", own, gicc, sgi_value(0));
    meter.elapsed("timer_spin", bench_timer_spin, gicc, 5000);
    meter.asleep("timer_wfi", TIMER_WFI, gicc, 5000);
    if smp::start(1, target).is_ok() {
        other(meter, gicc);
        if platform::has_word("cycles") {
            try_events(meter);
        }
    }
    if let Ok(line) = partition::account(partition::Resource::ManagementMemory) {
        println!("bench: partition_metadata_pages {}", line.used);
    }
}

/// What the second vCPU on the same core does.
fn turns() {
    irq::mask();
    // SAFETY: it writes to words of its own, and never returns.
    unsafe { bench_turns() };
}

fn try_events(meter: Meter) {
    if events(meter).is_err() {
        println!("bench: no events");
    }
}

/// The rows about events: to a port of this partition that is bound to the other vCPU.
fn events(meter: Meter) -> Result<(), partition::Refusal> {
    while TARGET_READY.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
    let intid = SPI as u32;
    let (send, receive) = (talk::create_send()?, talk::create_receive()?);
    talk::connect(send, receive)?;
    talk::bind(receive, intid, 1, talk::Sharing::Alone)?;
    gic::enable(intid);
    meter.asleep("event_other", EVENT_OTHER, gicc, send.0);
    // Masked, it keeps a flag: the first event sets it, the others find it.
    talk::mask(receive)?;
    talk::send(send)?;
    meter.alone("event_send", HVC1, 0xC600_0018, send.0);
    Ok(())
}

/// The rows with two vCPUs.
fn other(meter: Meter, gicc: u64) {
    while TARGET_READY.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    let (send, summed) = match gic::version() {
        Version::V2 => (STORE32, OTHER_V2),
        Version::V3 => (SGI1R, OTHER_V3),
    };
    meter.asleep("sgi_other", summed, gicc, sgi_value(1));
    // The other SGI is not enabled at the target.
    let unheard = match gic::version() {
        Version::V2 => 0x2_0000 | u64::from(SGI + 1),
        Version::V3 => gic::sgi_value(SGI + 1, mpidr(1)),
    };
    meter.alone("sgi_send", send, GICD + 0xf00, unheard);
}

/// What the second vCPU does: it waits for the SGI, notes the time in its vector, and tells the sender.
fn target() {
    irq::mask();
    gic::enable(SGI);
    let gicc = if gic::version() == Version::V2 { GICC } else { 0 };
    TARGET_READY.store(1, Ordering::Release);
    let wait = if is_on_a_board() { TARGET.1 } else { TARGET.0 };
    // SAFETY: the vectors are installed there; it never returns.
    unsafe { wait(gicc, sgi_value(0)) };
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
    let mut all = SAMPLES.lock();
    let samples = &mut all[..rounds()];
    for sample in samples.iter_mut() {
        // SAFETY: the operations of bench.s change only what the row is about, and restore what they borrow.
        *sample = unsafe { operation(a, b) } as u32;
    }
    samples.sort_unstable();
    u64::from(samples[samples.len() / 2])
}
