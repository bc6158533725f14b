//! `cargo xtask bench`: counts instructions and bytes, and holds them against their limits.
//!
//! The machine runs by counted instructions with a counter of 1 GHz, so one tick of the guests' clock is
//! one instruction, and the same image gives the same numbers each time. TLB and cache costs are not
//! in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use shikiri_qemu_tests::machine::Boot;
use shikiri_qemu_tests::{Gic, Machine, Overrides, Running, System, paths};

use crate::bench_table::{self, Values};
use crate::commands::{build, setup};
use crate::insn_count::InsnCount;
use crate::process::step;
use crate::{doc_table, flatten};

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
}

/// The markers of the table in the document.
const TABLE: &str = "bench";

/// No run is longer; under counted instructions a Linux boot takes some seconds.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What is added to the Linux guest's command line, with and without the hypervisor. Not `quiet`: the console is the
/// dearer part.
const LINUX_WORDS: &str = "shikiri.script=boot";

/// The Linux guest's memory, in bytes.
const LINUX_MEMORY: u64 = 256 << 20;

impl Bench {
    /// The rows that every test run holds: all but those of the Linux guest.
    pub(crate) fn held_by_every_test() -> Self {
        Self { write: false, cpu: "cortex-a72".into(), no_linux: true }
    }

    pub(crate) fn execute(&self) -> Result<()> {
        setup::qemu()?;
        build::all()?;
        let mut values = Values::new();
        image_sizes(&mut values)?;
        for gic in [Gic::V3, Gic::V2] {
            self.operations(&mut values, &System::find("bench")?, gic)?;
            self.operations(&mut values, &System::find("events")?, gic)?;
        }
        self.operations(&mut values, &System::find("switch")?, Gic::V3)?;
        self.operations(&mut values, &System::find("channels")?, Gic::V3)?;
        self.operations(&mut values, &among_many_partitions()?, Gic::V3)?;
        self.operations(&mut values, &System::find("flood")?, Gic::V3)?;
        self.reset(&mut values, 1)?;
        self.reset(&mut values, 4)?;
        if !self.no_linux {
            setup::linux()?;
            self.linux(&mut values)?;
        }
        self.judge(&values)
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
        let mut running = system.boot(&machine)?;
        let console = running.wait_for_power_off(TIMEOUT)?;
        let mut rows = bench_table::rows_of(&console);
        // How long the start takes depends on the system; it has rows of its own.
        rows.remove("first_instruction");
        ensure!(!rows.is_empty(), "the guest measured nothing:\n{console}");
        let depends = |name: &str| {
            ["read_", "write_", "sgi_", "timer_", "event_"].iter().any(|it| name.starts_with(it))
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
    fn reset(&self, values: &mut Values, cores: u32) -> Result<()> {
        step(&format!("measuring the start on {cores} cores"));
        let machine = self.counting().cpus(cores);
        let mut running = System::find("reset")?.boot(&machine)?;
        let line = running.wait_for("bench: first_instruction ", TIMEOUT)?;
        let number = running.wait_for("\n", TIMEOUT)?;
        let value = number.trim().parse().with_context(|| format!("{line}{number}"))?;
        values.insert(format!("reset_{cores}_core"), value);
        Ok(())
    }

    /// Linux from its first instruction to the power-off after `/init`, under the hypervisor and without it, with
    /// the same device tree, command line, memory and console: all instructions that are executed, the hypervisor's
    /// among them; idle time has none.
    fn linux(&self, values: &mut Values) -> Result<()> {
        let count = InsnCount::new(&paths::linux_kernel())?;
        step("measuring the Linux boot under the hypervisor");
        let overrides = Overrides {
            append: Some(LINUX_WORDS.into()),
            vcpus: Some(1),
            memory: Some(LINUX_MEMORY),
            ..Overrides::default()
        };
        let system = System::find("linux")?.with(overrides);
        let machine = count.watch(self.counting().cpus(1));
        system.boot(&machine)?.wait_for_power_off(TIMEOUT)?;
        let ours = count.take()?;
        step("measuring the Linux boot without the hypervisor");
        let tree = guest_tree(&system.compile(&machine)?.bundle)?;
        self.bare_linux(&tree, &count)?.wait_for_power_off(TIMEOUT)?;
        let bare = count.take()?;
        let ppm =
            |part: u64| part.saturating_mul(1_000_000).checked_div(bare.all).unwrap_or(u64::MAX);
        values.insert("linux_boot".into(), ours.all);
        values.insert("linux_boot_bare".into(), bare.all);
        values.insert("linux_boot_more_ppm".into(), ppm(ours.all.saturating_sub(bare.all)));
        values.insert("linux_boot_el2_ppm".into(), ppm(ours.hypervisor));
        Ok(())
    }

    fn bare_linux(&self, tree: &[u8], count: &InsnCount) -> Result<Running> {
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        let file: PathBuf = scratch.path().join("guest.dtb");
        fs::write(&file, tree)?;
        let machine = self.counting().cpus(1).memory(LINUX_MEMORY).arg("-dtb").arg(file);
        let machine = count.watch(machine);
        let boot = Boot::Bare {
            image: paths::linux_kernel(),
            initrd: Some(paths::linux_initrd()),
            // The tree says it already.
            append: None,
        };
        Running::start(&machine, &boot, Some(scratch), None)
    }

    /// Prints the table, writes it if asked to, and fails over a limit.
    fn judge(&self, values: &Values) -> Result<()> {
        let file = paths::root().join("hyp/doc/spec.md");
        let table = doc_table::read(&file, TABLE)?;
        let judged = bench_table::judge(&table, values, !self.no_linux)?;
        print!("{}", judged.table);
        if self.write {
            doc_table::replace(&file, TABLE, &judged.table)?;
        }
        if judged.problems.is_empty() {
            return Ok(());
        }
        bail!("the limits are not kept:\n{}", judged.problems.join("\n"))
    }
}

/// The partitions that are only there in the row with many.
const IDLE: usize = 58;

/// The system that measures messages, with as many partitions besides as make 60: they live, on cores of their own.
fn among_many_partitions() -> Result<System> {
    let file = paths::root().join("tests/qemu/systems/channels.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut text = text
        .replace("cores = 2\n", "cores = 4\n")
        .replace("role=bench", "role=bench rows=send suffix=_60_partitions");
    for index in 0..IDLE {
        write!(
            text,
            "\n[[partition]]\nname = \"idle-{index}\"\nimage = \"bench-channel\"\nmemory = \"2MiB\"\n\
             cmdline = \"role=idle\"\n[[partition.vcpu]]\ncores = [{}]\nbudget = \"100us\"\nperiod = \"10ms\"\n",
            index % 2 + 2
        )?;
    }
    System::from_text(&text)
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
