//! Descriptions that are accepted, and what becomes of them.

use std::path::Path;

use shikiri_abi::{CoreSet, IntId, Ipa, Pa, Resource};
use shikiri_config::{
    Bundle, CoreTime, GicVersion, ImageKind, Partition, Place, RestartPolicy, crc32,
};
use shikiri_describe::{Compiled, Machine, compile, machine};

use crate::support::{Board, compile_text, request, text_file};

/// Compiles a text that must be right.
fn compiled(name: &str, text: &str, board: Board) -> Compiled {
    compile_text(name, text, board).unwrap_or_else(|report| panic!("{report:?}"))
}

/// Compiles a text and hands each partition to a check.
fn with_partitions(name: &str, text: &str, board: Board, check: impl Fn(&[Partition<'_>])) {
    let compiled = compiled(name, text, board);
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    check(&bundle.partitions().collect::<Vec<_>>());
}

const HELLO: &str = "[[partition]]\nname = \"hello\"\nmemory = \"2MiB\"\nimage = \"hello\"\n";

#[test]
fn every_system_of_the_board_compiles_with_both_gics() {
    let folder = Path::new("../../boards/qemu-virt/systems");
    let mut names = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let file = entry.unwrap().path();
        for board in [Board::VirtGic2, Board::VirtGic3] {
            let compiled =
                compile(&request(&file, board)).unwrap_or_else(|report| panic!("{report:?}"));
            assert!(Bundle::parse(&compiled.bundle, crc32).is_ok());
        }
        names.push(file.file_stem().unwrap().to_string_lossy().into_owned());
    }
    for name in ["crash", "demo", "hello", "linux", "shared-core", "two-linux"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing");
    }
}

#[test]
fn the_same_description_gives_the_same_bundle() {
    let make = || compiled("twice", HELLO, Board::VirtGic3).bundle;
    assert!(make() == make());
}

#[test]
fn a_partition_has_the_usual_places_and_one_core_unless_it_says_otherwise() {
    with_partitions("usual", HELLO, Board::VirtGic3, |partitions| {
        let hello = &partitions[0];
        assert_eq!((hello.entry, hello.x0), (Ipa(0x4008_0000), 0x401f_f000));
        assert!(hello.autostart && hello.has_console);
        assert_eq!(hello.restart.policy, RestartPolicy::Never);
        assert_eq!(hello.platform.distributor, Ipa(0x0800_0000));
        assert_eq!(hello.platform.cpu_interface, Ipa(0x080a_0000));
        assert_eq!((hello.platform.uart, hello.platform.uart_intid), (Ipa(0x0900_0000), IntId(33)));
        let vcpus: Vec<_> = hello.vcpus().collect();
        assert_eq!((vcpus.len(), vcpus[0].time, vcpus[0].cores), (1, CoreTime::Owned, CoreSet(1)));
        let memory: Vec<_> = hello.memory().collect();
        assert_eq!((memory.len(), memory[0].ipa, memory[0].bytes), (1, Ipa(0x4000_0000), 2 << 20));
        assert_eq!(memory[0].place, Place::Any);
        let kinds: Vec<_> = hello.images().map(|image| (image.kind, image.load)).collect();
        let expected =
            [(ImageKind::Program, Ipa(0x4008_0000)), (ImageKind::DeviceTree, Ipa(0x401f_f000))];
        assert_eq!(kinds, expected);
    });
    with_partitions("usual2", HELLO, Board::VirtGic2, |partitions| {
        assert_eq!(partitions[0].platform.cpu_interface, Ipa(0x0801_0000));
    });
}

#[test]
fn linux_lies_where_qemu_puts_it() {
    let text = r#"
        [[partition]]
        name = "linux"
        cores = 2
        memory = "256MiB"
        kernel = "linux/Image"
        initrd = "linux/initrd.cpio"
    "#;
    with_partitions("linux", text, Board::VirtGic3, |partitions| {
        let images: Vec<_> = partitions[0].images().map(|image| (image.kind, image.load)).collect();
        let expected = [
            (ImageKind::Program, Ipa(0x4020_0000)),
            (ImageKind::Initrd, Ipa(0x4260_0000)),
            (ImageKind::DeviceTree, Ipa(0x4240_0000)),
        ];
        assert_eq!(images, expected);
        assert_eq!((partitions[0].entry, partitions[0].x0), (Ipa(0x4020_0000), 0x4240_0000));
    });
}

#[test]
fn one_file_is_carried_once() {
    let text = format!("{HELLO}{}", HELLO.replace("name = \"hello\"", "name = \"again\""));
    let compiled = compiled("once", &text, Board::VirtGic3);
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    assert_eq!(bundle.blob_count(), 3, "one program and two device trees");
}

#[test]
fn chosen_cores_avoid_named_ones_and_the_rest_is_given_away() {
    let text = r#"
        [rest]
        cores = "c"

        [[partition]]
        name = "a"
        cores = 1
        memory = "2MiB"
        image = "hello"

        [[partition]]
        name = "b"
        cores = [0]
        memory = "2MiB"
        image = "hello"

        [[partition]]
        name = "c"
        memory = "2MiB"
        image = "hello"
    "#;
    with_partitions("cores", text, Board::VirtGic3, |partitions| {
        let cores =
            |index: usize| partitions[index].vcpus().map(|vcpu| vcpu.cores.0).collect::<Vec<_>>();
        assert_eq!(cores(0), [1 << 1]);
        assert_eq!(cores(1), [1 << 0]);
        assert_eq!(cores(2), [1 << 2, 1 << 3]);
    });
}

#[test]
fn reservations_go_where_most_room_is() {
    let text = r#"
        [[partition]]
        name = "a"
        vcpus = 3
        cores = [1, 2]
        share = { budget = "3ms", period = "10ms", priority = 9 }
        memory = "2MiB"
        image = "hello"

        [[partition]]
        name = "b"
        memory = "2MiB"
        image = "hello"

        [[partition.vcpu]]
        cores = [1, 2]
        home = 1
        budget = "4ms"
        period = "10ms"

        [[partition.vcpu]]
        cores = [3]
    "#;
    with_partitions("homes", text, Board::VirtGic3, |partitions| {
        let homes: Vec<_> = partitions[0].vcpus().map(|vcpu| vcpu.home.0).collect();
        assert_eq!(homes, [1, 2, 1]);
        assert!(
            partitions[0].vcpus().all(|vcpu| vcpu.cores == CoreSet(0b110) && vcpu.priority == 9)
        );
        let second: Vec<_> = partitions[1].vcpus().map(|vcpu| (vcpu.home.0, vcpu.time)).collect();
        let reservation = CoreTime::Reservation { budget_us: 4_000, period_us: 10_000 };
        assert_eq!(second, [(1, reservation), (3, CoreTime::Owned)], "in the order of the file");
    });
}

#[test]
fn the_rest_of_the_memory_leaves_the_hypervisor_its_own() {
    let text = format!(
        "[rest]\nmemory = \"big\"\n{HELLO}\n[[partition]]\nname = \"big\"\nimage = \"timer\"\n"
    );
    with_partitions("rest", &text, Board::VirtGic3, |partitions| {
        let memory = partitions[1].memory().next().unwrap();
        // 1 GiB − 2 MiB − (16 MiB + 1 GiB / 256 + one 2 MiB piece for the images).
        assert_eq!(memory.bytes, (1024 - 2 - 22) << 20);
        assert_eq!(memory.place, Place::Any);
    });
}

#[test]
fn memory_can_have_places_and_several_regions() {
    let text = r#"
        [[partition]]
        name = "hello"
        memory = [
            { size = "2MiB", at = 0x6000_0000 },
            { size = "1MiB" },
            { size = "64K", ipa = 0x8000_0000, at = 0x7000_0000 },
        ]
        image = "hello"
    "#;
    with_partitions("regions", text, Board::VirtGic3, |partitions| {
        let memory: Vec<_> = partitions[0].memory().map(|m| (m.ipa.0, m.bytes, m.place)).collect();
        let expected = [
            (0x4000_0000, 2 << 20, Place::At(Pa(0x6000_0000))),
            (0x4020_0000, 1 << 20, Place::Any),
            (0x8000_0000, 64 << 10, Place::At(Pa(0x7000_0000))),
        ];
        assert_eq!(memory, expected);
    });
}

#[test]
fn devices_come_with_their_registers_and_interrupts() {
    let text = r#"
        [[partition]]
        name = "hello"
        memory = { size = "2MiB", at = 0x5000_0000, ipa = 0x5000_0000 }
        image = "hello"
        devices = [
            "/pl031@9010000",
            { path = "/pl061@9030000", ipa = 0x0b00_0000, spis = [300] },
            { path = "/virtio_mmio@a003e00", dma = "trusted" },
        ]
    "#;
    with_partitions("devices", text, Board::VirtGic3, |partitions| {
        let hello = &partitions[0];
        let devices: Vec<_> = hello
            .devices()
            .map(|d| (d.path, d.ipa.0, d.pa.0, d.bytes, d.moderated, d.dma_trusted))
            .collect();
        let expected = [
            ("/pl031@9010000", 0x0901_0000, 0x0901_0000, 0x1000, false, false),
            ("/pl061@9030000", 0x0b00_0000, 0x0903_0000, 0x1000, false, false),
            ("/virtio_mmio@a003e00", 0x0a00_3e00, 0x0a00_3e00, 0x200, true, true),
        ];
        assert_eq!(devices, expected);
        let interrupts: Vec<_> =
            hello.interrupts().map(|i| (i.physical.0, i.virtual_id.0, i.edge)).collect();
        assert_eq!(interrupts, [(34, 34, false), (39, 332, false), (79, 79, true)]);
        assert_eq!(hello.platform.spis, 320, "room for SPI 300");
        assert_eq!(hello.entry, Ipa(0x5008_0000));
    });
}

#[test]
fn slots_of_one_page_go_to_different_partitions() {
    let slot = |name: &str, slot: &str| {
        format!(
            "[[partition]]\nname = \"{name}\"\nmemory = \"2MiB\"\nimage = \"hello\"\n\
             devices = [{{ path = \"/virtio_mmio@{slot}\", dma = \"none\" }}]\n"
        )
    };
    let text = format!("{}{}", slot("a", "a003e00"), slot("b", "a003c00"));
    with_partitions("slots", &text, Board::VirtGic3, |partitions| {
        assert!(partitions.iter().all(|p| p.devices().all(|device| device.moderated)));
    });
}

/// 1,472 MiB of RAM; `/memreserve/` and the logo take 4 KiB and 2 MiB.
#[test]
fn the_rest_of_the_memory_leaves_the_firmware_its_own() {
    let text = "[rest]\nmemory = \"big\"\n[[partition]]\nname = \"big\"\nimage = \"timer\"\n";
    with_partitions("rest-odd", text, Board::Odd, |partitions| {
        let bytes: u64 = partitions[0].memory().map(|region| region.bytes).sum();
        // The hypervisor's are 16 MiB, 1/256, and 2 MiB for the image.
        let left = (1472 << 20) - (16 << 20) - ((1472 << 20) / 256) - (2 << 20);
        assert_eq!(bytes, (left - (2 << 20) - 4096) / (2 << 20) * (2 << 20));
    });
}

#[test]
fn the_rest_of_the_devices_is_what_cannot_write_memory() {
    let text = format!("[rest]\ndevices = \"hello\"\n{HELLO}");
    with_partitions("rest-devices", &text, Board::VirtGic3, |partitions| {
        let paths: Vec<_> = partitions[0].devices().map(|device| device.path).collect();
        assert_eq!(paths, ["/flash@0", "/flash@0", "/pl031@9010000", "/pl061@9030000"]);
    });
}

#[test]
fn buses_are_translated_and_regions_cut_at_pages() {
    let text = format!("{HELLO}devices = [\"/soc/wide@2800\", \"/soc/extended@b000\"]\n");
    with_partitions("odd-wide", &text, Board::Odd, |partitions| {
        let pieces: Vec<_> =
            partitions[0].devices().map(|d| (d.pa.0, d.bytes, d.moderated)).collect();
        let expected = [
            (0xfe00_2800, 0x800, true),
            (0xfe00_3000, 0x1000, false),
            (0xfe00_4000, 0x800, true),
            (0xfe00_b000, 0x1000, false),
        ];
        assert_eq!(pieces, expected);
        let interrupts: Vec<_> =
            partitions[0].interrupts().map(|i| (i.physical.0, i.edge)).collect();
        assert_eq!(interrupts, [(332, true)]);
        assert_eq!(partitions[0].platform.spis, 320);
    });
}

#[test]
fn a_line_that_two_devices_of_one_partition_share_is_routed_once() {
    let text = format!("{HELLO}devices = [\"/soc/timer@1200\", \"/soc/watchdog@1400\"]\n");
    with_partitions("odd-line", &text, Board::Odd, |partitions| {
        assert_eq!(partitions[0].devices().count(), 2);
        assert_eq!(partitions[0].interrupts().count(), 1);
    });
}

#[test]
fn restart_limits_and_order_arrive() {
    let text = format!(
        "{HELLO}start_order = 7\nautostart = false\n\
         restart = {{ policy = \"on-fault\", max = 3, window = \"5s\", delay = \"1500us\" }}\n\
         limits = {{ core_time = \"150%\", memory = \"4MiB\", event_ports = 16, bus_share = \"12.5%\" }}\n"
    );
    with_partitions("limits", &text, Board::VirtGic3, |partitions| {
        let hello = &partitions[0];
        assert_eq!((hello.start_order, hello.autostart), (7, false));
        let restart = hello.restart;
        assert_eq!((restart.policy, restart.max), (RestartPolicy::OnFault, 3));
        assert_eq!((restart.window_ms, restart.delay_ms), (5_000, 2));
        assert_eq!(hello.limit(Resource::CoreTime), Some(1_500_000));
        assert_eq!(hello.limit(Resource::Memory), Some(1024));
        assert_eq!(hello.limit(Resource::EventPorts), Some(16));
        assert_eq!(hello.limit(Resource::BusShare), Some(125_000));
        assert_eq!(hello.limit(Resource::ManagementMemory), None);
    });
}

#[test]
fn the_bundle_names_board_and_focus() {
    let text = format!(
        "{HELLO}console = false\n{}",
        HELLO.replace("name = \"hello\"", "name = \"second\"")
    );
    let compiled = compiled("board", &text, Board::VirtGic2);
    let board = Bundle::parse(&compiled.bundle, crc32).unwrap().board();
    assert_eq!((board.compatible, board.gic, board.cores), ("linux,dummy-virt", GicVersion::V2, 2));
    assert_eq!(board.focus, Some(1), "the first that has a console");
}

#[test]
fn a_description_tells_its_machine_before_there_is_one() {
    let full = "[machine]\nboard = \"qemu-virt\"\ncores = 8\nmemory = \"2GiB\"\ngic = 2\n";
    let expected =
        Machine { board: "qemu-virt".to_owned(), cores: 8, memory_bytes: 2 << 30, gic: Some(2) };
    assert_eq!(machine(&text_file("machine", full)).unwrap(), expected);
    let usual =
        Machine { board: "qemu-virt".to_owned(), cores: 4, memory_bytes: 1 << 30, gic: None };
    assert_eq!(machine(&text_file("no-machine", HELLO)).unwrap(), usual);
    assert!(machine(Path::new("tests/bad/syntax.toml")).is_err());
    assert!(machine(Path::new("no/such/file.toml")).is_err());
}

#[test]
fn the_explanation_shows_who_has_what_and_what_is_left() {
    let text = r#"
        [[partition]]
        name = "hello"
        cores = [1]
        memory = { size = "2MiB", at = 0x5000_0000 }
        image = "hello"
        devices = [{ path = "/pl031@9010000", spis = [40] }]
        kept_devices = ["/pl061@9030000"]
        restart = { policy = "always", max = 3, delay = "10ms" }

        [[partition]]
        name = "turn"
        cores = [0]
        share = { budget = "1ms", period = "8ms", priority = 2 }
        memory = "4MiB"
        image = "timer"
        cmdline = "ticks=3"
        autostart = false
        console = false
    "#;
    let explanation = compiled("explained", text, Board::VirtGic3).explanation;
    let file = Path::new("tests/explanation.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &explanation).unwrap();
    }
    assert_eq!(explanation, std::fs::read_to_string(file).unwrap());
}

#[test]
fn the_published_schema_is_current() {
    let file = Path::new("../../hyp/doc/schema/system.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, shikiri_describe::json_schema()).unwrap();
    }
    assert_eq!(shikiri_describe::json_schema(), std::fs::read_to_string(file).unwrap());
}

#[test]
fn a_policy_has_its_holder_its_files_and_what_it_may_hand_out() {
    let text = format!(
        "{HELLO}[policy]\npartition = \"hello\"\npartitions = 3\nimages = [\"hello\", \"timer\"]\n\
         answer = \"20ms\"\ndefault = \"grant\"\n\
         handout = {{ memory = \"8MiB\", core_time = \"150%\" }}\n"
    );
    let compiled = compiled("policy", &text, Board::VirtGic3);
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let policy = bundle.policy().unwrap();
    assert_eq!((policy.partition, policy.spare, policy.answer_ms), (Some(0), 3, 20));
    assert_eq!(policy.handout[..3], [Some(1_500_000), None, Some(2048)]);
    let images: Vec<_> = bundle.policy_images().map(|image| (image.name, image.blob)).collect();
    // A file that a partition starts with is in the bundle once.
    assert_eq!(images[0], ("hello", 0));
    assert_eq!(bundle.blob(images[1].1).unwrap().bytes, b"program timer");
    let shown = "policy    hello, 3 partitions at run time\n  \
                 requests   granted if not answered within 20 ms\n  \
                 hand out   core time up to 150%\n  hand out   memory up to 8MiB\n  \
                 images     hello, timer\n";
    assert!(compiled.explanation.contains(shown), "{}", compiled.explanation);
}

/// HELLO has one of four cores and 2 MiB.
#[test]
fn a_hand_out_of_more_than_is_left_over_is_warned_of_with_both_amounts() {
    let warnings = |handout: &str| {
        let policy = format!("[policy]\npartition = \"hello\"\nhandout = {{ {handout} }}\n");
        let shown = compiled("handout", &format!("{HELLO}{policy}"), Board::VirtGic3).explanation;
        let lines = shown.lines().filter_map(|line| line.strip_prefix("  warning    "));
        let left = shown.split("\n  memory     ").last().and_then(|it| it.split(';').next());
        let left = left.unwrap().replace(' ', "");
        (lines.map(str::to_owned).collect::<Vec<_>>(), left)
    };
    assert_eq!(warnings("memory = \"64MiB\", core_time = \"300%\", event_ports = 9999").0, [""; 0]);
    let (said, left) = warnings("memory = \"4GiB\", core_time = \"301%\"");
    let behind = "is left over while all described partitions live";
    assert_eq!(
        said,
        [
            format!("301% of core time may be handed out, and 300% {behind}"),
            format!("4GiB of memory may be handed out, and {left} {behind}"),
        ]
    );
}

#[test]
fn a_policy_file_that_names_what_nobody_makes_is_taken_and_it_is_said() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("later-{}.policy", std::process::id()));
    let later = "[[partition]]\nname = \"scos\"\n[[partition]]\nname = \"later\"\nstart = true\n\
                 [[partition]]\nname = \"made\"\n\
                 create = { image = \"hello\", initrd = \"timer\", memory = \"2M\", cores = \"0-3\" }\n";
    std::fs::write(&file, later).unwrap();
    let text = format!(
        "[[partition]]\nname = \"scos\"\nimage = \"scos\"\ninitrd = \"scos/root.cpio\"\nmemory = \"8MiB\"\n\
         files = {{ \"/etc/policy.toml\" = \"{}\" }}\n\
         [policy]\npartition = \"scos\"\npartitions = 1\nimages = [\"hello\", \"timer\"]\n",
        file.display()
    );
    let shown = compiled("later", &text, Board::VirtGic3).explanation;
    let waits: Vec<_> = shown.lines().filter(|line| line.contains("  waits ")).collect();
    let line = "  waits      the policy file names `later`, which is not described: until somebody makes it";
    assert_eq!(waits, [line]);
}

#[test]
fn names_of_objects_are_what_the_entries_say() {
    let text = format!(
        "{HELLO}handles = 4\n[[name]]\nname = \"frames\"\npartitions = [\"hello\"]\n\
         [[name]]\nname = \"log/*\"\npartitions = [\"hello\"]\n\
         [[name]]\nname = \"*\"\npartitions = [\"hello\"]\nobjects = 3\n"
    );
    let compiled = compiled("names", &text, Board::VirtGic3);
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let entries: Vec<_> = bundle
        .name_entries()
        .map(|entry| (entry.text, entry.is_prefix, entry.partitions.0, entry.objects))
        .collect();
    assert_eq!(entries, [("frames", false, 1, 1), ("log/", true, 1, 8), ("", true, 1, 3)]);
    let shown =
        "names of objects\n  frames: hello\n  log/*, 8 at a time: hello\n  *, 3 at a time: hello\n";
    assert!(compiled.explanation.contains(shown), "{}", compiled.explanation);
}

#[test]
fn every_board_has_a_folder_with_descriptions_for_it() {
    for board in shikiri_boards::BOARDS {
        let folder = Path::new("../../boards").join(board.folder).join("systems");
        let files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 2, "{}", folder.display());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let says = format!("board = \"{}\"", board.folder);
            assert!(text.contains(&says), "{} does not say {says}", file.display());
        }
    }
}
