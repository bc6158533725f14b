//! What holds between any two steps of a partition's beginning and end is found when it does not hold: broken books at each of them.

use super::*;
use shikiri_abi::{PartitionId, Vmid};
use shikiri_core::invariants::{Disagreement, audit_steps};
use shikiri_core::partition::build::Builder;

const SLOT: PartitionSlot = PartitionSlot(0);

/// Breaks the account or the ledger in each way, one after the other, and mends it: the audit finds each.
fn break_each_book(machine: &Machine, holdings: &mut Holdings) {
    let audit = |holdings: &Holdings| machine.audit_steps([holdings]);
    assert_eq!(audit(holdings), Ok(()));
    let memory = Err((Some(SLOT), "memory is charged otherwise than it is owned"));
    let management = Err((Some(SLOT), "management memory is charged otherwise than it is owned"));
    for (resource, found) in [(Resource::Memory, memory), (Resource::ManagementMemory, management)]
    {
        holdings.account_mut().set_limit(resource, None);
        let charge = holdings.account_mut().charge(resource, 1).unwrap();
        assert_eq!(audit(holdings), found);
        holdings.account_mut().refund(charge);
    }
    for (state, found) in
        [(FrameState::Private(SLOT), memory), (FrameState::Management(SLOT), management)]
    {
        let frames = machine.store.take(state, PageCount(1), PAGE_BYTES).unwrap();
        assert_eq!(audit(holdings), found);
        machine.store.give(state, frames);
    }
    assert_eq!(audit(holdings), Ok(()));
}

/// Writes a descriptor, looks, and puts the old one back.
fn with(machine: &Machine, holdings: &Holdings, at: Pa, value: u64) -> Result<(), Disagreement> {
    let before = machine.ram.read_u64(at);
    machine.ram.write_u64(at, value);
    let found = machine.audit_steps([holdings]);
    machine.ram.write_u64(at, before);
    found
}

/// The table of level 2 that the first region's pages hang in, if it is there.
fn level2(machine: &Machine, holdings: &Holdings) -> Option<Pa> {
    let at = Pa(holdings.stage2()?.root().0 + 8);
    let raw = machine.ram.read_u64(at);
    (raw & 3 == 3).then_some(Pa(raw & 0xffff_ffff_f000))
}

#[test]
#[cfg_attr(miri, ignore = "looks at thousands of pages many times: long under Miri")]
fn broken_books_are_found_between_any_two_steps() {
    let bundle = rich_bundle();
    let description = bundle.partition(0).unwrap();
    let machine = Machine::new(32, &bundle, &[]);
    let before = frames_free(&machine);
    let mut holdings = Holdings::new(PartitionId(1), SLOT);
    let mut builder = Builder::new(Machine::format(), Vmid(1), Some(GICV));
    let hardware = (&machine.ram, &machine.ram, &machine.store);
    let mut in_hand = 0;
    while !builder.step(&mut holdings, &description, &bundle, hardware).unwrap() {
        break_each_book(&machine, &mut holdings);
        // Frames that nobody says he has in hand.
        let nobody = machine.audit_steps([]);
        if nobody.is_err() {
            assert_eq!(nobody, Err((None, "a frame is in no book, or in two")));
            in_hand += 1;
        }
        if let Some(stage2) = holdings.stage2() {
            let far = Pa(stage2.root().0 + 8 * 100);
            let leaf = with(&machine, &holdings, far, RAM_BASE | 0x7fd);
            assert_eq!(leaf, Err((Some(SLOT), "a leaf leads to a frame that is not its own")));
        }
    }
    assert!(in_hand >= 2, "each of two regions is taken before it is claimed");
    break_each_book(&machine, &mut holdings);
    // Complete: a page that is not mapped, and one that is mapped twice.
    let wrong = Err((Some(SLOT), "its frames and what its tables map are not the same"));
    let table = level2(&machine, &holdings).unwrap();
    let leaf = machine.ram.read_u64(table);
    assert_eq!(with(&machine, &holdings, table, 0), wrong);
    let unused = Pa(table.0 + 8 * 511);
    assert_eq!(machine.ram.read_u64(unused), 0);
    assert_eq!(with(&machine, &holdings, unused, leaf), wrong);
    let mut has_unmapped = false;
    while !holdings.tear_down(&machine.ram, &machine.ram, &machine.store) {
        break_each_book(&machine, &mut holdings);
        has_unmapped |= holdings.stage2().is_none();
    }
    assert!(has_unmapped, "and after its tables its memory goes");
    assert_eq!(frames_free(&machine), before);
}

#[test]
#[cfg_attr(miri, ignore = "looks at thousands of pages many times: long under Miri")]
fn a_page_that_is_mapped_twice_while_others_are_not_yet_is_found() {
    let bundle = rich_bundle();
    let description = bundle.partition(0).unwrap();
    let machine = Machine::new(32, &bundle, &[]);
    let mut holdings = Holdings::new(PartitionId(1), SLOT);
    let mut builder = Builder::new(Machine::format(), Vmid(1), Some(GICV));
    let hardware = (&machine.ram, &machine.ram, &machine.store);
    let own = |holdings: &Holdings| mapped(&machine, holdings).values().any(|it| it.1 == RAM_BITS);
    while holdings.stage2().is_none() || !own(&holdings) {
        assert!(!builder.step(&mut holdings, &description, &bundle, hardware).unwrap());
    }
    // All of a table's 512 descriptors lead to one piece of its own: more than it has.
    let table = level2(&machine, &holdings).unwrap();
    let leaf = machine.ram.read_u64(table);
    let before: Vec<_> = (0..512).map(|at| machine.ram.read_u64(Pa(table.0 + 8 * at))).collect();
    (0..512).for_each(|at| machine.ram.write_u64(Pa(table.0 + 8 * at), leaf));
    let found = machine.audit_steps([&holdings]);
    (0..512).zip(before).for_each(|(at, raw)| machine.ram.write_u64(Pa(table.0 + 8 * at), raw));
    let says = "its frames and what its tables map are not the same";
    assert_eq!(found, Err((Some(SLOT), says)));
    machine.end(holdings);
}

#[test]
fn memory_of_a_list_that_the_ledger_knows_as_anothers_is_found() {
    let spec = |name| partition(name, &[(0x4000_0000, MIB, Place::Any)]);
    let bundle = bundle(vec![spec("first"), spec("second")], vec![], |_| ());
    let (here, there) = (Machine::new(8, &bundle, &[]), Machine::new(8, &bundle, &[]));
    let audit = |holdings: &Holdings| {
        there.store.with_books(|ledger, pool| audit_steps((ledger, pool), &here.ram, [holdings]))
    };
    // Two machines begin alike: there the same frames are the second one's.
    let theirs = build(&there, &bundle, 1);
    let description = bundle.partition(0).unwrap();
    let mut holdings = Holdings::new(PartitionId(1), SLOT);
    let mut builder = Builder::new(Machine::format(), Vmid(1), None);
    let hardware = (&here.ram, &here.ram, &here.store);
    while holdings.extents().next().is_none() {
        assert_eq!(builder.step(&mut holdings, &description, &bundle, hardware), Ok(false));
    }
    assert_eq!(audit(&holdings), Err((Some(SLOT), "what it is about to claim is another's")));
    assert_eq!(builder.step(&mut holdings, &description, &bundle, hardware), Ok(false));
    assert_eq!(audit(&holdings), Err((Some(SLOT), "memory of its list is another's")));
    here.end(holdings);
    there.end(theirs);
}
