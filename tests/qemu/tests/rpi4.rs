//! What the Raspberry Pi 4 has and QEMU's `virt` has not: two kinds of UART, a spin table, memory with holes, pages that
//! devices share, and no PSCI. P1, V1, V2, V3, V9.
//!
//! What both boards have is in the other topics, from the same list: `cargo xtask test --board rpi4`.

mod dma;
mod refusals;

use dtoolkit::fdt::Fdt;
use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node as _, Property as _, ToPropertyValue};
use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Board, Machine, Running, System, paths, system as systems};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, one_guest, system};

/// The topic's name.
pub(crate) const TOPIC: &str = "rpi4";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new(TOPIC, trials);
    topic
        .test("a_crash_is_restarted_beside_two_that_go_on", demo)
        .test("the_manuals_first_lines_come_as_they_stand_there", manual)
        .test("linux_runs_beside_a_bare_metal_partition [1 vCPU]", || beside(1))
        .test("linux_runs_beside_a_bare_metal_partition [4 vCPUs]", || beside(4))
        .test("the_console_is_the_uart_that_stdout_names", pl011)
        .test("a_bus_may_have_its_windows_in_pieces_and_in_any_order", windows)
        .test("a_bus_may_have_its_addresses_anywhere", shifted)
        .test("the_models_of_1_2_4_and_8_gib_boot_and_give_their_memory_out", models)
        .test("a_psci_node_does_not_replace_the_spin_table_of_a_core", psci_beside_spin_table)
        .test("cores_are_started_by_the_firmwares_psci_where_the_tree_says_so", psci)
        .test("linux_drives_the_other_uart_with_its_interrupt", other_uart)
        .test(
            "a_trusted_bus_master_is_named_at_boot_and_its_guest_told_of_its_windows",
            dma::bus_master,
        )
        .test("a_trusted_dma_engine_copies_at_bus_addresses_whatever_they_are_of", dma::dma_engine)
        .test(
            "what_a_device_writes_after_its_partitions_end_harms_nobody",
            dma::writes_after_the_end,
        )
        .test("without_a_device_tree_it_says_so_on_the_boards_known_console", refusals::no_tree)
        .test("entered_at_el1_it_says_so_and_stops", refusals::at_el1)
        .test("a_tree_without_an_interrupt_controller_is_refused", refusals::no_gic)
        .test("a_tree_that_is_cut_off_is_refused", refusals::cut_tree)
        .test("the_tree_of_another_machine_is_refused", refusals::other_tree)
        .test("a_tree_whose_uart_nobody_knows_is_refused", refusals::no_console)
        .test("a_spin_table_outside_memory_is_refused", refusals::bad_spin_table)
        .test("a_core_that_nothing_can_start_is_named", refusals::no_way_to_start)
        .test("cores_may_look_at_the_same_release_address", shared_release)
        .test("without_a_bundle_it_says_so_and_stops", refusals::no_bundle)
        .test("too_little_memory_is_refused", refusals::little_memory)
        .test("a_bundle_for_another_board_is_refused", refusals::other_board);
    topic.slow().test("a_core_that_does_not_come_is_named", refusals::missing_core);
}

/// As the board's demo: two bare-metal guests, one of which crashes, and a Linux.
fn demo() -> Outcome {
    let crash = Partition::new("crash", "crash")
        .with("cores = [1]")
        .with("cmdline = \"crash=read\"")
        .with("restart = { policy = \"on-fault\", max = 3, window = \"60s\", delay = \"200ms\" }");
    let timer =
        Partition::new("timer", "timer").with("cores = [0]").with("cmdline = \"ticks=all\"");
    let linux = Partition::linux("linux", "quiet").with("cores = [2, 3]");
    let mut running = system([timer, crash, linux])?.boot(&Machine::rpi4())?;
    running.wait_for("partition crash (id 2) has ended", PATIENCE)?;
    running.wait_for("partition crash (id 4) starts", PATIENCE)?;
    running.wait_for("timer| timer: tick 5", PATIENCE)?;
    running.wait_for("linux| shikiri-linux: ready", PATIENCE)?;
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    // By the power manager: there is no PSCI.
    running.send("off\r")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// The lines of `hyp/doc/rpi4.md`, one after the other; what differs from board to board is left out there (`…`).
fn manual() -> Outcome {
    let text = std::fs::read_to_string(paths::root().join("hyp/doc/rpi4.md"))?;
    let block = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.ok_or("the manual has no block of lines")?;
    let system = System::find_on(Board::Rpi4, "hello")?;
    let mut running = system.boot(&Machine::rpi4())?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let mut lines = console.lines();
    for wanted in block.lines() {
        let is_it = |line: &str| {
            let (head, tail) = wanted.split_once('…').unwrap_or((wanted, ""));
            line.starts_with(head) && line.ends_with(tail)
        };
        if !lines.any(|line| is_it(line.trim_end())) {
            return Err(running.failure(format!("{wanted:?} did not come")).into());
        }
    }
    Ok(())
}

/// Linux and a timer guest share the cores; the shell answers while the timer ticks.
fn beside(vcpus: u32) -> Outcome {
    let share = |budget: &str| format!("share = {{ budget = \"{budget}\", period = \"10ms\" }}");
    let linux = Partition::linux("linux", "quiet")
        .with(&format!("vcpus = {vcpus}\ncores = [0, 1, 2, 3]"))
        .with(&share("8ms"));
    let timer = Partition::new("timer", "timer")
        .with("cores = [0, 1, 2, 3]\ncmdline = \"ticks=all\"")
        .with(&share("1ms"));
    let mut running = system([linux, timer])?.boot(&Machine::rpi4())?;
    running.wait_for("linux| shikiri-linux: ready", PATIENCE)?;
    running.wait_for("# ", PATIENCE)?;
    running.send("echo $((6 * 7)) of $(nproc)\n")?;
    running.wait_for(&format!("42 of {vcpus}"), PATIENCE)?;
    running.wait_for("timer| timer: tick", PATIENCE)?;
    running.send("poweroff\n")?;
    running.wait_for("partition linux (id 1) has ended: it powered itself off", PATIENCE)?;
    Ok(())
}

/// The kernel's tree, changed.
struct Tree(DeviceTree);

impl Tree {
    fn new() -> Result<Self, Failed> {
        let original = std::fs::read(paths::rpi4_tree())?;
        let fdt = Fdt::new(&original).map_err(|error| error.to_string())?;
        Ok(Self(DeviceTree::from_fdt(&fdt)))
    }

    /// Sets a property of the node at the end of this path.
    fn set(
        mut self,
        path: &[&str],
        name: &str,
        value: impl ToPropertyValue,
    ) -> Result<Self, Failed> {
        let mut node = &mut self.0.root;
        for part in path {
            node = node.child_mut(part).ok_or_else(|| format!("there is no {part}"))?;
        }
        node.add_property(DeviceTreeProperty::new_unchecked(name, value));
        Ok(self)
    }

    /// A machine with this tree, and where the tree is.
    fn machine(&self) -> Result<(Machine, tempfile::TempDir), Failed> {
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        let file = scratch.path().join("edited.dtb");
        std::fs::write(&file, self.0.to_dtb())?;
        Ok((Machine::rpi4().tree(&file), scratch))
    }
}

fn pl011() -> Outcome {
    let tree = Tree::new()?.set(&["chosen"], "stdout-path", "serial0:115200n8")?;
    let (machine, _tree) = tree.machine()?;
    let mut running = one_guest("hello", "", 1)?.boot(&machine.on_pl011())?;
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// The same addresses by other rows of `ranges`, more than any board has; the GIC and both UARTs are behind them.
fn windows() -> Outcome {
    let mut rows: Vec<[u32; 4]> = vec![
        [0x4000_0000, 0, 0xff80_0000, 0x80_0000],
        [0x7e20_0000, 0, 0xfe20_0000, 0x1_0000],
        [0x7c00_0000, 0, 0xfc00_0000, 0x200_0000],
        [0x7e00_0000, 0, 0xfe00_0000, 0x20_0000],
    ];
    rows.extend((0x7_e210_u32..0x7_f800).step_by(0x10).map(|page| {
        let start = page << 12;
        [start, 0, start.wrapping_add(0x8000_0000), 0x1_0000]
    }));
    let cells: Vec<u8> = rows.as_flattened().iter().flat_map(|cell| cell.to_be_bytes()).collect();
    let (machine, _tree) = Tree::new()?.set(&["soc"], "ranges", cells)?.machine()?;
    let mut running = one_guest("hello", "", 1)?.boot(&machine)?;
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// The same devices at other addresses of the bus, which its windows lead to where QEMU has them. It has them at no other physical
/// address, so that `arm_peri_high=1` is a matter of the host's tests.
fn shifted() -> Outcome {
    const SHIFT: u32 = 0x2000_0000;
    let mut tree = Tree::new()?;
    let soc = tree.0.root.child_mut("soc").ok_or("there is no /soc")?;
    let mut moved = 0;
    for child in soc.children_mut() {
        let Some(reg) = child.property("reg").map(|reg| reg.value().to_vec()) else { continue };
        // Rows of address and size, a word each.
        let cells = reg.as_chunks::<4>().0.iter().map(|cell| u32::from_be_bytes(*cell));
        let cells = cells
            .enumerate()
            .map(|(index, cell)| if index % 2 == 0 { cell.wrapping_sub(SHIFT) } else { cell });
        let cells: Vec<u8> = cells.flat_map(u32::to_be_bytes).collect();
        child.add_property(DeviceTreeProperty::new_unchecked("reg", cells));
        moved += 1;
    }
    let rows: [[u32; 4]; 3] = [
        [0x7e00_0000 - SHIFT, 0, 0xfe00_0000, 0x180_0000],
        [0x7c00_0000 - SHIFT, 0, 0xfc00_0000, 0x200_0000],
        [0x4000_0000 - SHIFT, 0, 0xff80_0000, 0x80_0000],
    ];
    let cells: Vec<u8> = rows.as_flattened().iter().flat_map(|cell| cell.to_be_bytes()).collect();
    let (machine, _tree) = tree.set(&["soc"], "ranges", cells)?.machine()?;
    if moved < 20 {
        return Err(format!("only {moved} devices have moved").into());
    }
    let mut running = one_guest("hello", "", 1)?.boot(&machine)?;
    running.wait_for("[09] all cores here (4)", PATIENCE)?;
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    // By the power manager, which has moved as well.
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// Memory as the firmware announces it: below the VideoCore's, above that, and above the peripherals. Of that QEMU has the part to
/// 0x8000_0000 without announcing it above the VideoCore's, and replaces nodes that are called `memory`: here the node has another
/// name, and what QEMU has not is reserved, as is what the firmware leaves to the VideoCore (`gpu_mem=76`).
fn models() -> Outcome {
    const GIB: u64 = 1 << 30;
    const LOW: u64 = 0x3b40_0000;
    /// Start and size.
    type Rows<'a> = &'a [(u64, u64)];
    // Rows of the node, and what of them QEMU has not.
    let models: [(Rows<'_>, Rows<'_>); 4] = [
        (&[], &[]),
        (&[(GIB, GIB)], &[]),
        (&[(GIB, 0xbc00_0000)], &[(2 * GIB, 0x7c00_0000)]),
        (
            &[(GIB, 0xbc00_0000), (4 * GIB, 2 * GIB), (6 * GIB, 2 * GIB)],
            &[(2 * GIB, 0x7c00_0000), (4 * GIB, 4 * GIB)],
        ),
    ];
    for (rows, missing) in models {
        let mut tree = Tree::new()?;
        if !rows.is_empty() {
            let mut node = DeviceTreeNode::new_unchecked("ram@40000000");
            let mut reg = Vec::new();
            for (start, bytes) in rows {
                reg.extend(start.to_be_bytes());
                reg.extend(u32::try_from(*bytes)?.to_be_bytes());
            }
            node.add_property(DeviceTreeProperty::new_unchecked("device_type", "memory"));
            node.add_property(DeviceTreeProperty::new_unchecked("reg", reg));
            tree.0.root.add_child(node);
        }
        for (start, bytes) in [(LOW, 0x3c00_0000 - LOW)].iter().chain(missing) {
            tree.0.memory_reservations.push(MemoryReservation::new(*start, *bytes));
        }
        let (machine, _tree) = tree.machine()?;
        // The last of what the model has, as far as QEMU has it.
        let (end, room) = if rows.is_empty() { (LOW, LOW) } else { (2 * GIB, LOW + GIB) };
        let at = end - (4 << 20);
        let last = Partition::new("last", "hello")
            .with_memory(&format!("{{ size = \"4MiB\", at = {at:#x} }}"));
        let mut running = system([last])?.boot(&machine)?;
        running.wait_for("frame ledger ready (", PATIENCE)?;
        let text = running.wait_for(" MiB)", PATIENCE)?;
        let free: u64 = text.trim_end_matches(" MiB)").parse()?;
        // Less the hypervisor, the ledger, which grows with what is announced, and the bundle.
        let room = room >> 20;
        if !(room - 64..room).contains(&free) {
            return Err(running.failure(format!("{free} MiB are free of {room}")).into());
        }
        running.wait_for("hello: 1 vCPU", PATIENCE)?;
        running.wait_for_power_off(PATIENCE)?;
    }
    Ok(())
}

/// As TF-A patches the tree, but for the cores' own nodes: each says how it starts. QEMU has no PSCI here, so that a call of it would
/// be the end.
fn psci_beside_spin_table() -> Outcome {
    let mut tree = Tree::new()?;
    let mut psci = DeviceTreeNode::new_unchecked("psci");
    psci.add_property(DeviceTreeProperty::new_unchecked("compatible", "arm,psci-1.0"));
    psci.add_property(DeviceTreeProperty::new_unchecked("method", "smc"));
    tree.0.root.add_child(psci);
    let (machine, _tree) = tree.machine()?;
    let mut running = one_guest("spin", "", 4)?.boot(&machine)?;
    running.wait_for("[09] all cores here (4)", PATIENCE)?;
    running.wait_for("spin", PATIENCE)?;
    Ok(())
}

/// As the board's system `uart`: more text than the UART's FIFO holds, so that it needs interrupts, of which Linux says the
/// number.
fn other_uart() -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let sent = scratch.path().join("pl011");
    let machine = Machine::rpi4().pl011_to(&sent);
    let linux = Partition::linux("linux", "quiet")
        .with("devices = [{ path = \"/soc/serial@7e201000\", clock_hz = 48000000 }]");
    let mut running = system([linux])?.boot(&machine)?;
    running.wait_for("# ", PATIENCE)?;
    // Linux has the interrupt while somebody has the device open.
    running.send("exec 3>/dev/ttyAMA1; seq 1000 1200 >&3; grep uart-pl011 /proc/interrupts\n")?;
    running.wait_for(" 153 Level     uart-pl011", PATIENCE)?;
    running.send("poweroff\n")?;
    running.wait_for_power_off(PATIENCE)?;
    let text = std::fs::read_to_string(&sent)?;
    if text.contains("1000") && text.contains("1199") && text.contains("1200") {
        return Ok(());
    }
    Err(running.failure(format!("the PL011 has sent {} bytes: {text:.80}", text.len())).into())
}

/// TF-A as the board's stub: cores by PSCI, power-off too, and no word of a spin table.
fn psci() -> Outcome {
    const BUNDLE: u64 = 0xa00_0000;
    let original = Machine::rpi4().device_tree()?;
    let fdt = Fdt::new(&original).map_err(|error| error.to_string())?;
    let mut tree = Tree(DeviceTree::from_fdt(&fdt));
    let mut node = DeviceTreeNode::new_unchecked("psci");
    node.add_property(DeviceTreeProperty::new_unchecked("compatible", "arm,psci-1.0"));
    node.add_property(DeviceTreeProperty::new_unchecked("method", "smc"));
    tree.0.root.add_child(node);
    for core in ["cpu@0", "cpu@1", "cpu@2", "cpu@3"] {
        tree = tree.set(&["cpus", core], "enable-method", "psci")?;
        let node = tree.0.root.child_mut("cpus").and_then(|cpus| cpus.child_mut(core));
        node.ok_or("no such core")?.remove_property("cpu-release-addr");
    }
    let bundle = one_guest("psci", "", 4)?.compile_for(tree.0.to_dtb())?.bundle;
    tree = tree.set(&["chosen"], "linux,initrd-start", BUNDLE)?;
    tree = tree.set(&["chosen"], "linux,initrd-end", BUNDLE + bundle.len() as u64)?;
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let place = |name: &str, at: u64, bytes: &[u8]| -> Result<[String; 2], Failed> {
        let file = scratch.path().join(name);
        std::fs::write(&file, bytes)?;
        let loader = format!("loader,file={},addr={at:#x},force-raw=on", file.display());
        Ok(["-device".to_owned(), loader])
    };
    let machine = Machine::rpi4()
        .args(place("firmware", 0, &support::assemble("firmware.S", scratch.path())?)?)
        .args(place("image", 0x20_0000, &std::fs::read(paths::hypervisor())?)?)
        .args(place("tree", 0x900_0000, &tree.0.to_dtb())?)
        .args(place("bundle", BUNDLE, &bundle)?);
    let mut running = Running::start(&machine, &Boot::Firmware, Some(scratch), None)?;
    running.wait_for("[09] all cores here (4)", PATIENCE)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    support::approve(&console)
}

/// What the cores 1 to 3 wait in, at 0x900: the firmware's code for a table of one word, at 0xa00.
const ONE_WORD_TABLE: [u32; 15] = [
    0xd538_4240, // mrs x0, CurrentEL
    0xf100_301f, // cmp x0, #3 << 2
    0x5400_0101, // b.ne 1f
    0xd280_a620, // mov x0, #0x531: SCR_EL3: AArch64, HVC, non-secure
    0xd51e_1100, // msr scr_el3, x0
    0xd280_7920, // mov x0, #0x3c9: EL2h, masked
    0xd51e_4000, // msr spsr_el3, x0
    0x1000_0060, // adr x0, 1f
    0xd51e_4020, // msr elr_el3, x0
    0xd69f_03e0, // eret
    0xd281_4001, // 1: mov x1, #0xa00
    0xd503_205f, // 2: wfe
    0xf940_0020, // ldr x0, [x1]
    0xb4ff_ffc0, // cbz x0, 2b
    0xd61f_0000, // br x0
];

/// They leave it together, at the first start.
fn shared_release() -> Outcome {
    let mut tree = Tree::new()?;
    for core in ["cpu@1", "cpu@2", "cpu@3"] {
        let place = 0xa00_u64.to_be_bytes().to_vec();
        tree = tree.set(&["cpus", core], "cpu-release-addr", place)?;
    }
    let (mut machine, scratch) = tree.machine()?;
    let code = scratch.path().join("table");
    std::fs::write(&code, ONE_WORD_TABLE.map(u32::to_le_bytes).as_flattened())?;
    let file = format!("loader,file={},addr=0x900,force-raw=on", code.display());
    machine = machine.args(["-device".into(), file]);
    for core in 1..4 {
        machine = machine.args(["-device".into(), format!("loader,addr=0x900,cpu-num={core}")]);
    }
    let mut running = with_bundle(&machine, &bundle()?)?;
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// A bundle for the Pi as it is.
fn bundle() -> Result<Vec<u8>, Failed> {
    Ok(one_guest("hello", "", 1)?.compile(&Machine::rpi4())?.bundle)
}

fn with_bundle(machine: &Machine, bundle: &[u8]) -> Result<Running, Failed> {
    Ok(systems::start(machine, paths::hypervisor(), bundle, None)?)
}
