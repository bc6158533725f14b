//! Ticks ten times a second by the virtual timer. The first lines are printed, then it goes on quietly.
//!
//! Command line: `ticks=N` (how many are printed, default 5; `ticks=all` for ever), `period_us=N` (default 100000), `physical`
//! for the physical timer.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, power, println};

static TICKS: AtomicU64 = AtomicU64::new(0);
static LINES: AtomicU64 = AtomicU64::new(0);
static PERIOD: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    let lines = match platform::value_of("ticks") {
        Some("all") => u64::MAX,
        _ => platform::number_of("ticks").unwrap_or(5),
    };
    let period = timer::ticks(platform::number_of("period_us").unwrap_or(100_000)).max(1);
    LINES.store(lines, Ordering::Relaxed);
    PERIOD.store(period, Ordering::Relaxed);
    println!("timer: {} Hz, a tick every {period}", timer::frequency());
    irq::set_handler(tick);
    gic::enable(source().intid());
    source().set_deadline(source().now().wrapping_add(period));
    power::idle()
}

fn source() -> Timer {
    if platform::has_word("physical") { Timer::Physical } else { Timer::Virtual }
}

/// Moves the deadline on by whole periods, so that lateness does not add up.
fn tick(intid: u32) {
    if intid != source().intid() {
        return;
    }
    let period = PERIOD.load(Ordering::Relaxed);
    let late = source().now().saturating_sub(source().deadline());
    let missed = late / period;
    let step = period.saturating_mul(missed.saturating_add(1));
    source().set_deadline(source().deadline().wrapping_add(step));
    let ticks = TICKS.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if ticks <= LINES.load(Ordering::Relaxed) {
        println!("timer: tick {ticks}, late by {late}");
    }
}
