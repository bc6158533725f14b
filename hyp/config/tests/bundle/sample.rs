//! A small but complete system, for all tests of the bundle.

use shikiri_abi::{AreaClass, CoreId, CoreSet, IntId, Ipa, Pa};
use shikiri_config::{
    BlobSpec, Bundle, ChannelSpec, CoreTime, DeviceSpec, EndSpec, EventSpec, GicVersion, Image,
    ImageKind, InterruptSpec, Memory, NameSpec, PartitionSet, PartitionSpec, Place, Restart,
    RestartPolicy, ServiceSpec, SharedSpec, SystemSpec, Talk, Vcpu, Windows, crc32, write,
};

pub(crate) fn owned(core: u8) -> Vcpu {
    let home = CoreId(core);
    Vcpu { cores: CoreSet::one(home), home, time: CoreTime::Owned, priority: 0 }
}

pub(crate) fn shared(cores: u128, home: u8, budget_us: u32, period_us: u32) -> Vcpu {
    let time = CoreTime::Reservation { budget_us, period_us };
    Vcpu { cores: CoreSet(cores), home: CoreId(home), time, priority: 7 }
}

pub(crate) fn device(path: &str, address: u64, bytes: u64) -> DeviceSpec {
    let moderated = !bytes.is_multiple_of(4096);
    let (ipa, pa) = (Ipa(address), Pa(address));
    DeviceSpec {
        ipa,
        pa,
        bytes,
        moderated,
        dma_trusted: false,
        is_kept: false,
        path: path.to_owned(),
    }
}

pub(crate) fn interrupt(path: &str, spi: u16) -> InterruptSpec {
    InterruptSpec { physical: 32 + spi, virtual_id: 32 + spi, edge: false, path: path.to_owned() }
}

pub(crate) fn event(name: &str, from: u8, to: u8, intid: u16) -> EventSpec {
    EventSpec { name: name.to_owned(), from, to, intid, vcpu: 0 }
}

/// Partition `a`: two owned cores, a clock, an image. Partition `b`: shares core 2, has a sub-page device.
pub(crate) fn system() -> SystemSpec {
    let mut a = PartitionSpec::new("a", GicVersion::V3);
    a.has_console = true;
    a.vcpus = vec![owned(0), owned(1)];
    a.memory = vec![Memory { ipa: Ipa(0x4000_0000), bytes: 2 << 20, place: Place::Any }];
    a.images = vec![
        Image { blob: 0, load: Ipa(0x4008_0000), kind: ImageKind::Program },
        Image { blob: 1, load: Ipa(0x401f_f000), kind: ImageKind::DeviceTree },
    ];
    a.entry = Ipa(0x4008_0000);
    a.x0 = 0x401f_f000;
    a.devices = vec![device("/pl031@9010000", 0x0901_0000, 0x1000)];
    a.interrupts = vec![interrupt("/pl031@9010000", 2)];
    let mut b = PartitionSpec::new("b-2_x", GicVersion::V3);
    b.start_order = 3;
    b.autostart = false;
    b.restart = Restart { policy: RestartPolicy::OnFault, max: 5, window_ms: 60_000, delay_ms: 10 };
    b.vcpus = vec![shared(0b1100, 2, 2_000, 10_000)];
    b.memory = vec![
        Memory { ipa: Ipa(0x5000_0000), bytes: 1 << 20, place: Place::At(Pa(0x5000_0000)) },
        Memory { ipa: Ipa(0x6000_0000), bytes: 4096, place: Place::At(Pa(0x6000_0000)) },
    ];
    b.images = vec![Image { blob: 0, load: Ipa(0x5000_0000), kind: ImageKind::Program }];
    b.entry = Ipa(0x5000_0004);
    let virtio =
        DeviceSpec { dma_trusted: true, ..device("/virtio_mmio@a003e00", 0x0a00_3e00, 0x200) };
    b.devices = vec![virtio];
    b.interrupts = vec![InterruptSpec {
        physical: 79,
        virtual_id: 33,
        edge: true,
        path: "/virtio_mmio@a003e00".to_owned(),
    }];
    b.limits[2] = Some(1000);
    b.platform.uart_intid = IntId(33);
    let talk = Talk { handles: 300, requests: 7, ..Talk::default() };
    a.talk = Talk { connect_to: PartitionSet::one(1), ..talk };
    b.windows = Windows { pages: 9, blocks: 3, giants: 1, channels: 4, shared: 2 };
    b.talk = Talk { accept_from: PartitionSet::one(0), requests: 0, ..talk };
    SystemSpec {
        board: "linux,dummy-virt".to_owned(),
        gic: GicVersion::V3,
        cores: 4,
        focus: Some(0),
        partitions: vec![a, b],
        events: vec![event("up", 0, 1, 70), event("down", 1, 0, 70), event("more", 0, 1, 71)],
        channels: Vec::new(),
        services: vec![service("kv", 1, 7, PartitionSet::one(0))],
        policy: None,
        policy_images: Vec::new(),
        names: vec![name("frames", 1), NameSpec { is_prefix: true, ..name("log/", 8) }],
        shared: vec![SharedSpec {
            name: "board".to_owned(),
            pages: 3,
            class: AreaClass::Block,
            partitions: PartitionSet::one(1),
            writers: PartitionSet::one(1),
        }],
        blobs: vec![BlobSpec { bytes: vec![0x5a; 77] }, BlobSpec { bytes: vec![0xd0; 40] }],
    }
}

/// A channel of 4 KiB slots: partition, slots and INTID of each end.
pub(crate) fn channel(name: &str, ends: [(u8, u16, u16); 2]) -> ChannelSpec {
    let ends = ends.map(|(partition, slots, intid)| EndSpec { partition, slots, intid, vcpu: 0 });
    ChannelSpec { name: name.to_owned(), class: AreaClass::Page, ends }
}

pub(crate) fn service(name: &str, of: u8, number: u32, to: PartitionSet) -> ServiceSpec {
    ServiceSpec { name: name.to_owned(), of, number, to }
}

/// An entry that both partitions may open.
pub(crate) fn name(text: &str, objects: u16) -> NameSpec {
    NameSpec { text: text.to_owned(), is_prefix: false, partitions: PartitionSet(3), objects }
}

/// What parsing the system says: empty if it is accepted.
pub(crate) fn refusal(system: &SystemSpec) -> String {
    Bundle::parse(&write(system), crc32).err().map(|error| error.to_string()).unwrap_or_default()
}

/// Changes the sample system and expects a refusal with exactly this message.
pub(crate) fn refused(change: impl Fn(&mut SystemSpec), expected: &str) {
    let mut system = system();
    change(&mut system);
    assert_eq!(refusal(&system), expected);
}

pub(crate) fn accepted(change: impl Fn(&mut SystemSpec)) {
    refused(change, "");
}
