//! Preemption: nobody has to give up the core for others to have their turn, and nobody's timers take it from them.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    let spinning = os::in_child(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let spinning = spinning.unwrap();
    std::thread::sleep(Duration::from_millis(50));
    os::kill(spinning, libc::SIGKILL).unwrap();
    let ended = os::wait(spinning, 0);
    equal("a_spinning_process_is_preempted_and_killed", ended, Ok((spinning, Ended::Signal(9))));
    all_have_turns();
    short_timers();
    short_alarms();
}

/// A child that only computes comes to its end.
fn works() -> bool {
    let child = || {
        let sum = (0..1_000_000_u32).fold(0, |sum, it| std::hint::black_box(sum ^ it));
        i32::from(sum != 0)
    };
    os::end_of(child) == Ok(Ended::Exit(0))
}

/// Timers that expire each nanosecond, and that nobody reads.
fn short_timers() {
    let nanosecond = TimeSpec::from_duration(Duration::from_nanos(1));
    let timers: Vec<TimerFd> = (0..8)
        .map(|_| {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).unwrap();
            timer.set(Expiration::Interval(nanosecond), TimerSetTimeFlags::empty()).unwrap();
            timer
        })
        .collect();
    holds("the_shortest_timers_leave_others_their_time", works());
    let read = |timer: &TimerFd| {
        let mut count = [0; 8];
        os::read(timer.as_fd().as_raw_fd(), &mut count).map(|_| u64::from_le_bytes(count))
    };
    let first: Vec<_> = timers.iter().map(read).collect();
    holds("each_of_their_ends_is_counted", first.iter().all(|count| *count > Ok(1_000)));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    let second: Vec<_> = timers.iter().map(read).collect();
    // But for the grain of the clock.
    holds("up_to_the_read", second.iter().all(|count| *count > Ok(990_000)));
    let asked: Vec<_> = timers.iter().map(|it| (it.as_fd().as_raw_fd(), libc::POLLIN)).collect();
    let found = os::poll(&asked[..1], -1);
    equal("and_the_next_one_wakes_who_polls", found, Ok(vec![libc::POLLIN]));
}

/// Alarms each microsecond: ignored, and handled by a process that has no other time.
fn short_alarms() {
    os::ignore(libc::SIGALRM, true).unwrap();
    os::set_alarm_us(1, 1);
    holds("the_shortest_alarms_leave_others_their_time", works());
    os::set_alarm_us(0, 0);
    os::ignore(libc::SIGALRM, false).unwrap();
    let busy = os::in_child(|| {
        os::handle(libc::SIGALRM, nothing, 0).unwrap();
        os::set_alarm_us(1, 1);
        loop {
            std::hint::spin_loop();
        }
    });
    holds("handled_ones_as_well", works());
    let busy = busy.unwrap();
    os::kill(busy, libc::SIGKILL).unwrap();
    equal("and_their_process_can_be_ended", os::wait(busy, 0), Ok((busy, Ended::Signal(9))));
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Three processes spin at once; each counts in shared memory, and keeps its vectors.
fn all_have_turns() {
    let shared = os::map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).unwrap();
    let children: Vec<i32> = (0..3)
        .map(|index| {
            let child = os::in_child(|| {
                let is_over = || os::peek(shared + 64) != 0;
                let count = || os::poke(shared + index, os::peek(shared + index).saturating_add(1));
                let kept = os::keeps_vectors(|| {
                    count();
                    is_over()
                });
                i32::from(!kept)
            });
            child.unwrap()
        })
        .collect();
    let start = Instant::now();
    // Without sleeping: this one spins, too.
    while (0..3).any(|index| os::peek(shared + index) < 100)
        && start.elapsed() < Duration::from_secs(60)
    {
        std::hint::spin_loop();
    }
    holds("all_have_their_turns", (0..3).all(|index| os::peek(shared + index) >= 100));
    os::poke(shared + 64, 1);
    let kept = children.iter().all(|child| os::wait(*child, 0) == Ok((*child, Ended::Exit(0))));
    holds("each_keeps_its_vectors", kept);
}
