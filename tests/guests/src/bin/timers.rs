//! The virtual and the physical timer: status, mask, delivery, wake-up, lateness.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::sleep::{self, Ticks};
use shikiri_rt::timer::{self, Timer, control};
use shikiri_rt::{gic, irq, platform, println, reg, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, answers, case, done, ensure, equal};

/// How many interrupts came.
static FIRED: AtomicU64 = AtomicU64::new(0);
/// How often the handler leaves the timer firing before it stops it.
static REPEATS: AtomicU64 = AtomicU64::new(0);
/// When the first of them came.
static AT: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(fired);
    irq::unmask();
    case("counters_never_go_back", monotone);
    case("counters_keep_their_distance", distance);
    for (timer, name) in [(Timer::Virtual, "virtual"), (Timer::Physical, "physical")] {
        println!("timers: {name}");
        gic::enable(timer.intid());
        case("status_follows_the_deadline", || status(timer));
        case("a_masked_timer_shows_its_status_and_does_not_fire", || masked(timer));
        case("tval_is_the_distance_to_cval", || tval(timer));
        case("a_deadline_in_the_past_fires_at_once", || past(timer));
        case("a_deadline_far_away_does_not_fire", || far(timer));
        case("each_deadline_fires_once_and_never_early", || deadlines(timer));
        case("the_level_fires_again_until_it_is_taken_away", || level(timer));
        case("moving_the_deadline_leaves_at_most_one_interrupt", || retract(timer));
        case("wfi_wakes_on_the_timer_though_masked", || wake(timer));
        case("what_stops_firing_is_pending_no_more", || stopped(timer));
        case("what_stopped_before_it_was_enabled_does_not_come", || stopped_disabled(timer));
        timer.stop();
        gic::disable(timer.intid());
    }
    case("a_deadline_that_a_handler_sets_is_not_lost_in_a_sleep", set_in_a_sleep);
    case("a_deadline_of_before_comes_during_a_sleep_and_after_it", set_before_a_sleep);
    done()
}

/// An interrupt whose handler sets a deadline, which comes in time to another handler's eyes.
const SETS: u32 = 3;
/// The deadline that was set beside a sleep; 0 if none was, or it has come.
static OWN: AtomicU64 = AtomicU64::new(0);
/// When it came; 0 if it has not.
static OWN_AT: AtomicU64 = AtomicU64::new(0);

fn set_own(after_us: u64) {
    let deadline = Timer::Virtual.now() + timer::ticks(after_us);
    OWN_AT.store(0, Ordering::Relaxed);
    OWN.store(deadline, Ordering::Relaxed);
    Timer::Virtual.set_deadline(deadline);
}

/// The timer is left to whoever has set it: a sleep's own deadline may raise the interrupt, too.
fn see_own() {
    let (timer, own) = (Timer::Virtual, OWN.load(Ordering::Relaxed));
    let has_come = timer.control() & control::ISTATUS != 0 && timer.deadline() == own;
    if own != 0 && has_come {
        OWN.store(0, Ordering::Relaxed);
        OWN_AT.store(timer.now(), Ordering::Relaxed);
        timer.stop();
    }
}

/// Sleeps for a second, in which an interrupt's handler sets a deadline after a millisecond.
fn set_in_a_sleep() -> Outcome {
    irq::set_handler(|intid| if intid == SETS { set_own(1000) } else { see_own() });
    gic::enable(SETS);
    let deadline = Ticks::from_now_us(1_000_000);
    let mut is_sent = false;
    let found = sleep::until(deadline, || {
        if !core::mem::replace(&mut is_sent, true) {
            gic::send_sgi(SETS, smp::index());
        }
        None::<()>
    });
    irq::set_handler(fired);
    gic::disable(SETS);
    ensure("the sleep has ended by itself", found.is_none() && deadline.is_over())?;
    let came = OWN_AT.load(Ordering::Relaxed);
    ensure("it has come", came != 0)?;
    ensure("in the sleep", came < deadline.0)?;
    equal("nothing is left", Timer::Virtual.control() & control::ENABLE, 0)
}

fn set_before_a_sleep() -> Outcome {
    irq::set_handler(|_| see_own());
    gic::enable(Timer::Virtual.intid());
    irq::masked(|| set_own(1000));
    let deadline = Ticks::from_now_us(1_000_000);
    let _none = sleep::until(deadline, || None::<()>);
    let came = OWN_AT.load(Ordering::Relaxed);
    ensure("in the sleep", came != 0 && came < deadline.0)?;
    // Far behind the sleep's end.
    set_own(60_000_000);
    let own = OWN.load(Ordering::Relaxed);
    let _none = sleep::until(Ticks::from_now_us(1000), || None::<()>);
    equal("it is as it was set", Timer::Virtual.deadline(), own)?;
    equal("and runs", Timer::Virtual.control() & control::ENABLE, control::ENABLE)?;
    irq::set_handler(fired);
    Timer::Virtual.stop();
    equal("it has not come", OWN_AT.load(Ordering::Relaxed), 0)
}

fn source(intid: u32) -> Option<Timer> {
    [Timer::Virtual, Timer::Physical].into_iter().find(|timer| timer.intid() == intid)
}

fn fired(intid: u32) {
    let Some(timer) = source(intid) else { return };
    AT.store(timer.now(), Ordering::Relaxed);
    FIRED.fetch_add(1, Ordering::Relaxed);
    if REPEATS.load(Ordering::Relaxed) == 0 {
        timer.stop();
    } else {
        REPEATS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn count() -> u64 {
    FIRED.load(Ordering::Relaxed)
}

fn wait(timer: Timer, ticks: u64) {
    let start = timer.now();
    while timer.now().wrapping_sub(start) < ticks {
        reg::yield_now();
    }
}

/// Waits until so many interrupts have come since there were `before`, a minute at most, and a moment longer for one too many: an
/// emulated timer fires when its host gets round to it.
fn comes(timer: Timer, before: u64, times: u64) -> Outcome {
    answers::wait("interrupts", || Ok(count() - before >= times))?;
    wait(timer, timer::ticks(1000));
    equal("interrupts", count() - before, times)
}

fn monotone() -> Outcome {
    for timer in [Timer::Virtual, Timer::Physical] {
        let mut last = timer.now();
        for _ in 0..10_000 {
            let now = timer.now();
            ensure("not less than before", now >= last)?;
            last = now;
        }
    }
    Ok(())
}

/// CNTVCT runs as fast as CNTPCT: what is between them is the same at two times.
fn distance() -> Outcome {
    // The least and the most that it can be: this vCPU may be off its core between two reads.
    let bounds = || {
        let before = Timer::Virtual.now();
        let physical = Timer::Physical.now();
        let after = Timer::Virtual.now();
        (physical.wrapping_sub(after) as i64, physical.wrapping_sub(before) as i64)
    };
    let start = bounds();
    timer::spin(20_000);
    let end = bounds();
    ensure("same pace", start.0 <= end.1 && end.0 <= start.1)
}

fn status(timer: Timer) -> Outcome {
    irq::masked(|| {
        timer.set_deadline(timer.now() + 1000 * timer::frequency());
        equal("ahead", timer.control(), control::ENABLE)?;
        timer.set_deadline(timer.now());
        equal("reached", timer.control(), control::ENABLE | control::ISTATUS)?;
        timer.set_control(control::ENABLE | control::IMASK);
        let all = control::ENABLE | control::IMASK | control::ISTATUS;
        equal("and masked", timer.control(), all)?;
        timer.stop();
        equal("off", timer.control() & (control::ENABLE | control::IMASK), 0)
    })
}

fn masked(timer: Timer) -> Outcome {
    let before = count();
    timer.set_control(control::ENABLE | control::IMASK);
    timer.move_deadline(timer.now());
    wait(timer, timer::ticks(1000));
    ensure("status", timer.control() & control::ISTATUS != 0)?;
    equal("interrupts", count() - before, 0)?;
    // Taking the mask away lets it through.
    timer.set_control(control::ENABLE);
    comes(timer, before, 1)
}

/// Fires while the vCPU takes no interrupts, is pending for as long as it fires, and comes when it fires again.
fn stopped(timer: Timer) -> Outcome {
    let before = count();
    for _ in 0..3 {
        irq::masked(|| {
            timer.set_deadline(timer.now());
            answers::wait("pending", || Ok(gic::is_pending(timer.intid())))?;
            timer.stop();
            answers::wait("pending no more", || Ok(!gic::is_pending(timer.intid())))?;
            ensure("not active", !gic::is_active(timer.intid()))
        })?;
        equal("interrupts", count() - before, 0)?;
    }
    timer.set_deadline(timer.now());
    comes(timer, before, 1)
}

/// The same while its interrupt is disabled.
fn stopped_disabled(timer: Timer) -> Outcome {
    let before = count();
    gic::disable(timer.intid());
    timer.set_deadline(timer.now());
    answers::wait("pending", || Ok(gic::is_pending(timer.intid())))?;
    timer.stop();
    gic::enable(timer.intid());
    wait(timer, timer::ticks(1000));
    equal("interrupts", count() - before, 0)?;
    ensure("pending no more", !gic::is_pending(timer.intid()))?;
    timer.set_deadline(timer.now());
    comes(timer, before, 1)
}

fn tval(timer: Timer) -> Outcome {
    irq::masked(|| {
        for ticks in [1000_i32, 1_000_000_000, -5] {
            let (before, cval, after) = match timer {
                Timer::Virtual => {
                    let before = timer.now();
                    reg::set_cntv_tval(ticks as u32 as u64);
                    (before, reg::cntv_cval(), timer.now())
                }
                Timer::Physical => {
                    let before = timer.now();
                    reg::set_cntp_tval(ticks as u32 as u64);
                    (before, reg::cntp_cval(), timer.now())
                }
            };
            let distance = i64::from(ticks) as u64;
            ensure("not before", cval.wrapping_sub(distance) >= before)?;
            ensure("not after", cval.wrapping_sub(distance) <= after)?;
        }
        timer.set_deadline(timer.now() + 1_000_000_000);
        let left = match timer {
            Timer::Virtual => reg::cntv_tval(),
            Timer::Physical => reg::cntp_tval(),
        };
        timer.stop();
        ensure("counts down", left <= 1_000_000_000)?;
        ensure("32 bits", left >> 32 == 0)
    })
}

fn past(timer: Timer) -> Outcome {
    let before = count();
    timer.set_deadline(1);
    comes(timer, before, 1)
}

fn far(timer: Timer) -> Outcome {
    let before = count();
    for deadline in [u64::MAX, timer.now() + 1_000_000 * timer::frequency()] {
        timer.set_deadline(deadline);
        wait(timer, timer::ticks(1000));
        equal("interrupts", count() - before, 0)?;
        equal("status", timer.control() & control::ISTATUS, 0)?;
    }
    timer.stop();
    Ok(())
}

/// `rounds=N` and `period_us=N` on the command line; the worst lateness is printed, and at most `limit_us=N`.
fn deadlines(timer: Timer) -> Outcome {
    let rounds = platform::number_of("rounds").unwrap_or(100);
    let period = timer::ticks(platform::number_of("period_us").unwrap_or(2000));
    let (mut worst, mut sum) = (0, 0);
    for _ in 0..rounds {
        let before = count();
        let deadline = timer.now() + period;
        timer.set_deadline(deadline);
        irq::wait_until(|| count() != before);
        equal("interrupts", count() - before, 1)?;
        let at = AT.load(Ordering::Relaxed);
        ensure("not early", at >= deadline)?;
        worst = worst.max(at - deadline);
        sum += at - deadline;
    }
    println!(
        "timers: worst lateness {worst}, mean {} ticks of {} Hz",
        sum / rounds.max(1),
        timer::frequency()
    );
    match platform::number_of("limit_us").map(timer::ticks) {
        Some(limit) if worst > limit => {
            Err(Failure { what: "worst lateness", got: worst, want: limit })
        }
        _ => Ok(()),
    }
}

fn level(timer: Timer) -> Outcome {
    let before = count();
    REPEATS.store(3, Ordering::Relaxed);
    timer.set_deadline(timer.now());
    comes(timer, before, 4)
}

/// The line falls before the interrupt was taken. A list register that is linked to the hardware timer may still
/// deliver it once (GIC: a level that is withdrawn may be seen as a spurious interrupt); afterwards it is quiet.
fn retract(timer: Timer) -> Outcome {
    let before = count();
    irq::masked(|| {
        timer.set_deadline(timer.now());
        answers::wait("pending", || Ok(gic::is_pending(timer.intid())))?;
        timer.move_deadline(timer.now() + 1000 * timer::frequency());
        wait(timer, timer::ticks(200));
        Ok(())
    })?;
    wait(timer, timer::ticks(1000));
    ensure("at most one", count() - before <= 1)?;
    let settled = count();
    timer.set_deadline(timer.now() + 1000 * timer::frequency());
    wait(timer, timer::ticks(1000));
    timer.stop();
    equal("interrupts afterwards", count() - settled, 0)?;
    ensure("pending no more", !gic::is_pending(timer.intid()))
}

fn wake(timer: Timer) -> Outcome {
    let before = count();
    irq::masked(|| {
        let deadline = timer.now() + timer::ticks(3000);
        timer.set_deadline(deadline);
        while timer.control() & control::ISTATUS == 0 {
            reg::wfi();
        }
        ensure("not early", timer.now() >= deadline)
    })?;
    comes(timer, before, 1)
}
