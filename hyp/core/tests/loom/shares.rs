//! Two partitions start at the same time and look for a shared area of the description (V7).

use loom::sync::Arc;
use loom::thread;
use shikiri_abi::PartitionId;
use shikiri_core::frame::AreaNumber;
use shikiri_core::share::{Claim, Place};
use shikiri_sync::atomic::{AtomicU64, Ordering};

/// The area's number: that of whoever made it.
fn number(id: PartitionId) -> AreaNumber {
    AreaNumber(u16::try_from(id.0).unwrap())
}

/// One start's steps, as a worker makes them; whether this one made the area, or the maker's number if it found it complete. None if
/// another one is still making it: the worker comes again.
fn start(claim: &Claim, content: &AtomicU64, id: PartitionId, lives: u32) -> Option<(bool, u16)> {
    for _ in 0..3 {
        match claim.read() {
            (Place::Making(maker), _) if maker == id => {
                content.store(u64::from(id.0), Ordering::Relaxed);
                claim.publish(number(id));
                return Some((true, number(id).0));
            }
            // It lives, and makes it.
            (Place::Making(maker), _) if maker.0 < lives => return None,
            (Place::Area(AreaNumber(there)), _) => {
                let seen = content.load(Ordering::Relaxed);
                assert_eq!(seen, u64::from(there), "the area is there, and its content is not");
                return Some((false, there));
            }
            (Place::Nowhere | Place::Making(_), seen) => claim.take(seen, id),
        }
    }
    None
}

fn exactly_one_makes_it(left_by: Option<PartitionId>) {
    loom::model(move || {
        let shared = Arc::new((Claim::default(), AtomicU64::new(0)));
        if let Some(dead) = left_by {
            let (_, seen) = shared.0.read();
            shared.0.take(seen, dead);
        }
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || start(&shared.0, &shared.1, PartitionId(2), 5))
        };
        let one = start(&shared.0, &shared.1, PartitionId(1), 5);
        let two = other.join().unwrap();
        let made = [one, two].into_iter().flatten().filter(|(made, _)| *made).count();
        assert_eq!(made, 1, "{one:?} {two:?}");
        let (place, _) = shared.0.read();
        let Place::Area(AreaNumber(there)) = place else { panic!("it is {place:?}") };
        assert!([one, two].into_iter().flatten().all(|(_, number)| number == there));
    });
}

#[test]
fn of_two_that_start_one_makes_the_area() {
    exactly_one_makes_it(None);
}

/// Somebody has ended while it made the area.
#[test]
fn of_two_that_find_a_dead_makers_word_one_makes_the_area() {
    exactly_one_makes_it(Some(PartitionId(9)));
}
