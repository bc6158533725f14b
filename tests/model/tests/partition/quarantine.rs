//! Memory that a bus master could still write: it is nobody else's.

use super::{MIB, build, bundle, check_partition, device, partition};
use shikiri_abi::{PAGE_BYTES, Pa, PartitionSlot};
use shikiri_config::{Bundle, DeviceSpec, Place};
use shikiri_core::frame::{FrameState, Refusal};
use shikiri_core::partition::{BuildError, Holdings};
use shikiri_model::machine::{DIRT, Machine, RAM_BASE};

/// A partition with a device that masters the bus, and one that would like its memory.
fn dma_bundle() -> Bundle<'static> {
    let base = RAM_BASE + 8 * MIB + 5 * PAGE_BYTES;
    let mut spec = partition("dma", &[(base, 3 * MIB, Place::At(Pa(base)))]);
    spec.devices = vec![DeviceSpec {
        dma_trusted: true,
        ..device(0x0a00_0000, 0x0a00_0000, PAGE_BYTES, "/master")
    }];
    bundle(vec![spec, partition("other", &[(0x4000_0000, 4 * MIB, Place::Any)])], vec![], |_| ())
}

#[test]
fn what_a_bus_master_could_write_is_quarantined_until_its_own_partition_comes_back() {
    let bundle = dma_bundle();
    let machine = Machine::new(32, &bundle, &[]);
    let base = bundle.partition(0).unwrap().memory().next().unwrap().ipa;
    let (slot, last) = (PartitionSlot(0), Pa(base.0 + 3 * MIB - PAGE_BYTES));
    for _ in 0..3 {
        let holdings = build(&machine, &bundle, 0);
        check_partition(&machine, &bundle, 0, &holdings);
        assert_eq!(machine.state(last), FrameState::Private(slot));
        machine.ram.scribble(last, PAGE_BYTES, DIRT);
        machine.end(holdings);
        assert_eq!(machine.state(Pa(base.0)), FrameState::Quarantined(slot));
        assert_eq!(machine.state(last), FrameState::Quarantined(slot));
        let other = build(&machine, &bundle, 1);
        machine.audit([&other]).unwrap();
        machine.end(other);
        machine.audit([]).unwrap();
    }
}

#[test]
fn quarantined_frames_are_nobody_elses_even_at_the_same_place() {
    let bundle = dma_bundle();
    let machine = Machine::new(32, &bundle, &[]);
    machine.end(build(&machine, &bundle, 0));
    // Another bundle's first partition under another slot asks for the very same frames.
    let base = bundle.partition(0).unwrap().memory().next().unwrap().ipa;
    let wants = vec![
        partition("nothing", &[(0x4000_0000, PAGE_BYTES, Place::Any)]),
        partition("thief", &[(0x4000_0000, 3 * MIB, Place::At(Pa(base.0)))]),
    ];
    let thief = self::bundle(wants, vec![], |_| ());
    let (holdings, result) = machine.build(&thief, 1, None);
    let found = FrameState::Quarantined(PartitionSlot(0));
    let refusal = Refusal::WrongState { frame: Pa(base.0), found, wanted: FrameState::Free };
    assert_eq!(result, Err(BuildError::NotItsOwn(refusal)));
    machine.end(holdings);
    assert_eq!(machine.state(Pa(base.0)), found);
    machine.end(build(&machine, &bundle, 0));
}

#[test]
fn memory_that_a_living_partition_has_cannot_be_had_twice() {
    let bundle = dma_bundle();
    let machine = Machine::new(32, &bundle, &[]);
    let first = build(&machine, &bundle, 0);
    let base = bundle.partition(0).unwrap().memory().next().unwrap().ipa;
    let (second, result) = machine.build(&bundle, 0, None);
    assert_eq!(result, Err(BuildError::NotFree(Pa(base.0))));
    // The slot still has what the first one has.
    drop_failed(&machine, second);
    machine.audit([&first]).unwrap();
    machine.end(first);
}

/// Takes a failed build apart whose slot lives on elsewhere.
fn drop_failed(machine: &Machine, mut holdings: Holdings) {
    while !holdings.tear_down(&machine.ram, &machine.ram, &machine.store) {}
    assert!(holdings.account().is_zero());
}
