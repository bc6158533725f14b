//! `cargo xtask build`: the hypervisor, the guests, and their flat images.

use std::fs;
use std::path::{Path, PathBuf};

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
    compile(&[HYPERVISOR])?;
    let image = flat(&elf(HYPERVISOR))?;
    flatten::check_boot_header(&image).context(HYPERVISOR)?;
    files::replace(&paths::hypervisor(), &image)
}

/// Builds the flat image of the hypervisor that compares its books after each call, apart from the one that is shipped.
pub(crate) fn checked_hypervisor() -> Result<()> {
    step("building the hypervisor with checks");
    let folder = paths::target().join("checked");
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["build", "--release", "--bins", "--target", BARE_METAL, "-p", HYPERVISOR]);
    cargo.args(["--features", "checks", "--target-dir"]).arg(&folder);
    process::run(&mut cargo)?;
    let image = flat(&folder.join(BARE_METAL).join("release").join(HYPERVISOR))?;
    flatten::check_boot_header(&image).context(HYPERVISOR)?;
    files::replace(&paths::checked_hypervisor(), &image)
}

/// Builds the flat image of every guest.
pub(crate) fn guests() -> Result<()> {
    step("building the guests");
    compile(&GUESTS)?;
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

fn compile(packages: &[&str]) -> Result<()> {
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["build", "--release", "--bins", "--target", BARE_METAL, "--target-dir"]);
    cargo.arg(paths::target());
    for package in packages {
        cargo.args(["-p", package]);
    }
    process::run(&mut cargo)
}

fn flat(elf: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(elf).with_context(|| format!("{} is missing", elf.display()))?;
    flatten::flatten(&bytes).with_context(|| format!("{} cannot be flattened", elf.display()))
}
