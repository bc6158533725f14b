//! The pool against a set of frames, and each way in which it refuses.

use std::collections::BTreeSet;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

use super::{FramePool, PoolError};
use crate::frames::Frames;
use crate::range::FrameRange;
use crate::testing::{RAM, Ram};

const MIB2: u64 = 0x20_0000;

fn range(base: u64, pages: u64) -> FrameRange {
    FrameRange { base: Pa(RAM + base), pages: PageCount(pages) }
}

fn pool<'a>(
    ram: &'a Ram,
    reserved: &[FrameRange],
    fixed: &[FrameRange],
) -> Result<FramePool<&'a Ram>, PoolError> {
    // SAFETY: the RAM is the test's own.
    unsafe { FramePool::new(ram, &[ram.range()], reserved, fixed) }
}

/// The pool's own table: one record for each block and the open set, a page each for small machines.
const TABLE_PAGES: u64 = 2;

#[test]
fn every_frame_but_the_table_and_the_reserved_ones_is_free() {
    let ram = Ram::new(8);
    let reserved = [range(0x1000, 3), range(5 * MIB2 - 0x1000, 2)];
    let pool = pool(&ram, &reserved, &[]).unwrap();
    assert_eq!(pool.free_pages(), PageCount(8 * 512 - 5 - TABLE_PAGES));
    assert_eq!(pool.total_pages(), pool.free_pages());
}

#[test]
fn the_table_takes_the_first_run_that_can_hold_it() {
    let ram = Ram::new(2);
    // One free frame before the reserved ones is too little; the table follows them.
    let mut pool = pool(&ram, &[range(0x1000, 4)], &[]).unwrap();
    let first = pool.take(PageCount(1), PAGE_BYTES).unwrap();
    let second = pool.take(PageCount(1), PAGE_BYTES).unwrap();
    assert_eq!((first.base(), second.base()), (Pa(RAM), Pa(RAM + 0x7000)));
}

/// As on the Raspberry Pi.
#[test]
fn memory_may_begin_at_address_0_if_its_first_frame_is_reserved() {
    let ram = Ram::at(Pa(0), 8);
    let first = FrameRange { base: Pa(0), pages: PageCount(1) };
    let mut pool = pool(&ram, &[first], &[]).unwrap();
    let extent = pool.take(PageCount(512), MIB2).unwrap();
    assert_eq!(extent.base().0 % MIB2, 0);
    let frame = pool.take(PageCount(1), PAGE_BYTES).unwrap();
    assert_eq!(frame.base(), Pa(0x3000), "behind the reserved frame and the table");
    pool.give(extent);
    pool.give(frame);
    assert_eq!(pool.free_pages(), pool.total_pages());
}

#[test]
fn short_runs_are_contiguous_and_aligned() {
    let ram = Ram::new(4);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let _odd = pool.take(PageCount(1), PAGE_BYTES).unwrap();
    let root = pool.take(PageCount(2), 0x2000).unwrap();
    assert!(root.base().is_aligned(0x2000) && root.pages() == PageCount(2));
    let half = pool.take(PageCount(256), 0x10_0000).unwrap();
    assert!(half.base().is_aligned(0x10_0000));
    let nearly = pool.take(PageCount(511), MIB2).unwrap();
    assert!(nearly.base().is_aligned(MIB2));
}

#[test]
fn a_parked_run_comes_back_whole_or_in_parts() {
    let ram = Ram::new(8);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let free = pool.free_pages();
    let (run, extent) =
        (pool.take(PageCount(70), PAGE_BYTES).unwrap(), pool.take(PageCount(1024), MIB2).unwrap());
    let (first, second) = (run.range(), extent.range());
    pool.park(run);
    pool.park(extent);
    assert_eq!(pool.free_pages().0, free.0 - 1094);
    for frame in (0..70).rev() {
        let base = first.base.wrapping_add(frame * PAGE_BYTES);
        let frames = pool.unpark(FrameRange { base, pages: PageCount(1) });
        pool.give(frames);
    }
    let frames = pool.unpark(second);
    pool.give(frames);
    assert_eq!(pool.free_pages(), free);
}

#[test]
fn nobody_gets_a_second_token_of_a_frame() {
    let ram = Ram::new(4);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let run = pool.take(PageCount(3), PAGE_BYTES).unwrap();
    let held = pool.take(PageCount(1), PAGE_BYTES).unwrap();
    let range = run.range();
    pool.park(run);
    for wrong in [held.range(), FrameRange { pages: PageCount(4), ..range }] {
        let forged = catch_unwind(AssertUnwindSafe(|| pool.unpark(wrong)));
        assert!(forged.is_err(), "{wrong}");
    }
    assert_eq!(pool.unpark(range).range(), range);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.unpark(range))).is_err());
}

#[test]
fn extents_are_aligned_to_their_size() {
    let ram = Ram::new(16);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    for shift in [9, 10, 11, 12] {
        let extent = pool.take(PageCount(1 << shift), PAGE_BYTES).unwrap();
        assert!(extent.base().is_aligned(PAGE_BYTES << shift), "{extent:?}");
    }
    assert!(pool.take(PageCount(1 << 12), PAGE_BYTES).is_none(), "8 + 4 + 2 + 1 blocks are gone");
}

#[test]
fn shapes_that_do_not_exist_are_refused_and_change_nothing() {
    let ram = Ram::new(4);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let before = pool.free_pages();
    let max = 1 << 63;
    for (pages, align) in [
        (0, 4096),
        (1, 0),
        (1, 12288),
        (1, 2 * MIB2),
        (513, 4096),
        (512, 2 * MIB2),
        (max, 1),
        (u64::MAX, 1),
    ] {
        assert!(pool.take(PageCount(pages), align).is_none(), "{pages} {align}");
    }
    assert!(pool.take_up_to(PageCount(0)).is_none());
    assert_eq!(pool.free_pages(), before);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of frames: minutes under Miri, and nothing that the others lack"
)]
fn memory_of_any_size_is_put_together_from_pieces() {
    let ram = Ram::new(8);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let total = pool.free_pages();
    let mut pieces = Vec::new();
    let mut left = PageCount(3 * 512 + 7);
    while left.0 > 0 {
        let piece = pool.take_up_to(left).unwrap();
        left.0 -= piece.pages().0;
        pieces.push(piece);
    }
    let sizes: Vec<u64> = pieces.iter().map(|piece| piece.pages().0).collect();
    assert_eq!(sizes, [1024, 512, 7]);
    while let Some(piece) = pool.take_up_to(PageCount(u64::MAX)) {
        pieces.push(piece);
    }
    assert_eq!(pool.free_pages(), PageCount(0), "the last frame can be had");
    pieces.into_iter().for_each(|piece| pool.give(piece));
    assert_eq!(pool.free_pages(), total);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of frames: minutes under Miri, and nothing that the others lack"
)]
fn a_block_of_frames_becomes_an_extent_again() {
    let ram = Ram::new(2);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let first: Vec<_> = (0..600).map(|_| pool.take(PageCount(1), PAGE_BYTES).unwrap()).collect();
    assert!(pool.take(PageCount(512), PAGE_BYTES).is_none(), "both blocks hold frames");
    first.into_iter().for_each(|frame| pool.give(frame));
    let extent = pool.take(PageCount(512), PAGE_BYTES).unwrap();
    assert_eq!(extent.base(), Pa(RAM + MIB2));
    pool.give(extent);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of frames: minutes under Miri, and nothing that the others lack"
)]
fn a_run_is_found_in_the_last_open_block_when_memory_is_nearly_gone() {
    let ram = Ram::new(32);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    // Every block becomes one of frames with a single frame free, the last with two in a row.
    let mut kept = Vec::new();
    while let Some(frame) = pool.take(PageCount(1), PAGE_BYTES) {
        kept.push(frame);
    }
    let (free, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|frame| {
        let number = (frame.base().0 - RAM) / PAGE_BYTES;
        number % 512 == 511 || number == 31 * 512 + 510
    });
    free.into_iter().for_each(|frame| pool.give(frame));
    let pair = pool.take(PageCount(2), PAGE_BYTES).unwrap();
    assert_eq!(pair.base(), Pa(RAM + 31 * MIB2 + 510 * PAGE_BYTES));
    assert!(pool.take(PageCount(2), PAGE_BYTES).is_none());
    assert_eq!(kept.len(), 32 * 512 - 33 - 3);
}

#[test]
fn extents_split_by_their_owner_come_back_in_parts() {
    let ram = Ram::new(8);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let total = pool.free_pages();
    let extent = pool.take(PageCount(4 * 512), PAGE_BYTES).unwrap();
    let (head, rest) = extent.split_at(PageCount(100)).unwrap();
    let (middle, tail) = rest.split_at(PageCount(2 * 512 + 412)).unwrap();
    pool.give(middle);
    pool.give(head);
    assert_eq!(pool.free_pages(), PageCount(total.0 - 512));
    pool.give(tail);
    assert_eq!(pool.free_pages(), total);
    assert!(pool.take(PageCount(4 * 512), PAGE_BYTES).is_some(), "the buddies are together again");
}

#[test]
fn neighbours_join_and_strangers_do_not() {
    let ram = Ram::new(4);
    let mut pool = pool(&ram, &[], &[]).unwrap();
    let total = pool.free_pages();
    let (one, two) =
        (pool.take(PageCount(3), 4096).unwrap(), pool.take(PageCount(2), 4096).unwrap());
    let (two, one) = two.join(one).unwrap_err();
    let both = one.join(two).unwrap();
    assert_eq!(both.pages(), PageCount(5));
    let both = both.split_at(PageCount(5)).unwrap_err();
    let both = both.split_at(PageCount(0)).unwrap_err();
    pool.give(both);
    assert_eq!(pool.free_pages(), total);
}

#[test]
fn fixed_ranges_are_adopted_whole_and_once() {
    let ram = Ram::new(4);
    let fixed = [range(MIB2 + 0x3000, 5), range(3 * MIB2, 512)];
    let mut pool = pool(&ram, &[], &fixed).unwrap();
    let total = pool.free_pages();
    assert_eq!(total, PageCount(4 * 512 - 5 - 512 - TABLE_PAGES));
    assert!(pool.adopt(range(3 * MIB2, 511)).is_none(), "a part of a fixed range");
    assert!(pool.adopt(range(0, 0)).is_none());
    let adopted = pool.adopt(fixed[1]).unwrap();
    assert_eq!(adopted.range(), fixed[1]);
    assert!(pool.adopt(fixed[1]).is_none(), "it is out");
    let (one, other) = adopted.split_at(PageCount(1)).unwrap();
    pool.give(other);
    assert!(pool.adopt(fixed[1]).is_none(), "a frame of it is still out");
    pool.give(one);
    assert_eq!(pool.free_pages(), total, "fixed frames do not enter the pool");
    assert!(pool.adopt(fixed[1]).is_some());
}

#[test]
fn wrong_ranges_are_refused_by_name() {
    let ram = Ram::new(2);
    let refused = |reserved: &[FrameRange], fixed: &[FrameRange]| {
        pool(&ram, reserved, fixed).err().map(|error| format!("{error}")).unwrap_or_default()
    };
    let all = ram.range();
    assert_eq!(refused(&[all], &[]), "no 2 free frames in a row for the pool's table");
    let odd = FrameRange { base: Pa(RAM + 8), pages: PageCount(1) };
    assert_eq!(
        refused(&[], &[odd]),
        "pa:0x40000008-0x40001007 is not made of whole frames below 2^52"
    );
    assert_eq!(refused(&[], &[range(2 * MIB2, 1)]), "pa:0x40400000-0x40400fff is not in RAM");
    let (one, two) = (range(0x1000, 2), range(0x2000, 2));
    assert_eq!(
        refused(&[one], &[two]),
        "pa:0x40001000-0x40002fff and pa:0x40002000-0x40003fff overlap"
    );
    assert_eq!(
        refused(&[], &[one, two]),
        "pa:0x40001000-0x40002fff and pa:0x40002000-0x40003fff overlap"
    );
    assert_eq!(refused(&[], &vec![range(0, 1); 33]), "too many fixed ranges of memory");
}

#[test]
fn ram_may_come_in_pieces_in_any_order() {
    let ram = Ram::new(8);
    let make = |ranges: &[FrameRange]| {
        // SAFETY: the RAM is the test's own.
        unsafe { FramePool::new(&ram, ranges, &[], &[]) }.map(|pool| pool.total_pages().0)
    };
    // A hole in the third block, and neighbours that become one: four blocks in a row can be had as one extent.
    let pieces = [
        range(4 * MIB2, 1024),
        range(0, 1024 + 4),
        range(2 * MIB2 + 0x8000, 504),
        range(3 * MIB2, 512),
    ];
    assert_eq!(make(&pieces), Ok(6 * 512 - 4 - TABLE_PAGES));
    assert_eq!(
        make(&[range(0, 9), range(0x8000, 1)]),
        Err(PoolError::Overlap(range(0, 9), range(0x8000, 1)))
    );
    let many: Vec<_> = (0..9).map(|n| range(n * 0x10_000, 8)).collect();
    assert_eq!(make(&many), Err(PoolError::TooMany("ranges of RAM")));
}

#[test]
fn forged_frames_stop_the_machine_with_their_address() {
    let ram = Ram::new(4);
    let message = |forge: &dyn Fn(&mut FramePool<&Ram>) -> FrameRange| {
        let mut pool = pool(&ram, &[range(3 * MIB2, 512)], &[range(0x1000, 1)]).unwrap();
        let forged = forge(&mut pool);
        let start = crate::direct_map::DirectMap::pointer(&&ram, forged.base);
        // SAFETY: not honoured, on purpose: the pool must notice. The memory is the test's own.
        let frames = unsafe { Frames::new(forged, start) };
        let caught = catch_unwind(AssertUnwindSafe(|| pool.give(frames)));
        caught.err().and_then(|e| e.downcast_ref::<String>().cloned()).unwrap_or_default()
    };
    let twice = |pages: u64| {
        message(&move |pool| {
            let frames = pool.take(PageCount(pages), PAGE_BYTES).unwrap();
            let range = frames.range();
            pool.give(frames);
            range
        })
    };
    assert!(twice(1).ends_with("comes back but is not out"), "{}", twice(1));
    assert!(twice(512).ends_with("comes back but is not out"), "{}", twice(512));
    assert!(message(&|_| range(3 * MIB2, 1)).contains("comes back but is not out"), "reserved");
    assert!(message(&|_| range(0x1000, 1)).contains("which is not out"), "a fixed frame");
    assert!(message(&|_| range(0x1000, 2)).contains("which is not out"), "more than a fixed range");
}

#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of frames: minutes under Miri, and nothing that the others lack"
)]
fn building_the_pool_of_a_large_machine_touches_no_free_frame() {
    let ram = Ram::new(64);
    let dirty = |ram: &Ram| {
        let bytes = usize::try_from(ram.range().pages.0 << 12).unwrap();
        let start = crate::direct_map::DirectMap::pointer(&ram, Pa(RAM));
        // SAFETY: the RAM is the test's own, and no pool uses it at this time.
        let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), bytes) };
        bytes.iter().filter(|byte| **byte != 0xa5).count()
    };
    let made = pool(&ram, &[], &[]).map(|pool| pool.free_pages());
    assert_eq!(made, Ok(PageCount(ram.range().pages.0 - 4)));
    assert!(dirty(&ram) <= 4 * 4096, "the table of 64 blocks");
}

/// How many records an operation looks at.
fn looks<'a, T>(
    pool: &mut FramePool<&'a Ram>,
    work: impl FnOnce(&mut FramePool<&'a Ram>) -> T,
) -> (u64, T) {
    let before = pool.table.looks;
    let done = work(pool);
    (pool.table.looks - before, done)
}

/// Every second block of RAM is free, as an extent of its own: what a guest makes that splits its memory block by block.
#[test]
fn a_release_costs_the_same_however_many_extents_lie_free_alone() {
    let cost = |lone: usize| {
        let ram = Ram::untouched(Pa(RAM), (2 * lone).next_power_of_two());
        let mut pool = pool(&ram, &[], &[]).unwrap();
        let mut extents: Vec<_> =
            core::iter::from_fn(|| pool.take(PageCount(512), PAGE_BYTES)).collect();
        extents.sort_by_key(Frames::base);
        let given: Vec<_> =
            (0..extents.len() / 2).map(|at| extents.remove(at)).take(lone).collect();
        given.into_iter().for_each(|extent| pool.give(extent));
        let (last, first) = (extents.pop().unwrap(), extents.remove(0));
        [last, first].map(|extent| looks(&mut pool, |pool| pool.give(extent)).0)
    };
    let (few, many) = (cost(10), cost(if cfg!(miri) { 20 } else { 1000 }));
    assert_eq!(few, many);
    assert!(many.iter().all(|looks| *looks <= 32), "{many:?}");
}

/// Every second frame of every block is free, and no two in a row.
#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of frames: minutes under Miri, and nothing that the others lack"
)]
fn a_piece_costs_the_same_however_many_blocks_have_only_single_frames() {
    let cost = |blocks: usize| {
        let ram = Ram::untouched(Pa(RAM), blocks);
        let mut pool = pool(&ram, &[], &[]).unwrap();
        let frames: Vec<_> = core::iter::from_fn(|| pool.take(PageCount(1), PAGE_BYTES)).collect();
        let (kept, free): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|frame| frame.base().0 & PAGE_BYTES == 0);
        free.into_iter().for_each(|frame| pool.give(frame));
        let (looks, piece) = looks(&mut pool, |pool| pool.take_up_to(PageCount(1023)));
        assert_eq!(piece.map(|piece| piece.pages()), Some(PageCount(1)));
        drop(kept);
        looks
    };
    let (few, many) = (cost(32), cost(1024));
    assert_eq!(few, many);
    assert!(many <= 20, "{many}");
}

/// What a random step does.
#[derive(Clone, Debug)]
enum Step {
    Take { pages: u64, align_shift: u32 },
    Most { pages: u64 },
    Give { which: usize },
    Split { which: usize, at: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let small = prop_oneof![3 => Just(1u64), 3 => 1u64..20, 1 => 1u64..512];
    let extent = (9u32..12).prop_map(|shift| 1u64 << shift);
    let step = prop_oneof![
        4 => (small, 0u32..10).prop_map(|(pages, align_shift)| Step::Take { pages, align_shift }),
        2 => extent.prop_map(|pages| Step::Take { pages, align_shift: 0 }),
        1 => (1u64..3000).prop_map(|pages| Step::Most { pages }),
        5 => (0usize..1000).prop_map(|which| Step::Give { which }),
        2 => (0usize..1000, 1u64..600).prop_map(|(which, at)| Step::Split { which, at }),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 12 } else { 200 })
}

/// Enters frames into the model; fails if one is already out.
fn note(out: &mut BTreeSet<u64>, frames: &Frames) {
    for page in 0..frames.pages().0 {
        assert!(out.insert(frames.base().0 + page * PAGE_BYTES), "{frames:?} overlaps");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 96 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_has_two_owners_and_all_come_back(steps in steps()) {
        let ram = Ram::new(8);
        let kept = [range(0x1000, 3), range(3 * MIB2 + 0x5000, 40)];
        let mut pool = pool(&ram, &kept[..1], &kept[1..]).unwrap();
        let total = pool.free_pages();
        let mut held: Vec<Frames> = Vec::new();
        let mut out = BTreeSet::new();
        for step in steps {
            let taken = match step {
                Step::Take { pages, align_shift } => {
                    let taken = pool.take(PageCount(pages), PAGE_BYTES << align_shift.min(9));
                    if let Some(frames) = &taken {
                        prop_assert_eq!(frames.pages(), PageCount(pages));
                        prop_assert!(frames.base().is_aligned(PAGE_BYTES << align_shift.min(9)));
                    } else if pages == 1 && align_shift == 0 {
                        prop_assert_eq!(pool.free_pages(), PageCount(0));
                    }
                    taken
                }
                Step::Most { pages } => pool.take_up_to(PageCount(pages)),
                Step::Give { which } if !held.is_empty() => {
                    let frames = held.swap_remove(which % held.len());
                    for page in 0..frames.pages().0 {
                        out.remove(&(frames.base().0 + page * PAGE_BYTES));
                    }
                    pool.give(frames);
                    None
                }
                Step::Split { which, at } if !held.is_empty() => {
                    match held.swap_remove(which % held.len()).split_at(PageCount(at)) {
                        Ok((first, rest)) => held.extend([first, rest]),
                        Err(whole) => held.push(whole),
                    }
                    None
                }
                Step::Give { .. } | Step::Split { .. } => None,
            };
            if let Some(mut frames) = taken {
                for kept in kept {
                    prop_assert!(!frames.range().overlaps(kept), "{:?} is reserved", frames);
                }
                note(&mut out, &frames);
                if frames.pages().0 < 8 {
                    frames.zero(&&ram);
                }
                held.push(frames);
            }
            prop_assert_eq!(pool.free_pages().0 + u64::try_from(out.len()).unwrap(), total.0);
        }
        held.into_iter().for_each(|frames| pool.give(frames));
        prop_assert_eq!(pool.free_pages(), total);
        // All of it can be had again, in pieces as large as those of a machine that has just started.
        let all = |pool: &mut FramePool<&Ram>| -> Vec<u64> {
            let pieces = core::iter::from_fn(|| pool.take_up_to(PageCount(u64::MAX)));
            pieces.map(|frames| frames.pages().0).collect()
        };
        let pieces = all(&mut pool);
        prop_assert_eq!(pieces.iter().sum::<u64>(), total.0);
        prop_assert_eq!(pieces, all(&mut self::pool(&ram, &kept[..1], &kept[1..]).unwrap()));
    }
}
