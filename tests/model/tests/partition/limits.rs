//! What is refused when a partition is built: limits, memory that is full or in pieces, images and devices that cannot be.

use super::{
    GICV, MIB, build, bundle, check_partition, device, frames_free, image, parsed, partition,
    program, rich, rich_blobs, used,
};
use shikiri_abi::{Ipa, PAGE_BYTES, Pa, RESOURCE_COUNT, Resource};
use shikiri_config::{Bundle, BundleError, DeviceSpec, ImageKind, Place};
use shikiri_core::account::OverLimit;
use shikiri_core::partition::BuildError;
use shikiri_model::machine::{Machine, RAM_BASE};
use shikiri_pages::Frames;
use shikiri_stage2::MapError;

/// A failed build, torn down; why it failed.
fn refused(machine: &Machine, bundle: &Bundle<'_>) -> BuildError {
    let before = machine.store.free_pages();
    let (holdings, result) = machine.build(bundle, 0, Some(GICV));
    assert!(!holdings.is_complete());
    machine.end(holdings);
    machine.audit([]).unwrap();
    assert_eq!(machine.store.free_pages(), before);
    result.unwrap_err()
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a build for each limit: long under Miri, and the other tests build the same"
)]
fn each_limit_on_management_memory_below_the_need_is_refused_and_leaves_nothing() {
    let with_limit = |limit| {
        let mut spec = rich();
        spec.limits[usize::from(Resource::ManagementMemory.number())] = Some(limit);
        bundle(vec![spec], rich_blobs(), |_| ())
    };
    for limit in 0..11 {
        let bundle = with_limit(limit);
        let machine = Machine::new(32, &bundle, &[]);
        let error = refused(&machine, &bundle);
        let resource = Resource::ManagementMemory;
        assert!(
            matches!(error, BuildError::OverLimit(OverLimit { resource: of, limit: Some(at), .. })
                if of == resource && at == limit),
            "{limit}: {error}"
        );
    }
    let bundle = with_limit(11);
    let machine = Machine::new(32, &bundle, &[]);
    machine.end(build(&machine, &bundle, 0));
}

#[test]
fn a_limit_on_address_space_counts_the_devices_of_its_own() {
    let mut spec = rich();
    let memory = 8 * 256 + 3;
    for (limit, is_enough) in [(memory + 2, false), (memory + 3, true)] {
        spec.limits = [None; RESOURCE_COUNT];
        spec.limits[usize::from(Resource::IpaSpace.number())] = Some(limit);
        match parsed(vec![spec.clone()], rich_blobs(), |_| ()) {
            Ok(bundle) => {
                assert!(is_enough);
                let machine = Machine::new(32, &bundle, &[]);
                machine.end(build(&machine, &bundle, 0));
            }
            Err(BundleError::Limit { resource, limit: said, given, .. }) => {
                assert!(!is_enough);
                assert_eq!((resource, said, given), (Resource::IpaSpace, limit, memory + 3));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn a_machine_that_is_full_refuses_wherever_the_last_frame_is_missing() {
    let mut spec = partition("small", &[(0x4000_0000, 37 * PAGE_BYTES, Place::Any)]);
    spec.images = vec![image(0, 0x4000_0000)];
    let bundle = bundle(vec![spec], vec![program(5000)], |_| ());
    let machine = Machine::new(4, &bundle, &[]);
    // 37 frames, a list, a root, and two tables each for the memory and the interrupt controller's page.
    let need = 37 + 1 + 2 + 2 + 2;
    let hoard = machine.hoard(need);
    for left in 0..need {
        let more = machine.hoard(left);
        let error = refused(&machine, &bundle);
        assert!(matches!(error, BuildError::NoMemory(_)), "{left} frames: {error}");
        machine.give(more);
    }
    machine.end(build(&machine, &bundle, 0));
    machine.give(hoard);
}

#[test]
#[cfg_attr(miri, ignore = "takes a thousand frames one by one: long under Miri")]
fn in_the_most_fragmented_memory_there_are_frames_enough_for_list_and_tables() {
    // Every second pair of frames is taken: no run is longer than two.
    let spec = partition("patchwork", &[(0x4000_1000, 3 * MIB, Place::Any)]);
    let bundle = bundle(vec![spec], vec![], |_| ());
    let machine = Machine::new(8, &bundle, &[]);
    let before = frames_free(&machine);
    let (kept, given): (Vec<Frames>, Vec<Frames>) =
        machine.hoard(0).into_iter().partition(|frames| (frames.base().0 / PAGE_BYTES) % 4 < 2);
    machine.give(given);
    let holdings = build(&machine, &bundle, 0);
    machine.audit([&holdings]).unwrap();
    check_partition(&machine, &bundle, 0, &holdings);
    assert!(holdings.extents().count() >= 384, "it was fragmented");
    machine.end(holdings);
    machine.give(kept);
    assert_eq!(frames_free(&machine), before);
}

#[test]
fn memory_at_unlike_addresses_gets_the_tables_that_it_needs() {
    let at = Place::At(Pa(RAM_BASE + 8 * MIB + PAGE_BYTES));
    let bundle = bundle(vec![partition("unlike", &[(0x4000_0000, 16 * MIB, at)])], vec![], |_| ());
    let machine = Machine::new(32, &bundle, &[]);
    let holdings = build(&machine, &bundle, 0);
    check_partition(&machine, &bundle, 0, &holdings);
    assert_eq!(used(&holdings, Resource::ManagementMemory), 1 + 2 + 1 + 8 + 2);
    machine.end(holdings);
}

#[test]
#[cfg_attr(miri, ignore = "damages an image far from its end, and images are small under Miri")]
fn a_damaged_image_is_refused() {
    for (at_end, damaged) in [(5, ImageKind::Initrd), (100_000, ImageKind::Program)] {
        let mut spec = rich();
        spec.images[1].kind = ImageKind::Initrd;
        let bundle = bundle(vec![spec], rich_blobs(), |bytes| {
            let length = bytes.len();
            bytes[length - at_end] ^= 0x10;
        });
        let machine = Machine::new(32, &bundle, &[]);
        assert_eq!(refused(&machine, &bundle), BuildError::Damaged(damaged));
    }
}

#[test]
fn a_device_in_ram_is_refused() {
    for pa in [RAM_BASE, RAM_BASE - PAGE_BYTES, RAM_BASE + 32 * MIB - PAGE_BYTES] {
        let mut spec = partition("thief", &[(0x8000_0000, MIB, Place::Any)]);
        spec.devices = vec![device(0x0a00_0000, pa, 2 * PAGE_BYTES, "/ram")];
        let bundle = bundle(vec![spec], vec![], |_| ());
        let machine = Machine::new(32, &bundle, &[]);
        assert_eq!(refused(&machine, &bundle), BuildError::DeviceIsRam(Pa(pa)));
    }
}

/// The bundle's rules know nothing of the core's address size. What is kept back is not mapped until it is granted: it is refused all
/// the same when the partition is built, since a grant cannot fail (P8).
#[test]
fn a_device_that_no_core_reaches_is_refused_before_it_is_asked_for() {
    for is_kept in [false, true] {
        let mut spec = partition("far", &[(0x8000_0000, MIB, Place::Any)]);
        let far = device(0x0a00_0000, (1 << 44) - PAGE_BYTES, 2 * PAGE_BYTES, "/far");
        spec.devices = vec![DeviceSpec { is_kept, ..far }];
        let bundle = bundle(vec![spec], vec![], |_| ());
        let machine = Machine::new(32, &bundle, &[]);
        let error = BuildError::Map(Ipa(0x0a00_0000), MapError::Range);
        assert_eq!(refused(&machine, &bundle), error);
    }
}

#[test]
fn addresses_that_need_too_many_tables_are_refused_with_their_number() {
    let mut spec = partition("window", &[(0x4000_0000, MIB, Place::Any)]);
    // The root, a table per GiB and one per 2 MiB of the window; two for the memory, two for the controller's page.
    let bytes = 1016 * 2 * MIB + PAGE_BYTES;
    spec.devices = vec![device(0x10_0000_0000, 0x20_0000_1000, bytes, "/window")];
    let bundle = bundle(vec![spec], vec![], |_| ());
    let machine = Machine::new(32, &bundle, &[]);
    assert_eq!(refused(&machine, &bundle), BuildError::TooManyTables(1025));
}
