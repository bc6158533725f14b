//! `cargo xtask build`: the hypervisor, the guests, and their flat images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use clap::Args;
use shikiri_qemu_tests::paths;

use crate::commands::setup;
use crate::metadata::{self, BARE_METAL};
use crate::process::{self, step};
use crate::{c_guests, files, flatten, scos};

/// The hypervisor's package, and the name of its ELF file.
pub(crate) const HYPERVISOR: &str = "shikiri-el2";

/// The packages whose binaries are guests.
const GUESTS: [&str; 3] = ["shikiri-examples", "shikiri-test-guests", "shikiri-scos"];

/// Builds the hypervisor and the guests, and makes their flat images.
#[derive(Debug, Args)]
pub(crate) struct Build {}

impl Build {
    pub(crate) fn execute(&self) -> Result<()> {
        all()?;
        let image = paths::hypervisor();
        println!("{}: {} bytes", image.display(), fs::metadata(&image)?.len());
        println!("{}: the guests", paths::guests().display());
        Ok(())
    }
}

/// Builds everything that runs on the machine.
pub(crate) fn all() -> Result<()> {
    setup::rust_target()?;
    setup::programs_target()?;
    hypervisor()?;
    guests()?;
    scos::build()
}

/// Builds the hypervisor's flat image.
pub(crate) fn hypervisor() -> Result<()> {
    step("building the hypervisor");
    process::run(&mut compiling(&[HYPERVISOR]))?;
    let image = flat(&elf(HYPERVISOR))?;
    flatten::check_boot_header(&image).context(HYPERVISOR)?;
    files::replace(&paths::hypervisor(), &image)
}

/// Builds the flat image of the hypervisor that compares its books after each call, apart from the one that is shipped.
pub(crate) fn checked_hypervisor() -> Result<()> {
    step("building the hypervisor with checks");
    process::run(&mut compiling_checked())?;
    let image = flat(&checked_target().join(BARE_METAL).join("release").join(HYPERVISOR))?;
    flatten::check_boot_header(&image).context(HYPERVISOR)?;
    files::replace(&paths::checked_hypervisor(), &image)
}

/// Builds the flat image of every guest.
pub(crate) fn guests() -> Result<()> {
    step("building the guests");
    process::run(&mut compiling(&GUESTS))?;
    let workspace = metadata::load()?;
    let packages = workspace.packages.iter().filter(|p| GUESTS.contains(&p.name.as_str()));
    for name in packages.flat_map(metadata::Package::binaries) {
        let image = flat(&elf(name))?;
        files::replace(&paths::guests().join(format!("{name}.bin")), &image)?;
    }
    c_guests::build()
}

/// The ELF file of a bare-metal binary.
pub(crate) fn elf(name: &str) -> PathBuf {
    paths::target().join(BARE_METAL).join("release").join(name)
}

/// Compiling that goes on beside other things.
#[derive(Debug)]
pub(crate) struct Ahead(JoinHandle<()>);

/// Compiles what runs on the machine before anybody needs it, the hypervisor with checks last: the end of each program is one thread's work, and so is
/// much of what is done meanwhile. It prints nothing: whoever builds these finds them done, or builds them again and says what is wrong.
pub(crate) fn ahead(with_checks: bool) -> Ahead {
    let checked = with_checks.then(compiling_checked);
    let commands = [compiling(&[HYPERVISOR]), compiling(&GUESTS)].into_iter().chain(checked);
    Ahead(thread::spawn(|| commands.for_each(|mut command| drop(process::output(&mut command)))))
}

impl Ahead {
    /// Waits until it has ended.
    pub(crate) fn wait(self) {
        let _ended = self.0.join();
    }
}

fn compiling(packages: &[&str]) -> Command {
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["build", "--release", "--bins", "--target", BARE_METAL, "--target-dir"]);
    cargo.arg(paths::target());
    for package in packages {
        cargo.args(["-p", package]);
    }
    cargo
}

fn checked_target() -> PathBuf {
    paths::target().join("checked")
}

fn compiling_checked() -> Command {
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["build", "--release", "--bins", "--target", BARE_METAL, "-p", HYPERVISOR]);
    cargo.args(["--features", "checks", "--target-dir"]).arg(checked_target());
    cargo
}

fn flat(elf: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(elf).with_context(|| format!("{} is missing", elf.display()))?;
    flatten::flatten(&bytes).with_context(|| format!("{} cannot be flattened", elf.display()))
}
