//! The rules of talking: who may, events, message areas, names of objects, and shared areas.

use shikiri_abi::{AreaClass, Ipa};
use shikiri_config::{
    Memory, NameSpec, PartitionSet, PartitionSpec, Place, SharedSpec, SystemSpec, Talk, Windows,
};

use crate::sample::{accepted, event, name, refused};

/// `a` may ask `b-2_x`, and both say so.
fn talking(s: &mut SystemSpec) {
    s.partitions[0].talk.handles = 16;
    s.partitions[0].talk.requests = 4;
}

#[test]
fn who_may_talk_to_whom_is_said_on_both_sides() {
    accepted(talking);
    let but = |change: fn(&mut SystemSpec)| {
        move |s: &mut SystemSpec| {
            talking(s);
            change(s);
        }
    };
    refused(
        but(|s| s.partitions[1].talk.accept_from = PartitionSet::EMPTY),
        "partition `a` may connect to partition `b-2_x`, which does not accept from it",
    );
    refused(
        but(|s| s.partitions[0].talk.connect_to = PartitionSet::EMPTY),
        "partition `b-2_x` accepts from partition `a`, which may not connect to it",
    );
    refused(
        but(|s| s.partitions[0].talk.requests = 0),
        "partition `a`: may ask others, but has no requests: 0x2",
    );
    refused(
        but(|s| {
            s.events.clear();
            s.shared.clear();
            s.partitions[1].windows = Windows::default();
            s.partitions[1].talk.handles = 0;
        }),
        "partition `b-2_x`: may talk, but has no handles: 0x0",
    );
    for nobody in [0, 2, 63] {
        let set = PartitionSet::one(nobody);
        refused(
            move |s| {
                talking(s);
                s.partitions[0].talk.connect_to = set;
            },
            &format!("partition `a`: may talk to itself or to nobody: {:#x}", set.0),
        );
    }
}

#[test]
fn what_talking_takes_counts_as_management_memory() {
    let limited = |pages| {
        move |s: &mut SystemSpec| {
            talking(s);
            s.partitions[0].limits[3] = Some(pages);
        }
    };
    accepted(limited(5));
    refused(limited(4), "partition `a`: limit of management memory is 4, but 5 are given");
}

#[test]
fn an_event_has_two_ends_and_an_interrupt_of_its_own() {
    let with = |change: fn(&mut SystemSpec)| move |s: &mut SystemSpec| change(s);
    refused(
        with(|s| s.events[0].to = 2),
        "bundle inconsistent: event of a partition that is not there",
    );
    refused(with(|s| s.events[0].to = 0), "bundle inconsistent: event of a partition to itself");
    refused(
        with(|s| s.events[0].name.clear()),
        "bundle inconsistent: event without a name, or an unknown flag",
    );
    refused(
        with(|s| s.events[0].intid = 31),
        "event `up` to `b-2_x`: interrupt is no SPI of the virtual GIC: 0x1f",
    );
    refused(
        with(|s| s.events[0].intid = 32 + 256),
        "event `up` to `b-2_x`: interrupt is no SPI of the virtual GIC: 0x120",
    );
    refused(with(|s| s.events[0].vcpu = 1), "event `up` to `b-2_x`: no such vCPU: 0x1");
    accepted(with(|s| s.events[1].vcpu = 1));
    refused(
        with(|s| s.events[2].intid = 70),
        "guest interrupt 70 (SPI 38) is claimed by event `up` to `b-2_x` and by event `more` to `b-2_x`",
    );
    refused(
        with(|s| s.events[1].intid = 33),
        "guest interrupt 33 (SPI 1) is claimed by virtual UART of `a` and by event `down` to `a`",
    );
    refused(
        with(|s| s.events[0].intid = 33),
        "guest interrupt 33 (SPI 1) is claimed by device `/virtio_mmio@a003e00` of `b-2_x` and by event `up` to `b-2_x`",
    );
}

#[test]
fn a_partition_has_room_for_its_events() {
    accepted(|s| s.partitions[0].talk.handles = 3);
    refused(|s| s.partitions[0].talk.handles = 2, "partition `a`: fewer handles than events: 0x3");
    refused(
        |s| s.partitions[1].limits[4] = Some(2),
        "partition `b-2_x`: limit of event ports is 2, but 3 are given",
    );
    let many = |count: u16| {
        move |s: &mut SystemSpec| {
            s.events = (0..count).map(|n| event("e", 0, 1, 100 + n)).collect();
        }
    };
    accepted(many(64));
    refused(many(65), "partition `a`: too many events: 0x41");
}

#[test]
fn message_areas_need_slots_handles_and_a_region_of_their_own() {
    let with = |change: fn(&mut SystemSpec)| {
        move |s: &mut SystemSpec| {
            talking(s);
            s.partitions[1].windows =
                Windows { pages: 4, blocks: 1, giants: 1, channels: 2, shared: 1 };
            change(s);
        }
    };
    accepted(with(|_| {}));
    refused(
        with(|s| s.partitions[1].windows.giants = 511),
        "partition `b-2_x`: too many window slots: 0x1ff",
    );
    accepted(with(|s| s.partitions[1].windows.shared = 64));
    refused(
        with(|s| s.partitions[1].windows.shared = 65),
        "partition `b-2_x`: too many shares in shared areas: 0x41",
    );
    refused(
        with(|s| s.partitions[1].windows.channels = 3),
        "partition `b-2_x`: fewer slots of 4 KiB than its channels need: 0x4",
    );
    refused(
        with(|s| {
            s.events.clear();
            s.partitions[0] = PartitionSpec { talk: Talk::default(), ..s.partitions[0].clone() };
            s.partitions[1].talk = Talk::default();
        }),
        "partition `b-2_x`: may have message areas, but no handles: 0x6",
    );
    refused(
        with(|s| {
            let ipa = Ipa((512 << 30) - 0x1000);
            s.partitions[0].windows = s.partitions[1].windows;
            s.partitions[0].memory.push(Memory { ipa, bytes: 0x2000, place: Place::Any });
        }),
        "partition `a`: reaches into the window region of its message areas: 0x7ffffff000",
    );
}

#[test]
fn names_of_objects_are_names_or_beginnings_each_once() {
    let text = |text: String, is_prefix| {
        move |s: &mut SystemSpec| {
            let objects = if is_prefix { 2 } else { 1 };
            s.names[1] = NameSpec { is_prefix, ..name(&text, objects) };
        }
    };
    let bad = "bad text of name entry number: 0x1";
    for (good, is_prefix) in [("x", false), ("x", true), ("", true), ("frames", true)] {
        accepted(text(good.to_owned(), is_prefix));
    }
    accepted(text("n".repeat(63), false));
    refused(text("n".repeat(64), false), bad);
    for is_prefix in [false, true] {
        for wrong in ["a b", "a*", "*", "\u{7f}"] {
            refused(text(wrong.to_owned(), is_prefix), bad);
        }
    }
    refused(text(String::new(), false), bad);
    let twice = "an earlier entry says the same as name entry number: 0x1";
    refused(text("frames".to_owned(), false), twice);
}

#[test]
fn objects_are_counted_and_their_openers_have_handles() {
    let objects = |count| move |s: &mut SystemSpec| s.names[1].objects = count;
    let range = "number of objects out of range of name entry number";
    accepted(objects(255));
    refused(objects(256), "number of objects out of range: 0x101");
    refused(objects(0), &format!("{range}: 0x1"));
    refused(|s| s.names[0].objects = 2, &format!("{range}: 0x0"));
    let nobody = "a partition that is not there or has no handles in name entry number: 0x1";
    refused(|s| s.names[1].partitions = PartitionSet(4), nobody);
    refused(|s| s.names[1].partitions = PartitionSet::one(63), nobody);
    refused(
        |s| {
            s.events.clear();
            s.partitions[1].talk = Talk::default();
            s.partitions[1].windows = Windows::default();
            s.shared.clear();
            s.partitions[0].talk.connect_to = PartitionSet::EMPTY;
            s.names[0].partitions = PartitionSet(1);
        },
        nobody,
    );
    accepted(|s| s.names[1].partitions = PartitionSet::EMPTY);
    accepted(|s| s.names.clear());
}

#[test]
fn shared_areas_have_names_sizes_and_partitions_with_room_v7() {
    let area = |change: fn(&mut SharedSpec)| move |s: &mut SystemSpec| change(&mut s.shared[0]);
    accepted(area(|area| area.pages = 512));
    accepted(area(|area| area.writers = PartitionSet::EMPTY));
    let size = "a size that its class does not hold in shared area number: 0x0";
    refused(area(|area| area.pages = 0), size);
    refused(area(|area| area.pages = 513), size);
    refused(area(|area| area.class = AreaClass::Page), size);
    let nobody = "a partition that is not there or does not have it in shared area number: 0x0";
    refused(area(|area| area.partitions = PartitionSet::EMPTY), nobody);
    refused(area(|area| area.writers = PartitionSet(3)), nobody);
    refused(area(|area| area.partitions = PartitionSet(6)), nobody);
    refused(
        |s| s.shared.push(s.shared[0].clone()),
        "an earlier one has the name of shared area number: 0x1",
    );
    let more = |count: u32| {
        move |s: &mut SystemSpec| {
            s.shared = (0..count)
                .map(|number| SharedSpec { name: format!("n{number}"), ..s.shared[0].clone() })
                .collect();
        }
    };
    accepted(more(2));
    refused(more(3), "partition `b-2_x`: has fewer shares than shared areas: 0x3");
    refused(more(33), "too many shared areas, with number: 0x20");
    refused(
        |s| {
            s.partitions[1].windows.blocks = 0;
        },
        "partition `b-2_x`: has fewer slots than shared areas: 0x1",
    );
    refused(
        |s| s.shared[0].partitions = PartitionSet(3),
        "partition `a`: has fewer shares than shared areas: 0x1",
    );
}
