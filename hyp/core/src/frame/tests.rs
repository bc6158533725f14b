//! The ledger's rules one by one, and against a map of frames.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

use std::collections::BTreeMap;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use shikiri_abi::{PAGE_BYTES, Pa, PageCount, PartitionSlot};

use shikiri_sync::atomic::AtomicU64;

use super::{
    AreaNumber, AreaRegistry, BadLayout, Charged, Finding, FrameRun, FrameState, Ledger, Refusal,
    STEP_ENTRIES, Storage,
};

const P: PartitionSlot = PartitionSlot(1);
const Q: PartitionSlot = PartitionSlot(200);
const MIB2: u64 = 0x20_0000;

const STATES: [FrameState; 13] = [
    FrameState::Free,
    FrameState::Hypervisor,
    FrameState::Private(P),
    FrameState::Private(Q),
    FrameState::Management(P),
    AREA,
    TABLE,
    FrameState::Area(AreaNumber(1)),
    OTHER,
    FrameState::Device(P),
    FrameState::Device(Q),
    FrameState::Quarantined(P),
    FrameState::Quarantined(Q),
];

/// P's areas, and the first one's table; area 1 is Q's.
const AREA: FrameState = FrameState::Area(AreaNumber(0));
const OTHER: FrameState = FrameState::Area(AreaNumber(2));
const TABLE: FrameState = FrameState::AreaTable(AreaNumber(0));

/// A registry of three areas.
fn registry() -> AreaRegistry<'static> {
    let rows = Vec::leak((0..3).map(|_| AtomicU64::new(0)).collect());
    AreaRegistry::new(rows)
}

/// Makes areas 0 to 2.
fn begin_areas(ledger: &mut Ledger<'_>) {
    for (owner, number) in [(P, 0), (Q, 1), (P, 2)] {
        assert_eq!(ledger.begin_area(owner), Some(AreaNumber(number)));
    }
}

/// Releases a run in steps; how many entries of the storage that changes.
fn entries_written(ledger: &mut Ledger<'_>, mut run: FrameRun, from: FrameState) -> usize {
    let entries = |ledger: &Ledger<'_>| {
        [ledger.entries.blocks.to_vec(), ledger.entries.frames.to_vec()].concat()
    };
    let before = entries(ledger);
    while run.pages.0 > 0 {
        run = run.after(ledger.release(run, from).unwrap());
    }
    before.iter().zip(entries(ledger)).filter(|(old, new)| **old != *new).count()
}

/// A leaf of 1 GiB, or its tail, goes back by the entries of its blocks of 2 MiB, and those of one block's frames.
#[test]
#[cfg_attr(miri, ignore = "a quarter of a million frames: minutes under Miri, and no unsafe code")]
fn a_gigabyte_goes_back_by_its_blocks() {
    const GIB_PAGES: u64 = 0x4_0000;
    let ram = [run(0x4000_0000, GIB_PAGES)];
    let (mut blocks, mut frames) = storage(&ram);
    let areas = registry();
    let mut ledger = Ledger::new(&ram, &mut blocks, &mut frames, &areas).unwrap();
    begin_areas(&mut ledger);
    for stays in [0, 1, 511, 512, 513, 1000, GIB_PAGES - 1] {
        let mut left = ram[0];
        while left.pages.0 > 0 {
            left = left.after(ledger.claim(left, AREA).unwrap());
        }
        let tail = ram[0].after(PageCount(stays));
        assert!(entries_written(&mut ledger, tail, AREA) <= 512 + 512, "{stays} stay");
        if stays > 0 {
            entries_written(&mut ledger, run(ram[0].base.0, stays), AREA);
        }
    }
}

fn run(base: u64, pages: u64) -> FrameRun {
    FrameRun { base: Pa(base), pages: PageCount(pages) }
}

/// Storage whose frame entries hold rubbish, as RAM does after a cold start.
fn storage(ram: &[FrameRun]) -> (Vec<u32>, Vec<u32>) {
    let Storage { blocks, frames } = Ledger::storage_for(ram).unwrap();
    (vec![0xdead_beef; blocks], vec![0xdead_beef; frames])
}

/// Calls `test` with a ledger of RAM at 1 GiB, 8 MiB, and at 4 GiB, 3 MiB and a page, not block-aligned.
fn with_ledger(test: impl FnOnce(Ledger<'_>)) {
    let ram = [run(0x4000_0000, 2048), run(0x1_0010_0000, 769)];
    let (mut blocks, mut frames) = storage(&ram);
    let areas = registry();
    let mut ledger = Ledger::new(&ram, &mut blocks, &mut frames, &areas).unwrap();
    begin_areas(&mut ledger);
    test(ledger);
}

#[test]
fn states_survive_their_encoding_and_only_free_is_zero() {
    for state in STATES {
        assert_eq!(FrameState::decode(state.encode()), state);
        assert_eq!(state.encode() == 0, state == FrameState::Free);
        assert_ne!(state.encode(), super::MIXED);
    }
    for rubbish in [9, 0xff, 0xdead_be99, super::MIXED] {
        assert_eq!(FrameState::decode(rubbish), FrameState::Hypervisor);
    }
}

/// The whole matrix *state × next state*.
#[test]
fn only_the_listed_steps_exist() {
    let listed = [
        (FrameState::Private(P), FrameState::Quarantined(P)),
        (FrameState::Private(Q), FrameState::Quarantined(Q)),
        (FrameState::Device(P), FrameState::Quarantined(P)),
        (FrameState::Device(Q), FrameState::Quarantined(Q)),
    ];
    for from in STATES {
        for to in STATES {
            let is_taken = from == FrameState::Free
                && (to.owner().is_some() || to.area().is_some())
                && { !matches!(to, FrameState::Quarantined(_)) };
            let expected = is_taken
                || (from, to) == (FrameState::Free, FrameState::Hypervisor)
                || (to == FrameState::Free && from != FrameState::Free)
                || matches!((from, to), (FrameState::Area(a), FrameState::Area(b)) if a != b)
                || listed.contains(&(from, to));
            assert_eq!(from.may_become(to), expected, "{from} to {to}");
        }
    }
}

#[test]
fn what_the_loader_placed_is_the_hypervisors_wherever_it_overlaps() {
    with_ledger(|mut ledger| {
        let end = 0x4000_0000 + 2048 * PAGE_BYTES;
        // Before RAM and into it; over the first again; whole blocks; behind the end; between the ranges.
        for (base, pages) in [
            (0x3fff_f000, 3),
            (0x4000_0000, 1),
            (0x4020_0000, 1024),
            (end - PAGE_BYTES, 9),
            (end, 4),
        ] {
            ledger.reserve(run(base, pages));
        }
        assert_eq!(ledger.pages_in(FrameState::Hypervisor), PageCount(2 + 1024 + 1));
        assert_eq!(ledger.state(Pa(0x4000_2000)), Some(FrameState::Free));
        assert_eq!(ledger.state(Pa(0x4060_0000)), Some(FrameState::Free));
        assert!(
            ledger.touches_ram(run(0x3fff_f000, 2)) && ledger.touches_ram(run(end - PAGE_BYTES, 9))
        );
        assert!(!ledger.touches_ram(run(0x3fff_f000, 1)) && !ledger.touches_ram(run(end, 9)));
    });
}

#[test]
fn zeroed_storage_is_all_free_and_other_storage_too() {
    with_ledger(|ledger| {
        assert_eq!(ledger.pages_in(FrameState::Free), PageCount(2048 + 769));
        assert_eq!(ledger.state(Pa(0x4000_0fff)), Some(FrameState::Free));
    });
}

#[test]
fn what_is_not_ram_has_no_state() {
    with_ledger(|mut ledger| {
        for at in [0, 0x3fff_f000, 0x4080_0000, 0x1_000f_f000, 0x1_0040_1000, u64::MAX] {
            assert_eq!(ledger.state(Pa(at)), None, "{at:#x}");
        }
        let past = ledger.claim(run(0x407f_f000, 2), FrameState::Hypervisor);
        assert_eq!(past, Err(Refusal::NotRam { frame: Pa(0x4080_0000) }));
        assert_eq!(ledger.state(Pa(0x407f_f000)), Some(FrameState::Free));
        let wild = ledger.claim(run(0x407f_f000, u64::MAX), FrameState::Hypervisor);
        assert_eq!(wild, Err(Refusal::NotRam { frame: Pa(0x4080_0000) }));
        let top = ledger.claim(run(u64::MAX - 0xfff, u64::MAX), FrameState::Hypervisor);
        assert_eq!(top, Err(Refusal::NotRam { frame: Pa(u64::MAX - 0xfff) }));
    });
}

#[test]
fn a_run_has_an_aligned_base_and_a_length() {
    with_ledger(|mut ledger| {
        for bad in [run(0x4000_0001, 1), run(0x4000_0000, 0)] {
            let refusal = ledger.claim(bad, FrameState::Hypervisor);
            assert_eq!(refusal, Err(Refusal::NotARun { base: bad.base }));
        }
    });
}

#[test]
fn a_claim_names_the_frame_and_its_owner() {
    with_ledger(|mut ledger| {
        let mine = run(0x4000_3000, 5);
        assert_eq!(ledger.claim(mine, FrameState::Private(P)), Ok(PageCount(5)));
        let refusal = ledger.claim(run(0x4000_0000, 600), FrameState::Private(Q)).unwrap_err();
        let wanted = FrameState::Free;
        let found = FrameState::Private(P);
        assert_eq!(refusal, Refusal::WrongState { frame: Pa(0x4000_3000), found, wanted });
        assert_eq!(refusal.to_string(), "frame pa:0x40003000 is memory of partition #1, not free");
        assert_eq!(ledger.state(Pa(0x4000_0000)), Some(FrameState::Free), "refused, yet changed");
        assert_eq!(ledger.state(Pa(0x4020_0000)), Some(FrameState::Free));
    });
}

#[test]
fn a_step_that_does_not_exist_is_refused_before_any_look() {
    with_ledger(|mut ledger| {
        let (from, to) = (FrameState::Private(P), FrameState::Private(Q));
        let refusal = ledger.transfer(run(0, 1), from, to);
        assert_eq!(refusal, Err(Refusal::NoSuchStep { from, to }));
        assert_eq!(
            refusal.unwrap_err().to_string(),
            "no frame goes from memory of partition #1 to memory of partition #200"
        );
    });
}

#[test]
fn a_block_is_split_at_both_ends_and_heals_as_a_whole() {
    with_ledger(|mut ledger| {
        let middle = run(0x4000_0000 + MIB2 - 0x1000, 514);
        ledger.claim(middle, FrameState::Private(P)).unwrap();
        assert_eq!(ledger.pages_in(FrameState::Private(P)), PageCount(514));
        assert_eq!(ledger.state(Pa(0x4000_0000 + MIB2 - 0x2000)), Some(FrameState::Free));
        assert_eq!(ledger.state(Pa(0x4040_0000)), Some(FrameState::Private(P)));
        assert_eq!(ledger.state(Pa(0x4040_1000)), Some(FrameState::Free));
        ledger.release(middle, FrameState::Private(P)).unwrap();
        ledger.claim(run(0x4000_0000, 1024), FrameState::Hypervisor).unwrap();
        assert_eq!(ledger.pages_in(FrameState::Hypervisor), PageCount(1024));
        assert_eq!(ledger.pages_in(FrameState::Free), PageCount(2817 - 1024));
    });
}

#[test]
fn long_work_is_done_in_bounded_steps() {
    let ram = [run(0, 512 * 20)];
    let (mut blocks, mut frames) = storage(&ram);
    let areas = registry();
    let mut ledger = Ledger::new(&ram, &mut blocks, &mut frames, &areas).unwrap();
    // Uniform blocks cost one entry each: 40 MiB at once.
    let mut all = run(0, 512 * 20);
    assert_eq!(ledger.claim(all, FrameState::Private(P)), Ok(all.pages));
    for block in 0..20 {
        let odd = run(block * MIB2, 1);
        ledger.release(odd, FrameState::Private(P)).unwrap();
        ledger.claim(odd, FrameState::Private(P)).unwrap();
    }
    // Mixed ones cost their frames.
    let mut steps = 0;
    while all.pages.0 > 0 {
        let done = ledger.release(all, FrameState::Private(P)).unwrap();
        assert!(done.0 > 0 && done.0 <= STEP_ENTRIES);
        all = all.after(done);
        steps += 1;
    }
    assert_eq!(steps, 3);
    assert_eq!(ledger.pages_in(FrameState::Free), PageCount(512 * 20));
}

#[test]
fn layouts_that_make_no_sense_are_refused() {
    let check = |ram: &[FrameRun]| Ledger::storage_for(ram).unwrap_err();
    assert_eq!(check(&[run(0, 1); 17]), BadLayout::TooManyRanges);
    assert_eq!(check(&[run(0x1000, 1), run(0x20_0800, 1)]), BadLayout::BadRange(1));
    assert_eq!(check(&[run(0x1000, 0)]), BadLayout::BadRange(0));
    assert_eq!(check(&[run(0x1000, u64::MAX)]), BadLayout::BadRange(0));
    assert_eq!(check(&[run(u64::MAX - 0xfff, 2)]), BadLayout::BadRange(0));
    assert_eq!(check(&[run(0x4000_0000, 9), run(0x4000_9000, 9)]), BadLayout::Overlap(1));
    assert_eq!(check(&[run(0x4000_0000, 9), run(0, 0x4_0001)]), BadLayout::Overlap(1));
    let ram = [run(0, 513)];
    let storage = Ledger::storage_for(&ram).unwrap();
    assert_eq!(storage, Storage { blocks: 2, frames: 1024 });
    let areas = registry();
    let error = Ledger::new(&ram, &mut [0; 2], &mut [0; 1023], &areas).unwrap_err();
    assert_eq!(error, BadLayout::StorageTooSmall);
    assert!(Ledger::new(&ram, &mut [0; 1], &mut [0; 1024], &areas).is_err());
}

mod audits {
    use super::*;

    /// P: 600 private frames and 3 for its tables; Q: 10 private frames.
    fn two_partitions(ledger: &mut Ledger<'_>) -> FrameRun {
        let own = run(0x4000_5000, 600);
        ledger.claim(own, FrameState::Private(P)).unwrap();
        ledger.claim(run(0x4000_0000, 3), FrameState::Management(P)).unwrap();
        ledger.claim(run(0x1_0010_0000, 10), FrameState::Private(Q)).unwrap();
        own
    }

    const CHARGED: Charged = Charged { memory: 600, management: 3 };

    #[test]
    fn books_that_agree_pass_in_any_order_of_leaves() {
        with_ledger(|mut ledger| {
            let own = two_partitions(&mut ledger);
            let device = run(0x0900_0000, 1);
            let leaves = [own.after(PageCount(100)), device, run(own.base.0, 100)];
            assert_eq!(ledger.audit(P, leaves.into_iter(), CHARGED), Ok(()));
        });
    }

    #[test]
    fn a_foreign_frame_is_found_whatever_its_state() {
        for foreign in STATES {
            with_ledger(|mut ledger| {
                let own = two_partitions(&mut ledger);
                let frame = run(0x4060_0000, 1);
                if let FrameState::Quarantined(owner) = foreign {
                    ledger.claim(frame, FrameState::Device(owner)).unwrap();
                    ledger.transfer(frame, FrameState::Device(owner), foreign).unwrap();
                } else if foreign != FrameState::Free {
                    ledger.claim(frame, foreign).unwrap();
                }
                let is_own = matches!(foreign, FrameState::Private(P) | FrameState::Device(P))
                    || [AREA, OTHER].contains(&foreign);
                let pages = match foreign {
                    FrameState::Private(P) | AREA | OTHER => 601,
                    FrameState::Free
                    | FrameState::Hypervisor
                    | FrameState::Private(_)
                    | FrameState::Management(_)
                    | FrameState::Area(_)
                    | FrameState::AreaTable(_)
                    | FrameState::Device(_)
                    | FrameState::Quarantined(_) => 600,
                };
                let is_management = [FrameState::Management(P), TABLE].contains(&foreign);
                let management = 3 + u64::from(is_management);
                let charged = Charged { memory: pages, management };
                let result = ledger.audit(P, [own, frame].into_iter(), charged);
                let expected = Finding::Foreign { frame: frame.base, found: foreign };
                assert_eq!(result, if is_own { Ok(()) } else { Err(expected) }, "{foreign}");
            });
        }
    }

    #[test]
    fn a_frame_mapped_twice_or_not_at_all_is_found() {
        with_ledger(|mut ledger| {
            let own = two_partitions(&mut ledger);
            let last = run(own.base.0 + 599 * PAGE_BYTES, 1);
            let finding = |mapped| Err(Finding::NotMappedOnce { owned: 600, mapped });
            assert_eq!(ledger.audit(P, [own, last].into_iter(), CHARGED), finding(601));
            assert_eq!(ledger.audit(P, [run(own.base.0, 599)].into_iter(), CHARGED), finding(599));
            // One twice and another not at all: the numbers agree, the sets do not.
            let first = run(own.base.0, 1);
            let leaves = [first, run(own.base.0, 599)];
            assert_eq!(ledger.audit(P, leaves.into_iter(), CHARGED), finding(600));
            assert_eq!(ledger.audit(P, [].into_iter(), CHARGED), finding(0));
        });
    }

    #[test]
    fn accounts_that_disagree_are_found() {
        with_ledger(|mut ledger| {
            let own = [two_partitions(&mut ledger)];
            let memory = Charged { memory: 601, ..CHARGED };
            let finding = ledger.audit(P, own.into_iter(), memory).unwrap_err();
            assert_eq!(finding, Finding::Memory { charged: 601, owned: 600 });
            assert_eq!(finding.to_string(), "memory: 601 pages on the account, 600 in the ledger");
            let management = Charged { management: 2, ..CHARGED };
            let finding = ledger.audit(P, own.into_iter(), management).unwrap_err();
            assert_eq!(finding, Finding::Management { charged: 2, owned: 3 });
        });
    }

    #[test]
    fn an_ended_partition_has_nothing() {
        with_ledger(|mut ledger| {
            let own = two_partitions(&mut ledger);
            ledger.release(own, FrameState::Private(P)).unwrap();
            ledger.release(run(0x4000_0000, 3), FrameState::Management(P)).unwrap();
            assert_eq!(ledger.audit(P, [].into_iter(), Charged::default()), Ok(()));
            assert!(ledger.audit(Q, [].into_iter(), Charged::default()).is_err());
        });
    }
}

proptest! {
    /// Random runs and steps against a map from frame to state: same answers, same states, one owner each.
    #[test]
    fn the_ledger_is_a_map_of_frames(
        steps in proptest::collection::vec(
            (0..1600_u64, 1..1400_u64, 0..2 * STATES.len(), 0..STATES.len()), 1..40
        ),
    ) {
        let ram = [run(0x4000_0000, 1024), run(0x5010_0000, 513)];
        let (mut blocks, mut frames) = storage(&ram);
        let areas = registry();
    let mut ledger = Ledger::new(&ram, &mut blocks, &mut frames, &areas).unwrap();
        begin_areas(&mut ledger);
        let mut model = BTreeMap::new();
        for range in ram {
            for page in 0..range.pages.0 {
                model.insert(range.base.0 + page * PAGE_BYTES, FrameState::Free);
            }
        }
        for (start, pages, from, to) in steps {
            let base = if start < 1024 { 0x4000_0000 } else { 0x5010_0000 - 1024 * PAGE_BYTES };
            let mut asked = run(base + start * PAGE_BYTES, pages);
            let there = model.get(&asked.base.0).copied().unwrap_or(FrameState::Free);
            // Half of the steps start from what is there, and one half of those fit exactly.
            let (from, to) = (STATES.get(from).copied().unwrap_or(there), STATES[to]);
            if pages % 2 == 0 {
                let same = (0..pages).take_while(|page| {
                    model.get(&(asked.base.0 + page * PAGE_BYTES)) == Some(&from)
                });
                asked.pages = PageCount(u64::try_from(same.count()).unwrap().max(1));
            }
            let pages = asked.pages.0;
            let numbers = (0..pages).map(|page| asked.base.0 + page * PAGE_BYTES);
            let wrong = numbers.clone().find(|frame| model.get(frame) != Some(&from));
            // From area to area only where both are the same partition's: area 1 is Q's.
            let is_qs = |state: FrameState| state.area() == Some(AreaNumber(1));
            let is_between = from.area().is_some() && to.area().is_some();
            let may = from.may_become(to) && (!is_between || is_qs(from) == is_qs(to));
            let expected = if may {
                match wrong {
                    None => Ok(PageCount(pages)),
                    Some(frame) => Err(match model.get(&frame) {
                        None => Refusal::NotRam { frame: Pa(frame) },
                        Some(found) => Refusal::WrongState {
                            frame: Pa(frame), found: *found, wanted: from,
                        },
                    }),
                }
            } else {
                Err(Refusal::NoSuchStep { from, to })
            };
            if expected.is_ok() {
                numbers.for_each(|frame| { model.insert(frame, to); });
            }
            prop_assert_eq!(ledger.transfer(asked, from, to), expected);
        }
        for (frame, state) in &model {
            prop_assert_eq!(ledger.state(Pa(*frame)), Some(*state));
        }
        for slot in [P, Q] {
            let has = |state: &FrameState| {
                ledger.owner(*state) == Some(slot) && !matches!(state, FrameState::Quarantined(_))
            };
            let held = model.values().filter(|state| has(state)).count();
            prop_assert_eq!(ledger.held(slot), PageCount(u64::try_from(held).unwrap()));
        }
        for area in [AreaNumber(0), AreaNumber(1)] {
            let pages = model.values().filter(|state| state.area() == Some(area)).count();
            prop_assert_eq!(ledger.areas().pages(area), PageCount(u64::try_from(pages).unwrap()));
        }
        // All that P has in its area is Q's after one step, and no entry has changed.
        let before = (ledger.held(P).0, ledger.held(Q).0, ledger.areas().pages(AreaNumber(0)).0);
        ledger.areas().hand_over(AreaNumber(0), P, Q);
        prop_assert_eq!(ledger.held(P).0, before.0 - before.2);
        prop_assert_eq!(ledger.held(Q).0, before.1 + before.2);
        let mut seen = 0;
        ledger.for_each_run(&mut |run, state| {
            seen += run.pages.0;
            assert_eq!(model.get(&run.base.0), Some(&state));
        });
        prop_assert_eq!(seen, 1024 + 513);
        for mut left in ram {
            while left.pages.0 > 0 {
                let (first, state) = ledger.first_of(left).unwrap();
                assert_eq!(first.base, left.base);
                ledger.for_each_run(&mut |run, found| {
                    if run.base == first.base {
                        assert_eq!((run, found), (first, state));
                    }
                });
                prop_assert!(ledger.are_all(first, state));
                let more = run(first.base.0, first.pages.0 + 1);
                let next = model.get(&first.after(first.pages).base.0);
                prop_assert_eq!(ledger.are_all(more, state), next == Some(&state));
                left = left.after(first.pages);
            }
        }
        prop_assert_eq!(ledger.first_of(run(0x4000_0000 - PAGE_BYTES, 2)), None);
    }
}
