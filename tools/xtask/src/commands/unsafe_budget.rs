//! `cargo xtask unsafe-budget`: how much `unsafe` each crate holds, and may hold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use shikiri_qemu_tests::paths;

use crate::metadata;
use crate::unsafe_count::{self, Budget};

/// Counts `unsafe` per crate and compares with `tools/unsafe-budget.toml`.
#[derive(Debug, Args)]
pub(crate) struct UnsafeBudget {
    /// Writes the counts into the file; the commit that contains it asks for a second reviewer.
    #[arg(long)]
    write: bool,
}

/// What the file starts with.
const HEADER: &str = "\
# How much `unsafe` each crate holds. `cargo xtask test` fails if a count differs from this file;
# `cargo xtask unsafe-budget --write` brings it up to date. A count that rises needs a reason in the
# commit and a second reviewer.

";

impl UnsafeBudget {
    pub(crate) fn execute(&self) -> Result<()> {
        if self.write {
            let text = toml::to_string(&found()?)?;
            fs::write(file(), format!("{HEADER}{text}"))?;
        }
        check()?;
        println!("The unsafe budget is kept.");
        Ok(())
    }
}

/// Fails with one line per count that differs from the budget.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(file()).context("tools/unsafe-budget.toml cannot be read")?;
    let budget: Budget = toml::from_str(&text).context("tools/unsafe-budget.toml")?;
    let differences = unsafe_count::differences(&budget, &found()?);
    if differences.is_empty() {
        return Ok(());
    }
    bail!("tools/unsafe-budget.toml does not fit:\n{}", differences.join("\n"))
}

fn found() -> Result<Budget> {
    let workspace = metadata::load()?;
    let crates = workspace.packages.iter().map(|package| {
        (package.name.as_str(), package.manifest_path.parent().unwrap_or(Path::new(".")))
    });
    unsafe_count::count_all(crates)
}

fn file() -> PathBuf {
    paths::root().join("tools/unsafe-budget.toml")
}
