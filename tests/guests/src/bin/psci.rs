//! Power: every PSCI call with its refusals, by HVC and by SMC, and the general SMCCC queries.
//!
//! Wants 3 vCPUs or more for the race; with fewer the cases that need them are left out. On a bare machine the
//! cases that are about the hypervisor are left out.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "makes calls with arguments that no careful caller would use")]

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use shikiri_abi::smccc as ids;
use shikiri_rt::gic::Version;
use shikiri_rt::hvc::psci::{self, Power, code};
use shikiri_rt::hvc::{Conduit, raw, smccc};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::platform;
use shikiri_rt::smp::{self, StartError};
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, reg};
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal, fault};

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    let hypervisor = smccc::is_shikiri();
    case("psci_version_is_1_x", || equal("major", u64::from(psci::version(Conduit::Hvc) >> 16), 1));
    case("psci_features_know_the_mandatory_calls", features);
    case("psci_has_no_trusted_os_to_migrate", || {
        signed("MIGRATE_INFO_TYPE", psci::migrate_info_type(Conduit::Hvc), 2)
    });
    case("psci_cpu_on_refuses_what_is_not_there", cpu_on_refusals);
    case("psci_affinity_info_tells_on_off_and_unknown", affinity);
    case("psci_unknown_functions_are_not_supported", || unknown(Conduit::Hvc));
    case("psci_standby_wakes_on_a_timer", suspend);
    if smp::count() > 1 {
        case("psci_cpu_off_and_on_again_many_times", cycles);
        case("psci_power_down_ends_at_the_entry_or_returns", || power_down(suspend_deeply, poke));
    }
    // QEMU's own PSCI executes a WFI, which does not end with the CPU interface off.
    if hypervisor && smp::count() > 1 && gic::version() == Version::V3 {
        case("psci_power_down_ends_though_the_interface_is_off", || {
            power_down(suspend_asleep, poke)
        });
        case("psci_power_down_ends_for_what_fired_just_before", || {
            power_down(suspend_fired, || {})
        });
    }
    // QEMU's own PSCI lets two through now and then.
    if hypervisor && smp::count() > 2 {
        case("psci_of_simultaneous_cpu_ons_exactly_one_succeeds", race);
    }
    if hypervisor {
        case("psci_version_is_1_1", || {
            equal("version", u64::from(psci::version(Conduit::Hvc)), 0x1_0001)
        });
        case("psci_by_smc_is_the_same", by_smc);
        case("psci_cpu_on_checks_the_entry_address", entry_address);
        case("smccc_version_and_features", smccc_queries);
        case("smccc_names_this_hypervisor", identity);
        case("hvc_with_another_immediate_does_nothing", other_immediate);
    }
    done()
}

fn signed(what: &'static str, got: i32, want: i32) -> Outcome {
    equal(what, i64::from(got) as u64, i64::from(want) as u64)
}

fn features() -> Outcome {
    let known = [
        psci::VERSION,
        psci::CPU_SUSPEND,
        psci::CPU_OFF,
        psci::CPU_ON,
        psci::AFFINITY_INFO,
        psci::SYSTEM_OFF,
        psci::SYSTEM_RESET,
        psci::FEATURES,
    ];
    for id in known {
        ensure("a mandatory call is there", psci::features(Conduit::Hvc, id) >= 0)?;
    }
    signed("an unknown one", psci::features(Conduit::Hvc, 0x8400_00ff), code::NOT_SUPPORTED)
}

fn cpu_on_refusals() -> Outcome {
    let on = |mpidr: u64| {
        // SAFETY: both targets are refused before the entry address counts.
        unsafe { psci::cpu_on(Conduit::Hvc, mpidr, platform().ram_base, 0) }
    };
    signed("unknown core", on(0x00ff_ffff), code::INVALID_PARAMETERS)?;
    signed("unknown core above", on(1 << 40), code::INVALID_PARAMETERS)?;
    signed("itself", on(platform().mpidr(0).unwrap_or(0)), code::ALREADY_ON)
}

fn affinity() -> Outcome {
    let info = |mpidr| psci::affinity_info(Conduit::Hvc, mpidr);
    ensure("itself is on", info(platform().mpidr(0).unwrap_or(0)) == Ok(Power::On))?;
    for index in 1..smp::count() {
        ensure("the others are off", info(platform().mpidr(index).unwrap_or(0)) == Ok(Power::Off))?;
    }
    ensure("an unknown one", info(0x00ff_ffff) == Err(code::INVALID_PARAMETERS))
}

fn unknown(conduit: Conduit) -> Outcome {
    let functions = [
        0x8400_00ff,
        0xc400_00ff,
        0x8500_0000,
        0x8600_00ff,
        0xc600_01ff,
        0xc600_0200,
        0x8700_0000,
        0x0400_0000,
        0x0,
        0xffff_ffff,
    ];
    for function in functions {
        // SAFETY: nothing has these numbers.
        let [x0, ..] = unsafe { raw::call(conduit, function, [1, 2, 3, 4, 5, 6]) };
        signed("x0", x0 as i32, code::NOT_SUPPORTED)?;
    }
    Ok(())
}

fn by_smc() -> Outcome {
    equal(
        "version",
        u64::from(psci::version(Conduit::Smc)),
        u64::from(psci::version(Conduit::Hvc)),
    )?;
    equal("SMCCC", smccc::version(Conduit::Smc) as u64, u64::from(ids::VERSION_1_2))?;
    unknown(Conduit::Smc)
}

/// That it comes back is what is looked for; a standby may end early.
fn suspend() -> Outcome {
    irq::masked(|| {
        gic::enable(Timer::Virtual.intid());
        Timer::Virtual.set_deadline(reg::now().wrapping_add(timer::ticks(5000)));
        // SAFETY: power state 0 is a standby state: the call returns.
        let answer = unsafe { psci::cpu_suspend(Conduit::Hvc, 0, 0, 0) };
        Timer::Virtual.stop();
        gic::disable(Timer::Virtual.intid());
        signed("answer", answer, code::SUCCESS)
    })
}

static ARRIVALS: AtomicU64 = AtomicU64::new(0);

fn arrive() {
    ARRIVALS.fetch_add(1, Ordering::Release);
}

fn is_off(index: usize) -> bool {
    let mpidr = platform().mpidr(index).unwrap_or(0);
    psci::affinity_info(Conduit::Hvc, mpidr) == Ok(Power::Off)
}

fn cycles() -> Outcome {
    for _ in 0..50 {
        let before = ARRIVALS.load(Ordering::Acquire);
        ensure("CPU_ON", smp::start(1, arrive).is_ok())?;
        soon("it runs", || ARRIVALS.load(Ordering::Acquire) == before + 1)?;
        soon("it is off", || is_off(1))?;
    }
    Ok(())
}

/// What a power-down suspend came to: 0 = not yet, 1 = resumed at the entry, 2 = returned, 3 = refused.
static RESUMED: Line = Line(AtomicU64::new(0));

/// A word with a cache line of its own: it is written past the caches.
#[repr(align(64))]
struct Line(AtomicU64);

core::arch::global_asm!(
    // x0 = the context: where to note the arrival. The MMU is off, so the store goes past the caches.
    "psci_resume:",
    "mov x1, #1",
    "str x1, [x0]",
    "dsb sy",
    "movz x0, #2",
    "movk x0, #0x8400, lsl #16",
    "hvc #0",
    "1: b 1b",
);

unsafe extern "C" {
    fn psci_resume(a: u64, b: u64) -> u64;
}

/// vCPU 1: suspends with power-down; an SGI wakes it.
fn suspend_deeply() {
    gic::enable(1);
    irq::mask();
    ARRIVALS.fetch_add(1, Ordering::Release);
    power_off();
}

/// The same after what a GICv3's manual wants of who takes the power away: the interface off, the redistributor asleep.
fn suspend_asleep() {
    gic::enable(1);
    irq::mask();
    let redistributor = interface_off();
    sleep(redistributor);
    ARRIVALS.fetch_add(1, Ordering::Release);
    power_off();
}

/// The same, and its timer wakes it, which has fired when the interface was off.
fn suspend_fired() {
    gic::enable(Timer::Virtual.intid());
    irq::mask();
    let redistributor = interface_off();
    Timer::Virtual.set_deadline(Timer::Virtual.now());
    while !gic::is_pending(Timer::Virtual.intid()) {
        reg::yield_now();
    }
    sleep(redistributor);
    ARRIVALS.fetch_add(1, Ordering::Release);
    power_off();
}

/// Turns this vCPU's CPU interface off; its redistributor.
fn interface_off() -> Registers {
    reg::set_icc_igrpen1(0);
    reg::isb();
    // SAFETY: the frame of SGIs and PPIs is the second one of the redistributor.
    unsafe { Registers::new(gic::block(0).base() - 0x1_0000, 0x1_0000) }
}

/// GICR_WAKER.ProcessorSleep, until ChildrenAsleep.
fn sleep(redistributor: Registers) {
    const WAKER: u64 = 0x14;
    redistributor.write32(WAKER, redistributor.read32(WAKER) | 2);
    while redistributor.read32(WAKER) & 4 == 0 {
        reg::yield_now();
    }
}

fn poke() {
    gic::send_sgi(1, 1);
}

/// CPU_SUSPEND with power-down; notes whether it returns.
fn power_off() {
    let resume: fault::Piece = psci_resume;
    let context = (&raw const RESUMED).expose_provenance() as u64;
    // SAFETY: the entry runs with the MMU off and uses nothing of this stack.
    let answer =
        unsafe { psci::cpu_suspend(Conduit::Hvc, 1 << 16, resume as usize as u64, context) };
    RESUMED.0.store(if answer == code::SUCCESS { 2 } else { 3 }, Ordering::Release);
}

/// Cleans and discards the cache line of a word that is written past the caches.
fn clean(address: u64) {
    // SAFETY: cleaning and discarding a line keeps what memory holds.
    unsafe { core::arch::asm!("dc civac, {0}", "dsb sy", in(reg) address, options(nostack)) };
}

fn power_down(suspend: fn(), wake: fn()) -> Outcome {
    soon("vCPU 1 is off", || is_off(1))?;
    let word = (&raw const RESUMED).expose_provenance() as u64;
    RESUMED.0.store(0, Ordering::Release);
    clean(word);
    let before = ARRIVALS.load(Ordering::Acquire);
    ensure("CPU_ON", smp::start(1, suspend).is_ok())?;
    soon("it runs", || ARRIVALS.load(Ordering::Acquire) == before + 1)?;
    timer::spin(2000);
    wake();
    soon("it resumes", || {
        clean(word);
        RESUMED.0.load(Ordering::Acquire) != 0
    })?;
    soon("it is off", || is_off(1))?;
    ensure("not refused", RESUMED.0.load(Ordering::Acquire) != 3)
}

/// How many rounds of the race.
const RACES: u64 = 50;
static ROUND: AtomicU64 = AtomicU64::new(0);
static RIVAL_DONE: AtomicU64 = AtomicU64::new(0);
static RIVAL_ANSWER: AtomicI64 = AtomicI64::new(0);
static RELEASE: AtomicU64 = AtomicU64::new(0);

fn attempt_start() -> i64 {
    match smp::start(2, contended) {
        Ok(()) => 0,
        Err(StartError::Psci(code)) => i64::from(code),
        Err(_) => i64::MIN,
    }
}

/// What the contended vCPU does: it stays on until both have tried.
fn contended() {
    let round = ROUND.load(Ordering::Acquire);
    while RELEASE.load(Ordering::Acquire) < round {
        reg::yield_now();
    }
}

/// The rival: starts vCPU 2 whenever the first vCPU does.
fn rival() {
    for round in 1..=RACES {
        while ROUND.load(Ordering::Acquire) < round {
            reg::yield_now();
        }
        RIVAL_ANSWER.store(attempt_start(), Ordering::Relaxed);
        RIVAL_DONE.store(round, Ordering::Release);
    }
}

fn race() -> Outcome {
    soon("vCPU 1 is off", || is_off(1))?;
    ensure("the rival starts", smp::start(1, rival).is_ok())?;
    for round in 1..=RACES {
        ROUND.store(round, Ordering::Release);
        let own = attempt_start();
        soon("the rival tried", || RIVAL_DONE.load(Ordering::Acquire) == round)?;
        let answers = [own, RIVAL_ANSWER.load(Ordering::Relaxed)];
        let successes = answers.iter().filter(|answer| **answer == 0).count();
        equal("successes", successes as u64, 1)?;
        let refusals = [i64::from(code::ALREADY_ON), i64::from(code::ON_PENDING)];
        ensure("the loser is told why", answers.iter().any(|answer| refusals.contains(answer)))?;
        RELEASE.store(round, Ordering::Release);
        soon("vCPU 2 is off", || is_off(2))?;
    }
    Ok(())
}

fn entry_address() -> Outcome {
    if smp::count() < 2 {
        return Ok(());
    }
    soon("vCPU 1 is off", || is_off(1))?;
    let target = platform().mpidr(1).unwrap_or(0);
    // SAFETY: nothing is mapped there, so it is refused.
    let answer = unsafe { psci::cpu_on(Conduit::Hvc, target, 0x70_0000_0000, 0) };
    signed("outside memory", answer, code::INVALID_ADDRESS)?;
    ensure("and it stays off", is_off(1))
}

fn smccc_queries() -> Outcome {
    equal("version", smccc::version(Conduit::Hvc) as u64, u64::from(ids::VERSION_1_2))?;
    signed("PSCI_FEATURES of it", psci::features(Conduit::Hvc, ids::VERSION), 0)?;
    signed("of itself", smccc::arch_features(Conduit::Hvc, ids::ARCH_FEATURES), 0)?;
    signed("unknown", smccc::arch_features(Conduit::Hvc, 0x8000_1234), code::NOT_SUPPORTED)
}

fn identity() -> Outcome {
    let (major, minor) = smccc::hypervisor_revision();
    equal("major", u64::from(major), u64::from(ids::REVISION_MAJOR))?;
    ensure("minor", minor >= ids::REVISION_MINOR)
}

/// SMCCC knows immediate 0 only: another one answers NOT_SUPPORTED or is undefined, and nothing else happens.
fn other_immediate() -> Outcome {
    // SAFETY: the piece makes a call that nobody knows.
    match unsafe { fault::attempt(hvc_one, u64::from(psci::VERSION), 0) } {
        Ok(x0) => signed("x0", x0 as i32, code::NOT_SUPPORTED),
        Err(fault) => equal("exception class", fault.class(), 0),
    }
}

core::arch::global_asm!("hvc_one:", "hvc #1", "ret");

unsafe extern "C" {
    fn hvc_one(a: u64, b: u64) -> u64;
}
