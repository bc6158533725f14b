//! The image anywhere in memory that the arm64 boot protocol allows, beside bundle and tree, and loads that have to be refused. V9.
//!
//! QEMU's own loader knows one place. Here code in flash, where the core begins without a kernel, does a boot loader's work.

use std::path::Path;
use std::time::Duration;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeProperty};
use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Gic, Machine, Running, paths};

use crate::support::{Outcome, PATIENCE, Topic, Variant, one_guest};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("loading", trials);
    for (sentence, memory, place) in PLACES {
        // Both controllers' tables are mapped by the same code; one place shows that it is called.
        let gic = if sentence.starts_with("above") { Gic::V2 } else { Gic::V3 };
        topic.not_on_rpi4(NO_FLASH).on_each(
            vec![Variant::new(gic, CORES, "cortex-a72")],
            &format!("the_image_boots_{sentence}"),
            move |machine| boots(&machine.memory(memory), place),
        );
    }
    for (sentence, refusal) in REFUSALS {
        topic.only_on_virt(NO_FLASH, sentence, move || refused(refusal));
    }
}

const NO_FLASH: &str = "its cores begin in memory, and the image is the same";

const CORES: u32 = 4;
const RAM: u64 = 0x4000_0000;
const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;

/// Where things are.
#[derive(Clone, Copy)]
struct Layout {
    image: u64,
    tree: u64,
    bundle: u64,
}

/// The sizes of image, with all that its header reserves, tree and bundle.
#[derive(Clone, Copy)]
struct Sizes {
    image: u64,
    tree: u64,
    bundle: u64,
}

/// Decides where things are.
type Place = fn(Sizes) -> Layout;

/// With the machine's memory.
const PLACES: [(&str, u64, Place); 7] = [
    ("at_the_first_byte_of_ram_with_tree_and_bundle_close_behind", GIB, |sizes| {
        let tree = RAM + sizes.image;
        Layout { image: RAM, tree, bundle: (tree + sizes.tree).next_multiple_of(8) }
    }),
    ("in_the_middle_with_bundle_and_tree_close_before", GIB, |sizes| {
        let image = 0x4fe0_0000;
        let bundle = (image - sizes.bundle) & !7;
        Layout { image, tree: (bundle - sizes.tree) & !7, bundle }
    }),
    ("above_4_gib_far_from_bundle_and_tree", 6 * GIB, |_| Layout {
        image: 0x1_4000_0000,
        tree: 0x4800_0000,
        bundle: 0x1_6000_0000,
    }),
    ("in_the_last_2_mib_units_of_6_gib", 6 * GIB, |sizes| {
        let image = (RAM + 6 * GIB - sizes.image) & !((2 << 20) - 1);
        Layout { image, tree: 0x4800_0000, bundle: 0x5000_0000 }
    }),
    ("with_its_last_byte_the_last_of_ram", GIB, |sizes| {
        let image = RAM + GIB - sizes.image;
        Layout { image, tree: 0x4800_0000, bundle: (image - sizes.bundle) & !7 }
    }),
    ("at_a_page_that_is_no_multiple_of_2_mib", GIB, |_| Layout {
        image: 0x4023_1000,
        tree: 0x4800_0000,
        bundle: 0x5000_0000,
    }),
    ("with_tree_and_bundle_at_the_end_of_ram", GIB, |sizes| {
        let tree = (RAM + GIB - sizes.tree) & !7;
        Layout { image: 0x4020_0000, tree, bundle: (tree - sizes.bundle) & !7 }
    }),
];

/// A load that is refused.
#[derive(Clone, Copy)]
struct Refusal {
    place: Place,
    reason: fn(Layout) -> String,
    /// Where memory is in the tree; else where it is.
    other_memory: Option<u64>,
}

impl Refusal {
    const fn new(place: Place, reason: fn(Layout) -> String) -> Self {
        Self { place, reason, other_memory: None }
    }
}

/// As QEMU loads, far apart.
const USUAL: Layout = Layout { image: 0x4020_0000, tree: 0x4800_0000, bundle: 0x5000_0000 };

const REFUSALS: [(&str, Refusal); 7] = [
    (
        "an_image_that_is_not_at_a_page_says_so_and_stops",
        Refusal::new(
            |_| Layout { image: 0x4020_0804, ..USUAL },
            |_| "the image was loaded at 0x40200804, which is no multiple of 4 KiB".into(),
        ),
    ),
    (
        "an_image_whose_stacks_are_beyond_the_end_of_ram_is_refused",
        Refusal::new(
            |sizes| Layout { image: RAM + GIB - sizes.image + (STACKS - 2) * STACK, ..USUAL },
            |_| "the hypervisor's image: is not in RAM: 0x80000000".into(),
        ),
    ),
    (
        "an_image_outside_the_memory_of_the_tree_is_refused",
        Refusal {
            place: |_| USUAL,
            reason: |_| "this image does not lie in the memory that it names".into(),
            other_memory: Some(USUAL.image + PAGE),
        },
    ),
    (
        "a_tree_in_the_memory_that_the_image_clears_is_refused",
        Refusal::new(
            |sizes| Layout { tree: USUAL.image + sizes.image - (STACKS + 1) * STACK, ..USUAL },
            |_| "the device tree at x0 lies in this image's memory".into(),
        ),
    ),
    (
        "a_bundle_in_the_stack_of_another_core_is_refused",
        Refusal::new(
            |sizes| {
                let stack = STACKS + 1 - u64::from(CORES);
                Layout { bundle: USUAL.image + sizes.image - stack * STACK, ..USUAL }
            },
            |layout| clash(layout.bundle, "the hypervisor's image", "the bundle"),
        ),
    ),
    (
        "a_bundle_that_ends_in_the_tree_is_refused",
        Refusal::new(
            |sizes| Layout { bundle: (USUAL.tree - sizes.bundle + 40) & !7, ..USUAL },
            |layout| clash(layout.tree, "the bundle", "the machine's device tree"),
        ),
    ),
    (
        "a_bundle_that_is_not_in_ram_is_refused",
        Refusal::new(
            |sizes| Layout { bundle: (RAM + GIB - sizes.bundle + PAGE) & !7, ..USUAL },
            |_| "the bundle: is not in RAM: 0x80000000".into(),
        ),
    ),
];

/// `linker/hyp.ld`: so many stacks of so many bytes end the image.
const STACKS: u64 = 128;
const STACK: u64 = 9 * PAGE;

fn clash(at: u64, first: &str, second: &str) -> String {
    format!("{at:#x} is claimed by {first} and by {second}")
}

/// All cores come, and a guest has them all.
fn boots(machine: &Machine, place: Place) -> Outcome {
    let (mut running, layout) = load(machine, place, None)?;
    running.wait_for(&format!(" bytes at {:#x})", layout.bundle), PATIENCE)?;
    running.wait_for("[09] all cores here (4)", PATIENCE)?;
    running.wait_for("smp: 4 of 4 vCPUs run", PATIENCE)?;
    running.wait_for("smp: the SGI went round", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// The reason comes; after it no guest runs.
fn refused(refusal: Refusal) -> Outcome {
    let machine = Machine::new().cpus(CORES);
    let (mut running, layout) = load(&machine, refusal.place, refusal.other_memory)?;
    let reason = (refusal.reason)(layout);
    running.wait_for("shikiri: boot refused: ", PATIENCE)?;
    running.wait_for(&reason, PATIENCE)?;
    if let Ok(more) = running.wait_for("smp: ", Duration::from_millis(500)) {
        return Err(running.failure(format!("a guest ran: {more}")).into());
    }
    Ok(())
}

/// Starts the machine with everything at its place.
fn load(
    machine: &Machine,
    place: Place,
    other_memory: Option<u64>,
) -> Result<(Running, Layout), Failed> {
    let image = std::fs::read(paths::hypervisor())?;
    // Of arm64's header (Linux, Documentation/arch/arm64/booting.rst).
    let image_size = image.get(16..24).ok_or("the image has no header")?.try_into()?;
    let tree = machine.device_tree()?;
    let bundle = one_guest("smp", "", CORES)?.compile_for(tree.clone())?.bundle;
    let sizes = Sizes {
        image: u64::from_le_bytes(image_size),
        tree: changed(&tree, USUAL, bundle.len(), other_memory)?.len() as u64,
        bundle: bundle.len() as u64,
    };
    let layout = place(sizes);
    let tree = changed(&tree, layout, bundle.len(), other_memory)?;
    // QEMU lets nothing overlap: of the bundle there is what lies before the tree.
    let before_tree = layout.tree.checked_sub(layout.bundle).map(usize::try_from).transpose()?;
    let bundle = &bundle[..bundle.len().min(before_tree.unwrap_or(usize::MAX))];
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let firmware = scratch.path().join("firmware");
    std::fs::write(&firmware, firmware_for(layout, image.len() as u64))?;
    let machine = machine
        .clone()
        .args(["-bios".into(), firmware.into_os_string()])
        .args(placed(scratch.path(), "image", STAGE, &image)?)
        .args(placed(scratch.path(), "tree", layout.tree, &tree)?)
        .args(placed(scratch.path(), "bundle", layout.bundle, bundle)?);
    Ok((Running::start(&machine, &Boot::Firmware, Some(scratch), None)?, layout))
}

/// The machine's tree, with the bundle in it.
fn changed(
    tree: &[u8],
    layout: Layout,
    bundle_bytes: usize,
    other_memory: Option<u64>,
) -> Result<Vec<u8>, Failed> {
    let mut tree = DeviceTree::from_fdt(&Fdt::new(tree).map_err(|error| error.to_string())?);
    let mut set = |node: &str, name: &str, value: Vec<u8>| -> Outcome {
        let node = tree.root.child_mut(node).ok_or_else(|| format!("there is no {node}"))?;
        node.add_property(DeviceTreeProperty::new_unchecked(name, value));
        Ok(())
    };
    let end = layout.bundle + bundle_bytes as u64;
    set("chosen", "linux,initrd-start", layout.bundle.to_be_bytes().into())?;
    set("chosen", "linux,initrd-end", end.to_be_bytes().into())?;
    if let Some(start) = other_memory {
        set("memory@40000000", "reg", [start, RAM + GIB - start].map(u64::to_be_bytes).concat())?;
    }
    Ok(tree.to_dtb())
}

/// QEMU's arguments for these bytes at an address.
fn placed(folder: &Path, name: &str, at: u64, bytes: &[u8]) -> Result<[String; 2], Failed> {
    let file = folder.join(name);
    std::fs::write(&file, bytes)?;
    let loader = format!("loader,file={},addr={at:#x},force-raw=on", file.display());
    Ok(["-device".into(), loader])
}

/// Where QEMU puts the image, for the firmware to fetch: QEMU has a tree of its own at the first byte of RAM.
const STAGE: u64 = 0x6000_0000;

/// Code at address 0 that copies the image to its place and enters it there.
fn firmware_for(layout: Layout, image_bytes: u64) -> Vec<u8> {
    const CODE: [u32; 12] = [
        0x5800_0180, // ldr x0, tree
        0x5800_01a1, // ldr x1, place
        0x5800_01c2, // ldr x2, from
        0x5800_01e3, // ldr x3, end
        0xaa01_03e5, // mov x5, x1
        0xeb03_005f, // 1: cmp x2, x3
        0x5400_00a2, // b.hs 2f
        0xb840_4444, // ldr w4, [x2], #4
        0xb800_44a4, // str w4, [x5], #4
        0x17ff_fffc, // b 1b
        0xd503_201f, // nop
        0xd61f_0020, // 2: br x1
    ];
    let words = [layout.tree, layout.image, STAGE, STAGE + image_bytes];
    let code = CODE.iter().flat_map(|word| word.to_le_bytes());
    code.chain(words.iter().flat_map(|word| word.to_le_bytes())).collect()
}
