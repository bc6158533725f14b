//! Owns the board's clock (a PL031) and lets its alarm interrupt each of its vCPUs in turn.
//!
//! Command line: `at=N`, where the clock's registers are (default 0x9010000); `intid=N`, its interrupt (default 34). `storm`: an alarm
//! that is never cleared interrupts the first vCPU without end, which says so each 20000 times. `leaves`: three lives end between the
//! alarm's acknowledge and its end, the first by the guest's own request, the second by a fault, the third from outside; the fourth
//! ends behind its alarm. Each finds the interrupt as after a reset.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "a device's registers")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::hvc::partition;
use shikiri_rt::mmio::Registers;
use shikiri_rt::{gic, irq, mmu, platform, power, println, reg, smp, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

// The PL031's registers (Arm DDI 0224C, 3.2).
const DATA: u64 = 0x00;
const MATCH: u64 = 0x04;
const MASK: u64 = 0x10;
const RAW_STATUS: u64 = 0x14;
const MASKED_STATUS: u64 = 0x18;
const CLEAR: u64 = 0x1c;

/// Above RAM and devices.
const NOWHERE: u64 = 0x70_0000_0000;

/// Who took the alarm, and with what number: vCPU << 32 | INTID; 0 before it came.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// How many alarms were taken.
static COUNT: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    if platform::has_word("storm") {
        return storm();
    }
    if platform::has_word("leaves") {
        return leaves();
    }
    irq::set_handler(take);
    gic::set_level(intid());
    let others = (1..smp::count()).filter(|index| smp::start(*index, listen).is_ok()).count();
    println!("clock: {} vCPUs", others + 1);
    for vcpu in (0..smp::count()).chain([0]) {
        case("the_alarm_comes_once_to_the_vcpu_that_it_is_routed_to", || alarm(vcpu));
    }
    done()
}

fn intid() -> u32 {
    platform::number_of("intid").and_then(|intid| u32::try_from(intid).ok()).unwrap_or(34)
}

fn clock() -> Registers {
    // SAFETY: the description gives this partition the clock, which masters no bus.
    unsafe { Registers::new(platform::number_of("at").unwrap_or(0x0901_0000), 0x1000) }
}

/// Lets the alarm come in this second, and stay.
fn match_now() {
    while clock().read32(RAW_STATUS) & 1 == 0 {
        clock().write32(MATCH, clock().read32(DATA));
    }
    clock().write32(MASK, 1);
}

fn storm() {
    const EACH: u64 = 20_000;
    irq::set_handler(|_| {
        let count = COUNT.fetch_add(1, Ordering::AcqRel) + 1;
        if count.is_multiple_of(EACH) {
            println!("clock: {count} interrupts of one alarm");
        }
    });
    gic::set_level(intid());
    gic::enable(intid());
    match_now();
    power::idle()
}

/// One of the lives that end with the interrupt active, or the last.
fn leaves() {
    let life = partition::info().map_or(0, |info| info.starts);
    println!("clock: life {life}");
    case("the_interrupt_is_as_after_a_reset", || {
        clock().write32(MASK, 0);
        clock().write32(CLEAR, 1);
        ensure("not pending", !gic::is_pending(intid()))?;
        ensure("not active", !gic::is_active(intid()))
    });
    irq::set_handler(if life < 4 { leave } else { take });
    gic::set_level(intid());
    case("the_alarm_comes_in_this_life", || alarm(0));
    done()
}

/// Ends this life, or lets it be ended, before the interrupt's end.
fn leave(number: u32) {
    assert_eq!(number, intid(), "another interrupt");
    match partition::info().map_or(0, |info| info.starts) {
        1 => power::end(7),
        2 => {
            println!("clock: faults while the interrupt is active");
            // SAFETY: the range is above RAM and devices, nothing uses it.
            let mapped = unsafe { mmu::map(NOWHERE, NOWHERE, 4096, mmu::Access::Anything) };
            assert_eq!(mapped, Ok(()));
            // SAFETY: nothing runs afterwards but faults: where the vectors should be is nothing, not even for the abort.
            unsafe { asm!("msr vbar_el1, {}", "isb", "udf #0", in(reg) NOWHERE) };
        }
        _ => println!("clock: holds the interrupt active"),
    }
    loop {
        reg::yield_now();
    }
}

/// Another vCPU's life: it takes what comes.
fn listen() {
    irq::wait_until(|| false);
}

/// Sets the alarm to the next second and waits for it, on every vCPU but with this one's route.
fn alarm(vcpu: usize) -> Outcome {
    let before = COUNT.load(Ordering::Acquire);
    TAKEN.store(0, Ordering::Release);
    gic::enable(intid());
    gic::route(intid(), vcpu);
    // A second may be over before it is written: the alarm would come when the counter has gone round.
    loop {
        let next = clock().read32(DATA).wrapping_add(1);
        clock().write32(MATCH, next);
        if clock().read32(DATA) <= next || clock().read32(RAW_STATUS) & 1 != 0 {
            break;
        }
    }
    clock().write32(MASK, 1);
    irq::unmask();
    let end = reg::now() + timer::ticks(60_000_000);
    while COUNT.load(Ordering::Acquire) == before && reg::now() < end {
        reg::yield_now();
    }
    irq::mask();
    let wanted = ((vcpu as u64) << 32) | u64::from(intid());
    equal("vCPU and INTID", TAKEN.load(Ordering::Acquire), wanted)?;
    equal("alarms", COUNT.load(Ordering::Acquire), before + 1)
}

fn take(number: u32) {
    TAKEN.store(((smp::index() as u64) << 32) | u64::from(number), Ordering::Release);
    // Without the clock's own state an interrupt is not the alarm.
    if clock().read32(MASKED_STATUS) & 1 != 0 {
        clock().write32(MASK, 0);
        clock().write32(CLEAR, 1);
        COUNT.fetch_add(1, Ordering::AcqRel);
    }
}
