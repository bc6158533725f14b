//! Spins on one vCPU and measures from inside how much of its core it gets: a gap between two looks at the counter
//! is time in which something else ran.
//!
//! Command line: `budget_us=N` and `period_us=N`, its reservation (default 4000 of 10000); `stretches=N`, how many
//! stretches of running are measured (default 60, at most 256); `slack_us=N`, how much a late timer may let it take
//! too much once (default 50).
#![no_std]
#![no_main]

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{irq, platform, println};
use shikiri_test_guests::{case, done, ensure};

/// A longer time between two looks was not this vCPU's: more than any exit, less than any turn of another.
const GAP_US: u64 = 100;
/// How many stretches there is room for.
const ROOM: usize = 256;

/// A time in which it ran without a gap, in ticks.
#[derive(Clone, Copy, Default)]
struct Stretch {
    from: u64,
    to: u64,
}

shikiri_rt::entry!(main);

fn main() {
    let number = |key, default| platform::number_of(key).unwrap_or(default);
    let budget = timer::ticks(number("budget_us", 4000));
    let period = timer::ticks(number("period_us", 10_000));
    let slack = timer::ticks(number("slack_us", 50));
    let count = usize::try_from(number("stretches", 60)).unwrap_or(ROOM).clamp(2, ROOM);
    let mut room = [Stretch::default(); ROOM];
    let stretches = &mut room[..count];
    irq::mask();
    // What it gets at first depends on what others have left: a new stretch is where counting begins.
    run_until_gap(Timer::Virtual.now());
    for stretch in stretches.iter_mut() {
        let from = Timer::Virtual.now();
        *stretch = Stretch { from, to: run_until_gap(from) };
    }
    let (from, to) = (stretches[0].from, stretches[count - 1].from);
    let ran: u64 = stretches[..count - 1].iter().map(|stretch| stretch.to - stretch.from).sum();
    println!("budget: {ran} of {} ticks, reserved {budget} of {period}", to - from);
    case("never_more_than_its_budget_in_any_stretch_of_time", || {
        ensure("time", worst_excess(stretches, budget, period) <= slack)
    });
    case("its_whole_budget_in_the_long_run", || {
        // From the first replenishment to the last one; switches are paid by whoever comes.
        let promised = (to - from) / period * budget;
        ensure("time", ran + promised / 20 >= promised)
    });
    done()
}

/// Spins until it was away; when it was here last.
fn run_until_gap(from: u64) -> u64 {
    let gap = timer::ticks(GAP_US);
    let mut last = from;
    loop {
        let now = Timer::Virtual.now();
        if now - last > gap {
            return last;
        }
        last = now;
    }
}

/// How much more it ran between the begin of one stretch and the end of another than the scheduler's promise: in
/// `L` ticks at most `budget * L / period + 2 * budget`.
fn worst_excess(stretches: &[Stretch], budget: u64, period: u64) -> u64 {
    let mut worst = 0;
    for (index, first) in stretches.iter().enumerate() {
        let mut ran = 0;
        for last in &stretches[index..] {
            ran += last.to - last.from;
            let promised = budget * (last.to - first.from) / period + 2 * budget;
            worst = worst.max(ran.saturating_sub(promised));
        }
    }
    worst
}
