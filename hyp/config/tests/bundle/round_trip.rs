//! What is written is read back, and damage is noticed.

use crate::policy::with_policy;
use crate::sample::{service, system};
use proptest::prelude::*;
use shikiri_abi::{CoreId, CoreSet, IntId, Ipa, Pa, Resource, VcpuIndex};
use shikiri_config::{
    BlobSpec, Bundle, BundleError, CoreTime, GicVersion, Image, ImageKind, Item, MachineFacts,
    PartitionSet, Place, RestartPolicy, check_loaded, crc32, write,
};

#[test]
fn a_system_comes_back_as_it_was_written() {
    let mut spec = system();
    spec.partitions[0].has_pmu = true;
    spec.partitions[0].kept_vcpus = 1;
    spec.partitions[1].devices[0].is_kept = true;
    let bytes = write(&spec);
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let board = bundle.board();
    assert_eq!(
        (board.compatible, board.gic, board.cores, board.focus),
        ("linux,dummy-virt", GicVersion::V3, 4, Some(0))
    );
    let names: Vec<_> = bundle.name_entries().collect();
    assert_eq!(names.len(), spec.names.len());
    for (read, written) in names.iter().zip(&spec.names) {
        assert_eq!((read.text, read.is_prefix), (&*written.text, written.is_prefix));
        assert_eq!((read.partitions, read.objects), (written.partitions, written.objects));
    }
    let shared: Vec<_> = bundle.shared_areas().collect();
    assert_eq!(shared.len(), spec.shared.len());
    for (read, written) in shared.iter().zip(&spec.shared) {
        assert_eq!((read.name, read.pages.0), (&*written.name, u64::from(written.pages)));
        assert_eq!((read.class, read.partitions), (written.class, written.partitions));
        assert_eq!(read.writers, written.writers);
    }
    let partitions: Vec<_> = bundle.partitions().collect();
    assert_eq!(partitions.len(), spec.partitions.len());
    for (read, written) in partitions.iter().zip(&spec.partitions) {
        assert_eq!(read.name, written.name);
        assert_eq!((read.start_order, read.autostart), (written.start_order, written.autostart));
        assert_eq!((read.restart, read.has_console), (written.restart, written.has_console));
        assert_eq!((read.has_pmu, read.kept_vcpus), (written.has_pmu, written.kept_vcpus));
        assert_eq!(
            (read.entry, read.x0, read.platform),
            (written.entry, written.x0, written.platform)
        );
        assert_eq!(read.vcpus().collect::<Vec<_>>(), written.vcpus);
        assert_eq!(read.memory().collect::<Vec<_>>(), written.memory);
        assert_eq!(read.images().collect::<Vec<_>>(), written.images);
        assert_eq!(read.limit(Resource::Memory), written.limits[2]);
        assert_eq!((read.talk, read.windows), (written.talk, written.windows));
        for (device, spec) in read.devices().zip(&written.devices) {
            assert_eq!((device.ipa, device.pa, device.bytes), (spec.ipa, spec.pa, spec.bytes));
            assert_eq!((device.moderated, device.dma_trusted), (spec.moderated, spec.dma_trusted));
            assert_eq!((device.is_kept, device.path), (spec.is_kept, &*spec.path));
        }
        for (interrupt, spec) in read.interrupts().zip(&written.interrupts) {
            assert_eq!(
                (interrupt.physical.0, interrupt.virtual_id.0),
                (spec.physical, spec.virtual_id)
            );
            assert_eq!((interrupt.edge, interrupt.path), (spec.edge, &*spec.path));
        }
        assert_eq!(read.devices().len(), written.devices.len());
        assert_eq!(read.interrupts().len(), written.interrupts.len());
    }
}

#[test]
fn events_come_back_as_they_were_written() {
    let spec = system();
    let bytes = write(&spec);
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let read: Vec<_> = bundle.events().collect();
    assert_eq!(read.len(), spec.events.len());
    for (read, written) in read.iter().zip(&spec.events) {
        let ends = (usize::from(written.from), usize::from(written.to));
        assert_eq!((read.name, read.from, read.to), (&*written.name, ends.0, ends.1));
        assert_eq!((read.intid.0, read.vcpu.0), (written.intid, written.vcpu));
    }
}

#[test]
fn services_come_back_as_they_were_written() {
    let mut spec = system();
    spec.services.push(service("log", 0, u32::MAX, PartitionSet::ALL));
    let bytes = write(&spec);
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let read = bundle.services().map(|it| (it.name, it.of, it.number, it.to));
    let kv = ("kv", 1, 7, PartitionSet::one(0));
    assert_eq!(read.collect::<Vec<_>>(), [kv, ("log", 0, u32::MAX, PartitionSet(u64::MAX))]);
}

#[test]
fn the_values_of_the_sample_are_what_they_say() {
    let bytes = write(&system());
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let second = bundle.partition(1).unwrap();
    assert_eq!(second.restart.policy, RestartPolicy::OnFault);
    let vcpu = second.vcpus().next().unwrap();
    assert_eq!(vcpu.time, CoreTime::Reservation { budget_us: 2_000, period_us: 10_000 });
    assert_eq!(vcpu.time.ppm(), 200_000);
    assert_eq!((vcpu.cores, vcpu.home), (CoreSet(0b1100), CoreId(2)));
    assert_eq!(second.memory().nth(1).unwrap().place, Place::At(Pa(0x6000_0000)));
    assert_eq!(second.interrupts().next().unwrap().physical, IntId(79));
    assert_eq!(second.limit(Resource::Devices), None);
    let first = bundle.partition(0).unwrap();
    let tree = first.images().nth(1).unwrap();
    assert_eq!((tree.kind, tree.load), (ImageKind::DeviceTree, Ipa(0x401f_f000)));
    let blob = bundle.blob(tree.blob).unwrap();
    assert_eq!(blob.bytes, [0xd0; 40]);
    assert_eq!(blob.offset % 16, 0);
    assert!(bundle.partition(2).is_none() && bundle.blob(2).is_none());
}

#[test]
fn each_flipped_bit_is_noticed() {
    let good = write(&system());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(!is_believed(&bad), "bit {bit} of byte {at}");
        }
    }
}

/// Whether a bundle parses and all its blobs are undamaged.
fn is_believed(bytes: &[u8]) -> bool {
    Bundle::parse(bytes, crc32).is_ok_and(|bundle| bundle.check_files(crc32).is_ok())
}

#[test]
fn a_damaged_file_is_named_by_its_partition() {
    let mut spec = with_policy(|spec, _| spec.policy_images[0].blob = 2);
    spec.blobs.extend([BlobSpec { bytes: vec![0x2a; 30] }, BlobSpec { bytes: vec![0x3b; 30] }]);
    spec.partitions[1].images.push(Image {
        blob: 3,
        load: Ipa(0x5000_1000),
        kind: ImageKind::Initrd,
    });
    let good = write(&spec);
    let damaged = |byte: u8| {
        let mut bad = good.clone();
        let last = bad.iter().rposition(|at| *at == byte).unwrap();
        bad[last] ^= 1;
        let bundle = Bundle::parse(&bad, crc32).unwrap();
        bundle.check_files(crc32).unwrap_err().to_string()
    };
    // The first that loads it; both partitions have the same image.
    assert_eq!(damaged(0x5a), "image of `a`");
    assert_eq!(damaged(0xd0), "device tree of `a`");
    assert_eq!(damaged(0x3b), "initrd of `b-2_x`");
    assert_eq!(damaged(0x2a), "policy image of `hello`");
    Bundle::parse(&good, crc32).unwrap().check_files(crc32).unwrap();
}

#[test]
fn each_truncation_is_noticed() {
    let good = write(&system());
    for len in 0..good.len() {
        let error = Bundle::parse(&good[..len], crc32).unwrap_err();
        let is_short = matches!(error, BundleError::Truncated { .. } | BundleError::Magic);
        assert!(is_short, "{len}: {error}");
    }
}

#[test]
fn what_a_loader_adds_behind_the_bundle_does_not_matter() {
    let good = write(&system());
    let mut padded = good.clone();
    padded.resize(good.len() + 4000, 0xee);
    assert_eq!(Bundle::parse(&padded, crc32).unwrap().bytes(), good);
}

#[test]
fn another_version_and_no_bundle_are_told_apart() {
    let mut other = write(&system());
    other[12] = 6;
    let message = Bundle::parse(&other, crc32).unwrap_err().to_string();
    assert_eq!(message, "bundle version 6, this hypervisor reads 7");
    let message = Bundle::parse(b"\x7fELF", crc32).unwrap_err().to_string();
    assert_eq!(message, "no bundle there (wrong magic number)");
    let message = Bundle::parse(&[], crc32).unwrap_err().to_string();
    assert_eq!(message, "no bundle there (wrong magic number)");
}

#[test]
fn a_wrong_checksum_shows_both_values() {
    let good = write(&system());
    let message = Bundle::parse(&good, |_| 0x1234).unwrap_err().to_string();
    assert!(message.starts_with("bundle damaged: checksum 0x00001234 instead of 0x"), "{message}");
}

#[test]
fn affinities_are_those_of_qemu() {
    let affinity = |gic: GicVersion, vcpu| gic.affinity(VcpuIndex(vcpu));
    assert_eq!(affinity(GicVersion::V3, 15), 15);
    assert_eq!(affinity(GicVersion::V3, 16), 0x100);
    assert_eq!(affinity(GicVersion::V3, 63), 0x30f);
    assert_eq!(affinity(GicVersion::V2, 7), 7);
}

#[test]
fn the_machine_must_have_what_the_bundle_counts_on() {
    let bytes = write(&system());
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    let ram = [(Pa(0x4000_0000), 1 << 30)];
    let console = IntId(33);
    let (own, taken) = (&[][..], &[][..]);
    let good = MachineFacts { cores: 4, gic: GicVersion::V3, ram: &ram, own, taken, console };
    assert_eq!(bundle.check_machine(&good), Ok(()));
    assert_eq!(bundle.check_machine(&MachineFacts { cores: 8, ..good }), Ok(()));
    let refusal = |facts: MachineFacts<'_>| bundle.check_machine(&facts).unwrap_err().to_string();
    assert_eq!(
        refusal(MachineFacts { cores: 3, ..good }),
        "cores: the description counts on 4, this machine has 3"
    );
    assert_eq!(
        refusal(MachineFacts { gic: GicVersion::V2, ..good }),
        "GIC version: the description counts on 3, this machine has 2"
    );
    assert_eq!(
        refusal(MachineFacts { console: IntId(34), ..good }),
        "device `/pl031@9010000` of `a`: has the interrupt of the hypervisor's console: 0x22"
    );
    let small = [(Pa(0x4000_0000), 512 << 20)];
    assert_eq!(
        refusal(MachineFacts { ram: &small, ..good }),
        "memory of `b-2_x`: is not in RAM: 0x60000000"
    );
    let at = Pa(0x6000_0000);
    let taken =
        |item, bytes| [(Item::Reserved, Pa(0x4800_0000), 4096), (item, Pa(at.0 - 8), bytes)];
    for (item, who) in [
        (Item::Hypervisor, "the hypervisor's image"),
        (Item::Bundle, "the bundle"),
        (Item::DeviceTree, "the machine's device tree"),
        (Item::Reserved, "memory that the firmware keeps"),
        (Item::Nought, "the hypervisor, which cannot give address 0 away"),
    ] {
        let beside = MachineFacts { taken: &taken(item, 8), ..good };
        assert_eq!(bundle.check_machine(&beside), Ok(()));
        assert_eq!(
            refusal(MachineFacts { taken: &taken(item, 9), ..good }),
            format!("physical address 0x60000000 is claimed by {who} and by memory of `b-2_x`")
        );
    }
    let overlapping = [(Pa(0), 0x8000_0000)];
    assert_eq!(
        refusal(MachineFacts { ram: &overlapping, ..good }),
        "physical address 0x9010000 is claimed by RAM and by device `/pl031@9010000` of `a`"
    );
    let refused = "physical address 0x9010000 is claimed by the hypervisor and by device `/pl031@9010000` of `a`";
    for own in [(Pa(0x0900_0000), 0x1_0001), (Pa(0x0901_0fff), 1), (Pa(0x0901_0400), 0x40)] {
        assert_eq!(refusal(MachineFacts { own: &[(Pa(0), 4096), own], ..good }), refused);
    }
    let neighbours = [(Pa(0x0900_0000), 0x1_0000), (Pa(0x0901_1000), 0x1_0000)];
    assert_eq!(bundle.check_machine(&MachineFacts { own: &neighbours, ..good }), Ok(()));
}

#[test]
fn what_was_loaded_lies_in_ram_and_apart_from_the_rest() {
    // Two ranges that go on, and one that does not; in no order.
    let ram = [(Pa(0x5000), 0x3000), (Pa(0x2000), 0x3000), (Pa(0xa000), 0x1000)];
    let check = |bundle: (u64, u64)| {
        let loaded = [
            (Item::Hypervisor, Pa(0x2000), 0x1000),
            (Item::Bundle, Pa(bundle.0), bundle.1),
            (Item::DeviceTree, Pa(0x6000), 0x800),
        ];
        check_loaded(&ram, &loaded).map_err(|error| error.to_string())
    };
    for good in [(0x3000, 0x3000), (0x6800, 0x1800), (0xa000, 0x1000)] {
        assert_eq!(check(good), Ok(()), "{good:x?}");
    }
    let outside = |at: u64| Err(format!("the bundle: is not in RAM: {at:#x}"));
    for (bundle, at) in [
        ((0x1000, 0x1000), 0x1000),
        ((0x6800, 0x1801), 0x8000),
        ((0x6800, 0x4000), 0x8000),
        ((0xa000, 0x1001), 0xb000),
        ((0xa000, u64::MAX), 0xb000),
        ((u64::MAX, 1), u64::MAX),
    ] {
        assert_eq!(check(bundle), outside(at), "{bundle:x?}");
    }
    let clash = |at: u64, first: &str, second: &str| {
        Err(format!("physical address {at:#x} is claimed by {first} and by {second}"))
    };
    let (image, bundle, tree) =
        ("the hypervisor's image", "the bundle", "the machine's device tree");
    assert_eq!(check((0x2fff, 0x1000)), clash(0x2fff, image, bundle));
    assert_eq!(check((0x2000, 0x5000)), clash(0x2000, image, bundle));
    assert_eq!(check((0x3000, 0x3001)), clash(0x6000, bundle, tree));
    assert_eq!(check((0x67ff, 1)), clash(0x67ff, bundle, tree));
}

/// Bundles that pass the checksum although they are damaged: the writer of the damage has fixed it.
fn fix_checksum(bytes: &mut [u8]) {
    let Some(end) = tables_end(bytes) else { return };
    let crc = crc32(&bytes[12..end]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Where the tables end, from the header's counts and the rows' sizes.
fn tables_end(bytes: &[u8]) -> Option<usize> {
    // Rows' sizes, and those of their counts: services and policies have short ones.
    const ROWS: [(usize, usize); 15] = [
        (200, 4),
        (32, 4),
        (24, 4),
        (16, 4),
        (32, 4),
        (16, 4),
        (16, 4),
        (24, 4),
        (32, 4),
        (24, 4),
        (24, 2),
        (72, 2),
        (16, 4),
        (24, 4),
        (1, 4),
    ];
    let (mut end, mut at): (usize, usize) = (96, 24);
    for (size, width) in ROWS {
        let mut count = [0; 8];
        count[..width].copy_from_slice(bytes.get(at..at + width)?);
        end = end.checked_add(usize::from_le_bytes(count).checked_mul(size)?)?;
        at += width;
    }
    (end <= bytes.len()).then_some(end)
}

#[test]
fn the_test_knows_the_layout() {
    let good = write(&system());
    let mut spoilt = good.clone();
    spoilt[8..12].fill(0);
    fix_checksum(&mut spoilt);
    assert!(spoilt == good, "the rows have other sizes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the bytes are, parsing ends with an answer, and what it accepts can be read through.
    #[test]
    fn damaged_tables_with_a_right_checksum_never_panic(
        damage in prop::collection::vec((0_usize..4096, any::<u8>()), 1..6),
    ) {
        let mut bytes = write(&system());
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        fix_checksum(&mut bytes);
        if let Ok(bundle) = Bundle::parse(&bytes, crc32) {
            read_through(&bundle);
        }
    }

    /// Words are replaced by the values that break arithmetic.
    #[test]
    fn extreme_numbers_with_a_right_checksum_never_panic(
        at in 0_usize..1000,
        value in prop::sample::select(vec![0, 1, 0x7fff_ffff_ffff_ffff, u64::MAX - 4095, u64::MAX, 1 << 40, 1 << 48, 4095]),
    ) {
        let mut bytes = write(&system());
        let at = at % (bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        fix_checksum(&mut bytes);
        if let Ok(bundle) = Bundle::parse(&bytes, crc32) {
            read_through(&bundle);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), with_magic: bool) {
        let mut bytes = bytes;
        if with_magic && bytes.len() > 16 {
            bytes[..8].copy_from_slice(b"SHIKIRI\0");
            bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
            fix_checksum(&mut bytes);
        }
        prop_assert!(Bundle::parse(&bytes, crc32).is_err());
    }
}

fn read_through(bundle: &Bundle<'_>) {
    for service in bundle.services() {
        assert!(!service.name.is_empty() && bundle.partition(service.of).is_some());
    }
    for entry in bundle.name_entries() {
        assert!(entry.is_prefix || !entry.text.is_empty());
    }
    for partition in bundle.partitions() {
        let rows =
            partition.vcpus().count() + partition.memory().count() + partition.devices().count();
        assert!(rows > 0 && partition.interrupts().count() < 0x1_0000);
        for image in partition.images() {
            assert!(bundle.blob(image.blob).is_some());
        }
    }
}
