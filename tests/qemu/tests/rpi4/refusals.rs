//! Boots that are refused: by what, and that no guest runs.

use std::time::Duration;

use dtoolkit::memreserve::MemoryReservation;
use libtest_mimic::Failed;
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Machine, Running, paths};

use super::{Tree, bundle, with_bundle};
use crate::support::{Outcome, PATIENCE, one_guest};

/// What a boot without a console in the tree says first. QEMU's mini UART is always on, as the firmware's with `enable_uart=1`.
const ON_THE_PINS: &str = "this is a mini UART at 0xfe215040, as the Raspberry Pi 4 has it";

const NOT_A_TREE: &str =
    "boot refused: x0 does not point to a device tree (FDT magic 0xd00dfeed missing)";

pub(super) fn no_tree() -> Outcome {
    let boot = Boot::Raw { image: paths::hypervisor() };
    let mut running = Running::start(&Machine::rpi4(), &boot, None, None)?;
    running.wait_for(ON_THE_PINS, PATIENCE)?;
    refused(running, NOT_A_TREE)
}

/// A kernel that goes down to EL1 and jumps to our image, with x0 as it was.
const DOWN_TO_EL1: [u32; 7] = [
    0xd2b0_0001, // mov x1, #0x80000000: HCR_EL2.RW
    0xd51c_1101, // msr hcr_el2, x1
    0xd280_78a1, // mov x1, #0x3c5: EL1h, masked
    0xd51c_4001, // msr spsr_el2, x1
    0xd2a0_0401, // mov x1, #0x200000
    0xd51c_4021, // msr elr_el2, x1
    0xd69f_03e0, // eret
];

pub(super) fn at_el1() -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let image = scratch.path().join("down");
    std::fs::write(&image, DOWN_TO_EL1.map(u32::to_le_bytes).as_flattened())?;
    let file = format!("loader,file={},addr=0x200000,force-raw=on", paths::hypervisor().display());
    let machine = Machine::rpi4().args(["-device", &file]);
    let boot = Boot::Image { image, el2: true };
    let mut running = Running::start(&machine, &boot, Some(scratch), None)?;
    running.wait_for("shikiri: [01] entered (at EL1", PATIENCE)?;
    refused(
        running,
        "boot refused: entered at EL1, but a hypervisor needs EL2 (QEMU: -machine virtualization=on)",
    )
}

pub(super) fn no_gic() -> Outcome {
    let gic = ["soc", "interrupt-controller@40041000"];
    let (machine, _tree) = Tree::new()?.set(&gic, "compatible", "arm,another-gic")?.machine()?;
    refused(
        with_bundle(&machine, &bundle()?)?,
        "boot refused: the device tree has no GICv2 or GICv3 (arm,cortex-a15-gic, arm,gic-400, arm,gic-v3)",
    )
}

/// A kernel that jumps to our image with another tree.
const WITH_ANOTHER_TREE: [u32; 3] = [
    0xd2a1_2000, // mov x0, #0x9000000
    0xd2a0_0401, // mov x1, #0x200000
    0xd61f_0020, // br x1
];

/// The Pi with this tree at x0.
fn with_tree(tree: &[u8]) -> Result<Running, Failed> {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let (image, file) = (scratch.path().join("jump"), scratch.path().join("tree"));
    std::fs::write(&image, WITH_ANOTHER_TREE.map(u32::to_le_bytes).as_flattened())?;
    std::fs::write(&file, tree)?;
    let mut machine = Machine::rpi4();
    for (file, at) in [(&paths::hypervisor(), "0x200000"), (&file, "0x9000000")] {
        let place = format!("loader,file={},addr={at},force-raw=on", file.display());
        machine = machine.args(["-device", &place]);
    }
    let boot = Boot::Image { image, el2: true };
    Ok(Running::start(&machine, &boot, Some(scratch), None)?)
}

/// Its header promises more than there is: zeros where the nodes should be.
pub(super) fn cut_tree() -> Outcome {
    let mut tree = Machine::rpi4().device_tree()?;
    tree[64..].fill(0);
    let mut running = with_tree(&tree)?;
    running.wait_for(ON_THE_PINS, PATIENCE)?;
    refused(running, NOT_A_TREE)
}

/// That of `virt`, whose console would be in the Pi's memory.
pub(super) fn other_tree() -> Outcome {
    let mut running = with_tree(&Machine::new().device_tree()?)?;
    running.wait_for(ON_THE_PINS, PATIENCE)?;
    refused(
        running,
        "boot refused: the device tree is another machine's: this image does not lie in the memory that it names",
    )
}

pub(super) fn no_console() -> Outcome {
    let uart = ["soc", "serial@7e215040"];
    let (machine, _tree) = Tree::new()?.set(&uart, "compatible", "brcm,another-uart")?.machine()?;
    let mut running = with_bundle(&machine, &bundle()?)?;
    running.wait_for(ON_THE_PINS, PATIENCE)?;
    refused(
        running,
        "boot refused: the device tree's /chosen/stdout-path names no PL011 and no mini UART",
    )
}

pub(super) fn bad_spin_table() -> Outcome {
    let place = 0xfe20_1000_u64.to_be_bytes().to_vec();
    let tree = Tree::new()?.set(&["cpus", "cpu@2"], "cpu-release-addr", place)?;
    let (machine, _tree) = tree.machine()?;
    refused(
        with_bundle(&machine, &bundle()?)?,
        "boot refused: core 2: its cpu-release-addr 0xfe201000 is not in RAM",
    )
}

/// The tree wants core 2 to be started by PSCI, and has none.
pub(super) fn no_way_to_start() -> Outcome {
    let tree = Tree::new()?.set(&["cpus", "cpu@2"], "enable-method", "psci")?;
    let (machine, _tree) = tree.machine()?;
    refused(
        with_bundle(&machine, &bundle()?)?,
        "boot refused: core 2 (MPIDR 0x2): the device tree has no way to start it: no PSCI by SMC, no spin table",
    )
}

/// Core 2 looks at 0xe8, and the tree says another place, in memory that the firmware keeps.
pub(super) fn missing_core() -> Outcome {
    let place = 0x800_u64.to_be_bytes().to_vec();
    let tree = Tree::new()?.set(&["cpus", "cpu@2"], "cpu-release-addr", place)?;
    let (machine, _tree) = tree.machine()?;
    refused(
        with_bundle(&machine, &bundle()?)?,
        "boot refused: core 2 was asked to start and has not come",
    )
}

pub(super) fn no_bundle() -> Outcome {
    let boot = Boot::Image { image: paths::hypervisor(), el2: true };
    refused(
        Running::start(&Machine::rpi4(), &boot, None, None)?,
        "boot refused: there is no bundle: the device tree has no linux,initrd-start (load it as the initial RAM disk)",
    )
}

/// What the firmware keeps leaves too little for the partition, or nothing at all.
pub(super) fn little_memory() -> Outcome {
    let some = "partition hello (id 1) cannot be started: no ";
    for (from, reason, rest) in [
        (0x40_0000, some, " free pages are left in the machine"),
        (0, "boot refused: memory: no ", " free frames in a row for the pool's table"),
    ] {
        let mut tree = Tree::new()?;
        tree.0.memory_reservations.push(MemoryReservation::new(from, 0x3c00_0000 - from));
        let (machine, _tree) = tree.machine()?;
        let mut running = with_bundle(&machine, &bundle()?)?;
        running.wait_for(reason, PATIENCE)?;
        refused(running, rest)?;
    }
    Ok(())
}

pub(super) fn other_board() -> Outcome {
    let bundle = one_guest("hello", "", 1)?.compile(&Machine::new())?.bundle;
    refused(
        with_bundle(&Machine::rpi4(), &bundle)?,
        "boot refused: the bundle is for the board linux,dummy-virt, and this is raspberrypi,4-model-b",
    )
}

/// The reason has to come; after it no guest runs.
fn refused(mut running: Running, reason: &str) -> Outcome {
    running.wait_for(reason, PATIENCE)?;
    if let Ok(more) = running.wait_for("hello:", Duration::from_millis(500)) {
        return Err(running.failure(format!("a guest ran: {more}")).into());
    }
    Ok(())
}
