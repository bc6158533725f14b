//! `cargo xtask fuzz`: the hostile guest for a long time, from one seed after the other.

use anyhow::Result;
use clap::Args;
use shikiri_qemu_tests::counts;

use crate::commands::{soak, test};
use crate::process::step;

/// Runs the hostile guest for a long time.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Runs only the tests whose name contains this text as well.
    #[arg(default_value = "hostile")]
    filter: String,
    /// The first seed.
    #[arg(long, default_value_t = counts::SEED)]
    seed: u64,
    /// How many seeds are tried, counting up.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Steps of the hostile guest: calls, accesses, register reads and writes, exceptions.
    #[arg(long, default_value_t = counts::HOSTILE_STEPS.full)]
    steps: u64,
    /// Writes each result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

impl Fuzz {
    pub(crate) fn execute(&self) -> Result<()> {
        for seed in self.seed..self.seed.saturating_add(self.rounds) {
            step(&format!("hostile guest, seed {seed}, {} steps", self.steps));
            let settings = [
                ("SHIKIRI_SOAK", "1".to_owned()),
                ("SHIKIRI_SEED", seed.to_string()),
                ("SHIKIRI_STEPS", self.steps.to_string()),
            ];
            let commit = self.write.then(soak::commit).transpose()?;
            let passed = test::run_machines(&[Some(&self.filter)], &settings)?;
            if let Some(commit) = &commit {
                let run = format!("fuzz {}", self.filter);
                let counts = format!("{} hostile steps", self.steps);
                soak::record(&run, passed, seed, (&counts, commit))?;
            }
        }
        Ok(())
    }
}
