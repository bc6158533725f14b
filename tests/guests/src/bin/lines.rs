//! Lines on a console that others write to as well.
//!
//! Command line: `lines=N` numbered ones. `role=flood`: as fast as they can be written, and more than the line takes. `role=quiet`:
//! each in two parts, the second after 2 ms, so that the others' lines wait meanwhile; no byte of its own has to wait, and no part
//! takes longer than `limit_us=N`. `role=echo`: it repeats each line that it hears, up to `end`. `role=clock`: each says when it is
//! written, in microseconds, 500 of them apart. `role=open`: one that says when it is written, too, and ends 35 ms later.
#![no_std]
#![no_main]

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{console, platform, print, println};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

shikiri_rt::entry!(main);

fn main() {
    let lines = platform::number_of("lines").unwrap_or(100);
    match platform::value_of("role") {
        Some("quiet") => case("no_byte_has_to_wait_for_others", || quiet(lines)),
        Some("clock") => clock(lines),
        Some("open") => open(),
        Some("echo") => case("it_hears_what_is_typed_to_it", echo),
        _ => case("the_line_holds_it_back", || flood(lines)),
    }
    done()
}

fn flood(lines: u64) -> Outcome {
    for number in 0..lines {
        println!("flood {number:04} of as many lines as the console takes, and then some");
    }
    ensure("a full FIFO", console::waits() > 0)
}

fn clock(lines: u64) {
    for _ in 0..lines {
        println!("clock {}", now_us());
        timer::spin(500);
    }
}

fn open() {
    timer::spin(3000);
    print!("open {},", now_us());
    timer::spin(35_000);
    println!(" closed");
}

/// The same clock for all partitions.
fn now_us() -> u64 {
    Timer::Virtual.now() / timer::ticks(1)
}

fn echo() -> Outcome {
    println!("listening");
    loop {
        let (mut line, mut length) = ([0; 32], 0);
        loop {
            match console::read_byte() {
                Some(b'\r') => break,
                Some(byte) => {
                    line[length % 32] = byte;
                    length += 1;
                }
                None => timer::spin(100),
            }
        }
        let line = &line[..length.min(32)];
        if line == b"end" {
            return Ok(());
        }
        println!("heard {}", line.escape_ascii());
    }
}

fn quiet(lines: u64) -> Outcome {
    let limit = timer::ticks(platform::number_of("limit_us").unwrap_or(1000));
    let mut worst = 0;
    for number in 0..lines {
        let start = Timer::Virtual.now();
        print!("quiet {number:04} begins, ");
        worst = worst.max(Timer::Virtual.now() - start);
        timer::spin(2000);
        let start = Timer::Virtual.now();
        println!("and ends.");
        worst = worst.max(Timer::Virtual.now() - start);
    }
    equal("bytes that waited", console::waits(), 0)?;
    if worst <= limit {
        Ok(())
    } else {
        Err(Failure { what: "ticks for a part", got: worst, want: limit })
    }
}
