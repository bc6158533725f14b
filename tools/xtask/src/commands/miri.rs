//! `cargo xtask miri`: the host tests of what has `unsafe` code, of the core and of the model machine, under Miri.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use shikiri_qemu_tests::{counts, paths};

use crate::commands::soak;
use crate::process::{self, step};
use crate::tally::Tally;

/// Runs the host tests of the unsafe crates, the core and the model machine under Miri: half an hour to an hour of one core.
#[derive(Debug, Args)]
pub(crate) struct Miri {
    /// Runs only the tests whose name contains this text.
    filter: Option<String>,
    /// Runs only the tests of these packages.
    #[arg(long, short, value_parser = PACKAGES)]
    package: Vec<String>,
    /// How many cases each property is tried with.
    #[arg(long, default_value_t = 1)]
    cases: u64,
    /// The seed of everything random; the default is the tests' own fixed seed.
    #[arg(long, default_value_t = counts::SEED)]
    seed: u64,
    /// Writes the result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

/// What has most to do with `unsafe` code first. In the model machine the hypervisor's records, tables, pages of ports and
/// message areas lie in memory of the process, so that its tests are the ones that reach the code of `shikiri-pages` as EL2 does.
const PACKAGES: [&str; 9] = [
    "shikiri-pages",
    "shikiri-sync",
    "shikiri-drivers",
    "shikiri-arrivals",
    "shikiri-rpc",
    "shikiri-core",
    "shikiri-model",
    "shikiri-stage2",
    "shikiri-vgic",
];

/// What Miri is told. Without isolation, the properties' seeds come from the environment. The books
/// of a test's machine live for ever, as they do at EL2: no leaks; that no frame is lost the audits see.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-ignore-leaks";

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
        let started = Instant::now();
        let commit = self.write.then(soak::commit).transpose()?;
        let mut tally = Tally::default();
        for package in PACKAGES.into_iter().filter(|package| self.selects(package)) {
            self.test(package, &mut tally)?;
        }
        let passed = tally.finish(started)?;
        if let Some(commit) = &commit {
            let counts = format!("{} for each property", plural(self.cases, "case"));
            soak::record(&self.name(), passed, self.seed, (&counts, commit))?;
        }
        Ok(())
    }

    fn selects(&self, package: &str) -> bool {
        self.package.is_empty() || self.package.iter().any(|chosen| chosen == package)
    }

    /// The run as it is recorded: one of a part does not take the place of one of all.
    fn name(&self) -> String {
        let packages = self.package.iter().map(String::as_str);
        let parts: Vec<_> =
            std::iter::once("miri").chain(packages).chain(self.filter.as_deref()).collect();
        parts.join(" ")
    }

    /// Runs the tests of one package.
    fn test(&self, package: &str, tally: &mut Tally) -> Result<()> {
        step(&format!("{package} under Miri"));
        let mut cargo = Command::new("cargo");
        // `cargo +nightly` must not be the cargo that runs this program.
        cargo.current_dir(paths::root()).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        // A panic that a test expects takes seconds with a backtrace.
        cargo.env("MIRIFLAGS", FLAGS).env("RUST_BACKTRACE", "0");
        cargo.env("PROPTEST_CASES", self.cases.to_string());
        let seed = self.seed.to_string();
        cargo.env("PROPTEST_RNG_SEED", &seed).env("SHIKIRI_SEED", &seed);
        cargo.args([
            "+nightly",
            "miri",
            "test",
            "--no-fail-fast",
            "--lib",
            "--tests",
            "-p",
            package,
        ]);
        cargo.arg("--target-dir").arg(paths::target().join("miri"));
        if let Some(filter) = &self.filter {
            cargo.args(["--", filter]);
        }
        let failed = tally.failed();
        let succeeded = process::watch(&mut cargo, |line| tally.read(line))?;
        if !succeeded && tally.failed() == failed {
            // Miri ends the program at undefined behaviour, before it can count its tests.
            tally.fail(format!("{package}: a test program itself (see above)"));
        }
        Ok(())
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_a_part_is_recorded_under_a_name_of_its_own() {
        let run = |filter: Option<&str>, package: &[&str]| {
            let package = package.iter().map(|it| it.to_string()).collect();
            let filter = filter.map(str::to_owned);
            Miri { filter, package, cases: 1, seed: 0, write: true }.name()
        };
        assert_eq!(run(None, &[]), "miri");
        assert_eq!(run(Some("pool"), &[]), "miri pool");
        assert_eq!(
            run(None, &["shikiri-pages", "shikiri-sync"]),
            "miri shikiri-pages shikiri-sync"
        );
    }
}
