//! A vCPU's own registers survive while others run.
#![expect(unsafe_code, reason = "fills registers")]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, println, reg, smp};
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::equal;
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;

use crate::el1;

global_asm!(include_str!("watch.s"));

unsafe extern "C" {
    /// Fills all registers from `seed`, loops `rounds` times comparing them, and answers the number of the first
    /// that differs plus 1, or 0.
    fn regs_watch(seed: u64, rounds: u64) -> u64;
}

static WRONG: AtomicU64 = AtomicU64::new(0);
static FINISHED: AtomicU64 = AtomicU64::new(0);
static ROUNDS: AtomicU64 = AtomicU64::new(0);
static HAS_DISR: AtomicBool = AtomicBool::new(false);

/// How long EL1's own registers are watched at a time, in microseconds: longer than others wait for their turn.
const HELD_US: u64 = 12_000;

/// On every vCPU at once, with a timer that interrupts and WFI in between, so that vCPUs change. `has_disr` says whether there is
/// DISR_EL1 to be looked at.
pub(crate) fn survive(has_disr: bool) -> Outcome {
    HAS_DISR.store(has_disr, Ordering::Relaxed);
    irq::set_handler(|_| {
        Timer::Virtual.set_deadline(Timer::Virtual.now() + timer::ticks(500));
    });
    FINISHED.store(0, Ordering::Relaxed);
    let running = smp::start_all(watch) as u64;
    watch();
    soon("all vCPUs finish", || FINISHED.load(Ordering::Acquire) >= running)?;
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
    // No two vCPUs of any partition have the same values at the same time.
    let mut random = Random::new(reg::now() ^ (smp::index() as u64) << 56);
    let has_disr = HAS_DISR.load(Ordering::Relaxed);
    while reg::now() < end {
        // SAFETY: it follows the procedure call standard and saves what it must.
        let wrong = unsafe { regs_watch(random.bits(), 2000) };
        if wrong != 0 {
            println!("regs: vCPU {}: register {} changed", smp::index(), wrong - 1);
            WRONG.store(wrong, Ordering::Relaxed);
        }
        if !el1::hold(&mut random, has_disr, reg::now() + timer::ticks(HELD_US)) {
            WRONG.store(1000, Ordering::Relaxed);
        }
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        Timer::Virtual.set_deadline(Timer::Virtual.now() + timer::ticks(500));
        reg::wfi();
    }
    irq::mask();
    Timer::Virtual.stop();
    FINISHED.fetch_add(1, Ordering::Release);
}
