//! Tables are clean before a walker can find them, and go with what was cached of them.

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES};
use shikiri_stage2::WindowSizes;

use crate::mutant::{Instruction, Mutation};
use crate::scenarios::{Current, Scenario, area_at, run};
use crate::{HOLE, VICTIM, assert_caught};

#[test]
fn a_fresh_table_is_clean_before_a_walker_can_find_it() {
    let mapping = Scenario {
        name: "a page whose tables come from a hostile owner",
        prepare: |trial| {
            trial.tlb.probe(Ipa(HOLE + PAGE_BYTES));
            trial.tlb.probe(Ipa(HOLE));
        },
        change: |trial| {
            trial.map(HOLE, 0x8000_0000, 1);
            assert!(trial.mem.is_settled(), "a walker may not see the mapping yet");
        },
        check: |trial| {
            trial.assert_gone(HOLE + PAGE_BYTES);
            trial.assert_only(HOLE, 0x8000_0000);
        },
    };
    let plain = run(mapping, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain, [Instruction::DsbIshst; 2], "clean tables, then the mapping");
    assert_caught(mapping, Current::Loser, &plain, Mutation::Drop(0));
    assert_caught(mapping, Current::Loser, &plain, Mutation::Drop(1));
}

#[test]
fn an_areas_tables_are_clean_before_a_walker_can_find_them() {
    const AT: AreaClass = AreaClass::Giant;
    let link = Scenario {
        name: "an area whose tables come from a hostile owner",
        prepare: |trial| {
            trial.tlb.probe(Ipa(area_at(AT)));
            trial.tlb.probe(Ipa(area_at(AT) + PAGE_BYTES));
        },
        change: |trial| {
            let at = trial.have_area(AT, &[(0x8000_0000, 1)]);
            assert_eq!(at, area_at(AT));
            assert!(trial.mem.is_settled(), "a walker may not see the area yet");
        },
        check: |trial| {
            trial.assert_only(area_at(AT), 0x8000_0000);
            trial.assert_gone(area_at(AT) + PAGE_BYTES);
        },
    };
    let plain = run(link, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain.len(), 4, "two for the windows, one for clean tables, one for the link");
    assert_caught(link, Current::Loser, &plain, Mutation::Drop(2));
    assert_caught(link, Current::Loser, &plain, Mutation::Drop(3));
}

#[test]
fn a_windows_tables_are_clean_before_a_walker_can_find_them() {
    let make = Scenario {
        name: "a window region whose tables come from a hostile owner",
        prepare: |trial| {
            for class in [AreaClass::Page, AreaClass::Block] {
                trial.tlb.probe(Ipa(area_at(class)));
            }
        },
        change: |trial| {
            let sizes = WindowSizes { pages: 513, blocks: 2, giants: 2 };
            trial.loser.make_windows(trial.mem, &trial.mutant, &mut trial.tables, sizes).unwrap();
            assert_eq!(trial.tables.used(), 4);
            assert!(trial.mem.is_settled(), "a walker may not see the windows yet");
        },
        check: |trial| {
            for class in [AreaClass::Page, AreaClass::Block] {
                trial.assert_gone(area_at(class));
            }
        },
    };
    let plain = run(make, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain, [Instruction::DsbIshst; 2], "clean tables, then where they hang");
    for position in 0..plain.len() {
        assert_caught(make, Current::Loser, &plain, Mutation::Drop(position));
    }
}

#[test]
fn a_window_region_goes_with_its_tables_and_with_what_was_cached() {
    let drop_it = Scenario {
        name: "a window region whose tables get a new owner",
        prepare: |trial| {
            trial.have_area(AreaClass::Page, &[(VICTIM, 1)]);
            trial.tlb.probe(Ipa(area_at(AreaClass::Page)));
            let area = trial.lose_area();
            trial.take_apart(area);
        },
        change: |trial| {
            trial.loser.drop_windows(trial.mem, &trial.mutant, &mut trial.tables);
            assert_eq!(trial.tables.used(), 0);
        },
        check: |trial| trial.assert_gone(area_at(AreaClass::Page)),
    };
    for current in [Current::Loser, Current::Other] {
        let plain = run(drop_it, current, (false, false), Mutation::None).unwrap();
        // The last ISB is for leaves that this core still uses; here there were none.
        for position in 0..plain.len() - 1 {
            assert_caught(drop_it, current, &plain, Mutation::Drop(position));
        }
    }
}
