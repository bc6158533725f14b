//! The device trees that guests get.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

use shikiri_describe::{Request, Seed, compile};

use crate::support::{Board, compile_text, guest_tree, request, text_file};

/// The tree of the first partition of a text.
fn tree_of(name: &str, text: &str, board: Board) -> Vec<u8> {
    let compiled = compile_text(name, text, board).unwrap_or_else(|report| panic!("{report:?}"));
    guest_tree(&compiled, 0)
}

fn cells(node: &FdtNode<'_>, name: &str) -> Vec<u32> {
    node.property(name).unwrap().value_as().unwrap()
}

fn strings(node: &FdtNode<'_>, name: &str) -> Vec<String> {
    let values: Vec<&str> = node.property(name).unwrap().value_as().unwrap();
    values.into_iter().map(str::to_owned).collect()
}

fn hello(more: &str) -> String {
    format!("[[partition]]\nname = \"hello\"\nmemory = \"64MiB\"\nimage = \"hello\"\n{more}")
}

#[test]
fn it_is_what_linux_needs() {
    let text = hello("cores = 2\ncmdline = \"a=b c\"\n");
    let tree = tree_of("tree3", &text, Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    assert_eq!(strings(&fdt.root(), "compatible"), ["shikiri,partition", "linux,dummy-virt"]);
    let memory = fdt.find_node("/memory@40000000").unwrap();
    assert_eq!(cells(&memory, "reg"), [0, 0x4000_0000, 0, 64 << 20]);
    let gic = fdt.find_node("/intc@8000000").unwrap();
    assert_eq!(strings(&gic, "compatible"), ["arm,gic-v3"]);
    assert_eq!(cells(&gic, "reg"), [0, 0x0800_0000, 0, 0x1_0000, 0, 0x080a_0000, 0, 0x4_0000]);
    assert_eq!(cells(&gic, "phandle"), cells(&fdt.root(), "interrupt-parent"));
    let timer = fdt.find_node("/timer").unwrap();
    assert_eq!(cells(&timer, "interrupts"), [1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]);
    let uart = fdt.find_node("/pl011@9000000").unwrap();
    assert_eq!(cells(&uart, "interrupts"), [0, 1, 4]);
    let psci = fdt.find_node("/psci").unwrap();
    assert_eq!(strings(&psci, "method"), ["hvc"]);
    let chosen = fdt.find_node("/chosen").unwrap();
    assert_eq!(strings(&chosen, "bootargs"), ["a=b c"]);
    assert_eq!(strings(&chosen, "stdout-path"), ["/pl011@9000000"]);
    assert!(chosen.property("linux,initrd-start").is_none());
}

#[test]
fn each_partition_has_its_own_seed_and_the_bundle_has_none_of_itself() {
    let second = hello("").replace("\"hello\"\nmemory", "\"second\"\nmemory");
    let file = text_file("tree-seeds", &(hello("") + &second));
    let seed = |byte: u8| Seed { rng: [byte; 32], kaslr: u64::from_be_bytes([byte; 8]) };
    let plain = request(file, Board::VirtGic3);
    let seeded = Request { seeds: vec![seed(3), seed(5)], ..plain.clone() };
    let (plain, seeded) = (compile(&plain).unwrap(), compile(&seeded).unwrap());
    for (partition, byte) in [(0, 3), (1, 5)] {
        let tree = guest_tree(&seeded, partition);
        let chosen = Fdt::new(&tree).unwrap().find_node("/chosen").unwrap();
        assert_eq!(chosen.property("rng-seed").unwrap().value(), [byte; 32]);
        assert_eq!(chosen.property("kaslr-seed").unwrap().value(), [byte; 8]);
        let tree = guest_tree(&plain, partition);
        let chosen = Fdt::new(&tree).unwrap().find_node("/chosen").unwrap();
        assert!(chosen.property("rng-seed").is_none() && chosen.property("kaslr-seed").is_none());
    }
}

#[test]
fn gicv2_has_a_cpu_interface_and_cpu_masks() {
    let tree = tree_of("tree2", &hello("cores = 3\n"), Board::VirtGic2);
    let fdt = Fdt::new(&tree).unwrap();
    let gic = fdt.find_node("/intc@8000000").unwrap();
    assert_eq!(strings(&gic, "compatible"), ["arm,cortex-a15-gic"]);
    assert_eq!(cells(&gic, "reg"), [0, 0x0800_0000, 0, 0x1_0000, 0, 0x0801_0000, 0, 0x1_0000]);
    let timer = fdt.find_node("/timer").unwrap();
    assert_eq!(cells(&timer, "interrupts")[..3], [1, 13, 0x704]);
}

#[test]
fn cores_have_the_numbers_that_mpidr_shows() {
    let text = hello("vcpus = 18\ncores = [0]\nshare = { budget = \"50us\", period = \"10ms\" }\n");
    let tree = tree_of("many", &text, Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    let cpus = fdt.find_node("/cpus").unwrap();
    let numbers: Vec<u32> = cpus.children().map(|cpu| cells(&cpu, "reg")[0]).collect();
    let expected: Vec<u32> = (0..16).chain([0x100, 0x101]).collect();
    assert_eq!(numbers, expected);
    assert!(cpus.children().all(|cpu| strings(&cpu, "enable-method") == ["psci"]));
}

#[test]
fn without_a_console_there_is_no_uart() {
    let tree = tree_of("quiet", &hello("console = false\n"), Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    assert!(fdt.find_node("/pl011@9000000").is_none());
    assert!(fdt.find_node("/chosen").unwrap().property("stdout-path").is_none());
}

#[test]
fn the_ram_disk_is_named_with_its_exact_bounds() {
    let text = "[[partition]]\nname = \"l\"\nmemory = \"128MiB\"\nkernel = \"linux/Image\"\ninitrd = \"linux/initrd.cpio\"\n";
    let tree = tree_of("initrd", text, Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    let chosen = fdt.find_node("/chosen").unwrap();
    let bound = |name: &str| chosen.property(name).unwrap().value_as::<u64>().unwrap();
    assert_eq!(bound("linux,initrd-start"), 0x4260_0000);
    assert_eq!(bound("linux,initrd-end"), 0x4260_0000 + 5000);
}

#[test]
fn devices_are_copied_with_their_clocks_and_new_numbers() {
    let text = hello("devices = [{ path = \"/pl031@9010000\", ipa = 0x0b01_0000, spis = [50] }]\n");
    let tree = tree_of("copy", &text, Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    let rtc = fdt.find_node("/pl031@b010000").unwrap();
    assert_eq!(strings(&rtc, "compatible"), ["arm,pl031", "arm,primecell"]);
    assert_eq!(cells(&rtc, "reg"), [0, 0x0b01_0000, 0, 0x1000]);
    assert_eq!(cells(&rtc, "interrupts"), [0, 50, 4]);
    assert_eq!(strings(&rtc, "clock-names"), ["apb_pclk"]);
    assert!(rtc.property("dma-coherent").is_some(), "the whole board is coherent");
    let clock = fdt.root().children().find(|node| {
        node.property("phandle")
            .is_some_and(|p| p.value() == rtc.property("clocks").unwrap().value())
    });
    assert_eq!(cells(&clock.unwrap(), "clock-frequency"), [24_000_000]);
}

#[test]
fn what_is_kept_back_is_not_in_the_guests_tree() {
    let text = hello("devices = [\"/pl061@9030000\"]\nkept_devices = [\"/pl031@9010000\"]\n");
    let tree = tree_of("kept", &text, Board::VirtGic3);
    let fdt = Fdt::new(&tree).unwrap();
    assert!(fdt.find_node("/pl061@9030000").is_some());
    assert!(fdt.find_node("/pl031@9010000").is_none());
}

#[test]
fn omitted_properties_are_omitted() {
    let text = hello("devices = [{ path = \"/soc/clocked@7000\", omit = [\"clocks\"] }]\n");
    let tree = tree_of("omit", &text, Board::Odd);
    let fdt = Fdt::new(&tree).unwrap();
    let device = fdt.find_node("/clocked@fe007000").unwrap();
    assert!(device.property("clocks").is_none());
    assert_eq!(cells(&device, "reg"), [0, 0xfe00_7000, 0, 0x1000]);
}

#[test]
fn a_clock_of_the_firmwares_becomes_a_fixed_one_for_each_name() {
    let device = "{ path = \"/soc/serial@7e201000\", clock_hz = 48000000 }";
    let tree = tree_of("firmware-clock", &hello(&format!("devices = [{device}]\n")), Board::Rpi4);
    let fdt = Fdt::new(&tree).unwrap();
    let uart = fdt.find_node("/serial@fe201000").unwrap();
    assert_eq!(cells(&uart, "interrupts"), [0, 121, 4]);
    let clocks = cells(&uart, "clocks");
    assert_eq!(clocks.len(), 2);
    assert_eq!(clocks[0], clocks[1]);
    let is_clock = |node: &FdtNode<'_>| {
        node.property("phandle").is_some() && cells(node, "phandle") == [clocks[0]]
    };
    let clock = fdt.root().children().find(is_clock).unwrap();
    assert_eq!(cells(&clock, "clock-frequency"), [48_000_000]);
}

#[test]
fn two_devices_share_one_copied_clock() {
    let text = hello("devices = [\"/soc/timer@1200\"]\n");
    let tree = tree_of("clocks", &text, Board::Odd);
    let fdt = Fdt::new(&tree).unwrap();
    let clocks = cells(&fdt.find_node("/timer@fe001200").unwrap(), "clocks");
    assert_eq!(clocks.len(), 2);
    assert_eq!(clocks[0], clocks[1]);
    let fixed = |node: &FdtNode<'_>| node.name().starts_with("clock-");
    assert_eq!(fdt.root().children().filter(fixed).count(), 1);
}

#[test]
fn a_guest_finds_its_peers_and_its_events() {
    let text = hello("handles = 8\nrequests = 2\nconnect_to = [\"other\"]\n")
        + "[[partition]]\nname = \"other\"\nmemory = \"4MiB\"\nimage = \"hello\"\nhandles = 8\n\
           accept_from = [\"hello\"]\n\
           [[event]]\nname = \"up\"\nfrom = \"hello\"\nto = \"other\"\nspi = 300\n\
           [[event]]\nname = \"down\"\nfrom = \"other\"\nto = \"hello\"\nspi = 40\n";
    let compiled = compile_text("peers", &text, Board::VirtGic3).unwrap();
    let tree = guest_tree(&compiled, 0);
    let fdt = Fdt::new(&tree).unwrap();
    let peer = fdt.find_node("/hypervisor/peer@1").unwrap();
    assert_eq!((cells(&peer, "reg"), strings(&peer, "label")), (vec![1], vec!["other".to_owned()]));
    assert!(peer.property("shikiri,connect-to").is_some());
    assert!(peer.property("shikiri,accept-from").is_none());
    let up = fdt.find_node("/hypervisor/event-up").unwrap();
    assert_eq!(strings(&up, "compatible"), ["shikiri,event-send"]);
    assert_eq!(cells(&up, "shikiri,handle"), [0, 1 << 16]);
    assert!(up.property("interrupts").is_none());
    let down = fdt.find_node("/hypervisor/event-down").unwrap();
    assert_eq!(strings(&down, "compatible"), ["shikiri,event-receive"]);
    assert_eq!(cells(&down, "shikiri,handle"), [0, 1 << 16 | 1]);
    assert_eq!(cells(&down, "interrupts"), [0, 40, 1], "SPI 40, a rising edge");
    let tree = guest_tree(&compiled, 1);
    let fdt = Fdt::new(&tree).unwrap();
    assert!(fdt.find_node("/hypervisor/peer@0").unwrap().property("shikiri,accept-from").is_some());
    let up = fdt.find_node("/hypervisor/event-up").unwrap();
    assert_eq!(cells(&up, "interrupts"), [0, 300, 1]);
}

/// What stands in the tree is what the hypervisor gives: behind the handles of the events, in the first slots.
#[test]
fn a_guest_finds_its_ends_of_channels() {
    let areas = "handles = 20\nareas = { pages = 12, blocks = 1, channels = 2 }\n";
    let text = hello(areas)
        + "[[partition]]\nname = \"other\"\nmemory = \"4MiB\"\nimage = \"hello\"\n"
        + areas
        + "[[event]]\nname = \"up\"\nfrom = \"hello\"\nto = \"other\"\nspi = 50\n\
           [[channel]]\nname = \"talk\"\nends = [{ partition = \"hello\", slots = 3, spi = 40 }, \
           { partition = \"other\", slots = 0, spi = 41 }]\n\
           [[channel]]\nname = \"more\"\nslot = \"2MiB\"\nends = [{ partition = \"other\", slots = 1, spi = 42 }, \
           { partition = \"hello\", slots = 1, spi = 300 }]\n";
    let compiled = compile_text("ends", &text, Board::VirtGic3).unwrap();
    let shown = "\n  channel    talk with other, 3 slots of 4 KiB, SPI 40, handle 0x10002\n  channel    more with";
    assert!(compiled.explanation.contains(shown), "{}", compiled.explanation);
    let tree = guest_tree(&compiled, 0);
    let fdt = Fdt::new(&tree).unwrap();
    let talk = fdt.find_node("/hypervisor/channel-talk").unwrap();
    assert_eq!(strings(&talk, "compatible"), ["shikiri,channel"]);
    assert_eq!(strings(&talk, "shikiri,peer"), ["other"]);
    assert_eq!(cells(&talk, "shikiri,events"), [0, 1 << 16 | 1]);
    assert_eq!(cells(&talk, "shikiri,handle"), [0, 1 << 16 | 2]);
    assert_eq!(cells(&talk, "shikiri,arrivals"), [0x80, 0]);
    assert_eq!(cells(&talk, "shikiri,credits"), [0x80, 0x1000]);
    assert_eq!((cells(&talk, "shikiri,slots"), cells(&talk, "shikiri,class")), (vec![3], vec![0]));
    assert_eq!(cells(&talk, "interrupts"), [0, 40, 1], "SPI 40, a rising edge");
    let more = fdt.find_node("/hypervisor/channel-more").unwrap();
    assert_eq!(cells(&more, "shikiri,handle"), [0, 1 << 16 | 7], "behind a port and three slots");
    assert_eq!(cells(&more, "shikiri,arrivals"), [0x80, 0x5000]);
    assert_eq!((cells(&more, "shikiri,slots"), cells(&more, "shikiri,class")), (vec![1], vec![1]));
    assert_eq!(cells(&more, "interrupts"), [0, 300, 1]);
    let tree = guest_tree(&compiled, 1);
    let fdt = Fdt::new(&tree).unwrap();
    let more = fdt.find_node("/hypervisor/channel-more").unwrap();
    assert_eq!(cells(&more, "shikiri,handle"), [0, 1 << 16 | 4]);
    assert_eq!(cells(&more, "shikiri,arrivals"), [0x80, 0x2000]);
}

#[test]
fn a_guest_finds_the_memory_that_it_shares_v7() {
    let areas = "handles = 8\nareas = { pages = 2, blocks = 2, shared = 4 }\n";
    let text = hello(areas)
        + "[[partition]]\nname = \"other\"\nmemory = \"4MiB\"\nimage = \"hello\"\n"
        + areas
        + "[[event]]\nname = \"up\"\nfrom = \"hello\"\nto = \"other\"\nspi = 300\n\
           [[shared]]\nname = \"own\"\nsize = \"64K\"\npartitions = [\"hello\"]\n\
           [[shared]]\nname = \"board\"\nsize = \"10000\"\npartitions = [\"hello\"]\n\
           readers = [\"other\"]\n";
    let compiled = compile_text("shared", &text, Board::VirtGic3).unwrap();
    let check = |partition, address: u32, handle: u32, is_read_only| {
        let tree = guest_tree(&compiled, partition);
        let fdt = Fdt::new(&tree).unwrap();
        let board = fdt.find_node("/hypervisor/shared-board").unwrap();
        assert_eq!(strings(&board, "compatible"), ["shikiri,shared-area"]);
        assert_eq!(strings(&board, "label"), ["board"]);
        assert_eq!(cells(&board, "shikiri,handle"), [0, handle]);
        assert_eq!(cells(&board, "shikiri,address"), [0x80, address]);
        assert_eq!(cells(&board, "shikiri,bytes"), [0, 12 << 10]);
        assert_eq!(board.property("shikiri,read-only").is_some(), is_read_only);
        assert_eq!(fdt.find_node("/hypervisor/shared-own").is_some(), partition == 0);
    };
    // Behind the event's handle, and for `hello` in the second slot of 2 MiB.
    check(0, 0x4020_0000, 1 << 16 | 2, false);
    check(1, 0x4000_0000, 1 << 16 | 1, true);
    let shown = "  shared     board, 12 KiB at 0x8040000000, read-only, handle 0x10001\n";
    assert!(compiled.explanation.contains(shown), "{}", compiled.explanation);
}

/// Events first, then shared areas, then channels, whatever their order in the file.
#[test]
fn channels_come_behind_events_and_shared_areas() {
    let areas = "handles = 12\nareas = { pages = 6, blocks = 2, channels = 1, shared = 2 }\n";
    let text = hello(areas)
        + "[[channel]]\nname = \"talk\"\nslot = \"2MiB\"\nends = [\
           { partition = \"hello\", slots = 1, spi = 40 }, { partition = \"other\", slots = 2, spi = 41 }]\n"
        + "[[partition]]\nname = \"other\"\nmemory = \"4MiB\"\nimage = \"hello\"\n"
        + areas
        + "[[shared]]\nname = \"board\"\nsize = \"4K\"\npartitions = [\"hello\", \"other\"]\n\
           [[shared]]\nname = \"large\"\nsize = \"2M\"\npartitions = [\"hello\"]\n\
           [[event]]\nname = \"up\"\nfrom = \"hello\"\nto = \"other\"\nspi = 50\n";
    let compiled = compile_text("all", &text, Board::VirtGic3).unwrap();
    let check = |partition, channel: u32| {
        let tree = guest_tree(&compiled, partition);
        let fdt = Fdt::new(&tree).unwrap();
        let cells_of = |name: &str, property| cells(&fdt.find_node(name).unwrap(), property);
        assert_eq!(cells_of("/hypervisor/event-up", "shikiri,handle"), [0, 1 << 16]);
        assert_eq!(cells_of("/hypervisor/shared-board", "shikiri,handle"), [0, 1 << 16 | 1]);
        assert_eq!(cells_of("/hypervisor/shared-board", "shikiri,address"), [0x80, 0]);
        let talk = "/hypervisor/channel-talk";
        assert_eq!(cells_of(talk, "shikiri,events"), [0, 1 << 16 | channel]);
        assert_eq!(cells_of(talk, "shikiri,handle"), [0, 1 << 16 | (channel + 1)]);
        assert_eq!(cells_of(talk, "shikiri,arrivals"), [0x80, 0x1000]);
        assert_eq!(cells_of(talk, "shikiri,credits"), [0x80, 0x2000]);
    };
    check(0, 3);
    check(1, 2);
    let shown = "  channel    talk with hello, 2 slots of 2 MiB, SPI 41, handle 0x10003\n";
    assert!(compiled.explanation.contains(shown), "{}", compiled.explanation);
    // Each takes a slot and a handle of its own: one less of either is too few.
    let refused = |from: &str, to: &str| {
        compile_text("all", &text.replace(from, to), Board::VirtGic3).unwrap_err().to_string()
    };
    assert_eq!(refused("blocks = 2", "blocks = 1"), "`hello` has too few places for its channels");
    assert_eq!(
        refused("handles = 12", "handles = 5"),
        "`hello` has fewer handles than its channels need"
    );
}

#[test]
fn who_talks_to_nobody_finds_no_hypervisor() {
    let tree = tree_of("silent", &hello(""), Board::VirtGic3);
    assert!(Fdt::new(&tree).unwrap().find_node("/hypervisor").is_none());
}
