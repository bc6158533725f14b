//! Clocks, sleeps, `poll` and `select`.

use std::time::{Duration, Instant, SystemTime};

use shikiri_scos_programs::os;
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    clocks();
    polls();
    selects();
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

/// `pselect6` over a pipe, and over what is no descriptor.
fn selects() {
    let (reader, writer) = os::pipe(0).unwrap();
    let (from, to) = (1_u128 << reader, 1_u128 << writer);
    let end = u64::try_from(reader.max(writer) + 1).unwrap();
    let start = Instant::now();
    let found = os::select(end, [from, 0, from], Some(20));
    equal("an_empty_pipe_is_in_no_set", found, Ok((0, [0; 3])));
    holds("and_that_took_its_time", start.elapsed() >= Duration::from_millis(20));
    let found = os::select(end, [from, to, to], None);
    equal("a_pipe_is_ready_for_writing", found, Ok((1, [0, to, 0])));
    // It writes when it is told to, and a little later, so that somebody selects by then.
    let (told, tell) = os::pipe(0).unwrap();
    let child = os::in_child(|| {
        os::read(told, &mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        os::write(writer, b"x").map_or(1, |_| 0)
    });
    os::write(tell, b"g").unwrap();
    let found = os::select(end, [from, 0, 0], None);
    equal("a_write_wakes_who_selects", found, Ok((1, [from, 0, 0])));
    os::wait(child.unwrap(), 0).unwrap();
    let found = os::select(end, [from, to, from | to], None);
    equal("one_in_each_of_two_sets", found, Ok((2, [from, to, 0])));
    // Words are told as a whole: those in front of the end, and none behind it.
    let far = 1_u128 << 100;
    let found = os::select(end, [from | far, far, far], None);
    equal("what_is_far_behind_the_end_stays", found, Ok((1, [from | far, far, far])));
    let found = os::select(0, [from | far, 0, far], Some(0));
    equal("with_no_descriptors_all_stays", found, Ok((0, [from | far, 0, far])));
    // Nobody has opened so many.
    equal("what_is_no_descriptor", os::select(61, [1 << 60, 0, 0], Some(0)), Err(libc::EBADF));
    equal(
        "is_looked_for_in_front_of_the_end",
        os::select(end, [from | 1 << 60, 0, 0], Some(0)).map(|it| it.0),
        Ok(1),
    );
    for end in [writer, told, tell] {
        os::close(end).unwrap();
    }
    os::read(reader, &mut [0]).unwrap();
    let found = os::select(end, [from, 0, 0], None);
    equal("the_end_can_be_read", found, Ok((1, [from, 0, 0])));
    os::close(reader).unwrap();
}
