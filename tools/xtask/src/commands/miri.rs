//! `cargo xtask miri`: the host tests of the crates with `unsafe`, and of the core, under Miri.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
use shikiri_qemu_tests::paths;

use crate::process;

/// Runs the host tests of the unsafe crates under Miri.
#[derive(Debug, Args)]
pub(crate) struct Miri {
    /// Runs only the tests whose name contains this text.
    filter: Option<String>,
}

/// What is worth the time: Miri is some hundred times slower than the machine.
const PACKAGES: [&str; 4] = ["shikiri-sync", "shikiri-pages", "shikiri-drivers", "shikiri-core"];

/// What of the nightly toolchain is not there.
fn missing() -> Option<&'static str> {
    let nightly = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.arg("+nightly").args(words).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        process::output(&mut command)
    };
    let Ok(sysroot) = nightly("rustc", &["--print", "sysroot"]) else {
        return Some("the nightly toolchain");
    };
    if nightly("cargo", &["miri", "--version"]).is_err() {
        return Some("Miri");
    }
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    (!source.is_dir()).then_some("the standard library's source")
}

impl Miri {
    pub(crate) fn execute(&self) -> Result<()> {
        if let Some(what) = missing() {
            bail!("{what} is missing: run `rustup toolchain install nightly -c miri,rust-src`");
        }
        // `cargo +nightly` must not be the cargo that runs this program.
        let mut cargo = Command::new("cargo");
        cargo.current_dir(paths::root()).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        cargo.env("PROPTEST_CASES", "8").env("MIRIFLAGS", "-Zmiri-disable-isolation");
        cargo.args(["+nightly", "miri", "test"]);
        for package in PACKAGES {
            cargo.args(["-p", package]);
        }
        cargo.arg("--target-dir").arg(paths::target().join("miri"));
        if let Some(filter) = &self.filter {
            cargo.args(["--", filter]);
        }
        process::run(&mut cargo)
    }
}
