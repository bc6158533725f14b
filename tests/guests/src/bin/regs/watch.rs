//! A vCPU's own registers survive while others run.
#![expect(unsafe_code, reason = "fills registers")]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, println, reg, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

global_asm!(include_str!("watch.s"));

unsafe extern "C" {
    /// Fills all registers from `seed`, loops `rounds` times comparing them, and answers the number of the first
    /// that differs plus 1, or 0.
    fn regs_watch(seed: u64, rounds: u64) -> u64;
}

static WRONG: AtomicU64 = AtomicU64::new(0);
static FINISHED: AtomicU64 = AtomicU64::new(0);
static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// On every vCPU at once, with a timer that interrupts and WFI in between, so that vCPUs change.
pub(crate) fn survive() -> Outcome {
    irq::set_handler(|_| {
        Timer::Virtual.set_deadline(Timer::Virtual.now() + timer::ticks(500));
    });
    FINISHED.store(0, Ordering::Relaxed);
    let running = smp::start_all(watch) as u64;
    watch();
    let end = reg::now() + timer::ticks(60_000_000);
    while FINISHED.load(Ordering::Acquire) < running {
        ensure("all vCPUs finish", reg::now() < end)?;
        reg::yield_now();
    }
    println!("regs: {running} vCPUs, {} rounds", ROUNDS.load(Ordering::Relaxed));
    equal("first register that changed, plus 1", WRONG.load(Ordering::Relaxed), 0)
}

fn watch() {
    // SAFETY: FP/SIMD on at EL1 and EL0; the program's own code does not use it.
    unsafe { asm!("msr cpacr_el1, {0}", "isb", in(reg) 3_u64 << 20) };
    gic::enable(Timer::Virtual.intid());
    Timer::Virtual.set_deadline(Timer::Virtual.now() + timer::ticks(500));
    irq::unmask();
    let end = reg::now() + timer::ticks(platform::number_of("ms").unwrap_or(300) * 1000);
    let mut seed = 0x0101_0101_0101_0101 * (smp::index() as u64 + 1);
    while reg::now() < end {
        // SAFETY: it follows the procedure call standard and saves what it must.
        let wrong = unsafe { regs_watch(seed, 2000) };
        if wrong != 0 {
            println!("regs: vCPU {}: register {} changed", smp::index(), wrong - 1);
            WRONG.store(wrong, Ordering::Relaxed);
        }
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        seed = seed.rotate_left(7) ^ 0x55;
        reg::wfi();
    }
    irq::mask();
    Timer::Virtual.stop();
    FINISHED.fetch_add(1, Ordering::Release);
}
