//! `cargo xtask soak`: the QEMU tests with their full counts.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use shikiri_qemu_tests::paths;

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
        let seed = self.seed.unwrap_or(shikiri_qemu_tests::counts::SEED);
        let settings = [("SHIKIRI_SOAK", "1".to_owned()), ("SHIKIRI_SEED", seed.to_string())];
        test::run_machines(self.filter.as_deref(), &settings)?;
        if self.write {
            self.record(seed)?;
        }
        Ok(())
    }

    fn record(&self, seed: u64) -> Result<()> {
        let what = self.filter.as_deref().unwrap_or("all tests");
        let date = process::output(std::process::Command::new("date").args(["-u", "+%F"]))?;
        let restarts = shikiri_qemu_tests::counts::RESTARTS.full;
        let calls = shikiri_qemu_tests::counts::HOSTILE_STEPS.full;
        let row = format!(
            "Last run: {}, {what}, seed {seed}; {restarts} restarts, {calls} hostile steps; all passed.",
            date.trim()
        );
        let file = paths::root().join("hyp/doc/spec.md");
        doc_table::replace(&file, "soak", &row).context("the result cannot be recorded")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        eprintln!("recorded at {now}");
        Ok(())
    }
}
