//! Counts the instructions of a whole run with the plugin of `tools/insn-count`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use shikiri_qemu_tests::{Machine, paths};

use crate::process;

/// Where QEMU loads the hypervisor on `virt`: the RAM's start and the image header's text offset. EL2 maps itself where
/// it is. A guest that runs from the same addresses (Linux, for its first instructions) is counted as the hypervisor.
const HYPERVISOR_LOW: u64 = 0x4020_0000;
/// Behind its code, and before any guest.
const HYPERVISOR_HIGH: u64 = HYPERVISOR_LOW + 0x8_0000;

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
    scratch: tempfile::TempDir,
}

impl InsnCount {
    /// Builds the plugin; `kernel` is the image whose first instruction starts the count.
    pub(crate) fn new(kernel: &Path) -> Result<Self> {
        let mut cargo = process::cargo();
        cargo.args(["build", "--quiet", "--release", "-p", "shikiri-insn-count", "--target-dir"]);
        process::run(cargo.arg(paths::target()))?;
        let plugin = paths::target().join("release/libshikiri_insn_count.so");
        let image = fs::read(kernel).with_context(|| kernel.display().to_string())?;
        let first = image.first_chunk().context("a kernel image of fewer than 8 bytes")?;
        let scratch = tempfile::tempdir_in(paths::scratch())?;
        Ok(Self { plugin, first: u64::from_le_bytes(*first), scratch })
    }

    /// A machine whose run is counted.
    pub(crate) fn watch(&self, machine: Machine) -> Machine {
        let mut plugin = OsString::from(&self.plugin);
        let range = format!("low={HYPERVISOR_LOW:x},high={HYPERVISOR_HIGH:x}");
        plugin.push(format!(",first={:x},{range},out=", self.first));
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
