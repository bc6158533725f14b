//! Tests of who may start: single answers, and whole boots in every order in which partitions can take their steps.

use std::vec::Vec;

use shikiri_abi::PartitionSlot;
use shikiri_config::PartitionSet;

use super::super::Phase;
use super::{Complete, Other, may_start};

/// All phases that others can be in.
const PHASES: [Phase; 7] = [
    Phase::Ended,
    Phase::Building,
    Phase::Active,
    Phase::Ending,
    Phase::TearingDown,
    Phase::Held,
    Phase::Paused,
];

fn own() -> Complete {
    let (starts, is_to_end, partners) = (1, false, PartitionSet::one(2));
    Complete { start_order: 1, autostart: true, starts, is_to_end, partners }
}

fn other() -> Other {
    let (number, phase) = (PartitionSlot(2), Phase::Building);
    Other { number, start_order: 1, autostart: true, phase, has_ends: false }
}

fn may(own: Complete, other: Other) -> bool {
    may_start(&own, [other].into_iter())
}

#[test]
fn at_boot_a_partition_waits_until_its_partner_has_opened_its_ends() {
    assert!(!may(own(), other()));
    assert!(may(own(), Other { has_ends: true, ..other() }));
    for phase in PHASES {
        let is_building = phase == Phase::Building;
        assert_eq!(may(own(), Other { phase, ..other() }), !is_building, "{phase:?}");
    }
}

#[test]
fn who_is_to_end_waits_for_nobody() {
    assert!(may(Complete { is_to_end: true, ..own() }, other()));
    let earlier = Other { start_order: 0, ..other() };
    assert!(may(Complete { is_to_end: true, ..own() }, earlier));
}

#[test]
fn a_partner_of_a_higher_order_has_to_have_its_ends_and_not_to_run() {
    let later = Other { start_order: 2, ..other() };
    assert!(!may(own(), later));
    assert!(may(own(), Other { has_ends: true, ..later }));
}

#[test]
fn who_comes_earlier_in_the_order_has_to_run() {
    let earlier = Other { start_order: 0, number: PartitionSlot(3), ..other() };
    for has_ends in [false, true] {
        assert!(!may(own(), Other { has_ends, ..earlier }));
        assert!(may(own(), Other { has_ends, autostart: false, ..earlier }));
    }
    for phase in PHASES {
        let is_building = phase == Phase::Building;
        assert_eq!(may(own(), Other { phase, ..earlier }), !is_building, "{phase:?}");
    }
}

#[test]
fn nobody_waits_for_strangers_nor_for_who_does_not_start_with_the_machine() {
    assert!(may(own(), Other { number: PartitionSlot(3), ..other() }));
    assert!(may(own(), Other { autostart: false, ..other() }));
}

#[test]
fn who_starts_again_or_by_somebodys_wish_waits_for_no_partner() {
    assert!(may(Complete { starts: 2, ..own() }, other()));
    assert!(may(Complete { autostart: false, ..own() }, other()));
}

/// A partition of a boot.
#[derive(Clone, Debug)]
struct One {
    order: u16,
    partners: &'static [usize],
    phase: Phase,
    has_ends: bool,
    /// It cannot be built.
    fails: bool,
}

fn one(order: u16, partners: &'static [usize], fails: bool) -> One {
    One { order, partners, phase: Phase::Building, has_ends: false, fails }
}

/// A step of the worker of the partition at this place; false if it waits.
fn step(all: &mut [One], at: usize) -> bool {
    let own = all[at].clone();
    if own.phase != Phase::Building {
        return false;
    }
    if own.fails {
        all[at].phase = Phase::TearingDown;
        return true;
    }
    if !own.has_ends {
        all[at].has_ends = true;
        return true;
    }
    let partners = own.partners.iter().copied().map(PartitionSet::one);
    let partners = partners.fold(PartitionSet::EMPTY, PartitionSet::union);
    let (start_order, autostart, starts, is_to_end) = (own.order, true, 1, false);
    let complete = Complete { start_order, autostart, starts, is_to_end, partners };
    let others = all.iter().enumerate().map(|(number, other)| Other {
        number: PartitionSlot(u8::try_from(number).unwrap()),
        start_order: other.order,
        autostart: true,
        phase: other.phase,
        has_ends: other.has_ends,
    });
    if !may_start(&complete, others) {
        return false;
    }
    for partner in own.partners {
        let partner = &all[*partner];
        assert!(partner.has_ends || partner.fails, "it runs before {partner:?} has its ends");
    }
    all[at].phase = Phase::Active;
    true
}

/// Boots in every order of steps: each ends with all of them active, or failed.
fn boot(all: &[One]) {
    let mut is_stuck = true;
    for at in 0..all.len() {
        let mut next = Vec::from(all);
        if step(&mut next, at) {
            is_stuck = false;
            boot(&next);
        }
    }
    let is_over =
        |one: &One| one.phase == if one.fails { Phase::TearingDown } else { Phase::Active };
    assert!(!is_stuck || all.iter().all(is_over), "they wait for each other: {all:?}");
}

#[test]
fn three_in_a_ring_all_start_in_whichever_order_they_are_built() {
    for orders in [[0, 0, 0], [0, 1, 2], [2, 1, 0], [1, 0, 1], [0, 1, 0]] {
        for fails in [None, Some(0), Some(1), Some(2)] {
            let ring = [&[1, 2], &[2, 0], &[0, 1]].into_iter().zip(orders).enumerate();
            let all: Vec<One> = ring
                .map(|(at, (partners, order))| one(order, partners, fails == Some(at)))
                .collect();
            boot(&all);
        }
    }
}
