//! Trees of boards as their firmware hands them over, and trees that were changed: one place each.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node as _, ToPropertyValue};
use shikiri_abi::{IntId, Pa};
use std::vec::Vec;

use super::{Board, GicFact, Range, StartMethod, TreeError, UartFact, UartKind, read};

const VIRT: &[u8] = include_bytes!("../../../../tools/describe/tests/board/qemu-virt-gic3.dtb");
const RPI4: &[u8] = include_bytes!("../../../../tools/describe/tests/board/rpi4.dtb");

const MINI: UartFact = UartFact { kind: UartKind::Mini, base: Pa(0xfe21_5040), intid: IntId(125) };
const PL011: UartFact =
    UartFact { kind: UartKind::Pl011, base: Pa(0xfe20_1000), intid: IntId(153) };

/// No range.
const NONE: (Pa, u64) = (Pa(0), 0);

/// A tree of a board, to be changed.
struct Tree(DeviceTree);

impl Tree {
    fn of(bytes: &[u8]) -> Self {
        Self(DeviceTree::from_fdt(&Fdt::new(bytes).unwrap()))
    }

    fn node(&mut self, path: &[&str]) -> &mut DeviceTreeNode {
        path.iter().fold(&mut self.0.root, |node, name| node.child_mut(name).unwrap())
    }

    fn set(mut self, path: &[&str], name: &str, value: impl ToPropertyValue) -> Self {
        self.node(path).add_property(DeviceTreeProperty::new_unchecked(name, value));
        self
    }

    fn without(mut self, path: &[&str], name: &str) -> Self {
        self.node(path).remove_property(name).unwrap();
        self
    }

    fn add(mut self, path: &[&str], name: &str) -> Self {
        self.node(path).add_child(DeviceTreeNode::new_unchecked(name));
        self
    }

    fn read(&self) -> Result<Board, TreeError> {
        read(self.0.to_dtb().leak(), image_of(&self.0), |_| {})
    }

    fn board(&self) -> Board {
        self.read().unwrap()
    }
}

/// Where the loaders of the two machines put the image.
fn image_of(tree: &DeviceTree) -> Pa {
    Pa(if tree.root.child("memory@40000000").is_some() { 0x4020_0000 } else { 0x20_0000 })
}

/// Cells as a tree holds them.
fn cells(cells: &[u32]) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()
}

fn range(start: u64, bytes: u64) -> Range {
    Range { start, end: start.saturating_add(bytes) }
}

fn frames(board: &Board) -> [u64; 4] {
    match board.gic {
        GicFact::V2 { gicd, gicc, gich, gicv } => [gicd.0, gicc.0, gich.0, gicv.0],
        GicFact::V3 { .. } => panic!("GICv3"),
    }
}

#[test]
fn the_raspberry_pi_4_is_read_through_its_buses() {
    let board = Tree::of(RPI4).board();
    assert_eq!(board.compatible, "raspberrypi,4-model-b");
    let ram = [range(0, 0x3c00_0000), range(0x4000_0000, 0xbc00_0000)];
    assert_eq!(board.ram.as_slice(), ram);
    // What has no place, no size or is disabled is not reserved.
    assert_eq!(board.reserved.as_slice(), [range(0, 0x1000)]);
    assert_eq!(board.unmapped, 0);
    assert_eq!(frames(&board), [0xff84_1000, 0xff84_2000, 0xff84_4000, 0xff84_6000]);
    assert_eq!(board.uart, MINI);
    assert_eq!(board.bcm_power, Some(Pa(0xfe10_0000)));
    assert!(!board.has_psci_by_smc && board.initrd.is_none());
    let starts: Vec<_> =
        board.cores.iter().take(board.core_count).map(|core| (core.mpidr, core.start)).collect();
    let table = [0xd8, 0xe0, 0xe8, 0xf0].map(|place| StartMethod::SpinTable(Pa(place)));
    assert_eq!(starts, (0..).zip(table).collect::<Vec<_>>());
}

#[test]
fn qemus_virt_has_psci_and_no_power_manager() {
    let board = Tree::of(VIRT).board();
    assert!(board.has_psci_by_smc && board.bcm_power.is_none());
    assert_eq!(board.uart.kind, UartKind::Pl011);
    assert!(board.cores.iter().take(board.core_count).all(|core| core.start == StartMethod::Psci));
    assert_eq!((board.core_count, board.ram.as_slice().len()), (4, 1));
}

#[test]
fn what_is_the_hypervisors_is_the_interrupt_controller_but_for_gicv_the_console_and_the_power_manager()
 {
    let board = Tree::of(RPI4).board();
    let [gicd, gicc, gich, gicv] = frames(&board);
    let own = [(gicd, 0x1000), (gicc, 0x2000), (gich, 0x2000), (gicv + 0x1000, 0x1000)];
    let [a, b, c, d] = own.map(|(start, bytes)| (Pa(start), bytes));
    let (console, power) = ((Pa(MINI.base.0 - 0x40), 0x80), (Pa(0xfe10_0000), 0x1000));
    let own = [a, b, c, d, console, power, NONE, NONE, NONE, NONE, NONE];
    assert_eq!((board.uart, board.own_registers()), (MINI, own));
    let distributor = (Pa(0x0800_0000), 0x1_0000);
    let redistributors = (Pa(0x080a_0000), 0x00f6_0000);
    let console = (Pa(0x0900_0000), 0x200);
    let its = (Pa(0x0808_0000), 0x2_0000);
    let own = [distributor, redistributors, NONE, NONE, NONE, console, NONE, its, NONE, NONE, NONE];
    assert_eq!(Tree::of(VIRT).board().own_registers(), own);
}

#[test]
fn the_console_is_what_stdout_names_by_alias_or_path() {
    let on = |stdout: &str| Tree::of(RPI4).set(&["chosen"], "stdout-path", stdout).board().uart;
    assert_eq!(on("serial0:115200n8"), PL011);
    assert_eq!(on("serial1"), MINI);
    assert_eq!(on("/soc/serial@7e201000:9600"), PL011);
    assert_eq!(on("/soc/serial@7e215040"), MINI);
}

/// The Raspberry Pi's firmware hands over some sixty, and calls the mini UART `serial0`; with `dtoverlay=disable-bt` the PL011.
#[test]
fn an_alias_is_found_however_many_there_are_and_wherever_they_stand() {
    let many = |serial0: &str, place: usize| {
        let mut tree =
            Tree::of(RPI4).without(&["aliases"], "serial0").without(&["aliases"], "serial1");
        for number in 0..100 {
            if number == place {
                tree = tree.set(&["aliases"], "serial0", serial0);
            }
            tree = tree.set(&["aliases"], &std::format!("other{number}"), "/soc/other");
        }
        tree.set(&["chosen"], "stdout-path", "serial0:115200n8")
    };
    for place in [0, 15, 16, 99] {
        assert_eq!(many("/soc/serial@7e215040", place).board().uart, MINI, "{place}");
        assert_eq!(many("/soc/serial@7e201000", place).board().uart, PL011, "{place}");
    }
    assert_eq!(many("", 100).read().err(), Some(TreeError::NoUart), "it names none");
    // Without the node, and with it as the last of the root's.
    let mut tree = Tree::of(RPI4).set(&["chosen"], "stdout-path", "serial0");
    let aliases = tree.0.root.remove_child("aliases").unwrap();
    assert_eq!(tree.read().err(), Some(TreeError::NoUart));
    tree.0.root.add_child(aliases);
    assert_eq!(tree.board().uart, PL011);
}

#[test]
fn without_stdout_the_console_is_serial0_or_else_the_first_uart() {
    let bare = || Tree::of(RPI4).without(&["chosen"], "stdout-path");
    let serial0 = |path: &str| bare().set(&["aliases"], "serial0", path).board().uart;
    assert_eq!(serial0("/soc/serial@7e215040"), MINI);
    assert_eq!(serial0("/soc/serial@7e201000"), PL011);
    assert_eq!(serial0("/soc/nothing"), PL011);
    assert_eq!(bare().without(&["aliases"], "serial0").board().uart, PL011);
}

#[test]
fn a_disabled_or_unknown_uart_is_no_console_and_the_others_are_not_taken_for_it() {
    let mini = ["soc", "serial@7e215040"];
    let refused = |tree: Tree| tree.read().err();
    assert_eq!(refused(Tree::of(RPI4).set(&mini, "status", "disabled")), Some(TreeError::NoUart));
    assert_eq!(refused(Tree::of(RPI4).set(&mini, "compatible", "x,y")), Some(TreeError::NoUart));
}

/// EL2 maps the page that the base is in, and uses registers on both sides of a mini UART's.
#[test]
fn a_uart_whose_registers_are_not_all_in_its_page_is_no_console() {
    let at = |stdout: &str, node: &str, base: u32| {
        let tree = Tree::of(RPI4).set(&["chosen"], "stdout-path", stdout);
        tree.set(&["soc", node], "reg", cells(&[base, 0x40])).read().map(|board| board.uart.base)
    };
    let pl011 = |base| at("serial0", "serial@7e201000", base);
    assert_eq!(pl011(0x7e20_2000), Ok(Pa(0xfe20_2000)));
    // The further PL011s of the Pi, in one page, have 512 bytes each.
    for base in [0x7e20_1200, 0x7e20_1e00] {
        assert_eq!(pl011(base), Ok(Pa(u64::from(base) + 0x8000_0000)));
    }
    for base in [0x7e20_1001, 0x7e20_1e04, 0x7e20_1ffc] {
        assert_eq!(pl011(base), Err(TreeError::NoUart));
    }
    let mini = |base| at("serial1", "serial@7e215040", base);
    assert_eq!(mini(0x7e21_5fc0), Ok(Pa(0xfe21_5fc0)));
    for base in [0x7e21_5000, 0x7e21_503c, 0x7e21_5041, 0x7e21_5042, 0x7e21_5fc4] {
        assert_eq!(mini(base), Err(TreeError::NoUart));
    }
    // The first that is one, without stdout.
    let tree = Tree::of(RPI4).without(&["chosen"], "stdout-path");
    let tree = tree.set(&["soc", "serial@7e201000"], "reg", cells(&[0x7e20_1ffc, 0x200]));
    assert_eq!(tree.board().uart.base, Pa(0xfe20_1400));
    let tree = tree.set(&["soc", "serial@7e201400"], "reg", cells(&[0x7e20_1ffc, 0x200]));
    assert_eq!(tree.board().uart, MINI);
}

/// The firmware's `arm_peri_high=1`: all peripherals from 0x4_7c000000 on.
#[test]
fn peripherals_at_high_addresses_are_found_by_ranges() {
    let high = [
        [0x7e00_0000, 4, 0x7e00_0000, 0x180_0000],
        [0x7c00_0000, 4, 0x7c00_0000, 0x200_0000],
        [0x4000_0000, 4, 0xc000_0000, 0x80_0000],
    ];
    let board = Tree::of(RPI4).set(&["soc"], "ranges", cells(high.as_flattened())).board();
    assert_eq!(board.uart.base, Pa(0x4_7e21_5040));
    assert_eq!(board.bcm_power, Some(Pa(0x4_7e10_0000)));
    assert_eq!(frames(&board), [0x4_c004_1000, 0x4_c004_2000, 0x4_c004_4000, 0x4_c004_6000]);
}

#[test]
fn a_device_that_no_window_leads_to_is_none() {
    let without_mini =
        [0x7e20_0000_u32, 0, 0xfe20_0000, 0x1_0000, 0x4000_0000, 0, 0xff80_0000, 0x80_0000];
    let board = Tree::of(RPI4).set(&["soc"], "ranges", cells(&without_mini));
    assert_eq!(board.read().err(), Some(TreeError::NoUart));
    let without_gic = [0x7e00_0000_u32, 0, 0xfe00_0000, 0x180_0000];
    let board = Tree::of(RPI4).set(&["soc"], "ranges", cells(&without_gic));
    assert_eq!(board.read().err(), Some(TreeError::NoGich));
}

#[test]
fn a_bus_with_empty_ranges_has_the_windows_of_the_one_above() {
    let bus = |mut tree: Tree| {
        let mini = tree.node(&["soc"]).remove_child("serial@7e215040").unwrap();
        tree.node(&["soc"]).add_child(DeviceTreeNode::new_unchecked("inner"));
        tree.node(&["soc", "inner"]).add_child(mini);
        tree.set(&["soc", "inner"], "#address-cells", 1_u32).set(
            &["soc", "inner"],
            "#size-cells",
            1_u32,
        )
    };
    let inner = ["soc", "inner"];
    let through = bus(Tree::of(RPI4)).set(&inner, "ranges", Vec::<u8>::new());
    assert_eq!(through.board().uart, MINI);
    // Without `ranges` the cores do not reach what is on it.
    assert_eq!(bus(Tree::of(RPI4)).read().err(), Some(TreeError::NoUart));
}

/// The mini UART on a bus of its own, `inner`, in the one where it is, with these `ranges`.
fn on_inner_bus(ranges: &[u32]) -> Tree {
    let mut tree = Tree::of(RPI4);
    let mini = tree.node(&["soc"]).remove_child("serial@7e215040").unwrap();
    let mut tree = tree.add(&["soc"], "inner");
    let inner = ["soc", "inner"];
    tree.node(&inner).add_child(mini);
    tree.set(&inner, "#address-cells", 1_u32).set(&inner, "#size-cells", 1_u32).set(
        &inner,
        "ranges",
        cells(ranges),
    )
}

#[test]
fn a_bus_whose_windows_lead_nowhere_reaches_nothing() {
    let inside = on_inner_bus(&[0x7e21_5000, 0x7e21_5000, 0x1000]);
    assert_eq!(inside.board().uart, MINI);
    // Its only window is where the outer bus has none.
    let nowhere = on_inner_bus(&[0x7e21_5000, 0x1000_0000, 0x1000]);
    assert_eq!(nowhere.read().err(), Some(TreeError::NoUart));
    for words in 1..3 {
        let cut = on_inner_bus(&[0x7e21_5000, 0x7e21_5000, 0x1000][..words]);
        assert_eq!(cut.read().err(), Some(TreeError::NoUart));
    }
}

#[test]
fn a_bus_may_have_any_number_of_windows() {
    // The UART's is the last.
    let page = |number: u32| 0x7e21_5000 - number * 0x1000;
    let rows: Vec<[u32; 3]> =
        (0..100).rev().map(|number| [page(number), page(number), 0x1000]).collect();
    let all = rows.as_flattened();
    assert_eq!(on_inner_bus(all).board().uart, MINI);
    assert_eq!(on_inner_bus(&all[..297]).read().err(), Some(TreeError::NoUart));
    // One that leads nowhere does not stand in the way of another for the same addresses.
    let lost = [&[0x7e21_5000, 0x1000_0000, 0x1000], all].concat();
    assert_eq!(on_inner_bus(&lost).board().uart, MINI);
}

/// With TF-A as its stub the firmware patches this in.
#[test]
fn a_psci_node_is_believed_and_each_core_has_its_own_way() {
    let psci = Tree::of(RPI4).add(&[], "psci").set(&["psci"], "compatible", "arm,psci-1.0").set(
        &["psci"],
        "method",
        "smc",
    );
    let cpus = ["cpu@0", "cpu@1", "cpu@2", "cpu@3"];
    let board = psci.set(&["cpus", "cpu@1"], "enable-method", "psci").board();
    assert!(board.has_psci_by_smc);
    let starts = board.cores.map(|core| core.start);
    assert_eq!(starts[1], StartMethod::Psci);
    assert_eq!(starts[2], StartMethod::SpinTable(Pa(0xe8)));
    let all = cpus
        .iter()
        .fold(Tree::of(RPI4), |tree, cpu| tree.set(&["cpus", cpu], "enable-method", "psci"));
    let board = all.board();
    assert!(!board.has_psci_by_smc, "no node, no conduit");
    assert!(board.cores.iter().take(4).all(|core| core.start == StartMethod::Psci));
}

/// Wherever it is: some trees have it below a node that is no bus.
#[test]
fn a_psci_node_is_found_anywhere() {
    let below = |status: &str| {
        let path = ["firmware", "inner", "psci"];
        let tree = Tree::of(RPI4).add(&[], "firmware");
        let tree = tree.add(&path[..1], "inner").add(&path[..2], "psci");
        let tree = tree.set(&path, "compatible", "arm,psci-0.2").set(&path, "method", "smc");
        tree.set(&path, "status", status).board().has_psci_by_smc
    };
    assert!(below("okay"));
    assert!(!below("disabled"));
    // Of several the first that is there is it, as for Linux.
    let both = ["hvc", "smc"].iter().zip(["one", "other"]);
    let tree = both.fold(Tree::of(RPI4), |tree, (method, name)| {
        let tree = tree.add(&[], name).set(&[name], "compatible", "arm,psci-1.0");
        tree.set(&[name], "method", method)
    });
    assert!(!tree.board().has_psci_by_smc);
}

/// QEMU's is a child of the interrupt controller.
#[test]
fn an_its_is_found_and_five_are_too_many() {
    let board = Tree::of(VIRT).board();
    assert_eq!(board.its.as_slice(), [range(0x0808_0000, 0x1000)]);
    assert!(Tree::of(RPI4).board().its.as_slice().is_empty());
    let gic = "intc@8000000";
    let with = |more: &[&str]| {
        more.iter().fold(Tree::of(VIRT), |tree, name| {
            let tree = tree.add(&[gic], name).set(&[gic, name], "compatible", "arm,gic-v3-its");
            tree.set(&[gic, name], "reg", cells(&[0, 0x0a00_0000, 0, 0x2_0000]).as_slice())
        })
    };
    assert_eq!(with(&["a", "b", "c"]).board().its.as_slice().len(), 4);
    assert_eq!(with(&["a", "b", "c", "d"]).read().err(), Some(TreeError::TooManyRanges));
    let off = Tree::of(VIRT).set(&[gic, "its@8080000"], "status", "disabled");
    assert!(off.board().its.as_slice().is_empty());
}

/// As the firmware writes it: below the VideoCore's memory, above it, and from 4 GiB on.
#[test]
fn the_memory_of_each_model_is_read_whole() {
    let low = range(0, 0x3b40_0000);
    let upper = |bytes| range(0x4000_0000, bytes);
    let beyond = [range(1 << 32, 0x8000_0000), range(0x1_8000_0000, 0x8000_0000)];
    type Model<'a> = (&'a [[u32; 3]], &'a [Range], u64);
    let models: [Model<'_>; 4] = [
        (&[[0, 0, 0x3b40_0000]], &[low], 1),
        (&[[0, 0, 0x3b40_0000], [0, 0x4000_0000, 0x4000_0000]], &[low, upper(1 << 30)], 2),
        (&[[0, 0, 0x3b40_0000], [0, 0x4000_0000, 0xbc00_0000]], &[low, upper(0xbc00_0000)], 4),
        (
            &[
                [0, 0, 0x3b40_0000],
                [0, 0x4000_0000, 0xbc00_0000],
                [1, 0, 0x8000_0000],
                [1, 0x8000_0000, 0x8000_0000],
            ],
            &[low, upper(0xbc00_0000), beyond[0], beyond[1]],
            8,
        ),
    ];
    for (rows, ram, gib) in models {
        let reg = cells(rows.as_flattened());
        let board = Tree::of(RPI4).set(&["memory@0"], "reg", reg).board();
        assert_eq!(board.ram.as_slice(), ram, "{gib} GiB");
        // What is missing is the VideoCore's and what the peripherals hide.
        let bytes: u64 = ram.iter().map(|range| range.end - range.start).sum();
        let hidden = if gib > 3 { 0x0400_0000 } else { 0 };
        assert_eq!(bytes + 0x04c0_0000 + hidden, gib << 30, "{gib} GiB");
        assert!(ram.iter().all(|range| range.end <= 0xfc00_0000 || range.start >= 1 << 32));
    }
}

/// It is written after the rest of RAM may be somebody's.
#[test]
fn a_release_address_has_to_be_memory_that_the_firmware_keeps() {
    let region = ["reserved-memory", "unmapped@10000800"];
    let kept = cells(&[0, 0x1000_0000, 0x1000, 0, 0x1000_2000, 0xc, 0, 0x3fff_f000, 0x1000]);
    let board = Tree::of(RPI4)
        .with_region(kept)
        .add(&["reserved-memory"], region[1])
        .set(&region, "reg", cells(&[0, 0x1000_0800, 0x800, 0, 0x2000_0000, 0x1000]))
        .set(&region, "no-map", Vec::<u8>::new())
        .board();
    assert!(board.can_release_at(Pa(0xd8)));
    assert!(board.can_release_at(Pa(0x1000_07f8)));
    assert!(!board.can_release_at(Pa(0x1000_07fc)), "not a multiple of 8");
    assert!(!board.can_release_at(Pa(0x1000_0800)), "kept, and also not mapped");
    assert!(!board.can_release_at(Pa(0x2000_0000)), "not mapped");
    assert!(!board.can_release_at(Pa(0x1000_2008)), "4 of its bytes are not kept");
    assert!(!board.can_release_at(Pa(0x3bff_fff8)), "not kept");
    assert!(!board.can_release_at(Pa(0x3fff_f000)), "kept, but not RAM");
    assert!(!board.can_release_at(Pa(0xfe20_1000)));
    assert!(!board.can_release_at(Pa(u64::MAX - 7)));
}

/// Its console is another machine's too: nothing may be written there.
#[test]
fn the_tree_of_another_machine_is_refused_and_its_console_left_alone() {
    for (tree, image) in [(VIRT, 0x20_0000), (RPI4, 0x1_0000_0000), (RPI4, 0x3c00_0000)] {
        let refused = read(tree, Pa(image), |uart| panic!("{uart:?} of {image:#x}"));
        assert_eq!(refused.err(), Some(TreeError::OtherMachine), "{image:#x}");
    }
    for image in [0, 0x3bff_f000, 0x4000_0000] {
        assert!(read(RPI4, Pa(image), |uart| assert_eq!(uart, MINI)).is_ok());
    }
}

#[test]
fn what_is_missing_is_named() {
    let gic = ["soc", "interrupt-controller@40041000"];
    let two_frames = cells(&[0x4004_1000, 0x1000, 0x4004_2000, 0x2000]);
    let refused = |tree: Tree| tree.read().err();
    assert_eq!(refused(Tree::of(RPI4).set(&gic, "reg", two_frames)), Some(TreeError::NoGich));
    assert_eq!(refused(Tree::of(RPI4).set(&gic, "compatible", "x,y")), Some(TreeError::NoGic));
    assert_eq!(
        refused(Tree::of(RPI4).set(&["memory@0"], "device_type", "x")),
        Some(TreeError::NoMemory)
    );
    assert_eq!(refused(Tree::of(RPI4).without_cores()), Some(TreeError::Cores));
    assert_eq!(read(&[0; 64], Pa(0), |_| {}).err(), Some(TreeError::NotATree));
}

impl Tree {
    fn without_cores(mut self) -> Self {
        for cpu in ["cpu@0", "cpu@1", "cpu@2", "cpu@3"] {
            self.node(&["cpus"]).remove_child(cpu).unwrap();
        }
        self
    }
}

#[test]
fn more_reserved_ranges_than_there_is_room_for_are_refused() {
    let mut tree = Tree::of(RPI4);
    for number in 1..=31 {
        tree.0
            .memory_reservations
            .push(dtoolkit::memreserve::MemoryReservation::new(number << 20, 1));
    }
    assert!(tree.read().is_ok());
    tree.0.memory_reservations.push(dtoolkit::memreserve::MemoryReservation::new(32 << 20, 1));
    assert_eq!(tree.read().err(), Some(TreeError::TooManyRanges));
}

/// The tree is the firmware's, but one that is damaged must not take the boot down without a word.
#[test]
fn any_damage_gives_a_board_or_a_reason() {
    for tree in [VIRT, RPI4] {
        for position in (0..tree.len().min(9000)).step_by(5) {
            let mut damaged = tree.to_vec();
            damaged[position] ^= 0xa5;
            let _board_or_reason = read(damaged.leak(), Pa(0x20_0000), |_| {}).err();
        }
    }
}

impl Tree {
    /// Entries below this node have no cells; a property that is too short counts as 0.
    fn without_cells(self, path: &[&str]) -> Self {
        self.set(path, "#address-cells", Vec::<u8>::new()).set(path, "#size-cells", 0_u32)
    }

    /// A tree with a reserved region of this `reg`.
    fn with_region(self, reg: Vec<u8>) -> Self {
        let region = "kept@10000000";
        self.add(&["reserved-memory"], region).set(&["reserved-memory", region], "reg", reg)
    }
}

/// A read that takes such entries does not end.
#[test]
fn an_entry_of_no_cells_is_none() {
    let refused = |tree: Tree| tree.read().err();
    assert_eq!(refused(Tree::of(RPI4).without_cells(&[])), Some(TreeError::BadReg));
    assert_eq!(refused(Tree::of(RPI4).without_cells(&["soc"])), Some(TreeError::NoGich));
    let region = Tree::of(RPI4).with_region(cells(&[0, 0x1000_0000, 0x1000]));
    assert_eq!(refused(region.without_cells(&["reserved-memory"])), Some(TreeError::BadReg));
}

#[test]
fn redistributors_on_a_bus_of_no_cells_are_none() {
    let mut tree = Tree::of(VIRT).add(&[], "bus").without_cells(&["bus"]);
    let gic = tree.0.root.remove_child("intc@8000000").unwrap();
    tree.node(&["bus"]).add_child(gic);
    let tree = tree.set(&["bus"], "ranges", Vec::<u8>::new());
    assert_eq!(tree.read().err(), Some(TreeError::NoGic));
}

#[test]
fn a_window_of_no_cells_is_none() {
    let bus = |tree: Tree, path: &[&str]| {
        tree.without_cells(path).set(path, "ranges", cells(&[0, 0x1000]))
    };
    let outer = bus(Tree::of(VIRT).add(&[], "outer"), &["outer"]);
    let inner = bus(outer.add(&["outer"], "inner"), &["outer", "inner"]);
    assert!(inner.read().is_ok(), "it holds nothing that we need");
}

#[test]
fn memory_or_a_reserved_region_that_is_cut_short_is_refused() {
    let list = [0, 0x1000_0000, 0x1000, 0, 0x2000_0000, 0x1000];
    for words in [1, 2, 4, 5] {
        let reg = cells(&list[..words]);
        let memory = Tree::of(RPI4).set(&["memory@0"], "reg", reg.clone());
        assert_eq!(memory.read().err(), Some(TreeError::BadReg));
        assert_eq!(Tree::of(RPI4).with_region(reg).read().err(), Some(TreeError::BadReg));
    }
    assert!(Tree::of(RPI4).with_region(cells(&list)).read().is_ok());
}
