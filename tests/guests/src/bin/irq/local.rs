//! One vCPU: delivery, priorities, list-register overflow, ends.

use core::sync::atomic::{AtomicU32, Ordering};

use shikiri_rt::gic::{self, Acknowledged, Version};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{UART, UART_INTID};
use shikiri_rt::{irq, reg};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, answers, ensure, equal};

use crate::tools::{PPIS, SPIS, arm, case, expect, expect_nothing, pend, take_at_last};

pub(crate) fn run() {
    case("an_sgi_to_itself_reaches_the_vector", vector);
    case("each_sgi_is_delivered_once", sgis);
    case("each_ppi_is_delivered_once", || private_and_shared(PPIS.into_iter()));
    case("each_spi_is_delivered_once", || private_and_shared(SPIS));
    case("all_pending_at_once_come_by_priority", || overflow(1));
    case("all_pending_at_once_come_by_priority_in_other_orders", || (2..12).try_for_each(overflow));
    if gic::version() == Version::V3 {
        case("group_0_alone_goes_on_with_more_than_list_registers", group_0_alone);
    }
    case("wfi_ends_when_one_is_pending_though_masked", wfi);
    case("a_pending_one_waits_for_its_enable", enable_later);
    case("disabling_takes_a_pending_one_back", disable);
    case("clearing_pending_takes_it_back", clear_pending);
    case("the_priority_mask_holds_back", mask);
    case("a_more_urgent_one_preempts", preempt);
    case("an_equal_one_does_not_preempt", equal_priority);
    case("nested_deeper_than_list_registers", nest);
    case("the_end_of_what_was_made_inactive_ends_nothing_else", cleared_while_handled);
    case("split_end_keeps_them_active", split);
    case("many_active_at_once_and_pending_again", active_overflow);
    case("ended_in_any_order_with_split_end", || (1..8).try_for_each(any_order));
    case("setting_active_holds_a_pending_one_back", set_active);
    case("clearing_active_lets_the_next_one_in", clear_active);
    case("an_edge_while_active_comes_afterwards_once", edge_while_active);
    case("a_new_priority_does_not_keep_an_active_one_active", new_priority);
    case("a_priority_that_was_set_outlives_an_enable", kept_priority);
    case("the_uart_line_is_level_sensitive", level);
    case("the_distributor_switch_stops_delivery", switch);
}

static VECTOR: AtomicU32 = AtomicU32::new(0);

fn vector() -> Outcome {
    fn handler(intid: u32) {
        VECTOR.fetch_add(intid, Ordering::Relaxed);
    }
    irq::set_handler(handler);
    arm(7, 0x80);
    irq::unmask();
    pend(7);
    reg::isb();
    answers::wait("it comes", || Ok(VECTOR.load(Ordering::Relaxed) != 0))?;
    crate::tools::pause();
    irq::mask();
    equal("sum of INTIDs", u64::from(VECTOR.load(Ordering::Relaxed)), 7)
}

fn sgis() -> Outcome {
    for intid in 0..16 {
        arm(intid, 0x80);
        pend(intid);
        gic::end(expect(intid)?);
        expect_nothing()?;
    }
    Ok(())
}

fn private_and_shared(intids: impl Iterator<Item = u32>) -> Outcome {
    for intid in intids {
        arm(intid, 0x80);
        gic::set_edge(intid);
        pend(intid);
        ensure("pending", gic::is_pending(intid))?;
        let acknowledged = expect(intid)?;
        ensure("active", gic::is_active(intid))?;
        ensure("pending no more", !gic::is_pending(intid))?;
        gic::end(acknowledged);
        ensure("active no more", !gic::is_active(intid))?;
        expect_nothing()?;
    }
    Ok(())
}

/// All that there is, shuffled by `seed`; answers the generator, for more of the same.
fn everything(seed: u64, list: &mut [u32; 85]) -> Random {
    let mut random = Random::new(seed);
    for (slot, intid) in list.iter_mut().zip((0..16).chain(PPIS).chain(SPIS)) {
        *slot = intid;
    }
    for index in (1..list.len()).rev() {
        list.swap(index, random.below(index as u64 + 1) as usize);
    }
    random
}

/// Makes 85 interrupts of 31 priorities pending, far more than there are list registers; each must come once, the
/// more urgent before the less urgent.
fn overflow(seed: u64) -> Outcome {
    let mut intids = [0; 85];
    let mut random = everything(seed, &mut intids);
    let mut priority = [0_u8; 128];
    for intid in intids {
        priority[intid as usize] = (random.below(31) * 8) as u8;
        arm(intid, priority[intid as usize]);
    }
    intids.into_iter().for_each(pend);
    let mut seen = [false; 128];
    let mut last = 0;
    for _ in intids {
        let missing = Failure { what: "acknowledged", got: 1023, want: 0 };
        let acknowledged = take_at_last().ok_or(missing)?;
        let intid = acknowledged.intid().unwrap_or(1023) as usize;
        gic::end(acknowledged);
        ensure("known", intid < 128)?;
        ensure("first time", !core::mem::replace(&mut seen[intid], true))?;
        ensure("not more urgent than the one before", priority[intid] >= last)?;
        last = priority[intid];
    }
    expect_nothing()
}

/// Eight of group 0, of which as many are in list registers as there are; FIQs are masked. The vCPU has to go on, and all come
/// when they are group 1's again.
fn group_0_alone() -> Outcome {
    let groups = gic::block(64);
    for intid in 64..72 {
        arm(intid, 0x80);
    }
    groups.write32(0x88, !0xff);
    (64..72).for_each(pend);
    reg::set_icc_igrpen1(0);
    reg::set_icc_igrpen0(1);
    reg::isb();
    (0..10).for_each(|_| crate::tools::pause());
    reg::set_icc_igrpen0(0);
    reg::set_icc_igrpen1(1);
    reg::isb();
    groups.write32(0x88, u32::MAX);
    for intid in 64..72 {
        gic::end(expect(intid)?);
    }
    expect_nothing()
}

fn wfi() -> Outcome {
    arm(3, 0x80);
    pend(3);
    reg::wfi();
    gic::end(expect(3)?);
    expect_nothing()
}

fn enable_later() -> Outcome {
    for intid in [PPIS[0], SPIS.start] {
        arm(intid, 0x80);
        gic::disable(intid);
        pend(intid);
        ensure("pending", gic::is_pending(intid))?;
        expect_nothing()?;
        gic::enable(intid);
        gic::end(expect(intid)?);
        expect_nothing()?;
    }
    Ok(())
}

fn disable() -> Outcome {
    for intid in [PPIS[0], SPIS.start] {
        arm(intid, 0x80);
        pend(intid);
        gic::disable(intid);
        expect_nothing()?;
        ensure("still pending", gic::is_pending(intid))?;
        gic::enable(intid);
        gic::end(expect(intid)?);
    }
    expect_nothing()
}

fn clear_pending() -> Outcome {
    for intid in [PPIS[0], SPIS.start] {
        arm(intid, 0x80);
        pend(intid);
        gic::clear_pending(intid);
        ensure("pending no more", !gic::is_pending(intid))?;
        expect_nothing()?;
    }
    Ok(())
}

fn mask() -> Outcome {
    arm(SPIS.start, 0x80);
    pend(SPIS.start);
    for mask in [0, 0x40, 0x80] {
        gic::set_priority_mask(mask);
        expect_nothing()?;
    }
    gic::set_priority_mask(0x88);
    gic::end(expect(SPIS.start)?);
    expect_nothing()
}

fn preempt() -> Outcome {
    arm(SPIS.start, 0x80);
    arm(SPIS.start + 1, 0x40);
    arm(SPIS.start + 2, 0xc0);
    pend(SPIS.start);
    let first = expect(SPIS.start)?;
    pend(SPIS.start + 2);
    expect_nothing()?;
    pend(SPIS.start + 1);
    let second = expect(SPIS.start + 1)?;
    expect_nothing()?;
    gic::end(second);
    expect_nothing()?;
    gic::end(first);
    gic::end(expect(SPIS.start + 2)?);
    expect_nothing()
}

fn equal_priority() -> Outcome {
    arm(SPIS.start, 0x80);
    arm(SPIS.start + 1, 0x80);
    pend(SPIS.start);
    let first = expect(SPIS.start)?;
    pend(SPIS.start + 1);
    expect_nothing()?;
    gic::end(first);
    gic::end(expect(SPIS.start + 1)?);
    expect_nothing()
}

/// Preempts 12 times, each level more urgent: more active interrupts than list registers, with joined ends.
fn nest() -> Outcome {
    const DEPTH: u32 = 12;
    let mut held = [None; DEPTH as usize];
    for level in 0..DEPTH {
        let intid = SPIS.start + level;
        arm(intid, 0xf0 - (level * 16) as u8);
        pend(intid);
        held[level as usize] = Some(expect(intid)?);
    }
    if gic::version() == Version::V3 {
        equal("running priority", reg::icc_rpr() & 0xff, u64::from(0xf0 - (DEPTH as u8 - 1) * 16))?;
    }
    for level in (0..DEPTH).rev() {
        ensure("active", gic::is_active(SPIS.start + level))?;
        if let Some(acknowledged) = held[level as usize] {
            gic::end(acknowledged);
        }
        ensure("active no more", !gic::is_active(SPIS.start + level))?;
    }
    // The priority is back down: the least urgent comes through.
    arm(SPIS.end - 1, 0xf0);
    pend(SPIS.end - 1);
    gic::end(expect(SPIS.end - 1)?);
    expect_nothing()
}

/// As [`nest`], but the innermost one is made inactive by its register before it is ended.
fn cleared_while_handled() -> Outcome {
    const DEPTH: u32 = 12;
    let mut held = [None; DEPTH as usize];
    for level in 0..DEPTH {
        let intid = SPIS.start + level;
        arm(intid, 0xf0 - (level * 16) as u8);
        gic::set_edge(intid);
        pend(intid);
        held[level as usize] = Some(expect(intid)?);
    }
    gic::clear_active(SPIS.start + DEPTH - 1);
    for level in (0..DEPTH).rev() {
        if let Some(acknowledged) = held[level as usize] {
            gic::end(acknowledged);
        }
        for outer in 0..level {
            ensure("still active", gic::is_active(SPIS.start + outer))?;
        }
        ensure("active no more", !gic::is_active(SPIS.start + level))?;
    }
    expect_nothing()
}

fn split() -> Outcome {
    gic::split_end();
    arm(SPIS.start, 0x80);
    arm(SPIS.start + 1, 0x80);
    pend(SPIS.start);
    let first = expect(SPIS.start)?;
    gic::end(first);
    ensure("still active", gic::is_active(SPIS.start))?;
    // The priority is dropped: an equal one comes.
    pend(SPIS.start + 1);
    let second = expect(SPIS.start + 1)?;
    gic::end(second);
    pend(SPIS.start);
    expect_nothing()?;
    gic::deactivate(first);
    let again = expect(SPIS.start)?;
    gic::end(again);
    gic::deactivate(again);
    gic::deactivate(second);
    expect_nothing()
}

/// Holds 40 interrupts active at once, all pending again meanwhile; none may come before its deactivation.
fn active_overflow() -> Outcome {
    hold_active(40, |index| index)
}

fn any_order(seed: u64) -> Outcome {
    let mut order = [0; 85];
    everything(seed, &mut order);
    let mut ranks = [0; 40];
    let ranked =
        order.into_iter().filter(|intid| SPIS.contains(intid)).map(|intid| intid - SPIS.start);
    for (slot, rank) in ranks.iter_mut().zip(ranked.filter(|rank| *rank < 40)) {
        *slot = rank;
    }
    hold_active(40, |index| ranks[index as usize])
}

fn hold_active(count: u32, order: impl Fn(u32) -> u32) -> Outcome {
    gic::split_end();
    let mut held: [Option<Acknowledged>; 64] = [None; 64];
    for index in 0..count {
        let intid = SPIS.start + index;
        arm(intid, 0x80);
        gic::set_edge(intid);
        pend(intid);
        let acknowledged = expect(intid)?;
        gic::end(acknowledged);
        held[index as usize] = Some(acknowledged);
    }
    for index in 0..count {
        ensure("active", gic::is_active(SPIS.start + index))?;
        pend(SPIS.start + index);
        ensure("and pending", gic::is_pending(SPIS.start + index))?;
    }
    expect_nothing()?;
    for index in 0..count {
        let intid = SPIS.start + order(index);
        if let Some(acknowledged) = held[order(index) as usize] {
            gic::deactivate(acknowledged);
        }
        let again = expect(intid)?;
        gic::end(again);
        gic::deactivate(again);
        ensure("active no more", !gic::is_active(intid))?;
    }
    expect_nothing()
}

fn set_active() -> Outcome {
    let intid = SPIS.start;
    arm(intid, 0x80);
    let block = gic::block(intid);
    block.write32(0x300 + u64::from(intid / 32) * 4, 1 << (intid % 32));
    ensure("active", gic::is_active(intid))?;
    pend(intid);
    expect_nothing()?;
    gic::clear_active(intid);
    gic::end(expect(intid)?);
    expect_nothing()
}

fn clear_active() -> Outcome {
    let intid = SPIS.start;
    arm(intid, 0x80);
    gic::set_edge(intid);
    gic::split_end();
    pend(intid);
    let first = expect(intid)?;
    gic::end(first);
    pend(intid);
    gic::clear_active(intid);
    ensure("active no more", !gic::is_active(intid))?;
    let second = expect(intid)?;
    gic::end(second);
    gic::deactivate(second);
    expect_nothing()
}

fn edge_while_active() -> Outcome {
    let intid = SPIS.start;
    arm(intid, 0x80);
    gic::set_edge(intid);
    pend(intid);
    let first = expect(intid)?;
    pend(intid);
    pend(intid);
    ensure("active", gic::is_active(intid))?;
    ensure("and pending", gic::is_pending(intid))?;
    expect_nothing()?;
    gic::end(first);
    gic::end(expect(intid)?);
    expect_nothing()
}

/// The priority of an active one is changed: what it was taken with ends, and it comes again with what it has.
fn new_priority() -> Outcome {
    for intid in [PPIS[0], SPIS.start] {
        arm(intid, 0x80);
        gic::set_edge(intid);
        pend(intid);
        let first = expect(intid)?;
        gic::set_priority(intid, 0x40);
        pend(intid);
        expect_nothing()?;
        gic::end(first);
        ensure("active no more", !gic::is_active(intid))?;
        gic::set_priority_mask(0x80);
        gic::end(expect(intid)?);
        gic::set_priority_mask(0xff);
        ensure("active no more, again", !gic::is_active(intid))?;
        expect_nothing()?;
    }
    Ok(())
}

/// The UART's transmit interrupt: masked in the UART, a level on the line without output going on.
fn level() -> Outcome {
    const RAW: u64 = 0x3c;
    const MASK: u64 = 0x38;
    const CLEAR: u64 = 0x44;
    const TRANSMIT: u32 = 1 << 5;
    // SAFETY: the platform's PL011.
    #[expect(unsafe_code, reason = "names the UART's address")]
    let uart = unsafe { Registers::new(UART, 0x1000) };
    answers::wait("the UART has sent", || Ok(uart.read32(RAW) & TRANSMIT != 0))?;
    arm(UART_INTID, 0x80);
    gic::set_level(UART_INTID);
    expect_nothing()?;
    uart.write32(MASK, TRANSMIT);
    for _ in 0..3 {
        ensure("pending", gic::is_pending(UART_INTID))?;
        // It comes again as long as the line is high.
        gic::end(expect(UART_INTID)?);
    }
    gic::clear_pending(UART_INTID);
    ensure("pending while the line is high", gic::is_pending(UART_INTID))?;
    let last = expect(UART_INTID)?;
    uart.write32(MASK, 0);
    gic::end(last);
    let outcome = expect_nothing();
    uart.write32(CLEAR, TRANSMIT);
    gic::disable(UART_INTID);
    outcome
}

fn switch() -> Outcome {
    const CTLR: u64 = 0;
    let distributor = gic::block(SPIS.start);
    let on = distributor.read32(CTLR);
    arm(SPIS.start, 0x80);
    distributor.write32(CTLR, on & !3);
    pend(SPIS.start);
    let off = expect_nothing();
    distributor.write32(CTLR, on);
    off?;
    gic::end(expect(SPIS.start)?);
    expect_nothing()
}

/// Only what nobody has given a priority has one from its first enable.
fn kept_priority() -> Outcome {
    for intid in [PPIS[0], SPIS.start] {
        let read = || u64::from(gic::block(intid).read8(0x400 + u64::from(intid)));
        gic::set_priority(intid, 0x40);
        gic::enable(intid);
        equal("at the first enable", read(), 0x40)?;
        gic::set_priority(intid, 0x60);
        gic::enable(intid);
        equal("at the next one", read(), 0x60)?;
    }
    Ok(())
}
