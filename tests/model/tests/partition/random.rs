//! Partitions of random shapes, which come and go.

use super::{build, bundle, check_partition, frames_free, image, mapped, partition, program};
use proptest::prelude::*;
use shikiri_abi::{CoreId, CoreSet, PAGE_BYTES, Pa, PageCount};
use shikiri_config::{PartitionSpec, Place};
use shikiri_model::machine::{Machine, RAM_BASE};
use shikiri_pages::FrameRange;

/// A partition: regions (pages, how many the guest address is above 2 MiB, whether it has a place), and the length
/// of its image.
type Shape = (Vec<(u64, u64, bool)>, usize);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let region = (1..900_u64, 0..600_u64, any::<bool>());
    let spec = (proptest::collection::vec(region, 1..4), 1..9000_usize);
    proptest::collection::vec(spec, 1..4)
}

proptest! {
    #![proptest_config(shikiri_model::cases(48))]

    /// Partitions of random shapes come and go in random order in memory that others have holes in: each gets
    /// exactly its description, no two share a frame, and in the end everything is back.
    #[test]
    #[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
    fn random_partitions_come_and_go(
        shapes in shapes(),
        order in proptest::collection::vec(0..4_u8, 1..12),
        holes in 1..7_u64,
    ) {
        let mut place = RAM_BASE + (16 << 20);
        let mut blobs = Vec::new();
        let specs: Vec<PartitionSpec> = shapes.into_iter().enumerate().map(|(number, (regions, length))| {
            let mut memory = Vec::new();
            for (at, (pages, offset, is_placed)) in (1..).zip(regions) {
                let ipa = (at << 32) + (offset << 12);
                let fits = is_placed && place + pages * PAGE_BYTES <= RAM_BASE + (32 << 20);
                let there = if fits { Place::At(Pa(place)) } else { Place::Any };
                if fits {
                    place += pages * PAGE_BYTES;
                }
                memory.push((ipa, pages * PAGE_BYTES, there));
            }
            let mut spec = partition(&format!("p{number}"), &memory);
            let core = CoreId(number as u8 % 2);
            spec.vcpus[0].home = core;
            spec.vcpus[0].cores = CoreSet::one(core);
            let room = memory[0].1 as usize;
            blobs.push(program(length.min(room)));
            spec.images = vec![image(number, memory[0].0)];
            spec
        }).collect();
        let count = specs.len();
        let bundle = bundle(specs, blobs, |_| ());
        let reserved = [FrameRange { base: Pa(RAM_BASE + 0x3000), pages: PageCount(17) }];
        let machine = Machine::new(32, &bundle, &reserved);
        let before = frames_free(&machine);
        let (kept, given): (Vec<_>, Vec<_>) = machine.hoard(before - 900).into_iter()
            .partition(|frames| (frames.base().0 / PAGE_BYTES) % holes == 1);
        machine.give(given);
        let mut living: Vec<Option<_>> = (0..count).map(|_| None).collect();
        for index in order {
            let index = usize::from(index) % count;
            match living[index].take() {
                Some(holdings) => machine.end(holdings),
                None => living[index] = Some(build(&machine, &bundle, index as u8)),
            }
            machine.audit(living.iter().flatten()).unwrap();
            let all = living.iter().flatten().flat_map(|holdings| mapped(&machine, holdings).into_values());
            let mut frames: Vec<_> = all.map(|(pa, _)| pa).filter(|pa| *pa >= RAM_BASE).collect();
            let number = frames.len();
            frames.sort_unstable();
            frames.dedup();
            prop_assert_eq!(frames.len(), number, "a frame is shared");
        }
        for (index, holdings) in (0..).zip(&living) {
            if let Some(holdings) = holdings {
                check_partition(&machine, &bundle, index, holdings);
            }
        }
        living.into_iter().flatten().for_each(|holdings| machine.end(holdings));
        machine.give(kept);
        prop_assert_eq!(frames_free(&machine), before);
    }
}
