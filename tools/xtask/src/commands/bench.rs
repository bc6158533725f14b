//! `cargo xtask bench`: counts instructions and bytes, and holds them against their limits.
//!
//! The machine runs by counted instructions with a counter of 1 GHz, so one tick of the guests' clock is
//! one instruction, and the same image gives the same numbers each time. TLB and cache costs are not
//! in them.

pub(crate) mod hardware;
mod rpi4;
mod start;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Board, Gic, Machine, Overrides, Running, Stacks, System, paths};

use crate::bench_table::{self, Values};
use crate::commands::{build, run, setup};
use crate::insn_count::{self, InsnCount, Waits};
use crate::process::{self, step};
use crate::{bench_relations, doc_table, figures, flatten};
use start::{first_instruction, hypervisors_ram};

/// Counts instructions and bytes, and compares them with the limits in `hyp/doc/spec.md`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Writes the measured values into the table.
    #[arg(long)]
    write: bool,
    /// The CPU model.
    #[arg(long, default_value = "cortex-a72")]
    cpu: String,
    /// Leaves out the rows of the Linux guest, which take longest.
    #[arg(long)]
    no_linux: bool,
    /// Takes the images as they are: others may be reading them.
    #[arg(long, hide = true)]
    built: bool,
    /// The board, which has a table of its own.
    #[arg(long, value_parser = run::board, default_value = "qemu-virt")]
    board: Board,
    /// Listens to a real board at this serial port (a device, or tcp:HOST:PORT), and prints its rows in cycles. The board boots
    /// `hello` or one of the systems `cycles*`.
    #[arg(long, value_name = "PORT", conflicts_with_all = ["write", "no_linux"])]
    hardware: Option<String>,
    /// How long to wait for the board.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "hardware")]
    timeout: u64,
}

/// The markers of `virt`'s table in the document.
const TABLE: &str = "bench";

/// No run is longer; under counted instructions a Linux boot takes some seconds.
const TIMEOUT: Duration = Duration::from_secs(600);

/// What is added to the Linux guest's command line, with and without the hypervisor. Not `quiet`: the console is the
/// dearer part.
const LINUX_WORDS: &str = "shikiri.script=boot";

/// The Linux guest's memory, in bytes.
const LINUX_MEMORY: u64 = 256 << 20;

impl Bench {
    /// The arguments of the measurement that every test run holds: all rows of `virt`, and all but those of the Linux guest of another board. A
    /// fast run leaves those out on `virt` as well.
    pub(crate) fn in_every_test(board: Board, is_fast: bool) -> Vec<&'static str> {
        let no_linux = is_fast || board != Board::QemuVirt;
        let rest = no_linux.then_some("--no-linux");
        ["bench", "--built", "--board", board.folder()].into_iter().chain(rest).collect()
    }

    pub(crate) fn execute(&self) -> Result<()> {
        if let Some(port) = &self.hardware {
            ensure!(self.board == Board::Rpi4, "{} is no real board", self.board.folder());
            let table = doc_table::read(&paths::root().join("hyp/doc/spec.md"), rpi4::TABLE)?;
            return hardware::collect(port, &table, Duration::from_secs(self.timeout));
        }
        setup::qemu()?;
        if !self.built {
            build::all()?;
        }
        let mut values = Values::new();
        match self.board {
            Board::QemuVirt => self.virt(&mut values)?,
            Board::Rpi4 => self.rpi4(&mut values)?,
        }
        self.judge(&values)
    }

    /// All rows of QEMU's `virt`, and of the image.
    fn virt(&self, values: &mut Values) -> Result<()> {
        image_sizes(values)?;
        for gic in [Gic::V3, Gic::V2] {
            self.operations(values, &System::find("bench")?, gic)?;
            self.operations(values, &System::find("events")?, gic)?;
            self.operations(values, &System::find("events-between")?, gic)?;
            self.operations(values, &System::find("channels")?, gic)?;
        }
        self.operations(values, &System::find("shared")?, Gic::V3)?;
        self.operations(values, &System::find("shared-1g")?, Gic::V3)?;
        self.operations(values, &System::find("switch")?, Gic::V3)?;
        self.operations(values, &System::find("sockets")?, Gic::V3)?;
        self.operations(values, &System::find("policy")?, Gic::V3)?;
        for text in [among_60("channels")?, among_60("events-between")?, with_many_ports()?] {
            self.operations(values, &System::from_text(&text)?, Gic::V3)?;
        }
        self.operations(values, &System::find("scattered")?, Gic::V3)?;
        self.operations(values, &System::find("flood-shared")?, Gic::V3)?;
        for (row, name) in WITNESSES {
            let system = System::find(name)?;
            let machine = system.machine()?.gic(Gic::V3).cpu(&self.counting_cpu()).icount();
            witness(values, row, &system, machine)?;
        }
        self.stacks(values)?;
        for cores in [1, 4] {
            let machine = self.counting().cpus(cores);
            self.reset(values, &System::find("reset")?, &machine, cores)?;
        }
        self.per_mib(values)?;
        hypervisors_ram(values)?;
        if self.no_linux {
            return Ok(());
        }
        setup::linux()?;
        let system = System::find("linux")?.with(linux_overrides());
        let count = InsnCount::new(&paths::linux_kernel(), insn_count::ON_VIRT)?;
        self.linux(values, &system, &self.counting().cpus(1), &count)
    }

    /// A machine whose clock counts instructions.
    fn counting(&self) -> Machine {
        Machine::new().gic(Gic::V3).cpu(&self.counting_cpu()).icount()
    }

    /// A CPU whose counter counts instructions.
    fn counting_cpu(&self) -> String {
        format!("{},cntfrq=1000000000", self.cpu)
    }

    /// The guest that measures single operations, in one of the systems that it is in. On GICv2 only those count that
    /// have to do with it, and their names end with `_v2`.
    fn operations(&self, values: &mut Values, system: &System, gic: Gic) -> Result<()> {
        let name = system.file().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        step(&format!("measuring single operations ({name}, GICv{})", gic.number()));
        let machine = system.machine()?.gic(gic).cpu(&self.counting_cpu()).icount();
        let rows = measured(system, &machine)?;
        let depends = |name: &str| {
            let topics = ["read_", "write_", "sgi_", "timer_", "event_", "rpc_"];
            topics.iter().any(|it| name.starts_with(it))
                || ["channel_one_way_", "channel_round_trip_"].iter().any(|it| name.starts_with(it))
        };
        match gic {
            Gic::V3 => values.extend(rows),
            Gic::V2 => values.extend(
                rows.into_iter()
                    .filter(|(name, _)| depends(name))
                    .map(|(name, value)| (format!("{name}_v2"), value)),
            ),
        }
        Ok(())
    }

    /// From reset to the first instruction of one small partition.
    fn reset(
        &self,
        values: &mut Values,
        system: &System,
        machine: &Machine,
        cores: u32,
    ) -> Result<()> {
        step(&format!("measuring the start on {cores} cores"));
        values.insert(format!("reset_{cores}_core"), first_instruction(system, machine)?);
        Ok(())
    }

    /// How deep the stacks are used by what takes most of them, and by what measures the policy program's calls: that of the core
    /// that boots, on which the operator's commands run too, and those of the others.
    fn stacks(&self, values: &mut Values) -> Result<()> {
        step("measuring how deep the stacks are used");
        let (mut first, mut other) = (0, 0);
        for name in ["policy", "stacks"] {
            let system = System::find(name)?;
            let machine = system.machine()?.gic(Gic::V3).cpu(&self.counting_cpu()).icount();
            let (machine, stacks) = Stacks::watch(machine)?;
            let mut running = system.boot(&machine)?;
            if name == "stacks" {
                let ends = ["partition hostile (id 1) has ended: ", "restarted too often"];
                running.wait_for_all(&ends, TIMEOUT)?;
                running.send("\u{1}c")?;
                for command in OPERATOR {
                    running.wait_for("shikiri> ", TIMEOUT)?;
                    running.send(&format!("{command}\r"))?;
                }
            }
            running.wait_for_power_off(TIMEOUT)?;
            let depths = stacks.depths()?;
            first = first.max(*depths.first().context("no core")?);
            other = depths.into_iter().skip(1).fold(other, u64::max);
        }
        values.insert("deepest_first_stack_bytes".into(), first);
        values.insert("deepest_other_stack_bytes".into(), other);
        Ok(())
    }

    /// Linux from its first instruction to the power-off after `/init`, under the hypervisor and without it, with
    /// the same device tree, command line, memory and console: all instructions that are executed, the hypervisor's
    /// among them; idle time has none. Without it Linux runs on `virt` with the GIC of the machine, whose devices are those of the
    /// guest's tree.
    fn linux(
        &self,
        values: &mut Values,
        system: &System,
        machine: &Machine,
        count: &InsnCount,
    ) -> Result<()> {
        step("measuring the Linux boot under the hypervisor");
        let machine = count.watch(machine.clone());
        system.boot(&machine)?.wait_for_power_off(TIMEOUT)?;
        let ours = count.take()?;
        step("measuring the Linux boot without the hypervisor");
        let tree = guest_tree(&system.compile(&machine)?.bundle)?;
        self.bare_linux(&tree, machine.gic_version(), count)?.wait_for_power_off(TIMEOUT)?;
        let bare = count.take()?;
        let ppm =
            |part: u64| part.saturating_mul(1_000_000).checked_div(bare.all).unwrap_or(u64::MAX);
        values.insert("linux_boot".into(), ours.all);
        values.insert("linux_boot_bare".into(), bare.all);
        values.insert("linux_boot_more_ppm".into(), ppm(ours.all.saturating_sub(bare.all)));
        values.insert("linux_boot_el2_ppm".into(), ppm(ours.hypervisor));
        Ok(())
    }

    fn bare_linux(&self, tree: &[u8], gic: Gic, count: &InsnCount) -> Result<Running> {
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        let file: PathBuf = scratch.path().join("guest.dtb");
        fs::write(&file, tree)?;
        let machine = self.counting().gic(gic).cpus(1).memory(LINUX_MEMORY);
        let machine = machine.arg("-dtb").arg(file);
        let machine = count.watch(machine);
        let boot = Boot::Bare {
            image: paths::linux_kernel(),
            initrd: Some(paths::linux_initrd()),
            // The tree says it already.
            append: None,
        };
        Running::start(&machine, &boot, Some(scratch), None)
    }

    /// The markers of the board's table.
    fn table(&self) -> &'static str {
        match self.board {
            Board::QemuVirt => TABLE,
            Board::Rpi4 => rpi4::TABLE,
        }
    }

    /// Prints the table and what is to be alike, writes them if asked to, and fails over a limit.
    fn judge(&self, values: &Values) -> Result<()> {
        let file = paths::root().join("hyp/doc/spec.md");
        let name = self.table();
        let table = doc_table::read(&file, name)?;
        let mut judged = bench_table::judge(&table, values, !self.no_linux)?;
        let alike = bench_relations::table(values);
        judged.problems.extend(bench_relations::problems(values));
        process::print(format!("{}\n{alike}\n{NOT_IN_IT}\n", judged.table));
        if self.write {
            doc_table::replace(&file, name, &judged.table)?;
            doc_table::replace(&file, &format!("{name}-alike"), &alike)?;
        }
        if self.board == Board::QemuVirt {
            let shown = if self.write { &judged.table } else { &table };
            judged.problems.extend(self.figures(&bench_table::measured(shown)?)?);
        }
        let (recorded, compiler) = (doc_table::read(&file, COMPILER)?, compiler()?);
        if self.write {
            doc_table::replace(&file, COMPILER, &compiler)?;
        }
        if judged.problems.is_empty() {
            return Ok(());
        }
        judged.problems.extend(bench_table::other_compiler(recorded.trim(), &compiler));
        bail!("the limits are not kept:\n{}", judged.problems.join("\n"))
    }

    /// Writes the figures in the documents' text if asked to; else one line for each document that says something else than its table; in
    /// any case one for each that has a figure without a row.
    fn figures(&self, values: &Values) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for document in figures::DOCUMENTS {
            let file = paths::root().join(document);
            let text = fs::read_to_string(&file).with_context(|| document.to_owned())?;
            match figures::fill(&text, values) {
                Err(error) => problems.push(format!("{document}: {error:#}")),
                Ok(filled) if text == filled => {}
                Ok(filled) if self.write => fs::write(&file, filled)?,
                Ok(_) => problems
                    .push(format!("{document}: figures in its text are not those of the table")),
            }
        }
        Ok(problems)
    }
}

/// The markers of the compiler that the figures are of.
const COMPILER: &str = "bench-compiler";

/// The compiler that builds the images.
fn compiler() -> Result<String> {
    let mut command = Command::new("rustc");
    Ok(process::output(command.arg("--version").current_dir(paths::root()))?.trim().to_owned())
}

/// What no figure has in it; it is said wherever they are printed.
const NOT_IN_IT: &str =
    "Executed instructions and bytes: TLB and cache costs are not in any of these figures.";

/// All that can be asked for at the operator console; the end comes last.
const OPERATOR: [&str; 10] = [
    "help",
    "list",
    "accounts",
    "audit",
    "log",
    "dump peer",
    "restart peer",
    "start crash",
    "stop peer",
    "off",
];

/// The partitions that are only there in the row with many.
const IDLE: usize = 58;

/// The rows that the guests of a system have printed when its machine has powered off.
fn measured(system: &System, machine: &Machine) -> Result<Values> {
    let console = system.boot(machine)?.wait_for_power_off(TIMEOUT)?;
    let mut rows = bench_table::rows_of(&console);
    // How long the start takes depends on the system; it has rows of its own.
    rows.remove("first_instruction");
    ensure!(!rows.is_empty(), "the guest measured nothing:\n{console}");
    Ok(rows)
}

/// What the Linux rows change in the board's own system.
fn linux_overrides() -> Overrides {
    Overrides {
        append: Some(LINUX_WORDS.into()),
        vcpus: Some(1),
        memory: Some(LINUX_MEMORY),
        ..Overrides::default()
    }
}

/// The text of a description of the tests.
fn system_text(name: &str) -> Result<String> {
    let file = paths::root().join(format!("tests/qemu/systems/{name}.toml"));
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// A system that measures, with as many partitions besides as make 60: they live, on cores of their own.
fn among_60(name: &str) -> Result<String> {
    const SUFFIX: &str = "suffix=_60_partitions";
    let mut text = system_text(name)?
        .replace("cores = 2\n", "cores = 4\n")
        .replace("role=bench", &format!("role=bench rows=send areas {SUFFIX}"))
        .replace("role=sender", &format!("role=sender {SUFFIX}"));
    for index in 0..IDLE {
        write!(
            text,
            "\n[[partition]]\nname = \"idle-{index}\"\nimage = \"bench-channel\"\nmemory = \"2MiB\"\n\
             cmdline = \"role=idle\"\n[[partition.vcpu]]\ncores = [{}]\nbudget = \"100us\"\nperiod = \"10ms\"\n",
            index % 2 + 2
        )?;
    }
    Ok(text)
}

/// The system that measures events between partitions, with 4,000 ports that are connected between the two.
fn with_many_ports() -> Result<String> {
    let text = system_text("events-between")?;
    Ok(text
        .replace("role=sender", "role=sender ports=4000 suffix=_4000_ports")
        .replace("role=receiver", "role=receiver ports=4000"))
}

/// The rows of a witness whose core's own instructions are counted, and their systems.
const WITNESSES: [(&str, &str); 2] =
    [("witness_alone", "flood-none"), ("event_flood_witness", "flood")];

/// The most instructions that a witness's core executed itself from its sleep to its timer's handler, of all ticks; and of all but the first,
/// for which the hypervisor has to find a list register.
fn witness(values: &mut Values, row: &str, system: &System, machine: Machine) -> Result<()> {
    const TICKS: usize = 600;
    step(&format!("counting a witness's own instructions ({row})"));
    let waits = Waits::new()?;
    let console = system.boot(&waits.watch(machine))?.wait_for_power_off(TIMEOUT)?;
    let taken = waits.take()?;
    ensure!(taken.len() >= TICKS, "{} ticks of {TICKS}:\n{console}", taken.len());
    let most_from = |tick| taken.iter().skip(tick).max().copied().context("no tick");
    values.insert(row.to_owned(), most_from(0)?);
    values.insert(format!("{row}_later"), most_from(1)?);
    Ok(())
}

/// The device tree that the bundle holds for its one guest, found by its magic number.
fn guest_tree(bundle: &[u8]) -> Result<Vec<u8>> {
    const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
    for start in (0..bundle.len()).step_by(8) {
        let Some(header) = bundle.get(start..).and_then(|rest| rest.first_chunk::<8>()) else {
            break;
        };
        let [m0, m1, m2, m3, s0, s1, s2, s3] = *header;
        let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3]))?;
        if [m0, m1, m2, m3] == MAGIC
            && let Some(tree) = bundle.get(start..start.saturating_add(size))
        {
            return Ok(tree.to_vec());
        }
    }
    bail!("the bundle holds no device tree")
}

/// What the hypervisor's image takes.
fn image_sizes(values: &mut Values) -> Result<()> {
    let elf = fs::read(build::elf(build::HYPERVISOR))?;
    let sizes = flatten::sizes(&elf)?;
    let rows = BTreeMap::from([
        ("image_read_only_bytes".to_owned(), sizes.read_only),
        ("image_writable_bytes".to_owned(), sizes.writable),
        ("largest_stack_frame_bytes".to_owned(), sizes.largest_frame),
        ("image_file_bytes".to_owned(), fs::metadata(paths::hypervisor())?.len()),
    ]);
    values.extend(rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_tree_is_found_in_the_bundle() {
        let mut bundle = vec![0_u8; 64];
        bundle[16..24].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 24]);
        assert_eq!(guest_tree(&bundle).unwrap(), bundle[16..40]);
        assert!(guest_tree(&[0; 64]).is_err());
    }
}
