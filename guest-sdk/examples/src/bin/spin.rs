//! Spins for ever on all its vCPUs, without a wait instruction: what a budget has to stop.
//!
//! Command line: `beat` prints the loop's count about every second of its own time.
#![no_std]
#![no_main]

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{platform, println, smp};

shikiri_rt::entry!(main);

fn main() {
    println!("spin: {} vCPUs spin", smp::start_all(spin));
    spin();
}

fn spin() {
    let mut count = 0_u64;
    let mut next = Timer::Virtual.now().wrapping_add(timer::frequency());
    loop {
        count = core::hint::black_box(count.wrapping_add(1));
        if count.is_multiple_of(1 << 16) && Timer::Virtual.now() >= next {
            next = next.wrapping_add(timer::frequency());
            if platform::has_word("beat") {
                println!("spin: vCPU {} at {count}", smp::index());
            }
        }
    }
}
