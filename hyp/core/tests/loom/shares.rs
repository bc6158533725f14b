//! Two partitions start at the same time and look for a shared area of the description (V7).

use loom::sync::Arc;
use loom::thread;
use shikiri_abi::PartitionId;
use shikiri_core::frame::AreaNumber;
use shikiri_core::share::{Claim, Place};
use shikiri_sync::atomic::{AtomicU64, Ordering};

/// The area's number: whoever makes one gets that which is free, and that is the one that was there before.
const NUMBER: AreaNumber = AreaNumber(7);

/// What the workers look at.
#[derive(Default)]
struct World {
    claim: Claim,
    /// Who keeps the area with the number, as its books have it, which are looked at under locks; 0: nobody.
    keeper: AtomicU64,
    content: AtomicU64,
}

/// One start's steps, as a worker makes them; whether this one made the area, and who has. None if another one is still making it: the
/// worker comes again.
fn start(world: &World, id: PartitionId, lives: u32) -> Option<(bool, u64)> {
    let own = u64::from(id.0);
    for _ in 0..4 {
        match world.claim.read() {
            (Place::Making(maker), _) if maker == id => {
                world.content.store(own, Ordering::Relaxed);
                world.keeper.store(own, Ordering::Release);
                world.claim.publish(NUMBER, id);
                return Some((true, own));
            }
            // It lives, and makes it.
            (Place::Making(maker), _) if maker.0 < lives => return None,
            (Place::Area(..), seen) => {
                let keeper = world.keeper.load(Ordering::Acquire);
                if keeper == 0 {
                    world.claim.take(seen, id);
                    continue;
                }
                let content = world.content.load(Ordering::Relaxed);
                assert_eq!(content, keeper, "the area is there, and its content is not");
                return Some((false, keeper));
            }
            (Place::Nowhere | Place::Making(_), seen) => world.claim.take(seen, id),
        }
    }
    None
}

fn exactly_one_makes_it(left: impl Fn(&Claim) + Send + Sync + 'static) {
    loom::model(move || {
        let world = Arc::new(World::default());
        left(&world.claim);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || start(&world, PartitionId(2), 5))
        };
        let one = start(&world, PartitionId(1), 5);
        let two = other.join().unwrap();
        let made = [one, two].into_iter().flatten().filter(|(made, _)| *made).count();
        assert_eq!(made, 1, "{one:?} {two:?}");
        let (place, _) = world.claim.read();
        assert!(matches!(place, Place::Area(NUMBER, _)), "it is {place:?}");
        let keeper = world.keeper.load(Ordering::Relaxed);
        assert!([one, two].into_iter().flatten().all(|(_, by)| by == keeper));
    });
}

#[test]
fn of_two_that_start_one_makes_the_area() {
    exactly_one_makes_it(|_| {});
}

/// Somebody has ended while it made the area.
#[test]
fn of_two_that_find_a_dead_makers_word_one_makes_the_area() {
    exactly_one_makes_it(|claim| claim.take(claim.read().1, PartitionId(9)));
}

/// All that had it have ended, and the number is used again: who has seen the old word does not take the new one for it.
#[test]
fn of_two_that_find_a_dead_areas_word_one_makes_the_area() {
    exactly_one_makes_it(|claim| claim.publish(NUMBER, PartitionId(9)));
}
