//! Counts instructions with the plugin of `tools/insn-count`: those of a whole run, or those of a core from its sleep to a mark.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use shikiri_qemu_tests::{Machine, paths};

use crate::process;

/// Where QEMU loads the hypervisor on `virt`, and how the plugin counts there: the RAM's start and 2 MiB, for an image header whose text offset is 0. EL2
/// maps itself where it is. A guest that runs from the same addresses (Linux, for its first instructions) is counted as the
/// hypervisor.
pub(crate) const ON_VIRT: (u64, &str) = (0x4020_0000, "");
/// The same on the Raspberry Pi 4, whose CPUs are in a cluster.
pub(crate) const ON_RPI4: (u64, &str) = (0x20_0000, ",by=calls");
/// From there to behind its code, and before any guest.
const HYPERVISOR_BYTES: u64 = 0x8_0000;

/// What was counted.
pub(crate) struct Counts {
    /// All instructions.
    pub(crate) all: u64,
    /// The hypervisor's.
    pub(crate) hypervisor: u64,
}

/// Counts from a kernel's first instruction until QEMU ends.
pub(crate) struct InsnCount {
    plugin: PathBuf,
    first: u64,
    hypervisor: u64,
    how: &'static str,
    scratch: tempfile::TempDir,
}

impl InsnCount {
    /// Builds the plugin; `kernel` is the image whose first instruction starts the count, and the board's constant says
    /// where ours is.
    pub(crate) fn new(kernel: &Path, (hypervisor, how): (u64, &'static str)) -> Result<Self> {
        let plugin = plugin()?;
        let image = fs::read(kernel).with_context(|| kernel.display().to_string())?;
        let first = image.first_chunk().context("a kernel image of fewer than 8 bytes")?;
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        Ok(Self { plugin, first: u64::from_le_bytes(*first), hypervisor, how, scratch })
    }

    /// A machine whose run is counted.
    pub(crate) fn watch(&self, machine: Machine) -> Machine {
        let mut plugin = OsString::from(&self.plugin);
        let end = self.hypervisor.saturating_add(HYPERVISOR_BYTES);
        let range = format!("low={:x},high={end:x}", self.hypervisor);
        plugin.push(format!(",first={:x},{range}{},out=", self.first, self.how));
        plugin.push(self.out());
        machine.arg("-plugin").arg(plugin)
    }

    /// The counts of the run that has ended; the next one starts anew.
    pub(crate) fn take(&self) -> Result<Counts> {
        let text = fs::read_to_string(self.out()).context("the plugin has counted nothing")?;
        fs::remove_file(self.out())?;
        let counts = || {
            let (all, hypervisor) = text.trim().split_once(' ')?;
            Some(Counts { all: all.parse().ok()?, hypervisor: hypervisor.parse().ok()? })
        };
        counts().with_context(|| format!("no counts: {text:?}"))
    }

    fn out(&self) -> PathBuf {
        self.scratch.path().join("count")
    }
}

/// Counts what a core executes itself from each WFI to the mark behind it, which test guests have.
pub(crate) struct Waits {
    plugin: PathBuf,
    scratch: tempfile::TempDir,
}

impl Waits {
    /// WFI.
    const FROM: u32 = 0xd503_207f;
    /// HINT #127, which the guest `witness` has.
    const TO: u32 = 0xd503_2fff;

    /// Builds the plugin.
    pub(crate) fn new() -> Result<Self> {
        let (plugin, scratch) = (plugin()?, tempfile::tempdir_in(paths::scratch())?);
        Ok(Self { plugin, scratch })
    }

    /// A machine whose run is counted.
    pub(crate) fn watch(&self, machine: Machine) -> Machine {
        let mut plugin = OsString::from(&self.plugin);
        plugin.push(format!(",from={:x},to={:x},out=", Self::FROM, Self::TO));
        plugin.push(self.out());
        machine.arg("-plugin").arg(plugin)
    }

    /// What the one core that has the mark executed each time, in the run that has ended.
    pub(crate) fn take(&self) -> Result<Vec<u64>> {
        let text = fs::read_to_string(self.out()).context("the plugin has counted nothing")?;
        waits_of(&text).with_context(|| format!("not of one core: {text:?}"))
    }

    fn out(&self) -> PathBuf {
        self.scratch.path().join("waits")
    }
}

/// Builds the plugin.
fn plugin() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--quiet", "--release", "-p", "shikiri-insn-count", "--target-dir"]);
    process::run(cargo.arg(paths::target()))?;
    Ok(paths::target().join("release/libshikiri_insn_count.so"))
}

/// The counts of the only line.
fn waits_of(text: &str) -> Option<Vec<u64>> {
    let line = text.strip_suffix('\n')?;
    line.split_terminator(' ').map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_those_of_one_core() {
        assert_eq!(waits_of("130 131 129 \n").unwrap(), [130, 131, 129]);
        assert_eq!(waits_of("7 8 \n130 \n"), None);
        assert_eq!(waits_of(""), None);
    }
}
