//! Several vCPUs: SGIs between them, routed SPIs, and states that another vCPU holds.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::gic::{self, Version};
use shikiri_rt::hvc::{Conduit, psci};
use shikiri_rt::platform::{MAX_VCPUS, platform};
use shikiri_rt::{irq, reg, smp, timer};
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{SPIS, arm, case, expect, expect_nothing, take, take_soon};

/// The other vCPU in the cases with two.
const OTHER: usize = 1;

pub(crate) fn run() {
    case("sgis_reach_every_other_vcpu", every_pair);
    case("an_sgi_to_all_but_itself", broadcast);
    case("sgis_between_all_at_once_are_not_lost", storm);
    case("a_routed_spi_comes_to_its_vcpu", || with_other(take_one, routed));
    case("an_spi_is_rerouted_while_pending", || with_other(stay, rerouted));
    case("pending_at_another_vcpu_is_seen_and_taken_back", || with_other(stay, pending_elsewhere));
    case("active_at_another_vcpu_is_seen_and_cleared", || with_other(hold_one, active_elsewhere));
    case("a_new_priority_from_another_vcpu_keeps_none_active", || {
        with_other(hold_one_and_end, reprioritised_elsewhere)
    });
    case("disabling_reaches_another_vcpu", || with_other(stay, disabled_elsewhere));
    case("neighbours_are_set_up_on_two_vcpus_at_once", || with_other(set_up, set_up_beside));
    case("deactivation_by_another_vcpu", || with_other(hold_split, deactivated_elsewhere));
    if gic::version() == Version::V2 {
        case("one_sgi_from_two_senders_comes_twice", || with_other(send_back, two_senders));
    }
}

/// How far a case is; both vCPUs wait for numbers here.
static STEP: AtomicU64 = AtomicU64::new(0);
/// What the other vCPU acknowledged last; 0 = nothing.
static SEEN: AtomicU64 = AtomicU64::new(0);

fn advance(step: u64) {
    STEP.store(step, Ordering::Release);
    reg::dsb_ish();
}

fn reach(step: u64) -> Outcome {
    soon("the other vCPU", || STEP.load(Ordering::Acquire) >= step)
}

fn is_off(index: usize) -> bool {
    let mpidr = platform().mpidr(index).unwrap_or(0);
    psci::affinity_info(Conduit::Hvc, mpidr) == Ok(psci::Power::Off)
}

/// Runs `other` on the other vCPU while `test` runs here. Step 1 means that it is ready, step 100 that it may go.
fn with_other(other: fn(), test: fn() -> Outcome) -> Outcome {
    soon("the other vCPU is off", || is_off(OTHER))?;
    advance(0);
    SEEN.store(0, Ordering::Relaxed);
    ensure("started", smp::start(OTHER, other).is_ok())?;
    let outcome = reach(1).and_then(|()| test());
    advance(100);
    soon("the other vCPU goes off", || is_off(OTHER))?;
    outcome
}

fn wait_for(step: u64) {
    while STEP.load(Ordering::Acquire) < step {
        reg::yield_now();
    }
}

/// The other vCPU: stays, with interrupts masked; after step 2 acknowledges whatever is there.
fn stay() {
    irq::mask();
    advance(1);
    wait_for(2);
    if STEP.load(Ordering::Acquire) < 100 {
        note();
        advance(3);
    }
    wait_for(100);
    while let Some(acknowledged) = take_soon() {
        gic::end(acknowledged);
    }
}

/// Acknowledges, notes and ends.
fn note() {
    if let Some(acknowledged) = take_soon() {
        SEEN.store(u64::from(acknowledged.intid().unwrap_or(0)), Ordering::Release);
        gic::end(acknowledged);
    }
}

/// The other vCPU: takes one interrupt from WFI, which may end for less.
fn take_one() {
    irq::mask();
    advance(1);
    let acknowledged = loop {
        reg::wfi();
        if let Some(acknowledged) = take() {
            break acknowledged;
        }
    };
    SEEN.store(u64::from(acknowledged.intid().unwrap_or(0)), Ordering::Release);
    gic::end(acknowledged);
    advance(2);
    wait_for(100);
}

/// The other vCPU: acknowledges one interrupt and keeps it active.
fn hold_one() {
    irq::mask();
    advance(1);
    let held = take_soon_or_wait();
    advance(2);
    wait_for(100);
    gic::end(held);
}

/// The other vCPU: acknowledges one interrupt and ends it after step 3.
fn hold_one_and_end() {
    irq::mask();
    advance(1);
    let held = take_soon_or_wait();
    advance(2);
    wait_for(3);
    gic::end(held);
    if STEP.load(Ordering::Acquire) < 100 {
        advance(4);
    }
    wait_for(100);
}

/// The other vCPU: acknowledges one, drops its priority, and leaves the deactivation to whoever.
fn hold_split() {
    irq::mask();
    gic::split_end();
    advance(1);
    gic::end(take_soon_or_wait());
    advance(2);
    wait_for(100);
    gic::joined_end();
}

fn take_soon_or_wait() -> gic::Acknowledged {
    loop {
        if let Some(acknowledged) = take_soon() {
            return acknowledged;
        }
    }
}

/// Arms an SPI and routes it to the other vCPU.
fn arm_there(intid: u32) {
    arm(intid, 0x80);
    gic::set_edge(intid);
    gic::route(intid, OTHER);
}

fn routed() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    reach(2)?;
    equal("taken there", SEEN.load(Ordering::Acquire), u64::from(SPIS.start))?;
    expect_nothing()
}

fn rerouted() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    expect_nothing()?;
    gic::route(SPIS.start, smp::index());
    gic::end(expect(SPIS.start)?);
    advance(2);
    reach(3)?;
    equal("taken there", SEEN.load(Ordering::Acquire), 0)
}

fn pending_elsewhere() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    ensure("pending", gic::is_pending(SPIS.start))?;
    gic::clear_pending(SPIS.start);
    ensure("pending no more", !gic::is_pending(SPIS.start))?;
    advance(2);
    reach(3)?;
    equal("taken there", SEEN.load(Ordering::Acquire), 0)
}

fn active_elsewhere() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    reach(2)?;
    ensure("active", gic::is_active(SPIS.start))?;
    ensure("not pending", !gic::is_pending(SPIS.start))?;
    gic::set_pending(SPIS.start);
    ensure("and pending", gic::is_pending(SPIS.start))?;
    gic::clear_pending(SPIS.start);
    gic::clear_active(SPIS.start);
    ensure("active no more", !gic::is_active(SPIS.start))
}

fn reprioritised_elsewhere() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    reach(2)?;
    gic::set_priority(SPIS.start, 0x40);
    ensure("active", gic::is_active(SPIS.start))?;
    advance(3);
    reach(4)?;
    ensure("active no more", !gic::is_active(SPIS.start))
}

fn disabled_elsewhere() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    gic::disable(SPIS.start);
    advance(2);
    reach(3)?;
    equal("taken there", SEEN.load(Ordering::Acquire), 0)?;
    ensure("still pending", gic::is_pending(SPIS.start))
}

fn deactivated_elsewhere() -> Outcome {
    arm_there(SPIS.start);
    gic::set_pending(SPIS.start);
    reach(2)?;
    ensure("active", gic::is_active(SPIS.start))?;
    match gic::version() {
        // A GICv2's DIR wants the acknowledging vCPU.
        Version::V2 => gic::clear_active(SPIS.start),
        Version::V3 => {
            reg::set_icc_ctlr(2);
            reg::set_icc_dir(u64::from(SPIS.start));
            reg::isb();
            gic::joined_end();
        }
    }
    ensure("active no more", !gic::is_active(SPIS.start))
}

/// The other vCPU: sends the same SGI as the first one does.
fn send_back() {
    irq::mask();
    advance(1);
    wait_for(2);
    gic::send_sgi(9, 0);
    advance(3);
    wait_for(100);
}

fn two_senders() -> Outcome {
    arm(9, 0x80);
    gic::send_sgi(9, 0);
    advance(2);
    reach(3)?;
    let first = expect(9)?;
    gic::end(first);
    let second = expect(9)?;
    gic::end(second);
    equal("senders", u64::from(first.sender() + second.sender()), 1)?;
    expect_nothing()
}

/// For each vCPU, how many interrupts its handler got.
static COUNTS: [AtomicU64; MAX_VCPUS] = [const { AtomicU64::new(0) }; MAX_VCPUS];
static READY: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicU64 = AtomicU64::new(0);

fn count(_intid: u32) {
    COUNTS[smp::index()].fetch_add(1, Ordering::Release);
}

fn counted(index: usize) -> u64 {
    COUNTS[index].load(Ordering::Acquire)
}

/// The other vCPUs: count SGIs until told to stop.
fn listen() {
    gic::enable(1);
    gic::enable(2);
    irq::unmask();
    READY.fetch_add(1, Ordering::Release);
    irq::wait_until(|| STOP.load(Ordering::Acquire) == 1);
    irq::mask();
}

/// Runs `test` with `others` on all other vCPUs.
fn with_all(others: fn(), test: impl FnOnce(usize) -> Outcome) -> Outcome {
    for index in 1..smp::count() {
        soon("all are off", || is_off(index))?;
    }
    irq::set_handler(count);
    COUNTS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    READY.store(1, Ordering::Relaxed);
    STOP.store(0, Ordering::Release);
    let running = smp::start_all(others);
    equal("running", running as u64, smp::count() as u64)?;
    gic::enable(1);
    gic::enable(2);
    soon("ready", || READY.load(Ordering::Acquire) == running as u64)?;
    let outcome = test(running);
    irq::mask();
    STOP.store(1, Ordering::Release);
    (1..running).for_each(|index| gic::send_sgi(2, index));
    for index in 1..running {
        soon("all go off", || is_off(index))?;
    }
    outcome
}

fn every_pair() -> Outcome {
    with_all(listen, |running| {
        for round in 1..=20 {
            for index in 1..running {
                gic::send_sgi(1, index);
                soon("arrived", || counted(index) == round)?;
            }
        }
        Ok(())
    })
}

fn broadcast() -> Outcome {
    with_all(listen, |running| {
        match gic::version() {
            Version::V2 => gic::block(32).write32(0xf00, (1 << 24) | 1),
            Version::V3 => reg::set_icc_sgi1r((1 << 40) | (1 << 24)),
        }
        for index in 1..running {
            soon("arrived", || counted(index) == 1)?;
        }
        timer::spin(1000);
        equal("not to itself", u64::from(gic::is_pending(1)), 0)?;
        expect_nothing()
    })
}

/// How many SGIs each vCPU sends to its successor in the storm; it waits for each to be counted.
const STORM: u64 = 100;

fn rain() {
    gic::enable(1);
    gic::enable(2);
    irq::unmask();
    let running = smp::count() as u64;
    READY.fetch_add(1, Ordering::Release);
    while READY.load(Ordering::Acquire) < running {
        reg::yield_now();
    }
    let next = (smp::index() + 1) % smp::count();
    for sent in 1..=STORM {
        gic::send_sgi(1, next);
        while counted(next) < sent && STOP.load(Ordering::Acquire) == 0 {
            reg::yield_now();
        }
    }
    READY.fetch_add(1, Ordering::Release);
    // The others' SGIs still come, so interrupts stay unmasked until all have finished.
    if smp::index() != 0 {
        irq::wait_until(|| STOP.load(Ordering::Acquire) == 1);
        irq::mask();
    }
}

fn storm() -> Outcome {
    for index in 1..smp::count() {
        soon("all are off", || is_off(index))?;
    }
    irq::set_handler(count);
    COUNTS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    READY.store(0, Ordering::Relaxed);
    STOP.store(0, Ordering::Release);
    let running = smp::start_all(rain);
    rain();
    let all = 2 * running as u64;
    let outcome = soon("all sent", || READY.load(Ordering::Acquire) == all)
        .and_then(|()| (0..running).try_for_each(|index| equal("counted", counted(index), STORM)));
    irq::mask();
    STOP.store(1, Ordering::Release);
    (1..running).for_each(|index| gic::send_sgi(2, index));
    for index in 1..running {
        soon("all go off", || is_off(index))?;
    }
    outcome
}

/// How often two vCPUs set interrupts up whose bits stand in one word.
const SET_UPS: u64 = 500;
/// Which set-up is to be done, and which one the other vCPU has done.
static WANTED: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);

/// The other vCPU's part of each.
fn set_up() {
    irq::mask();
    advance(1);
    for round in 1..=SET_UPS {
        while WANTED.load(Ordering::Acquire) < round {
            reg::yield_now();
        }
        gic::set_edge(SPIS.start + 1);
        gic::enable(SPIS.start + 1);
        DONE.store(round, Ordering::Release);
    }
    wait_for(100);
}

fn set_up_beside() -> Outcome {
    let block = gic::block(SPIS.start);
    let groups = 0x80 + u64::from(SPIS.start / 32) * 4;
    let configs = 0xc00 + u64::from(SPIS.start / 16) * 4;
    let (mut lost_groups, mut lost_edges) = (0, 0);
    let groups_before = block.read32(groups);
    for round in 1..=SET_UPS {
        block.write32(groups, 0);
        block.write32(configs, 0);
        WANTED.store(round, Ordering::Release);
        gic::set_edge(SPIS.start);
        gic::enable(SPIS.start);
        while DONE.load(Ordering::Acquire) < round {
            reg::yield_now();
        }
        lost_groups += u64::from(block.read32(groups) & 3 != 3);
        lost_edges += u64::from(block.read32(configs) & 0b1010 != 0b1010);
    }
    block.write32(groups, groups_before);
    if gic::version() == Version::V3 {
        equal("groups lost", lost_groups, 0)?;
    }
    equal("edges lost", lost_edges, 0)
}
