//! Clocks, sleeps and `poll`.

use std::time::{Duration, Instant, SystemTime};

use shikiri_scos_programs::os;
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    clocks();
    polls();
}

fn clocks() {
    let mut last = Instant::now();
    let forwards = (0..1000).all(|_| {
        let now = Instant::now();
        let is_later = now >= last;
        last = now;
        is_later
    });
    holds("time_goes_forwards", forwards);
    let day = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    // Between two looks at the one is the other's, however long each takes.
    let both = || (day(), Instant::now(), day());
    let start = both();
    // What is compared is how much time passes.
    std::thread::sleep(Duration::from_millis(5));
    let end = both();
    let (least, most) = (end.0 - start.2, end.2 - start.0);
    // The grain of the clocks.
    let took = end.1 - start.1;
    let grain = Duration::from_micros(1);
    holds("the_time_of_day_goes_as_fast", took + grain >= least && took <= most + grain);
    for ms in [0, 1, 30] {
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(ms));
        let slept = start.elapsed();
        holds(&format!("a_sleep_of_{ms}_ms_is_long_enough"), slept >= Duration::from_millis(ms));
    }
}

fn polls() {
    let (reader, writer) = os::pipe(0).unwrap();
    let start = Instant::now();
    equal("an_empty_pipe_is_not_ready", os::poll(&[(reader, libc::POLLIN)], 20), Ok(vec![0]));
    holds("that_took_its_time", start.elapsed() >= Duration::from_millis(20));
    equal(
        "a_pipe_can_be_written_to",
        os::poll(&[(writer, libc::POLLOUT)], -1),
        Ok(vec![libc::POLLOUT]),
    );
    // It writes when it is told to, and a little later, so that somebody polls by then.
    let (told, tell) = os::pipe(0).unwrap();
    let child = os::in_child(|| {
        os::read(told, &mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        os::write(writer, b"x").map_or(1, |_| 0)
    });
    let asked = [(reader, libc::POLLIN), (-1, libc::POLLIN), (77, libc::POLLIN)];
    let found = os::poll(&asked, -1);
    equal("what_is_no_descriptor_is_told_at_once", found, Ok(vec![0, 0, libc::POLLNVAL]));
    os::write(tell, b"g").unwrap();
    equal("a_write_wakes_who_polls", os::poll(&asked[..2], -1), Ok(vec![libc::POLLIN, 0]));
    os::wait(child.unwrap(), 0).unwrap();
    for end in [writer, told, tell] {
        os::close(end).unwrap();
    }
    os::read(reader, &mut [0]).unwrap();
    equal("the_end_is_a_hang_up", os::poll(&asked[..1], -1), Ok(vec![libc::POLLHUP]));
    os::close(reader).unwrap();
}
