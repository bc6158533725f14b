//! B1, one side at a time; two at a time in `tests/loom.rs`, against a model in `tests/properties.rs`.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::source::Carve;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn a_count_out_of_range_is_refused_and_nothing_is_written_b1() {
    let words = words(10_000);
    let area = Area::new(&words);
    assert_eq!(Pool::create(area, MAX_BUFFERS + 1, 8).err(), Some(PoolError::Count));
    assert_eq!(Pool::create(area, 1, 0).err(), Some(PoolError::Size));
    assert_eq!(Pool::create(area, 1, 80_000).err(), Some(PoolError::Area));
    assert_eq!(Pool::create(area, usize::MAX, usize::MAX - 8).err(), Some(PoolError::Count));
    assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    for count in [u64::MAX, 4097, 1 << 32] {
        words[0].store(count, Ordering::Relaxed);
        assert_eq!(Pool::attach(area, 8).err(), Some(PoolError::Count));
    }
    words[0].store(4096, Ordering::Relaxed);
    assert_eq!(Pool::attach(area.part(0, 8192).unwrap(), 8).err(), Some(PoolError::Area));
    assert!(Pool::attach(area.part(0, 8193).unwrap(), 8).is_ok());
}

#[test]
fn zero_buffers_means_none_b1() {
    let words = words(1);
    let pool = Pool::create(Area::new(&words), 0, DEFAULT_BUFFER_BYTES).unwrap();
    assert_eq!((pool.count(), pool.take().err()), (0, Some(TakeError::NoBuffer)));
    assert_eq!(pool.take_for_request().err(), Some(TakeError::NoBuffer));
    assert_eq!(Pool::attach(Area::new(&[]), 8).err(), Some(PoolError::Area));
}

#[test]
fn the_first_free_buffer_is_taken_and_the_table_is_as_specified_b1() {
    let words = words(7 + 3 * 2);
    let pool = Pool::create(Area::new(&words), 3, 16).unwrap();
    let table = || words[..7].iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert_eq!(table(), [3, 1, 56, 1, 72, 1, 88]);
    let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
    assert_eq!((first.reference(), second.reference()), (Reference(56), Reference(72)));
    assert_eq!(table(), [3, 0, 56, 0, 72, 1, 88]);
    drop(first);
    assert_eq!(table(), [3, 1, 56, 0, 72, 1, 88]);
    assert_eq!(pool.take().unwrap().hand_over(), Reference(56), "first fit");
    assert_eq!(pool.in_use(), 2);
    let third = pool.take().unwrap();
    assert_eq!(pool.take().err(), Some(TakeError::NoBuffer));
    assert_eq!((third.give_back(), second.give_back()), (Ok(()), Ok(())));
    assert_eq!((pool.in_use(), pool.faults()), (1, 0));
}

#[test]
fn requests_leave_the_last_of_several_buffers_to_the_replies() {
    for (count, for_requests) in [(0, 0), (1, 1), (2, 1), (5, 4)] {
        let words = words(1 + 3 * count);
        let pool = Pool::create(Area::new(&words), count, 8).unwrap();
        let mut taken = 0;
        while let Ok(buffer) = pool.take_for_request() {
            buffer.hand_over();
            taken += 1;
        }
        assert_eq!(taken, for_requests);
        assert_eq!(pool.take().is_ok(), count > 1);
    }
}

#[test]
fn an_absent_reference_and_a_double_release_are_noticed_b1() {
    let words = words(5 + 2 * 640);
    let pool = Pool::create(Area::new(&words), 2, DEFAULT_BUFFER_BYTES).unwrap();
    let reference = pool.take().unwrap().hand_over();
    for absent in [0, 8, 39, 41, 48, 40 + 5119, 40 + 2 * 5120, u32::MAX, u32::MAX - 7] {
        assert_eq!(pool.release(Reference(absent)), Err(ReleaseError::Absent));
        assert_eq!(pool.adopt(Reference(absent)).err(), Some(ReleaseError::Absent));
    }
    assert_eq!(pool.release(reference), Ok(()));
    assert_eq!(pool.release(reference), Err(ReleaseError::AlreadyFree));
    assert_eq!(pool.adopt(reference).err(), Some(ReleaseError::AlreadyFree));
    assert_eq!(pool.in_use(), 0);
    // A buffer that the peer has given back meanwhile.
    let peer = Pool::attach(Area::new(&words), DEFAULT_BUFFER_BYTES).unwrap();
    let buffer = pool.take().unwrap();
    assert_eq!(pool.release(buffer.reference()), Err(ReleaseError::Held));
    assert_eq!(peer.release(buffer.reference()), Ok(()));
    drop(buffer);
    assert_eq!((pool.faults(), pool.in_use()), (1, 0));
}

#[test]
fn a_flag_that_the_peer_sets_gives_no_buffer_out_twice_b1() {
    let words = words(5 + 2);
    let pool = Pool::create(Area::new(&words), 2, 8).unwrap();
    let flags = |value| [1, 3].map(|flag: usize| words[flag].store(value, Ordering::Relaxed));
    let first = pool.take().unwrap();
    flags(FREE);
    let second = pool.take().unwrap();
    assert_ne!(first.reference(), second.reference());
    assert_eq!((pool.faults(), pool.in_use()), (1, 2), "what is ours is taken again");
    for rubbish in [FREE, 2, u64::MAX] {
        flags(rubbish);
        assert_eq!(pool.take().err(), Some(TakeError::NoBuffer));
    }
    // A number that comes again, and one of a buffer that was never handed over.
    for held in [first.reference(), second.reference()] {
        flags(TAKEN);
        assert_eq!(pool.adopt(held).err(), Some(ReleaseError::Held));
    }
    assert_eq!((first.give_back(), second.give_back()), (Ok(()), Ok(())));
    let reference = pool.take().unwrap().hand_over();
    let adopted = pool.adopt(reference).unwrap();
    assert_eq!(pool.adopt(reference).err(), Some(ReleaseError::Held));
    assert_eq!((adopted.give_back(), pool.in_use()), (Ok(()), 0));
}

#[test]
fn what_one_side_hands_over_the_other_adopts() {
    let words = words(3 + 2);
    let ours = Pool::create(Area::new(&words), 1, 10).unwrap();
    let theirs = Pool::attach(Area::new(&words), 10).unwrap();
    let mut buffer = ours.take().unwrap();
    assert_eq!(buffer.write(b"seventeen bytes.."), None);
    assert_eq!(buffer.write(b"ten bytes."), Some(()));
    let reference = buffer.hand_over();
    let buffer = theirs.adopt(reference).unwrap();
    let mut copy = [0; 10];
    assert_eq!(buffer.read(&mut copy), Some(()));
    assert_eq!(&copy, b"ten bytes.");
    assert_eq!(ours.take().err(), Some(TakeError::NoBuffer));
    drop(buffer);
    assert!(ours.take().is_ok());
}

#[test]
fn memory_comes_at_the_first_use_and_once_b1() {
    let words = words(7 + 4);
    let cursor = AtomicU64::new(0);
    let source = Carve::new(&cursor, 56, 56 + 32);
    let pool = Pool::create_lazy(Area::new(&words), 3, 16, &source).unwrap();
    assert_eq!(pool.filled(), 0);
    drop(pool.take().unwrap());
    drop(pool.take().unwrap());
    assert_eq!(pool.filled(), 1, "the first one again, with the memory that it had");
    let held = (pool.take().unwrap(), pool.take().unwrap());
    assert_eq!((pool.filled(), pool.take().err()), (2, Some(TakeError::NoMemory)));
    assert_eq!(pool.in_use(), 2, "what got no memory is free");
    drop(held.1);
    assert_eq!(pool.take().unwrap().reference(), Reference(72));
    // The other side, without a source, takes what has memory.
    let other = Pool::attach(Area::new(&words), 16).unwrap();
    assert_eq!(other.take().unwrap().reference(), Reference(72));
}

#[test]
fn an_entry_that_leads_outside_is_passed_over_and_counted() {
    let words = words(5 + 2 * 2);
    let pool = Pool::create(Area::new(&words), 2, 16).unwrap();
    for outside in [8, 32, 44, 64, 72, 1 << 33, u64::MAX] {
        words[2].store(outside, Ordering::Relaxed);
        let before = pool.faults();
        assert_eq!(pool.take().unwrap().reference(), Reference(56));
        assert_eq!((pool.faults(), pool.in_use()), (before + 1, 0));
    }
    // A reference that changes under a taken buffer: it is looked for, and found nowhere.
    let buffer = pool.take().unwrap();
    words[4].store(40, Ordering::Relaxed);
    assert_eq!(buffer.give_back(), Err(ReleaseError::Absent));
}
