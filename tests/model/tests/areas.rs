//! Message areas of one partition (C3, P3 b, c, d, P4): made, told, kept and freed in bounded steps; every limit and every
//! lack of memory refuses and leaves nothing; contents are cleared before a guest sees them.

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, PageCount, PartitionSlot, Resource, WindowSlot};
use shikiri_arch::exit::{Abort, AbortKind};
use shikiri_config::Windows;
use shikiri_core::area::{AreaInfo, AreaSizes, LeaveStep, Made, Progress, STEP, Wanted};
use shikiri_core::frame::FrameState;
use shikiri_core::handle::Handle;
use shikiri_core::party::Refusal;
use shikiri_model::MOST_PAGES;
use shikiri_model::calls::{CREATE_RECEIVE, call};
use shikiri_model::estates::{Estates, HANDLES};
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 6, blocks: 4, giants: 2 }, ports: 2, shares: 2 };
const LINES: [Resource; 3] = [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory];

fn wanted(pages: u64, class: AreaClass) -> Wanted {
    Wanted { pages: PageCount(pages), class }
}

fn lines(estates: &mut Estates) -> [u64; 3] {
    LINES.map(|line| estates.side(0).used(line))
}

/// Makes an area, in steps; also how many they were.
fn alloc(estates: &mut Estates, wanted: Wanted) -> Result<(Made, u64), Refusal> {
    let mut progress = estates.of(0, |own, machine| own.alloc(machine, wanted))?;
    for steps in 1..100_000 {
        estates.audit();
        match progress {
            Progress::Done(made) => return Ok((made, steps)),
            Progress::Again(handle) => {
                progress = estates.of(0, |own, machine| own.alloc_more(machine, handle))?;
            }
        }
    }
    panic!("the area is never complete");
}

fn free(estates: &mut Estates, handle: Handle) -> Result<u64, Refusal> {
    for steps in 1..100_000 {
        let progress = estates.of(0, |own, machine| own.free(machine, handle))?;
        estates.audit();
        if progress == Progress::Done(()) {
            return Ok(steps);
        }
    }
    panic!("the area is never gone");
}

#[test]
fn an_area_is_cleared_mapped_charged_and_given_back() {
    let mut estates = Estates::new(1, 16, SIZES);
    let (free_pages, before) = (estates.machine.store.free_pages(), lines(&mut estates));
    for (pages, class) in [
        (1, AreaClass::Page),
        (1, AreaClass::Block),
        (300, AreaClass::Block),
        (512, AreaClass::Block),
        (3, AreaClass::Giant),
        (1100, AreaClass::Giant),
    ]
    .into_iter()
    .filter(|(pages, _)| *pages <= MOST_PAGES)
    {
        // Whatever was there before must not be seen.
        let (made, steps) = alloc(&mut estates, wanted(pages, class)).unwrap();
        assert!(steps <= 3 + pages.div_ceil(STEP) * 2, "{steps} steps for {pages} pages");
        assert_eq!((made.pages.0, made.slot.class), (pages, class));
        let info = estates.of(0, |own, _| own.info(made.handle));
        assert_eq!(info, Ok(AreaInfo { slot: made.slot, pages: made.pages }));
        let at = |page: u64| made.slot.ipa().wrapping_add(page * PAGE_BYTES);
        for page in 0..pages {
            for word in [0, 8, 2048, 4088] {
                let ipa = at(page).wrapping_add(word);
                assert_eq!(estates.read(0, ipa), Some(0), "{ipa}");
            }
            assert!(estates.write(0, at(page), !0));
        }
        assert_eq!(estates.read(0, at(pages)), None);
        let has_by_now = |estates: &mut Estates, ipa, status| {
            let abort = Abort { ipa, kind: AbortKind::Read, is_on_walk: false, status };
            let ram = estates.machine.ram.clone();
            estates.side(0).holdings.has_by_now(&ram, &abort)
        };
        for level in 1..=3 {
            assert!(has_by_now(&mut estates, at(0), 0x04 | level), "the walk was too early");
            assert!(!has_by_now(&mut estates, at(pages), 0x04 | level), "nothing is there");
            assert!(!has_by_now(&mut estates, at(0), 0x0c | level), "it is not permitted");
        }
        let now = lines(&mut estates);
        assert_eq!((now[0] - before[0], now[1] - before[1]), (pages, pages));
        assert!(now[2] - before[2] <= class.most_tables());
        let held = estates.machine.store.held(PartitionSlot(0)).0;
        assert_eq!(held, now[0] + now[2]);
        let steps = free(&mut estates, made.handle).unwrap();
        assert!(steps <= pages.div_ceil(STEP) + 1, "{steps} steps to free {pages} pages");
        assert_eq!(estates.read(0, at(0)), None, "it is unmapped");
        let stale = estates.of(0, |own, _| own.info(made.handle));
        assert_eq!(stale, Err(Refusal::NotOwner));
        assert_eq!(lines(&mut estates), before);
        assert_eq!(estates.machine.store.free_pages(), free_pages);
    }
    estates.end(0);
}

/// Where each block of the machine's memory has had several owners the ledger has an entry for each frame: no call goes over more of
/// them than one step of the ledger's.
#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn no_call_claims_more_than_a_step_of_the_ledger() {
    let mut estates = Estates::new(1, 64, SIZES);
    let owner = FrameState::Hypervisor;
    let store = &estates.machine.store;
    let pieces: Vec<_> = std::iter::from_fn(|| store.take(owner, PageCount(1), 2 << 20)).collect();
    assert!(pieces.len() > 20, "every block is in parts: {}", pieces.len());
    pieces.into_iter().for_each(|piece| store.give(owner, piece));
    let claimed = |estates: &Estates| {
        let mut pages = 0;
        estates.machine.store.with_books(|ledger, _| {
            ledger.for_each_run(&mut |run, state| {
                pages += if matches!(state, FrameState::Area(_)) { run.pages.0 } else { 0 };
            });
        });
        pages
    };
    let pages = 10_000;
    let mut before = 0;
    let mut progress =
        estates.of(0, |own, machine| own.alloc(machine, wanted(pages, AreaClass::Giant))).unwrap();
    while let Progress::Again(handle) = progress {
        let now = claimed(&estates);
        assert!(now - before <= 4096, "{} frames in one call", now - before);
        before = now;
        progress = estates.of(0, |own, machine| own.alloc_more(machine, handle)).unwrap();
    }
    assert_eq!(claimed(&estates), pages);
    estates.end(0);
}

fn trim(estates: &mut Estates, handle: Handle, pages: u64) -> Result<u64, Refusal> {
    for steps in 1..100_000 {
        let progress = estates.of(0, |own, machine| own.trim(machine, handle, PageCount(pages)))?;
        estates.audit();
        if progress == Progress::Done(()) {
            return Ok(steps);
        }
    }
    panic!("the tail is never gone");
}

/// The tail is unmapped, freed and refunded, tables included; the rest is where it was, with what was in it.
#[test]
fn an_area_is_trimmed_wherever_its_leaves_end_c3() {
    let mut estates = Estates::new(1, 16, SIZES);
    let (free_pages, before) = (estates.machine.store.free_pages(), lines(&mut estates));
    for (class, sizes) in [
        (AreaClass::Page, vec![1, 1]),
        (AreaClass::Block, vec![512, 511, 300, 300, 2, 1]),
        (AreaClass::Block, vec![200, 70, 1]),
        (AreaClass::Block, vec![20, 7, 1]),
        (AreaClass::Giant, vec![1500, 1024, 1023, 513, 512, 511, 3]),
    ]
    .into_iter()
    .filter(|(_, sizes)| sizes[0] <= MOST_PAGES)
    {
        let (made, _) = alloc(&mut estates, wanted(sizes[0], class)).unwrap();
        let at = |page: u64| made.slot.ipa().wrapping_add(page * PAGE_BYTES);
        (0..sizes[0]).for_each(|page| assert!(estates.write(0, at(page), page + 1)));
        for pair in sizes.windows(2) {
            let steps = trim(&mut estates, made.handle, pair[1]).unwrap();
            assert!(steps <= 1 + (pair[0] - pair[1]) / STEP, "{steps} steps for {pair:?}");
            for page in 0..sizes[0] {
                let here = (page < pair[1]).then_some(page + 1);
                assert_eq!(estates.read(0, at(page)), here, "{class:?} {pair:?} {page}");
            }
            let info = estates.of(0, |own, _| own.info(made.handle)).unwrap();
            assert_eq!(info, AreaInfo { slot: made.slot, pages: PageCount(pair[1]) });
            let now = lines(&mut estates);
            assert_eq!((now[0] - before[0], now[1] - before[1]), (pair[1], pair[1]));
            let held = estates.machine.store.held(PartitionSlot(0)).0;
            assert_eq!(held, now[0] + now[2]);
        }
        free(&mut estates, made.handle).unwrap();
        assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), (before, free_pages));
    }
    estates.end(0);
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn a_trim_that_is_not_possible_changes_nothing_c3() {
    let mut estates = Estates::new(1, 16, SIZES);
    let (made, _) = alloc(&mut estates, wanted(512, AreaClass::Block)).unwrap();
    let making = estates.of(0, |own, machine| own.alloc(machine, wanted(300, AreaClass::Block)));
    let Ok(Progress::Again(making)) = making else { panic!("{making:?}") };
    let before = (lines(&mut estates), estates.machine.store.free_pages());
    for (handle, pages, refusal) in [
        (Handle(0), 1, Refusal::NotOwner),
        (making, 1, Refusal::WrongState),
        (made.handle, 0, Refusal::Range),
        (made.handle, 513, Refusal::Range),
        (made.handle, u64::MAX, Refusal::Range),
    ] {
        assert_eq!(trim(&mut estates, handle, pages), Err(refusal), "{pages}");
        assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), before);
    }
    // A part of a block needs a table: none is left in the account, then none in the machine.
    let limit = Some(before.0[2]);
    let line = Resource::ManagementMemory;
    estates.side(0).holdings.account_mut().set_limit(line, limit);
    assert_eq!(trim(&mut estates, made.handle, 100), Err(Refusal::OverLimit(line)));
    estates.side(0).holdings.account_mut().set_limit(line, None);
    let hoarded = estates.machine.hoard(0);
    assert_eq!(trim(&mut estates, made.handle, 100), Err(Refusal::NoMemory));
    estates.machine.give(hoarded);
    assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), before);
    assert!(estates.write(0, made.slot.ipa().wrapping_add(511 * PAGE_BYTES), 1), "it is whole");
    free(&mut estates, making).unwrap();
    free(&mut estates, made.handle).unwrap();
    estates.end(0);
}

/// What AREA_SPLIT moves goes to a new area, and to the end of this one with each further step.
fn split(estates: &mut Estates, pair: [Handle; 2], wanted: Wanted) -> Result<(Made, u64), Refusal> {
    let [area, mut tail] = pair;
    for steps in 1..100_000 {
        let (made, is_done) =
            estates.of(0, |own, machine| own.split(machine, [area, tail], wanted))?;
        estates.audit();
        assert!(tail == Handle(0) || tail == made.handle, "it goes on with the same");
        tail = made.handle;
        if is_done {
            return Ok((made, steps));
        }
    }
    panic!("the tail is never another area");
}

/// The first word of each page of an area; behind them nothing is mapped.
fn first_words(estates: &Estates, Made { slot, pages, .. }: Made) -> Vec<u64> {
    let at = |page: u64| slot.ipa().wrapping_add(page * PAGE_BYTES);
    if pages.0 < slot.class.pages().0 {
        assert_eq!(estates.read(0, at(pages.0)), None, "nothing is behind it");
    }
    (0..pages.0).map(|page| estates.read(0, at(page)).unwrap()).collect()
}

/// The tail is an area of its own, with all that was in its pages; nothing is charged but tables, nothing is lost.
#[test]
fn an_area_is_split_wherever_its_leaves_end_c3() {
    let mut estates = Estates::new(1, 16, SIZES);
    let (free_pages, before) = (estates.machine.store.free_pages(), lines(&mut estates));
    for (class, pages, stays, tail_class) in [
        (AreaClass::Block, 2, 1, AreaClass::Page),
        (AreaClass::Block, 512, 1, AreaClass::Block),
        (AreaClass::Block, 50, 20, AreaClass::Block),
        (AreaClass::Block, 512, 511, AreaClass::Page),
        (AreaClass::Giant, 1100, 512, AreaClass::Giant),
        (AreaClass::Giant, 1536, 512, AreaClass::Giant),
        (AreaClass::Giant, 1536, 1100, AreaClass::Block),
        (AreaClass::Giant, 1536, 3, AreaClass::Giant),
    ]
    .into_iter()
    .filter(|(_, pages, ..)| *pages <= MOST_PAGES)
    {
        let (mut made, _) = alloc(&mut estates, wanted(pages, class)).unwrap();
        for page in 0..pages {
            let at = made.slot.ipa().wrapping_add(page * PAGE_BYTES);
            assert!(estates.write(0, at, page + 1));
        }
        let frames = estates.machine.store.free_pages();
        let what = wanted(stays, tail_class);
        let (tail, steps) = split(&mut estates, [made.handle, Handle(0)], what).unwrap();
        assert!(steps <= 1 + (pages - stays) / STEP, "{steps} steps for {pages} {stays}");
        assert_eq!((tail.pages.0, tail.slot.class), (pages - stays, tail_class));
        made.pages = PageCount(stays);
        for area in [made, tail] {
            let info = estates.of(0, |own, _| own.info(area.handle)).unwrap();
            assert_eq!(info, AreaInfo { slot: area.slot, pages: area.pages });
        }
        let head: Vec<_> = (1..=stays).collect();
        assert_eq!(first_words(&estates, made), head, "what stays is where it was");
        let mut words = first_words(&estates, tail);
        words.sort_unstable();
        assert!(words.into_iter().eq(stays + 1..=pages), "what goes is all there");
        let now = lines(&mut estates);
        assert_eq!((now[0] - before[0], now[1] - before[1]), (pages, pages));
        let tables = frames.0 - estates.machine.store.free_pages().0;
        assert!(tables <= 2 * class.most_tables(), "{tables} frames were taken");
        let held = estates.machine.store.held(PartitionSlot(0)).0;
        assert_eq!(held, now[0] + now[2]);
        // Back to the end of the first, where it has room; and both are freed, each by itself.
        if stays < pages - stays && tail_class == class {
            let (back, _) =
                split(&mut estates, [tail.handle, made.handle], wanted(1, class)).unwrap();
            assert_eq!((back.slot, back.pages.0), (made.slot, pages - 1));
            assert!(first_words(&estates, back).starts_with(&head));
        }
        free(&mut estates, tail.handle).unwrap();
        free(&mut estates, made.handle).unwrap();
        assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), (before, free_pages));
    }
    estates.end(0);
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn a_split_that_is_not_possible_changes_nothing_c3() {
    let mut estates = Estates::new(1, 16, SIZES);
    let block = |pages| wanted(pages, AreaClass::Block);
    let (made, _) = alloc(&mut estates, block(512)).unwrap();
    let (other, _) = alloc(&mut estates, block(100)).unwrap();
    let making = estates.of(0, |own, machine| own.alloc(machine, block(300)));
    let Ok(Progress::Again(making)) = making else { panic!("{making:?}") };
    let before = (lines(&mut estates), estates.machine.store.free_pages());
    let refused = |estates: &mut Estates, pair, what, refusal| {
        assert_eq!(split(estates, pair, what), Err(refusal), "{pair:?} {what:?}");
        assert_eq!((lines(estates), estates.machine.store.free_pages()), before);
    };
    let none = Handle(0);
    for (pair, what, refusal) in [
        ([none, none], block(1), Refusal::NotOwner),
        ([made.handle, Handle(0x700_0000)], block(1), Refusal::NotOwner),
        ([making, none], block(1), Refusal::WrongState),
        ([made.handle, making], block(1), Refusal::WrongState),
        ([made.handle, none], block(0), Refusal::Range),
        ([made.handle, none], block(512), Refusal::Range),
        ([made.handle, none], block(513), Refusal::Range),
        ([made.handle, none], block(u64::MAX), Refusal::Range),
        ([made.handle, made.handle], block(1), Refusal::Range),
        ([made.handle, none], wanted(510, AreaClass::Page), Refusal::Range),
        // 413 pages do not fit behind 100 of 512.
        ([made.handle, other.handle], block(99), Refusal::Range),
    ] {
        refused(&mut estates, pair, what, refusal);
    }
    // Of a block that is split both parts need a table: none is left in the account, or one; then none in the machine, or one.
    for left in [0, 1] {
        let line = Resource::ManagementMemory;
        estates.side(0).holdings.account_mut().set_limit(line, Some(before.0[2] + left));
        refused(&mut estates, [made.handle, none], block(100), Refusal::OverLimit(line));
        estates.side(0).holdings.account_mut().set_limit(line, None);
        let hoarded = estates.machine.hoard(left);
        let result = split(&mut estates, [made.handle, none], block(100));
        estates.machine.give(hoarded);
        assert_eq!(result, Err(Refusal::NoMemory));
        assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), before);
    }
    assert!(estates.write(0, made.slot.ipa().wrapping_add(511 * PAGE_BYTES), 1), "it is whole");
    // No slot is left, then no handle.
    free(&mut estates, making).unwrap();
    let (last, _) = alloc(&mut estates, block(2)).unwrap();
    alloc(&mut estates, block(2)).unwrap();
    let slots = Refusal::OverLimit(Resource::IpaSpace);
    assert_eq!(split(&mut estates, [made.handle, none], block(1)), Err(slots));
    while call(&mut estates, 0, CREATE_RECEIVE, &[]).0[0] == 0 {}
    let handles = Refusal::OverLimit(Resource::ManagementMemory);
    let giant = wanted(1, AreaClass::Giant);
    assert_eq!(split(&mut estates, [made.handle, none], giant), Err(handles));
    // To an area that is there it needs neither.
    let (grown, _) = split(&mut estates, [made.handle, other.handle], block(412)).unwrap();
    assert_eq!((grown.handle, grown.pages.0), (other.handle, 200));
    // Nothing is behind the pages that stay: it is done.
    let (same, _) = split(&mut estates, [made.handle, other.handle], block(412)).unwrap();
    assert_eq!(same, grown);
    free(&mut estates, last.handle).unwrap();
    estates.end(0);
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn the_first_step_of_freeing_unmaps_all() {
    let mut estates = Estates::new(1, 16, SIZES);
    // Fragments: no block, so that freeing takes several steps.
    let hoarded = estates.machine.hoard(0);
    let (kept, single): (Vec<_>, Vec<_>) =
        hoarded.into_iter().partition(|frames| (frames.base().0 / PAGE_BYTES).is_multiple_of(2));
    estates.machine.give(single);
    let (made, _) = alloc(&mut estates, wanted(200, AreaClass::Block)).unwrap();
    let last = made.slot.ipa().wrapping_add(199 * PAGE_BYTES);
    assert!(estates.write(0, last, 7));
    let begun = estates.of(0, |own, machine| own.free(machine, made.handle));
    assert_eq!(begun, Ok(Progress::Again(made.handle)));
    assert_eq!((estates.read(0, made.slot.ipa()), estates.read(0, last)), (None, None));
    let info = estates.of(0, |own, _| own.info(made.handle));
    assert_eq!(info, Err(Refusal::WrongState));
    let more = estates.of(0, |own, machine| own.alloc_more(machine, made.handle));
    assert_eq!(more, Err(Refusal::WrongState));
    free(&mut estates, made.handle).unwrap();
    estates.machine.give(kept);
    estates.end(0);
}

#[test]
fn what_is_not_possible_is_refused_and_changes_nothing() {
    let mut estates = Estates::new(1, 16, SIZES);
    let before = (lines(&mut estates), estates.machine.store.free_pages());
    for (pages, class, refusal) in [
        (0, AreaClass::Page, Refusal::Range),
        (2, AreaClass::Page, Refusal::Range),
        (513, AreaClass::Block, Refusal::Range),
        (0x4_0001, AreaClass::Giant, Refusal::Range),
    ] {
        let made = estates.of(0, |own, machine| own.alloc(machine, wanted(pages, class)));
        assert_eq!(made, Err(refusal), "{pages} {class:?}");
    }
    for handle in [0, 1, 1 << 16, u64::MAX] {
        let handle = Handle(handle);
        assert_eq!(estates.of(0, |own, _| own.info(handle)), Err(Refusal::NotOwner));
        assert_eq!(estates.of(0, |own, _| own.keep(handle)), Err(Refusal::NotOwner));
        assert_eq!(estates.of(0, |own, machine| own.free(machine, handle)), Err(Refusal::NotOwner));
        let more = estates.of(0, |own, machine| own.alloc_more(machine, handle));
        assert_eq!(more, Err(Refusal::NotOwner));
    }
    assert_eq!((lines(&mut estates), estates.machine.store.free_pages()), before);
    let (made, _) = alloc(&mut estates, wanted(1, AreaClass::Page)).unwrap();
    let more = estates.of(0, |own, machine| own.alloc_more(machine, made.handle));
    assert_eq!(more, Err(Refusal::WrongState), "it is complete");
    assert_eq!(estates.of(0, |own, _| own.keep(made.handle)), Err(Refusal::WrongState));
    free(&mut estates, made.handle).unwrap();
    estates.end(0);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a build for each limit: long under Miri, and the other tests build the same"
)]
fn every_limit_below_the_need_refuses_and_leaves_nothing() {
    let need = wanted(130, AreaClass::Block);
    for (line, resource) in LINES.into_iter().enumerate() {
        let mut estates = Estates::new(1, 16, SIZES);
        // Fragments, so that there is a table.
        let hoarded = estates.machine.hoard(0);
        let (kept, single): (Vec<_>, Vec<_>) = hoarded
            .into_iter()
            .partition(|frames| (frames.base().0 / PAGE_BYTES).is_multiple_of(2));
        estates.machine.give(single);
        let before = lines(&mut estates);
        let (made, _) = alloc(&mut estates, need).unwrap();
        let cost = lines(&mut estates)[line] - before[line];
        free(&mut estates, made.handle).unwrap();
        for less in 0..cost {
            let account = estates.side(0).holdings.account_mut();
            account.set_limit(resource, Some(before[line] + less));
            let begun = estates.of(0, |own, machine| own.alloc(machine, need));
            if let Ok(Progress::Again(handle)) = begun {
                // Its tables come later: what was made so far stays, until it is freed.
                let more = estates.of(0, |own, machine| own.alloc_more(machine, handle));
                assert_eq!(more, Err(Refusal::OverLimit(resource)));
                free(&mut estates, handle).unwrap();
            } else {
                assert_eq!(begun, Err(Refusal::OverLimit(resource)));
            }
            assert_eq!(lines(&mut estates), before);
            estates.audit();
        }
        estates.side(0).holdings.account_mut().set_limit(resource, Some(before[line] + cost));
        let (made, _) = alloc(&mut estates, need).unwrap();
        free(&mut estates, made.handle).unwrap();
        estates.machine.give(kept);
        estates.end(0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn too_little_memory_stops_it_and_what_there_is_can_be_freed() {
    let mut estates = Estates::new(1, 16, SIZES);
    let hoarded = estates.machine.hoard(100);
    let before = lines(&mut estates);
    let begun = estates.of(0, |own, machine| own.alloc(machine, wanted(200, AreaClass::Block)));
    let Ok(Progress::Again(handle)) = begun else { panic!("{begun:?}") };
    let refused =
        (0..20).find_map(|_| estates.of(0, |own, machine| own.alloc_more(machine, handle)).err());
    assert_eq!(refused, Some(Refusal::NoMemory));
    estates.audit();
    let second = estates.of(0, |own, machine| own.alloc(machine, wanted(1, AreaClass::Page)));
    assert_eq!(second, Err(Refusal::Busy), "one at a time");
    free(&mut estates, handle).unwrap();
    assert_eq!((lines(&mut estates), estates.machine.store.free_pages().0), (before, 100));
    let all = estates.machine.hoard(0);
    let none = estates.of(0, |own, machine| own.alloc(machine, wanted(1, AreaClass::Page)));
    assert_eq!((none, lines(&mut estates)), (Err(Refusal::NoMemory), before));
    estates.machine.give(hoarded.into_iter().chain(all));
    estates.end(0);
}

#[test]
fn slots_and_handles_run_out_and_come_back() {
    let mut estates = Estates::new(1, 16, SIZES);
    let one = wanted(1, AreaClass::Page);
    let mut all: Vec<_> = (0..6).map(|_| alloc(&mut estates, one).unwrap().0).collect();
    let slots: Vec<_> = all.iter().map(|made| made.slot.index).collect();
    assert_eq!(slots, [0, 1, 2, 3, 4, 5]);
    let refused = estates.of(0, |own, machine| own.alloc(machine, one));
    assert_eq!(refused, Err(Refusal::OverLimit(Resource::IpaSpace)));
    free(&mut estates, all.swap_remove(2).handle).unwrap();
    let (again, _) = alloc(&mut estates, one).unwrap();
    assert_eq!(again.slot, WindowSlot { class: AreaClass::Page, index: 2 });
    free(&mut estates, again.handle).unwrap();
    for _ in 0..HANDLES - 5 {
        estates
            .of(0, |own, _| {
                let account = own.holdings.account_mut();
                own.party.create_send(account).map(drop)
            })
            .unwrap();
    }
    let refused = estates.of(0, |own, machine| own.alloc(machine, one));
    assert_eq!(refused, Err(Refusal::OverLimit(Resource::ManagementMemory)));
    estates.end(0);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a machine for each step: hours under Miri, and the other tests take the same steps"
)]
fn an_end_in_the_middle_of_making_or_freeing_leaves_nothing() {
    // How far the area is made, then how far it is freed, when its partition ends.
    for steps in 0..24 {
        let mut estates = Estates::new(1, 16, SIZES);
        let free_pages = estates.machine.store.free_pages();
        let hoarded = estates.machine.hoard(2000);
        let mut progress =
            estates.of(0, |own, machine| own.alloc(machine, wanted(500, AreaClass::Block)));
        for _ in 0..steps {
            let Ok(now) = progress else { break };
            match now {
                Progress::Again(handle) => {
                    progress = estates.of(0, |own, machine| own.alloc_more(machine, handle));
                }
                Progress::Done(Made { handle, .. }) => {
                    let _gone = estates.of(0, |own, machine| own.free(machine, handle));
                }
            }
        }
        let mut seen = Vec::new();
        while estates.next_leave_step(0) != LeaveStep::Done {
            seen.push(estates.next_leave_step(0));
            assert!(!estates.leave_step(0).0);
            estates.audit();
        }
        let is_in_order = seen.is_sorted();
        assert!(is_in_order, "{seen:?}");
        estates.end(0);
        estates.machine.give(hoarded);
        estates.start(0);
        assert_eq!(estates.machine.store.free_pages(), free_pages, "after {steps} steps");
        estates.end(0);
    }
}

#[test]
fn a_partition_without_areas_has_none_of_the_calls() {
    let none =
        AreaSizes { windows: WindowSizes { pages: 0, blocks: 0, giants: 0 }, ports: 0, shares: 0 };
    let mut estates = Estates::new(1, 16, none);
    let refused = estates.of(0, |own, machine| own.alloc(machine, wanted(1, AreaClass::Page)));
    assert_eq!(refused, Err(Refusal::OverLimit(Resource::IpaSpace)));
    assert_eq!(estates.read(0, Ipa(0x80_0000_0000)), None);
    estates.end(0);
}

/// The description's check counts what the hypervisor will take.
#[test]
fn the_description_counts_the_pages_of_the_tables() {
    for (pages, blocks, giants, channels, shared) in [
        (0, 0, 0, 0, 0),
        (2, 0, 0, 1, 1),
        (64, 0, 0, 0, 30),
        (65, 0, 0, 0, 31),
        (4096, 512, 510, 60, 64),
        (9, 3, 1, 12, 2),
    ] {
        let windows = Windows { pages, blocks, giants, channels, shared };
        let sizes = AreaSizes {
            windows: WindowSizes { pages, blocks, giants },
            ports: channels,
            shares: shared,
        };
        if !windows.is_none() {
            assert_eq!(windows.tables_pages(), sizes.pages().0, "{windows:?}");
        }
    }
}
