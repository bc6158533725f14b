//! Signals: handlers, interrupted calls, what is held back.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libc::c_int;
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static STACK: AtomicUsize = AtomicUsize::new(0);
/// Where each call of the handler is told, for a process that waits for one; none if negative.
static TOLD: AtomicI32 = AtomicI32::new(-1);

extern "C" fn count(_signal: c_int) {
    let told = TOLD.load(Ordering::Relaxed);
    if told >= 0 {
        os::write(told, b"s").unwrap();
    }
    let here = 0_u8;
    STACK.store((&raw const here).addr(), Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::Relaxed);
}

fn counted() -> usize {
    COUNT.swap(0, Ordering::Relaxed)
}

fn me() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

pub(crate) fn check() {
    os::handle(libc::SIGUSR1, count, 0).unwrap();
    os::kill(me(), libc::SIGUSR1).unwrap();
    equal("a_handler_is_called_at_once", counted(), 1);
    masks();
    interrupted();
    alarms();
    stacks();
    children();
    vectors();
    equal("there_is_no_signal_65", os::kill(me(), 65), Err(libc::EINVAL));
    equal("there_is_no_process_99999", os::kill(99_999, 0), Err(libc::ESRCH));
    equal("sigkill_has_no_handler", os::handle(libc::SIGKILL, count, 0), Err(libc::EINVAL));
}

fn masks() {
    os::hold_back(libc::SIGUSR1, true).unwrap();
    for _ in 0..3 {
        os::kill(me(), libc::SIGUSR1).unwrap();
    }
    equal("what_is_held_back_does_not_come", counted(), 0);
    os::hold_back(libc::SIGUSR1, false).unwrap();
    equal("and_comes_once_when_it_may", counted(), 1);
    os::hold_back(libc::SIGUSR1, true).unwrap();
    os::kill(me(), libc::SIGUSR1).unwrap();
    equal("sigsuspend_lets_it_in", os::suspend(), libc::EINTR);
    equal("once", counted(), 1);
    os::kill(me(), libc::SIGUSR1).unwrap();
    equal("and_holds_it_back_again", counted(), 0);
    os::hold_back(libc::SIGUSR1, false).unwrap();
    counted();
}

/// Calls that wait end with EINTR, or are done anew.
fn interrupted() {
    let (reader, writer) = os::pipe(0).unwrap();
    os::handle(libc::SIGALRM, count, 0).unwrap();
    // Again and again: one may come before the call.
    os::set_alarm(20, 20);
    equal("a_read_is_interrupted", os::read(reader, &mut [0]), Err(libc::EINTR));
    equal("a_poll_is_interrupted", os::poll(&[(reader, libc::POLLIN)], -1), Err(libc::EINTR));
    os::set_alarm(0, 0);
    // There is nothing to read before the alarm has come.
    let (told, tell) = os::pipe(0).unwrap();
    let child = os::in_child(|| {
        let has_come = os::read(told, &mut [0]) == Ok(1);
        i32::from(!has_come || os::write(writer, b"x").is_err())
    });
    os::handle(libc::SIGALRM, count, libc::SA_RESTART).unwrap();
    TOLD.store(tell, Ordering::Relaxed);
    counted();
    os::set_alarm(20, 0);
    equal("a_read_is_done_anew", os::read(reader, &mut [0]), Ok(1));
    TOLD.store(-1, Ordering::Relaxed);
    equal("after_the_handler", counted(), 1);
    os::set_alarm(20, 20);
    equal("a_poll_is_never_done_anew", os::poll(&[(reader, libc::POLLIN)], -1), Err(libc::EINTR));
    os::set_alarm(0, 0);
    os::wait(child.unwrap(), 0).unwrap();
    let start = Instant::now();
    os::set_alarm(10, 0);
    // The sleep is what is tested: the alarm interrupts it, and std sleeps again for what is left.
    std::thread::sleep(Duration::from_millis(40));
    holds("a_sleep_says_what_is_left", start.elapsed() >= Duration::from_millis(40));
}

fn alarms() {
    counted();
    os::set_alarm(5, 5);
    let start = Instant::now();
    while COUNT.load(Ordering::Relaxed) < 5 && start.elapsed() < Duration::from_secs(60) {
        std::hint::spin_loop();
    }
    os::set_alarm(0, 0);
    holds("an_alarm_comes_again", counted() >= 5);
}

fn stacks() {
    let (start, bytes) = os::set_alternate_stack(65536).unwrap();
    os::handle(libc::SIGUSR2, count, libc::SA_ONSTACK).unwrap();
    os::kill(me(), libc::SIGUSR2).unwrap();
    let at = STACK.load(Ordering::Relaxed);
    holds("a_handler_has_its_own_stack", (start..start + bytes).contains(&at));
    os::handle(libc::SIGUSR2, count, 0).unwrap();
    os::kill(me(), libc::SIGUSR2).unwrap();
    let at = STACK.load(Ordering::Relaxed);
    holds("if_it_wants_one", !(start..start + bytes).contains(&at));
    counted();
}

fn children() {
    os::handle(libc::SIGCHLD, count, libc::SA_RESTART).unwrap();
    equal("a_child_ends", os::end_of(|| 1), Ok(Ended::Exit(1)));
    equal("its_parent_is_told", counted(), 1);
    os::ignore(libc::SIGCHLD, true).unwrap();
    equal("who_ignores_that_has_nobody_to_wait_for", os::end_of(|| 1), Err(libc::ECHILD));
    os::ignore(libc::SIGCHLD, false).unwrap();
    let child = os::in_child(|| {
        loop {
            std::thread::park();
        }
    });
    let child = child.unwrap();
    os::kill(child, libc::SIGSTOP).unwrap();
    let stopped = os::wait(child, libc::WUNTRACED);
    equal("a_child_stops", stopped, Ok((child, Ended::Stopped(libc::SIGSTOP))));
    equal(
        "and_is_told_of_once",
        os::wait(child, libc::WUNTRACED | libc::WNOHANG),
        Ok((0, Ended::Not)),
    );
    os::kill(child, libc::SIGCONT).unwrap();
    os::kill(child, libc::SIGTERM).unwrap();
    equal("it_goes_on_and_ends", os::wait(child, 0), Ok((child, Ended::Signal(libc::SIGTERM))));
}

/// A handler changes nothing for who is interrupted.
fn vectors() {
    os::set_alarm(1, 1);
    let start = Instant::now();
    let is_over = || COUNT.load(Ordering::Relaxed) >= 20;
    let kept = os::keeps_vectors(|| is_over() || start.elapsed() > Duration::from_secs(60));
    os::set_alarm(0, 0);
    holds("vectors_outlive_a_handler", kept);
    holds("which_was_called", counted() >= 20);
}
