//! The performance monitors of a partition that owns its cores and has them by the description.
//!
//! Each start finds them as after a reset, and each leaves all counters running: `starts=N` on the command line is how many
//! starts there are (default 1), of which all but the last end with a reset.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads and writes the performance monitors' registers")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::hvc::{Conduit, partition, psci};
use shikiri_rt::{platform, println, reg, smp, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

/// PMCR_EL0: on, and its number of counters.
const ENABLE: u64 = 1 << 0;
const COUNTERS: u32 = 11;
/// PMCNTENSET_EL0: the cycle counter.
const CYCLES: u64 = 1 << 31;
/// PMCCFILTR_EL0 and PMEVTYPER<n>_EL0: EL2 counts too.
const AT_EL2: u64 = 1 << 27;

macro_rules! pmu {
    ($read:ident, $write:ident, $register:literal) => {
        fn $read() -> u64 {
            let value: u64;
            // SAFETY: a register of the performance monitors: reading it changes nothing.
            unsafe { asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack)) };
            value
        }

        fn $write(value: u64) {
            // SAFETY: a register of the performance monitors, on which the program does not rely.
            unsafe {
                asm!(concat!("msr ", $register, ", {}"), "isb", in(reg) value, options(nostack));
            }
        }
    };
}

pmu!(control, set_control, "pmcr_el0");
pmu!(enabled, enable, "pmcntenset_el0");
pmu!(interrupts, enable_interrupts, "pmintenset_el1");
pmu!(overflows, set_overflows, "pmovsset_el0");
pmu!(for_el0, set_for_el0, "pmuserenr_el0");
pmu!(cycles, set_cycles, "pmccntr_el0");
pmu!(filter, set_filter, "pmccfiltr_el0");
pmu!(first_type, set_first_type, "pmevtyper0_el0");
pmu!(first_count, set_first_count, "pmevcntr0_el0");
pmu!(chosen, choose, "pmselr_el0");

static OTHERS: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    case("the_id_register_says_so", || {
        let value: u64;
        // SAFETY: reading an ID register changes nothing.
        unsafe { asm!("mrs {}, id_aa64dfr0_el1", out(reg) value, options(nostack)) };
        equal("PMUVer", (value >> 8) & 0xf, 1)
    });
    case("each_start_finds_them_as_after_a_reset", is_new);
    case("cycles_are_counted", counts);
    case("events_are_counted", events);
    if platform::platform().mpidr(1).is_some() {
        case("each_vcpu_has_its_own", others);
    }
    leave_running();
    let start = partition::info().map_or(0, |info| info.starts);
    if start < platform::number_of("starts").unwrap_or(1) {
        println!("pmu: start {start} ends");
        psci::system_reset(Conduit::Hvc);
    }
    done()
}

fn is_new() -> Outcome {
    equal("PMCR.E", control() & ENABLE, 0)?;
    ensure("PMCR.N", (control() >> COUNTERS) & 31 != 0)?;
    equal("PMCNTENSET", enabled(), 0)?;
    equal("PMINTENSET", interrupts(), 0)?;
    equal("PMOVSSET", overflows(), 0)?;
    equal("PMUSERENR", for_el0(), 0)?;
    equal("PMCCFILTR", filter(), 0)?;
    equal("PMEVTYPER0", first_type(), 0)?;
    equal("PMEVCNTR0", first_count(), 0)?;
    equal("PMSELR", chosen(), 0)?;
    equal("PMCCNTR", cycles(), 0)
}

fn counts() -> Outcome {
    set_filter(AT_EL2);
    enable(CYCLES);
    set_control(ENABLE);
    let before = cycles();
    timer::spin(100);
    let between = cycles();
    let _answer = partition::null();
    ensure("they go on", before < between && between < cycles())?;
    set_control(0);
    equal("they stand still", cycles(), cycles())
}

/// Software's own event, which every core and emulator has (event 0).
fn events() -> Outcome {
    set_first_type(0);
    enable(1);
    set_control(ENABLE);
    for _ in 0..3 {
        // SAFETY: counts one event.
        unsafe { asm!("msr pmswinc_el0, {}", in(reg) 1_u64, options(nostack)) };
    }
    equal("events", first_count(), 3)
}

/// The second vCPU's stand as after a reset, while the first one's count.
fn others() -> Outcome {
    ensure("it starts", smp::start(1, look).is_ok())?;
    while OTHERS.load(Ordering::Acquire) == 0 {
        reg::yield_now();
    }
    equal("the second vCPU's", OTHERS.load(Ordering::Acquire), 1)
}

fn look() {
    OTHERS.store(if is_new().is_ok() { 1 } else { 2 }, Ordering::Release);
    leave_running();
}

/// What the next start must not find.
fn leave_running() {
    set_filter(AT_EL2);
    set_first_type(AT_EL2 | 0x11);
    set_first_count(77);
    set_cycles(1 << 40);
    choose(2);
    set_for_el0(0xf);
    set_overflows(1);
    enable_interrupts(CYCLES | 1);
    enable(CYCLES | 1);
    set_control(ENABLE);
}
