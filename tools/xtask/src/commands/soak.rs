//! `cargo xtask soak`: the QEMU tests with their full counts.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;
use shikiri_qemu_tests::{counts, paths};

use crate::commands::test;
use crate::{doc_table, process};

/// Runs the QEMU tests with their full counts.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Runs only the tests whose name contains this text.
    filter: Option<String>,
    /// The seed of everything random; the default is the tests' own fixed seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Writes the result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

impl Soak {
    pub(crate) fn execute(&self) -> Result<()> {
        let seed = self.seed.unwrap_or(counts::SEED);
        let settings = [("SHIKIRI_SOAK", "1".to_owned()), ("SHIKIRI_SEED", seed.to_string())];
        let passed = test::run_machines(self.filter.as_deref(), &settings)?;
        if self.write {
            let run = format!("soak {}", self.filter.as_deref().unwrap_or("of all"));
            record(&run, passed, seed, "full")?;
        }
        Ok(())
    }
}

/// Writes a run's row, in place of its last one.
pub(crate) fn record(run: &str, passed: u64, seed: u64, counts: &str) -> Result<()> {
    let date = process::output(Command::new("date").args(["-u", "+%F"]))?;
    let row = format!("| {run} | {} | {counts} | {seed} | {passed} passed |", date.trim());
    let file = paths::root().join("hyp/doc/spec.md");
    doc_table::set_row(&file, "soak", run, &row).context("the result cannot be recorded")
}
