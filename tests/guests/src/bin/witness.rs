//! Watches its own timer while others misbehave: a tick each period, and how late the worst one was.
//!
//! Command line: `period_us=N` (default 1000), `report_ms=N` (default 1000: how often a line is printed), `reports=N`
//! (default 3, then `done`; 0 = for ever), `limit_us=N` (a later tick prints `FAIL`; without it nothing can fail),
//! `hold_us=N` (how long each interrupt is handled, besides).
//! `row=NAME` prints the worst for a benchmark at the end, of all ticks; with `cycles` in cycles of this core, and how many 1,024 ticks are. The
//! first report begins with the first tick; each has its own `ok` or `FAIL`.
//!
//! Under `-icount` the clock counts the instructions of all cores, and the emulator ends a core's turn in the middle of an interrupt now
//! and then, to let others run until some deadline. So each tick says when it has read the clock by an instruction that does nothing else
//! ([`mark`]): from outside, this core's own instructions are counted from its last WFI to there.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "an instruction that is looked for from outside")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, println};
use shikiri_test_guests::cycles::Unit;
use shikiri_test_guests::report::fail;
use shikiri_test_guests::{Failure, done};

static TICKS: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);
/// The worst since the last report.
static LATEST: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);
static MISSED: AtomicU64 = AtomicU64::new(0);
static PERIOD: AtomicU64 = AtomicU64::new(0);
static HOLD_US: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    let period_us = platform::number_of("period_us").unwrap_or(1000).max(1);
    let period = timer::ticks(period_us).max(1);
    let per_report = (platform::number_of("report_ms").unwrap_or(1000) * 1000 / period_us).max(1);
    let reports = platform::number_of("reports").unwrap_or(3);
    PERIOD.store(period, Ordering::Relaxed);
    HOLD_US.store(platform::number_of("hold_us").unwrap_or(0), Ordering::Relaxed);
    irq::set_handler(tick);
    gic::enable(Timer::Virtual.intid());
    Timer::Virtual.set_deadline(Timer::Virtual.now() + period);
    let mut report = 0;
    while reports == 0 || report < reports {
        let end = (report + 1) * per_report;
        irq::wait_until(|| TICKS.load(Ordering::Relaxed) >= end);
        report += 1;
        print_report(report);
        judge(report);
    }
    irq::mask();
    if let Some(row) = platform::value_of("row") {
        print_row(row);
    }
    done()
}

/// Prints the worst for a benchmark.
fn print_row(row: &str) {
    let unit = Unit::start();
    println!("bench: {row} {}", unit.of_ticks(WORST.load(Ordering::Relaxed)));
    if let Unit::Cycles { per_1024_ticks } = unit {
        println!("bench: cycles_per_1024_ticks {per_1024_ticks}");
    }
}

/// Says of the ticks since the last report whether one was later than the limit.
fn judge(report: u64) {
    let limit = platform::number_of("limit_us").unwrap_or(u64::MAX);
    let worst = microseconds(LATEST.swap(0, Ordering::Relaxed));
    if worst > limit {
        fail("witness", &Failure { what: "worst lateness in us", got: worst, want: limit });
    } else {
        println!("ok witness report {report}: at most {worst} us late");
    }
}

fn print_report(report: u64) {
    let ticks = TICKS.load(Ordering::Relaxed);
    let worst = WORST.load(Ordering::Relaxed);
    println!(
        "witness: report {report}, {ticks} ticks, {} missed, worst {worst} ticks = {} us, mean {} ticks",
        MISSED.load(Ordering::Relaxed),
        microseconds(worst),
        SUM.load(Ordering::Relaxed) / ticks.max(1),
    );
}

fn microseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000 / u128::from(timer::frequency().max(1))) as u64
}

fn tick(_intid: u32) {
    let now = Timer::Virtual.now();
    mark();
    let period = PERIOD.load(Ordering::Relaxed);
    let late = now.saturating_sub(Timer::Virtual.deadline());
    WORST.fetch_max(late, Ordering::Relaxed);
    LATEST.fetch_max(late, Ordering::Relaxed);
    SUM.fetch_add(late, Ordering::Relaxed);
    MISSED.fetch_add(late / period, Ordering::Relaxed);
    TICKS.fetch_add(1, Ordering::Relaxed);
    match HOLD_US.load(Ordering::Relaxed) {
        0 => {}
        hold => timer::spin(hold),
    }
    Timer::Virtual.set_deadline(Timer::Virtual.deadline() + (late / period + 1) * period);
}

/// HINT #127, which is NOP: nobody else has it.
fn mark() {
    // SAFETY: it does nothing.
    unsafe { asm!("hint #127", options(nomem, nostack, preserves_flags)) };
}
