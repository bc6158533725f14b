//! What the start costs for each MiB, and what RAM the hypervisor takes for itself.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use shikiri_qemu_tests::{Machine, System, paths};

use super::{Bench, TIMEOUT, system_text};
use crate::bench_table::Values;
use crate::commands::setup;
use crate::process::step;

/// MiB by which the starts that are compared differ.
const MORE: u64 = 8;

impl Bench {
    /// What a partition's memory costs to clear, and its image to copy and to compare with its checksum: the start of the same small
    /// partition with so much more of either.
    pub(super) fn per_mib(&self, values: &mut Values) -> Result<()> {
        step("measuring what a start costs for each MiB");
        fs::create_dir_all(paths::scratch())?;
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        let mut image = fs::read(paths::guests().join("bench.bin"))?;
        image.resize(image.len().saturating_add(usize::try_from(MORE << 20)?), 0x5a);
        let longer = scratch.path().join("longer.bin");
        fs::write(&longer, image)?;
        let text = system_text("reset")?;
        let larger = text.replace("\"2MiB\"", &format!("\"{}MiB\"", 2 + MORE));
        let named = format!("image = {:?}", longer.display().to_string());
        let loaded = larger.replace("image = \"bench\"", &named);
        let machine = self.counting().cpus(1);
        let start = |text: &str| first_instruction(&System::from_text(text)?, &machine);
        let [small, large, loaded] = [start(&text)?, start(&larger)?, start(&loaded)?];
        let each = |from: u64, to: u64| -> Result<u64> {
            Ok(to.checked_sub(from).context("more costs less")? / MORE)
        };
        values.insert("start_clear_mib".into(), each(small, large)?);
        values.insert("start_load_mib".into(), each(large, loaded)?);
        Ok(())
    }
}

/// The instructions of all cores until the guest's first, by what it prints of its clock.
pub(super) fn first_instruction(system: &System, machine: &Machine) -> Result<u64> {
    let mut running = system.boot(machine)?;
    let line = running.wait_for("bench: first_instruction ", TIMEOUT)?;
    let number = running.wait_for("\n", TIMEOUT)?;
    number.trim().parse().with_context(|| format!("{line}{number}"))
}

/// RAM that is neither a partition's nor free on the demo's machine, without the bundle, which is as large as the guests in it. What
/// the hypervisor keeps for each partition is the partition's, and has rows of its own.
pub(super) fn hypervisors_ram(values: &mut Values) -> Result<()> {
    const PAGE: u64 = 4096;
    step("measuring the hypervisor's RAM");
    setup::linux()?;
    let system = System::find("demo")?;
    let machine = system.machine()?;
    let mut running = system.boot(&machine)?;
    running.wait_for("bundle found (", TIMEOUT)?;
    let bundle = number(&running.wait_for(" bytes at", TIMEOUT)?)?;
    running.wait_for("[11] first partition started", TIMEOUT)?;
    running.send("\u{1}c")?;
    loop {
        running.wait_for("shikiri> ", TIMEOUT)?;
        running.send("audit\r")?;
        running.wait_for("frames: ", TIMEOUT)?;
        let held = number(&running.wait_for(" held", TIMEOUT)?)?;
        let rest = running.wait_for("\n", TIMEOUT)?;
        // Not while a partition is being built.
        let Some((free, _)) = rest.split_once(" free in pool and ledger") else { continue };
        let others = (held + number(free)?) * PAGE + bundle.next_multiple_of(PAGE);
        let own = machine.memory_bytes().checked_sub(others).context("more frames than RAM")?;
        ensure!(own > 0, "the hypervisor has no RAM");
        values.insert("hypervisor_ram_bytes".into(), own);
        return Ok(());
    }
}

/// The number in a text.
fn number(text: &str) -> Result<u64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number in {text:?}"))
}
