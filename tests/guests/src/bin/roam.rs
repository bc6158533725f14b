//! Measures how much this vCPU gets done, for tests in which it may run on several cores.
//!
//! Command line: `run_ms=N` (default 1000), `min_ppm=N` and `max_ppm=N`: how much of that time's instructions
//! it must and may have executed, in millionths. Under `-icount` an instruction is a nanosecond of all cores together, so
//! while another core is busy too, each executes half of them. `vcpus` starts all others, which spin. `end_ms=N`: ends the
//! partition then, whatever its vCPUs do, instead of measuring.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "counts instructions")]

use core::arch::asm;

use shikiri_rt::hvc::partition;
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{platform, println, smp};
use shikiri_test_guests::{case, done, ensure};

/// Rounds of one piece of work: 20 µs of instructions.
const ROUNDS: u64 = 10_000;

shikiri_rt::entry!(main);

fn main() {
    if let Some(end_ms) = platform::number_of("end_ms") {
        println!("roam: {} vCPUs, and the end", smp::start_all(spin));
        timer::spin(end_ms * 1000);
        let refusal = partition::end(9);
        println!("FAIL the end: {refusal:?}");
    }
    if platform::has_word("vcpus") {
        println!("roam: {} vCPUs", smp::start_all(spin));
    }
    let limit = |name, otherwise| platform::number_of(name).unwrap_or(otherwise);
    let got = measure(timer::ticks(limit("run_ms", 1000) * 1000));
    println!("roam: {got} ppm");
    case("it_gets_what_it_must", || ensure("ppm", got >= limit("min_ppm", 0)));
    case("it_gets_what_it_may", || ensure("ppm", got <= limit("max_ppm", u64::MAX)));
    done()
}

fn spin() {
    loop {
        work();
    }
}

/// The instructions executed in `time` ticks, in millionths of what one core could have executed alone.
fn measure(time: u64) -> u64 {
    let start = Timer::Virtual.now();
    let mut executed = 0;
    loop {
        work();
        executed += ROUNDS * 2;
        let elapsed = Timer::Virtual.now() - start;
        if elapsed >= time {
            let nanoseconds = u128::from(elapsed) * 1_000_000_000 / u128::from(timer::frequency());
            return (u128::from(executed) * 1_000_000 / nanoseconds) as u64;
        }
    }
}

/// `ROUNDS` times two instructions.
fn work() {
    // SAFETY: counts a register down.
    unsafe {
        asm!("2: subs {left}, {left}, #1", "b.ne 2b", left = inout(reg) ROUNDS => _, options(nomem, nostack));
    }
}
