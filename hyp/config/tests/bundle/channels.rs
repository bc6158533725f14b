//! Message channels of the description: written, read back, and each rule broken once.

use shikiri_abi::AreaClass;
use shikiri_config::{Bundle, PartitionSet, Places, SystemSpec, Windows, crc32, write};

use crate::sample::{channel, refusal, system};

/// The sample with two channels, and just enough of everything for them; the second partition has events and a shared area, too.
fn connected() -> SystemSpec {
    let mut system = system();
    system.channels =
        vec![channel("talk", [(0, 2, 80), (1, 3, 80)]), channel("more", [(1, 0, 81), (0, 1, 81)])];
    system.channels[1].class = AreaClass::Block;
    for (partition, handles, pages, blocks, shared) in
        [(0, 3 + 7, 6, 1, 0), (1, 3 + 1 + 7, 7, 1, 1)]
    {
        let partition = &mut system.partitions[partition];
        partition.talk.handles = handles;
        partition.windows = Windows { pages, blocks, giants: 0, channels: 2, shared };
    }
    system
}

fn refused(change: impl FnOnce(&mut SystemSpec), expected: &str) {
    let mut system = connected();
    change(&mut system);
    assert_eq!(refusal(&system), expected);
}

#[test]
fn channels_come_back_as_they_were_written_and_lie_in_known_places() {
    let spec = connected();
    let bytes = write(&spec);
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let read: Vec<_> = bundle.channels().collect();
    assert_eq!(read.len(), 2);
    for (read, written) in read.iter().zip(&spec.channels) {
        assert_eq!((read.name, read.class), (&*written.name, written.class));
        for (read, written) in read.ends.iter().zip(&written.ends) {
            let numbers = (read.partition, read.slots, read.intid.0, read.vcpu.0);
            let partition = usize::from(written.partition);
            assert_eq!(numbers, (partition, written.slots, written.intid, written.vcpu));
        }
    }
    let places = |partition, channels| bundle.places(partition, channels);
    assert_eq!(places(0, 0), Places { handles: 3, slots: [0; 3], ports: 0 });
    assert_eq!(places(0, 1), Places { handles: 7, slots: [4, 0, 0], ports: 1 });
    assert_eq!(places(0, 2), Places { handles: 10, slots: [6, 1, 0], ports: 2 });
    // Behind its three events and its shared area of 2 MiB.
    assert_eq!(places(1, 0), Places { handles: 4, slots: [0, 1, 0], ports: 0 });
    assert_eq!(places(1, 2), Places { handles: 11, slots: [7, 1, 0], ports: 2 });
}

#[test]
fn partners_are_those_at_the_other_ends_of_events_and_channels() {
    let mut spec = connected();
    let partners = |spec: &SystemSpec, partition| {
        let bytes = write(spec);
        Bundle::parse(&bytes, crc32).unwrap().partners(partition)
    };
    assert_eq!([0, 1, 2].map(|at| partners(&spec, at)), [0b10, 0b01, 0].map(PartitionSet));
    // By events alone, and by channels alone.
    let channels = core::mem::take(&mut spec.channels);
    assert_eq!([0, 1].map(|at| partners(&spec, at)), [0b10, 0b01].map(PartitionSet));
    spec.channels = channels;
    spec.events.clear();
    assert_eq!([0, 1].map(|at| partners(&spec, at)), [0b10, 0b01].map(PartitionSet));
    spec.channels.clear();
    assert_eq!([0, 1].map(|at| partners(&spec, at)), [0, 0].map(PartitionSet));
}

#[test]
fn a_channel_has_two_ends_each_with_an_interrupt_of_its_own() {
    let layout = |what: &str| format!("bundle inconsistent: {what}");
    refused(
        |s| s.channels[0].ends[0].partition = 2,
        &layout("channel of a partition that is not there"),
    );
    refused(|s| s.channels[0].ends[0].partition = 1, &layout("channel of a partition with itself"));
    refused(
        |s| s.channels[0].name.clear(),
        &layout("channel without a name, or of an unknown class"),
    );
    refused(|s| s.channels[0].ends[0].slots = 61, "channel `talk` of `a`: too many slots: 0x3d");
    refused(
        |s| s.channels[0].ends[1].intid = 31,
        "channel `talk` of `b-2_x`: interrupt is no SPI of the virtual GIC: 0x1f",
    );
    refused(|s| s.channels[0].ends[0].vcpu = 9, "channel `talk` of `a`: no such vCPU: 0x9");
    refused(
        |s| s.channels[1].ends[0].intid = 80,
        "guest interrupt 80 (SPI 48) is claimed by channel `talk` of `b-2_x` and by channel `more` of `b-2_x`",
    );
    refused(
        |s| s.channels[0].ends[1].intid = 70,
        "guest interrupt 70 (SPI 38) is claimed by event `up` to `b-2_x` and by channel `talk` of `b-2_x`",
    );
    refused(
        |s| s.channels[0].ends[0].intid = 33,
        "guest interrupt 33 (SPI 1) is claimed by virtual UART of `a` and by channel `talk` of `a`",
    );
    refused(
        |s| s.channels[0].ends[1].intid = 33,
        "guest interrupt 33 (SPI 1) is claimed by device `/virtio_mmio@a003e00` of `b-2_x` and by channel `talk` of `b-2_x`",
    );
}

#[test]
fn a_partition_has_room_for_its_channels() {
    assert_eq!(refusal(&connected()), "");
    refused(
        |s| s.partitions[0].talk.handles = 9,
        "partition `a`: fewer handles than its events, shared areas and channels need: 0xa",
    );
    refused(
        |s| s.partitions[1].talk.handles = 10,
        "partition `b-2_x`: fewer handles than its events, shared areas and channels need: 0xb",
    );
    // One slot is its shared area's.
    refused(
        |s| s.channels[1].ends[0].slots = 1,
        "partition `b-2_x`: fewer window slots than its channels and shared areas need: 0x2",
    );
    refused(
        |s| s.partitions[1].windows.pages = 6,
        "partition `b-2_x`: fewer window slots than its channels and shared areas need: 0x7",
    );
    refused(
        |s| s.partitions[0].windows.blocks = 0,
        "partition `a`: fewer window slots than its channels and shared areas need: 0x1",
    );
    refused(
        |s| s.partitions[0].windows.channels = 1,
        "partition `a`: fewer message ports than channels: 0x2",
    );
}
