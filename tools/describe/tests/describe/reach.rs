//! Bus masters that are trusted: the memory that their bus leads to, and at which addresses they see it.

use crate::support::{Board, guest_tree, images, rendered, text_file};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node as _, Property as _};
use shikiri_describe::{Compiled, Overrides, Request, compile};

/// The Pi's tree, changed.
fn edited(change: impl FnOnce(&mut DeviceTreeNode)) -> Vec<u8> {
    let original = Board::Rpi4.tree();
    let mut tree = DeviceTree::from_fdt(&Fdt::new(&original).unwrap());
    change(&mut tree.root);
    tree.to_dtb()
}

fn set(root: &mut DeviceTreeNode, node: &str, name: &str, cells: &[u32]) {
    let node = root.child_mut(node).unwrap();
    node.add_property(DeviceTreeProperty::new_unchecked(name, cells.to_vec()));
}

/// A partition with `device`, and 2 MiB at this address.
fn with_device(name: &str, device: &str, at: u64, board_dtb: Vec<u8>) -> Result<Compiled, String> {
    let text = format!(
        "[[partition]]\nname = \"hello\"\nimage = \"hello\"\n\
         memory = {{ size = \"2MiB\", at = {at:#x}, ipa = {at:#x} }}\n\
         devices = [{{ path = \"{device}\", dma = \"trusted\" }}]\n"
    );
    let overrides = Overrides::default();
    let file = text_file(name, &text);
    let request =
        Request { file, board_dtb, image_dirs: vec![images()], overrides, seeds: Vec::new() };
    compile(&request).map_err(|report| rendered(&report))
}

/// The bus node, found by its child, and the windows in its `dma-ranges`: own address, address above, size.
fn windows_of(compiled: &Compiled, device: &str) -> Vec<[u64; 3]> {
    let tree = guest_tree(compiled, 0);
    let fdt = Fdt::new(&tree).unwrap();
    let has_device = |bus: &FdtNode<'_>| bus.children().any(|child| child.name() == device);
    let root = fdt.root();
    let bus = root.children().find(has_device).unwrap_or_else(|| panic!("{device} is on no bus"));
    assert_eq!(bus.property("compatible").unwrap().value(), b"simple-bus\0");
    assert_eq!(bus.property("ranges").unwrap().value(), b"");
    assert_eq!(bus.property("#address-cells").unwrap().value(), [0, 0, 0, 2]);
    assert_eq!(bus.property("#size-cells").unwrap().value(), [0, 0, 0, 2]);
    let property = bus.property("dma-ranges").unwrap();
    let numbers = property.value().as_chunks::<8>().0;
    let rows = numbers.as_chunks::<3>().0;
    rows.iter().map(|row| row.map(u64::from_be_bytes)).collect()
}

const USB: &str = "/soc/usb@7e980000";
const MMC: &str = "/emmc2bus/mmc@7e340000";
/// What a master below /soc sees.
const FIRST_GIB: [u64; 3] = [0xc000_0000, 0, 0x4000_0000];

#[test]
fn a_guest_is_told_at_which_addresses_its_device_sees_memory() {
    for (device, node) in [(USB, "usb@fe980000"), (MMC, "mmc@fe340000")] {
        for at in [0x1000_0000, 0x2000_0000] {
            let name = format!("reach-{node}-{at:x}");
            let compiled = with_device(&name, device, at, Board::Rpi4.tree()).unwrap();
            assert_eq!(windows_of(&compiled, node), [FIRST_GIB]);
        }
    }
}

#[test]
fn memory_beyond_a_reach_of_1_gib_is_refused_and_within_one_of_4_gib_it_is_not() {
    let beyond = 0x5000_0000;
    let refusal = with_device("reach-1g", MMC, beyond, Board::Rpi4.tree()).unwrap_err();
    assert!(refusal.contains("its bus leads to 0x0 to 0x3fffffff"), "{refusal}");
    // As the firmware of a later stepping says, on a board of 8 GiB: all below the peripherals.
    let later = |root: &mut DeviceTreeNode| {
        set(root, "emmc2bus", "dma-ranges", &[0, 0, 0, 0, 0xfc00_0000]);
        set(
            root,
            "memory@0",
            "reg",
            &[
                0,
                0,
                0x3c00_0000,
                0,
                0x4000_0000,
                0xbc00_0000,
                1,
                0,
                0x8000_0000,
                1,
                0x8000_0000,
                0x8000_0000,
            ],
        );
    };
    let compiled = with_device("reach-4g", MMC, beyond, edited(later)).unwrap();
    assert_eq!(windows_of(&compiled, "mmc@fe340000"), [[0, 0, 0xfc00_0000]]);
    let refusal = with_device("reach-5g", MMC, 0x1_2000_0000, edited(later)).unwrap_err();
    assert!(refusal.contains("its bus leads to 0x0 to 0xfbffffff"), "{refusal}");
    assert!(refusal.contains("0x120000000 to 0x1201fffff"), "{refusal}");
}

/// What lies across the end of the window is not within it.
#[test]
fn memory_that_is_reached_in_part_is_refused() {
    let half = |root: &mut DeviceTreeNode| {
        set(root, "soc", "dma-ranges", &[0xc000_0000, 0, 0, 0x1010_0000]);
    };
    let refusal = with_device("reach-half", USB, 0x1000_0000, edited(half)).unwrap_err();
    assert!(refusal.contains("its bus leads to 0x0 to 0x100fffff"), "{refusal}");
    // Two windows that meet are two.
    let pieces = |root: &mut DeviceTreeNode| {
        set(
            root,
            "soc",
            "dma-ranges",
            &[0xc000_0000, 0, 0, 0x1010_0000, 0xe000_0000, 0, 0x1010_0000, 0x1000_0000],
        );
    };
    assert!(with_device("reach-pieces", USB, 0x1000_0000, edited(pieces)).is_err());
    let none = |root: &mut DeviceTreeNode| {
        set(root, "soc", "dma-ranges", &[0xc000_0000, 0, 0, 0]);
    };
    assert!(with_device("reach-none", USB, 0x1000_0000, edited(none)).is_err());
}

/// A bus on a bus: its windows lead to the addresses of the one above, and no further than that.
#[test]
fn windows_of_a_bus_on_a_bus_go_through_both() {
    let nested = |root: &mut DeviceTreeNode| {
        let soc = root.child_mut("soc").unwrap();
        let mut bus = DeviceTreeNode::new_unchecked("inner");
        let mut add = |name: &str, cells: &[u32]| {
            bus.add_property(DeviceTreeProperty::new_unchecked(name, cells.to_vec()));
        };
        add("#address-cells", &[1]);
        add("#size-cells", &[1]);
        add("ranges", &[]);
        // Its 0 is the outer bus's 0xd0000000; the outer bus ends before it does.
        add("dma-ranges", &[0, 0xd000_0000, 0x6000_0000]);
        let mut device = DeviceTreeNode::new_unchecked("dma@7e007000");
        let reg = vec![0x7e00_7000_u32, 0x1000];
        device.add_property(DeviceTreeProperty::new_unchecked("compatible", "brcm,bcm2835-dma"));
        device.add_property(DeviceTreeProperty::new_unchecked("reg", reg));
        bus.add_child(device);
        soc.add_child(bus);
    };
    let device = "/soc/inner/dma@7e007000";
    let compiled = with_device("reach-nested", device, 0x2000_0000, edited(nested)).unwrap();
    let expected = [[0, 0x1000_0000, 0x3000_0000]];
    assert_eq!(windows_of(&compiled, "dma@fe007000"), expected);
    let refusal = with_device("reach-below", device, 0x0800_0000, edited(nested)).unwrap_err();
    assert!(refusal.contains("its bus leads to 0x10000000 to 0x3fffffff"), "{refusal}");
}

/// A PCI bridge says itself what is reached through it: 3 GiB, in the Pi's tree.
#[test]
fn a_pci_bridges_own_windows_are_honoured() {
    let pcie = |root: &mut DeviceTreeNode| {
        let mut node = DeviceTreeNode::new_unchecked("pcie@7d500000");
        let mut add = |name: &str, cells: &[u32]| {
            node.add_property(DeviceTreeProperty::new_unchecked(name, cells.to_vec()));
        };
        add("#address-cells", &[3]);
        add("#size-cells", &[2]);
        add("reg", &[0, 0x7d50_0000, 0x9310]);
        add("dma-ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 0xc000_0000]);
        root.child_mut("scb").unwrap().add_child(node);
    };
    let device = "/scb/pcie@7d500000";
    assert!(with_device("reach-pcie", device, 0x5000_0000, edited(pcie)).is_ok());
    let refusal = with_device("reach-pcie-4g", device, 0xd000_0000, edited(pcie)).unwrap_err();
    assert!(refusal.contains("its bus leads to 0x0 to 0xbfffffff"), "{refusal}");
}

/// Each model's memory as the firmware announces it: the last that it has can be given away, and what lies behind cannot.
#[test]
fn the_memory_of_each_model_can_be_given_away_to_its_end() {
    let models: [(&[u32], u64); 4] = [
        (&[0, 0, 0x3b40_0000], 0x3b40_0000),
        (&[0, 0, 0x3b40_0000, 0, 0x4000_0000, 0x4000_0000], 0x8000_0000),
        (&[0, 0, 0x3b40_0000, 0, 0x4000_0000, 0xbc00_0000], 0xfc00_0000),
        (
            &[
                0,
                0,
                0x3b40_0000,
                0,
                0x4000_0000,
                0xbc00_0000,
                1,
                0,
                0x8000_0000,
                1,
                0x8000_0000,
                0x8000_0000,
            ],
            0x2_0000_0000,
        ),
    ];
    for (reg, end) in models {
        let board = || edited(|root| set(root, "memory@0", "reg", reg));
        let at = |name: &str, at: u64| {
            let text = format!(
                "[[partition]]\nname = \"hello\"\nimage = \"hello\"\n\
                 memory = {{ size = \"4MiB\", at = {at:#x} }}\n"
            );
            let file = text_file(&format!("{name}-{end:x}"), &text);
            let overrides = Overrides::default();
            let image_dirs = vec![images()];
            compile(&Request { file, board_dtb: board(), image_dirs, overrides, seeds: Vec::new() })
                .map_err(|report| rendered(&report))
        };
        assert!(at("model-last", end - (4 << 20)).is_ok(), "{end:#x}");
        assert!(at("model-behind", end - (2 << 20)).is_err(), "{end:#x}");
    }
}

/// As the older firmware's tree: no `stdout-path`, and the mini UART is `serial0`.
#[test]
fn without_stdout_serial0_is_the_hypervisors() {
    let bare = |root: &mut DeviceTreeNode| {
        root.child_mut("chosen").unwrap().remove_property("stdout-path");
        let aliases = root.child_mut("aliases").unwrap();
        let path = "/soc/serial@7e201000";
        aliases.add_property(DeviceTreeProperty::new_unchecked("serial0", path));
    };
    let refusal = |device: &str| {
        let name = format!("serial0-{}", &device[12..]);
        with_device(&name, device, 0x1000_0000, edited(bare)).map(|_| ()).unwrap_err()
    };
    let text = refusal("/soc/serial@7e201000");
    assert!(text.contains("is the hypervisor's console"), "{text}");
    let text = refusal("/soc/serial@7e201400");
    assert!(text.contains("/soc/serial@7e201000"), "shares its interrupt: {text}");
}

/// As the firmware's own tree has it: besides memory, a master below /soc reaches the peripherals.
#[test]
fn a_window_onto_the_peripherals_is_passed_on_and_is_no_memory() {
    let firmware = |root: &mut DeviceTreeNode| {
        set(
            root,
            "soc",
            "dma-ranges",
            &[0xc000_0000, 0, 0, 0x4000_0000, 0x7c00_0000, 0, 0xfc00_0000, 0x0380_0000],
        );
    };
    let compiled = with_device("reach-io", USB, 0x1000_0000, edited(firmware)).unwrap();
    let peripherals = [0x7c00_0000, 0xfc00_0000, 0x0380_0000];
    assert_eq!(windows_of(&compiled, "usb@fe980000"), [FIRST_GIB, peripherals]);
    assert!(with_device("reach-io-far", USB, 0x5000_0000, edited(firmware)).is_err());
}
