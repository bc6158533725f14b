//! A partition's life from its description to its end, in real memory (P2, P3): what it gets, that it gets nothing
//! else, and that everything comes back, on every way out.

mod limits;
mod quarantine;
mod random;
mod steps;

use shikiri_abi::{CoreId, CoreSet, Ipa, PAGE_BYTES, Pa, PageCount, PartitionSlot, Resource};
use shikiri_arch::hw::PhysMem;
use shikiri_config::{
    BlobSpec, Bundle, BundleError, DeviceSpec, GicVersion, Image, ImageKind, Memory, PartitionSpec,
    Place, crc32,
};
use shikiri_core::frame::FrameState;
use shikiri_core::invariants::Violation;
use shikiri_core::partition::Holdings;
use shikiri_core::partition::build::HardwarePage;
use shikiri_model::description;
use shikiri_model::machine::{Machine, OWN_REGISTERS, RAM_BASE};
use shikiri_pages::FrameRange;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const GICV: HardwarePage =
    HardwarePage { ipa: Ipa(0x0801_0000), pa: Pa(0x0804_0000), pages: PageCount(1) };

fn partition(name: &str, memory: &[(u64, u64, Place)]) -> PartitionSpec {
    let mut spec = PartitionSpec::new(name, GicVersion::V2);
    spec.entry = Ipa(memory[0].0);
    spec.vcpus = vec![description::vcpu()];
    spec.memory = memory
        .iter()
        .map(|(ipa, bytes, place)| Memory { ipa: Ipa(*ipa), bytes: *bytes, place: *place })
        .collect();
    spec
}

fn device(ipa: u64, pa: u64, bytes: u64, path: &str) -> DeviceSpec {
    let path = path.to_string();
    DeviceSpec {
        ipa: Ipa(ipa),
        pa: Pa(pa),
        bytes,
        moderated: false,
        dma_trusted: false,
        is_kept: false,
        path,
    }
}

/// A checked bundle. `damage` may change its bytes behind the tables' checksum.
fn bundle(
    partitions: Vec<PartitionSpec>,
    blobs: Vec<Vec<u8>>,
    damage: impl FnOnce(&mut [u8]),
) -> Bundle<'static> {
    parsed(partitions, blobs, damage).unwrap()
}

fn parsed(
    partitions: Vec<PartitionSpec>,
    blobs: Vec<Vec<u8>>,
    damage: impl FnOnce(&mut [u8]),
) -> Result<Bundle<'static>, BundleError<'static>> {
    let blobs = blobs.into_iter().map(|bytes| BlobSpec { bytes }).collect();
    let mut system = description::system(GicVersion::V2, 2, partitions);
    system.blobs = blobs;
    let bytes = description::written(&system);
    damage(bytes);
    Bundle::parse(bytes, crc32)
}

fn image(blob: usize, load: u64) -> Image {
    Image { blob, load: Ipa(load), kind: ImageKind::Program }
}

/// Bytes that occur nowhere else.
fn program(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251 + 13) as u8).collect()
}

/// Two regions, of which one at odd places, a device in two parts, one below page size, two images.
fn rich() -> PartitionSpec {
    let at = Place::At(Pa(RAM_BASE + 3 * MIB + PAGE_BYTES));
    let mut spec = partition(
        "rich",
        &[(0x4000_0000, 5 * MIB + 3 * PAGE_BYTES, Place::Any), (0x8000_0000, 3 * MIB, at)],
    );
    spec.devices = vec![
        device(0x0a00_0000, 0x0a00_0000, 2 * PAGE_BYTES, "/first"),
        device(0x0a10_0000, 0x0b00_0000, PAGE_BYTES, "/first"),
        DeviceSpec { moderated: true, ..device(0x0c00_0200, 0x0c00_0200, 0x200, "/second") },
    ];
    spec.images = vec![image(0, 0x4000_0800), image(1, 0x8000_0000 + MIB)];
    spec
}

fn rich_blobs() -> Vec<Vec<u8>> {
    vec![program(shikiri_model::IMAGE_BYTES), program(4096)]
}

fn rich_bundle() -> Bundle<'static> {
    bundle(vec![rich()], rich_blobs(), |_| ())
}

/// What a partition's tables map, page by page: where to, and the attribute bits. A walker of its own.
fn mapped(machine: &Machine, holdings: &Holdings) -> BTreeMap<u64, (u64, u64)> {
    fn table(
        machine: &Machine,
        at: u64,
        ipa: u64,
        level: u32,
        pages: &mut BTreeMap<u64, (u64, u64)>,
    ) {
        let shift = 39 - 9 * level;
        for index in 0..if level == 1 { 1024 } else { 512 } {
            let raw = machine.ram.read_u64(Pa(at + 8 * index));
            let (here, to) = (ipa + (index << shift), raw & 0xffff_ffff_f000);
            let kind = if level == 3 { 4 | (raw & 3) } else { raw & 3 };
            match kind {
                3 => table(machine, to, here, level + 1, pages),
                1 | 7 => {
                    let bits = raw & !0xffff_ffff_f003;
                    for offset in (0..1 << shift).step_by(4096) {
                        assert_eq!(pages.insert(here + offset, (to + offset, bits)), None);
                    }
                }
                _ => assert_eq!(raw, 0, "an invalid descriptor is not zero"),
            }
        }
    }
    let mut pages = BTreeMap::new();
    table(machine, holdings.stage2().unwrap().root().0, 0, 1, &mut pages);
    pages
}

/// Normal Write-Back, inner shareable, read-write, execute, accessed.
const RAM_BITS: u64 = (1 << 10) | (3 << 8) | (3 << 6) | (0xf << 2);
/// Device-nGnRE, read-write, never execute, accessed.
const DEVICE_BITS: u64 = (1 << 54) | (1 << 10) | (3 << 6) | (1 << 2);

/// Compares all that a partition got with its description.
fn check_partition(machine: &Machine, bundle: &Bundle<'_>, index: u8, holdings: &Holdings) {
    let description = bundle.partition(usize::from(index)).unwrap();
    let pages = mapped(machine, holdings);
    let mut expected = BTreeMap::new();
    for memory in description.memory() {
        let mut content = vec![0; memory.bytes as usize];
        for image in description.images() {
            if let Some(offset) =
                image.load.0.checked_sub(memory.ipa.0).filter(|at| *at < memory.bytes)
            {
                let blob = bundle.blob(image.blob).unwrap().bytes;
                content[offset as usize..offset as usize + blob.len()].copy_from_slice(blob);
            }
        }
        for (at, wanted) in (0..memory.bytes).step_by(4096).zip(content.chunks(4096)) {
            let ipa = memory.ipa.0 + at;
            let (pa, bits) = pages[&ipa];
            assert_eq!(machine.ram.read(Pa(pa), PAGE_BYTES), wanted, "content of {ipa:#x}");
            assert_eq!(machine.state(Pa(pa)), FrameState::Private(PartitionSlot(index)));
            if let Place::At(base) = memory.place {
                assert_eq!(pa, base.0 + at);
            }
            assert_eq!(holdings.translate(Ipa(ipa)).unwrap().0, Pa(pa));
            assert_eq!(bits, RAM_BITS);
            expected.insert(ipa, pa);
        }
    }
    let owned = description.devices().filter(|device| !device.moderated);
    let owned = owned.map(|device| (device.ipa.0, device.pa.0, device.bytes));
    for (ipa, pa, bytes) in owned.chain([(GICV.ipa.0, GICV.pa.0, PAGE_BYTES)]) {
        for at in (0..bytes).step_by(4096) {
            assert_eq!(pages[&(ipa + at)], (pa + at, DEVICE_BITS));
            expected.insert(ipa + at, pa + at);
        }
    }
    let pages: BTreeMap<_, _> = pages.into_iter().map(|(ipa, (pa, _))| (ipa, pa)).collect();
    assert_eq!(pages, expected, "nothing else is mapped");
}

fn build(machine: &Machine, bundle: &Bundle<'_>, index: u8) -> Holdings {
    let (holdings, result) = machine.build(bundle, index, Some(GICV));
    assert_eq!(result, Ok(()));
    assert!(holdings.is_complete());
    holdings
}

fn used(holdings: &Holdings, resource: Resource) -> u64 {
    holdings.account().line(resource).used
}

fn frames_free(machine: &Machine) -> u64 {
    machine.audit([]).unwrap();
    machine.store.free_pages().0
}

#[test]
fn a_partition_gets_what_its_description_says_and_nothing_else() {
    let bundle = rich_bundle();
    let machine = Machine::new(32, &bundle, &[]);
    let before = frames_free(&machine);
    let holdings = build(&machine, &bundle, 0);
    machine.audit([&holdings]).unwrap();
    check_partition(&machine, &bundle, 0, &holdings);
    let memory = 8 * 256 + 3;
    assert_eq!(used(&holdings, Resource::Memory), memory);
    // The interrupt controller's page is not charged, the devices' three are.
    assert_eq!(used(&holdings, Resource::IpaSpace), memory + 3);
    assert_eq!(used(&holdings, Resource::Devices), 2);
    assert_eq!(used(&holdings, Resource::CoreTime), 100_000);
    let management = used(&holdings, Resource::ManagementMemory);
    // The list, the root, three level-2 tables, level-3 tables: GICV's, the devices' one (shared), the first region's
    // last, and two for the region at odd places.
    assert_eq!(management, 1 + 2 + 3 + 1 + 1 + 1 + 2);
    // What came from the pool: all but the region that is placed.
    assert_eq!(before - machine.store.free_pages().0, memory - 768 + management);
    assert_eq!(machine.store.held(PartitionSlot(0)).0, memory + management);
    machine.end(holdings);
    assert_eq!(frames_free(&machine), before);
    assert_eq!(machine.store.held(PartitionSlot(0)).0, 0);
}

/// Three devices that are kept back: one that needs tables of its own and fills a page beside others', one of two unlike regions
/// across a table's end, one that is not mapped at all.
fn keeper() -> PartitionSpec {
    let mut spec = rich();
    let kept = |it| DeviceSpec { is_kept: true, ..it };
    spec.devices.extend([
        kept(device(0x3000_0000, 0x3040_0000, 4 * MIB - 2 * PAGE_BYTES, "/large")),
        kept(device(0x0a00_2000, 0x0a00_2000, PAGE_BYTES, "/large")),
        kept(device(0x37ff_f000, 0x3800_1000, 3 * PAGE_BYTES, "/across")),
        kept(DeviceSpec { moderated: true, ..device(0x0d00_0200, 0x0d00_0200, 0x200, "/part") }),
    ]);
    spec
}

#[test]
#[cfg_attr(miri, ignore = "looks at thousands of pages: long under Miri")]
fn what_is_kept_back_is_charged_from_the_start_and_mapped_when_it_is_given_p8() {
    let bundle = bundle(vec![keeper()], rich_blobs(), |_| ());
    let description = bundle.partition(0).unwrap();
    let machine = Machine::new(32, &bundle, &[]);
    let before = frames_free(&machine);
    for order in [["/large", "/across", "/part"], ["/part", "/across", "/large"]] {
        let mut holdings = build(&machine, &bundle, 0);
        assert_eq!(used(&holdings, Resource::Devices), 5);
        assert_eq!(used(&holdings, Resource::IpaSpace), 8 * 256 + 3 + 3 + 1022 + 1 + 3);
        let lines = Resource::ALL.map(|resource| used(&holdings, resource));
        let free = machine.store.free_pages();
        let closed = mapped(&machine, &holdings);
        for (given, path) in order.into_iter().enumerate() {
            let all = mapped(&machine, &holdings);
            let kept = description.devices().filter(|device| device.is_kept && !device.moderated);
            for device in kept {
                let is_given = order[..given].contains(&device.path);
                for at in (0..device.bytes).step_by(4096) {
                    let there = all.get(&(device.ipa.0 + at)).copied();
                    assert_eq!(there, is_given.then_some((device.pa.0 + at, DEVICE_BITS)));
                }
            }
            holdings.map_kept(&description, path, (&machine.ram, &machine.ram));
            machine.audit([&holdings]).unwrap();
        }
        check_partition(&machine, &bundle, 0, &holdings);
        assert!(closed.iter().all(|(ipa, it)| mapped(&machine, &holdings).get(ipa) == Some(it)));
        assert_eq!(Resource::ALL.map(|resource| used(&holdings, resource)), lines);
        assert_eq!(machine.store.free_pages(), free, "its tables were there");
        machine.end(holdings);
        assert_eq!(frames_free(&machine), before);
    }
    // Nothing is taken back by an end of which nothing was given.
    machine.end(build(&machine, &bundle, 0));
    assert_eq!(frames_free(&machine), before);
}

#[test]
fn a_thousand_lives_leave_nothing_behind() {
    let mut spec = partition("often", &[(0x4000_0000, MIB + PAGE_BYTES, Place::Any)]);
    spec.images = vec![image(0, 0x4000_0000)];
    let bundle = bundle(vec![spec], vec![program(5000)], |_| ());
    let machine = Machine::new(8, &bundle, &[]);
    let before = frames_free(&machine);
    let lives = if cfg!(miri) { 2 } else { 1000 };
    for life in 0..lives {
        let holdings = build(&machine, &bundle, 0);
        if life % 100 == 0 {
            check_partition(&machine, &bundle, 0, &holdings);
        }
        for extent in holdings.extents() {
            machine.ram.scribble(extent.frames.base(), extent.frames.pages().0 * PAGE_BYTES, 0x5a);
        }
        machine.end(holdings);
        assert_eq!(machine.store.free_pages().0, before);
    }
    machine.audit([]).unwrap();
}

#[test]
fn memory_is_cleared_before_another_partition_gets_it() {
    let spec = |name| partition(name, &[(0x4000_0000, 6 * MIB, Place::Any)]);
    let bundle = bundle(vec![spec("first"), spec("second")], vec![], |_| ());
    let machine = Machine::new(8, &bundle, &[]);
    let first = build(&machine, &bundle, 0);
    let had: Vec<_> = first.extents().map(|extent| extent.frames.range()).collect();
    for range in &had {
        machine.ram.scribble(range.base, range.pages.0 * PAGE_BYTES, 0x5a);
    }
    machine.end(first);
    let second = build(&machine, &bundle, 1);
    let has_it_again = |extent: &FrameRange| had.iter().any(|range| range.overlaps(*extent));
    assert!(second.extents().all(|extent| has_it_again(&extent.frames.range())));
    check_partition(&machine, &bundle, 1, &second);
    machine.end(second);
}

#[test]
fn two_partitions_never_share_a_frame() {
    let mut second = partition("second", &[(0x4000_0000, 4 * MIB - PAGE_BYTES, Place::Any)]);
    second.vcpus[0].home = CoreId(1);
    second.vcpus[0].cores = CoreSet::one(CoreId(1));
    let bundle = bundle(vec![rich(), second], rich_blobs(), |_| ());
    let machine = Machine::new(32, &bundle, &[]);
    let before = frames_free(&machine);
    let (first, second) = (build(&machine, &bundle, 0), build(&machine, &bundle, 1));
    machine.audit([&first, &second]).unwrap();
    let frames = |holdings| {
        let pages = mapped(&machine, holdings).into_values().map(|(pa, _)| pa);
        pages.filter(|pa| *pa >= RAM_BASE).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(frames(&first).is_disjoint(&frames(&second)));
    check_partition(&machine, &bundle, 1, &second);
    machine.end(first);
    machine.audit([&second]).unwrap();
    check_partition(&machine, &bundle, 1, &second);
    machine.end(second);
    assert_eq!(frames_free(&machine), before);
}

#[test]
fn the_audit_finds_what_is_wrong() {
    let bundle = rich_bundle();
    let machine = Machine::new(32, &bundle, &[]);
    let holdings = build(&machine, &bundle, 0);
    let root = holdings.stage2().unwrap().root();
    let slot = PartitionSlot(0);
    let with = |at: Pa, value: u64| {
        let before = machine.ram.read_u64(at);
        machine.ram.write_u64(at, value);
        let found = machine.audit([&holdings]).unwrap_err();
        machine.ram.write_u64(at, before);
        machine.audit([&holdings]).unwrap();
        found
    };
    // A gigabyte of RAM where nothing is described.
    let far = with(Pa(root.0 + 8 * 100), RAM_BASE | 0x7fd);
    assert_eq!(far, Violation::Translation { slot, ipa: Ipa(100 << 30), pa: Pa(RAM_BASE) });
    // A table that is none of its own.
    let table = Pa(RAM_BASE + 31 * MIB);
    let found = Some(machine.state(table));
    assert_eq!(with(Pa(root.0 + 8 * 100), table.0 | 3), Violation::Table { slot, table, found });
    // A page of its own that is not mapped any more.
    let level2 = Pa(machine.ram.read_u64(Pa(root.0 + 8)) & 0xffff_ffff_f000);
    let missing = with(level2, 0);
    assert!(matches!(missing, Violation::Books(of, _) if of == slot), "{missing}");
    // A page of its own at another place of its own.
    let leaf = machine.ram.read_u64(level2);
    let moved = with(level2, leaf ^ (2 * MIB));
    assert!(matches!(moved, Violation::Translation { .. }), "{moved}");
    // Any page of the hypervisor's own registers, in place of the guests' page of the interrupt controller, and a block
    // that has one at its end.
    let level2 = machine.ram.read_u64(root) & 0xffff_ffff_f000;
    let level3 = machine.ram.read_u64(Pa(level2 + 8 * (GICV.ipa.0 >> 21))) & 0xffff_ffff_f000;
    let page = Pa(level3 + 8 * ((GICV.ipa.0 >> 12) & 511));
    let leaf = machine.ram.read_u64(page);
    let ipa = GICV.ipa;
    let pages = |(start, bytes): (Pa, u64)| (start.0..start.0 + bytes).step_by(4096);
    for own in OWN_REGISTERS.into_iter().flat_map(pages) {
        let found = with(page, (leaf & !0xffff_ffff_f000) | own);
        assert_eq!(found, Violation::Registers { slot, ipa, pa: Pa(own) });
    }
    let block = with(Pa(root.0 + 8 * 99), 0x7fd);
    assert_eq!(block, Violation::Registers { slot, ipa: Ipa(99 << 30), pa: Pa(0) });
    // A frame that nobody has, and that is not in the pool.
    let lost = machine
        .store
        .take(FrameState::Management(PartitionSlot(1)), PageCount(1), PAGE_BYTES)
        .unwrap();
    machine.store.with_books(|ledger, _| {
        let left = shikiri_core::invariants::audit_ended(ledger, PartitionSlot(1));
        assert_eq!(left, Err(Violation::LeftOver { slot: PartitionSlot(1), pages: PageCount(1) }));
    });
    machine.store.give(FrameState::Management(PartitionSlot(1)), lost);
    machine.end(holdings);
}
