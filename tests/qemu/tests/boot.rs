//! From reset to the first guest, and the boots that have to be refused with a reason. P1, P2, V9.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use dtoolkit::ToPropertyValue;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::written_by;
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Gic, Machine, Running, System, paths, system as systems};

use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics, each_kind, one_guest, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("boot", trials);
    for cores in [1, 2, 4, 8] {
        if cores == 4 {
            topic.also_on_rpi4();
        }
        topic.on_each(each_kind(cores), "every_checkpoint_is_passed_in_order", checkpoints);
    }
    topic
        .only_on_virt(OF_ITS_OWN, "without_el2_it_says_so_and_stops", || {
            refused(image_alone(false)?, "entered at EL1")
        })
        .only_on_virt(OF_ITS_OWN, "without_a_bundle_it_says_so_and_stops", || {
            refused(image_alone(true)?, "there is no bundle")
        })
        .only_on_virt(IT_HAS_NO_VHE, "it_boots_from_a_kernel_with_the_host_extensions_on", || {
            handed_over(&WITH_HOST_EXTENSIONS, "max")
        })
        .only_on_virt(ON_VIRT_TOO, "it_boots_at_el2t_without_a_stack_of_its_own", || {
            handed_over(&AT_EL2T, "cortex-a72")
        })
        .only_on_virt(
            OF_ITS_OWN,
            "without_a_device_tree_it_says_so_on_the_boards_known_console",
            no_tree,
        )
        .only_on_virt(
            OF_ITS_OWN,
            "without_a_console_in_the_tree_it_says_so_on_the_boards_known_console",
            no_console,
        )
        .only_on_virt(
            "QEMU makes no room for changes in its tree",
            "a_device_tree_beyond_the_boot_protocols_limit_is_refused",
            large_tree,
        )
        .not_on_rpi4("its cores start by a spin table for each, which renumbering does not move")
        .on_each(
            both_gics(4),
            "the_core_that_boots_may_stand_anywhere_in_the_tree_and_keeps_its_number",
            boot_core_third,
        )
        .only_on_virt(
            "QEMU sets its cores' nodes",
            "a_core_that_boots_and_is_not_in_the_tree_is_refused",
            boot_core_unknown,
        )
        .only_on_virt(
            "it has reserved memory always, the spin table's",
            "reserved_memory_is_nobodys",
            reserved_memory,
        )
        .only_on_virt(
            "QEMU puts the bundle elsewhere there, and the map is made by the same code",
            "memory_that_nobody_may_map_is_not_mapped_at_el2",
            unmapped_memory,
        )
        .only_on_virt("it has one GIC", "a_bundle_for_another_gic_is_refused", another_gic)
        .only_on_virt("it has four cores, always", "a_bundle_for_more_cores_is_refused", more_cores)
        .only_on_virt(OF_ITS_OWN, "a_bundle_for_more_memory_is_refused", less_memory)
        .only_on_virt(
            "QEMU puts the image elsewhere there",
            "memory_that_is_in_use_is_refused_with_both_names",
            memory_in_use,
        )
        .on_each(
            smallest(),
            "a_damaged_file_of_one_partition_keeps_all_from_running",
            damaged_file,
        );
    topic.only_on_virt("it has four cores, always", "one_gets_the_rest_of_the_machine", rest);
    topic.only_on_virt(
        "the log is the same there",
        "all_of_the_boot_is_in_memory_for_whoever_looks_there",
        log_in_memory,
    );
    for part in 0..PLACES {
        topic.on_each(
            smallest(),
            &format!("a_damaged_bundle_is_refused_with_a_reason [{part}]"),
            move |machine| damaged_bundle(part, &machine),
        );
    }
    topic.slow().on_each(
        vec![Variant::new(Gic::V3, 64, "cortex-a72")],
        "sixty_four_cores_come_up",
        checkpoints,
    );
}

/// What the topic `rpi4` has for its board.
const OF_ITS_OWN: &str = "it has one of its own, in the topic rpi4";

const IT_HAS_NO_VHE: &str = "its cores have no host extensions";
const ON_VIRT_TOO: &str = "the code is the same, and `virt` has it tried";

/// One machine, which the Pi can take the place of.
fn smallest() -> Vec<Variant> {
    vec![Variant::new(Gic::V2, 2, "cortex-a72")]
}

fn checkpoints(machine: Machine) -> Outcome {
    let mut running = one_guest("hello", "", 1)?.boot(&machine)?;
    for number in 1..=11 {
        running.wait_for(&format!("shikiri: [{number:02}]"), PATIENCE)?;
    }
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// A kernel with the host extensions on that jumps to our image at 0x44000000, as kexec does from a Linux at EL2.
const WITH_HOST_EXTENSIONS: [u32; 6] = [
    0xd2b1_0001, // mov x1, #0x88000000: HCR_EL2.RW, TGE
    0xf2c0_0081, // movk x1, #4, lsl #32: E2H
    0xd51c_1101, // msr hcr_el2, x1
    0xd503_3fdf, // isb
    0xd2a8_8001, // mov x1, #0x44000000
    0xd61f_0020, // br x1
];
/// One that does so on SP_EL0, and leaves nonsense in SP_EL2.
const AT_EL2T: [u32; 5] = [
    0xd29f_ffe1, // mov x1, #0xffff
    0x9100_003f, // mov sp, x1
    0xd500_40bf, // msr spsel, #0
    0xd2a8_8001, // mov x1, #0x44000000
    0xd61f_0020, // br x1
];

/// All comes up, and a guest runs, makes exits and ends.
fn handed_over(kernel: &[u32], cpu: &str) -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let [image, bundle] = ["kernel", "bundle"].map(|name| scratch.path().join(name));
    let code: Vec<u8> = kernel.iter().flat_map(|word| word.to_le_bytes()).collect();
    std::fs::write(&image, code)?;
    let machine = Machine::new().cpu(cpu);
    std::fs::write(&bundle, one_guest("psci", "", 2)?.compile(&machine)?.bundle)?;
    let file =
        format!("loader,file={},addr=0x44000000,force-raw=on", paths::hypervisor().display());
    let boot = Boot::Hypervisor { image, bundle };
    let machine = machine.args(["-device", &file]);
    let mut running = Running::start(&machine, &boot, Some(scratch), None)?;
    running.wait_for("[09] all cores here (2)", PATIENCE)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    support::approve(&console)
}

fn image_alone(el2: bool) -> Result<Running, Failed> {
    let boot = Boot::Image { image: paths::hypervisor(), el2 };
    Ok(Running::start(&Machine::new(), &boot, None, None)?)
}

/// Nobody tells where anything is.
fn no_tree() -> Outcome {
    let boot = Boot::Raw { image: paths::hypervisor() };
    let mut running = Running::start(&Machine::new(), &boot, None, None)?;
    running.wait_for("shikiri: [01]", PATIENCE)?;
    running.wait_for("this is a PL011 at 0x9000000, as QEMU virt has it", PATIENCE)?;
    refused(running, "boot refused: x0 does not point to a device tree")
}

/// The machine's tree without the room that QEMU leaves in it, and twice of which it would add (`-dtb`).
fn small_tree_of(machine: &Machine) -> Result<Vec<u8>, Failed> {
    let mut tree = machine.device_tree()?;
    let field = |at: usize| -> usize {
        tree[at..at + 4].iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    // Header (Devicetree Specification, 5.2): offsets of structure and strings, and their sizes.
    let end = (field(8) + field(36)).max(field(12) + field(32));
    tree.truncate(end);
    tree[4..8].copy_from_slice(&u32::try_from(end)?.to_be_bytes());
    Ok(tree)
}

/// The tree's UART is of a kind that nobody knows.
fn no_console() -> Outcome {
    let mut tree = small_tree_of(&Machine::new())?;
    let name = b"arm,pl011\0";
    let at = tree.windows(name.len()).position(|bytes| bytes == name).ok_or("no PL011")?;
    tree[at..at + 9].copy_from_slice(b"arm,plxxx");
    let mut running = with_tree(&tree)?;
    running.wait_for("this is a PL011 at 0x9000000, as QEMU virt has it", PATIENCE)?;
    refused(running, "boot refused: the device tree's /chosen/stdout-path names no PL011")
}

/// The core with affinity 0, which boots, is the third node and so core 2, with the console's interrupts; all others come,
/// too.
fn boot_core_third(machine: Machine) -> Outcome {
    let tree = renumbered(&machine, &[2, 3, 0, 1])?;
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let file = scratch.path().join("edited.dtb");
    std::fs::write(&file, tree)?;
    let machine = machine.arg("-dtb").arg(&file);
    support::passes(&one_guest("psci", "", 4)?, &machine)?;
    let alone = |name, core| Partition::new(name, "spin").with(&format!("cores = [{core}]"));
    let mut running = system([alone("one", 2), alone("other", 0)])?.boot(&machine)?;
    running.wait_for("[02] device tree read (linux,dummy-virt, 4 cores, on core 2)", PATIENCE)?;
    running.wait_for("| spin", PATIENCE)?;
    running.wait_for("| spin", PATIENCE)?;
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    Ok(())
}

fn boot_core_unknown() -> Outcome {
    let tree = renumbered(&Machine::new().cpus(2), &[2, 3])?;
    refused(with_tree(&tree)?, "the core that boots, MPIDR 0x0, is not among the device tree's")
}

/// The machine's tree with other affinities for the nodes `cpu@0`, `cpu@1` and so on.
fn renumbered(machine: &Machine, affinities: &[u32]) -> Result<Vec<u8>, Failed> {
    let mut tree = small_tree_of(machine)?;
    let find = |tree: &[u8], from: usize, what: &[u8]| {
        tree[from..].windows(what.len()).position(|bytes| bytes == what).map(|at| from + at)
    };
    // Properties name themselves by an offset in the strings (Devicetree Specification, 5.4.1 and 5.5).
    let strings = usize::try_from(u32::from_be_bytes(tree[12..16].try_into()?))?;
    let name = find(&tree, strings, b"\0reg\0").ok_or("no property reg")? + 1 - strings;
    let mut property = vec![0, 0, 0, 3, 0, 0, 0, 4];
    property.extend(u32::try_from(name)?.to_be_bytes());
    for (number, affinity) in affinities.iter().enumerate() {
        let node = format!("cpu@{number}\0");
        let at = find(&tree, 0, node.as_bytes()).ok_or("no such cpu")?;
        let value = find(&tree, at, &property).ok_or("a cpu without reg")? + property.len();
        tree[value..value + 4].copy_from_slice(&affinity.to_be_bytes());
    }
    Ok(tree)
}

/// What reserved memory takes, one node with `no-map` and one without, is missing in the ledger, and a bundle that was made
/// for a machine without them cannot have it.
fn reserved_memory() -> Outcome {
    // Both with an edited tree, which is smaller than QEMU's.
    let (whole, _whole_tree) = reserving(&[])?;
    let (machine, _tree) =
        reserving(&[(RESERVED, 64 << 20, true), (0x6800_0000, 32 << 20, false)])?;
    let megabytes = |machine: &Machine| -> Result<u64, Failed> {
        let mut running = one_guest("hello", "", 1)?.boot(machine)?;
        running.wait_for("frame ledger ready (", PATIENCE)?;
        let size = running.wait_for(" MiB)", PATIENCE)?;
        running.wait_for_power_off(PATIENCE)?;
        Ok(size.trim_end_matches(" MiB)").parse()?)
    };
    let (all, less) = (megabytes(&whole)?, megabytes(&machine)?);
    if all - less != 96 {
        return Err(format!("{all} MiB without, {less} MiB with 96 MiB of reserved memory").into());
    }
    for at in [RESERVED, 0x6800_0000] {
        let system = System::from_text(&format!(
            "[[partition]]\nname = \"hello\"\nimage = \"hello\"\nmemory = {{ size = \"4MiB\", at = {at} }}\n"
        ))?;
        let refusal = match system.compile(&machine) {
            Ok(_) => return Err("the description is accepted".into()),
            Err(error) => error.to_string(),
        };
        if !refusal.contains("/reserved-memory/kept@") {
            return Err(format!("not refused for the reservation: {refusal}").into());
        }
        let bundle = system.compile(&whole)?.bundle;
        let reason = format!(
            "{at:#x} is claimed by memory that the firmware keeps and by memory of `hello`"
        );
        refused(boot_with(&machine, &bundle)?, &reason)?;
    }
    Ok(())
}

/// Where the tests reserve memory: far from what QEMU loads.
const RESERVED: u64 = 0x6000_0000;

/// A node with `no-map` covers the bundle, so that EL2 itself has to touch it: it faults at its first bytes.
fn unmapped_memory() -> Outcome {
    const BUNDLE: u64 = 0x4800_0000;
    let (machine, _tree) = reserving(&[(BUNDLE, 1 << 20, true)])?;
    let mut running = boot_with(&machine, &bundle(&Machine::new())?)?;
    let failure = match running.wait_for("hello: 1 vCPU", PATIENCE) {
        Ok(_) => return Err(running.failure("it is mapped".into()).into()),
        Err(failure) => failure.to_string(),
    };
    let is_fault = failure.contains("EL2 FAULT") && failure.contains("FAR 0x480000");
    if is_fault { Ok(()) } else { Err(failure.into()) }
}

/// A machine whose tree reserves these ranges (start, size, `no-map`), and where the tree is.
fn reserving(ranges: &[(u64, u64, bool)]) -> Result<(Machine, tempfile::TempDir), Failed> {
    fn set(node: &mut DeviceTreeNode, name: &str, value: impl ToPropertyValue) {
        node.add_property(DeviceTreeProperty::new_unchecked(name, value));
    }
    let original = Machine::new().device_tree()?;
    let mut tree = DeviceTree::from_fdt(&Fdt::new(&original).map_err(|error| error.to_string())?);
    let mut parent = DeviceTreeNode::new_unchecked("reserved-memory");
    set(&mut parent, "#address-cells", 2_u32);
    set(&mut parent, "#size-cells", 2_u32);
    set(&mut parent, "ranges", Vec::<u8>::new());
    for (start, bytes, is_unmapped) in ranges {
        let mut node = DeviceTreeNode::new_unchecked(format!("kept@{start:x}"));
        set(&mut node, "reg", [start.to_be_bytes(), bytes.to_be_bytes()].concat());
        if *is_unmapped {
            set(&mut node, "no-map", Vec::<u8>::new());
        }
        parent.add_child(node);
    }
    tree.root.add_child(parent);
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let file = scratch.path().join("edited.dtb");
    std::fs::write(&file, tree.to_dtb())?;
    Ok((Machine::new().arg("-dtb").arg(&file), scratch))
}

/// QEMU makes room for its own changes: as much again as the tree, which is 1 MiB by then.
fn large_tree() -> Outcome {
    let running = with_tree(&Machine::new().device_tree()?)?;
    refused(running, "boot refused: the device tree at x0 is larger than 2 MiB")
}

/// The image, without a bundle, with this device tree.
fn with_tree(tree: &[u8]) -> Result<Running, Failed> {
    with_tree_on(Machine::new(), tree)
}

fn with_tree_on(machine: Machine, tree: &[u8]) -> Result<Running, Failed> {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let file = scratch.path().join("edited.dtb");
    std::fs::write(&file, tree)?;
    let machine = machine.arg("-dtb").arg(file);
    let boot = Boot::Image { image: paths::hypervisor(), el2: true };
    Ok(Running::start(&machine, &boot, Some(scratch), None)?)
}

/// The reason has to come; after it nothing more, and no guest runs.
fn refused(mut running: Running, reason: &str) -> Outcome {
    running.wait_for(reason, PATIENCE)?;
    if let Ok(more) = running.wait_for("hello:", Duration::from_millis(500)) {
        return Err(running.failure(format!("a guest ran: {more}")).into());
    }
    Ok(())
}

fn bundle(machine: &Machine) -> Result<Vec<u8>, Failed> {
    Ok(one_guest("hello", "", 1)?.compile(machine)?.bundle)
}

fn boot_with(machine: &Machine, bundle: &[u8]) -> Result<Running, Failed> {
    Ok(systems::start(machine, paths::hypervisor(), bundle, None)?)
}

fn another_gic() -> Outcome {
    let bundle = bundle(&Machine::new().gic(Gic::V2))?;
    let running = boot_with(&Machine::new().gic(Gic::V3), &bundle)?;
    refused(running, "GIC version: the description counts on 2, this machine has 3")
}

fn more_cores() -> Outcome {
    let hello = Partition::new("hello", "hello").with("cores = [3]");
    let bundle = system([hello])?.compile(&Machine::new().cpus(4))?.bundle;
    let running = boot_with(&Machine::new().cpus(2), &bundle)?;
    refused(running, "cores: the description counts on 4, this machine has 2")
}

/// Memory that is placed where this machine has no RAM.
fn less_memory() -> Outcome {
    let placed = "[[partition]]\nname = \"hello\"\nimage = \"hello\"\n\
                  memory = { size = \"4MiB\", at = 0x7000_0000 }\n";
    let system = System::from_text(placed)?;
    let bundle = system.compile(&Machine::new().memory(1 << 30))?.bundle;
    let running = boot_with(&Machine::new().memory(512 << 20), &bundle)?;
    refused(running, "memory of `hello`: is not in RAM: 0x70000000")
}

/// The loader puts the image 2 MiB into RAM, the bundle at 128 MiB, and the tree behind it: no description can know.
fn memory_in_use() -> Outcome {
    let machine = Machine::new();
    let uses = [
        (0x4020_0000_u64, "the hypervisor's image"),
        (0x4800_0000, "the bundle"),
        (0x4820_0000, "the machine's device tree"),
    ];
    for (at, what) in uses {
        let placed = format!(
            "[[partition]]\nname = \"hello\"\nimage = \"hello\"\nmemory = {{ size = \"2MiB\", at = {at} }}\n"
        );
        let bundle = System::from_text(&placed)?.compile(&machine)?.bundle;
        let reason = format!("{at:#x} is claimed by {what} and by memory of `hello`");
        refused(boot_with(&machine, &bundle)?, &reason)?;
    }
    Ok(())
}

/// Of four cores and 256 MiB two cores are left, and all but what the hypervisor keeps for itself.
fn rest() -> Outcome {
    let text = "[[partition]]\nname = \"one\"\nimage = \"hello\"\nmemory = \"4MiB\"\ncores = [1, 2]\n\
                [[partition]]\nname = \"all\"\nimage = \"hello\"\n\
                [rest]\ncores = \"all\"\nmemory = \"all\"\ndevices = \"all\"\n";
    let machine = Machine::new().cpus(4).memory(256 << 20);
    let mut running = System::from_text(text)?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let said = written_by(&console, "all");
    let mib = || {
        let (_, behind) = said.split_once("hello: 2 vCPU, ")?;
        Some(behind.split_once(" KiB")?.0.parse::<u64>().ok()? >> 10)
    };
    match mib() {
        // 16 MiB are the hypervisor's, and 4 the other's.
        Some(200..=236) if written_by(&console, "one").contains("hello: 2 vCPU, 4096 KiB") => {
            Ok(())
        }
        mib => Err(running.failure(format!("it has {mib:?} MiB, and said {said:?}")).into()),
    }
}

/// By the machine's own view of its memory, through QEMU's monitor: once when a guest runs, and once when the tree tells no console.
fn log_in_memory() -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let socket = scratch.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let watched = |machine: Machine| machine.args(["-qmp", &monitor]);
    let mut running = one_guest("spin", "", 1)?.boot(&watched(Machine::new()))?;
    running.wait_for("spin: 1 vCPU", PATIENCE)?;
    let steps = (1..=11).map(|number| format!("shikiri: [{number:02}] ")).collect::<Vec<_>>();
    kept(&socket, scratch.path(), 11, &steps)?;
    drop(running);
    let mut tree = small_tree_of(&Machine::new())?;
    let name = b"arm,pl011\0";
    let at = tree.windows(name.len()).position(|bytes| bytes == name).ok_or("no PL011")?;
    tree[at..at + 9].copy_from_slice(b"arm,plxxx");
    let mut running = with_tree_on(watched(Machine::new()), &tree)?;
    // To its end: what is not written yet is not in memory.
    running.wait_for("names no PL011", PATIENCE)?;
    let refused = "shikiri: boot refused: the device tree's /chosen/stdout-path names no PL011";
    kept(&socket, scratch.path(), 1, &["shikiri: [01] entered".into(), refused.into()])
}

/// The log has these lines, in this order, and this number as its last step's.
fn kept(socket: &Path, scratch: &Path, last: u64, lines: &[String]) -> Outcome {
    let file = scratch.join("memory");
    let mut monitor = UnixStream::connect(socket)?;
    let save = format!(
        "{{\"execute\": \"pmemsave\", \"arguments\": {{\"val\": {}, \"size\": {}, \"filename\": {:?}}}}}",
        0x4020_0000,
        2 << 20,
        file.display().to_string()
    );
    writeln!(monitor, "{{\"execute\": \"qmp_capabilities\"}}\n{save}")?;
    let mut said = BufReader::new(monitor).lines();
    // A greeting, and an answer to each of the two.
    let answers = said.by_ref().filter(|line| {
        line.as_ref().is_ok_and(|line| line.contains("\"return\"") || line.contains("\"error\""))
    });
    let answers = answers.take(2).collect::<Result<Vec<_>, _>>()?;
    let memory = std::fs::read(&file).map_err(|error| format!("{error}: {answers:?}"))?;
    // `doc/boot.md`: magic, version, size, bytes written, last step, ring.
    let at = memory.windows(8).position(|it| it == b"SHIKILOG").ok_or("no log in memory")?;
    let word = |offset: usize| -> Result<u64, Failed> {
        let bytes = memory.get(at + offset..).and_then(|rest| rest.first_chunk());
        Ok(u64::from_le_bytes(*bytes.ok_or("the log is cut off")?))
    };
    let (size, written) = (word(8)? >> 32, word(16)?);
    if word(8)? & 0xffff_ffff != 1 || written > size || word(24)? != last {
        return Err(format!("size {size}, {written} written, last step {}", word(24)?).into());
    }
    let ring = memory.get(at + 32..).and_then(|rest| rest.get(..usize::try_from(written).ok()?));
    let text = String::from_utf8_lossy(ring.ok_or("the ring is cut off")?).into_owned();
    let mut rest = &*text;
    for line in lines {
        let (_, behind) = rest.split_once(&**line).ok_or_else(|| format!("no {line:?}: {text}"))?;
        rest = behind;
    }
    Ok(())
}

/// A bit of one part of the description is wrong.
fn damaged_bundle(part: usize, machine: &Machine) -> Outcome {
    let mut bundle = bundle(machine)?;
    let (name, place) = *places(&bundle)?.get(part).ok_or("there are fewer parts")?;
    let byte = bundle.get_mut(place).ok_or("the bundle is too small")?;
    *byte ^= 0x10;
    refused(boot_with(machine, &bundle)?, "the bundle: ").map_err(|why| {
        let why = why.message().unwrap_or("it boots").to_owned();
        format!("with a wrong bit in its {name}: {why}").into()
    })
}

/// How many [`places`] there are.
const PLACES: usize = 13;

/// A byte of each part of a bundle's description: words of its header, and the middle of each table that has rows.
fn places(bundle: &[u8]) -> Result<[(&'static str, usize); PLACES], Failed> {
    /// Bytes of the header, and of a row of each table (`hyp/config`): checked below, by where the strings lie.
    const HEADER: usize = 96;
    let word = |at: usize| -> Result<usize, Failed> {
        let bytes = bundle.get(at..).and_then(|rest| rest.first_chunk()).ok_or("too small")?;
        Ok(usize::try_from(u32::from_le_bytes(*bytes))?)
    };
    // Counts of partitions, vCPUs, memory, images; then of blobs, and the strings' bytes.
    let rows = [(24, 200), (28, 32), (32, 24), (36, 16), (72, 24)];
    let mut end = HEADER;
    let mut middles = [0; 5];
    for (middle, (count, bytes)) in middles.iter_mut().zip(rows) {
        let table = word(count)? * bytes;
        *middle = end + table / 2;
        end += table;
    }
    let strings = word(76)?;
    let has =
        |board: &str| bundle.get(end..).is_some_and(|rest| rest.starts_with(board.as_bytes()));
    if !["linux,dummy-virt", "raspberrypi,4-model-b"].into_iter().any(has) {
        return Err("the tables are not where this test counts them".into());
    }
    let [partition, vcpu, memory, image, blob] = middles;
    Ok([
        ("magic", 3),
        ("checksum", 9),
        ("version", 12),
        ("size", 17),
        ("number of partitions", 24),
        ("number of cores", 88),
        ("row of the partition", partition),
        ("row of the vCPU", vcpu),
        ("row of the memory", memory),
        ("row of an image", image),
        ("row of a file", blob),
        ("first string", end),
        ("last string", end + strings - 1),
    ])
}

/// A bit is wrong in what the second partition has, of which none of the first is: neither runs, and the reason says which.
fn damaged_file(machine: Machine) -> Outcome {
    let guests = [Partition::new("one", "hello"), Partition::new("other", "timer")];
    let bundle = system(guests)?.compile(&machine)?.bundle;
    let image = std::fs::read(paths::guests().join("timer.bin"))?;
    let start = image.first_chunk::<64>().ok_or("the image is too small")?;
    let find = |what: &[u8]| bundle.windows(what.len()).rposition(|window| window == what);
    // A flattened device tree's magic number; the last partition's comes last.
    for (file, start) in [("image", &start[..]), ("device tree", &[0xd0, 0x0d, 0xfe, 0xed])] {
        let mut bundle = bundle.clone();
        let place = find(start).ok_or("the file is not in the bundle")? + 50;
        *bundle.get_mut(place).ok_or("the bundle is too small")? ^= 1;
        let reason = format!("boot refused: the bundle: {file} of `other` is damaged");
        refused(boot_with(&machine, &bundle)?, &reason)?;
    }
    Ok(())
}
