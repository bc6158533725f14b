//! Address spaces, walked as the core would.

use super::tables::{NOT_EXECUTED, READ_ONLY, VALID};
use super::*;
use crate::FRAME_BYTES;
use crate::testing::{Host, pool};

const DATA: u64 = 0x40_0000;

fn area(start: u64, end: u64, protection: Protection) -> Area {
    Area { start, end, protection, is_shared: false }
}

/// A space with data at 4 MiB and code behind it.
fn space(frames: u32) -> (Pool<Host>, Space) {
    let mut pool = pool(frames);
    let mut space = Space::new(&mut pool, 7).unwrap();
    space.map(&mut pool, area(DATA, DATA + 3 * PAGE, Protection::DATA)).unwrap();
    let code = area(DATA + 3 * PAGE, DATA + 4 * PAGE, Protection::CODE);
    space.map(&mut pool, code).unwrap();
    (pool, space)
}

#[test]
fn bytes_go_across_pages_and_come_back() {
    let (mut pool, mut space) = space(16);
    let text: Vec<u8> = (0..9000_u32).map(|n| (n % 251) as u8).collect();
    space.write(&mut pool, DATA + 100, &text).unwrap();
    let mut back = std::vec![0; 9000];
    space.read(&mut pool, DATA + 100, &mut back).unwrap();
    assert!(back == text);
    assert_eq!(space.resident(), 3);
}

#[test]
fn pages_are_zero_at_first_and_go_back_in_the_end() {
    let (mut pool, mut space) = space(16);
    let mut bytes = [1; 16];
    space.read(&mut pool, DATA + PAGE, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 16]);
    space.end(&mut pool);
    assert_eq!(pool.free(), 16);
}

#[test]
fn what_is_not_allowed_is_efault() {
    let (mut pool, mut space) = space(16);
    let code = DATA + 3 * PAGE;
    let mut byte = [0];
    assert_eq!(space.write(&mut pool, code, &[1]), Err(Errno::EFAULT));
    assert_eq!(space.read(&mut pool, code, &mut byte), Ok(()));
    for bad in [0, 8, DATA - 1, code + PAGE, USER_END, u64::MAX, 0xffff_ff80_4000_0000] {
        assert_eq!(space.read(&mut pool, bad, &mut byte), Err(Errno::EFAULT), "{bad:#x}");
        assert_eq!(space.write(&mut pool, bad, &byte), Err(Errno::EFAULT), "{bad:#x}");
    }
    assert_eq!(space.write(&mut pool, code - 1, &[1, 2]), Err(Errno::EFAULT));
    assert_eq!(space.touch(&mut pool, DATA, Access::Execute), Err(Errno::EFAULT));
    assert_eq!(space.check(&mut pool, DATA, u64::MAX, Access::Read), Err(Errno::EFAULT));
    assert!(space.touch(&mut pool, code, Access::Execute).is_ok());
    // The loader may.
    assert_eq!(space.fill(&mut pool, code, &[1]), Ok(()));
}

#[test]
fn nothing_is_written_and_executed() {
    assert_eq!(Protection::from_bits(7), Err(Errno::EACCES));
    assert_eq!(Protection::from_bits(6), Err(Errno::EACCES));
    assert_eq!(Protection::from_bits(8), Err(Errno::EINVAL));
    for bits in [0, 1, 2, 3, 4, 5] {
        let entry = Protection::from_bits(bits).unwrap().leaf(0x4000_1000);
        let is_written = entry & READ_ONLY == 0;
        let is_executed = entry & NOT_EXECUTED == 0;
        assert!(!(is_written && is_executed), "{bits}");
        assert_eq!(entry & VALID != 0, bits != 0);
        assert_ne!(entry & (1 << 53), 0, "the kernel would execute it");
    }
}

#[test]
fn a_change_of_protection_reaches_the_tables() {
    let (mut pool, mut space) = space(16);
    space.write(&mut pool, DATA, b"x").unwrap();
    space.protect(&mut pool, DATA, DATA + PAGE, Protection::default()).unwrap();
    assert_eq!(pool.memory.forgotten, [(7, DATA)]);
    assert_eq!(space.read(&mut pool, DATA, &mut [0]), Err(Errno::EFAULT));
    let (table, index) = space.leaf_table(&pool, DATA).unwrap();
    assert_eq!(pool.memory.read_entry(table, index) & VALID, 0);
    space.protect(&mut pool, DATA, DATA + 2 * PAGE, Protection::DATA).unwrap();
    let mut byte = [0];
    space.read(&mut pool, DATA, &mut byte).unwrap();
    assert_eq!(byte, *b"x");
    assert_eq!(
        space.protect(&mut pool, DATA, DATA + 5 * PAGE, Protection::DATA),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn a_hole_splits_an_area_and_its_pages_are_gone() {
    let (mut pool, mut space) = space(16);
    space.write(&mut pool, DATA, &[7; 3 * FRAME_BYTES]).unwrap();
    let free = pool.free();
    space.unmap(&mut pool, DATA + PAGE, DATA + 2 * PAGE).unwrap();
    assert_eq!(pool.free(), free + 1);
    assert_eq!(space.areas().len(), 3);
    assert_eq!(space.read(&mut pool, DATA + PAGE, &mut [0]), Err(Errno::EFAULT));
    let again = area(DATA + PAGE, DATA + 2 * PAGE, Protection::DATA);
    space.map(&mut pool, again).unwrap();
    assert_eq!(space.areas().len(), 2, "neighbours that are alike are one");
    let mut byte = [1];
    space.read(&mut pool, DATA + PAGE, &mut byte).unwrap();
    assert_eq!(byte, [0], "a page that was taken away comes back empty");
}

#[test]
fn ranges_that_are_none_are_refused() {
    let (mut pool, mut space) = space(16);
    for (start, end) in [(DATA, DATA), (DATA + 1, DATA + PAGE), (DATA, USER_END + PAGE), (PAGE, 0)]
    {
        let result = space.map(&mut pool, area(start, end, Protection::DATA));
        assert_eq!(result, Err(Errno::EINVAL), "{start:#x} {end:#x}");
    }
    let null = space.map(&mut pool, area(0, PAGE, Protection::DATA));
    assert_eq!(null, Err(Errno::EPERM));
}

#[test]
fn room_is_found_below_what_is_there() {
    let (mut pool, mut space) = space(16);
    let first = space.find_room(PAGE).unwrap();
    assert_eq!(first, MAPPINGS_END - PAGE);
    space.map(&mut pool, area(first, first + PAGE, Protection::DATA)).unwrap();
    assert_eq!(space.find_room(2 * PAGE), Some(first - 2 * PAGE));
    assert_eq!(space.find_room(USER_END), None);
    assert_eq!(space.find_room(u64::MAX), None);
}

#[test]
fn a_fork_copies_what_is_private_and_shares_what_is_shared() {
    let (mut pool, mut space) = space(32);
    let shared = DATA + 16 * PAGE;
    let both = Area { is_shared: true, ..area(shared, shared + PAGE, Protection::DATA) };
    space.map(&mut pool, both).unwrap();
    space.write(&mut pool, DATA, b"one").unwrap();
    space.write(&mut pool, shared, b"one").unwrap();
    let mut child = space.fork(&mut pool, 8).unwrap();
    child.write(&mut pool, DATA, b"two").unwrap();
    child.write(&mut pool, shared, b"two").unwrap();
    let mut seen = [[0; 3]; 2];
    space.read(&mut pool, DATA, &mut seen[0]).unwrap();
    space.read(&mut pool, shared, &mut seen[1]).unwrap();
    assert_eq!(seen, [*b"one", *b"two"]);
    child.end(&mut pool);
    space.end(&mut pool);
    assert_eq!(pool.free(), 32);
}

#[test]
fn a_fork_without_memory_leaves_nothing() {
    for frames in 4..14 {
        let (mut pool, mut space) = space(frames);
        if space.write(&mut pool, DATA, &[7; 3 * FRAME_BYTES]).is_err() {
            continue;
        }
        let free = pool.free();
        if space.fork(&mut pool, 8).map(|child| child.end(&mut pool)).is_err() {
            assert!(free < 6, "{free} frames are enough");
        }
        assert_eq!(pool.free(), free);
    }
}

#[test]
fn areas_are_bounded() {
    let (mut pool, mut space) = space(16);
    let mut last = Ok(());
    for n in 0..2000 {
        let start = 0x1000_0000 + n * 2 * PAGE;
        last = space.map(&mut pool, area(start, start + PAGE, Protection::DATA));
    }
    assert_eq!(last, Err(Errno::ENOMEM));
    assert_eq!(space.areas().len(), MOST_AREAS);
}
